//! Whether producers let a resource's namespace read their properties.

use std::collections::BTreeMap;

use thiserror::Error;

use super::desired::{Desired, Reference, Wanted};
use super::plan::{Snapshot, store_name};
use super::refusal::Refusal;
use crate::domain::claim::{self, CustomMetadata};
use crate::domain::consent::{self, Consent, OnWithdrawal, Silence, Word};
use crate::domain::remote::{EntryState, RemoteData};

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
    "{store}: {producer} does not let namespace {namespace} read property {property:?} of {path}: ask the producer to add it to that mapping's metadata.spec.consumers; the target {}",
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
    /// The property.
    pub property: String,
    /// The resource's namespace.
    pub namespace: String,
    /// The producer, who can change that.
    pub producer: String,
    /// What happens to the target.
    pub on_withdrawal: OnWithdrawal,
}

/// Whether a consent needs the namespace's labels.
pub fn asks_for_labels(snapshots: &[(Reference, Snapshot)]) -> bool {
    let consents = snapshots.iter().flat_map(|(_, snapshot)| consent::all(&snapshot.entry.custom_metadata));
    consents.into_iter().any(|consent| consent.namespace_selector.is_some())
}

/// Checks whether one entry of the spec may be read.
///
/// # Errors
/// [`Refusal::NotPermitted`], which names the producer.
pub fn check(desired: &Desired, wanted: &Wanted, snapshot: &Snapshot, consumer: &Consumer) -> Result<(), Refusal> {
    let labels = &snapshot.entry.custom_metadata;
    let (properties, silence) = match &snapshot.entry.state {
        EntryState::Live { data, .. } => (concerned(wanted, data), consumer.silence),
        // A consent outlives its value: who keeps a value that is gone hears of a withdrawal all the
        // same. Where there is neither, nobody is refused.
        EntryState::Deleted { .. } | EntryState::Empty | EntryState::Absent => (named(wanted), Silence::Permits),
    };
    for property in properties {
        if let Some(on_withdrawal) = objection(labels, property, &desired.namespace, &consumer.labels, silence) {
            return Err(Refusal::NotPermitted(Box::new(Denial {
                store: store_name(&wanted.from),
                path: snapshot.path.clone(),
                property: property.to_owned(),
                namespace: desired.namespace.clone(),
                producer: claim::owner(labels, property).map_or("its producer".to_owned(), |owner| owner.to_string()),
                on_withdrawal,
            })));
        }
    }
    Ok(())
}

/// The properties that an entry of the spec reads: the named one, or all if it reads the whole
/// secret or a path into one of them.
fn concerned<'a>(wanted: &'a Wanted, data: &'a RemoteData) -> Vec<&'a str> {
    match &wanted.property {
        Some(property) if data.contains_key(property) => vec![property],
        Some(_) | None => data.keys().map(String::as_str).collect(),
    }
}

/// The property that an entry of the spec names, and the one that it is a path into.
fn named(wanted: &Wanted) -> Vec<&str> {
    let property = wanted.property.as_deref();
    let top = property.and_then(|property| property.split('.').next());
    property.into_iter().chain(top.filter(|top| Some(*top) != property)).collect()
}

/// What happens to the namespace's target if it may not read the property; `None` if it may.
fn objection(
    metadata: &CustomMetadata,
    property: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    silence: Silence,
) -> Option<OnWithdrawal> {
    match (consent::of(metadata, property), silence) {
        (Some(consent), _) => match consent.judge(namespace, labels) {
            Word::Yes => None,
            Word::No => {
                let Consent { on_withdrawal, .. } = consent;
                Some(on_withdrawal)
            }
        },
        (None, Silence::Permits) => None,
        (None, Silence::Forbids) => Some(OnWithdrawal::Retain),
    }
}
