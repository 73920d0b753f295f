//! How an entry ends whose last property is removed: what becomes of its versions, and of the entry itself.
//!
//! By then its latest version is the empty one that we wrote with check-and-set, or was deleted. Whatever goes from here on goes by
//! number, so that a version that somebody writes meanwhile survives; only a purge takes what it finds, and so it is announced to
//! all other claimants first, as an intent on every property.

use super::step::Step;
use crate::domain::claim::{self, Inquiry, MetadataChanges, Others, Owner};
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::remote::{Entry, EntryState};

/// The next step of an entry that has no property left and of which `me` removes some; nothing when only labels are left to settle.
pub fn next(earlier: EarlierVersions, entry: &Entry, me: &Owner, inquiry: &Inquiry) -> Option<Step> {
    let through = entry.cas();
    match (earlier, claim::others(&entry.custom_metadata, me, inquiry)) {
        // What others own, or will write again, they may want back.
        (EarlierVersions::Keep, _) | (_, Others::Claim) => bury(entry),
        (EarlierVersions::Destroy | EarlierVersions::Purge, Others::Perhaps(owner)) => Some(Step::AskAfter(owner)),
        (EarlierVersions::Destroy | EarlierVersions::Purge, Others::Nobody | Others::Intent { .. })
            if through > inquiry.destroyed =>
        {
            Some(Step::Destroy { through })
        }
        (EarlierVersions::Destroy, Others::Nobody | Others::Intent { .. }) => None,
        (EarlierVersions::Purge, Others::Nobody) => purge(entry, me),
        (EarlierVersions::Purge, Others::Intent { key, by }) => Some(give_way(entry, me, key, by)),
    }
}

fn bury(entry: &Entry) -> Option<Step> {
    match entry.state {
        EntryState::Live { version, .. } => Some(Step::Bury { version }),
        EntryState::Absent | EntryState::Empty | EntryState::Deleted { .. } => None,
    }
}

/// Announced first, and carried out only if the next read still shows nobody else.
fn purge(entry: &Entry, me: &Owner) -> Option<Step> {
    match (&entry.state, is_announced(entry, me)) {
        (EntryState::Absent, _) => None,
        (EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. }, true) => Some(Step::Purge),
        (EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. }, false) => {
            Some(Step::Settle(claim::intend_purge(me)))
        }
    }
}

/// Of two that announced themselves the one with the lower UID goes on, as with claims.
fn give_way(entry: &Entry, me: &Owner, key: String, by: Owner) -> Step {
    match is_announced(entry, me) && by.uid < me.uid {
        true => Step::Settle(MetadataChanges::from([(claim::purge_key(&me.uid), None)])),
        false => Step::Wait { key, by },
    }
}

fn is_announced(entry: &Entry, me: &Owner) -> bool {
    entry.custom_metadata.contains_key(&claim::purge_key(&me.uid))
}
