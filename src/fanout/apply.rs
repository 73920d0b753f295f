//! Carries out a plan: creates and updates first, deletes last. A namespace that fails delays no
//! other.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tracing::info;

use super::change::{Problem, change, child};
use super::desired::Desired;
use super::kind::{Child, Parent};
use super::known::{Found, Known};
use super::plan::{Plan, Step, Unwanted, Why};
use crate::cluster::{Cluster, ClusterError};

/// How many namespaces are written concurrently.
const CONCURRENT: usize = 8;

/// The outcome of each namespace of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// The namespaces that match.
    pub wanted: BTreeMap<String, Outcome>,
    /// The namespaces whose child was to be deleted.
    pub unwanted: BTreeMap<String, Outcome>,
}

/// The outcome of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as desired.
    Done,
    /// The namespace is being deleted; there is nothing to do.
    Leaving,
    /// Something changed between the read and the write, possibly as this error says. It is decided
    /// again.
    Moved(Option<ClusterError>),
    /// A problem prevents it.
    Failed(Problem),
}

impl Outcome {
    /// Whether it must be decided again soon.
    pub fn has_moved(&self) -> bool {
        matches!(self, Outcome::Moved(_))
    }
}

pub struct Applier<'a, P: Parent> {
    pub cluster: &'a Cluster,
    pub desired: &'a Desired<<P::Child as Child>::Spec>,
    pub known: &'a Known,
}

impl<P: Parent> Applier<'_, P> {
    /// Creates and changes, then deletes.
    pub async fn run(&self, plan: &Plan) -> Results {
        let mut results = self.carry_out(plan).await;
        self.known.bound(self.desired, &mut results);
        results
    }

    async fn carry_out(&self, plan: &Plan) -> Results {
        let mut results = Results::default();
        let steps = plan.wanted.iter().map(|(namespace, step)| self.one(namespace, step).boxed());
        results.wanted = side_by_side(steps.collect()).await;
        let ready = |unwanted: &&Unwanted| match unwanted.why {
            Why::Unmatched => true,
            Why::Renamed => results.wanted.get(&unwanted.namespace) == Some(&Outcome::Done),
        };
        let due: Vec<&Unwanted> = plan.unwanted.iter().filter(ready).collect();
        // A long list takes a while, and an edit of the parent ends it.
        for batch in due.chunks(CONCURRENT) {
            results.unwanted.extend(match self.is_current().await {
                Ok(true) => side_by_side(batch.iter().map(|due| self.remove(due).boxed()).collect()).await,
                Ok(false) => batch.iter().map(|due| (due.namespace.clone(), Outcome::Moved(None))).collect(),
                Err(error) => batch.iter().map(|due| (due.namespace.clone(), Outcome::from(error.clone()))).collect(),
            });
        }
        results
    }

    async fn one(&self, namespace: &str, step: &Step) -> (String, Outcome) {
        let done = match step {
            Step::Keep => Ok(Outcome::Done),
            Step::Leave(problem) => Ok(Outcome::Failed(problem.clone())),
            Step::Create => self.create(namespace).await,
            Step::Settle => self.settle(namespace).await,
        };
        (namespace.to_owned(), done.unwrap_or_else(Outcome::from))
    }

    async fn create(&self, namespace: &str) -> Result<Outcome, ClusterError> {
        match self.cluster.create_child(namespace, &child::<P>(self.desired, namespace)).await {
            Ok(()) => {
                self.log(namespace, &self.desired.child.name, "created");
                Ok(Outcome::Done)
            }
            // The cache does not show it yet, and it may belong to anybody.
            Err(ClusterError::AlreadyExists { .. }) => self.settle(namespace).await,
            Err(error) => Err(error),
        }
    }

    /// Reads the child live, and patches it if it differs.
    async fn settle(&self, namespace: &str) -> Result<Outcome, ClusterError> {
        let name = &self.desired.child.name;
        let Some(live) = self.cluster.child::<P::Child>(namespace, name).await? else {
            return Ok(Outcome::Moved(None));
        };
        if let Some(problem) = Problem::with(self.desired, &live.metadata) {
            return Ok(Outcome::Failed(problem));
        }
        let Some(patch) = change(self.desired, &live) else {
            self.known.note(self.desired, &live.metadata, Found::InPlace);
            return Ok(Outcome::Done);
        };
        let written = self.cluster.patch_child::<P::Child>(namespace, name, patch).await?;
        self.log(namespace, name, "updated");
        let found = if change(self.desired, &written).is_none() { Found::InPlace } else { Found::ChangedBack };
        self.known.note(self.desired, &written.metadata, found);
        Ok(match found {
            Found::InPlace => Outcome::Done,
            Found::ChangedBack => Outcome::Failed(Problem::ChangedBack),
        })
    }

    /// Whether the plan was made from the current spec, which is read live: no deletion relies on a
    /// cache.
    async fn is_current(&self) -> Result<bool, ClusterError> {
        let found = self.cluster.parent::<P>(&self.desired.name).await?;
        Ok(found.is_some_and(|found| {
            found.uid.as_ref() == Some(&self.desired.uid)
                && found.generation == self.desired.generation
                && found.deletion_timestamp.is_none()
        }))
    }

    async fn remove(&self, unwanted: &Unwanted) -> (String, Outcome) {
        (unwanted.namespace.clone(), self.delete(unwanted).await.unwrap_or_else(Outcome::from))
    }

    /// Deletes a child. No other function does.
    async fn delete(&self, unwanted: &Unwanted) -> Result<Outcome, ClusterError> {
        let Unwanted { namespace, name, why } = unwanted;
        let Some(found) = self.cluster.namespace(namespace).await? else { return Ok(Outcome::Leaving) };
        if found.deletion_timestamp.is_some() {
            return Ok(Outcome::Leaving);
        }
        if (*why == Why::Unmatched) == self.desired.wants(&found) {
            return Ok(Outcome::Moved(None));
        }
        let Some(live) = self.cluster.child::<P::Child>(namespace, name).await? else { return Ok(Outcome::Done) };
        if !self.desired.owns(&live.metadata) || live.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        self.cluster.delete_child::<P::Child>(namespace, name, &live.metadata).await?;
        self.log(namespace, name, "deleted");
        Ok(Outcome::Done)
    }

    fn log(&self, namespace: &str, name: &str, what: &'static str) {
        info!(namespace, kind = self.desired.words.child, child = name, parent = self.desired.name, "child {what}");
    }
}

impl From<ClusterError> for Outcome {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NamespaceTerminating { .. } => Outcome::Leaving,
            ClusterError::NotFound { .. } | ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. } => {
                Outcome::Moved(Some(error))
            }
            ClusterError::Forbidden { .. }
            | ClusterError::Invalid { .. }
            | ClusterError::Held { .. }
            | ClusterError::Api { .. }
            | ClusterError::Timeout { .. }
            | ClusterError::Transport { .. } => Outcome::Failed(Problem::Cluster(error)),
        }
    }
}

/// Runs [`CONCURRENT`] at a time.
async fn side_by_side(work: Vec<BoxFuture<'_, (String, Outcome)>>) -> BTreeMap<String, Outcome> {
    futures::stream::iter(work).buffer_unordered(CONCURRENT).collect().await
}
