//! The outcome of a reconcile at each entry, for PushSecrets that offer a property there or wait
//! for one. Pure.

use std::collections::BTreeSet;

use super::apply::{Removal, Results};
use super::entry::ApplyError;
use super::ledger::StoreKey;
use super::offers::Reached;
use super::plan::{Places, Plan, Problem};
use super::refusal::Refusal;
use super::report::family;
use crate::domain::claim::Owner;
use crate::domain::object_name::Name;
use crate::store::error::Family;
use crate::store::{PathKey, Site};

/// A message names this many PushSecrets that may take over a property, and counts the rest.
const MAX_NAMED: usize = 3;

/// The outcome at each entry that the plan publishes to.
pub fn reached(plan: &Plan, results: &Results, places: &Places, me: &Owner) -> Vec<Reached> {
    let wanted = plan.iter().filter(|(_, job)| !job.lines.is_empty());
    let reached = wanted.filter_map(|(entry_ref, _)| {
        let (site, outcome) = (places.get(entry_ref)?.as_ref().ok()?.clone(), results.get(entry_ref)?);
        Some(match &outcome.result {
            Ok(applied) => {
                let owned = applied.settled.owned.clone();
                Reached { site, owned, refused_for: BTreeSet::new(), taken: BTreeSet::new(), is_final: true }
            }
            Err(problem) => {
                let is_final = matches!(family(problem), Family::Refused | Family::Invalid);
                let ours = owners(problem).iter().filter(|owner| owner.cluster == me.cluster);
                let refused_for = ours.map(|owner| Name::new(&owner.namespace, &owner.name)).collect();
                let taken = match problem {
                    Problem::Apply(ApplyError::Refused { taken, .. }) => taken.clone(),
                    Problem::Rules(_)
                    | Problem::Clash(_)
                    | Problem::Source { .. }
                    | Problem::Store(_)
                    | Problem::Apply(_) => BTreeSet::new(),
                };
                Reached { site, owned: BTreeSet::new(), refused_for, taken, is_final }
            }
        })
    });
    reached.collect()
}

/// The offered properties that would have been removed, from a store that `may_lose` them, if nobody
/// had been asked.
pub fn held(
    plan: &Plan,
    results: &Results,
    places: &Places,
    may_lose: impl Fn(&StoreKey) -> bool,
) -> BTreeSet<(Site, String)> {
    let held = plan.keys().filter(|entry_ref| may_lose(&entry_ref.store)).filter_map(|entry_ref| {
        let (site, applied) = (places.get(entry_ref)?.as_ref().ok()?, results.get(entry_ref)?.result.as_ref().ok()?);
        Some(applied.settled.awaited.iter().map(|property| (site.clone(), property.clone())))
    });
    held.flatten().collect()
}

/// The places of entries from which properties were removed or released.
pub fn freed(plan: &Plan, results: &Results, places: &Places) -> BTreeSet<PathKey> {
    let left = plan.iter().filter(|(_, job)| !job.goal.remove.is_empty() || !job.goal.release.is_empty());
    let done = left.filter_map(|(entry_ref, _)| {
        let outcome = results.get(entry_ref)?;
        let is_done = outcome.result.is_ok() && outcome.removal == Removal::Done;
        is_done.then(|| Some(places.get(entry_ref)?.as_ref().ok()?.place.clone()))?
    });
    done.collect()
}

/// The offered properties that nobody has taken over yet, for messages.
pub fn awaited(plan: &Plan, results: &Results) -> Vec<String> {
    let awaited = plan.iter().filter_map(|(entry_ref, job)| {
        let settled = &results.get(entry_ref)?.result.as_ref().ok()?.settled;
        let awaited = job.goal.offer.iter().filter(|(property, _)| settled.awaited.contains(*property));
        Some(awaited.map(move |(property, waiters)| {
            let named: Vec<&str> = waiters.iter().take(MAX_NAMED).map(String::as_str).collect();
            let more = match waiters.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let named = named.join(", ");
            format!(
                "property {property:?} of {} is offered to {named}{more}, and is removed if nobody takes it over",
                entry_ref.path
            )
        }))
    });
    awaited.flatten().collect()
}

/// The properties that another PushSecret has taken over, for messages.
pub fn inherited(results: &Results) -> Vec<String> {
    let inherited = results.iter().filter_map(|(entry_ref, outcome)| {
        let settled = &outcome.result.as_ref().ok()?.settled;
        Some(settled.inherited.iter().map(move |(property, by)| {
            format!("property {property:?} of {} belongs to PushSecret {} now", entry_ref.path, by.object())
        }))
    });
    inherited.flatten().collect()
}

/// The owners whose claims are in the way.
fn owners(problem: &Problem) -> &[Owner] {
    match problem {
        Problem::Apply(ApplyError::Refused { refusal: Refusal::Conflict { owner, .. }, .. }) => {
            std::slice::from_ref(owner)
        }
        Problem::Apply(ApplyError::Refused { refusal: Refusal::TooManyClaims { others, .. }, .. }) => others,
        Problem::Rules(_) | Problem::Clash(_) | Problem::Source { .. } | Problem::Store(_) | Problem::Apply(_) => &[],
    }
}
