//! Decides, for one entry, the next request from what the last read saw, and nothing else.
//!
//! The protocol is a chain of steps, each derived from the entry alone: announce → read again → write → confirm. So it can
//! stop anywhere and go on from there, whoever stopped it.

mod consents;
mod leaving;

use std::collections::{BTreeMap, BTreeSet};

use super::custom_metadata::MetadataGoal;
use super::ending;
use super::refusal::{Left, Refusal};
use crate::domain::claim::{self, ClaimState, Elsewhere, Inquiry, MetadataChanges, Owner};
use crate::domain::consent::Consent;
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::remote::{Entry, EntryState, RemoteData};

/// The largest entry, in bytes of JSON: the storage behind a KV mount takes no larger one.
pub const MAX_ENTRY_BYTES: usize = 1024 * 1024;

/// What is wanted of one entry.
#[derive(Default)]
pub struct Goal {
    /// Properties that are to have these values.
    pub set: RemoteData,
    /// Properties that are to be deleted, if they are ours.
    pub remove: BTreeSet<String>,
    /// Properties that are ours no longer and stay as they are.
    pub release: BTreeSet<String>,
    /// Properties that are to go, and that stand until those PushSecrets have been asked that may want them.
    pub offer: BTreeMap<String, BTreeSet<String>>,
    /// What becomes of earlier versions when its last property is among those.
    pub earlier: EarlierVersions,
    /// What happens to a property that is there already.
    pub existing: Existing,
    /// What happens to an entry without the marker.
    pub foreign: Foreign,
    /// What its labels are to be, as long as something there is ours.
    pub custom_metadata: MetadataGoal,
    /// Its key, as mappings and the ledger spell it.
    pub spellings: BTreeSet<String>,
    /// Who may read which of the properties of `set`; a property that is not here, anybody.
    pub consents: BTreeMap<String, Consent>,
    /// Whether the ledger lists a property of the entry: we pushed it, or were about to.
    pub history: History,
}

/// What is known of an entry from earlier reconciles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// Nothing of ours was ever there.
    #[default]
    None,
    /// The ledger lists it.
    Listed {
        /// The version that status names, where it names one.
        version: Option<u64>,
    },
}

/// Whether the properties that are to go are removed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removals {
    /// In the same version as what is written.
    Now,
    /// They stay until everything new is written.
    Later,
}

/// What happens to a property that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It gets our value.
    #[default]
    Replace,
    /// It stays, and is neither claimed nor ever deleted by us.
    Keep,
    /// Only what our claim stands on is deleted. So it is where a store led before it was edited: anybody who may write the status
    /// can name such a place.
    Claimed,
}

/// What happens to an entry that no External Secrets controller manages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    /// It is left alone.
    #[default]
    Refuse,
    /// It is taken over, its other properties kept.
    Adopt,
}

/// The next thing to do to an entry.
pub enum Step {
    /// Nothing: it is as wanted.
    Done(Settled),
    /// Somebody of our own cluster is in the way: look whether it still exists.
    AskAfter(Owner),
    /// Something of what is to go is claimed by another of our own cluster: look whether that one lists it.
    AskHeir(Owner),
    /// It has no mark: look whether that is where one of these spellings of its key puts it.
    LookElsewhere(BTreeSet<String>),
    /// Somebody announced a claim: give way for a moment.
    Wait {
        /// The intent's key.
        key: String,
        /// Who.
        by: Owner,
    },
    /// Change labels, creating the entry first where there is none: intents before a write.
    Announce {
        /// The labels to change.
        changes: MetadataChanges,
        /// The labels to change instead where a server makes sure that nobody comes between: claims at once. Nothing where
        /// a property must not be claimed before it is written.
        claims: Option<MetadataChanges>,
        /// The properties that will be ours, and must stand in the ledger first.
        properties: BTreeSet<String>,
    },
    /// Write a whole version.
    Write(Write),
    /// The latest version has no property left: delete it.
    Bury {
        /// Its number.
        version: u64,
    },
    /// No version has a property that is to stay: destroy them all, up to this one.
    Destroy {
        /// The latest version's number.
        through: u64,
    },
    /// Nobody else has anything at the entry, and all others know that it is about to go: remove it with its labels.
    Purge,
    /// Set our claim in the place of that of an owner who leaves it to us.
    TakeOver {
        /// The labels to change.
        changes: MetadataChanges,
        /// The properties, which must stand in the ledger first, each with its owner's UID.
        from: BTreeMap<String, String>,
    },
    /// Change labels: intents become claims, what is no longer ours is released.
    Settle(MetadataChanges),
    /// It must not be written.
    Refuse {
        /// Why.
        refusal: Refusal,
        /// Properties that another owns.
        taken: BTreeSet<String>,
    },
}

/// A version to write.
pub struct Write {
    /// All properties, others' included.
    pub data: RemoteData,
    /// The version it must follow.
    pub cas: u64,
    /// The properties that must still be ours, by the write's reply.
    pub holds: BTreeSet<String>,
    /// Labels to change when they are.
    pub settle: MetadataChanges,
    /// The properties that this write sets, and that must stand in the ledger first.
    pub sets: BTreeSet<String>,
    /// The properties that this write removes.
    pub drops: BTreeSet<String>,
    /// What stands then.
    pub settled: Settled,
}

/// An entry that is as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The latest version with data.
    pub version: Option<u64>,
    /// The properties that we own.
    pub owned: BTreeSet<String>,
    /// The properties that were there already and are not ours.
    pub kept: BTreeSet<String>,
    /// Those of them that another owns.
    pub taken: BTreeSet<String>,
    /// The properties that were to go and were left, each with the reason.
    pub left: BTreeMap<String, Left>,
    /// The properties that are offered, and that nobody has taken yet.
    pub awaited: BTreeSet<String>,
    /// The properties that were to go and belong to another PushSecret of the cluster, which lists them.
    pub inherited: BTreeMap<String, Owner>,
}

/// Everything about one decision that does not change while it is made.
struct View<'a> {
    goal: &'a Goal,
    removals: Removals,
    entry: &'a Entry,
    me: &'a Owner,
    inquiry: &'a Inquiry,
}

/// What each property asks for.
#[derive(Default)]
struct Sorted<'a> {
    /// Ours, or announced by us alone.
    holds: BTreeSet<&'a str>,
    /// To be announced.
    announce: BTreeSet<&'a str>,
    /// To be taken over, each from the owner with this UID.
    takes: BTreeMap<&'a str, String>,
    /// To be deleted; ours or announced.
    drops: BTreeSet<&'a str>,
    /// Whatever we have on these goes.
    releases: BTreeSet<&'a str>,
    /// There already, and not ours.
    kept: BTreeSet<&'a str>,
    /// Another's.
    taken: BTreeSet<&'a str>,
    /// To be deleted, and not provably ours.
    left: BTreeMap<&'a str, Left>,
    /// Offered, and not taken yet.
    awaited: BTreeSet<&'a str>,
    /// To be deleted, and another's by now.
    inherited: BTreeMap<&'a str, Owner>,
    /// What stops us, if anything.
    obstacle: Option<Obstacle>,
}

/// In the order of weight: a refusal is final, the others pass.
enum Obstacle {
    Wait { key: String, by: Owner },
    Withdraw,
    AskAfter(Owner),
    AskHeir(Owner),
    LookElsewhere,
    Refuse(Refusal),
}

/// The next step for an entry that looks like `entry`.
pub fn next(goal: &Goal, removals: Removals, entry: &Entry, me: &Owner, inquiry: &Inquiry) -> Step {
    let view = View { goal, removals, entry, me, inquiry };
    let mut sorted = Sorted::default();
    view.sort_wanted(&mut sorted);
    view.sort_unwanted(&mut sorted);
    if let Some(obstacle) = sorted.obstacle.take() {
        return view.stop(&sorted, obstacle);
    }
    let sets = view.sets(&sorted);
    // Before anything is announced: a claim on what cannot be written would only be withdrawn again.
    let bytes = view.size_after(&sorted, &sets);
    if !sets.is_empty() && bytes > MAX_ENTRY_BYTES {
        return view.stop(&sorted, Obstacle::Refuse(Refusal::TooLarge { bytes }));
    }
    // What is left to us takes no more room than it has, whatever else is wanted.
    if !sorted.takes.is_empty() {
        return view.take_over(&sorted);
    }
    if let Some(refusal) = view.crowding(&sorted) {
        return view.stop(&sorted, Obstacle::Refuse(refusal));
    }
    if !sorted.announce.is_empty() {
        return view.announce(&sorted, &sets);
    }
    // Before a new value, which nobody may read by an old consent; nor the value of now, which may be another's, by a new one.
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

    /// Data, or data that can be undeleted, which no External Secrets controller wrote.
    fn is_foreign(&self) -> bool {
        let filled = match self.entry.state {
            EntryState::Absent | EntryState::Empty => false,
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
                // An announced write may have happened or not: the value tells.
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

    /// Whatever is not provably ours stays: a deletion cannot be taken back.
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
            let left = match &state {
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
                // Whoever waits for it has to find it free, or ours.
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
                // The ledger says we pushed it, and an External Secrets Operator's write erased our claim.
                ClaimState::Claimable
                    if self.has(property) && !self.is_foreign() && self.goal.existing == Existing::Replace =>
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
        let withdraw = || Step::Settle(intents.iter().map(|p| (claim::intent_key(p, &self.me.uid), None)).collect());
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

    /// Nothing of it says who may read: another may get the property.
    fn announce(&self, sorted: &Sorted<'a>, sets: &BTreeSet<&'a str>) -> Step {
        let (changes, claims) = (self.intents(sorted), self.claims(sorted, sets));
        Step::Announce { changes, claims, properties: owned(&sorted.announce) }
    }

    /// What an announcement and the confirmation after its write change together. What is only to be ours if nobody else
    /// writes it cannot be claimed ahead of the write.
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

    /// Whether the labels that are to come find no room. An intent takes as much as the claim that follows it.
    fn crowding(&self, sorted: &Sorted<'a>) -> Option<Refusal> {
        let metadata = &self.entry.custom_metadata;
        let mut changes = self.intents(sorted);
        changes.extend(self.settling(sorted));
        changes.extend(self.consents(sorted));
        changes.extend(self.goal.custom_metadata.changes(metadata));
        let grows = changes.iter().any(|(key, value)| value.is_some() && !metadata.contains_key(key));
        let (keys, claims) = claim::count_after(metadata, &changes);
        let crowded = claims > claim::MAX_CLAIMS || keys > claim::MAX_KEYS;
        let others = || claim::owners(metadata).into_iter().filter(|owner| owner.uid != self.me.uid).collect();
        (grows && crowded).then(|| Refusal::TooManyClaims { claims, keys, others: others() })
    }

    /// The properties that are not there with our value, once they are ours.
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

    /// The size of the version that sets these: the JSON `{"property":value,…}`, names counted without their escapes.
    fn size_after(&self, sorted: &Sorted<'a>, sets: &BTreeSet<&'a str>) -> usize {
        let present = self.entry.data().into_iter().flatten().map(|(property, value)| (property.as_str(), value));
        let kept = present.filter(|(property, _)| !sorted.drops.contains(property) && !sets.contains(property));
        let set = sets.iter().map(|property| (*property, &self.goal.set[*property]));
        2 + kept.chain(set).map(|(property, value)| property.len() + value.expose_json().len() + 4).sum::<usize>()
    }

    /// A version that has our values and lacks what we drop; nothing if the latest one does already.
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
        // Without properties it is not settled yet: the empty version is deleted first, then the claims go.
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
        let ends = !sorted.drops.is_empty() && self.entry.data().is_none_or(RemoteData::is_empty);
        if ends && let Some(step) = ending::next(self.goal.earlier, self.entry, self.me, self.inquiry) {
            return step;
        }
        let changes = self.settling(sorted);
        match changes.is_empty() {
            false => Step::Settle(changes),
            true => Step::Done(self.settled(sorted)),
        }
    }

    /// The labels that differ from what they should be once the data is as wanted.
    fn settling(&self, sorted: &Sorted<'a>) -> MetadataChanges {
        let metadata = &self.entry.custom_metadata;
        let to_confirm = sorted.holds.iter().copied().filter(|property| self.claim_state(property) != ClaimState::Mine);
        let mut changes = claim::confirm(to_confirm, self.me);
        changes.extend(claim::release(metadata, sorted.drops.union(&sorted.releases).copied(), self.me));
        // A claim that was confirmed while its intent could not be removed.
        for property in &sorted.holds {
            let intent = claim::intent_key(property, &self.me.uid);
            if metadata.contains_key(&intent) {
                changes.insert(intent, None);
            }
        }
        // A purge that was asked for no longer, or that somebody's claim came before.
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
            // A label that goes with an inherited property may be its heir's by now.
            wanted.retain(|_, value| value.is_some() || sorted.inherited.is_empty());
            changes.extend(wanted);
        }
        changes
    }

    fn settled(&self, sorted: &Sorted<'a>) -> Settled {
        let version = match self.entry.state {
            EntryState::Live { version, .. } => Some(version),
            EntryState::Absent | EntryState::Empty | EntryState::Deleted { .. } => None,
        };
        Settled {
            version,
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
