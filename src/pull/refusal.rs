//! Why a target stays as it is, and what to do about it.

use thiserror::Error;

use super::consent::Denial;
use crate::api::condition::Reason;
use crate::domain::consent::OnWithdrawal;
use crate::domain::target::MOST_BYTES;

/// Why the target stays as it is. Each text says what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nothing there.
    #[error("{store}: {path} does not exist{version}: push it, or correct the key")]
    PathNotFound {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// ` at version n` where one is pinned.
        version: String,
    },
    /// The property is not there.
    #[error("{store}: {path} (version {version}) has no property {property:?}: push it, or correct spec.data")]
    PropertyNotFound {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// The version that was read.
        version: u64,
        /// The property.
        property: String,
    },
    /// The latest version was deleted, which can be taken back.
    #[error(
        "{store}: version {version} of {path} is deleted: undelete it (kv undelete -versions={version}), or push it again"
    )]
    VersionDeleted {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// The version.
        version: u64,
    },
    /// A query in place of a property.
    #[error(
        "{store}: {path} has no property named {property:?}, and queries with '#', '|', '@', '*', '?' or '!' are not supported: name the property, or a path into it such as \"a.b.0\""
    )]
    Query {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// The property.
        property: String,
    },
    /// The producer does not let this namespace read it.
    #[error("{0}")]
    NotPermitted(Box<Denial>),
    /// Not base64.
    #[error("the value for key {key:?} is not what its decodingStrategy says: correct the value or the strategy")]
    Undecodable {
        /// The key in the target.
        key: String,
    },
    /// A zero byte.
    #[error("the value for key {key:?} has a zero byte, which its nullBytePolicy Fail forbids")]
    NullByte {
        /// The key in the target.
        key: String,
    },
    /// Nested without end.
    #[error("{path} is nested too deep to be rendered whole: name a property")]
    TooDeep {
        /// `mount/path`.
        path: String,
    },
    /// Rule K3.
    #[error(
        "the target would hold {bytes} bytes, and a Secret holds {MOST_BYTES} at most (K3): name fewer or smaller values"
    )]
    TooLarge {
        /// Bytes of keys and values.
        bytes: usize,
    },
    /// Somebody else's Secret.
    #[error(
        "Secret {name} exists and is not ours ({whose}): it was not touched; rename the target, delete that Secret, or annotate this ExternalSecret with waypost.io/adopt: \"true\" to take it over"
    )]
    NotOwned {
        /// The Secret.
        name: String,
        /// Who owns it, as far as can be told.
        whose: String,
    },
    /// Somebody else's Secret of a type that would have to be deleted first.
    #[error(
        "Secret {name} is not ours and has type {kind}, and a Secret's type cannot be changed to {wanted}: it was not touched, adopting never deletes; delete that Secret, or choose another spec.target.name"
    )]
    OtherType {
        /// The Secret.
        name: String,
        /// Its type.
        kind: String,
        /// The type that the target would have.
        wanted: String,
    },
    /// Another controller's Secret: adoption would only start a fight.
    #[error("Secret {name} is controlled by {owner}: it was not touched; choose another spec.target.name")]
    ControlledByAnother {
        /// The Secret.
        name: String,
        /// `Kind name` of its controller.
        owner: String,
    },
    /// Rule K4.
    #[error(
        "Secret {name} is immutable and its data must change: delete it, or annotate this ExternalSecret with waypost.io/recreate-immutable: \"true\""
    )]
    Immutable {
        /// The Secret.
        name: String,
    },
    /// It is going away.
    #[error("Secret {name} is being deleted; it is created again when it is gone")]
    Terminating {
        /// The Secret.
        name: String,
    },
}

impl Refusal {
    /// The word in the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::PathNotFound { .. } | Refusal::VersionDeleted { .. } => Reason::PathNotFound,
            Refusal::Query { .. } => Reason::Unsupported,
            Refusal::PropertyNotFound { .. } => Reason::PropertyNotFound,
            Refusal::NotPermitted(_) => Reason::NotPermitted,
            Refusal::Undecodable { .. } | Refusal::NullByte { .. } | Refusal::TooDeep { .. } => Reason::TargetInvalid,
            Refusal::TooLarge { .. } => Reason::TooLarge,
            Refusal::NotOwned { .. } | Refusal::OtherType { .. } | Refusal::ControlledByAnother { .. } => {
                Reason::TargetNotOwned
            }
            Refusal::Immutable { .. } => Reason::TargetImmutable,
            Refusal::Terminating { .. } => Reason::SecretSyncedError,
        }
    }

    /// Whether a target that is there stays as it is for it, which is worth a word.
    pub fn keeps_data(&self) -> bool {
        match self {
            Refusal::PathNotFound { .. }
            | Refusal::VersionDeleted { .. }
            | Refusal::PropertyNotFound { .. }
            | Refusal::Query { .. }
            | Refusal::TooLarge { .. } => true,
            Refusal::NotPermitted(_)
            | Refusal::Undecodable { .. }
            | Refusal::NullByte { .. }
            | Refusal::TooDeep { .. }
            | Refusal::NotOwned { .. }
            | Refusal::OtherType { .. }
            | Refusal::ControlledByAnother { .. }
            | Refusal::Immutable { .. }
            | Refusal::Terminating { .. } => false,
        }
    }

    /// Whether a target of ours goes, although nothing can be said about what it should be.
    pub fn takes_target(&self) -> bool {
        matches!(self, Refusal::NotPermitted(denial) if denial.on_withdrawal == OnWithdrawal::Delete)
    }
}
