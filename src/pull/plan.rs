//! Decides what to do with the target, from the spec, one snapshot per path, and the live target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::absence;
use super::consent::{self, Consumer};
use super::desired::{Deletion, Desired, ImmutableTargets};
use super::found;
use super::ownership::{Whose, check_owner, is_intact, whose};
use super::refusal::Refusal;
use super::removals::{only_left_over, removals};
use super::versions::{PathVersion, versions};
use super::wanted::{Into, Reference, Wanted};
use crate::api::external_secret::NullBytePolicy;
use crate::api::path_status::PulledPath;
use crate::api::{StoreRef, names};
use crate::domain::description::What;
use crate::domain::extract::ExtractFault;
use crate::domain::fingerprint;
use crate::domain::json_path::PathFault;
use crate::domain::property;
use crate::domain::remote::{Entry, EntryState, RemoteData};
use crate::domain::secret::{SecretBytes, SecretMap};
use crate::domain::secret_template::{Part, Rendered, SecretTemplate, is_reserved};
use crate::domain::target::{Live, MOST_BYTES, OwnerRef, Removals, Stamp, Target};
use crate::domain::template_spec::Texts;
use serde::Deserialize;
use serde_json::json;

/// The most bytes of values that a target is made of: a template, or a later entry, may drop some.
const MOST_VALUES: usize = 8 * MOST_BYTES;

/// What was read.
pub struct Observed {
    /// One snapshot for each reference of the spec; different spellings of one entry share theirs.
    pub snapshots: Vec<(Reference, Snapshot)>,
    /// The Secret with the target's name.
    pub target: TargetState,
    /// The namespace, for judging consents.
    pub consumer: Consumer,
    /// The texts that the template refers to.
    pub texts: Arc<Texts>,
}

/// One path at one version.
#[derive(Clone)]
pub struct Snapshot {
    /// `mount/path`.
    pub path: String,
    /// The entry that was read.
    pub entry: Arc<Entry>,
    /// Its state.
    pub presence: Presence,
    /// What was read from the path before, from the status.
    pub before: Option<PulledPath>,
    /// The properties that had an owner when they were last there.
    pub owned: BTreeSet<String>,
}

/// What was read for an entry of the spec.
pub fn snapshot_of<'s>(snapshots: &'s [(Reference, Snapshot)], wanted: &Wanted) -> Option<&'s Snapshot> {
    snapshots.iter().find(|(reference, _)| *reference == wanted.from).map(|(_, snapshot)| snapshot)
}

/// The state of a path at the version that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It has data.
    Live,
    /// It has no data, because a push of ours removed it.
    Removed,
    /// It has no data, for an unknown reason.
    Missing,
}

/// The Secret with the target's name.
pub enum TargetState {
    /// Not read: as our last write left it, or the next write's precondition will fail. A reconcile
    /// that writes nothing must read it.
    AsWritten(Written),
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Box<Live>),
}

/// The result of our last write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The object and its state.
    pub stamp: Stamp,
    /// The digest of its data, or of the inputs of its template. The target has it too.
    pub mark: String,
    /// Whether it is immutable.
    pub immutable: bool,
}

/// The step to carry out.
pub enum Step {
    /// It is as it should be.
    Keep(Written),
    /// The target does not exist, and should not.
    StayAbsent,
    /// Create it.
    Create(Target),
    /// Set our fields.
    Apply(Target, Stamp),
    /// Set our fields and remove others.
    Replace(Target, Box<Live>, Removals),
    /// Delete it and create it again: type and immutable data cannot be changed (K4).
    Recreate(Target, Stamp),
    /// Delete it: every value is gone from the store, and the spec asks for it.
    Delete(Stamp),
}

impl Step {
    /// Whether the ExternalSecret must be read live before the step: an annotation of it may be
    /// what allows the step, or data goes for good that only its spec gives up. `adopts` says
    /// whether the target is nobody's yet.
    pub fn rests_on_the_resource(&self, adopts: bool) -> bool {
        match self {
            Step::Apply(..) => adopts,
            Step::Replace(..) | Step::Recreate(..) | Step::Delete(_) => true,
            Step::Keep(_) | Step::StayAbsent | Step::Create(_) => false,
        }
    }
}

/// The decision.
pub struct Plan {
    /// The step to carry out.
    pub step: Step,
    /// The versions that the target is rendered from.
    pub versions: Vec<PathVersion>,
    /// Warnings about a target that is as the spec says.
    pub notes: Vec<String>,
    /// Whether something is left out that the namespace may not read.
    pub leaves_out: bool,
}

/// Decides.
///
/// # Errors
/// [`Refusal`]: nothing is written.
pub fn plan(desired: &Desired, observed: Observed) -> Result<Plan, Refusal> {
    let versions = versions(desired, &observed);
    consent::check(desired, &observed.snapshots, &observed.consumer)?;
    let Valued { values, mut notes, leaves_out } = values(desired, &observed)?;
    let step = match values {
        Some(values) => {
            let template = desired.template.as_ref().map(|spec| spec.with(&observed.texts)).transpose();
            let template = template.map_err(|fault| Refusal::Template(Box::new(fault)))?;
            let mark = template.as_ref().and_then(|template| template.inputs(&values));
            if let (TargetState::AsWritten(written), Some(mark)) = (&observed.target, &mark)
                && *mark == written.mark
            {
                return Ok(Plan { step: Step::Keep(written.clone()), versions, notes, leaves_out });
            }
            let rendered = rendered(desired, template.as_ref(), values, mark, &observed.target)?;
            let target = target(desired, template, rendered, &versions)?;
            let immutable = target.immutable;
            let step = write(desired, target, observed.target)?;
            if step.leaves_immutable() && !immutable {
                notes.push(format!(
                    "Secret {} is still immutable: delete it, or annotate this ExternalSecret with {}: \"true\", to let \
                     Waypost create it again",
                    live_name(desired),
                    names::ANNOTATION_RECREATE_IMMUTABLE
                ));
            }
            step
        }
        None => {
            notes.extend(left_alone(desired, &observed.target));
            remove(desired, observed.target)
        }
    };
    Ok(Plan { step, versions, notes, leaves_out })
}

/// The values of a spec.
struct Valued {
    /// By key; none if all are gone and the spec asks for deletion.
    values: Option<SecretMap>,
    /// Warnings.
    notes: Vec<String>,
    /// Whether something that was found is left out, because the namespace may not read it.
    leaves_out: bool,
}

fn values(desired: &Desired, observed: &Observed) -> Result<Valued, Refusal> {
    let (mut values, mut notes, mut is_gone, mut bytes) = (SecretMap::new(), Vec::new(), false, 0);
    let (mut left_out, mut withdrawn) = (Vec::new(), Vec::new());
    let mut count = |made: &SecretMap| {
        bytes += made.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if bytes > MOST_VALUES { Err(Refusal::TooLarge { bytes }) } else { Ok(()) }
    };
    for group in found::groups(&desired.entries) {
        let [wanted, ..] = group else { continue };
        if let Into::Found { find, .. } = wanted.into {
            let made = found::made_of(desired, &desired.finds[find], group, observed)?;
            count(&made.values)?;
            is_gone |= made.is_gone && desired.deletion == Deletion::Delete;
            left_out.extend(made.left_out);
            withdrawn.extend(made.withdrawn);
            for (key, value) in made.values {
                values.insert(key.clone(), decoded(wanted, key, value)?);
            }
            continue;
        }
        let Some(snapshot) = snapshot_of(&observed.snapshots, wanted) else { continue };
        let made = made_of(wanted, snapshot)?;
        is_gone |= made.is_none();
        made.as_ref().map_or(Ok(()), &mut count)?;
        match (made, desired.deletion) {
            (Some(made), _) => values.extend(made),
            (None, Deletion::Delete) => match absence::of(desired, wanted, snapshot, &observed.target) {
                Some(_) if snapshot.entry.data().is_some() => notes.extend(removed(wanted, snapshot)),
                Some(_) => {}
                None => return Err(not_found(wanted, snapshot)),
            },
            (None, Deletion::Retain) => return Err(not_found(wanted, snapshot)),
        }
    }
    notes.extend(found::notes(&left_out));
    let leaves_out = !left_out.is_empty();
    if values.is_empty() && !is_gone {
        return match found::nothing(desired, left_out.into_iter().chain(withdrawn), &observed.target) {
            Some(refusal) => Err(refusal),
            None => Ok(Valued { values: None, notes, leaves_out }),
        };
    }
    let empty = values.iter().filter(|(_, value)| value.is_empty());
    notes.extend(
        empty.map(|(key, _)| format!("the value of key {key:?} is empty{}", origin_of(desired, observed, key))),
    );
    Ok(Valued { values: Some(values).filter(|values| !values.is_empty()), notes, leaves_out })
}

/// Where the value of a key is from, if the spec names it.
fn origin_of(desired: &Desired, observed: &Observed, key: &str) -> String {
    let wanted = desired.entries.iter().find(|wanted| matches!(&wanted.into, Into::Key(wanted) if wanted == key));
    let snapshot = wanted.and_then(|wanted| snapshot_of(&observed.snapshots, wanted));
    snapshot.map(|snapshot| format!(" in {}", snapshot.path)).unwrap_or_default()
}

fn removed(wanted: &Wanted, snapshot: &Snapshot) -> Option<String> {
    let Into::Key(key) = &wanted.into else { return None };
    Some(format!("key {key:?} was removed, as its property of {} is gone", snapshot.path))
}

/// The keys that an entry of the spec makes, with their values; `None` if what it names does not
/// exist.
fn made_of(wanted: &Wanted, snapshot: &Snapshot) -> Result<Option<SecretMap>, Refusal> {
    let EntryState::Live { data, .. } = &snapshot.entry.state else { return Ok(None) };
    let made = match &wanted.into {
        Into::Key(key) => {
            let Some(value) = selected(wanted, snapshot, data)? else { return Ok(None) };
            SecretMap::from([(key.clone(), value)])
        }
        Into::Keys { field, keys } => {
            let refused = |fault| match fault {
                ExtractFault::Path(fault) => {
                    query(wanted, snapshot, wanted.property.as_deref().unwrap_or_default(), fault)
                }
                fault => Refusal::Keys { field: field.clone(), path: snapshot.path.clone(), fault: Box::new(fault) },
            };
            let Some(made) = keys.of(data, wanted.property.as_deref()).map_err(refused)? else { return Ok(None) };
            made
        }
        // All of a find together make keys.
        Into::Found { .. } => SecretMap::new(),
    };
    made.into_iter()
        .map(|(key, value)| Ok((key.clone(), decoded(wanted, key, value)?)))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// The value of the property that an entry of the spec names, or the whole secret as JSON.
fn selected(wanted: &Wanted, snapshot: &Snapshot, data: &RemoteData) -> Result<Option<SecretBytes>, Refusal> {
    match &wanted.property {
        None if snapshot.entry.whole().is_none() => Ok(None),
        None => property::whole(data).map(Some).ok_or_else(|| Refusal::TooDeep { path: snapshot.path.clone() }),
        Some(name) => property::pick(data, name).map_err(|fault| query(wanted, snapshot, name, fault)),
    }
}

fn decoded(wanted: &Wanted, key: String, value: SecretBytes) -> Result<SecretBytes, Refusal> {
    let value = match property::decode(value, wanted.decoding) {
        Some(value) => value,
        None => return Err(Refusal::Undecodable { key }),
    };
    match wanted.null_bytes == NullBytePolicy::Fail && value.expose().contains(&0) {
        true => Err(Refusal::NullByte { key }),
        false => Ok(value),
    }
}

fn not_found(wanted: &Wanted, snapshot: &Snapshot) -> Refusal {
    let (store, path) = (store_name(&wanted.from), snapshot.path.clone());
    match (&snapshot.entry.state, &wanted.property, wanted.from.version) {
        (EntryState::Live { .. }, Some(name), _) if wanted.from.what == What::Metadata => {
            Refusal::MetadataNotFound { store, path, name: name.clone() }
        }
        (EntryState::Live { version, .. }, Some(property), _) => {
            Refusal::PropertyNotFound { store, path, version: *version, property: property.clone() }
        }
        (EntryState::Deleted { version }, _, None) => Refusal::VersionDeleted { store, path, version: *version },
        (
            EntryState::Deleted { .. }
            | EntryState::Absent
            | EntryState::Unseen
            | EntryState::Empty
            | EntryState::Live { .. },
            _,
            pinned,
        ) => {
            let version = pinned.map(|version| format!(" at version {version}")).unwrap_or_default();
            Refusal::PathNotFound { store, path, version }
        }
    }
}

fn query(wanted: &Wanted, snapshot: &Snapshot, property: &str, fault: PathFault) -> Refusal {
    let (store, path) = (store_name(&wanted.from), snapshot.path.clone());
    Refusal::Query { store, path, property: property.to_owned(), fault }
}

/// What the template makes of the values, with its inputs, or the values themselves. A target that was
/// rendered from the same inputs keeps its data, although a function might give another result now.
fn rendered(
    desired: &Desired,
    template: Option<&SecretTemplate>,
    values: SecretMap,
    mark: Option<String>,
    target: &TargetState,
) -> Result<(Rendered, Option<String>), Refusal> {
    let Some(template) = template else {
        return Ok((Rendered { data: values, ..Rendered::default() }, None));
    };
    if let (TargetState::Present(live), Some(mark)) = (target, &mark)
        && live.annotations.get(names::ANNOTATION_TEMPLATE_INPUTS) == Some(mark)
        && is_intact(desired, live)
    {
        let before = kept(live);
        let rendered = match template.metadata_keys().all(|(part, key)| is_ours(live, part, key)) {
            true => before,
            // Somebody changed what the template sets beside the data.
            false => Rendered { data: before.data, ..rendered_by(template, values)? },
        };
        return Ok((rendered, Some(mark.clone())));
    }
    Ok((rendered_by(template, values)?, mark))
}

fn rendered_by(template: &SecretTemplate, values: SecretMap) -> Result<Rendered, Refusal> {
    template.render(values, 1).map_err(|fault| Refusal::Template(Box::new(fault)))
}

/// Whether we have set a label or an annotation, and nobody has changed it since.
fn is_ours(live: &Live, part: Part, key: &str) -> bool {
    match part {
        Part::Data => true,
        Part::Labels => live.our_labels.contains(key) && live.labels.contains_key(key),
        Part::Annotations => live.our_annotations.contains(key) && live.annotations.contains_key(key),
    }
}

/// What was rendered before.
fn kept(live: &Live) -> Rendered {
    let ours = |all: &BTreeMap<String, String>, ours: &BTreeSet<String>| {
        let is_rendered = |key: &String| ours.contains(key) && !is_reserved(key);
        all.iter().filter(|(key, _)| is_rendered(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    Rendered {
        data: live.data.iter().map(|(key, value)| (key.clone(), value.duplicate())).collect(),
        labels: ours(&live.labels, &live.our_labels),
        annotations: ours(&live.annotations, &live.our_annotations),
    }
}

fn target(
    desired: &Desired,
    template: Option<SecretTemplate>,
    (rendered, mark): (Rendered, Option<String>),
    versions: &[PathVersion],
) -> Result<Target, Refusal> {
    let Rendered { data, labels: own_labels, annotations: own_annotations } = rendered;
    let (kind, finalizers) = match template {
        Some(template) => (template.kind, template.finalizers),
        None => ("Opaque".to_owned(), BTreeSet::new()),
    };
    let mut labels = desired.labels.clone();
    labels.extend(own_labels);
    labels.insert(names::LABEL_MANAGED.to_owned(), names::TRUE.to_owned());
    labels.insert(names::LABEL_CREATED_BY.to_owned(), fingerprint::owner_label(&desired.namespace, &desired.name));
    let mut annotations = desired.annotations.clone();
    annotations.extend(own_annotations);
    annotations.insert(names::ANNOTATION_DATA_HASH.to_owned(), fingerprint::data_hash(&data));
    annotations.extend(mark.map(|mark| (names::ANNOTATION_TEMPLATE_INPUTS.to_owned(), mark)));
    annotations.insert(names::ANNOTATION_ORIGIN.to_owned(), origin(versions));
    let target = Target {
        namespace: desired.namespace.clone(),
        name: desired.target.clone(),
        kind,
        immutable: desired.immutable,
        labels,
        annotations,
        finalizers,
        owner: OwnerRef {
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

/// KS3: the origin of the data.
fn origin(versions: &[PathVersion]) -> String {
    let origins: Vec<_> = versions
        .iter()
        .filter(|path| path.presence == Presence::Live)
        .map(|path| {
            let mut origin = json!({"store": path.store, "path": path.path, "version": path.version});
            if path.what == What::Metadata {
                origin["metadata"] = json!(true);
            }
            origin
        })
        .collect();
    serde_json::Value::Array(origins).to_string()
}

/// The stores and paths whose values the data of a target is from, by its annotations; `None` if they
/// do not tell. Each of our writes sets them with the data.
pub fn places(annotations: &BTreeMap<String, String>) -> Option<BTreeSet<(String, String)>> {
    #[derive(Deserialize)]
    struct Origin {
        store: String,
        path: String,
        #[serde(default)]
        metadata: bool,
    }
    let origins: Vec<Origin> = serde_json::from_str(annotations.get(names::ANNOTATION_ORIGIN)?).ok()?;
    let of_values = origins.into_iter().filter(|origin| !origin.metadata);
    Some(of_values.map(|origin| (origin.store, origin.path)).collect())
}

fn write(desired: &Desired, target: Target, state: TargetState) -> Result<Step, Refusal> {
    match state {
        TargetState::Absent => Ok(Step::Create(target)),
        TargetState::AsWritten(written) if mark(&target.annotations) == Some(&written.mark) => Ok(Step::Keep(written)),
        TargetState::AsWritten(written) => Ok(Step::Apply(target, written.stamp)),
        TargetState::Present(live) => {
            check_owner(desired, &live)?;
            update(desired, target, live)
        }
    }
}

impl Step {
    /// Whether the data of the target cannot be changed afterwards.
    fn leaves_immutable(&self) -> bool {
        match self {
            Step::Keep(written) => written.immutable,
            Step::Create(target) | Step::Apply(target, _) | Step::Replace(target, ..) | Step::Recreate(target, _) => {
                target.immutable
            }
            Step::Delete(_) | Step::StayAbsent => false,
        }
    }
}

fn update(desired: &Desired, mut target: Target, live: Box<Live>) -> Result<Step, Refusal> {
    let same_data = live.data == target.data;
    // Adopting a Secret never deletes it: only a Secret that is already ours is recreated.
    let ours = matches!(whose(desired, &live), Whose::Ours);
    if live.kind != target.kind {
        return match ours {
            true => recreated(desired, target, *live),
            false => Err(Refusal::OtherType { name: live_name(desired), kind: live.kind, wanted: target.kind }),
        };
    }
    // A target that should no longer be immutable stays so until its data must change, with a
    // warning.
    let is_recreated = ours && desired.immutable_targets == ImmutableTargets::Recreate;
    target.immutable |= live.immutable && same_data && !is_recreated;
    if live.immutable && (!same_data || !target.immutable) {
        return match desired.immutable_targets {
            ImmutableTargets::Recreate if ours => recreated(desired, target, *live),
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

/// What is deleted and held by a finalizer could neither be updated nor created again.
fn recreated(desired: &Desired, target: Target, live: Live) -> Result<Step, Refusal> {
    match live.finalizers.is_empty() {
        true => Ok(Step::Recreate(target, live.stamp)),
        false => {
            let finalizers = live.finalizers.into_iter().collect::<Vec<_>>().join(", ");
            Err(Refusal::Held { name: live_name(desired), finalizers })
        }
    }
}

/// The versions of the origin change only with the data, so older ones are right while the data is.
/// Its places may change alone.
fn metadata_is_right(target: &Target, live: &Live) -> bool {
    let holds = |have: &BTreeMap<String, String>, want: &BTreeMap<String, String>| {
        want.iter().filter(|(key, _)| *key != names::ANNOTATION_ORIGIN).all(|(key, value)| have.get(key) == Some(value))
    };
    holds(&live.labels, &target.labels)
        && holds(&live.annotations, &target.annotations)
        && places(&live.annotations) == places(&target.annotations)
        && target.finalizers.is_subset(&live.finalizers)
        && live.owners.contains(&target.owner)
        && live.immutable == target.immutable
}

/// Removes our target.
pub fn remove(desired: &Desired, state: TargetState) -> Step {
    match state {
        TargetState::Absent => Step::StayAbsent,
        TargetState::AsWritten(written) => Step::Delete(written.stamp),
        TargetState::Present(live) => match whose(desired, &live) {
            Whose::Ours => Step::Delete(live.stamp),
            // It is not ours, so there is nothing to delete.
            Whose::Nobodys | Whose::Anothers(_) => Step::StayAbsent,
        },
    }
}

/// What to say of a Secret with the target's name that is not deleted, because it is not ours.
fn left_alone(desired: &Desired, state: &TargetState) -> Option<String> {
    let TargetState::Present(live) = state else { return None };
    match whose(desired, live) {
        Whose::Ours => None,
        Whose::Nobodys | Whose::Anothers(_) => {
            Some(format!("Secret {} exists and is not ours: it was not touched", live_name(desired)))
        }
    }
}

/// The record of the target once it is written as `stamp`.
pub fn written(target: &Target, stamp: Stamp) -> Written {
    Written { stamp, mark: mark(&target.annotations).cloned().unwrap_or_default(), immutable: target.immutable }
}

/// What shows of a target whether it is as it should be: the inputs of its template, or its data.
pub fn mark(annotations: &BTreeMap<String, String>) -> Option<&String> {
    annotations.get(names::ANNOTATION_TEMPLATE_INPUTS).or_else(|| annotations.get(names::ANNOTATION_DATA_HASH))
}

/// `Kind/name`.
pub fn store_name(reference: &Reference) -> String {
    shown(&reference.store)
}

/// `Kind/name`.
pub fn shown(store: &StoreRef) -> String {
    format!("{}/{}", store.kind(), store.name.as_deref().unwrap_or_default())
}

/// `namespace/name` of the target.
pub fn live_name(desired: &Desired) -> String {
    format!("{}/{}", desired.namespace, desired.target)
}
