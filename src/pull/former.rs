//! Deletes the former targets after changes of `target.name`.

use std::collections::{BTreeMap, BTreeSet};

use super::Pull;
use super::apply;
use super::desired::Desired;
use super::report::Failure;
use crate::api::condition::{self, ConditionStatus, READY};
use crate::api::external_secret::ExternalSecretStatus;
use crate::api::{ExternalSecret, names};
use crate::cluster::ClusterError;
use crate::domain::fingerprint;
use crate::domain::label_query::{LabelQuery, Selector};
use crate::domain::target::Live;
use crate::store::Stores;

impl<S: Stores> Pull<S> {
    /// Deletes the former targets, once the new one is as it should be: it may be that there should
    /// be none (KG1). They are looked up after that write, and the resource too: what its cached spec
    /// calls a former target may be the present one.
    pub(super) async fn retire_former(&self, object: &ExternalSecret, desired: &Desired) -> Result<(), Failure> {
        let former = self.former(object, desired).await?;
        if !former.is_empty() {
            self.confirm(object).await.map_err(Failure::Write)?;
        }
        for (name, live) in former {
            apply::delete(&self.context.cluster, desired, &name, &live.stamp).await.map_err(Failure::Write)?;
        }
        Ok(())
    }

    /// The former targets that still exist and are ours, by name.
    pub(super) async fn former(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
    ) -> Result<BTreeMap<String, Live>, Failure> {
        let mut names: BTreeSet<String> = name(object, desired).map(str::to_owned).into_iter().collect();
        if may_be_unnamed(object) {
            names.extend(self.labelled(desired).await.map_err(Failure::Write)?);
            names.remove(&desired.target);
        }
        let manager = names::target_manager(&desired.name);
        let mut former = BTreeMap::new();
        for name in names {
            let live =
                self.context.cluster.target(&desired.namespace, &name, &manager).await.map_err(Failure::Write)?;
            let is_ours = |live: &Live| live.owners.iter().any(|owner| owner.controller && owner.uid == desired.uid);
            former.extend(live.filter(is_ours).map(|live| (name, live)));
        }
        Ok(former)
    }

    /// The names of the Secrets with the label that every target of the resource has.
    async fn labelled(&self, desired: &Desired) -> Result<BTreeSet<String>, ClusterError> {
        let owner = fingerprint::owner_label(&desired.namespace, &desired.name);
        let match_labels = BTreeMap::from([(names::LABEL_CREATED_BY.to_owned(), owner)]);
        let query = LabelQuery::parse(&Selector { match_labels, ..Selector::default() });
        let query = query.expect("a constant, and a digest in hexadecimal");
        self.context.cluster.source_names(&desired.namespace, &query).await
    }
}

/// The name of the former target, if the status names another one than the spec.
pub(super) fn name<'o>(object: &'o ExternalSecret, desired: &Desired) -> Option<&'o str> {
    let bound = object.status.as_ref()?.binding.as_ref()?.name.as_str();
    Some(bound).filter(|bound| !bound.is_empty() && *bound != desired.target)
}

/// Whether there may be a former target that the status does not name: a generation of the spec
/// between the last one that was finished and the present one may have had another name, and may
/// have been stopped after its target was created.
fn may_be_unnamed(object: &ExternalSecret) -> bool {
    let finished = object.status.as_ref().and_then(finished).unwrap_or_default();
    object.metadata.generation.is_some_and(|present| present > finished + 1)
}

/// The last generation of the spec that left no former target.
fn finished(status: &ExternalSecretStatus) -> Option<i64> {
    let ready = condition::find(&status.conditions, READY).filter(|ready| ready.status == ConditionStatus::True);
    let synced = status.synced_resource_version.as_deref().and_then(|synced| synced.split('-').next()?.parse().ok());
    ready.and_then(|ready| ready.observed_generation).max(synced)
}
