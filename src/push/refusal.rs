//! Why an entry is not written, and why a property that was to go was left: in the words of status and Events.

use super::step::MAX_ENTRY_BYTES;
use crate::domain::claim::{self, Elsewhere, Owner};

/// Why an entry must not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another PushSecret owns the property.
    #[error(
        "property {property:?} belongs to {owner}: choose another path or property, or delete that mapping (the claim is custom_metadata {key:?})"
    )]
    Conflict {
        /// The property.
        property: String,
        /// Who owns it.
        owner: Owner,
        /// Where that is written down.
        key: String,
    },
    /// The property's claim cannot be read.
    #[error(
        "property {property:?} has a claim that cannot be read: look at custom_metadata {key:?}, and remove it if nobody owns it"
    )]
    UnreadableClaim {
        /// The property.
        property: String,
        /// Where the claim is.
        key: String,
    },
    /// The entry was written by somebody else.
    #[error(
        "the path holds data that no External Secrets controller wrote{}: choose another path, or annotate the PushSecret with waypost.io/adopt: \"true\" to add its properties there",
        hint(.elsewhere)
    )]
    NotManaged {
        /// Where its mark was looked for.
        elsewhere: Elsewhere,
    },
    /// We pushed it, and somebody replaced the labels that say so.
    #[error(
        "this PushSecret wrote the path, and its labels (custom_metadata) were replaced{}: annotate the PushSecret with waypost.io/adopt: \"true\" to have it claimed and written again, or choose another path",
        since(.version)
    )]
    MetadataReplaced {
        /// The version that was last seen with its labels.
        version: Option<u64>,
    },
    /// The entry has no room for more claims.
    #[error(
        "the path would have {claims} claims and {keys} keys of custom_metadata, and the limits are {} and {}: spread its properties over several paths",
        claim::MAX_CLAIMS,
        claim::MAX_KEYS
    )]
    TooManyClaims {
        /// Claims there would be.
        claims: usize,
        /// Keys there would be.
        keys: usize,
        /// Whose claims are there.
        others: Vec<Owner>,
    },
    /// The entry would be too large.
    #[error(
        "the path would hold {bytes} bytes, and {MAX_ENTRY_BYTES} is the limit: make the values smaller, or spread them over several paths"
    )]
    TooLarge {
        /// The size as JSON.
        bytes: usize,
    },
}

fn hint(elsewhere: &Elsewhere) -> String {
    match elsewhere {
        Elsewhere::Hidden(place) => format!(
            " (or External Secrets Operator did, and marked {place} in its place, which this login may not see: install policies/vault/optional/eso-markers.hcl to have it looked for)"
        ),
        Elsewhere::Unknown | Elsewhere::Nowhere | Elsewhere::At(_) => String::new(),
    }
}

fn since(version: &Option<u64>) -> String {
    version.map(|version| format!(" since version {version}")).unwrap_or_default()
}

/// Why a property that the ledger lists, and that was to be removed, stays in the store. Nothing shows that it is still ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Left {
    /// No External Secrets controller's mark is on the entry.
    #[error("the labels of the path were replaced, and nothing shows any more whose it is")]
    Unmarked,
    /// What was there first is never deleted, and without a claim nobody knows whether it was.
    #[error("nobody claims it, and updatePolicy IfNotExists leaves what may have been there first")]
    Existing,
    /// It stands where its store led before that was edited, and only a claim shows there that it is ours.
    #[error("nobody claims it, and its store leads elsewhere now")]
    Unclaimed,
    /// Somebody is about to claim it.
    #[error("{by} announced a claim on it")]
    Contested {
        /// Who.
        by: Owner,
    },
    /// Somebody claims it.
    #[error("{}", .by.as_ref().map_or("it has a claim that cannot be read".to_owned(), |by| format!("it belongs to {by}")))]
    Taken {
        /// Who; `None` where the claim cannot be read.
        by: Option<Owner>,
    },
}
