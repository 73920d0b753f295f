//! Leader election by a Lease, with client-go's times.
//!
//! Leadership is an optimisation. Of two active replicas, neither overwrites what it has not read:
//! each write of a value has a check-and-set number, each write to Kubernetes a resourceVersion or a
//! UID, and changes of custom metadata, which have neither, rely on claims. After a lost Lease, all
//! running work is stopped, then the process ends, and another replica takes over
//! (`src/run/leading.rs`).

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cluster::{Cluster, ClusterError};

const LEASE: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
/// How long one request may take. One that gets no answer must not take the whole deadline: the next
/// one may go over another connection.
const REQUEST: Duration = Duration::from_secs(4);

/// A candidate for leadership.
pub struct Elector {
    cluster: Cluster,
    leases: Api<Lease>,
    name: String,
    identity: String,
    seen: Option<Seen>,
}

/// The last seen state of another holder, timed by our own monotonic clock, because remote clocks
/// may be wrong.
struct Seen {
    holder: String,
    resource_version: String,
    since: Instant,
}

/// The result of an attempt to get the Lease.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    /// We hold it.
    Held,
    /// Another replica holds it.
    Others,
    /// Somebody wrote it at the same time: the next read shows who.
    Crossed,
}

/// What to do, given the current Lease.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Create,
    Take,
    Renew,
    Wait,
}

impl Elector {
    /// A candidate, identified by the pod's name and a unique suffix.
    pub fn new(cluster: Cluster, namespace: &str, name: &str) -> Self {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let identity = format!("{}_{:016x}", host.trim(), rand::random::<u64>());
        let leases = Api::namespaced(cluster.client(), namespace);
        Elector { cluster, leases, name: name.to_owned(), identity, seen: None }
    }

    /// Waits until the Lease was read once: a replica that cannot read it could not take over.
    /// False if `stop` came first.
    pub async fn look(&self, stop: &CancellationToken) -> bool {
        loop {
            match self.get().await {
                Ok(_) => return true,
                Err(error) => warn!(%error, "cannot read the lease: not ready to take over"),
            }
            if !pause(stop).await {
                return false;
            }
        }
    }

    /// Waits until we hold the Lease. False if `stop` came first.
    pub async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        loop {
            match self.attempt().await {
                Ok(Attempt::Held) => {
                    info!(lease = %self.name, "leading");
                    return true;
                }
                Ok(Attempt::Others | Attempt::Crossed) => {}
                Err(error) => warn!(%error, "cannot take the lease"),
            }
            if !pause(stop).await {
                return false;
            }
        }
    }

    /// Renews until the Lease is lost. What stops the work does not end it: nobody else may lead
    /// before the last reconcile has ended.
    pub async fn hold(&mut self) {
        let mut deadline = tokio::time::Instant::now() + RENEW_DEADLINE;
        loop {
            tokio::time::sleep(RETRY).await;
            match tokio::time::timeout_at(deadline, self.attempt_until_answered()).await {
                Ok(Ok(Attempt::Held)) => deadline = tokio::time::Instant::now() + RENEW_DEADLINE,
                Ok(Ok(Attempt::Crossed)) => {}
                Ok(Err(error)) => warn!(%error, "cannot renew the lease"),
                Ok(Ok(Attempt::Others)) | Err(_) => return,
            }
        }
    }

    /// The result of the first attempt whose requests are answered.
    async fn attempt_until_answered(&mut self) -> Result<Attempt, ClusterError> {
        loop {
            match self.attempt().await {
                Err(error @ ClusterError::Timeout { .. }) => warn!(%error, "no answer about the lease: asking again"),
                ended => return ended,
            }
        }
    }

    /// Releases the Lease, so that the next candidate can take it at once.
    pub async fn release(&mut self) {
        let held = self.get().await.ok().flatten().filter(|lease| holder(lease) == Some(self.identity.as_str()));
        if let Some(mut lease) = held {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            if let Err(error) = self.replace(&lease).await {
                warn!(%error, "cannot release the lease");
            }
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, ClusterError> {
        let found = self.get().await?;
        let now = Instant::now();
        let written = match (self.action(found.as_ref(), now), found) {
            (Action::Wait, _) => return Ok(Attempt::Others),
            (Action::Create, _) | (Action::Take | Action::Renew, None) => self.create().await,
            (Action::Take, Some(lease)) => self.replace(&self.claimed(lease, true)).await,
            (Action::Renew, Some(lease)) => self.replace(&self.claimed(lease, false)).await,
        };
        match written {
            Ok(()) => Ok(Attempt::Held),
            Err(ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. }) => Ok(Attempt::Crossed),
            Err(error) => Err(error),
        }
    }

    fn action(&mut self, lease: Option<&Lease>, now: Instant) -> Action {
        let Some(lease) = lease else { return Action::Create };
        let Some(holder) = holder(lease) else { return Action::Take };
        if holder == self.identity {
            return Action::Renew;
        }
        let resource_version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.seen {
            Some(seen) if seen.holder == holder && seen.resource_version == resource_version => {
                if now.duration_since(seen.since) > LEASE { Action::Take } else { Action::Wait }
            }
            Some(_) | None => {
                self.seen = Some(Seen { holder: holder.to_owned(), resource_version, since: now });
                Action::Wait
            }
        }
    }

    fn claimed(&self, mut lease: Lease, taken_over: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        spec.renew_time = Some(now.clone());
        if taken_over {
            spec.acquire_time = Some(now);
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        }
        lease
    }

    async fn get(&self) -> Result<Option<Lease>, ClusterError> {
        self.in_time("get", self.cluster.get(&self.subject(), self.leases.get(&self.name))).await
    }

    async fn create(&self) -> Result<(), ClusterError> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let lease = self.claimed(Lease { metadata, spec: Some(LeaseSpec::default()) }, true);
        let params = PostParams::default();
        let created = self.leases.create(&params, &lease);
        self.in_time("create", self.cluster.request("create", &self.subject(), created)).await.map(drop)
    }

    async fn replace(&self, lease: &Lease) -> Result<(), ClusterError> {
        let params = PostParams::default();
        let replaced = self.leases.replace(&self.name, &params, lease);
        self.in_time("update", self.cluster.request("update", &self.subject(), replaced)).await.map(drop)
    }

    async fn in_time<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let late = |_elapsed| Err(ClusterError::Timeout { verb, object: self.subject() });
        tokio::time::timeout(REQUEST, request).await.unwrap_or_else(late)
    }

    fn subject(&self) -> String {
        format!("Lease {}", self.name)
    }
}

/// A pause between two reads. False if `stop` came first.
async fn pause(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(RETRY.mul_f64(rand::random_range(1.0..1.2))) => true,
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use axum::http::StatusCode;
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;

    fn elector() -> Elector {
        let (service, _handle) = tower_test::mock::pair::<axum::http::Request<Body>, axum::http::Response<Body>>();
        Elector::new(Cluster::new(kube::Client::new(service, "ns")), "ns", "lease")
    }

    type Answers = Vec<(u16, &'static str)>;

    /// A candidate whose API server answers each request with the next of these.
    fn elector_with(answers: Answers) -> (Elector, Arc<Mutex<Answers>>) {
        let left = Arc::new(Mutex::new(answers));
        let answers = left.clone();
        let router = axum::Router::new().fallback(async move || {
            let (code, reason) = answers.lock().remove(0);
            let status =
                json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason });
            (StatusCode::from_u16(code).unwrap(), status.to_string())
        });
        (Elector::new(Cluster::new(kube::Client::new(router, "ns")), "ns", "lease"), left)
    }

    fn lease(holder: &str, resource_version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some(resource_version.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec { holder_identity: Some(holder.to_owned()), ..LeaseSpec::default() }),
        }
    }

    #[tokio::test]
    async fn a_lease_is_taken_only_when_nobody_renews_it() {
        let (mut elector, start) = (elector(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(elector.action(None, start), Action::Create);
        assert_eq!(elector.action(Some(&lease("other", "1")), start), Action::Wait);
        assert_eq!(elector.action(Some(&lease("other", "2")), later(14)), Action::Wait);
        assert_eq!(elector.action(Some(&lease("other", "2")), later(28)), Action::Wait);
        assert_eq!(elector.action(Some(&lease("other", "2")), later(30)), Action::Take);
        assert_eq!(elector.action(Some(&lease("", "3")), later(30)), Action::Take);
        let own = lease(&elector.identity.clone(), "4");
        assert_eq!(elector.action(Some(&own), later(30)), Action::Renew);
    }

    /// A leader whose API server leaves these requests without an answer, counted from 0, and says
    /// that nothing is wrong with the others. With the times of the requests.
    fn leader_unanswered(lost: Range<usize>) -> (Elector, Arc<Mutex<Vec<tokio::time::Instant>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let times = asked.clone();
        let router = axum::Router::new().fallback(async move || {
            let number = times.lock().len();
            times.lock().push(tokio::time::Instant::now());
            if lost.contains(&number) {
                std::future::pending::<()>().await;
            }
            json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "lease" } })
                .to_string()
        });
        (Elector::new(Cluster::new(kube::Client::new(router, "ns")), "ns", "lease"), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_does_not_end_a_leader_and_a_server_without_answers_does() {
        let (mut elector, asked) = leader_unanswered(2..3);
        let renews = tokio::time::timeout(4 * RENEW_DEADLINE, elector.hold());
        assert!(renews.await.is_err(), "one lost request ended it");
        let times = asked.lock().clone();
        assert_eq!(times[3] - times[2], REQUEST, "it asks again at once");

        let (mut elector, asked) = leader_unanswered(2..usize::MAX);
        let began = tokio::time::Instant::now();
        elector.hold().await;
        let renewed = asked.lock()[1];
        assert_eq!(renewed - began, RETRY);
        assert_eq!(renewed.elapsed(), RENEW_DEADLINE, "it leads on, or ended early");
    }

    #[tokio::test(start_paused = true)]
    async fn a_candidate_has_seen_the_lease_once_it_could_read_it_even_if_there_is_none() {
        let denied = (403, "Forbidden");
        let (elector, left) = elector_with(vec![denied, (500, "InternalError"), (404, "NotFound"), denied]);
        assert!(elector.look(&CancellationToken::new()).await);
        assert_eq!(*left.lock(), [denied], "only an answer about the Lease counts");
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!elector.look(&stop).await, "nothing was seen");
        assert!(left.lock().is_empty());
    }
}
