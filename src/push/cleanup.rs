//! Cleans up a PushSecret that is being deleted: removes what it pushed, or gives up once waiting
//! may be in vain.

use std::time::Duration;

use kube::ResourceExt;

use super::conclusion::{self, verdict};
use super::desired::{self, InvalidSpec, StoreQueries};
use super::ledger::{self, Ledger, StoreKey};
use super::observe::{NoStore, SeenStores};
use super::plan::Aim;
use super::reconcile::Turn;
use super::report::{self, Said};
use crate::api::PushSecret;
use crate::api::condition::Reason;
use crate::api::names::{ANNOTATION_ABANDON, FINALIZER_PUSH_SECRET, TRUE};
use crate::api::push_ledger::PushLedger;
use crate::api::push_secret::{PushDeletionPolicy, PushSecretStatus};
use crate::controller::referrers::Interest;
use crate::controller::report::{Report, Requeue, Verdict};
use crate::metrics::LetGo;

/// The shortest pause between tries. Otherwise the pause is as long as the deletion has been
/// waiting.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
/// When a PushSecret that said what it leaves is released.
const AT_ONCE: Requeue = Requeue::After(Duration::ZERO);
/// What you can do if you do not want to wait.
const WAY_OUT: &str = "the PushSecret is removed as soon as this succeeds; to remove it now and leave what it pushed, annotate it with \
     waypost.io/abandon: \"true\"";

impl Turn<'_> {
    /// Removes what the PushSecret pushed, and then its finalizer.
    pub(super) async fn clean_up(&self) -> Report<PushSecretStatus> {
        let ours = self.object.finalizers().iter().any(|finalizer| finalizer == FINALIZER_PUSH_SECRET);
        self.declare(Interest::default(), Interest::default());
        self.declare_texts(None);
        if !ours {
            return Report::Gone;
        }
        if self.world.deletions.is_told(&self.me.object(), &self.me.uid) {
            return self.let_go().await;
        }
        let mut stores = desired::stores(&self.object.spec);
        let StoreQueries { refs, .. } = desired::store_queries(&self.object.spec).unwrap_or_default();
        for (kind, query) in refs {
            let selected = self.world.stores.labelled(&self.namespace, kind, &query);
            stores.extend(selected.into_iter().map(|name| StoreKey::new(kind, name)));
        }
        let mut seen = self.see_stores(&stores).await;
        seen.recall(self.world.stores, &self.namespace);
        stores.extend(ledger::stores(&self.before));
        if self.belongs_to_others(&seen, &stores) {
            return Report::NotOurs;
        }
        if self.object.spec.deletion_policy() == PushDeletionPolicy::None {
            return self.let_go().await;
        }
        let earlier = match desired::earlier_versions(self.object.annotations()) {
            Ok(earlier) => earlier,
            Err(invalid) => return self.clean_up_later(&invalid).await,
        };
        let aim = Aim::Withdraw { existing: desired::existing(self.object.spec.update_policy()), earlier };
        let gone =
            Verdict { ready: false, reason: Reason::SourceDeleted, message: "what was pushed is removed".into() };
        let (object, said) = self.withdraw(&seen, &aim, gone, Some(WAY_OUT)).await;
        let all_left = || {
            let listed = Some(said.status.ledger()).filter(|ledger| !ledger.is_empty());
            let listed = listed.as_ref().map(ledger::text).into_iter();
            listed.chain(said.left.clone()).chain(said.lost.clone()).collect::<Vec<_>>().join("; ")
        };
        if said.status.lists_nothing() {
            return match (said.left.as_slice(), said.lost.as_slice()) {
                ([], []) => self.let_go_of_nothing(&object, said).await,
                (_, []) => self.give_up(LetGo::Declined, all_left(), &object, said),
                (_, _) => self.give_up(LetGo::StoreMoved, all_left(), &object, said),
            };
        }
        if self.is_abandoned() {
            return self.give_up(LetGo::Abandoned, all_left(), &object, said);
        }
        let Some(why) = self.why_in_vain(&seen, &said.status.ledger()).await else {
            return verdict(&object, said);
        };
        let left = self.world.cleanup_deadline.saturating_sub(self.going_for());
        match left.is_zero() {
            true => self.give_up(why, all_left(), &object, said),
            false => {
                let pause = left.min(self.going_for().clamp(SHORTEST_RETRY, report::OUTSIDE_RETRY));
                verdict(&object, Said { requeue: Requeue::After(pause), ..said })
            }
        }
    }

    /// Says what is left. The next reconcile removes the finalizer: if this process ends before, the
    /// next one says it again, and nothing is left without a word. But what nothing shows to be ours
    /// leaves the ledger now, or another process might find it without a claim, and remove it.
    fn give_up(&self, why: LetGo, left: String, object: &PushSecret, said: Said) -> Report<PushSecretStatus> {
        tracing::warn!(
            push_secret = %self.me.object(), left, reason = ?why, because = said.verdict.message,
            "released without removing what was pushed"
        );
        self.world.deletions.tell(&self.me.object(), &self.me.uid, self.world.instant);
        let said = Said { requeue: AT_ONCE, left: Vec::new(), lost: Vec::new(), ..said };
        Report::LetGo { why, left, rest: Box::new(verdict(object, said)) }
    }

    /// Waits for an edit, because the PushSecret does not say what to remove. The deadline is that
    /// of a PushSecret that does not decode.
    async fn clean_up_later(&self, invalid: &InvalidSpec) -> Report<PushSecretStatus> {
        let left = self.world.cleanup_deadline.saturating_sub(self.going_for());
        let message = format!("{invalid}; {WAY_OUT}");
        let verdict = Verdict { ready: false, reason: Reason::CleanupPending, message };
        let listed = ledger::text(&self.before.ledger());
        let said = self.halted(verdict, Requeue::After(left));
        match (self.is_abandoned(), left.is_zero()) {
            (true, _) => self.give_up(LetGo::Abandoned, listed, &self.object, said),
            (false, true) => self.give_up(LetGo::Unreadable, listed, &self.object, said),
            (false, false) => conclusion::verdict(&self.object, said),
        }
    }

    /// Removes the finalizer. What was said of the PushSecret is remembered until it is gone: a cache
    /// that lags, or the finalizer of somebody else, brings it here again.
    async fn let_go(&self) -> Report<PushSecretStatus> {
        match self.world.cluster.remove_push_finalizer(&self.object).await {
            Ok(_) => Report::Gone,
            Err(error) => self.failed(&error),
        }
    }

    /// The same once everything is removed. If the finalizer stays, the status says so: what appears
    /// there by the next try is another's.
    async fn let_go_of_nothing(&self, object: &PushSecret, said: Said) -> Report<PushSecretStatus> {
        match self.world.cluster.remove_push_finalizer(object).await {
            Ok(_) => Report::Gone,
            Err(error) => {
                let failed = Verdict { ready: false, reason: Reason::Errored, message: error.to_string() };
                verdict(object, Said { verdict: failed, requeue: Requeue::BackOff, ..said })
            }
        }
    }

    /// Whether a person has annotated it to leave what it pushed.
    fn is_abandoned(&self) -> bool {
        self.object.annotations().get(ANNOTATION_ABANDON).is_some_and(|value| value == TRUE)
    }

    /// Why waiting may be in vain: the store does not exist or may not be used, the namespace is being
    /// deleted, or a line of the ledger says too little. A store that is only down does not count,
    /// because it comes back.
    async fn why_in_vain(&self, seen: &SeenStores, listed: &PushLedger) -> Option<LetGo> {
        if self.world.cluster.is_namespace_terminating(&self.namespace).await.unwrap_or(false) {
            return Some(LetGo::NamespaceGone);
        }
        let listed = Ledger::read(listed, &seen.mounts);
        let all = |is_so: fn(&NoStore) -> bool| {
            let absent = |store: &StoreKey| seen.absent.get(&store.present()).is_some_and(is_so);
            listed.pushed.is_empty() && listed.unreachable.keys().all(absent)
        };
        match (all(NoStore::is_missing), all(NoStore::needs_edit)) {
            (true, _) if listed.unreachable.is_empty() => Some(LetGo::Unreadable),
            (true, _) => Some(LetGo::StoreGone),
            (false, true) => Some(LetGo::StoreRefused),
            (false, false) => None,
        }
    }

    /// How long this process has known of the deletion. `deletionTimestamp` is by another clock,
    /// and would shorten the wait if the clocks differ.
    pub(super) fn going_for(&self) -> Duration {
        self.world.deletions.known_for(&self.me.object(), &self.me.uid, self.world.instant)
    }
}
