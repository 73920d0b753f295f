//! Former locations of edited stores: which login removes what was pushed there, and when Waypost
//! gives up.
//!
//! Others may write the status. So Waypost sends to a location named there only credentials that
//! its server would get anyway. It is reached by the login of a store that leads there now, by a
//! session from before the edit, or, if only path or Vault namespace differ, by the present session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::apply::{Removal, Results, is_well};
use super::ledger::{EntryRef, Ledger, Line, StoreKey};
use super::locations::Locations;
use super::observe::{NoStore, SeenStores};
use super::plan::{Aim, Known, Places, Plan};
use super::reconcile::Turn;
use crate::api::push_ledger::PushLedger;
use crate::api::store_location::StoreLocation;
use crate::domain::path::RemotePath;
use crate::store::{StoreClient, Stores};

/// What you can do about properties that Waypost gave up.
const BY_HAND: &str = "remove it there by hand";

/// Adds the former locations of the ledger to the stores of a reconcile.
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

/// The state of former locations after a plan was carried out.
#[derive(Default)]
pub struct Fates {
    /// Whether everything wanted is in every wanted store, so that former locations are cleaned.
    pub is_clean_up: bool,
    /// Locations that will never be cleaned, each with the reason.
    pub lost: BTreeMap<StoreKey, String>,
    /// Locations that could not be cleaned this time, each with the reason.
    pub failing: BTreeMap<StoreKey, String>,
    /// Locations that have yet to be cleaned, and were not tried, or not all of their entries.
    pub waiting: BTreeSet<StoreKey>,
    /// By the location and key of a line in `lost`: another line for the same entry. The server may be
    /// one, or a copy restored from a snapshot.
    pub twins: BTreeMap<(StoreKey, String), Twin>,
}

/// A property of an entry, as another line of the ledger names it.
pub type Twin = (EntryRef, String);

/// The twin of a line of a former location. It has a line, or gets one.
fn twin(store: &StoreKey, line: &Line, ledger: &Ledger, plan: &Plan, places: &Places) -> Option<Twin> {
    let location = store.former.as_deref()?;
    let mount = location.mount_id.as_deref()?;
    let remote = &line.data.match_.remote_ref;
    let path = RemotePath::parse(location.path.as_deref(), &remote.remote_key).ok()?.path;
    let property = remote.property.as_ref()?;
    let is_there = |entry_ref: &EntryRef| {
        let place = places.get(entry_ref).and_then(|site| site.as_ref().ok()).map(|site| &site.place);
        place.is_some_and(|place| (&*place.mount, &*place.path) == (mount, path.as_str()))
    };
    let lists = |entry_ref: &EntryRef| ledger.lists(entry_ref, property);
    let mut there = plan.iter().filter(|(entry_ref, _)| is_there(entry_ref));
    let found = there.find(|(entry_ref, job)| job.lines.contains_key(property) || lists(entry_ref));
    found.map(|(entry_ref, _)| (entry_ref.clone(), property.clone()))
}

impl Fates {
    /// Judges the former locations of a ledger.
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
        let former = ledger.stores().into_iter().filter(|store| store.former.is_some());
        if !(is_known && wanted.iter().all(stands)) {
            return Fates { waiting: former.collect(), ..Fates::default() };
        }
        let mut fates = Fates { is_clean_up: true, ..Fates::default() };
        for store in former {
            let here = || results.iter().filter(|(entry_ref, _)| entry_ref.store == store).map(|(_, outcome)| outcome);
            let error = here().find_map(|outcome| outcome.result.as_ref().err());
            let is_tried = here().all(|outcome| outcome.removal == Removal::Done);
            match (reached.absent.get(&store), error) {
                (Some(no_login @ NoStore::Elsewhere { .. }), _) => {
                    // Only the server to which the store leads now can tell whether the location is
                    // another one.
                    let is_told = locations.get(&store.present()).is_some_and(|now| now.server_id.is_some());
                    let fate = if is_told { &mut fates.lost } else { &mut fates.failing };
                    fate.insert(store, no_login.to_string());
                }
                (None, Some(error)) => drop(fates.failing.insert(store, error.to_string())),
                (None, None) if is_tried => {}
                (Some(_), _) | (None, None) => drop(fates.waiting.insert(store)),
            }
        }
        fates.lost.values_mut().for_each(|why| *why = format!("{why}: {BY_HAND}"));
        fates
    }

    /// Looks for twins of the lines in locations without a login.
    pub fn with_twins(mut self, ledger: &Ledger, plan: &Plan, places: &Places) -> Self {
        for store in self.lost.keys() {
            for line in ledger.unreachable.get(store).into_iter().flatten() {
                let twin =
                    twin(store, line, ledger, plan, places).map(|twin| ((store.clone(), line.key.clone()), twin));
                self.twins.extend(twin);
            }
        }
        self
    }

    /// Gives up the locations that could not be cleaned for `deadline`, given for how long cleaning
    /// each has failed.
    pub fn give_up(mut self, deadline: Duration, failing_for: impl Fn(&StoreKey) -> Duration) -> Self {
        for (store, why) in std::mem::take(&mut self.failing) {
            match failing_for(&store) >= deadline {
                true => self.lost.insert(store, format!("{why}; the cleanup deadline is over: {BY_HAND}")),
                false => self.failing.insert(store, why),
            };
        }
        self
    }
}

impl Turn<'_> {
    /// Gives up former locations after the deadline of any clean-up. The time of those that were not
    /// tried neither passes nor begins again.
    pub(super) fn fates(&self, judged: Fates) -> Fates {
        let Turn { world, me, .. } = self;
        let is_left = |place: &StoreKey| judged.failing.contains_key(place) || judged.waiting.contains(place);
        world.deletions.keep_only(&me.object(), is_left);
        world.deletions.pause(&me.object(), world.instant);
        let failing_for = |place: &StoreKey| world.deletions.failing_for(&me.object(), &me.uid, place, world.instant);
        judged.give_up(world.cleanup_deadline, failing_for)
    }
}
