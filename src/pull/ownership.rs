//! Who owns a Secret with the target's name.

use super::desired::Desired;
use super::plan::live_name;
use super::refusal::Refusal;
use crate::api::names;
use crate::domain::fingerprint;
use crate::domain::target::{Live, Strangers};

/// The owner of a Secret.
pub enum Whose {
    /// This resource.
    Ours,
    /// It has no controller reference.
    Nobodys,
    /// Another controller, as `Kind name`.
    Anothers(String),
}

/// KS5: decided by the owner reference's UID, or a data hash that our field manager set; labels
/// never count.
pub fn whose(desired: &Desired, live: &Live) -> Whose {
    match live.owners.iter().find(|owner| owner.controller) {
        Some(owner) if owner.uid == desired.uid => Whose::Ours,
        Some(owner) => Whose::Anothers(format!("{} {}", owner.kind, owner.name)),
        None if live.our_annotations.contains(names::ANNOTATION_DATA_HASH) => Whose::Ours,
        None => Whose::Nobodys,
    }
}

/// Whether the resource may write it.
///
/// # Errors
/// The [`Refusal`], which names the owner if there is one.
pub fn check_owner(desired: &Desired, live: &Live) -> Result<(), Refusal> {
    let name = live_name(desired);
    if live.terminating {
        return Err(Refusal::Terminating { name });
    }
    match (whose(desired, live), desired.strangers) {
        (Whose::Ours, _) | (Whose::Nobodys, Strangers::Adopt) => Ok(()),
        (Whose::Anothers(owner), _) => Err(Refusal::ControlledByAnother { name, owner }),
        (Whose::Nobodys, Strangers::Leave) => Err(Refusal::NotOwned { name, whose: "it has no controller".into() }),
    }
}

/// Whether a target that is not read again is as some sync left it: ours, marked, and its data
/// equal to its data hash.
pub fn is_intact(desired: &Desired, live: &Live) -> bool {
    matches!(whose(desired, live), Whose::Ours)
        && live.labels.get(names::LABEL_MANAGED).is_some_and(|value| value == names::TRUE)
        && live.annotations.get(names::ANNOTATION_DATA_HASH) == Some(&fingerprint::data_hash(&live.data))
}
