//! Decides what becomes of the target, from the spec, one snapshot per path, and what stands in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::absence;
use super::consent::{self, Reader};
use super::desired::{Deletion, Desired, ImmutableTargets, Reference, Wanted, is_carried};
use super::ownership::{Whose, check_owner, whose};
use super::refusal::Refusal;
use crate::api::external_secret::NullBytePolicy;
use crate::api::names;
use crate::api::path_status::PulledPath;
use crate::domain::fingerprint;
use crate::domain::property;
use crate::domain::remote::{Entry, EntryState};
use crate::domain::secret::{SecretBytes, SecretMap};
use crate::domain::target::{Live, MOST_BYTES, Owner, Removals, Stamp, Target};
use serde_json::json;

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
    /// What status says was taken from the path before.
    pub before: Option<PulledPath>,
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
    /// The digest of its data, which the target carries too.
    pub data_hash: String,
    /// Whether its data cannot be changed any more.
    pub immutable: bool,
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
    /// What a person should know of a target that is as the spec asks.
    pub notes: Vec<String>,
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

/// Decides.
///
/// # Errors
/// [`Refusal`]: nothing is written.
pub fn plan(desired: &Desired, observed: Observed) -> Result<Plan, Refusal> {
    let versions = versions(desired, &observed.snapshots);
    let (values, mut notes) = values(desired, &observed)?;
    let step = match values {
        Some(data) => {
            let target = render(desired, data, &versions)?;
            let immutable = target.immutable;
            let step = write(desired, target, observed.target)?;
            if let Step::Keep(written) = &step
                && written.immutable
                && !immutable
            {
                notes.push(format!(
                    "Secret {} is still immutable: delete it, or annotate this ExternalSecret with {}: \"true\", to have it \
                     made anew",
                    live_name(desired),
                    names::ANNOTATION_RECREATE_IMMUTABLE
                ));
            }
            step
        }
        None => remove(desired, observed.target),
    };
    Ok(Plan { step, versions, notes })
}

/// The values by key, and what is to be said of them; no values when every one is gone and the spec deletes for that.
fn values(desired: &Desired, observed: &Observed) -> Result<(Option<SecretMap>, Vec<String>), Refusal> {
    let (mut values, mut notes) = (SecretMap::new(), Vec::new());
    for wanted in &desired.entries {
        let snapshot = observed.snapshots.iter().find(|(reference, _)| *reference == wanted.from);
        let Some((_, snapshot)) = snapshot else { continue };
        consent::check(desired, wanted, snapshot, &observed.reader)?;
        let key = &wanted.key;
        match (value(wanted, snapshot)?, desired.deletion) {
            (Some(value), _) => {
                if value.is_empty() {
                    notes.push(format!("the value of key {key:?} is empty in {}", snapshot.path));
                }
                values.insert(key.clone(), value);
            }
            (None, Deletion::Delete) => match absence::of(wanted, snapshot, &observed.target) {
                Some(_) if snapshot.entry.data().is_some() => {
                    notes.push(format!("key {key:?} is gone with its property of {}", snapshot.path));
                }
                Some(_) => {}
                None => return Err(not_found(wanted, snapshot)),
            },
            (None, Deletion::Retain) => return Err(not_found(wanted, snapshot)),
        }
    }
    Ok((Some(values).filter(|values| !values.is_empty()), notes))
}

/// One value; `None` when it is not there.
fn value(wanted: &Wanted, snapshot: &Snapshot) -> Result<Option<SecretBytes>, Refusal> {
    let EntryState::Live { data, .. } = &snapshot.entry.state else { return Ok(None) };
    let raw = match &wanted.property {
        None => property::whole(data).ok_or_else(|| Refusal::TooDeep { path: snapshot.path.clone() })?,
        Some(property) => match property::pick(data, property) {
            Some(value) => value,
            None => return Ok(None),
        },
    };
    let value =
        property::decode(raw, wanted.decoding).ok_or_else(|| Refusal::Undecodable { key: wanted.key.clone() })?;
    if wanted.null_bytes == NullBytePolicy::Fail && value.expose().contains(&0) {
        return Err(Refusal::NullByte { key: wanted.key.clone() });
    }
    Ok(Some(value))
}

fn not_found(wanted: &Wanted, snapshot: &Snapshot) -> Refusal {
    let (store, path) = (store_name(&wanted.from), snapshot.path.clone());
    match (&snapshot.entry.state, &wanted.property, wanted.from.version) {
        (EntryState::Live { .. }, Some(property), _) if is_query(property) => {
            Refusal::Query { store, path, property: property.clone() }
        }
        (EntryState::Live { version, .. }, Some(property), _) => {
            Refusal::PropertyNotFound { store, path, version: *version, property: property.clone() }
        }
        (EntryState::Deleted { version }, _, None) => Refusal::VersionDeleted { store, path, version: *version },
        (EntryState::Deleted { .. } | EntryState::Absent | EntryState::Empty | EntryState::Live { .. }, _, pinned) => {
            let version = pinned.map(|version| format!(" at version {version}")).unwrap_or_default();
            Refusal::PathNotFound { store, path, version }
        }
    }
}

/// Whether a property that is not there was meant as a query, as External Secrets Operator takes them.
fn is_query(property: &str) -> bool {
    property.contains(['#', '|', '@', '*', '?', '!'])
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
    // Adopting a Secret never deletes it: only what is ours already is made anew.
    let ours = matches!(whose(desired, &live), Whose::Ours);
    if live.kind != target.kind {
        return match ours {
            true => Ok(Step::Recreate(target, live.stamp)),
            false => Err(Refusal::OtherType { name: live_name(desired), kind: live.kind, wanted: target.kind }),
        };
    }
    if live.immutable && (!same_data || !target.immutable) {
        return match desired.immutable_targets {
            ImmutableTargets::Recreate if ours => Ok(Step::Recreate(target, live.stamp)),
            // What the spec no longer asks to be immutable stays so until its data must change, and is told.
            ImmutableTargets::Leave | ImmutableTargets::Recreate if same_data => {
                Ok(Step::Keep(Written { immutable: true, ..written(&target, live.stamp) }))
            }
            ImmutableTargets::Leave | ImmutableTargets::Recreate => {
                Err(Refusal::Immutable { name: live_name(desired) })
            }
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
    Written { stamp, data_hash: hash_of(target).cloned().unwrap_or_default(), immutable: target.immutable }
}

fn hash_of(target: &Target) -> Option<&String> {
    target.annotations.get(names::ANNOTATION_DATA_HASH)
}

/// `Kind/name`.
pub fn store_name(reference: &Reference) -> String {
    format!("{}/{}", reference.store.kind(), reference.store.name.as_deref().unwrap_or_default())
}

/// `namespace/name` of the target.
pub fn live_name(desired: &Desired) -> String {
    format!("{}/{}", desired.namespace, desired.target)
}
