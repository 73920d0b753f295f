//! What happens to an entry whose last property is removed: to its versions, and to the entry
//! itself.
//!
//! By then, its latest version is the empty one that we wrote with check-and-set, or a deleted one.
//! From here on, versions are deleted and destroyed by number, so that a version that somebody
//! writes meanwhile survives. Only a purge removes whatever exists. So Waypost announces it to all
//! other claimants first, as an intent on every property.

use super::step::Step;
use crate::domain::claim::{self, Inquiry, MetadataChanges, Others, Owner};
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::remote::{Entry, EntryState};

/// The next step for an entry without properties, of which `me` removes some; `None` if only custom
/// metadata is left to change.
pub fn next(earlier: EarlierVersions, entry: &Entry, me: &Owner, inquiry: &Inquiry) -> Option<Step> {
    let through = entry.cas();
    match (earlier, claim::others(&entry.custom_metadata, me, inquiry)) {
        // Other owners may want earlier versions back.
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
        EntryState::Absent | EntryState::Unseen | EntryState::Empty | EntryState::Deleted { .. } => None,
    }
}

/// Announces a purge first, and purges only if the next read shows no other claimant.
fn purge(entry: &Entry, me: &Owner) -> Option<Step> {
    match (&entry.state, is_announced(entry, me)) {
        (EntryState::Absent | EntryState::Unseen, _) => None,
        (EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. }, true) => Some(Step::Purge),
        (EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. }, false) => {
            Some(Step::Settle(claim::intend_purge(me)))
        }
    }
}

/// Of two claimants with intents, the one with the lower UID continues, as with claims.
fn give_way(entry: &Entry, me: &Owner, key: String, by: Owner) -> Step {
    match is_announced(entry, me) && by.uid < me.uid {
        true => Step::Settle(MetadataChanges::from([(claim::purge_key(&me.uid), None)])),
        false => Step::Wait { key, by },
    }
}

fn is_announced(entry: &Entry, me: &Owner) -> bool {
    entry.custom_metadata.contains_key(&claim::purge_key(&me.uid))
}
