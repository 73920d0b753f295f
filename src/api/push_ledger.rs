//! The ledger of a PushSecret as its status has it: what was pushed, and where each store led then.

use std::collections::BTreeMap;

use super::push_secret::{FormerLocation, PushSecretStatus, SyncedPushSecrets};
use super::store_location::StoreLocation;

/// The three fields of a status that are one ledger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PushLedger {
    /// What was pushed to where the stores lead.
    pub synced: SyncedPushSecrets,
    /// Where that is, by store as in `synced`; missing where an older version or another controller
    /// pushed it.
    pub locations: BTreeMap<String, StoreLocation>,
    /// What was pushed to where a store led before it was edited.
    pub former: Vec<FormerLocation>,
}

impl PushLedger {
    /// Whether it lists nothing.
    pub fn is_empty(&self) -> bool {
        self.synced.is_empty() && self.former.is_empty()
    }

    /// The stores that it names, as it spells them.
    pub fn stores(&self) -> impl Iterator<Item = &str> {
        self.synced.keys().map(String::as_str).chain(self.former.iter().map(|former| former.store.as_str()))
    }
}

impl PushSecretStatus {
    /// Its ledger.
    pub fn ledger(&self) -> PushLedger {
        PushLedger {
            synced: self.synced_push_secrets.clone(),
            locations: self.store_locations.clone(),
            former: self.former_locations.clone(),
        }
    }

    /// Replaces its ledger.
    pub fn set_ledger(&mut self, ledger: PushLedger) {
        let PushLedger { synced, locations, former } = ledger;
        (self.synced_push_secrets, self.store_locations, self.former_locations) = (synced, locations, former);
    }

    /// Whether its ledger lists nothing.
    pub fn lists_nothing(&self) -> bool {
        self.synced_push_secrets.is_empty() && self.former_locations.is_empty()
    }

    /// Whether we wrote it: another controller's conditions observe no generation.
    pub fn is_ours(&self) -> bool {
        self.conditions.iter().any(|condition| condition.observed_generation.is_some())
    }
}
