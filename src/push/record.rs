//! Writes the ledger (and, where deletion is asked for, the finalizer) before anything is pushed.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::apply::Ledgers;
use super::entry::Recorder;
use super::ledger::{self, Line, Spot};
use super::plan::Plan;
use crate::api::PushSecret;
use crate::api::push_secret::{PushDeletionPolicy, SyncedPushSecrets};
use crate::cluster::{Cluster, ClusterError};

/// The ledger during one reconcile. It is written at most once, with all lines of the plan: a line too many costs nothing,
/// since only what is also claimed is ever deleted.
pub struct Record<'a> {
    cluster: &'a Cluster,
    /// Every line that this plan could need.
    lines: Vec<(Spot, String, Line)>,
    object: Mutex<PushSecret>,
}

impl<'a> Record<'a> {
    /// Starts from the ledger as the object has it.
    pub fn new(cluster: &'a Cluster, object: PushSecret, plan: &Plan) -> Self {
        let lines = plan
            .iter()
            .filter(|(_, job)| job.blocked.is_none())
            .flat_map(|(spot, job)| {
                job.lines.iter().map(|(property, line)| (spot.clone(), property.clone(), line.clone()))
            })
            .collect();
        Record { cluster, lines, object: Mutex::new(object) }
    }

    /// The object as the last write left it, with the ledger in it.
    pub fn into_object(self) -> PushSecret {
        self.object.into_inner()
    }

    async fn ensure(&self, spot: &Spot, properties: &BTreeSet<String>) -> Result<(), ClusterError> {
        let mut object = self.object.lock().await;
        match self.write(&object, spot, properties).await {
            Ok(None) => Ok(()),
            Ok(Some(written)) => {
                *object = written;
                Ok(())
            }
            // The cache was behind our own last write, or the object was edited: the first is no reason to give up.
            Err(conflict @ ClusterError::Conflict { .. }) => {
                let fresh = self.cluster.fresh_push_secret(&object).await?;
                if !is_same_wish(&object, &fresh) {
                    return Err(conflict);
                }
                let written = self.write(&fresh, spot, properties).await?;
                *object = written.unwrap_or(fresh);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// `None` where nothing had to be written.
    async fn write(
        &self,
        object: &PushSecret,
        spot: &Spot,
        properties: &BTreeSet<String>,
    ) -> Result<Option<PushSecret>, ClusterError> {
        let mut written = None;
        if object.spec.deletion_policy() == PushDeletionPolicy::Delete {
            written = self.cluster.add_push_finalizer(object).await?;
        }
        let object = written.as_ref().unwrap_or(object);
        let ledger = object.status.as_ref().map(|status| status.synced_push_secrets.clone()).unwrap_or_default();
        if self.lists(&ledger, spot, properties) {
            return Ok(written);
        }
        self.cluster.write_ledger(object, &self.with_all_lines(ledger)).await.map(Some)
    }

    fn lists(&self, ledger: &SyncedPushSecrets, spot: &Spot, properties: &BTreeSet<String>) -> bool {
        let lines = ledger.get(&spot.store.to_string());
        self.lines
            .iter()
            .filter(|(at, property, _)| at == spot && properties.contains(property))
            .all(|(_, _, line)| lines.is_some_and(|lines| ledger::has(lines, line)))
    }

    fn with_all_lines(&self, mut ledger: SyncedPushSecrets) -> SyncedPushSecrets {
        for (spot, _, line) in &self.lines {
            ledger::put(ledger.entry(spot.store.to_string()).or_default(), line);
        }
        ledger
    }
}

/// Whether two versions of a PushSecret ask for the same.
fn is_same_wish(one: &PushSecret, other: &PushSecret) -> bool {
    let (one, other) = (&one.metadata, &other.metadata);
    one.uid == other.uid
        && one.generation == other.generation
        && one.deletion_timestamp.is_some() == other.deletion_timestamp.is_some()
}

struct At<'a>(&'a Record<'a>, &'a Spot);

#[async_trait]
impl Recorder for At<'_> {
    async fn ensure(&self, properties: &BTreeSet<String>) -> Result<(), ClusterError> {
        self.0.ensure(self.1, properties).await
    }
}

impl Ledgers for Record<'_> {
    fn at<'a>(&'a self, spot: &'a Spot) -> Box<dyn Recorder + 'a> {
        Box::new(At(self, spot))
    }
}
