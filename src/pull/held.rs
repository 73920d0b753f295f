//! Targets that are not read again: checks whether one is as it was rendered, and is still
//! permitted.
//!
//! A resource that is read once, or on its own changes, still depends on the stores, and on the
//! producers' consents, of what it was rendered from, also if its spec was edited since. Its status
//! reports a store that does not exist or does not serve the namespace, and a withdrawn consent
//! reaches it like any other (RF2). For that the paths are read, but no value is used.

use std::time::Instant;

use super::Pull;
use super::desired::Desired;
use super::earlier::{self, RenderedFrom};
use super::inputs::{Identities, Inputs, Paths, Texts};
use super::observe::{self, ObserveError, OpenStores, Past};
use super::ownership;
use super::plan::{self, TargetState, Written};
use super::records::{Outcome, Record};
use super::report::{Failure, Permission, StoreSince, Synced};
use crate::api::ExternalSecret;
use crate::api::condition::{self, ConditionStatus, READY};
use crate::domain::object_name::Name;
use crate::feed::{Follow, Freshness};
use crate::store::Stores;

impl<S: Stores> Pull<S> {
    /// Keeps a target as it was rendered; `None` if it differs and must be rendered again. `rendered`
    /// is what it was rendered from, and `opened` has the stores of that.
    pub(super) async fn hold(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        rendered: &RenderedFrom<'_>,
        name: &Name,
        today: &Inputs,
        opened: &OpenStores,
    ) -> Result<Option<Synced>, Failure> {
        // What is found later is nothing to it.
        self.context.feed.look_into(name, Vec::new(), Follow::Never);
        let target = Name::new(&desired.namespace, &desired.target);
        let in_doubt = self.records.take_doubt(name, &target, self.context.settings.status_heartbeat);
        let record = self.records.of(name);
        let is_known = record.as_ref().is_some_and(|record| {
            record.outcome == Outcome::Good
                && record.permission == Permission::Given
                && record.inputs.stores == today.stores
                && today.paths == Paths::AsRead
        });
        let permission = match is_known {
            true => Permission::Given,
            false => match self.ask(object, rendered, name, today, opened).await {
                Ok(Ok(())) => Permission::Given,
                // That was taken back, and the present spec names something else.
                Err(Failure::Refused(refusal)) if refusal.takes_target() && rendered.is_earlier() => return Ok(None),
                Err(failure) => return Err(failure),
                // The status is no longer true, and nothing else is known.
                Ok(Err(unread)) if !is_ready(object) => return Err(Failure::Observe(unread)),
                Ok(Err(unread)) => {
                    tracing::debug!(external_secret = %name, %unread, "the consents of its paths are not known now");
                    Permission::Unknown
                }
            },
        };
        // After a failure the record may be of a target that does not exist any more.
        let is_sure = !in_doubt && record.as_ref().is_some_and(|record| record.outcome == Outcome::Good);
        let recorded = record.as_ref().and_then(|record| record.target.clone()).filter(|(name, _)| *name == target);
        let written = match recorded {
            Some((_, written)) if is_sure || self.is_as_written(desired, &written).await? => written,
            Some(_) | None => match observe::live(&self.context.cluster, desired).await.map_err(Failure::Write)? {
                TargetState::Present(live) if ownership::is_intact(desired, &live) => {
                    let mark = plan::mark(&live.annotations).cloned().unwrap_or_default();
                    Written { stamp: live.stamp, mark, immutable: live.immutable }
                }
                TargetState::Present(_) | TargetState::Absent | TargetState::AsWritten(_) => return Ok(None),
            },
        };
        self.retire_former(object, desired).await?;
        let rendered_from = record.as_ref().and_then(|record| record.rendered_from.clone());
        let store = since(rendered_from.as_ref().map(|rendering| &rendering.stores), &today.stores.identities());
        let looked = match record.as_ref().filter(|_| is_sure) {
            Some(record) => record.looked,
            None => Instant::now(),
        };
        let inputs =
            Inputs { paths: Paths::AsRead, texts: Texts::AsRead, target: Some(written.stamp.clone()), ..today.clone() };
        let target = Some((target, written));
        let record = Record { inputs, outcome: Outcome::Good, permission, target, looked, rendered_from };
        self.records.note(name, record);
        Ok(Some(Synced::Held { store, permission }))
    }

    /// Checks whether the namespace may read what the target was rendered from. A path that cannot
    /// be read leaves this open, unless another one is enough to refuse it.
    async fn ask(
        &self,
        object: &ExternalSecret,
        rendered: &RenderedFrom<'_>,
        name: &Name,
        today: &Inputs,
        opened: &OpenStores,
    ) -> Result<Result<(), ObserveError>, Failure> {
        // Whatever ends this reconcile early, the next one does not rely on what was read.
        self.records.failed(name);
        let feed = &self.context.feed;
        let located = match rendered.is_earlier() {
            false => observe::locate_each(rendered, opened).await,
            true => earlier::locate(rendered, opened).await,
        };
        let (located, unknown) = observe::apart(located);
        observe::subscribe(feed, name, &located, Follow::Never);
        let record = self.records.of(name);
        observe::recall(feed, rendered, &located, Past::of(object, record.as_deref()));
        let freshness = match today.paths {
            Paths::Moved => Freshness::Shared,
            Paths::AsRead => Freshness::Since(Instant::now()),
        };
        let reads = observe::read_consents(feed, name, &located, freshness).await;
        let (snapshots, unread) = observe::apart(reads);
        let snapshots = snapshots.concat();
        let judged = match rendered.is_earlier() {
            false => self.check_permission(object, rendered, &snapshots).await,
            true => self.check_earlier(object, rendered, &snapshots).await,
        };
        match judged {
            Ok(()) => Ok(unknown.into_iter().chain(unread).next().map_or(Ok(()), Err)),
            // Whether a consent was not known is no verdict on a target that is held.
            Err(Failure::Observe(unread)) => Ok(Err(unread)),
            Err(failure) => Err(failure),
        }
    }
}

/// Whether the stores are still those that the target was rendered from.
fn since(rendered_from: Option<&Identities>, today: &Identities) -> StoreSince {
    match rendered_from {
        None => StoreSince::Unknown,
        Some(before) if before == today => StoreSince::AsItWas,
        Some(_) => StoreSince::Edited,
    }
}

fn is_ready(object: &ExternalSecret) -> bool {
    let ready = object.status.as_ref().and_then(|status| condition::find(&status.conditions, READY));
    ready.is_some_and(|ready| ready.status == ConditionStatus::True)
}
