//! Writes to each PushSecret's status which consumers have what it pushed. It is a second writer
//! besides the reconciler: counting needs no request to a store, so a consumer's change costs its
//! producer at most one status write and no reconcile.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api::PushSecret;
use crate::api::kind::Kind;
use crate::api::path_status::PushedPath;
use crate::cluster::ClusterError;
use crate::controller::context::Context;
use crate::controller::drive::Heard;
use crate::controller::guarded::Guarded;
use crate::controller::pruned::Writer;
use crate::controller::publish::{Put, Subject};
use crate::domain::object_name::Name;
use crate::feed::{Follower, Spelled};
use crate::push::propagation::counted;

/// Consumers change one by one: they are counted this long after the first change, and no status is
/// written more often.
const PAUSE: Duration = Duration::from_millis(500);
/// A status that could not be written is tried again after this time.
const RETRY: Duration = Duration::from_secs(30);

/// Counts the consumers of PushSecrets.
pub struct Propagation {
    context: Arc<Context>,
    pushes: Store<Guarded<PushSecret>>,
    /// Each name once.
    due: BTreeSet<(Instant, Name)>,
    waiting: HashSet<Name>,
}

impl Propagation {
    /// Counts for the PushSecrets in this cache.
    pub fn new(context: Arc<Context>, pushes: Store<Guarded<PushSecret>>) -> Self {
        Propagation { context, pushes, due: BTreeSet::new(), waiting: HashSet::new() }
    }

    /// Follows consumers (`recounts`) and statuses (`edits`) until `stop` is cancelled.
    pub async fn follow(
        mut self,
        mut recounts: UnboundedReceiver<Name>,
        mut edits: UnboundedReceiver<Heard>,
        stop: CancellationToken,
    ) {
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            tokio::select! {
                Some(push) = recounts.recv() => self.note(push, PAUSE),
                Some(edit) = edits.recv() => match edit {
                    Heard::One { name, owner: _ } => self.note(name, PAUSE),
                    Heard::All => self.note_all(),
                },
                () = until(next) => self.count_due(&stop).await,
                () = stop.cancelled() => return,
            }
        }
    }

    fn note(&mut self, push: Name, pause: Duration) {
        if self.waiting.insert(push.clone()) {
            self.due.insert((Instant::now() + pause, push));
        }
    }

    fn note_all(&mut self) {
        for push in self.pushes.state() {
            self.note(Name::new(push.namespace().unwrap_or_default(), push.name_any()), PAUSE);
        }
    }

    async fn count_due(&mut self, stop: &CancellationToken) {
        let now = Instant::now();
        while let Some((at, push)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, push));
                return;
            }
            self.waiting.remove(&push);
            // At the start, consumers from the former status are not known yet.
            if self.context.feed.is_starting() {
                self.note(push, PAUSE);
                continue;
            }
            match stop.run_until_cancelled(self.count(&push)).await {
                None => return,
                Some(Ok(())) => {}
                // A reconcile wrote meanwhile, which is expected.
                Some(Err(ClusterError::Conflict { .. })) => self.note(push, PAUSE),
                Some(Err(error)) => {
                    warn!(push_secret = %push, %error, "the status of its consumers cannot be written");
                    self.note(push, RETRY);
                }
            }
        }
    }

    async fn count(&self, push: &Name) -> Result<(), ClusterError> {
        let Some(object) = self.pushes.get(&ObjectRef::new(&push.name).within(&push.namespace)) else { return Ok(()) };
        let Ok(object) = &object.0 else { return Ok(()) };
        let newer = self.context.written.newer(object);
        let object = newer.as_ref().unwrap_or(object);
        let Some(status) = object.status.as_ref().filter(|_| object.metadata.deletion_timestamp.is_none()) else {
            return Ok(());
        };
        let followers = |path: &PushedPath| self.followers(push, path);
        let Some(counted) = counted(status, followers, Timestamp::now()) else { return Ok(()) };
        let (before, after) = (serde_json::json!(status), serde_json::json!(counted));
        let api = Api::namespaced(self.context.cluster.client(), &push.namespace);
        let subject = Subject { kind: Kind::PushSecret, name: push, object, api };
        // Paths and conditions are written as a whole, so those of a concurrent reconcile must not
        // be overwritten.
        let version = object.metadata.resource_version.as_deref();
        match subject.put(&self.context, Writer::Count, &before, &after, version).await {
            Ok(Put::Written | Put::AsItWas) | Err(ClusterError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn followers(&self, push: &Name, path: &PushedPath) -> Option<Vec<Follower>> {
        self.context.feed.followers(push, &Spelled { store: path.store.clone(), path: path.path.clone() })
    }
}

async fn until(next: Option<Instant>) {
    match next {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
