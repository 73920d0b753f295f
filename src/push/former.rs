//! Where stores led before they were edited: with which login what was pushed there is removed, and when nobody waits for that any
//! longer.
//!
//! A status can be written by others than us. So a place that it names gets no credential that its server would not get anyway: it
//! is reached by the login of a store that leads there now, by a session from before the edit, or by the present session where only
//! path or Vault namespace are others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::apply::{Results, is_well};
use super::ledger::{Ledger, StoreKey};
use super::locations::Locations;
use super::observe::{NoStore, SeenStores};
use super::plan::{Aim, Known};
use crate::api::push_ledger::PushLedger;
use crate::api::store_location::StoreLocation;
use crate::store::{StoreClient, Stores};

/// What a person can do about what is let go.
const BY_HAND: &str = "remove it there by hand";

/// The stores of a reconcile, with those that lead to former places.
pub fn reach(seen: &SeenStores, registry: &dyn Stores, namespace: &str, listed: &PushLedger) -> SeenStores {
    let mut all = seen.clone();
    for former in listed.former.iter().filter_map(StoreKey::of_former) {
        match client(seen, registry, namespace, &former) {
            Ok(client) => {
                let mount = former.former.as_ref().and_then(|location| location.path.clone());
                all.mounts.insert(former.clone(), mount);
                all.clients.insert(former, client);
            }
            Err(absence) => {
                all.absent.insert(former, absence);
            }
        }
    }
    all
}

fn client(
    seen: &SeenStores,
    registry: &dyn Stores,
    namespace: &str,
    former: &StoreKey,
) -> Result<Arc<dyn StoreClient>, NoStore> {
    let (store, none) = (former.present(), StoreLocation::default());
    let location = former.former.as_deref().unwrap_or(&none);
    let leads_there = seen.clients.iter().find(|(_, client)| client.location().is_spelled_as(location));
    if let Some((_, client)) = leads_there {
        return Ok(client.clone());
    }
    let Some(present) = seen.clients.get(&store) else {
        return Err(seen.absent.get(&store).cloned().unwrap_or(NoStore::Elsewhere { store }));
    };
    let reached = registry.former(namespace, &store.name_in(namespace), location);
    reached.or_else(|| present.elsewhere(location)).ok_or(NoStore::Elsewhere { store })
}

/// What was seen of former places once a plan was carried out.
#[derive(Default)]
pub struct Fates {
    /// Whether everything wanted stands in every wanted store, so that former places are cleaned.
    pub is_clean_up: bool,
    /// Those that cannot be cleaned and never will be, each with the reason.
    pub lost: BTreeMap<StoreKey, String>,
    /// Those that could not be cleaned this time, each with the reason.
    pub failing: BTreeMap<StoreKey, String>,
}

impl Fates {
    /// Judges the former places of a ledger.
    pub fn judge(
        aim: &Aim<'_>,
        wanted: &BTreeSet<StoreKey>,
        reached: &SeenStores,
        locations: &Locations,
        ledger: &Ledger,
        results: &Results,
    ) -> Self {
        let is_known = match aim {
            Aim::Publish { known, .. } => *known == Known::All,
            Aim::Withdraw { .. } => true,
        };
        let stands = |store: &StoreKey| !reached.absent.contains_key(store) && is_well(results, store);
        if !(is_known && wanted.iter().all(stands)) {
            return Fates::default();
        }
        let mut fates = Fates { is_clean_up: true, ..Fates::default() };
        for store in ledger.stores().into_iter().filter(|store| store.former.is_some()) {
            let error = results
                .iter()
                .filter(|(entry_ref, _)| entry_ref.store == store)
                .find_map(|(_, o)| o.result.as_ref().err());
            match (reached.absent.get(&store), error) {
                (Some(no_login @ NoStore::Elsewhere { .. }), _) => {
                    // Whether it is another place, only the server to which the store leads now can say.
                    let is_told = locations.get(&store.present()).is_some_and(|now| now.server_id.is_some());
                    let fate = if is_told { &mut fates.lost } else { &mut fates.failing };
                    fate.insert(store, no_login.to_string());
                }
                (None, Some(error)) => drop(fates.failing.insert(store, error.to_string())),
                (Some(_), _) | (None, None) => {}
            }
        }
        fates.lost.values_mut().for_each(|why| *why = format!("{why}: {BY_HAND}"));
        fates
    }

    /// Lets those go that could not be cleaned for so long, given since when each could not.
    pub fn give_up(mut self, deadline: Duration, failing_for: impl Fn(&StoreKey) -> Duration) -> Self {
        for (store, why) in std::mem::take(&mut self.failing) {
            match failing_for(&store) >= deadline {
                true => self.lost.insert(store, format!("{why}; nobody waits for that any longer: {BY_HAND}")),
                false => self.failing.insert(store, why),
            };
        }
        self
    }
}
