//! Builds the report of a PushSecret from the outcome of its entries: condition, ledger, paths and
//! requeue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::apply::{Outcome, Removal, Results};
use super::arrival;
use super::entry::{ApplyError, Wrote};
use super::former::{Fates, Twin};
use super::ledger::{EntryRef, Ledger, Line, StoreKey};
use super::mapped::Astray;
use super::observe::NoStore;
use super::plan::{Job, Plan, Problem};
use super::propagation;
use super::refusal::Refusal;
use super::undone;
use crate::api::PushSecretStatus;
use crate::api::condition::{self, Condition, ConditionStatus, Reason};
use crate::api::path_status::{MAX_PATHS, PathState, PushedPath};
use crate::controller::report::{Requeue, Verdict};
use crate::store::error::Family;

/// The longest pause after a refusal that can end without an edit of this PushSecret, such as
/// another one's claim or a policy that denies.
pub(super) const OUTSIDE_RETRY: Duration = Duration::from_secs(60);
/// The pause after any other refusal, if the spec has no interval.
const REFUSED_RETRY: Duration = Duration::from_secs(300);
/// A message names this many problems, and counts the rest.
const MAX_PROBLEMS: usize = 8;
/// The longest message of one path in status, in characters.
const MAX_PATH_MESSAGE: usize = 1024;

/// What a report depends on besides the outcome.
pub struct Setting<'a> {
    /// The generation that was reconciled.
    pub generation: i64,
    /// The value of `status.syncedResourceVersion` once everything is pushed.
    pub synced_version: String,
    pub now: Timestamp,
    /// How often `status.refreshTime` moves without a change.
    pub heartbeat: Duration,
    /// The refresh interval; `None` means only when something changes.
    pub refresh: Option<Duration>,
    /// The warnings of the convention, and of empty values.
    pub warnings: &'a [String],
    /// For how long this process has known that the PushSecret is being deleted, if it is.
    pub deleted_for: Option<Duration>,
    /// Whether what is no longer wanted is removed, or only released.
    pub removes: bool,
}

/// The outcome of a plan.
pub struct Done<'a> {
    pub plan: &'a Plan,
    pub results: &'a Results,
    /// The stores of the spec and the ledger that could not be used.
    pub absent: &'a BTreeMap<StoreKey, NoStore>,
    /// The stores to publish to.
    pub wanted: &'a BTreeSet<StoreKey>,
    /// Selectors that match no store, for messages.
    pub unmatched: &'a [String],
    /// Mappings without a path.
    pub astray: &'a [Astray],
    /// The state of former locations.
    pub fates: &'a Fates,
}

/// A problem, as a condition shows it.
struct Trouble {
    reason: Reason,
    family: Family,
    text: String,
}

/// The report on a PushSecret that was published.
pub fn published(before: &PushSecretStatus, ledger: &Ledger, done: &Done<'_>, setting: &Setting<'_>) -> Said {
    let mut troubles = troubles(done);
    troubles.extend(undone::postponed(done, setting).map(|(absent, text)| Trouble {
        reason: absent.reason(),
        family: absent.family(),
        text,
    }));
    let mut status = before.clone();
    let (mut listed, left) = (remaining(ledger, done.plan, done.results), left(ledger, done));
    let lost = let_go(&mut listed, done.fates);
    status.set_ledger(listed.write());
    let known = before.paths.iter().rev().map(|path| ((path.store.as_str(), path.path.as_str()), path)).collect();
    status.paths = paths(&known, done, setting.now);
    let beyond = status.paths.split_off(status.paths.len().min(MAX_PATHS));
    status.observed_generation = Some(setting.generation);
    propagation::recount(&mut status, beyond.iter().any(|path| is_news(&known, path, setting.now)), setting.now);
    let (mut verdict, requeue) = match troubles.is_empty() {
        true => (
            in_place(done, setting, &status.paths, beyond.len(), &listed),
            setting.refresh.map_or(Requeue::AwaitChange, Requeue::After),
        ),
        false => (partly(summary(&troubles), done, setting, &listed), retry(&troubles, setting.refresh)),
    };
    verdict.message.push_str(&left_in_place(&left, &lost));
    let (awaited, inherited) = (arrival::awaited(done.plan, done.results), arrival::inherited(done.results));
    for text in awaited.iter().chain(&inherited) {
        verdict.message.push_str(&format!("; {text}"));
    }
    // A taker wakes us, but a PushSecret that never answers does not. So look again.
    let requeue = match (requeue, awaited.is_empty()) {
        (Requeue::AwaitChange, false) => Requeue::After(OUTSIDE_RETRY),
        (Requeue::After(pause), false) => Requeue::After(pause.min(OUTSIDE_RETRY)),
        (requeue, _) => requeue,
    };
    if verdict.ready {
        status.synced_resource_version = Some(setting.synced_version.clone());
        if wrote(done.results) || is_heartbeat_due(before, setting) {
            status.refresh_time = Some(Time(setting.now));
        }
    }
    Said { left, lost, beyond, ..conclude(status, verdict, requeue, setting) }
}

/// The report on a PushSecret whose pushed values are removed. `when_gone` is the verdict once
/// nothing is left.
pub fn withdrawn(
    before: &PushSecretStatus,
    ledger: &Ledger,
    done: &Done<'_>,
    setting: &Setting<'_>,
    when_gone: Verdict,
    way_out: Option<&str>,
) -> Said {
    let mut troubles = troubles(done);
    let (mut listed, left) = (remaining(ledger, done.plan, done.results), left(ledger, done));
    let lost = let_go(&mut listed, done.fates);
    for (store, lines) in &listed.unreachable {
        if !done.wanted.contains(store) {
            let why = done.absent.get(store).map_or("it cannot be used".to_owned(), NoStore::to_string);
            let family = done.absent.get(store).map_or(Family::Refused, NoStore::family);
            let text = format!("{} in {store} cannot be removed: {why}", lines_text(lines));
            troubles.push(Trouble { reason: Reason::CleanupPending, family, text });
        }
    }
    for line in listed.unclear() {
        let text = format!(
            "{line} names no property, so Waypost cannot tell which properties are its own: remove it from the store by hand"
        );
        troubles.push(Trouble { reason: Reason::CleanupPending, family: Family::Refused, text });
    }
    // A PushSecret that is offered a property answers at once. If one does not, something is wrong.
    let is_handing_over = troubles.is_empty() && setting.deleted_for.is_some_and(|so_far| so_far < OUTSIDE_RETRY);
    for text in arrival::awaited(done.plan, done.results) {
        troubles.push(Trouble { reason: Reason::CleanupPending, family: Family::Refused, text });
    }
    let mut status = before.clone();
    status.set_ledger(listed.write());
    status.paths = Vec::new();
    propagation::withdraw(&mut status.conditions);
    if troubles.is_empty() {
        let mut verdict = when_gone;
        verdict.message.push_str(&left_in_place(&left, &lost));
        for text in arrival::inherited(done.results) {
            verdict.message.push_str(&format!("; {text}"));
        }
        return Said { left, lost, ..conclude(status, verdict, Requeue::AwaitChange, setting) };
    }
    let mut verdict = summary(&troubles);
    verdict.reason = if is_handing_over { Reason::HandingOver } else { Reason::CleanupPending };
    if let Some(way_out) = way_out.filter(|_| !is_handing_over) {
        verdict.message.push_str(&format!("; {way_out}"));
    }
    let requeue = retry(&troubles, Some(OUTSIDE_RETRY));
    Said { left, lost, ..conclude(status, verdict, requeue, setting) }
}

/// The report on a PushSecret that was neither published nor removed: only its condition changes.
pub fn halted(before: &PushSecretStatus, verdict: Verdict, requeue: Requeue, setting: &Setting<'_>) -> Said {
    conclude(before.clone(), verdict, requeue, setting)
}

/// A verdict with the status that goes with it.
pub struct Said {
    pub verdict: Verdict,
    /// The whole status.
    pub status: PushSecretStatus,
    /// The paths that it has no room for.
    pub beyond: Vec<PushedPath>,
    pub requeue: Requeue,
    /// What leaves the ledger and stays in a store although it was to be removed, each with the
    /// reason.
    pub left: Vec<String>,
    /// What leaves the ledger and stays at a former location, each with the reason.
    pub lost: Vec<String>,
    /// The resourceVersion that the status write must carry, if a later version must not get this
    /// status.
    pub version: Option<String>,
}

fn conclude(mut status: PushSecretStatus, verdict: Verdict, requeue: Requeue, setting: &Setting<'_>) -> Said {
    status.observed_generation = Some(setting.generation);
    let word = if verdict.ready { ConditionStatus::True } else { ConditionStatus::False };
    let condition = Condition::ready(word, verdict.reason, verdict.message.clone(), Some(setting.generation));
    condition::upsert(&mut status.conditions, condition, Time(setting.now));
    Said { verdict, status, beyond: Vec::new(), requeue, left: Vec::new(), lost: Vec::new(), version: None }
}

/// The ledger after the reconcile. A line leaves it only if a read of the store showed that the
/// property is not ours any more, or if the report says what stays ([`left`]).
fn remaining(ledger: &Ledger, plan: &Plan, results: &Results) -> Ledger {
    let mut remaining = ledger.clone();
    for (entry_ref, job) in plan {
        let Some(outcome) = results.get(entry_ref) else { continue };
        for property in ledger.pushed.get(entry_ref).into_iter().flat_map(BTreeMap::keys) {
            if leaves(property, job, outcome, results) {
                remaining.remove(entry_ref, property);
            }
        }
        let Ok(applied) = &outcome.result else { continue };
        for (property, line) in job.lines.iter().filter(|(property, _)| applied.settled.owned.contains(*property)) {
            remaining.insert(entry_ref.clone(), property.clone(), line.clone());
        }
        // An entry that was pushed as a whole is now listed by property.
        if !job.lines.is_empty() {
            remaining.whole.remove(entry_ref);
        }
    }
    remaining
}

fn leaves(property: &String, job: &Job, outcome: &Outcome, results: &Results) -> bool {
    let owns =
        |outcome: &Outcome| outcome.result.as_ref().is_ok_and(|applied| applied.settled.owned.contains(property));
    if let Some(to) = job.moved.get(property)
        && !job.lines.contains_key(property)
    {
        return results.get(to).is_some_and(owns);
    }
    if job.twins.contains_key(property) {
        return outcome.resolved.contains(property);
    }
    match &outcome.result {
        Ok(applied) if job.lines.contains_key(property) => applied.settled.taken.contains(property),
        Ok(applied) => {
            let goal = &job.goal;
            let is_leaving = goal.remove.contains(property) || goal.release.contains(property);
            let is_leaving = is_leaving || goal.offer.contains_key(property);
            is_leaving && outcome.removal == Removal::Done && !applied.settled.awaited.contains(property)
        }
        Err(Problem::Apply(ApplyError::Refused { taken, .. })) => taken.contains(property),
        Err(Problem::Rules(_) | Problem::Clash(_) | Problem::Source { .. } | Problem::Store(_) | Problem::Apply(_)) => {
            false
        }
    }
}

/// What stays in a store although it was to be removed, because nothing shows that it is ours.
fn left(ledger: &Ledger, done: &Done<'_>) -> Vec<String> {
    let left = done.results.iter().filter_map(|(entry_ref, outcome)| {
        let listed = ledger.pushed.get(entry_ref)?;
        let left = outcome.result.as_ref().ok().filter(|_| outcome.removal == Removal::Done)?.settled.left.iter();
        Some(left.filter(|(property, _)| listed.contains_key(*property)).map(move |(property, why)| {
            format!("property {property:?} of {} in {}: {why}", entry_ref.path, entry_ref.store)
        }))
    });
    left.flatten().collect()
}

/// Removes the lines of former locations that Waypost has given up, and returns them for messages. A
/// line whose twin stays listed stays as well: if their server is one, nothing is given up.
fn let_go(listed: &mut Ledger, fates: &Fates) -> Vec<String> {
    let named = |lines: Vec<String>, store: &StoreKey, why: &str| {
        lines
            .into_iter()
            .map(|line| match fates.twins.get(&(store.clone(), line.clone())) {
                None => format!("{line} in {store}: {why}"),
                Some((to, _)) => format!("{line} in {store}: {why}, unless {} leads to the same server", to.store),
            })
            .collect::<Vec<_>>()
    };
    let mut lost: Vec<String> = Vec::new();
    for (store, why) in &fates.lost {
        let stay = staying(listed, fates).filter(|((of, _), _)| of == store).map(|((_, key), _)| key.clone()).collect();
        lost.extend(named(listed.let_go(store, &stay), store, why));
    }
    if fates.is_clean_up {
        for store in listed.stores().into_iter().filter(|store| store.former.is_some()) {
            let unclear =
                "it names no property, so Waypost cannot tell which properties are its own: remove it there by hand";
            lost.extend(named(listed.let_unclear_go(&store), &store, unclear));
        }
    }
    lost
}

/// The lines of locations without a login whose twins are listed.
pub(super) fn staying<'f>(
    listed: &Ledger,
    fates: &'f Fates,
) -> impl Iterator<Item = (&'f (StoreKey, String), &'f Twin)> {
    let is_listed = |(to, property): &Twin| listed.lists(to, property);
    fates.twins.iter().filter(move |(_, twin)| is_listed(twin))
}

fn left_in_place(left: &[String], lost: &[String]) -> String {
    match (left, lost) {
        ([], []) => String::new(),
        (_, _) => format!("; left in place: {}", [left, lost].concat().join("; ")),
    }
}

fn troubles(done: &Done<'_>) -> Vec<Trouble> {
    let stores = done.absent.iter().filter(|(store, _)| done.wanted.contains(*store)).map(|(_, absent)| Trouble {
        reason: absent.reason(),
        family: absent.family(),
        text: absent.to_string(),
    });
    let entries = done.results.iter().filter_map(|(entry_ref, outcome)| {
        if done.fates.lost.contains_key(&entry_ref.store) {
            return None;
        }
        let problem = outcome.result.as_ref().err()?;
        let (reason, family) = classify(problem);
        let place = place(done, entry_ref);
        Some(Trouble { reason, family, text: format!("{place}: {problem}") })
    });
    let unmatched = done.unmatched.iter().map(|text| Trouble {
        reason: Reason::StoreNotFound,
        family: Family::Refused,
        text: text.clone(),
    });
    let astray = done.astray.iter().map(|astray| Trouble {
        reason: Reason::SourceInvalid,
        family: Family::Refused,
        text: astray.to_string(),
    });
    let waiting = done.fates.failing.iter().filter(|(store, _)| done.absent.contains_key(*store));
    let waiting = waiting.map(|(store, why)| Trouble {
        reason: Reason::StoreNotReady,
        family: Family::Refused,
        text: format!("what was pushed to {store} stays until Waypost knows where the store leads now: {why}"),
    });
    stores.chain(unmatched).chain(astray).chain(entries).chain(waiting).collect()
}

/// The path, and its store if there are several.
fn place(done: &Done<'_>, entry_ref: &EntryRef) -> String {
    match (done.wanted.len(), &entry_ref.store.former) {
        (0 | 1, None) => entry_ref.path.to_string(),
        (_several, _) => format!("{} in {}", entry_ref.path, entry_ref.store),
    }
}

/// The family of a problem.
pub(super) fn family(problem: &Problem) -> Family {
    classify(problem).1
}

fn classify(problem: &Problem) -> (Reason, Family) {
    match problem {
        Problem::Rules(_) => (Reason::ConventionViolated, Family::Refused),
        Problem::Clash(_) | Problem::Source { .. } => (Reason::SourceInvalid, Family::Refused),
        Problem::Store(error) => (store_reason(error), error.family()),
        Problem::Apply(ApplyError::Store(error)) => (store_reason(error), error.family()),
        Problem::Apply(ApplyError::Refused { refusal, .. }) => match refusal {
            Refusal::Conflict { .. } | Refusal::UnreadableClaim { .. } => (Reason::PathConflict, Family::Refused),
            Refusal::NotManaged { .. } | Refusal::MetadataReplaced { .. } => (Reason::PathNotManaged, Family::Refused),
            Refusal::TooManyClaims { .. } | Refusal::TooLarge { .. } => (Reason::TooLarge, Family::Refused),
        },
        Problem::Apply(ApplyError::MayNot { error, .. }) => (store_reason(error), error.family()),
        Problem::Apply(ApplyError::Contested { .. }) => (Reason::PathConflict, Family::Failed),
        Problem::Apply(ApplyError::Busy | ApplyError::Slow | ApplyError::Cluster(_)) => {
            (Reason::Errored, Family::Failed)
        }
    }
}

fn store_reason(error: &crate::store::StoreError) -> Reason {
    use crate::store::StoreError;
    match error {
        StoreError::TooLarge { .. } => Reason::TooLarge,
        StoreError::Forbidden { .. } | StoreError::MetadataNeedsCas { .. } => Reason::NotPermitted,
        StoreError::Unreachable { .. }
        | StoreError::Sealed { .. }
        | StoreError::Standby { .. }
        | StoreError::RateLimited { .. }
        | StoreError::HeldBack { .. }
        | StoreError::CircuitOpen { .. }
        | StoreError::NotVault { .. }
        | StoreError::Slow { .. }
        | StoreError::Late { .. }
        | StoreError::LoginRefused { .. }
        | StoreError::TokenRefused { .. }
        | StoreError::RedirectRefused { .. }
        | StoreError::Credential { .. }
        | StoreError::CredentialUnread { .. }
        | StoreError::SessionClosed { .. }
        | StoreError::NamespaceUnread { .. }
        | StoreError::MountMissing { .. }
        | StoreError::WrongVersion { .. }
        | StoreError::NamespaceMissing { .. } => Reason::StoreNotReady,
        StoreError::FolderTooLarge { .. }
        | StoreError::CasMismatch { .. }
        | StoreError::EntryMissing { .. }
        | StoreError::Stale { .. }
        | StoreError::Rejected { .. }
        | StoreError::Server { .. }
        | StoreError::ReplyTooLarge { .. }
        | StoreError::BadReply { .. } => Reason::Errored,
    }
}

/// The verdict on all problems: it has the reason of the first, and the message names each.
fn summary(troubles: &[Trouble]) -> Verdict {
    let mut texts: Vec<&str> = troubles.iter().map(|trouble| trouble.text.as_str()).collect();
    texts.dedup();
    let more = texts.len().saturating_sub(MAX_PROBLEMS);
    texts.truncate(MAX_PROBLEMS);
    let mut message = texts.join("; ");
    if more > 0 {
        message.push_str(&format!("; and {more} more (see status.paths)"));
    }
    let reason = troubles.first().map_or(Reason::Errored, |trouble| trouble.reason);
    Verdict { ready: false, reason, message }
}

/// Adds the stores that have everything, if there are several, and what stays until then.
fn partly(mut verdict: Verdict, done: &Done<'_>, setting: &Setting<'_>, listed: &Ledger) -> Verdict {
    let ours =
        |store: &StoreKey| done.results.iter().filter(|(entry_ref, _)| entry_ref.store == *store).collect::<Vec<_>>();
    let is_in_place = |store: &&StoreKey| {
        let ours = ours(store);
        !ours.is_empty() && ours.iter().all(|(_, outcome)| outcome.result.is_ok())
    };
    let in_place: Vec<String> = done.wanted.iter().filter(is_in_place).map(ToString::to_string).collect();
    if done.wanted.len() > 1 && !in_place.is_empty() {
        verdict.message.push_str(&format!("; all is in place in {}", in_place.join(", ")));
    }
    let is_left = |store: &StoreKey| !done.wanted.contains(store) && !done.absent.contains_key(store);
    let earlier = listed.pushed.iter().filter(|(entry_ref, lines)| !lines.is_empty() && is_left(&entry_ref.store));
    let earlier: BTreeSet<String> = earlier.map(|(entry_ref, _)| entry_ref.store.to_string()).collect();
    if !earlier.is_empty() {
        let earlier: Vec<String> = earlier.into_iter().collect();
        verdict.message.push_str(&format!("; until then what was pushed to {} stays", earlier.join(", ")));
    }
    undone::kept(done, setting, listed).for_each(|text| verdict.message.push_str(&format!("; {text}")));
    verdict
}

fn retry(troubles: &[Trouble], refresh: Option<Duration>) -> Requeue {
    let any = |family| troubles.iter().any(|trouble| trouble.family == family);
    if any(Family::Failed) {
        return Requeue::BackOff;
    }
    if any(Family::Throttled) {
        return Requeue::Throttled;
    }
    let refresh = refresh.unwrap_or(REFUSED_RETRY);
    let because = |reasons: &[Reason]| troubles.iter().any(|trouble| reasons.contains(&trouble.reason));
    // Only an edit or another limit of the server helps, and each try would send everything again.
    if because(&[Reason::TooLarge]) {
        return Requeue::After(refresh.max(REFUSED_RETRY));
    }
    let from_outside = [Reason::PathConflict, Reason::NotPermitted, Reason::StoreNotReady, Reason::Errored];
    Requeue::After(if because(&from_outside) { refresh.min(OUTSIDE_RETRY) } else { refresh })
}

fn in_place(done: &Done<'_>, setting: &Setting<'_>, paths: &[PushedPath], beyond: usize, listed: &Ledger) -> Verdict {
    let several = done.wanted.len() > 1;
    let place = |path: &PushedPath| {
        let version = path.version.map(|version| format!(" version {version}")).unwrap_or_default();
        let store = if several { format!(" in {}", path.store) } else { String::new() };
        format!("{}{version}{store}", path.path)
    };
    let mut message = match paths {
        [] => "there is nothing to push: no mapping, or no key that matches one".to_owned(),
        [path] => format!("in place: {}", place(path)),
        [first, rest @ ..] => format!("in place: {} and {} more", place(first), rest.len() + beyond),
    };
    let kept: BTreeSet<&str> =
        applied(done.results).flat_map(|applied| applied.kept.iter().map(String::as_str)).collect();
    if !kept.is_empty() {
        let kept: Vec<&str> = kept.into_iter().collect();
        message.push_str(&format!("; left as they were (updatePolicy IfNotExists): {}", kept.join(", ")));
    }
    for text in undone::kept(done, setting, listed).chain(undone::twins(done, listed)) {
        message.push_str(&format!("; {text}"));
    }
    for warning in setting.warnings.iter().take(MAX_PROBLEMS) {
        message.push_str(&format!("; warning: {warning}"));
    }
    if setting.warnings.len() > MAX_PROBLEMS {
        message.push_str(&format!("; and {} more warnings", setting.warnings.len() - MAX_PROBLEMS));
    }
    Verdict { ready: true, reason: Reason::Synced, message }
}

fn applied(results: &Results) -> impl Iterator<Item = &super::step::Settled> {
    results.values().filter_map(|outcome| outcome.result.as_ref().ok().map(|applied| &applied.settled))
}

fn wrote(results: &Results) -> bool {
    results.values().any(|outcome| outcome.result.as_ref().is_ok_and(|applied| applied.wrote == Wrote::Version))
}

fn is_heartbeat_due(before: &PushSecretStatus, setting: &Setting<'_>) -> bool {
    let Some(Time(last)) = before.refresh_time else { return true };
    // A clock that was set back must not stop the heartbeat for good.
    let elapsed = setting.now.duration_since(last);
    elapsed.is_negative() || elapsed.unsigned_abs() >= setting.heartbeat
}

/// What was known of paths, by store and path.
type KnownPaths<'a> = BTreeMap<(&'a str, &'a str), &'a PushedPath>;

/// All paths, also those that the status has no room for.
fn paths(known: &KnownPaths<'_>, done: &Done<'_>, now: Timestamp) -> Vec<PushedPath> {
    let wanted = done.plan.iter().filter(|(_, job)| !job.lines.is_empty());
    let of = |(entry_ref, _): (&EntryRef, &Job)| Some(path(known, entry_ref, done.results.get(entry_ref)?, now));
    wanted.filter_map(of).collect()
}

/// Whether a path has another version than was known, or was just written.
fn is_news(known: &KnownPaths<'_>, path: &PushedPath, now: Timestamp) -> bool {
    let earlier = known.get(&(path.store.as_str(), path.path.as_str()));
    path.written_at == Some(Time(now)) || earlier.is_some_and(|earlier| earlier.version != path.version)
}

fn path(known: &KnownPaths<'_>, entry_ref: &EntryRef, outcome: &Outcome, now: Timestamp) -> PushedPath {
    let (store, name) = (entry_ref.store.listed(), entry_ref.path.to_string());
    let earlier = known.get(&(store.as_str(), name.as_str())).copied();
    let blank = || PushedPath { store: store.clone(), path: name.clone(), ..PushedPath::default() };
    match &outcome.result {
        Ok(applied) => {
            let version = applied.settled.version.and_then(|version| i64::try_from(version).ok());
            let written_at = match applied.wrote {
                Wrote::Version => Some(Time(now)),
                Wrote::Nothing => earlier.and_then(|earlier| earlier.written_at.clone()),
            };
            // The consumers of another version are not counted yet.
            let consumers =
                earlier.filter(|earlier| earlier.version == version).and_then(|earlier| earlier.consumers.clone());
            PushedPath {
                consumers,
                // Whoever wrote it: it has our properties, and a write of ours whose reply was lost
                // looks like another's.
                version,
                properties: applied.settled.owned.iter().cloned().collect(),
                written_at,
                state: Some(PathState::Synced),
                ..blank()
            }
        }
        Err(problem) => {
            let (_, family) = classify(problem);
            let mut path = earlier.cloned().unwrap_or_else(blank);
            path.state = Some(match (problem, family) {
                (Problem::Apply(ApplyError::Contested { .. }), _) => PathState::Pending,
                (_, Family::Failed | Family::Throttled) => PathState::Failed,
                (_, Family::Refused | Family::Invalid) => PathState::Refused,
            });
            path.owner = match problem {
                Problem::Apply(ApplyError::Refused { refusal: Refusal::Conflict { owner, .. }, .. }) => {
                    Some(format!("{}/{}/{}", owner.cluster, owner.namespace, owner.name))
                }
                Problem::Rules(_)
                | Problem::Clash(_)
                | Problem::Source { .. }
                | Problem::Store(_)
                | Problem::Apply(_) => None,
            };
            path.message = Some(problem.to_string().chars().take(MAX_PATH_MESSAGE).collect());
            path
        }
    }
}

fn lines_text(lines: &[Line]) -> String {
    let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
    keys.join(", ")
}
