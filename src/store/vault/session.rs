//! One login: made once for all who need it at the same time, renewed at two thirds of its life,
//! replaced only if it is really gone, revoked at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest};

use super::auth;
use super::error::{self, Asked};
use super::reply::{self, Auth, Authenticated};
use super::transport::{Outgoing, Reply, Transport};
use crate::domain::secret::SecretBytes;
use crate::store::StoreError;
use crate::store::auth::{Login, LoginSource};
use crate::store::meter::Call;

/// How long a denied login is not tried again: doubled from the first to the last.
const FIRST_DENIAL: Duration = Duration::from_secs(1);
const LAST_DENIAL: Duration = Duration::from_secs(16);
/// If a token may not look itself up, a 403 leads to a new login at most this often.
const BLIND_PAUSE: Duration = Duration::from_secs(60);
/// What is said of a store without `auth` whose request the server refuses.
const NO_AUTH: &str = "the store has no `auth`, so Waypost sends no token, and the server denies the request: set `auth`; where an agent at `server` adds a token, let its policy allow the request";
/// The pause after a renewal that failed for another reason than the token.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// A token in use.
pub struct Token {
    header: Option<HeaderValue>,
    origin: Origin,
    /// Its life at the first login or renewal.
    life: Option<Duration>,
    lease: Option<Lease>,
}

/// The origin of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// Our own login: we renew and revoke it.
    Login,
    /// The Secret of this name: somebody else renews it.
    Secret(String),
    /// There is none: an agent in front of the server adds one.
    Agent,
}

#[derive(Clone, Copy)]
struct Lease {
    expires: Instant,
    /// When to renew it, or to log in again if it cannot be renewed.
    due: Instant,
    renewable: bool,
}

/// What a 403 meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is valid: policy forbids the request.
    Policy,
    /// The token was gone, and there is a new one.
    Replaced,
}

/// The session of one client.
pub struct Session {
    transport: Arc<Transport>,
    source: Arc<dyn LoginSource>,
    /// The Vault namespace of the login, in which its token is also looked up, renewed and revoked.
    namespace: Option<HeaderValue>,
    current: RwLock<Option<Arc<Token>>>,
    /// Whether no login may follow, so that the current token is the last one.
    sealed: AtomicBool,
    /// Why the current token may be invalid: the server does not let it look itself up.
    doubt: RwLock<Option<StoreError>>,
    /// Held while logging in, renewing or looking up.
    gate: Mutex<Gate>,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    denial: Option<Denial>,
    /// When the current token was last known to be valid.
    alive: Option<Instant>,
    /// Until when a 403 is treated as policy without a lookup.
    blind_until: Option<Instant>,
}

struct Denial {
    at: Instant,
    wait: Duration,
    error: StoreError,
}

impl Token {
    /// The header with the token; `None` with an agent.
    pub fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.lease.is_some_and(|lease| lease.expires <= now)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.lease.is_some_and(|lease| lease.due <= now)
    }

    fn from_auth(auth: &Auth, header: HeaderValue, before: Option<&Token>) -> Self {
        let now = Instant::now();
        let ttl = auth.ttl();
        let life = before.and_then(|before| before.life).or(ttl);
        let lease = ttl.map(|ttl| Lease {
            expires: now + ttl,
            due: now + ttl * 2 / 3,
            // A lease that a renewal could not extend is near its maximum: a new login is better
            // than ever shorter renewals.
            renewable: auth.renewable && life.is_none_or(|life| ttl * 2 >= life),
        });
        Token { header: Some(header), origin: Origin::Login, life, lease }
    }
}

impl Session {
    /// A session that logs in on first use.
    pub fn new(transport: Arc<Transport>, source: Arc<dyn LoginSource>, namespace: Option<HeaderValue>) -> Self {
        let (current, doubt, gate) = (RwLock::new(None), RwLock::new(None), Mutex::new(Gate::default()));
        Session { transport, source, namespace, current, sealed: AtomicBool::new(false), doubt, gate }
    }

    /// The token to use now.
    pub async fn token(&self) -> Result<Arc<Token>, StoreError> {
        let asked = Instant::now();
        let current = self.current();
        if let Some(token) = &current {
            if !token.is_due(asked) {
                return Ok(token.clone());
            }
            if !token.is_expired(asked) {
                // Somebody else renews it already; it is still valid meanwhile.
                let Ok(mut gate) = self.gate.try_lock() else { return Ok(token.clone()) };
                return self.refresh(&mut gate, asked).await;
            }
        }
        let mut gate = self.gate.lock().await;
        self.refresh(&mut gate, asked).await
    }

    /// Finds out what a 403 to a request with the token `used`, sent at `sent`, means, and replaces
    /// a token that is gone.
    pub async fn question(&self, used: &Arc<Token>, sent: Instant) -> Result<Verdict, StoreError> {
        let mut gate = self.gate.lock().await;
        // A renewed token is still the same one.
        if self.current().is_some_and(|current| current.header != used.header) {
            return Ok(Verdict::Replaced);
        }
        if used.header.is_none() {
            self.set_doubt(Some(StoreError::Credential { what: NO_AUTH.to_owned() }));
            return Ok(Verdict::Policy);
        }
        if gate.alive.is_some_and(|alive| alive >= sent) {
            return Ok(Verdict::Policy);
        }
        if gate.blind_until.is_some_and(|until| Instant::now() < until) {
            return Ok(Verdict::Policy);
        }
        self.transport.refused();
        if self.is_alive(used).await? {
            gate.alive = Some(Instant::now());
            self.set_doubt(None);
            return Ok(Verdict::Policy);
        }
        let before = used.header.clone();
        let token = self.log_in(&mut gate, sent).await?;
        match &token.origin {
            // The same token: there is no other to try.
            Origin::Secret(source_name) if token.header == before => {
                gate.blind_until = Some(Instant::now() + BLIND_PAUSE);
                self.set_doubt(Some(StoreError::TokenRefused { source_name: source_name.clone() }));
                Ok(Verdict::Policy)
            }
            Origin::Secret(_) | Origin::Login | Origin::Agent => Ok(Verdict::Replaced),
        }
    }

    /// The error instead of "permission denied" if the token itself may be the cause.
    pub fn doubt(&self) -> Option<StoreError> {
        self.doubt.read().clone()
    }

    /// Call this when a new token got a 403 too: policy forbids the request, and this token may not
    /// look itself up.
    pub async fn forbidden_when_fresh(&self) {
        self.gate.lock().await.blind_until = Some(Instant::now() + BLIND_PAUSE);
    }

    /// Revokes the token if it was ours, for good.
    pub async fn close(&self) {
        let mut gate = self.gate.lock().await;
        gate.closed = true;
        let token = self.current.write().take();
        let Some(token) = token.filter(|token| token.origin == Origin::Login) else { return };
        if let Ok(request) = self.about_token(Call::RevokeSelf, &RevokeTokenSelfRequest {}, &token) {
            // Best effort: a token that cannot be revoked expires.
            let _ = self.transport.send(&request).await;
        }
    }

    /// Makes no other token from now on; whether there is one that can be used.
    pub fn seal(&self) -> bool {
        self.sealed.store(true, Ordering::Relaxed);
        self.current().is_some_and(|token| !token.is_expired(Instant::now()))
    }

    async fn refresh(&self, gate: &mut Gate, asked: Instant) -> Result<Arc<Token>, StoreError> {
        let now = Instant::now();
        let Some(token) = self.current() else { return self.log_in(gate, asked).await };
        if !token.is_due(now) {
            return Ok(token);
        }
        let renewable = token.lease.is_some_and(|lease| lease.renewable);
        if token.is_expired(now) || !renewable {
            return match self.log_in(gate, asked).await {
                Err(error) if !token.is_expired(Instant::now()) => self.postpone(&token, error),
                other => other,
            };
        }
        match self.renew(&token).await {
            Ok(renewed) => Ok(self.keep(renewed)),
            Err(StoreError::Forbidden { .. } | StoreError::Rejected { .. }) => self.log_in(gate, asked).await,
            Err(error) => self.postpone(&token, error),
        }
    }

    /// Continues with a token that is still valid but could not be renewed.
    fn postpone(&self, token: &Token, error: StoreError) -> Result<Arc<Token>, StoreError> {
        let Some(lease) = token.lease else { return Err(error) };
        let due = (Instant::now() + RENEW_AGAIN).min(lease.expires);
        Ok(self.keep(Token {
            header: token.header.clone(),
            origin: token.origin.clone(),
            life: token.life,
            lease: Some(Lease { due, ..lease }),
        }))
    }

    async fn log_in(&self, gate: &mut Gate, asked: Instant) -> Result<Arc<Token>, StoreError> {
        if gate.closed || self.is_sealed() {
            return Err(self.has_ended());
        }
        if let Some(denial) = &gate.denial {
            // All who waited for this attempt share its outcome, and the server is not flooded with
            // a wrong login.
            if denial.at >= asked || denial.at + denial.wait > Instant::now() {
                return Err(denial.error.clone());
            }
        }
        match self.new_token().await {
            Ok(token) => {
                gate.denial = None;
                gate.alive = None;
                self.set_doubt(None);
                Ok(self.keep(token))
            }
            Err(ended @ StoreError::SessionClosed { .. }) => Err(ended),
            Err(error) => {
                self.transport.refused();
                let before = gate.denial.take().map(|denial| denial.wait * 2);
                let wait = match &error {
                    StoreError::LoginRefused { .. } => before.unwrap_or(FIRST_DENIAL).min(LAST_DENIAL),
                    // The circuit breaker protects a failing server, and a credential may be
                    // created at any time.
                    _ => Duration::ZERO,
                };
                gate.denial = Some(Denial { at: Instant::now(), wait, error: error.clone() });
                Err(error)
            }
        }
    }

    async fn new_token(&self) -> Result<Token, StoreError> {
        let login = self.source.credential().await?;
        // Meanwhile the store may have been edited, and what was read may be another server's.
        if self.is_sealed() {
            return Err(self.has_ended());
        }
        let application = match login {
            Login::Application(application) => application,
            Login::Token { token, source_name } => {
                let header = Some(auth::token_header(&token, &source_name)?);
                return Ok(Token { header, origin: Origin::Secret(source_name), life: None, lease: None });
            }
            Login::Agent => return Ok(Token { header: None, origin: Origin::Agent, life: None, lease: None }),
        };
        let request = auth::login(&application, self.namespace.as_ref())?;
        let reply = self.transport.send(&request).await?;
        if reply.status.is_success() {
            return token_of(&reply, &request, None);
        }
        Err(match self.judge(&reply, &request, "log in at") {
            StoreError::Forbidden { .. } | StoreError::Rejected { .. } | StoreError::MountMissing { .. } => {
                application.refused()
            }
            other => other,
        })
    }

    async fn renew(&self, token: &Token) -> Result<Token, StoreError> {
        let request = self.about_token(Call::RenewSelf, &RenewTokenSelfRequest { increment: None }, token)?;
        let reply = self.transport.send(&request).await?;
        match reply.status.is_success() {
            true => token_of(&reply, &request, Some(token)),
            false => Err(self.judge(&reply, &request, "renew the token at")),
        }
    }

    async fn is_alive(&self, token: &Token) -> Result<bool, StoreError> {
        let request = self.about_token(Call::LookupSelf, &LookupTokenSelfRequest {}, token)?;
        let reply = self.transport.send(&request).await?;
        match reply.status {
            status if status.is_success() => Ok(true),
            StatusCode::FORBIDDEN => Ok(false),
            _ => Err(self.judge(&reply, &request, "look the token up at")),
        }
    }

    fn about_token(
        &self,
        call: Call,
        endpoint: &impl rustify::endpoint::Endpoint,
        token: &Token,
    ) -> Result<Outgoing, StoreError> {
        auth::outgoing(call, endpoint, token.header(), self.namespace.as_ref())
    }

    fn judge(&self, reply: &Reply, request: &Outgoing, operation: &'static str) -> StoreError {
        let namespace = self.namespace.as_ref().and_then(|namespace| namespace.to_str().ok()).unwrap_or_default();
        let asked = Asked { operation, path: &request.path, mount: "", namespace, bytes: 0 };
        error::judge(reply, self.transport.server(), asked)
    }

    fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    fn has_ended(&self) -> StoreError {
        StoreError::SessionClosed { server: self.transport.server().to_owned() }
    }

    fn set_doubt(&self, doubt: Option<StoreError>) {
        *self.doubt.write() = doubt;
    }

    fn current(&self) -> Option<Arc<Token>> {
        self.current.read().clone()
    }

    fn keep(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        *self.current.write() = Some(token.clone());
        token
    }
}

fn token_of(reply: &Reply, request: &Outgoing, before: Option<&Token>) -> Result<Token, StoreError> {
    let bad = || StoreError::BadReply { operation: "log in at", path: request.path.clone(), what: "there is no token" };
    let Authenticated { mut auth } = reply::parse(&reply.body).ok_or_else(bad)?;
    let secret = SecretBytes::new(std::mem::take(&mut auth.client_token).into_bytes());
    let header = auth::token_header(&secret, "the reply to the login")?;
    Ok(Token::from_auth(&auth, header, before))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn authenticated(lease_duration: u64, before: Option<&Token>) -> Token {
        let body = serde_json::json!({
            "auth": { "client_token": "t", "lease_duration": lease_duration, "renewable": true }
        });
        let body = Zeroizing::new(body.to_string().into_bytes());
        let reply = Reply { status: StatusCode::OK, body, retry_after: None };
        let request = auth::outgoing(Call::RenewSelf, &RenewTokenSelfRequest { increment: None }, None, None).unwrap();
        token_of(&reply, &request, before).unwrap()
    }

    /// A tenant's own server may answer anything.
    #[test]
    fn a_lease_of_any_length_is_a_token_that_is_used_and_renewed() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        for lease_duration in [3600, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
            let first = authenticated(lease_duration, None);
            let renewed = authenticated(u64::MAX, Some(&first));
            let later = Instant::now() + 9 * 365 * DAY;
            assert!(!renewed.is_due(Instant::now()) && renewed.is_due(later) && !renewed.is_expired(later));
            assert!(!first.is_expired(Instant::now()) && first.is_expired(later + 2 * 365 * DAY));
            assert!(renewed.lease.is_some_and(|lease| lease.renewable), "{lease_duration}");
        }
        assert!(authenticated(0, None).lease.is_none(), "it does not expire");
    }
}
