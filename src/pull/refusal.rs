//! Why a target is not changed, and what to do about it.

use thiserror::Error;

use super::consent::Denial;
use crate::api::condition::Reason;
use crate::domain::consent::OnWithdrawal;
use crate::domain::extract::ExtractFault;
use crate::domain::json_path::PathFault;
use crate::domain::secret_template::TemplateFault;
use crate::domain::target::MOST_BYTES;

/// Why the target is not changed. Each text says what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The path does not exist.
    #[error("{store}: {path} does not exist{version}: push it, or correct the key")]
    PathNotFound {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// ` at version n` if a version is pinned.
        version: String,
    },
    /// The property does not exist.
    #[error("{store}: {path} (version {version}) has no property {property:?}: push it, or correct spec.data")]
    PropertyNotFound {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// The version that was read.
        version: u64,
        property: String,
    },
    /// The metadata does not have it.
    #[error(
        "{store}: the metadata of {path} has no {name:?}: set it as custom metadata, or correct the property of the spec"
    )]
    MetadataNotFound {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// Its name.
        name: String,
    },
    /// The latest version is deleted, which can be undone.
    #[error(
        "{store}: version {version} of {path} is deleted: push it again, undelete it (kv undelete -versions={version}), or, if a push emptied it, restore an earlier version (kv rollback)"
    )]
    VersionDeleted {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        version: u64,
    },
    /// A query instead of a property.
    #[error(
        "{store}: {path} has no property named {property:?}, and {fault}: name the property, or a path that selects a value, such as \"a.b.0\""
    )]
    Query {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        property: String,
        /// What it asks for.
        fault: PathFault,
    },
    /// The secret does not make the keys that are asked for.
    #[error("{field}: {path}: {fault}")]
    Keys {
        /// The field of the spec.
        field: String,
        /// `mount/path`.
        path: String,
        /// Why not.
        fault: Box<ExtractFault>,
    },
    /// The template makes no Secret.
    #[error("{0}")]
    Template(Box<TemplateFault>),
    /// All secrets exist, and none has a property.
    #[error("the secrets of spec.dataFrom have no properties, so the target would have no key: push them")]
    NoKeys,
    /// Nothing is below the folders, or selected there.
    #[error(
        "{store}: {field} finds no secret, so the target would have no key: push one, or correct path, name or tags"
    )]
    NothingFound {
        /// The field of the spec.
        field: String,
        /// `Kind/name`.
        store: String,
    },
    /// The producer does not let this namespace read it.
    #[error("{0}")]
    NotPermitted(Box<Denial>),
    /// The value is not in the declared encoding.
    #[error("the value for key {key:?} is not encoded as its decodingStrategy says: correct the value or the strategy")]
    Undecodable {
        /// The key in the target.
        key: String,
    },
    /// The value has a zero byte.
    #[error(
        "the value for key {key:?} has a zero byte, which its nullBytePolicy Fail does not allow: correct the value or the policy"
    )]
    NullByte {
        /// The key in the target.
        key: String,
    },
    /// The secret is nested too deep.
    #[error("{path} is nested too deep to be rendered whole: name a property")]
    TooDeep {
        /// `mount/path`.
        path: String,
    },
    /// Rule K3.
    #[error(
        "the target would have {bytes} bytes, and a Secret may have {MOST_BYTES} (K3): use fewer or smaller values"
    )]
    TooLarge {
        /// Bytes of keys and values.
        bytes: usize,
    },
    /// The Secret belongs to somebody else.
    #[error(
        "Secret {name} exists and is not ours ({whose}): it was not touched; rename the target, delete that Secret, or annotate this ExternalSecret with waypost.io/adopt: \"true\" to adopt it"
    )]
    NotOwned {
        /// The Secret.
        name: String,
        /// Its owner, as far as known.
        whose: String,
    },
    /// The Secret belongs to somebody else, and its type cannot be changed.
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
    /// Another controller owns the Secret: adoption would only start a fight.
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
    /// Rule K4, and the Secret cannot be created again.
    #[error(
        "Secret {name} must be created again, and could not be deleted while it has the finalizers {finalizers}: it was not touched; remove them from it, or take the change back"
    )]
    Held {
        /// The Secret.
        name: String,
        /// The finalizers.
        finalizers: String,
    },
    /// The Secret is being deleted.
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
            Refusal::PropertyNotFound { .. }
            | Refusal::MetadataNotFound { .. }
            | Refusal::NoKeys
            | Refusal::NothingFound { .. } => Reason::PropertyNotFound,
            Refusal::NotPermitted(_) => Reason::NotPermitted,
            Refusal::Template(fault) if fault.is_missing() => Reason::SourceNotFound,
            Refusal::Template(_)
            | Refusal::Undecodable { .. }
            | Refusal::NullByte { .. }
            | Refusal::TooDeep { .. }
            | Refusal::Keys { .. } => Reason::TargetInvalid,
            Refusal::TooLarge { .. } => Reason::TooLarge,
            Refusal::NotOwned { .. } | Refusal::OtherType { .. } | Refusal::ControlledByAnother { .. } => {
                Reason::TargetNotOwned
            }
            Refusal::Immutable { .. } | Refusal::Held { .. } => Reason::TargetImmutable,
            Refusal::Terminating { .. } => Reason::SecretSyncedError,
        }
    }

    /// Whether an existing target keeps its data, which the message should say.
    pub fn keeps_data(&self) -> bool {
        match self {
            Refusal::PathNotFound { .. }
            | Refusal::VersionDeleted { .. }
            | Refusal::PropertyNotFound { .. }
            | Refusal::MetadataNotFound { .. }
            | Refusal::Query { .. }
            | Refusal::NoKeys
            | Refusal::NothingFound { .. }
            | Refusal::Template(_)
            | Refusal::TooLarge { .. } => true,
            Refusal::NotPermitted(_)
            | Refusal::Undecodable { .. }
            | Refusal::NullByte { .. }
            | Refusal::TooDeep { .. }
            | Refusal::Keys { .. }
            | Refusal::NotOwned { .. }
            | Refusal::OtherType { .. }
            | Refusal::ControlledByAnother { .. }
            | Refusal::Immutable { .. }
            | Refusal::Held { .. }
            | Refusal::Terminating { .. } => false,
        }
    }

    /// Whether our target is deleted although it cannot be rendered.
    pub fn takes_target(&self) -> bool {
        matches!(self, Refusal::NotPermitted(denial) if denial.on_withdrawal == OnWithdrawal::Delete)
    }
}
