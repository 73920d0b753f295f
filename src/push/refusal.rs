//! Why an entry is not written, and why a property to remove stays: as in status and Events.

use super::step::MAX_ENTRY_BYTES;
use crate::domain::claim::{self, Elsewhere, Owner};

/// Why an entry must not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another PushSecret owns the property.
    #[error(
        "property {property:?} belongs to {owner}: choose another path or property, or delete the mapping of that PushSecret (the claim is custom_metadata {key:?})"
    )]
    Conflict {
        property: String,
        owner: Owner,
        /// The key of the claim in the custom metadata.
        key: String,
    },
    /// The claim of the property does not parse.
    #[error(
        "property {property:?} has a malformed claim: find out who wrote custom_metadata {key:?}, and remove it if nobody owns the property"
    )]
    UnreadableClaim {
        property: String,
        /// The key of the claim in the custom metadata.
        key: String,
    },
    /// No External Secrets controller manages the entry.
    #[error(
        "the path holds data that no External Secrets controller wrote{}: choose another path, or annotate the PushSecret with waypost.io/adopt: \"true\" to add its properties there",
        hint(.elsewhere)
    )]
    NotManaged {
        /// The result of looking for a misplaced mark.
        elsewhere: Elsewhere,
    },
    /// We pushed the entry, and somebody replaced its custom metadata, which had our claims.
    #[error(
        "this PushSecret wrote the path, and its custom_metadata was replaced{}: annotate the PushSecret with waypost.io/adopt: \"true\" so that Waypost claims and writes it again, or choose another path",
        since(.version)
    )]
    MetadataReplaced {
        /// The last version that was seen with our claims.
        version: Option<u64>,
    },
    /// The custom metadata has no room for more claims.
    #[error(
        "the path would have {claims} claims and {keys} keys of custom_metadata, and the limits are {} and {}: spread its properties over several paths",
        claim::MAX_CLAIMS,
        claim::MAX_KEYS
    )]
    TooManyClaims {
        /// The claims that there would be.
        claims: usize,
        /// The keys that there would be.
        keys: usize,
        /// The owners of the present claims.
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
        Elsewhere::Hidden(path) => format!(
            " (or External Secrets Operator did, and marked {path} instead, which this login may not read: install policies/vault/optional/eso-markers.hcl so that Waypost looks there)"
        ),
        Elsewhere::Unknown | Elsewhere::Nowhere | Elsewhere::At(_) => String::new(),
    }
}

fn since(version: &Option<u64>) -> String {
    version.map(|version| format!(" since version {version}")).unwrap_or_default()
}

/// Why a property to remove stays in the store: nothing shows that it is still ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Left {
    /// The entry has no mark.
    #[error("the custom_metadata of the path was replaced, and nothing shows any more who owns it")]
    Unmarked,
    /// `IfNotExists` never deletes what existed before. Without a claim, nothing tells whether the
    /// property did.
    #[error("nobody claims it, and with updatePolicy IfNotExists, Waypost keeps what may have existed before")]
    Existing,
    /// It is at a former location, where only a claim shows that it is ours.
    #[error("nobody claims it, and its store leads elsewhere now")]
    Unclaimed,
    /// Another PushSecret is about to claim it.
    #[error("{by} announced a claim on it")]
    Contested { by: Owner },
    /// Another PushSecret claims it.
    #[error("{}", .by.as_ref().map_or("it has a claim that cannot be read".to_owned(), |by| format!("it belongs to {by}")))]
    Taken {
        /// Its owner; `None` if the claim does not parse.
        by: Option<Owner>,
    },
}
