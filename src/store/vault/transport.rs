//! One HTTP request to a server and its reply, with limits of time, size and redirects.
//!
//! **Redirects.** A standby may answer 307 with the active node's address. One such redirect is
//! followed, by hand, because the token is sent along: to the same origin, or with https to a host
//! that the store's own CA (`caBundle`, `caProvider`) vouches for. A public CA vouches for any
//! host, so without the store's own CA another host never gets the token.

use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Bytes;
use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::time::Instant;
use tracing::Instrument;
use zeroize::Zeroizing;

use super::error::Asked;
use super::guard::{Failure, Guard, PATIENCE};
use super::{connect, error};
use crate::store::StoreError;
use crate::store::meter::{Call, StoreMeter};
use crate::store::pace::Pace;
use crate::store::serving::served;
use crate::telemetry::trail;

/// The largest reply that is read, in bytes; an entry is at most 1 MiB on most servers, and JSON
/// escapes it.
pub const MAX_REPLY: usize = 8 * 1024 * 1024;
/// The same for replies about anything but entries. A login's has the names of all its policies.
const SHORT_REPLY: usize = 256 * 1024;
/// How often a failing server is asked for its health.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
/// The resource that a request serves; servers can be configured to record it in their audit log.
const RESOURCE: HeaderName = HeaderName::from_static("x-waypost-resource");
const INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");

/// Whether a redirect may lead to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Only to the same scheme, host and port.
    SameOrigin,
    /// With https, also to a host that the pinned CA vouches for.
    PinnedCa,
}

/// What a standby that lags behind our own writes should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lagging {
    /// Answer 412, and we try again.
    Refuse,
    /// Forward the request to the active node.
    Forward,
}

/// The settings of a transport.
pub struct Settings {
    /// The connections, shared between clients of one server.
    pub http: reqwest::Client,
    /// The address, checked by [`connect::address`].
    pub address: Url,
    /// Where redirects may lead.
    pub redirects: Redirects,
    /// The store's own headers.
    pub headers: HeaderMap,
    /// What a lagging standby should do.
    pub lagging: Lagging,
    /// Requests a second, on average.
    pub rate: NonZeroU32,
    /// Records the requests in flight.
    pub pace: Arc<Pace>,
    /// Records the requests.
    pub meter: Arc<StoreMeter>,
    /// Called when the server answers again after it failed repeatedly.
    pub recovered: Arc<dyn Fn() + Send + Sync>,
    /// Called when the server fails repeatedly or denies access: the store should be checked.
    pub troubled: Arc<dyn Fn() + Send + Sync>,
}

/// The connection to one server.
pub struct Transport {
    settings: Settings,
    server: String,
    guard: Guard,
    /// The state of the server after our latest write (Vault Enterprise); later requests require
    /// it.
    index: Mutex<Option<HeaderValue>>,
}

/// One request.
pub struct Outgoing {
    pub call: Call,
    pub method: Method,
    /// Below `/v1/`.
    pub path: String,
    pub query: Option<String>,
    pub body: Option<Payload>,
    pub token: Option<HeaderValue>,
    pub namespace: Option<HeaderValue>,
    /// The largest reply that is read, in bytes.
    pub largest: usize,
}

/// A body, zeroed when the last clone is dropped.
#[derive(Clone)]
pub struct Payload {
    bytes: Bytes,
    content_type: &'static str,
}

impl Payload {
    /// JSON.
    pub fn json(bytes: Zeroizing<Vec<u8>>) -> Self {
        Payload { bytes: Bytes::from_owner(bytes), content_type: "application/json" }
    }

    /// A JSON merge patch.
    pub fn merge_patch(bytes: Zeroizing<Vec<u8>>) -> Self {
        Payload { bytes: Bytes::from_owner(bytes), content_type: "application/merge-patch+json" }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The largest reply to a request that is read, in bytes, unless the request has its own limit.
pub fn largest(call: Call) -> usize {
    match call {
        Call::ReadSecretData
        | Call::ReadSecretMetadata
        | Call::WriteSecretData
        | Call::WriteSecretMetadata
        | Call::PatchSecretMetadata
        | Call::DeleteSecret
        | Call::ListSecrets => MAX_REPLY,
        Call::Login
        | Call::LookupSelf
        | Call::RenewSelf
        | Call::RevokeSelf
        | Call::Health
        | Call::MountInfo
        | Call::Capabilities => SHORT_REPLY,
    }
}

/// What the server answered, whatever the status.
pub struct Reply {
    pub status: StatusCode,
    /// Zeroed when dropped. It may contain a value or a token: nothing prints it.
    pub body: Zeroizing<Vec<u8>>,
    /// The pause that the server asks for.
    pub retry_after: Option<Duration>,
}

/// What waits for the server while the circuit is open. Nobody watches its task: however it ends, a
/// request may try, and if that fails there is another probe.
struct Probe(Weak<Transport>);

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(transport) = self.0.upgrade() {
            transport.guard.half_open();
        }
    }
}

impl Transport {
    /// A transport; it sends nothing yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        let server = settings.address.as_str().trim_end_matches('/').to_owned();
        let guard = Guard::new(&server, settings.rate);
        Arc::new(Transport { settings, server, guard, index: Mutex::new(None) })
    }

    /// The address, for errors and keys.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends one request. Every status is a reply; an error means that there was none, or that the
    /// request was held back. After a 429 the request is sent again after the pause, within
    /// [`PATIENCE`].
    pub async fn send(self: &Arc<Self>, request: &Outgoing) -> Result<Reply, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let _slot = self.guard.admit(deadline).await?;
            let outcome = self.timed(request).await;
            match &outcome {
                Ok(reply) if reply.status == StatusCode::TOO_MANY_REQUESTS => {
                    self.guard.throttled(reply.retry_after);
                    continue;
                }
                Ok(reply) if !error::blames_server(reply) => self.guard.succeeded(),
                Ok(reply) => self.count_failure(self.meaning(reply, request)),
                Err(error @ StoreError::Unreachable { .. }) => self.count_failure(error.clone()),
                // Our own errors (a redirect, a reply too large) say nothing about the server's
                // health.
                Err(_) => self.guard.succeeded(),
            }
            return outcome;
        }
    }

    /// Asks for the server's health, regardless of limits.
    pub async fn health(&self) -> Result<Reply, StoreError> {
        let request = Outgoing {
            call: Call::Health,
            method: Method::GET,
            path: "sys/health".to_owned(),
            query: None,
            body: None,
            token: None,
            // The endpoint exists in the root namespace only.
            namespace: None,
            largest: largest(Call::Health),
        };
        self.timed(&request).await
    }

    /// Asks for the server's health like any other request: not while the circuit is open, and no
    /// answer counts as a failure.
    pub async fn health_counted(self: &Arc<Self>) -> Result<Reply, StoreError> {
        self.guard.check_circuit()?;
        let outcome = self.health().await;
        if let Err(error @ StoreError::Unreachable { .. }) = &outcome {
            self.count_failure(error.clone());
        }
        outcome
    }

    /// Call this when the server denies access, which only the session knows.
    pub fn refused(&self) {
        (self.settings.troubled)();
    }

    fn meaning(&self, reply: &Reply, request: &Outgoing) -> StoreError {
        let asked = Asked { operation: "ask for", path: &request.path, mount: "", namespace: "", bytes: 0 };
        error::judge(reply, &self.server, asked)
    }

    /// Counts a failure of the server; enough of them in a row open the circuit.
    pub fn count_failure(self: &Arc<Self>, cause: StoreError) {
        let Failure::Opened(wait) = self.guard.failed(cause) else { return };
        (self.settings.troubled)();
        let probe = Probe(Arc::downgrade(self));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            while let Some(transport) = probe.0.upgrade() {
                if transport.health().await.is_ok_and(|reply| error::serves(reply.status)) {
                    drop(probe);
                    (transport.settings.recovered)();
                    return;
                }
                drop(transport);
                tokio::time::sleep(PROBE_EVERY).await;
            }
        });
    }

    async fn timed(&self, request: &Outgoing) -> Result<Reply, StoreError> {
        let started = Instant::now();
        let under_way = self.settings.pace.begin();
        let span = trail::store(self.settings.meter.store(), &request.method, &request.path);
        let outcome = self.exchange(request).instrument(span).await;
        drop(under_way);
        let ok = outcome.as_ref().is_ok_and(|reply| reply.status.is_success() || reply.status == StatusCode::NOT_FOUND);
        self.settings.meter.record(request.call, ok, started.elapsed());
        outcome
    }

    async fn exchange(&self, request: &Outgoing) -> Result<Reply, StoreError> {
        let url = self.url(request)?;
        let response = self.once(request, url.clone()).await?;
        let response = match self.redirect(&url, &response)? {
            Some(active) => self.once(request, active).await?,
            None => response,
        };
        if let Some(index) = response.headers().get(INDEX) {
            *self.index.lock() = Some(index.clone());
        }
        self.read(response, request).await
    }

    fn url(&self, request: &Outgoing) -> Result<Url, StoreError> {
        let mut text = format!("{}/v1/{}", self.server, request.path);
        if let Some(query) = &request.query {
            text.push('?');
            text.push_str(query);
        }
        Url::parse(&text).map_err(|_unparsable| StoreError::Rejected {
            operation: "ask for",
            path: request.path.clone(),
            status: StatusCode::BAD_REQUEST.as_u16(),
        })
    }

    async fn once(&self, request: &Outgoing, url: Url) -> Result<Response, StoreError> {
        let mut builder = self.settings.http.request(request.method.clone(), url).headers(self.headers(request));
        if let Some(payload) = &request.body {
            builder = builder.header(CONTENT_TYPE, payload.content_type).body(payload.bytes.clone());
        }
        builder.send().await.map_err(|error| self.unreachable(&error))
    }

    fn headers(&self, request: &Outgoing) -> HeaderMap {
        let mut headers = self.settings.headers.clone();
        let index = self.index.lock().clone();
        if self.settings.lagging == Lagging::Forward {
            headers.insert(INCONSISTENT, HeaderValue::from_static("forward-active-node"));
        }
        let resource = served().and_then(|resource| HeaderValue::from_str(&resource).ok());
        let ours = [
            (TOKEN, request.token.clone()),
            (NAMESPACE, request.namespace.clone()),
            (INDEX, index),
            (RESOURCE, resource),
        ];
        headers.extend(ours.into_iter().filter_map(|(name, value)| Some((name, value?))));
        headers
    }

    fn redirect(&self, from: &Url, response: &Response) -> Result<Option<Url>, StoreError> {
        let status = response.status();
        if !status.is_redirection() {
            return Ok(None);
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| from.join(location).ok());
        let refused = |to: Option<&Url>| StoreError::RedirectRefused {
            server: self.server.clone(),
            to: to.map_or_else(|| "nowhere".to_owned(), |to| to.origin().ascii_serialization()),
        };
        let Some(to) = to else { return Err(refused(None)) };
        let keeps_method = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let allowed = match self.settings.redirects {
            Redirects::SameOrigin => from.origin() == to.origin(),
            Redirects::PinnedCa => {
                from.origin() == to.origin() || (to.scheme() == "https" && !connect::names_link_local(&to))
            }
        };
        match keeps_method && allowed {
            true => Ok(Some(to)),
            false => Err(refused(Some(&to))),
        }
    }

    async fn read(&self, mut response: Response, request: &Outgoing) -> Result<Reply, StoreError> {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        // Reserved at once, because a growing buffer leaves copies behind.
        let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(16 * 1024);
        let mut body = Zeroizing::new(Vec::with_capacity(expected.min(request.largest)));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > request.largest {
                return Err(StoreError::ReplyTooLarge { path: request.path.clone(), limit: request.largest });
            }
            body = append(body, &chunk);
        }
        Ok(Reply { status, body, retry_after })
    }

    fn unreachable(&self, error: &reqwest::Error) -> StoreError {
        StoreError::Unreachable { server: self.server.clone(), cause: error::cause(&self.server, error) }
    }
}

/// Appends without leaving an unzeroed buffer behind when it must grow.
fn append(mut body: Zeroizing<Vec<u8>>, chunk: &[u8]) -> Zeroizing<Vec<u8>> {
    if body.capacity() - body.len() < chunk.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((body.len() + chunk.len()).saturating_mul(2)));
        larger.extend_from_slice(&body);
        body = larger;
    }
    body.extend_from_slice(chunk);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::SecretBytes;
    use crate::store::vault::access::Access;

    #[tokio::test]
    async fn a_circuit_whose_probe_died_lets_a_request_try() {
        let (address, token) = ("http://127.0.0.1:1".to_owned(), SecretBytes::from("t"));
        let access = Access { address, ca: None, namespace: None, token, token_in: "a test" };
        let transport = access.transport(Lagging::Forward).unwrap();
        while transport.guard.check_circuit().is_ok() {
            transport.count_failure(StoreError::Standby { server: "s".into() });
        }
        let probe = Probe(Arc::downgrade(&transport));
        let died = tokio::spawn(async move {
            let _probe = probe;
            panic!("on purpose")
        });
        assert!(died.await.is_err());
        assert_eq!(transport.guard.check_circuit(), Ok(()));
    }
}
