//! Whether producers let a resource's namespace read their properties.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::desired::Desired;
use super::plan::{Snapshot, snapshot_of, store_name};
use super::refusal::Refusal;
use super::wanted::{Into, Reference, Wanted};
use crate::domain::claim;
use crate::domain::consent::{self, Consent, OnWithdrawal, Silence, Word};
use crate::domain::description::What;
use crate::domain::property::{self, Reach};
use crate::domain::remote::Entry;

/// The namespace that reads.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    /// The labels of the namespace, if a consent needs them.
    pub labels: BTreeMap<String, String>,
    /// What a property without a consent means.
    pub silence: Silence,
}

/// Why a property may not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{store}: {producer} does not let namespace {namespace} read property {property:?} of {path}{}: ask the producer to add it to that mapping's metadata.spec.consumers; the target {}",
    match what {
        What::Data => "",
        What::Metadata => ", so it may not read the metadata either",
    },
    match on_withdrawal {
        OnWithdrawal::Retain => "is not updated, and keeps its data",
        OnWithdrawal::Delete => "is deleted, as the producer asks",
    }
)]
pub struct Denial {
    /// `Kind/name`.
    pub store: String,
    /// `mount/path`.
    pub path: String,
    pub property: String,
    /// What of the path is wanted.
    pub what: What,
    /// The resource's namespace.
    pub namespace: String,
    /// The producer, who can change that.
    pub producer: String,
    /// What happens to the target.
    pub on_withdrawal: OnWithdrawal,
}

/// Whether a consent needs the namespace's labels.
pub fn asks_for_labels(snapshots: &[(Reference, Snapshot)]) -> bool {
    let mut consents = snapshots.iter().flat_map(|(_, snapshot)| consent::all(&snapshot.entry.custom_metadata));
    consents.any(|(_, consent)| consent.namespace_selector.is_some())
}

/// Checks whether everything that the spec names may be read. All of it is judged before any value
/// is looked up: a value that is missing does not hide that another was withdrawn.
///
/// # Errors
/// [`Refusal::NotPermitted`], which names the producer; one who takes the target back, if there is
/// one.
pub fn check(desired: &Desired, snapshots: &[(Reference, Snapshot)], consumer: &Consumer) -> Result<(), Refusal> {
    let denials = denials(desired, snapshots, consumer);
    match denials.min_by_key(|denial| denial.on_withdrawal != OnWithdrawal::Delete) {
        Some(denial) => Err(Refusal::NotPermitted(Box::new(denial))),
        None => Ok(()),
    }
}

/// The stores and paths of what producers take back with the target.
pub fn taken_back(
    desired: &Desired,
    snapshots: &[(Reference, Snapshot)],
    consumer: &Consumer,
) -> BTreeSet<(String, String)> {
    let taken = denials(desired, snapshots, consumer).filter(|denial| denial.on_withdrawal == OnWithdrawal::Delete);
    taken.map(|denial| (denial.store, denial.path)).collect()
}

/// The properties that a spec names and may not read. What is found and may not be read is left out.
fn denials(
    desired: &Desired,
    snapshots: &[(Reference, Snapshot)],
    consumer: &Consumer,
) -> impl Iterator<Item = Denial> {
    let named = desired.entries.iter().filter(|wanted| !matches!(wanted.into, Into::Found { .. }));
    named.flat_map(move |wanted| {
        let snapshot = snapshot_of(snapshots, wanted);
        snapshot.into_iter().flat_map(move |snapshot| denials_of(desired, wanted, snapshot, consumer))
    })
}

/// Why an entry of the spec may not be read; the word of who takes the target back, if there is one.
pub fn denial(desired: &Desired, wanted: &Wanted, snapshot: &Snapshot, consumer: &Consumer) -> Option<Denial> {
    let denials = denials_of(desired, wanted, snapshot, consumer).into_iter();
    denials.min_by_key(|denial| denial.on_withdrawal != OnWithdrawal::Delete)
}

/// The properties that an entry of the spec reads and may not.
fn denials_of(desired: &Desired, wanted: &Wanted, snapshot: &Snapshot, consumer: &Consumer) -> Vec<Denial> {
    let metadata = &snapshot.entry.custom_metadata;
    let denial = |(property, on_withdrawal): (String, OnWithdrawal)| Denial {
        store: store_name(&wanted.from),
        path: snapshot.path.clone(),
        producer: claim::owner(metadata, &property).map_or("its producer".to_owned(), |owner| owner.to_string()),
        property,
        what: wanted.from.what,
        namespace: desired.namespace.clone(),
        on_withdrawal,
    };
    objections(wanted, &snapshot.entry, &desired.namespace, consumer).into_iter().map(denial).collect()
}

/// Who objects to an entry of the spec: the property that it names, or that its name is a path
/// into; any, if it reads the whole secret or its metadata, or its path may select from any property.
///
/// A consent outlives its value: who keeps a value that is gone hears of a withdrawal all the same.
/// Where there is neither, nobody is refused.
fn objections(wanted: &Wanted, entry: &Entry, namespace: &str, consumer: &Consumer) -> Vec<(String, OnWithdrawal)> {
    let metadata = &entry.custom_metadata;
    let spoken = |consent: Consent| match consent.judge(namespace, &consumer.labels) {
        Word::Yes => None,
        Word::No => Some(consent.on_withdrawal),
    };
    let judged = |property: String| {
        let objection = match (consent::of(metadata, &property), consumer.silence) {
            (Some(consent), _) => spoken(consent),
            (None, Silence::Forbids) if has(entry, &property) => Some(OnWithdrawal::Retain),
            (None, Silence::Forbids | Silence::Permits) => None,
        };
        Some((property, objection?))
    };
    let told =
        || consent::all(metadata).filter_map(|(property, consent)| Some((property.to_owned(), spoken(consent)?)));
    if wanted.from.what == What::Metadata {
        // It is of the whole entry, and no value that a producer takes back.
        let objecting = told().map(|(property, _)| property).chain(silenced(entry, consumer.silence));
        return objecting.map(|property| (property, OnWithdrawal::Retain)).collect();
    }
    match wanted.property.as_ref().map_or(Reach::All, |name| decisive(entry, name)) {
        Reach::One(property) => judged(property).into_iter().collect(),
        Reach::All => {
            let there = entry.data().into_iter().flat_map(|data| data.keys().cloned());
            there.filter_map(judged).chain(told()).collect()
        }
    }
}

/// The properties of which nobody says who may read them, if that forbids it: those of producers, or
/// all of an entry that has none.
fn silenced(entry: &Entry, silence: Silence) -> Vec<String> {
    let metadata = &entry.custom_metadata;
    let is_there = entry.data().is_some() && (entry.cas() > 0 || !metadata.is_empty());
    if silence == Silence::Permits || !is_there {
        return Vec::new();
    }
    let unspoken: Vec<String> = consent::unspoken(metadata).map(str::to_owned).collect();
    match unspoken.is_empty() && consent::all(metadata).next().is_none() {
        true => vec!["*".to_owned()],
        false => unspoken,
    }
}

/// The properties whose consents decide about a name of the spec: those that [`property::pick`] may
/// take the value from. If there is none, it is the one with that name, if anything is known of it.
fn decisive(entry: &Entry, name: &str) -> Reach {
    let metadata = &entry.custom_metadata;
    let is_known = || consent::of(metadata, name).is_some() || claim::is_claimed(metadata, name);
    match property::reach(name) {
        _ if has(entry, name) => Reach::One(name.to_owned()),
        Reach::One(into) if !has(entry, &into) && is_known() => Reach::One(name.to_owned()),
        reach @ (Reach::One(_) | Reach::All) => reach,
    }
}

fn has(entry: &Entry, property: &str) -> bool {
    entry.data().is_some_and(|data| data.contains_key(property))
}
