//! What a reconcile leaves undone although no entry fails, in words for the report. Pure.

use super::ledger::{Ledger, StoreKey};
use super::observe::NoStore;
use super::report::{Done, Setting, staying};
use crate::store::error::Family;

/// The removals that wait because their store, which is not published to, cannot be used for now, each
/// with the reason. Another try may succeed, so each is an unfinished result like a failed request.
pub fn postponed<'d>(done: &'d Done<'_>, setting: &Setting<'_>) -> impl Iterator<Item = (&'d NoStore, String)> {
    let removes = setting.removes;
    let waiting = unused(done).filter(move |(_, absent)| is_waited_for(removes, absent));
    waiting.map(|(store, absent)| (absent, still_there(store, absent)))
}

/// What stays until somebody edits something: what was pushed to stores that are not published to and
/// cannot be used, and lines that name no property.
pub fn kept(done: &Done<'_>, setting: &Setting<'_>, listed: &Ledger) -> impl Iterator<Item = String> {
    let removes = setting.removes;
    let stores = unused(done).filter(move |(_, absent)| !is_waited_for(removes, absent));
    let stores = stores.map(|(store, absent)| still_there(store, absent));
    let unclear = listed.unclear().into_iter();
    stores.chain(unclear.map(|line| format!("not removed, because it names no property of a path: {line}")))
}

/// What stays listed until it is known whether two addresses are those of one server.
pub fn twins<'d>(done: &'d Done<'_>, listed: &'d Ledger) -> impl Iterator<Item = String> {
    let twins = done.plan.iter().flat_map(|(entry_ref, job)| job.twins.iter().map(move |twin| (entry_ref, twin)));
    let open = twins.filter(|(entry_ref, (property, _))| {
        done.results.get(*entry_ref).is_none_or(|outcome| !outcome.resolved.contains(*property))
    });
    let open = open.map(|(entry_ref, (property, to))| {
        format!(
            "property {property:?} of {} in {} is still listed: {} may lead to the same server, and only its next version \
             shows whether it does; if it leads to a copy, remove the property from {} by hand",
            entry_ref.path, entry_ref.store, to.store, entry_ref.store
        )
    });
    let staying = staying(listed, done.fates).map(|((store, key), (to, _))| {
        format!(
            "{key} in {store} is still listed: {} may lead to the same server, and without a login to {store} Waypost \
             cannot find out",
            to.store
        )
    });
    open.chain(staying)
}

/// The stores that are not published to and cannot be used. What becomes of former locations without a
/// login is said elsewhere.
fn unused<'d>(done: &'d Done<'_>) -> impl Iterator<Item = (&'d StoreKey, &'d NoStore)> {
    let is_said = |store: &StoreKey| done.fates.lost.contains_key(store) || done.fates.failing.contains_key(store);
    done.absent.iter().filter(move |(store, _)| !done.wanted.contains(*store) && !is_said(store))
}

/// Whether something is to be removed there, and another try may succeed.
fn is_waited_for(removes: bool, absent: &NoStore) -> bool {
    removes
        && match absent.family() {
            Family::Failed | Family::Throttled => true,
            Family::Refused | Family::Invalid => false,
        }
}

fn still_there(store: &StoreKey, absent: &NoStore) -> String {
    format!("what was pushed to {store} earlier is still there: {absent}")
}
