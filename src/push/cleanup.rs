//! The end of a PushSecret: removes what it pushed, or lets it go where waiting may be in vain.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::desired::{self, InvalidSpec};
use super::ledger::{self, StoreKey};
use super::observe::{Absence, SeenStores};
use super::plan::Aim;
use super::reconcile::Turn;
use super::report;
use crate::api::PushSecret;
use crate::api::condition::Reason;
use crate::api::names::{ANNOTATION_ABANDON, FINALIZER_PUSH_SECRET, TRUE};
use crate::api::push_secret::{PushDeletionPolicy, PushSecretStatus};
use crate::controller::referrers::Interest;
use crate::controller::report::{LetGo, Report, Requeue, Verdict};

/// What is held until its deadline is tried again after as long as it is held already, but no sooner than this.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
/// What a person can do who does not want to wait.
const WAY_OUT: &str = "it goes by itself once that is possible; to let it go now and leave what it pushed, annotate it \
     waypost.io/abandon: \"true\"";

impl Turn<'_> {
    /// The PushSecret is being deleted.
    pub(super) async fn clean_up(&self) -> Report<PushSecretStatus> {
        let ours = self.object.finalizers().iter().any(|finalizer| finalizer == FINALIZER_PUSH_SECRET);
        self.declare(Interest::default(), Interest::default());
        if !ours {
            return Report::Gone;
        }
        let mut stores = desired::stores(&self.object.spec);
        let mut seen = self.see_stores(&stores).await;
        seen.recall(self.world.stores, &self.namespace);
        stores.extend(ledger::stores(&self.before.synced_push_secrets));
        if self.belongs_to_others(&seen, &stores) {
            return Report::NotOurs;
        }
        if self.object.spec.deletion_policy() == PushDeletionPolicy::None {
            return self.let_go(&self.object).await;
        }
        let earlier = match desired::earlier_versions(self.object.annotations()) {
            Ok(earlier) => earlier,
            Err(invalid) => return self.clean_up_later(&invalid).await,
        };
        let aim = Aim::Withdraw { existing: desired::existing(self.object.spec.update_policy()), earlier };
        let gone =
            Verdict { ready: false, reason: Reason::SourceDeleted, message: "what was pushed is removed".into() };
        let report = self.withdraw(&seen, &aim, gone, Some(WAY_OUT)).await;
        let Report::Verdict { verdict, status, .. } = &report else { return report };
        if status.after.synced_push_secrets.is_empty() {
            return self.let_go(&self.object).await;
        }
        if self.is_abandoned() {
            return self.give_up(LetGo::Abandoned, &status.after, verdict).await;
        }
        let Some(why) = self.why_in_vain(&seen).await else { return report };
        let left = self.world.cleanup_deadline.saturating_sub(self.going_for());
        match left.is_zero() {
            true => self.give_up(why, &status.after, verdict).await,
            false => report.again_within(left.min(self.going_for().clamp(SHORTEST_RETRY, report::OUTSIDE_RETRY))),
        }
    }

    async fn give_up(&self, why: LetGo, left: &PushSecretStatus, verdict: &Verdict) -> Report<PushSecretStatus> {
        let left = ledger::text(&left.synced_push_secrets);
        tracing::warn!(
            push_secret = %self.me.object(), left, reason = ?why, because = verdict.message,
            "let go without removing what was pushed"
        );
        match self.let_go(&self.object).await {
            Report::Gone => Report::LetGo { why, left },
            kept => kept,
        }
    }

    /// It does not say what is to be removed. That is waited for no longer than for what cannot be read at all.
    async fn clean_up_later(&self, invalid: &InvalidSpec) -> Report<PushSecretStatus> {
        let left = self.world.cleanup_deadline.saturating_sub(self.going_for());
        let message = format!("{invalid}; {WAY_OUT}");
        let verdict = Verdict { ready: false, reason: Reason::CleanupPending, message };
        match (self.is_abandoned(), left.is_zero()) {
            (true, _) => self.give_up(LetGo::Abandoned, &self.before, &verdict).await,
            (false, true) => self.give_up(LetGo::Unreadable, &self.before, &verdict).await,
            (false, false) => self.halt(verdict, Requeue::After(left)),
        }
    }

    async fn let_go(&self, object: &PushSecret) -> Report<PushSecretStatus> {
        match self.world.cluster.remove_push_finalizer(object).await {
            Ok(()) => Report::Gone,
            Err(error) => self.failed(&error),
        }
    }

    /// Whether a person said that what was pushed may stay.
    fn is_abandoned(&self) -> bool {
        self.object.annotations().get(ANNOTATION_ABANDON).is_some_and(|value| value == TRUE)
    }

    /// Why waiting may be in vain: nobody must be held for good by a store or namespace that goes away.
    async fn why_in_vain(&self, seen: &SeenStores) -> Option<LetGo> {
        let listed = ledger::stores(&self.before.synced_push_secrets);
        let is_gone = |store: &StoreKey| seen.absent.get(store).is_some_and(|absent| absent.why == Absence::Missing);
        if self.world.cluster.is_namespace_terminating(&self.namespace).await.unwrap_or(false) {
            return Some(LetGo::NamespaceGone);
        }
        listed.iter().any(is_gone).then_some(LetGo::StoreGone)
    }

    /// How long ago its deletion was asked for.
    fn going_for(&self) -> Duration {
        let since = self.object.metadata.deletion_timestamp.as_ref();
        since.map_or(Duration::ZERO, |Time(since)| self.world.now.duration_since(*since).unsigned_abs())
    }
}
