//! Separates what was pushed to where a store leads now from what was pushed to its former
//! locations.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{self, Line, StoreKey};
use super::plan::Places;
use crate::api::push_ledger::PushLedger;
use crate::api::push_secret::{FormerLocation, PushSecretData};
use crate::api::store_location::StoreLocation;
use crate::store::Site;

/// Where each usable store leads now.
pub type Locations = BTreeMap<StoreKey, StoreLocation>;

/// Adds the identities of servers and mounts, as far as the servers answered.
pub fn learn(mut locations: Locations, places: &Places) -> Locations {
    for (entry_ref, place) in places {
        if let (Ok(Site { place, .. }), Some(location)) = (place, locations.get_mut(&entry_ref.store)) {
            location.server_id = Some(place.server.to_string());
            if location.path.is_some() {
                location.mount_id = Some(place.mount.to_string());
            }
        }
    }
    locations
}

/// The stores, as the ledger spells them, that no longer lead where the ledger says.
pub fn moved(ledger: &PushLedger, now: &Locations) -> BTreeSet<String> {
    let leads_elsewhere = |(store, location): (&StoreKey, &StoreLocation)| {
        let recorded = ledger.locations.get(&store.listed())?;
        (!recorded.is_same(location)).then(|| store.listed())
    };
    now.iter().filter_map(leads_elsewhere).collect()
}

/// Sorts the ledger by where the stores lead now. Lines of another location become former ones, and
/// come back when the store leads there again. Lines without a location count as pushed to where
/// the store leads now. No line is lost or added.
pub fn settle(mut ledger: PushLedger, now: &Locations) -> PushLedger {
    for store in moved(&ledger, now) {
        let (location, lines) = (ledger.locations.remove(&store), ledger.synced.remove(&store));
        if let (Some(location), Some(lines)) = (location, lines) {
            set_aside(&mut ledger.former, store, location, lines);
        }
    }
    for (store, location) in now {
        let key = store.listed();
        let leads_there = |former: &FormerLocation| former.store == key && former.location.is_same(location);
        let (back, former) = std::mem::take(&mut ledger.former).into_iter().partition(leads_there);
        ledger.former = former;
        for former in Vec::from_iter::<Vec<FormerLocation>>(back) {
            let lines = ledger.synced.entry(key.clone()).or_default();
            former.pushed.into_iter().for_each(|(key, data)| ledger::put(lines, &Line { key, data }));
        }
        let recorded = ledger.locations.remove(&key).unwrap_or_default();
        ledger.locations.insert(key, location.clone().or_known_as(&recorded));
    }
    let PushLedger { synced, locations, .. } = &mut ledger;
    locations.retain(|store, _| synced.contains_key(store));
    ledger
}

/// The lines of a store, or of one of its former locations.
pub fn lines_of<'l>(ledger: &'l PushLedger, store: &StoreKey) -> Option<&'l BTreeMap<String, PushSecretData>> {
    let Some(location) = &store.former else { return ledger.synced.get(&store.listed()) };
    let listed = store.listed();
    let former = ledger.former.iter().find(|former| former.store == listed && former.location.is_same(location));
    former.map(|former| &former.pushed)
}

/// The ledger as if every line had been pushed to where its store leads now. Its entries are
/// requested to find out where that is.
pub fn as_if_unmoved(mut ledger: PushLedger) -> PushLedger {
    for former in std::mem::take(&mut ledger.former) {
        let lines = ledger.synced.entry(former.store).or_default();
        former.pushed.into_iter().for_each(|(key, data)| ledger::put(lines, &Line { key, data }));
    }
    ledger
}

fn set_aside(
    former: &mut Vec<FormerLocation>,
    store: String,
    location: StoreLocation,
    pushed: BTreeMap<String, PushSecretData>,
) {
    let known = former.iter_mut().find(|known| known.store == store && known.location.is_same(&location));
    let Some(known) = known else { return former.push(FormerLocation { store, location, pushed }) };
    pushed.into_iter().for_each(|(key, data)| ledger::put(&mut known.pushed, &Line { key, data }));
}
