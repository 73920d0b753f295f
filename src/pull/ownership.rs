//! Whose a Secret of the target's name is.

use super::desired::Desired;
use super::plan::live_name;
use super::refusal::Refusal;
use crate::api::names;
use crate::domain::fingerprint;
use crate::domain::target::{Live, Strangers};

/// Who may decide about it.
pub enum Whose {
    /// The resource that asks.
    Ours,
    /// It names no controller.
    Nobodys,
    /// Another controller, as `Kind name`.
    Anothers(String),
}

/// KS5: the owner's UID, or a data hash that our field manager set; labels never count.
pub fn whose(desired: &Desired, live: &Live) -> Whose {
    match live.owners.iter().find(|owner| owner.controller) {
        Some(owner) if owner.uid == desired.uid => Whose::Ours,
        Some(owner) => Whose::Anothers(format!("{} {}", owner.kind, owner.name)),
        None if live.our_annotations.contains(names::ANNOTATION_DATA_HASH) => Whose::Ours,
        None => Whose::Nobodys,
    }
}

/// Whether the resource may write to it.
///
/// # Errors
/// The [`Refusal`] that names the owner, where there is one.
pub fn check_owner(desired: &Desired, live: &Live) -> Result<(), Refusal> {
    let name = live_name(desired);
    if live.terminating {
        return Err(Refusal::Terminating { name });
    }
    match (whose(desired, live), desired.strangers) {
        (Whose::Ours, _) | (Whose::Nobodys, Strangers::Adopt) => Ok(()),
        (Whose::Anothers(owner), _) => Err(Refusal::ControlledByAnother { name, owner }),
        (Whose::Nobodys, Strangers::Leave) => Err(Refusal::NotOwned { name, whose: "it names no controller".into() }),
    }
}

/// Whether a target that is not read again on changes of the store is as some sync left it: ours, marked, and its data equal
/// to the digest beside it.
pub fn is_intact(desired: &Desired, live: &Live) -> bool {
    matches!(whose(desired, live), Whose::Ours)
        && live.labels.get(names::LABEL_MANAGED).is_some_and(|value| value == names::TRUE)
        && live.annotations.get(names::ANNOTATION_DATA_HASH) == Some(&fingerprint::data_hash(&live.data))
}
