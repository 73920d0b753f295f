//! What must hold: after each reconcile, once it is calm, and of what is gone.

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::OBJECT;
use super::events::{Event, Serves};
use super::one_store::PROPERTIES;
use super::process::Process;
use super::world::{Taken, World, property_of};
use crate::pull::report::Permission;

/// How often it is reconciled at most until it is calm.
const CALM_TURNS: usize = 8;

impl World {
    /// Something happens, and the laws hold.
    pub async fn tells(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let (held, may_go) = (self.held(), self.may_go());
        let may_go_by_others = matches!(event, Event::DeleteTarget | Event::Collect)
            || matches!(event, Event::Amid { event, .. } if
                matches!(**event, Event::DeleteTarget | Event::Collect));
        self.happens(event).await;
        if held.is_some() && self.held().is_none() && !may_go_by_others {
            prop_assert!(may_go || self.may_go(), "it lost its target by {event:?}");
        }
        match event {
            Event::Reconcile | Event::Woken => self.is_honest()?,
            _other => {}
        }
        self.counts_as_what_it_has().await?;
        self.is_forgotten()
    }

    /// I7. Who does not follow has what it had, as long as its stores and producers let it.
    fn is_honest(&self) -> Result<(), TestCaseError> {
        if !self.is_there() {
            return Ok(());
        }
        let ready = self.ready();
        if self.unshown {
            return Ok(());
        }
        self.is_no_older_than_its_refresh(&ready)?;
        let is_owed = self.process.context.written.is_owed(&self.uid());
        if ready["status"] != "True" || ready["current"] != true || is_owed {
            return Ok(());
        }
        let is_deleted = ready["reason"] == "SecretDeleted" && self.deletes;
        prop_assert!(self.held().is_some() || is_deleted, "ready without a target: {ready}");
        prop_assert_eq!(self.store.serves(), Serves::Yes, "ready by a store that does not serve: {}", ready);
        // What is held stays as it is while the server lags and no consent can be read.
        let record = self.process.records.of(&Process::name());
        let is_known = record.is_none_or(|record| record.permission == Permission::Given);
        prop_assert!(!self.is_forbidden() || self.unheard || !is_known, "ready without a permission: {ready}");
        // While others that lose are looked for, the status is as it was.
        let awaits = self.process.pull.losses.awaits(&Process::name());
        if self.policy == "Periodic" && !self.untold && !awaits {
            prop_assert_eq!(self.held_by_own(), self.wanted(), "ready with another value: {}", ready);
            prop_assert!(self.has_its_text(), "ready with another text: {ready}");
            let is_gone = self.held().is_none();
            prop_assert!(is_gone || !self.lacks_its_text(), "ready without its text: {ready}");
        }
        Ok(())
    }

    /// Argo CD takes an OnChange resource for stale while its condition is older than its refresh.
    fn is_no_older_than_its_refresh(&self, ready: &Value) -> Result<(), TestCaseError> {
        let object: Value = self.api.get(OBJECT).unwrap();
        let time = |time: &Value| time.as_str().map(|time| time.parse::<Timestamp>().unwrap());
        let (refreshed, changed) = (time(&object["status"]["refreshTime"]), time(&ready["lastTransitionTime"]));
        prop_assert!(self.policy != "OnChange" || changed >= refreshed, "{changed:?} is older than {refreshed:?}");
        Ok(())
    }

    /// The producer is told of no later version than the target was rendered from.
    async fn counts_as_what_it_has(&self) -> Result<(), TestCaseError> {
        if self.unanswered {
            return Ok(());
        }
        let counted = self.followers().await.into_iter().next().and_then(|follower| follower.version);
        let Some((version, held)) = counted.filter(|version| *version > 0).zip(self.held_by_own()) else {
            return Ok(());
        };
        // A write whose reply was lost may have put a later one there.
        let mut values = self.paths[self.store.at()].values.range(version..).flat_map(|(_, values)| values);
        let has = values.any(|value| *value == held);
        prop_assert!(has || held == "x", "it counts as having version {version}, and holds {held:?}");
        Ok(())
    }

    /// Of what the watch has shown to be gone, nothing is remembered. A first page may have shown
    /// what the cache lacks.
    fn is_forgotten(&self) -> Result<(), TestCaseError> {
        if self.process.cached().is_none() && !self.process.lists {
            prop_assert_eq!(self.process.remembers(), Vec::<&str>::new(), "it is gone, and something is remembered");
        }
        Ok(())
    }

    /// Once nothing fails any more, what is woken is reconciled, and nothing else.
    pub async fn calms_down(&mut self) -> Result<(), TestCaseError> {
        self.heal().await;
        for _turn in 0..CALM_TURNS {
            if !self.process.queue.take() {
                break;
            }
            self.tells(&Event::Wait).await?;
            self.tells(&Event::Reconcile).await?;
        }
        if !self.is_there() {
            return self.is_forgotten();
        }
        self.is_right()?;
        if self.unheard {
            // Its next try, which may be an hour away.
            self.tells(&Event::Reconcile).await?;
        }
        let writes = self.api.writes();
        let asks = self.process.queue.take();
        self.reconcile().await;
        self.deliver();
        prop_assert_eq!(self.api.writes(), writes, "calm, and it writes");
        prop_assert_eq!(self.process.queue.take(), asks, "calm, and it wakes itself");
        Ok(())
    }

    fn is_right(&self) -> Result<(), TestCaseError> {
        let ready = self.ready();
        let may = !self.is_forbidden() && self.store.serves() == Serves::Yes;
        prop_assert_eq!(&ready["current"], &json!(true), "an old verdict: {}", ready);
        match (may, self.wanted().is_some()) {
            _ if self.unheard || self.is_out_of_reach() => {}
            (true, true) => {
                prop_assert_eq!(&ready["status"], "True", "it is {}", ready);
                prop_assert!(self.held().is_some(), "its value is there, and it has no target: {ready}");
                if self.policy == "Periodic" {
                    prop_assert_eq!(self.held(), self.wanted(), "it says {}", ready);
                    prop_assert!(self.has_its_text(), "its template has another text: {ready}");
                }
            }
            (true, false) => self.is_right_without_a_value(&ready)?,
            (false, _) => prop_assert_eq!(&ready["status"], "False", "it is {}", ready),
        }
        if ready["status"] == "True" {
            prop_assert_eq!(self.bound().is_some(), self.held().is_some(), "it is {}", ready);
        }
        if self.is_forbidden() && self.store.serves() == Serves::Yes && !self.unheard && !self.is_out_of_reach() {
            prop_assert_eq!(self.held(), None, "a permission was withdrawn: {}", ready);
            prop_assert_eq!(self.bound(), None, "its target was deleted: {}", ready);
        }
        Ok(())
    }

    /// Whether it was edited after it was read once, and the store has left the mount that it was
    /// read from: nobody can ask for the consents there.
    fn is_out_of_reach(&self) -> bool {
        let object: Value = self.api.get(OBJECT).unwrap_or_default();
        let synced = object["status"]["syncedResourceVersion"].as_str().and_then(|synced| synced.split('-').next());
        let is_edited = synced.is_some_and(|synced| synced.parse().ok() != object["metadata"]["generation"].as_i64());
        let read = object["status"]["paths"][0]["path"].as_str();
        self.policy == "CreatedOnce" && is_edited && read != Some(&self.store.place().1.to_string())
    }

    /// Whether a target may go, by the object as the controller knows it.
    pub fn may_go(&self) -> bool {
        let may_be_taken = match self.paths[self.store.at()].taken {
            Taken::Push { .. } => true,
            // Its owner may have removed what the target holds before that.
            Taken::Nobody | Taken::Hand => !self.setting.crowded || self.is_live() && self.was_owned(),
            Taken::Slip => false,
        };
        let goes_with_it = |object: &Value| {
            let is_gone = self.value_of(property_of(object)).is_none();
            object["spec"]["target"]["deletionPolicy"] == "Delete" && is_gone
        };
        self.is_forbidden() || may_be_taken && self.process.known().iter().any(goes_with_it)
    }

    /// Whether the value that the target holds is known to have had an owner.
    pub fn was_owned(&self) -> bool {
        let shown = self.process.known().into_iter().chain(self.api.get(OBJECT));
        shown.into_iter().any(|object| {
            let owned = object["status"]["paths"][0]["owned"].as_array().cloned().unwrap_or_default();
            owned.contains(&json!(PROPERTIES[property_of(&object)]))
        })
    }

    fn is_right_without_a_value(&self, ready: &Value) -> Result<(), TestCaseError> {
        let reason = ready["reason"].as_str().unwrap_or_default();
        let is_lacking = ["PathNotFound", "PropertyNotFound"].contains(&reason);
        if self.policy != "Periodic" {
            // Who has a value that is not read again is well without it, and whoever reads says
            // what is missing.
            let is_held = ready["status"] == "True" && (self.held().is_some() || reason == "SecretDeleted");
            prop_assert!(is_held || is_lacking || reason == "MassDeletionBlocked", "it is {ready}");
            return Ok(());
        }
        if !self.deletes {
            prop_assert!(is_lacking, "it is {ready}");
            return Ok(());
        }
        let goes = match self.paths[self.store.at()].taken {
            // RP4.
            Taken::Push { seen } => {
                let is_told = if self.is_live() { self.was_owned() } else { seen };
                is_told || !self.setting.crowded
            }
            Taken::Nobody | Taken::Hand => !self.setting.crowded,
            Taken::Slip => false,
        };
        let is_blocked = reason == "MassDeletionBlocked" || is_lacking;
        prop_assert!(!goes || self.held().is_none(), "its values are gone, and it is {ready}");
        prop_assert!(self.held().is_none() || is_blocked, "it keeps what is gone, and is {ready}");
        Ok(())
    }

    /// It is deleted while it is reconciled: the event comes first, and then the reconcile goes on
    /// with what the cache had.
    pub async fn goes(&mut self) -> Result<(), TestCaseError> {
        self.tells(&Event::EditSpec).await?;
        self.tells(&Event::Amid { polls: 5, event: Box::new(Event::Delete) }).await?;
        prop_assert_eq!(self.process.remembers(), Vec::<&str>::new(), "something is remembered");
        prop_assert!(self.process.cached().is_none(), "{} is still known", Process::name());
        Ok(())
    }
}
