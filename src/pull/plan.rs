//! Decides what becomes of the target, from the spec, one snapshot per path, and what stands in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use thiserror::Error;

use super::consent::{self, Denial, Reader};
use super::desired::{Deletion, Desired, ImmutableTargets, Reference, Strangers, Wanted, is_carried};
use crate::api::condition::Reason;
use crate::api::external_secret::NullBytePolicy;
use crate::api::names;
use crate::domain::consent::OnWithdrawal;
use crate::domain::fingerprint;
use crate::domain::property;
use crate::domain::remote::{Entry, EntryState};
use crate::domain::secret::{SecretBytes, SecretMap};
use crate::domain::target::{Live, MOST_BYTES, Owner, Removals, Stamp, Target};

/// What was read.
pub struct Observed {
    /// One snapshot for each reference of the spec; spellings of one entry share theirs.
    pub snapshots: Vec<(Reference, Snapshot)>,
    /// The Secret of the target's name.
    pub target: TargetState,
    /// What consents are judged by.
    pub reader: Reader,
}

/// One path at one version.
#[derive(Clone)]
pub struct Snapshot {
    /// `mount/path`.
    pub path: String,
    /// What was there.
    pub entry: Arc<Entry>,
    /// How it stands.
    pub presence: Presence,
}

/// How a path stands at the version that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It has data.
    Live,
    /// It has none because a push of ours removed it.
    Removed,
    /// It has none, and nobody here knows why.
    Missing,
}

/// The Secret of the target's name.
pub enum TargetState {
    /// Not looked at: as our last write left it, or the next write's precondition will fail. Who writes nothing must look.
    AsWritten(Written),
    /// Not there.
    Absent,
    /// There.
    Present(Box<Live>),
}

/// What our last write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The object and its state.
    pub stamp: Stamp,
    /// The digest of its data, which stands on the target too.
    pub data_hash: String,
}

/// What to do.
pub enum Step {
    /// It is as it should be.
    Keep(Written),
    /// There is no target, and there shall be none.
    StayAbsent,
    /// Create it.
    Create(Target),
    /// Set our fields.
    Apply(Target, Stamp),
    /// Set our fields and take others away.
    Replace(Target, Box<Live>, Removals),
    /// Delete it and create it anew: type and immutable data cannot be changed (K4).
    Recreate(Target, Stamp),
    /// Delete it: every value is gone from the store, and the spec says so.
    Delete(Stamp),
}

/// The decision.
pub struct Plan {
    /// What to do.
    pub step: Step,
    /// The versions the target is rendered from.
    pub versions: Vec<PathVersion>,
}

/// One path that the target is rendered from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathVersion {
    /// `Kind/name` of the store.
    pub store: String,
    /// `mount/path`.
    pub path: String,
    /// The version; 0 when there is nothing.
    pub version: u64,
    /// How it stands.
    pub presence: Presence,
    /// The properties taken; empty means all.
    pub properties: BTreeSet<String>,
}

/// Why the target stays as it is. Each text says what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nothing there.
    #[error(
        "{store}: nothing stands at {path}{version}: push it, or correct the key; the target keeps its data meanwhile"
    )]
    PathNotFound {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
        /// ` at version n` where one is pinned.
        version: String,
    },
    /// The property is not there.
    #[error(
        "{store}: {path} (version {version}) has no property {property:?}: push it, or correct spec.data; the target keeps its data meanwhile"
    )]
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
        "the target would hold {bytes} bytes, and a Secret holds {MOST_BYTES} at most (K3): name fewer or smaller values; the target keeps its data meanwhile"
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
            Refusal::PathNotFound { .. } => Reason::PathNotFound,
            Refusal::PropertyNotFound { .. } => Reason::PropertyNotFound,
            Refusal::NotPermitted(_) => Reason::NotPermitted,
            Refusal::Undecodable { .. } | Refusal::NullByte { .. } | Refusal::TooDeep { .. } => Reason::TargetInvalid,
            Refusal::TooLarge { .. } => Reason::TooLarge,
            Refusal::NotOwned { .. } | Refusal::ControlledByAnother { .. } => Reason::TargetNotOwned,
            Refusal::Immutable { .. } => Reason::TargetImmutable,
            Refusal::Terminating { .. } => Reason::SecretSyncedError,
        }
    }
}

impl Refusal {
    /// Whether a target of ours goes, although nothing can be said about what it should be.
    pub fn takes_target(&self) -> bool {
        matches!(self, Refusal::NotPermitted(denial) if denial.on_withdrawal == OnWithdrawal::Delete)
    }
}

/// Decides.
///
/// # Errors
/// [`Refusal`]: nothing is written.
pub fn plan(desired: &Desired, observed: Observed) -> Result<Plan, Refusal> {
    let versions = versions(desired, &observed.snapshots);
    let values = values(desired, &observed.snapshots, &observed.reader)?;
    let step = match values {
        Some(data) => write(desired, render(desired, data, &versions)?, observed.target)?,
        None => remove(desired, observed.target),
    };
    Ok(Plan { step, versions })
}

/// The values by key; `None` when every one is gone and the spec deletes for that.
fn values(
    desired: &Desired,
    snapshots: &[(Reference, Snapshot)],
    reader: &Reader,
) -> Result<Option<SecretMap>, Refusal> {
    let mut values = SecretMap::new();
    for wanted in &desired.entries {
        let Some((_, snapshot)) = snapshots.iter().find(|(reference, _)| *reference == wanted.from) else { continue };
        consent::check(desired, wanted, snapshot, reader)?;
        match (value(wanted, snapshot)?, desired.deletion) {
            (Some(value), _) => {
                values.insert(wanted.key.clone(), value);
            }
            (None, Deletion::Delete) => {}
            (None, Deletion::Retain) => return Err(not_found(wanted, snapshot)),
        }
    }
    Ok(Some(values).filter(|values| !values.is_empty()))
}

/// One value; `None` when the whole entry is gone, which a missing property is not.
fn value(wanted: &Wanted, snapshot: &Snapshot) -> Result<Option<SecretBytes>, Refusal> {
    let EntryState::Live { version, data } = &snapshot.entry.state else { return Ok(None) };
    let raw = match &wanted.property {
        None => property::whole(data).ok_or_else(|| Refusal::TooDeep { path: snapshot.path.clone() })?,
        Some(property) => property::pick(data, property).ok_or_else(|| Refusal::PropertyNotFound {
            store: store_name(&wanted.from),
            path: snapshot.path.clone(),
            version: *version,
            property: property.clone(),
        })?,
    };
    let value =
        property::decode(raw, wanted.decoding).ok_or_else(|| Refusal::Undecodable { key: wanted.key.clone() })?;
    if wanted.null_bytes == NullBytePolicy::Fail && value.expose().contains(&0) {
        return Err(Refusal::NullByte { key: wanted.key.clone() });
    }
    Ok(Some(value))
}

fn not_found(wanted: &Wanted, snapshot: &Snapshot) -> Refusal {
    Refusal::PathNotFound {
        store: store_name(&wanted.from),
        path: snapshot.path.clone(),
        version: wanted.from.version.map(|version| format!(" at version {version}")).unwrap_or_default(),
    }
}

fn render(desired: &Desired, data: SecretMap, versions: &[PathVersion]) -> Result<Target, Refusal> {
    let mut labels = desired.labels.clone();
    labels.insert(names::LABEL_MANAGED.to_owned(), names::TRUE.to_owned());
    labels.insert(names::LABEL_CREATED_BY.to_owned(), fingerprint::owner_label(&desired.namespace, &desired.name));
    let mut annotations = desired.annotations.clone();
    annotations.insert(names::ANNOTATION_DATA_HASH.to_owned(), fingerprint::data_hash(&data));
    annotations.insert(names::ANNOTATION_ORIGIN.to_owned(), origin(versions));
    let target = Target {
        namespace: desired.namespace.clone(),
        name: desired.target.clone(),
        kind: "Opaque".to_owned(),
        immutable: desired.immutable,
        labels,
        annotations,
        owner: Owner {
            api_version: "external-secrets.io/v1".to_owned(),
            kind: "ExternalSecret".to_owned(),
            name: desired.name.clone(),
            uid: desired.uid.clone(),
            controller: true,
            blocks_deletion: true,
        },
        data,
    };
    match target.size() {
        bytes if bytes > MOST_BYTES => Err(Refusal::TooLarge { bytes }),
        _fits => Ok(target),
    }
}

/// KS3: where the data comes from.
fn origin(versions: &[PathVersion]) -> String {
    let origins: Vec<_> = versions
        .iter()
        .filter(|path| path.presence == Presence::Live)
        .map(|path| json!({"store": path.store, "path": path.path, "version": path.version}))
        .collect();
    serde_json::Value::Array(origins).to_string()
}

fn write(desired: &Desired, target: Target, state: TargetState) -> Result<Step, Refusal> {
    match state {
        TargetState::Absent => Ok(Step::Create(target)),
        TargetState::AsWritten(written) if hash_of(&target) == Some(&written.data_hash) => Ok(Step::Keep(written)),
        TargetState::AsWritten(written) => Ok(Step::Apply(target, written.stamp)),
        TargetState::Present(live) => {
            check_owner(desired, &live)?;
            update(desired, target, live)
        }
    }
}

fn update(desired: &Desired, target: Target, live: Box<Live>) -> Result<Step, Refusal> {
    let same_data = live.data == target.data;
    if live.kind != target.kind {
        return Ok(Step::Recreate(target, live.stamp));
    }
    if live.immutable && (!same_data || !target.immutable) {
        return match desired.immutable_targets {
            ImmutableTargets::Recreate => Ok(Step::Recreate(target, live.stamp)),
            // What the spec no longer asks to be immutable stays so, harmlessly, until its data must change.
            ImmutableTargets::Leave if same_data => Ok(Step::Keep(written(&target, live.stamp))),
            ImmutableTargets::Leave => Err(Refusal::Immutable { name: live_name(desired) }),
        };
    }
    let removals = removals(&target, &live);
    let nothing = removals.is_empty() || same_data && only_left_over(&removals);
    if same_data && nothing && metadata_is_right(&target, &live) {
        return Ok(Step::Keep(written(&target, live.stamp)));
    }
    Ok(match removals.is_empty() {
        true => Step::Apply(target, live.stamp),
        false => Step::Replace(target, live, removals),
    })
}

/// The origin moves only with the data, so an older one is right while the data is.
fn metadata_is_right(target: &Target, live: &Live) -> bool {
    let holds = |have: &BTreeMap<String, String>, want: &BTreeMap<String, String>| {
        want.iter().filter(|(key, _)| *key != names::ANNOTATION_ORIGIN).all(|(key, value)| have.get(key) == Some(value))
    };
    holds(&live.labels, &target.labels)
        && holds(&live.annotations, &target.annotations)
        && live.owners.contains(&target.owner)
        && live.immutable == target.immutable
}

fn removals(target: &Target, live: &Live) -> Removals {
    let stale = |ours: &BTreeSet<String>, have: &BTreeMap<String, String>, want: &BTreeMap<String, String>| {
        ours.iter().filter(|key| have.contains_key(*key) && !want.contains_key(*key)).cloned().collect()
    };
    Removals {
        keys: live.data.keys().filter(|key| !target.data.contains_key(*key)).cloned().collect(),
        labels: stale(&live.our_labels, &live.labels, &target.labels),
        annotations: stale(&live.our_annotations, &live.annotations, &target.annotations),
    }
}

/// Metadata that ESO took over from the resource and we would not: it goes with the next change of data (F58).
fn only_left_over(removals: &Removals) -> bool {
    removals.keys.is_empty() && removals.labels.iter().chain(&removals.annotations).all(|key| !is_carried(key))
}

/// There shall be no target of ours.
pub fn remove(desired: &Desired, state: TargetState) -> Step {
    match state {
        TargetState::Absent => Step::StayAbsent,
        TargetState::AsWritten(written) => Step::Delete(written.stamp),
        TargetState::Present(live) => match whose(desired, &live) {
            Whose::Ours => Step::Delete(live.stamp),
            // Not ours: nothing of ours is there to be deleted.
            Whose::Nobodys | Whose::Anothers(_) => Step::StayAbsent,
        },
    }
}

enum Whose {
    Ours,
    Nobodys,
    Anothers(String),
}

/// KS5: the owner's UID, or a data hash that our field manager set; labels never count.
fn whose(desired: &Desired, live: &Live) -> Whose {
    match live.owners.iter().find(|owner| owner.controller) {
        Some(owner) if owner.uid == desired.uid => Whose::Ours,
        Some(owner) => Whose::Anothers(format!("{} {}", owner.kind, owner.name)),
        None if live.our_annotations.contains(names::ANNOTATION_DATA_HASH) => Whose::Ours,
        None => Whose::Nobodys,
    }
}

fn check_owner(desired: &Desired, live: &Live) -> Result<(), Refusal> {
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

fn versions(desired: &Desired, snapshots: &[(Reference, Snapshot)]) -> Vec<PathVersion> {
    let mut versions: BTreeMap<(String, String, u64, Presence), Option<BTreeSet<String>>> = BTreeMap::new();
    for wanted in &desired.entries {
        let Some((_, snapshot)) = snapshots.iter().find(|(reference, _)| *reference == wanted.from) else { continue };
        let key = (store_name(&wanted.from), snapshot.path.clone(), snapshot.entry.cas(), snapshot.presence);
        let properties = versions.entry(key).or_insert_with(|| Some(BTreeSet::new()));
        match (&wanted.property, properties.as_mut()) {
            (Some(property), Some(properties)) => {
                properties.insert(property.clone());
            }
            (None, _) => *properties = None,
            (Some(_), None) => {}
        }
    }
    versions
        .into_iter()
        .map(|((store, path, version, presence), properties)| PathVersion {
            store,
            path,
            version,
            presence,
            properties: properties.unwrap_or_default(),
        })
        .collect()
}

/// What the target will be once it is written as `stamp`.
pub fn written(target: &Target, stamp: Stamp) -> Written {
    Written { stamp, data_hash: hash_of(target).cloned().unwrap_or_default() }
}

fn hash_of(target: &Target) -> Option<&String> {
    target.annotations.get(names::ANNOTATION_DATA_HASH)
}

/// `Kind/name`.
pub fn store_name(reference: &Reference) -> String {
    format!("{}/{}", reference.store.kind(), reference.store.name.as_deref().unwrap_or_default())
}

fn live_name(desired: &Desired) -> String {
    format!("{}/{}", desired.namespace, desired.target)
}

/// Whether a target that is not read again on changes of the store is as some sync left it: ours, marked, and its data equal
/// to the digest beside it.
pub fn is_intact(desired: &Desired, live: &Live) -> bool {
    matches!(whose(desired, live), Whose::Ours)
        && live.labels.get(names::LABEL_MANAGED).is_some_and(|value| value == names::TRUE)
        && live.annotations.get(names::ANNOTATION_DATA_HASH) == Some(&fingerprint::data_hash(&live.data))
}
