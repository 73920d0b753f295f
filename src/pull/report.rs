//! Reports the outcome of a reconcile to users. Pure: the time is an argument.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use super::apply::Applied;
use super::bound::Halt;
use super::desired::{Desired, Refresh, SpecError};
use super::earlier::Holding;
use super::observe::ObserveError;
use super::plan::Presence;
use super::refusal::Refusal;
use super::settled::is_frozen;
use super::versions::PathVersion;
use crate::api::ExternalSecret;
use crate::api::condition::{self, Condition, ConditionStatus, READY, Reason};
use crate::api::external_secret::{Binding, ExternalSecretStatus, RefreshPolicy};
use crate::api::path_status::{MAX_PATHS, PathState, PulledPath};
use crate::cluster::ClusterError;
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};
use crate::domain::description::What;
use crate::feed::ReadError;
use crate::store::{StoreError, StoreRefusal};

/// The maximum number of warnings in a message; the rest is counted.
const MOST_WARNINGS: usize = 3;
/// The status message of a path that a push of ours removed.
pub const REMOVED_BY_PUSH: &str = "a PushSecret removed it";
/// When a resource that is read once is tried again until it was synced.
const UNSYNCED_RETRY: Duration = Duration::from_secs(3600);
/// When paths that hold too much are read again at the earliest.
const TOO_MUCH_RETRY: Duration = Duration::from_secs(300);
/// Added to the message of a resource that is read once, if its spec was edited afterwards.
const SPEC_EDITED: &str = "; the spec was edited since, and the store is not read again, as refreshPolicy or refreshInterval asks: \
     delete the Secret, and Waypost creates it again";
/// Added to the message of a resource that is not read again, if one of its stores was edited
/// afterwards.
const STORE_EDITED: &str = "; its store was edited since, and is not read again, as refreshPolicy or refreshInterval asks: \
     delete the Secret, and Waypost creates it again";
/// When a resource is tried again whose spec cannot be used: somebody may have withdrawn the consent
/// for what its target holds without announcing it.
const HOLDING_RETRY: Duration = Duration::from_secs(3600);
/// Added to the message of a problem if the target went with what it held.
const TAKEN_BACK: &str = "; the target was deleted, because a producer took back what it held";
/// Added to the message of a problem if there is a target.
const KEEPS_DATA: &str = "; the target keeps its data meanwhile";

/// The result of a successful reconcile.
pub enum Synced {
    /// Nothing had changed since the last one.
    Unchanged,
    /// The target is as it was rendered, and the store is not read again, as the resource asks.
    Held {
        /// Whether the stores changed since.
        store: StoreSince,
        /// Whether its producers still let its namespace read.
        permission: Permission,
    },
    /// The target was read, and written if needed.
    Done {
        /// What was written.
        applied: Applied,
        /// What it was rendered from.
        versions: Vec<PathVersion>,
        /// The convention's warnings about these reads.
        warnings: Vec<String>,
        /// Whether it counts as synced, or waits for values that it never had.
        is_synced: bool,
    },
}

/// Whether a store changed since a target was rendered from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreSince {
    /// It is as it was.
    AsItWas,
    /// It was edited.
    Edited,
    /// Another process rendered the target.
    Unknown,
}

/// What is known of the producers' consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// They let the namespace read.
    Given,
    /// The consent cannot be read now.
    Unknown,
}

/// Why a reconcile failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Spec(SpecError),
    /// Something could not be read.
    Observe(ObserveError),
    /// The target must not be changed.
    Refused(Refusal),
    /// It would lose values that are gone from a store, and must wait, or a person must decide.
    Halted(Halt),
    /// Something could not be written.
    Write(ClusterError),
}

/// The time, and the heartbeat.
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// How often `status.refreshTime` moves although nothing changed.
    pub heartbeat: Duration,
}

/// What users see after a reconcile that succeeded.
pub fn success(
    object: &ExternalSecret,
    desired: &Desired,
    result: Synced,
    moment: &Moment,
) -> Report<ExternalSecretStatus> {
    match result {
        Synced::Unchanged => unchanged(object, desired, moment),
        Synced::Held { store, permission } => held(object, desired, store, permission, moment),
        Synced::Done { applied, versions, warnings, is_synced } => {
            let version = is_synced.then(|| desired.synced_resource_version.clone());
            synced(object, desired, &applied, versions, &warnings, version, moment)
        }
    }
}

/// What users see after one that failed. `holding` is what became of the target.
pub fn failure(
    object: &ExternalSecret,
    desired: Option<&Desired>,
    failure: &Failure,
    holding: Holding,
    moment: &Moment,
) -> Report<ExternalSecretStatus> {
    match failure {
        Failure::Observe(ObserveError::Store(StoreRefusal::OtherController { .. })) => Report::NotOurs,
        Failure::Halted(Halt::LookAround(pause)) => Report::Undecided { requeue: Requeue::After(*pause) },
        failure => failed(object, desired, failure, holding, moment),
    }
}

fn unchanged(object: &ExternalSecret, desired: &Desired, moment: &Moment) -> Report<ExternalSecretStatus> {
    let ready = object.status.as_ref().and_then(|status| condition::find(&status.conditions, READY));
    let Some((before, ready)) = object.status.as_ref().zip(ready) else {
        return Report::Undecided { requeue: Requeue::BackOff };
    };
    if !heartbeat_due(before, moment) {
        return Report::Unchanged { ready: true, requeue: next(before, desired, moment) };
    }
    let mut after = before.clone();
    refresh(&mut after, desired, moment);
    let message = ready.message.clone().unwrap_or_default();
    let verdict = Verdict { ready: true, reason: Reason::SecretSynced, message };
    let requeue = next(&after, desired, moment);
    changed(object, verdict, after, requeue)
}

/// The report on a target that is not read again. It mentions edits of the spec and of its stores,
/// which have no effect.
fn held(
    object: &ExternalSecret,
    desired: &Desired,
    store: StoreSince,
    permission: Permission,
    moment: &Moment,
) -> Report<ExternalSecretStatus> {
    let requeue = match permission {
        Permission::Given => Requeue::AwaitChange,
        Permission::Unknown => Requeue::AskAgain,
    };
    let before = object.status.clone().unwrap_or_default();
    let ready = condition::find(&before.conditions, READY).filter(|ready| ready.status == ConditionStatus::True);
    let former = ready.and_then(|ready| ready.message.as_deref());
    let store_was_edited = match store {
        StoreSince::AsItWas => false,
        StoreSince::Edited => true,
        StoreSince::Unknown => former.is_some_and(|former| former.contains(STORE_EDITED)),
    };
    let mut message = match former {
        Some(former) => former.replace(SPEC_EDITED, "").replace(STORE_EDITED, ""),
        None => format!("Secret {} is as it was rendered", desired.target),
    };
    if spec_was_edited(&before, object) {
        message.push_str(SPEC_EDITED);
    }
    if store_was_edited {
        message.push_str(STORE_EDITED);
    }
    let verdict = Verdict { ready: true, reason: Reason::SecretSynced, message };
    let mut after = ExternalSecretStatus { observed_generation: object.metadata.generation, ..before };
    if after.binding.as_ref().is_none_or(|binding| binding.name.is_empty()) {
        // It is there, although its creation was not answered.
        after.binding = Some(Binding { name: desired.target.clone() });
    }
    set_condition(&mut after, object, &verdict, moment);
    changed(object, verdict, after, requeue)
}

/// Whether the target was rendered from another generation of the spec.
fn spec_was_edited(before: &ExternalSecretStatus, object: &ExternalSecret) -> bool {
    let synced = before.synced_resource_version.as_deref().and_then(|synced| synced.split('-').next());
    synced.is_some_and(|synced| Some(synced) != object.metadata.generation.map(|now| now.to_string()).as_deref())
}

fn synced(
    object: &ExternalSecret,
    desired: &Desired,
    applied: &Applied,
    versions: Vec<PathVersion>,
    warnings: &[String],
    synced_resource_version: Option<String>,
    moment: &Moment,
) -> Report<ExternalSecretStatus> {
    let before = object.status.clone().unwrap_or_default();
    let (reason, binding) = match applied {
        Applied::Kept(_) | Applied::Wrote(_) => (Reason::SecretSynced, Some(Binding { name: desired.target.clone() })),
        Applied::Deleted | Applied::Absent => (Reason::SecretDeleted, None),
    };
    let message = message(desired, reason, &versions, warnings);
    let paths = paths(&before.paths, versions, moment);
    let moved = match applied {
        Applied::Wrote(_) | Applied::Deleted => true,
        Applied::Kept(_) | Applied::Absent => {
            before.synced_resource_version != synced_resource_version
                || before.paths != paths
                || heartbeat_due(&before, moment)
        }
    };
    let mut after = ExternalSecretStatus {
        refresh_time: before.refresh_time.clone(),
        synced_resource_version,
        binding,
        observed_generation: object.metadata.generation,
        conditions: before.conditions,
        paths,
    };
    let verdict = Verdict { ready: true, reason, message };
    set_condition(&mut after, object, &verdict, moment);
    if moved {
        refresh(&mut after, desired, moment);
    }
    let requeue = next(&after, desired, moment);
    changed(object, verdict, after, requeue)
}

/// Says that the target was updated, or found up to date, just now.
fn refresh(status: &mut ExternalSecretStatus, desired: &Desired, moment: &Moment) {
    status.refresh_time = Some(Time(moment.now));
    if desired.refresh == Refresh::OnChange {
        catch_up(status);
    }
}

fn failed(
    object: &ExternalSecret,
    desired: Option<&Desired>,
    failure: &Failure,
    holding: Holding,
    moment: &Moment,
) -> Report<ExternalSecretStatus> {
    let mut after = object.status.clone().unwrap_or_default();
    let has_target = after.binding.as_ref().is_some_and(|binding| !binding.name.is_empty());
    let is_taken_back = holding == Holding::TakenBack || !has_target && was_taken_back(&after);
    let takes_target = matches!(failure, Failure::Refused(refusal) if refusal.takes_target());
    let message = known_cause(object, failure).filter(|_| holding != Holding::TakenBack).unwrap_or_else(|| {
        let word = match has_target && keeps_data(failure) {
            _ if is_taken_back => TAKEN_BACK,
            true => KEEPS_DATA,
            false => "",
        };
        let is_held = has_target
            && !is_taken_back
            && !takes_target
            && concerns_rendered(failure)
            && desired.is_some_and(|desired| is_frozen(object, desired));
        let edited = if is_held && spec_was_edited(&after, object) { SPEC_EDITED } else { "" };
        format!("{}{word}{edited}", text(failure))
    });
    let verdict = Verdict { ready: false, reason: reason(failure), message };
    if holding == Holding::TakenBack || takes_target {
        after.binding = None;
    }
    after.observed_generation = object.metadata.generation;
    set_condition(&mut after, object, &verdict, moment);
    changed(object, verdict, after, holding_retry(holding, requeue(failure, desired)))
}

/// When a resource is tried again that cannot be carried out, because of what its target holds.
pub(super) fn holding_retry(holding: Holding, requeue: Requeue) -> Requeue {
    match (holding, requeue) {
        (Holding::Unknown, Requeue::AwaitChange | Requeue::After(_)) => Requeue::AskAgain,
        (Holding::Permitted, Requeue::AwaitChange) => Requeue::After(HOLDING_RETRY),
        (_, requeue) => requeue,
    }
}

/// Whether the status says that the target went with what it held.
fn was_taken_back(status: &ExternalSecretStatus) -> bool {
    let ready = condition::find(&status.conditions, READY);
    ready.and_then(|ready| ready.message.as_deref()).is_some_and(|message| message.contains(TAKEN_BACK))
}

/// Whether a failure may be about a store or a path that the present spec does not name.
fn concerns_rendered(failure: &Failure) -> bool {
    match failure {
        Failure::Observe(ObserveError::Store(_) | ObserveError::Moved { .. } | ObserveError::Read { .. })
        | Failure::Refused(Refusal::NotPermitted(_)) => true,
        Failure::Spec(_)
        | Failure::Observe(
            ObserveError::Path(_)
            | ObserveError::TooMuch { .. }
            | ObserveError::NotFound { .. }
            | ObserveError::Cluster(_),
        )
        | Failure::Refused(_)
        | Failure::Halted(_)
        | Failure::Write(_) => false,
    }
}

fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::Spec(error) => error.reason(),
        Failure::Refused(refusal) => refusal.reason(),
        Failure::Halted(_) => Reason::MassDeletionBlocked,
        Failure::Observe(ObserveError::Path(_)) => Reason::InvalidSpec,
        Failure::Observe(ObserveError::TooMuch { .. } | ObserveError::NotFound { .. }) => Reason::TooLarge,
        // A store that could not be reached is a failed read like any other.
        Failure::Observe(ObserveError::Store(StoreRefusal::Failed(_)))
        | Failure::Observe(ObserveError::Read { .. } | ObserveError::Moved { .. } | ObserveError::Cluster(_))
        | Failure::Write(_) => Reason::SecretSyncedError,
        Failure::Observe(ObserveError::Store(refusal)) => refusal.reason(),
    }
}

/// While requests are held back, nothing new is known of the server: the condition keeps its cause,
/// so that each attempt does not cause a write.
fn known_cause(object: &ExternalSecret, failure: &Failure) -> Option<String> {
    let held_back = match failure {
        Failure::Observe(ObserveError::Read { cause: ReadError::Store(error), .. })
        | Failure::Observe(ObserveError::Store(StoreRefusal::Failed(error))) => {
            matches!(error, StoreError::CircuitOpen { .. })
        }
        Failure::Observe(_) | Failure::Spec(_) | Failure::Refused(_) | Failure::Halted(_) | Failure::Write(_) => false,
    };
    let ready = condition::find(&object.status.as_ref()?.conditions, READY)?;
    let same = ready.status == ConditionStatus::False && ready.reason.as_deref() == Some(reason(failure).as_str());
    if held_back && same { ready.message.clone() } else { None }
}

fn keeps_data(failure: &Failure) -> bool {
    match failure {
        Failure::Spec(SpecError::Unsupported { .. }) | Failure::Observe(_) => true,
        Failure::Refused(refusal) => refusal.keeps_data(),
        // It says so itself, or has no say in it.
        Failure::Spec(_) | Failure::Halted(_) | Failure::Write(_) => false,
    }
}

fn text(failure: &Failure) -> String {
    match failure {
        Failure::Spec(error) => error.to_string(),
        Failure::Observe(error) => error.to_string(),
        Failure::Refused(refusal) => refusal.to_string(),
        Failure::Halted(halt) => halt.to_string(),
        Failure::Write(error) => error.to_string(),
    }
}

/// The feed and the watches wake what they can; the requeue is for what they cannot see.
fn requeue(failure: &Failure, desired: Option<&Desired>) -> Requeue {
    match failure {
        Failure::Spec(_) | Failure::Observe(ObserveError::Path(_)) => Requeue::AwaitChange,
        Failure::Observe(error) if error.is_throttled() => Requeue::Throttled,
        Failure::Write(ClusterError::NamespaceTerminating { .. }) => Requeue::AwaitChange,
        Failure::Refused(Refusal::Terminating { .. }) | Failure::Write(_) => Requeue::BackOff,
        Failure::Observe(ObserveError::TooMuch { .. } | ObserveError::NotFound { .. }) => {
            Requeue::After(again(desired).max(TOO_MUCH_RETRY))
        }
        Failure::Observe(_) => Requeue::BackOff,
        Failure::Refused(_) | Failure::Halted(_) => Requeue::After(again(desired)),
    }
}

/// When what only an edit changes is looked at again.
fn again(desired: Option<&Desired>) -> Duration {
    match desired.map(|desired| desired.refresh) {
        Some(Refresh::Follow(interval)) => interval.max(Duration::from_secs(1)),
        Some(Refresh::OnChange | Refresh::Once) | None => UNSYNCED_RETRY,
    }
}

fn message(desired: &Desired, reason: Reason, versions: &[PathVersion], warnings: &[String]) -> String {
    let sources: Vec<String> = versions
        .iter()
        .map(|path| match path.presence {
            Presence::Live if path.what == What::Metadata => {
                format!("metadata of {} at version {}", path.path, path.version)
            }
            Presence::Live => format!("{} version {}", path.path, path.version),
            Presence::Removed | Presence::Missing => format!("{} (gone)", path.path),
        })
        .collect();
    let mut message = match reason {
        Reason::SecretDeleted => {
            let gone = match sources.is_empty() {
                true => "nothing is found in the store".to_owned(),
                false => format!("every value is gone from the store ({})", sources.join(", ")),
            };
            format!("{gone}; there is no target, as deletionPolicy Delete asks")
        }
        _synced => format!("Secret {} holds {}", desired.target, sources.join(", ")),
    };
    for warning in warnings.iter().take(MOST_WARNINGS) {
        message.push_str("; warning ");
        message.push_str(warning);
    }
    if warnings.len() > MOST_WARNINGS {
        message.push_str(&format!("; and {} more warnings", warnings.len() - MOST_WARNINGS));
    }
    message
}

fn paths(before: &[PulledPath], versions: Vec<PathVersion>, moment: &Moment) -> Vec<PulledPath> {
    versions.into_iter().take(MAX_PATHS).map(|path| pulled(before, path, moment)).collect()
}

fn pulled(before: &[PulledPath], path: PathVersion, moment: &Moment) -> PulledPath {
    let (state, message) = match path.presence {
        Presence::Live => (PathState::Synced, None),
        Presence::Removed => (PathState::Missing, Some(REMOVED_BY_PUSH.to_owned())),
        Presence::Missing => (PathState::Missing, None),
    };
    let version = i64::try_from(path.version).ok().filter(|_| state == PathState::Synced);
    // As precise as the API server keeps it, or the status would differ from what is read back.
    let created = path.created.and_then(|at| Timestamp::from_microsecond(at.as_microsecond()).ok());
    let is_same = |old: &&PulledPath| old.is(&path.store, &path.path, path.what) && old.version == version;
    let old = before.iter().find(is_same);
    PulledPath {
        store: path.store,
        path: path.path,
        metadata: path.what == What::Metadata,
        version,
        created_at: created.filter(|_| version.is_some()).map(MicroTime),
        properties: path.properties.into_iter().collect(),
        owned: path.owned.into_iter().collect(),
        read_at: old.and_then(|old| old.read_at.clone()).or(Some(Time(moment.now))),
        state: Some(state),
        // Only the process that saw the removal knows who removed it; the status records it for the
        // next one.
        message: message.or_else(|| old.and_then(|old| old.message.clone())),
    }
}

fn set_condition(status: &mut ExternalSecretStatus, object: &ExternalSecret, verdict: &Verdict, moment: &Moment) {
    let word = if verdict.ready { ConditionStatus::True } else { ConditionStatus::False };
    let ready = Condition::ready(word, verdict.reason, verdict.message.clone(), object.metadata.generation);
    condition::upsert(&mut status.conditions, ready, Time(moment.now));
    if object.spec.refresh_policy() == RefreshPolicy::OnChange {
        catch_up(status);
    }
}

/// A check proposed for Argo CD (argoproj/argo-cd#22707) considers an OnChange resource stale while its
/// condition is older than the refresh. A status that arrives late may mix the two.
fn catch_up(status: &mut ExternalSecretStatus) {
    for ready in status.conditions.iter_mut().filter(|condition| condition.type_ == READY) {
        let refreshed = status.refresh_time.as_ref();
        if refreshed.is_some_and(|refreshed| ready.last_transition_time.as_ref().is_none_or(|at| at.0 < refreshed.0)) {
            ready.last_transition_time = refreshed.cloned();
        }
    }
}

fn heartbeat_due(status: &ExternalSecretStatus, moment: &Moment) -> bool {
    age(status, moment).is_none_or(|age| age >= moment.heartbeat)
}

/// Time since the last refresh; `None` if there was none, or it is in the future.
fn age(status: &ExternalSecretStatus, moment: &Moment) -> Option<Duration> {
    let refreshed = status.refresh_time.as_ref()?;
    Duration::try_from(moment.now.duration_since(refreshed.0)).ok()
}

/// The next heartbeat. Changes of the store come through the feed.
fn next(status: &ExternalSecretStatus, desired: &Desired, moment: &Moment) -> Requeue {
    match desired.refresh {
        Refresh::Follow(interval) if moment.heartbeat.is_zero() => Requeue::After(interval.max(Duration::from_secs(1))),
        Refresh::Follow(_) => {
            let age = age(status, moment).unwrap_or_default();
            Requeue::After(moment.heartbeat.saturating_sub(age).max(Duration::from_secs(1)))
        }
        Refresh::OnChange | Refresh::Once => Requeue::AwaitChange,
    }
}

fn changed(
    object: &ExternalSecret,
    verdict: Verdict,
    after: ExternalSecretStatus,
    requeue: Requeue,
) -> Report<ExternalSecretStatus> {
    let status = StatusChange { before: object.status.clone(), after, resource_version: None };
    Report::Verdict { verdict, status: Box::new(status), requeue }
}
