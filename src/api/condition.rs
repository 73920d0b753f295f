//! Conditions in ESO's form, plus `observedGeneration`, and the closed set of reasons.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The condition of every kind: whether it is as its spec says.
pub const READY: &str = "Ready";
/// The condition of a PushSecret: whether its consumers have what it pushed.
pub const PROPAGATED: &str = "Propagated";
/// A condition type that ESO declares but no longer sets.
pub const DELETED: &str = "Deleted";

/// The maximum length of a condition's message, in characters.
pub const MAX_MESSAGE: usize = 32_768;

/// One aspect of an object's state, for people and for tools that wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Ready says whether the object is as its spec says. Propagated, on a PushSecret, says whether
    /// the consumers in this cluster have what it pushed.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// One word for why the status is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// A sentence for people: what is wrong and what to do about it. It never contains a secret
    /// value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_MESSAGE))]
    pub message: Option<String>,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// The generation of the spec that this condition describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It is not known.
    Unknown,
}

impl ConditionStatus {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Condition {
    /// A condition of type Ready, its message cut to what the definition allows; `upsert` sets its
    /// transition time.
    pub fn ready(status: ConditionStatus, reason: Reason, message: impl Into<String>, generation: Option<i64>) -> Self {
        Self::new(READY, status, reason, message, generation)
    }

    /// A condition of this type, its message cut to what the definition allows; `upsert` sets its
    /// transition time.
    pub fn new(
        type_: &str,
        status: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
        generation: Option<i64>,
    ) -> Self {
        Self {
            type_: type_.to_owned(),
            status,
            reason: Some(reason.as_str().to_owned()),
            // A longer one is refused with the whole status.
            message: Some(message.into().chars().take(MAX_MESSAGE).collect()),
            last_transition_time: None,
            observed_generation: generation,
        }
    }
}

/// The condition of that type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Replaces the condition of `new`'s type. Its transition time is the old one if the status is the
/// same, else `now`. Returns whether anything changed, so that an unchanged status is not written.
pub fn upsert(conditions: &mut Vec<Condition>, mut new: Condition, now: Time) -> Upsert {
    let old = conditions.iter_mut().find(|old| old.type_ == new.type_);
    let Some(old) = old else {
        new.last_transition_time = Some(now);
        conditions.push(new);
        return Upsert::Changed;
    };
    new.last_transition_time = match &old.last_transition_time {
        Some(time) if old.status == new.status => Some(time.clone()),
        _ => Some(now),
    };
    if *old == new {
        return Upsert::Unchanged;
    }
    *old = new;
    Upsert::Changed
}

/// Sets `Ready=False` in `conditions`: what is wrong and what to do about it.
pub fn refuse(
    conditions: &mut Vec<Condition>,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Time,
) {
    upsert(conditions, Condition::ready(ConditionStatus::False, reason, message, generation), now);
}

/// What `upsert` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsert {
    /// The conditions are what they were.
    Unchanged,
    /// A condition was added or differs now.
    Changed,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a condition has its status. ESO's words keep ESO's meaning; the others say what ESO
        /// only puts into Events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word in the API.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// ExternalSecret: the target is a render of the spec and of the store's values.
    SecretSynced,
    /// ExternalSecret: the target could not be updated, and no other reason fits.
    SecretSyncedError,
    /// ExternalSecret: the value is gone and the target was deleted, as `deletionPolicy` asks.
    SecretDeleted,
    /// ExternalSecret: the target does not exist, and `creationPolicy` does not allow to create it.
    SecretMissing,
    /// ExternalSecret with a manifest target: it is up to date.
    ResourceSynced,
    /// ExternalSecret with a manifest target: it could not be updated.
    ResourceSyncedError,
    /// ExternalSecret with a manifest target: it was deleted, as `deletionPolicy` asks.
    ResourceDeleted,
    /// ExternalSecret with a manifest target: it does not exist and must not be created.
    ResourceMissing,
    /// PushSecret: the store has every mapped property.
    Synced,
    /// PushSecret: not everything could be pushed, and no other reason fits.
    Errored,
    /// PushSecret: the source is gone and what was pushed was deleted, as `deletionPolicy` asks.
    SourceDeleted,
    /// PushSecret: every consumer's target has what was pushed.
    ConsumersCurrent,
    /// PushSecret: a consumer's target has an older version, or none.
    ConsumersLag,
    /// PushSecret: no consumer in this cluster follows what was pushed.
    NoConsumers,
    /// PushSecret: a version was just written, and its consumers are not counted yet.
    Propagating,
    /// Store: it is reachable and accepts the login.
    Valid,
    /// Store: it cannot be used; the message says what to do.
    InvalidProviderConfig,
    /// Store: whether it can be used depends on the namespace that uses it.
    ValidationUnknown,
    /// The spec contradicts itself or cannot be read; nothing happens until it is edited.
    InvalidSpec,
    /// The spec asks for something that this version does not do.
    Unsupported,
    /// The spec violates a rule of the path convention, which the message names.
    ConventionViolated,
    /// The store that the spec names does not exist.
    StoreNotFound,
    /// The store exists, but cannot be used now.
    StoreNotReady,
    /// The store does not serve this namespace, or its credential may not do this.
    NotPermitted,
    /// PushSecret: the source Secret does not exist, or no Secret has the labels.
    SourceNotFound,
    /// PushSecret: the source Secret was pushed, and does not exist any more.
    SourceGone,
    /// PushSecret: a source lacks a mapped key or metadata that a remote key uses, a value is not
    /// text, or another source writes the same property.
    SourceInvalid,
    /// PushSecret: another PushSecret owns the property.
    PathConflict,
    /// PushSecret: the path holds data that no External Secrets controller wrote.
    PathNotManaged,
    /// ExternalSecret: the path does not exist.
    PathNotFound,
    /// ExternalSecret: the path lacks the property.
    PropertyNotFound,
    /// ExternalSecret: a Secret of that name exists and is not ours.
    TargetNotOwned,
    /// ExternalSecret: the rendered target is not a legal Secret.
    TargetInvalid,
    /// ExternalSecret: the target is immutable and its data must change.
    TargetImmutable,
    /// A value or a whole object is larger than Kubernetes or the store accepts, or more Secrets
    /// have the labels than one PushSecret may push.
    TooLarge,
    /// More values are gone from the store than the bound of deletions allows; a person must
    /// decide.
    MassDeletionBlocked,
    /// Removing what was pushed is not possible yet; the object stays until it is, or until the
    /// deadline.
    CleanupPending,
    /// What was pushed is offered to other PushSecrets; it is removed once they have declined.
    HandingOver,
    /// A cluster-wide kind: every namespace that matches has its object.
    Provisioned,
    /// A cluster-wide kind: one or more namespaces failed.
    NamespacesFailed,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
