//! Decides the next request for one entry, from what the last read showed and nothing else.
//! Decides the next request for one entry, from what the last read showed and nothing else.
//!
//! The protocol is a chain of steps, each derived from the entry alone: announce → read again →
//! write → confirm. So it can stop anywhere, and the next reconcile continues from there.

mod consents;
mod goal;
mod leaving;

use std::collections::{BTreeMap, BTreeSet};

pub use goal::{Existing, Foreign, Goal, History, Removals};
use jiff::Timestamp;

use super::ending;
use super::refusal::{Left, Refusal};
use crate::domain::claim::{self, ClaimState, Elsewhere, Inquiry, MetadataChanges, Owner};
use crate::domain::consent;
use crate::domain::remote::{Entry, EntryState, RemoteData};

/// The maximum size of an entry, in bytes of JSON: the storage of a KV mount accepts no larger one.
pub const MAX_ENTRY_BYTES: usize = 1024 * 1024;

/// The next step for an entry.
pub enum Step {
    /// Nothing to do: the entry is as wanted.
    Done(Settled),
    /// A claimant of our own cluster is in the way: look up whether it still exists.
    AskAfter(Owner),
    /// Another PushSecret of our own cluster claims a property to remove: look up whether its
    /// ledger lists it.
    AskHeir(Owner),
    /// The entry has no mark: look whether ESO set it on another path, which follows from one of
    /// these spellings.
    LookElsewhere(BTreeSet<String>),
    /// Another claimant has an intent: wait for a moment.
    Wait {
        /// The intent's key.
        key: String,
        by: Owner,
    },
    /// Announce claims before a write, and create the entry first if it does not exist.
    Announce {
        /// The changes of custom metadata.
        changes: MetadataChanges,
        /// The changes if the server has check-and-set for metadata: confirmed claims at once.
        /// `None` if a property must not be claimed before it is written.
        claims: Option<MetadataChanges>,
        /// The properties that will be ours. The ledger must list them first.
        properties: BTreeSet<String>,
    },
    /// Write a version.
    Write(Write),
    /// Delete the latest version, which has no property left.
    Bury {
        /// The number of the version.
        version: u64,
    },
    /// Destroy all versions up to this one: none has a property that is to stay.
    Destroy {
        /// The number of the latest version.
        through: u64,
    },
    /// Purge the entry, with its custom metadata. Nobody else has anything there, and all claimants
    /// have seen the announcement.
    Purge,
    /// Replace the claims of owners who offer these properties.
    TakeOver {
        /// The changes of custom metadata.
        changes: MetadataChanges,
        /// The properties, each with its owner's UID. The ledger must list them first.
        from: BTreeMap<String, String>,
    },
    /// Change custom metadata: confirm intents as claims, and release what is no longer ours.
    Settle(MetadataChanges),
    /// The entry must not be written.
    Refuse {
        refusal: Refusal,
        /// The properties that others own.
        taken: BTreeSet<String>,
    },
}

impl Step {
    /// Whether the step deletes, destroys or purges.
    pub fn removes(&self) -> bool {
        matches!(self, Step::Bury { .. } | Step::Destroy { .. } | Step::Purge)
    }
}

/// A version to write.
pub struct Write {
    /// All properties, including those of others.
    pub data: RemoteData,
    /// The version that it must follow (check-and-set).
    pub cas: u64,
    /// The properties that must still be ours in the reply of the write.
    pub holds: BTreeSet<String>,
    /// The changes of custom metadata to make if they are.
    pub settle: MetadataChanges,
    /// The properties that this write sets. The ledger must list them first.
    pub sets: BTreeSet<String>,
    /// The properties that this write removes.
    pub drops: BTreeSet<String>,
    /// The entry after the write.
    pub settled: Settled,
}

/// The state of an entry that is as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The latest version, if it has data.
    pub version: Option<u64>,
    /// When it was created, as far as the server says so.
    pub created: Option<Timestamp>,
    /// The properties that we own.
    pub owned: BTreeSet<String>,
    /// The properties that existed before and are not ours.
    pub kept: BTreeSet<String>,
    /// Those of them that others own.
    pub taken: BTreeSet<String>,
    /// The properties that stay although they were to be removed, each with the reason.
    pub left: BTreeMap<String, Left>,
    /// The offered properties that nobody has taken yet.
    pub awaited: BTreeSet<String>,
    /// The properties that another PushSecret of the cluster has taken over and lists.
    pub inherited: BTreeMap<String, Owner>,
}

/// The inputs of one decision.
struct View<'a> {
    goal: &'a Goal,
    removals: Removals,
    entry: &'a Entry,
    me: &'a Owner,
    inquiry: &'a Inquiry,
}

/// What to do with each property.
#[derive(Default)]
struct Sorted<'a> {
    /// Ours, or announced by nobody else.
    holds: BTreeSet<&'a str>,
    /// To announce.
    announce: BTreeSet<&'a str>,
    /// To take over, each from the owner with this UID.
    takes: BTreeMap<&'a str, String>,
    /// To remove: ours, or announced by us.
    drops: BTreeSet<&'a str>,
    /// To release: our claims and intents on these are removed.
    releases: BTreeSet<&'a str>,
    /// Existing, and not ours.
    kept: BTreeSet<&'a str>,
    /// Owned by others.
    taken: BTreeSet<&'a str>,
    /// To remove, but not provably ours.
    left: BTreeMap<&'a str, Left>,
    /// Offered, and not taken yet.
    awaited: BTreeSet<&'a str>,
    /// Taken over by another PushSecret.
    inherited: BTreeMap<&'a str, Owner>,
    /// The most important obstacle, if there is one.
    obstacle: Option<Obstacle>,
}

/// Why nothing can be written now. The heaviest obstacle counts: a refusal is final, the others
/// pass.
enum Obstacle {
    Wait { key: String, by: Owner },
    Withdraw,
    AskAfter(Owner),
    AskHeir(Owner),
    LookElsewhere,
    Refuse(Refusal),
}

/// The next step for an entry in the state of `entry`.
pub fn next(goal: &Goal, removals: Removals, entry: &Entry, me: &Owner, inquiry: &Inquiry) -> Step {
    let view = View { goal, removals, entry, me, inquiry };
    let mut sorted = Sorted::default();
    view.sort_wanted(&mut sorted);
    view.sort_unwanted(&mut sorted);
    if let Some(obstacle) = sorted.obstacle.take() {
        return view.stop(&sorted, obstacle);
    }
    let sets = view.sets(&sorted);
    // Refuse before anything is announced: a claim on what cannot be written would only be
    // withdrawn again.
    let bytes = view.size_after(&sorted, &sets);
    if !sets.is_empty() && bytes > MAX_ENTRY_BYTES {
        return view.stop(&sorted, Obstacle::Refuse(Refusal::TooLarge { bytes }));
    }
    // Taking over needs no more room, so it comes before these limits.
    if !sorted.takes.is_empty() {
        return view.take_over(&sorted);
    }
    if let Some(refusal) = view.crowding(&sorted) {
        return view.stop(&sorted, Obstacle::Refuse(refusal));
    }
    if !sorted.announce.is_empty() {
        return view.announce(&sorted, &sets);
    }
    // Narrow consents before a new value is written. Nobody may read the new value by the old
    // consent, or the present value, which may be another's, by the new one.
    let consents = view.consents_until_written(&sorted, &sets);
    if !consents.is_empty() {
        return Step::Settle(consents);
    }
    view.write(&sorted, &sets).unwrap_or_else(|| view.settle(&sorted))
}

impl<'a> View<'a> {
    fn claim_state(&self, property: &str) -> ClaimState {
        claim::state(&self.entry.custom_metadata, property, self.me, self.inquiry)
    }

    fn has(&self, property: &str) -> bool {
        self.entry.data().is_some_and(|data| data.contains_key(property))
    }

    /// The same, or whether somebody can undelete a version that may have it.
    fn may_have(&self, property: &str) -> bool {
        self.has(property) || matches!(self.entry.state, EntryState::Deleted { .. })
    }

    /// Whether the entry has data, or data that can be undeleted, and no mark.
    fn is_foreign(&self) -> bool {
        let filled = match self.entry.state {
            EntryState::Absent | EntryState::Unseen | EntryState::Empty => false,
            EntryState::Deleted { .. } | EntryState::Live { .. } => true,
        };
        let marked_elsewhere = matches!(self.inquiry.marker, Elsewhere::At(_));
        filled && !claim::is_marked(&self.entry.custom_metadata) && !marked_elsewhere
    }

    fn foreign(&self) -> Obstacle {
        match &self.inquiry.marker {
            Elsewhere::Unknown => Obstacle::LookElsewhere,
            known => Obstacle::Refuse(match (known, self.goal.history) {
                (Elsewhere::Nowhere, History::Listed { version }) => Refusal::MetadataReplaced { version },
                (
                    Elsewhere::Unknown | Elsewhere::Nowhere | Elsewhere::Hidden(_) | Elsewhere::At(_),
                    History::None | History::Listed { .. },
                ) => Refusal::NotManaged { elsewhere: known.clone() },
            }),
        }
    }

    fn sort_wanted(&self, sorted: &mut Sorted<'a>) {
        for (property, value) in &self.goal.set {
            let keep = self.goal.existing == Existing::Keep && self.has(property);
            let state = self.claim_state(property);
            if let Some(uid) = self.offered_by(property, &state) {
                sorted.takes.insert(property, uid);
                continue;
            }
            if let ClaimState::Taken { by: Some(_) } = state {
                sorted.taken.insert(property);
            }
            match state {
                ClaimState::Mine => {
                    sorted.holds.insert(property);
                }
                // The announced write may have happened or not: the value tells.
                ClaimState::Intended
                    if keep && self.entry.data().and_then(|data| data.get(property)) != Some(value) =>
                {
                    sorted.releases.insert(property);
                    sorted.kept.insert(property);
                }
                ClaimState::Intended => {
                    sorted.holds.insert(property);
                }
                ClaimState::Claimable | ClaimState::Taken { .. } | ClaimState::Contested { .. } if keep => {
                    sorted.kept.insert(property);
                }
                ClaimState::Claimable if self.is_foreign() && self.goal.foreign == Foreign::Refuse => {
                    sorted.hinder(self.foreign());
                }
                ClaimState::Claimable => {
                    sorted.announce.insert(property);
                }
                ClaimState::Outbid { .. } => sorted.hinder(Obstacle::Withdraw),
                ClaimState::Contested { key, by } => sorted.hinder(Obstacle::Wait { key, by }),
                ClaimState::Taken { by } => sorted.hinder(self.taken(property, by)),
            }
        }
    }

    fn taken(&self, property: &str, by: Option<Owner>) -> Obstacle {
        let (property, key) = (property.to_owned(), claim::claim_key(property));
        match by {
            None => Obstacle::Refuse(Refusal::UnreadableClaim { property, key }),
            Some(owner) if owner.cluster == self.me.cluster && !self.inquiry.alive.contains(&owner.uid) => {
                Obstacle::AskAfter(owner)
            }
            Some(owner) => Obstacle::Refuse(Refusal::Conflict { property, owner, key }),
        }
    }

    /// What is not provably ours stays, because a removal cannot be undone.
    fn sort_unwanted(&self, sorted: &mut Sorted<'a>) {
        let remove = match self.removals {
            Removals::Now => Some(&self.goal.remove),
            Removals::Later => None,
        };
        for property in self.goal.offer.keys().chain(remove.into_iter().flatten()) {
            if self.is_anothers(property, sorted) {
                continue;
            }
            let state = self.claim_state(property);
            let keeps = matches!(self.goal.existing, Existing::Keep | Existing::Claimed);
            let may_have_existed = keeps && self.may_have(property);
            let left = match &state {
                ClaimState::Intended if may_have_existed && self.goal.existing == Existing::Keep => {
                    Some(Left::Existing)
                }
                ClaimState::Intended if may_have_existed => Some(Left::Unclaimed),
                ClaimState::Mine | ClaimState::Intended => None,
                ClaimState::Claimable if self.is_foreign() => Some(Left::Unmarked),
                ClaimState::Claimable if self.goal.existing == Existing::Claimed => Some(Left::Unclaimed),
                ClaimState::Claimable => Some(Left::Existing),
                ClaimState::Outbid { by } | ClaimState::Contested { by, .. } => {
                    Some(Left::Contested { by: by.clone() })
                }
                ClaimState::Taken { by } => Some(Left::Taken { by: by.clone() }),
            };
            let is_offered = self.goal.offer.contains_key(property);
            match state {
                ClaimState::Mine if is_offered => {
                    sorted.awaited.insert(property);
                }
                // Somebody else may have written it before we did.
                ClaimState::Intended if may_have_existed => {
                    sorted.releases.insert(property);
                    sorted.left.extend(left.filter(|_| self.has(property)).map(|left| (property.as_str(), left)));
                }
                // A taker must find it claimed by us, or by nobody.
                ClaimState::Intended if is_offered => {
                    sorted.awaited.insert(property);
                    sorted.releases.insert(property);
                }
                ClaimState::Mine | ClaimState::Intended => {
                    sorted.drops.insert(property);
                }
                ClaimState::Claimable
                    if self.has(property) && self.is_foreign() && self.inquiry.marker == Elsewhere::Unknown =>
                {
                    sorted.hinder(Obstacle::LookElsewhere);
                }
                // The ledger lists it, and a write of External Secrets Operator erased our claim. But
                // what reappears after our own removal is another's.
                ClaimState::Claimable
                    if self.has(property)
                        && !self.is_foreign()
                        && self.goal.existing == Existing::Replace
                        && !self.inquiry.removed.contains(property) =>
                {
                    match is_offered {
                        true => sorted.awaited.insert(property),
                        false => sorted.announce.insert(property),
                    };
                }
                ClaimState::Claimable
                | ClaimState::Outbid { .. }
                | ClaimState::Contested { .. }
                | ClaimState::Taken { .. } => {
                    sorted.releases.insert(property);
                    sorted.left.extend(left.filter(|_| self.has(property)).map(|left| (property.as_str(), left)));
                }
            }
        }
        sorted.releases.extend(self.goal.release.iter().map(String::as_str));
    }

    fn stop(&self, sorted: &Sorted<'a>, obstacle: Obstacle) -> Step {
        let metadata = &self.entry.custom_metadata;
        let wanted = || self.goal.set.keys().map(String::as_str);
        let intents: BTreeSet<&str> =
            wanted().filter(|property| metadata.contains_key(&claim::intent_key(property, &self.me.uid))).collect();
        let withdrawn =
            |property: &&str| claim::withdraw(metadata, property, self.may_have(property), self.me, self.inquiry);
        let withdraw = || Step::Settle(intents.iter().flat_map(withdrawn).collect());
        match obstacle {
            Obstacle::AskAfter(owner) => Step::AskAfter(owner),
            Obstacle::AskHeir(owner) => Step::AskHeir(owner),
            Obstacle::LookElsewhere => Step::LookElsewhere(self.goal.spellings.clone()),
            Obstacle::Wait { key, by } => Step::Wait { key, by },
            Obstacle::Withdraw => withdraw(),
            Obstacle::Refuse(_) if !intents.is_empty() => withdraw(),
            Obstacle::Refuse(refusal) => Step::Refuse { refusal, taken: owned(&sorted.taken) },
        }
    }

    fn intents(&self, sorted: &Sorted<'a>) -> MetadataChanges {
        claim::intend(&self.entry.custom_metadata, sorted.announce.iter().copied(), self.me, self.inquiry)
    }

    /// Announces without consents, because another claimant may get the property.
    fn announce(&self, sorted: &Sorted<'a>, sets: &BTreeSet<&'a str>) -> Step {
        let (changes, claims) = (self.intents(sorted), self.claims(sorted, sets));
        Step::Announce { changes, claims, properties: owned(&sorted.announce) }
    }

    /// The changes of an announcement and its confirmation together. `None` for `IfNotExists`: a
    /// property that is ours only if nobody else writes it cannot be claimed before the write.
    fn claims(&self, sorted: &Sorted<'a>, sets: &BTreeSet<&'a str>) -> Option<MetadataChanges> {
        match self.goal.existing {
            Existing::Keep | Existing::Claimed => return None,
            Existing::Replace => {}
        }
        let metadata = &self.entry.custom_metadata;
        let mut changes = self.intents(sorted);
        changes.extend(claim::confirm(sorted.announce.iter().copied(), self.me));
        changes.extend(self.consents_until_written(sorted, sets));
        changes.extend(self.goal.custom_metadata.changes(metadata));
        changes.retain(|key, value| value.is_some() || metadata.contains_key(key));
        Some(changes)
    }

    /// A refusal if the custom metadata has no room for the changes. An intent needs as much room
    /// as the claim that replaces it.
    fn crowding(&self, sorted: &Sorted<'a>) -> Option<Refusal> {
        let metadata = &self.entry.custom_metadata;
        let mut changes = self.intents(sorted);
        changes.extend(self.settling(sorted));
        changes.extend(self.goal.custom_metadata.changes(metadata));
        let grows = changes.iter().any(|(key, value)| value.is_some() && !metadata.contains_key(key));
        let (keys, claims) = claim::count_after(metadata, &changes);
        let crowded = claims > claim::MAX_CLAIMS || keys > claim::MAX_KEYS;
        let others = || claim::owners(metadata).into_iter().filter(|owner| owner.uid != self.me.uid).collect();
        (grows && crowded).then(|| Refusal::TooManyClaims { claims, keys, others: others() })
    }

    /// The properties to write: ours, or about to be, and not yet with our value.
    fn sets(&self, sorted: &Sorted<'a>) -> BTreeSet<&'a str> {
        let present = |property: &str| self.entry.data().and_then(|data| data.get(property));
        let ours = |property: &str| {
            sorted.holds.contains(property) || sorted.announce.contains(property) || sorted.takes.contains_key(property)
        };
        let wanted = self.goal.set.iter().filter(|(property, _)| ours(property));
        let missing = wanted.filter(|(property, value)| match (present(property), self.goal.existing) {
            (None, Existing::Keep | Existing::Claimed | Existing::Replace) => true,
            (Some(_), Existing::Keep | Existing::Claimed) => false,
            (Some(present), Existing::Replace) => present != *value,
        });
        missing.map(|(property, _)| property.as_str()).collect()
    }

    /// The size of the version that sets these, as JSON `{"property":value,…}`. Names count without
    /// escapes.
    fn size_after(&self, sorted: &Sorted<'a>, sets: &BTreeSet<&'a str>) -> usize {
        let present = self.entry.data().into_iter().flatten().map(|(property, value)| (property.as_str(), value));
        let kept = present.filter(|(property, _)| !sorted.drops.contains(property) && !sets.contains(property));
        let set = sets.iter().map(|property| (*property, &self.goal.set[*property]));
        2 + kept.chain(set).map(|(property, value)| property.len() + value.expose_json().len() + 4).sum::<usize>()
    }

    /// The version with our values and without what we drop; `None` if the latest one is like that
    /// already.
    fn write(&self, sorted: &Sorted<'a>, sets: &BTreeSet<&'a str>) -> Option<Step> {
        let empty = RemoteData::new();
        let present = self.entry.data().unwrap_or(&empty);
        let drops = sorted.drops.iter().any(|property| present.contains_key(*property));
        if sets.is_empty() && !drops {
            return None;
        }
        let mut data: RemoteData = (present.iter())
            .filter(|(property, _)| !sorted.drops.contains(property.as_str()))
            .map(|(property, value)| (property.clone(), value.duplicate()))
            .collect();
        for property in sets {
            data.insert((*property).to_owned(), self.goal.set[*property].duplicate());
        }
        // An entry without properties is not settled yet: the empty version is deleted first, then
        // the claims are released.
        let settle = if data.is_empty() { MetadataChanges::new() } else { self.settling(sorted) };
        Some(Step::Write(Write {
            cas: self.entry.cas(),
            holds: sorted.holds.union(&sorted.drops).map(|property| (*property).to_owned()).collect(),
            settle,
            sets: owned(sets),
            drops: owned(&sorted.drops),
            settled: self.settled(sorted),
            data,
        }))
    }

    fn settle(&self, sorted: &Sorted<'a>) -> Step {
        // What was only announced was perhaps never written: then none of the versions is ours.
        let is_ours = |property: &&str| {
            self.claim_state(property) == ClaimState::Mine || self.inquiry.removed.contains(*property)
        };
        let ends = sorted.drops.iter().any(is_ours) && self.entry.data().is_none_or(RemoteData::is_empty);
        if ends && let Some(step) = ending::next(self.goal.earlier, self.entry, self.me, self.inquiry) {
            return step;
        }
        let changes = self.settling(sorted);
        match changes.is_empty() {
            false => Step::Settle(changes),
            true => Step::Done(self.settled(sorted)),
        }
    }

    /// The changes of custom metadata that are due once the data is as wanted.
    fn settling(&self, sorted: &Sorted<'a>) -> MetadataChanges {
        let metadata = &self.entry.custom_metadata;
        let to_confirm = sorted.holds.iter().copied().filter(|property| self.claim_state(property) != ClaimState::Mine);
        let mut changes = claim::confirm(to_confirm, self.me);
        let released = sorted.drops.union(&sorted.releases).copied();
        let has_value = |property: &str| self.may_have(property) && !sorted.drops.contains(property);
        changes.extend(claim::release(metadata, released, has_value, self.me, self.inquiry));
        // What stays without an owner is readable by nobody else than before.
        for property in self.goal.release.iter().filter(|property| self.may_have(property)) {
            changes.remove(&consent::key(property));
        }
        // The intent of a claim that is confirmed already.
        for property in &sorted.holds {
            let intent = claim::intent_key(property, &self.me.uid);
            if metadata.contains_key(&intent) {
                changes.insert(intent, None);
            }
        }
        // The intent of a purge that is no longer asked for, or that a claim came before.
        let purge = claim::purge_key(&self.me.uid);
        if metadata.contains_key(&purge) {
            changes.insert(purge, None);
        }
        if !sorted.holds.is_empty() && !claim::is_marked(metadata) {
            changes.insert(claim::MARKER.to_owned(), Some(claim::MARKER_VALUE.to_owned()));
        }
        changes.extend(self.consents(sorted));
        if !sorted.holds.is_empty() || !sorted.drops.is_empty() {
            let mut wanted = self.goal.custom_metadata.changes(metadata);
            // A key to remove may belong to whoever took over a property.
            wanted.retain(|_, value| value.is_some() || sorted.inherited.is_empty());
            changes.extend(wanted);
        }
        changes
    }

    fn settled(&self, sorted: &Sorted<'a>) -> Settled {
        let version = match self.entry.state {
            EntryState::Live { version, .. } => Some(version),
            EntryState::Absent | EntryState::Unseen | EntryState::Empty | EntryState::Deleted { .. } => None,
        };
        Settled {
            version,
            created: self.entry.created,
            owned: owned(&sorted.holds),
            kept: owned(&sorted.kept),
            taken: owned(&sorted.taken),
            left: sorted.left.iter().map(|(property, left)| ((*property).to_owned(), left.clone())).collect(),
            awaited: owned(&sorted.awaited),
            inherited: sorted.inherited.iter().map(|(property, by)| ((*property).to_owned(), by.clone())).collect(),
        }
    }
}

impl Sorted<'_> {
    fn hinder(&mut self, obstacle: Obstacle) {
        let weight = |obstacle: &Obstacle| match obstacle {
            Obstacle::Wait { .. } => 0,
            Obstacle::Withdraw => 1,
            Obstacle::AskAfter(_) | Obstacle::AskHeir(_) => 2,
            Obstacle::LookElsewhere => 3,
            Obstacle::Refuse(_) => 4,
        };
        if self.obstacle.as_ref().is_none_or(|present| weight(present) < weight(&obstacle)) {
            self.obstacle = Some(obstacle);
        }
    }
}

fn owned(properties: &BTreeSet<&str>) -> BTreeSet<String> {
    properties.iter().map(|property| (*property).to_owned()).collect()
}
