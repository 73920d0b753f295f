//! Says how a PushSecret stands: condition, ledger, paths and when to look again, from what became of its entries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::apply::{Outcome, Removal, Results};
use super::arrival;
use super::entry::{ApplyError, Wrote};
use super::former::Fates;
use super::ledger::{Ledger, Line, Spot, StoreKey};
use super::mapped::Astray;
use super::observe::{Absence, NoStore};
use super::plan::{Job, Plan, Problem};
use super::propagation;
use super::refusal::Refusal;
use crate::api::PushSecretStatus;
use crate::api::condition::{self, Condition, ConditionStatus, Reason};
use crate::api::path_status::{MAX_PATHS, PathState, PushedPath};
use crate::controller::report::{Requeue, Verdict};
use crate::store::error::Family;

/// What can end without an edit of this PushSecret, such as another one's claim or a policy that forbids, is looked at again
/// after this time at most.
pub(super) const OUTSIDE_RETRY: Duration = Duration::from_secs(60);
/// So is any other refusal, where the spec has no interval.
const REFUSED_RETRY: Duration = Duration::from_secs(300);
/// A message names this many problems, and counts the rest.
const MAX_PROBLEMS: usize = 8;
/// The longest message of one path in status, in characters.
const MAX_PATH_MESSAGE: usize = 1024;

/// What reports depend on besides what was done.
pub struct Setting<'a> {
    /// The generation that was reconciled.
    pub generation: i64,
    /// What `status.syncedResourceVersion` is when everything is pushed.
    pub synced_version: String,
    /// The time.
    pub now: Timestamp,
    /// How often `status.refreshTime` moves without a change.
    pub heartbeat: Duration,
    /// `None`: only when something changes.
    pub refresh: Option<Duration>,
    /// What the convention warns about.
    pub warnings: &'a [String],
}

/// What was done.
pub struct Done<'a> {
    /// What was wanted.
    pub plan: &'a Plan,
    /// What became of it.
    pub results: &'a Results,
    /// Stores that could not be used, of the spec and of the ledger.
    pub absent: &'a BTreeMap<StoreKey, NoStore>,
    /// The stores that are published to.
    pub wanted: &'a BTreeSet<StoreKey>,
    /// Selectors of stores that select none, in words.
    pub unmatched: &'a [String],
    /// Mappings that lead nowhere.
    pub astray: &'a [Astray],
    /// What was seen of places to which stores led before they were edited.
    pub fates: &'a Fates,
}

/// One thing that is not as it should be.
struct Trouble {
    reason: Reason,
    family: Family,
    text: String,
}

/// The report on a PushSecret that is carried out.
pub fn published(before: &PushSecretStatus, ledger: &Ledger, done: &Done<'_>, setting: &Setting<'_>) -> Said {
    let troubles = troubles(done);
    let mut status = before.clone();
    let (mut listed, left) = (remaining(ledger, done.plan, done.results), left(ledger, done));
    let lost = let_go(&mut listed, done.fates);
    status.set_ledger(listed.write());
    status.paths = paths(before, done, setting.now);
    status.observed_generation = Some(setting.generation);
    propagation::recount(&mut status, setting.now);
    let (mut verdict, requeue) = match troubles.is_empty() {
        true => (
            in_place(done, setting, &status.paths, &listed),
            setting.refresh.map_or(Requeue::AwaitChange, Requeue::After),
        ),
        false => (partly(summary(&troubles), done, &listed), retry(&troubles, setting.refresh)),
    };
    verdict.message.push_str(&left_in_place(&left, &lost));
    let (awaited, inherited) = (arrival::awaited(done.plan, done.results), arrival::inherited(done.results));
    for text in awaited.iter().chain(&inherited) {
        verdict.message.push_str(&format!("; {text}"));
    }
    // Whoever takes it wakes us; what only ends without a word is looked after.
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
    Said { left, lost, ..conclude(status, verdict, requeue, setting) }
}

/// The report on a PushSecret whose pushed values are to go: what is left, and in which words it is said when nothing is.
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
            let why = done.absent.get(store).map_or("it cannot be used", |absent| absent.text.as_str());
            let family = done.absent.get(store).map_or(Family::Refused, |absent| absent.family);
            let text = format!("{} in {store} cannot be removed: {why}", lines_text(lines));
            troubles.push(Trouble { reason: Reason::CleanupPending, family, text });
        }
    }
    for line in listed.unclear() {
        let text = format!(
            "{line} names no property, so nobody can tell what of it is ours: remove it from the store by hand"
        );
        troubles.push(Trouble { reason: Reason::CleanupPending, family: Family::Refused, text });
    }
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
    verdict.reason = Reason::CleanupPending;
    if let Some(way_out) = way_out {
        verdict.message.push_str(&format!("; {way_out}"));
    }
    let requeue = retry(&troubles, Some(OUTSIDE_RETRY));
    Said { left, lost, ..conclude(status, verdict, requeue, setting) }
}

/// The report on a PushSecret that cannot be carried out at all: everything else stays as it was.
pub fn halted(before: &PushSecretStatus, verdict: Verdict, requeue: Requeue, setting: &Setting<'_>) -> Said {
    conclude(before.clone(), verdict, requeue, setting)
}

/// A verdict with the status that goes with it.
pub struct Said {
    /// The condition.
    pub verdict: Verdict,
    /// The whole status.
    pub status: PushSecretStatus,
    /// When to look again.
    pub requeue: Requeue,
    /// What was to go, leaves the ledger and stays in a store, each with the reason.
    pub left: Vec<String>,
    /// What leaves the ledger and stays where a store led before it was edited, each with the reason.
    pub lost: Vec<String>,
    /// The version of the PushSecret that this speaks of, where a later one must not get this status.
    pub version: Option<String>,
}

fn conclude(mut status: PushSecretStatus, verdict: Verdict, requeue: Requeue, setting: &Setting<'_>) -> Said {
    status.observed_generation = Some(setting.generation);
    let word = if verdict.ready { ConditionStatus::True } else { ConditionStatus::False };
    let condition = Condition::ready(word, verdict.reason, verdict.message.clone(), Some(setting.generation));
    condition::upsert(&mut status.conditions, condition, Time(setting.now));
    Said { verdict, status, requeue, left: Vec::new(), lost: Vec::new(), version: None }
}

/// What the ledger lists once everything is done. A line leaves it only where a look at the store showed that nothing of ours is
/// there, or where that is said ([`left`]).
fn remaining(ledger: &Ledger, plan: &Plan, results: &Results) -> Ledger {
    let mut remaining = ledger.clone();
    for (spot, job) in plan {
        let Some(outcome) = results.get(spot) else { continue };
        for property in ledger.pushed.get(spot).into_iter().flat_map(BTreeMap::keys) {
            if leaves(property, job, outcome, results) {
                remaining.remove(spot, property);
            }
        }
        let Ok(applied) = &outcome.result else { continue };
        for (property, line) in job.lines.iter().filter(|(property, _)| applied.settled.owned.contains(*property)) {
            remaining.insert(spot.clone(), property.clone(), line.clone());
        }
        // What was pushed there as a whole is now listed property by property.
        if !job.lines.is_empty() {
            remaining.whole.remove(spot);
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

/// What was to go and was left in a store, since nothing shows that it is ours.
fn left(ledger: &Ledger, done: &Done<'_>) -> Vec<String> {
    let left = done.results.iter().filter_map(|(spot, outcome)| {
        let listed = ledger.pushed.get(spot)?;
        let left = outcome.result.as_ref().ok().filter(|_| outcome.removal == Removal::Done)?.settled.left.iter();
        Some(
            left.filter(|(property, _)| listed.contains_key(*property))
                .map(move |(property, why)| format!("property {property:?} of {} in {}: {why}", spot.path, spot.store)),
        )
    });
    left.flatten().collect()
}

/// Takes what nobody waits for any longer out of the ledger, and names it.
fn let_go(listed: &mut Ledger, fates: &Fates) -> Vec<String> {
    let named = |lines: Vec<String>, store: &StoreKey, why: &str| {
        lines.into_iter().map(|line| format!("{line} in {store}: {why}")).collect::<Vec<_>>()
    };
    let mut lost: Vec<String> = Vec::new();
    for (store, why) in &fates.lost {
        lost.extend(named(listed.let_go(store), store, why));
    }
    if fates.is_clean_up {
        for store in listed.stores().into_iter().filter(|store| store.former.is_some()) {
            let unclear = "it names no property, so nobody can tell what of it is ours: remove it there by hand";
            lost.extend(named(listed.let_unclear_go(&store), &store, unclear));
        }
    }
    lost
}

fn left_in_place(left: &[String], lost: &[String]) -> String {
    match (left, lost) {
        ([], []) => String::new(),
        (_, _) => format!("; left in place: {}", [left, lost].concat().join("; ")),
    }
}

fn troubles(done: &Done<'_>) -> Vec<Trouble> {
    let stores = done.absent.iter().filter(|(store, _)| done.wanted.contains(*store)).map(|(_, absent)| Trouble {
        reason: match absent.why {
            Absence::Missing => Reason::StoreNotFound,
            Absence::OtherController | Absence::NotPermitted => Reason::NotPermitted,
            Absence::Unusable | Absence::Elsewhere => Reason::StoreNotReady,
        },
        family: absent.family,
        text: absent.text.clone(),
    });
    let entries = done.results.iter().filter_map(|(spot, outcome)| {
        if done.fates.lost.contains_key(&spot.store) {
            return None;
        }
        let problem = outcome.result.as_ref().err()?;
        let (reason, family) = classify(problem);
        let place = place(done, spot);
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
        text: format!("what was pushed to {store} stays until it is known whether that is another place: {why}"),
    });
    stores.chain(unmatched).chain(astray).chain(entries).chain(waiting).collect()
}

/// A path, and in which store where there are several.
fn place(done: &Done<'_>, spot: &Spot) -> String {
    match (done.wanted.len(), &spot.store.former) {
        (0 | 1, None) => spot.path.to_string(),
        (_several, _) => format!("{} in {}", spot.path, spot.store),
    }
}

/// What kind of failure it is.
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
            Refusal::NotManaged { .. } | Refusal::LabelsReplaced { .. } => (Reason::PathNotManaged, Family::Refused),
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
        StoreError::Forbidden { .. } | StoreError::LabelsNeedCas { .. } => Reason::NotPermitted,
        StoreError::Unreachable { .. }
        | StoreError::Sealed { .. }
        | StoreError::Standby { .. }
        | StoreError::RateLimited { .. }
        | StoreError::HeldBack { .. }
        | StoreError::CircuitOpen { .. }
        | StoreError::NotVault { .. }
        | StoreError::Slow { .. }
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
        StoreError::CasMismatch { .. }
        | StoreError::EntryMissing { .. }
        | StoreError::Stale { .. }
        | StoreError::Rejected { .. }
        | StoreError::Server { .. }
        | StoreError::ReplyTooLarge { .. }
        | StoreError::BadReply { .. } => Reason::Errored,
    }
}

/// One reason for all: that of the first problem. The message names each.
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

/// With several stores, also those that have everything.
fn partly(mut verdict: Verdict, done: &Done<'_>, listed: &Ledger) -> Verdict {
    let ours = |store: &StoreKey| done.results.iter().filter(|(spot, _)| spot.store == *store).collect::<Vec<_>>();
    let is_in_place = |store: &&StoreKey| {
        let ours = ours(store);
        !ours.is_empty() && ours.iter().all(|(_, outcome)| outcome.result.is_ok())
    };
    let in_place: Vec<String> = done.wanted.iter().filter(is_in_place).map(ToString::to_string).collect();
    if done.wanted.len() > 1 && !in_place.is_empty() {
        verdict.message.push_str(&format!("; all is in place in {}", in_place.join(", ")));
    }
    let earlier = listed.pushed.iter().filter(|(spot, lines)| !lines.is_empty() && !done.wanted.contains(&spot.store));
    let earlier: BTreeSet<String> = earlier.map(|(spot, _)| spot.store.to_string()).collect();
    if !earlier.is_empty() {
        let earlier: Vec<String> = earlier.into_iter().collect();
        verdict.message.push_str(&format!("; until then what was pushed to {} stays", earlier.join(", ")));
    }
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
    // Nothing but an edit or another limit of the server helps, and each try would send it all again.
    if because(&[Reason::TooLarge]) {
        return Requeue::After(refresh.max(REFUSED_RETRY));
    }
    let from_outside = [Reason::PathConflict, Reason::NotPermitted, Reason::StoreNotReady, Reason::Errored];
    Requeue::After(if because(&from_outside) { refresh.min(OUTSIDE_RETRY) } else { refresh })
}

fn in_place(done: &Done<'_>, setting: &Setting<'_>, paths: &[PushedPath], listed: &Ledger) -> Verdict {
    let several = done.wanted.len() > 1;
    let place = |path: &PushedPath| {
        let version = path.version.map(|version| format!(" version {version}")).unwrap_or_default();
        let store = if several { format!(" in {}", path.store) } else { String::new() };
        format!("{}{version}{store}", path.path)
    };
    let mut message = match paths {
        [] => "there is nothing to push: no mapping, or no key that matches one".to_owned(),
        [path] => format!("in place: {}", place(path)),
        [first, rest @ ..] => format!("in place: {} and {} more", place(first), rest.len()),
    };
    let kept: BTreeSet<&str> =
        applied(done.results).flat_map(|applied| applied.kept.iter().map(String::as_str)).collect();
    if !kept.is_empty() {
        let kept: Vec<&str> = kept.into_iter().collect();
        message.push_str(&format!("; left as they were (updatePolicy IfNotExists): {}", kept.join(", ")));
    }
    for (store, absent) in done.absent.iter().filter(|(store, _)| !done.wanted.contains(*store)) {
        message.push_str(&format!("; what was pushed to {store} earlier is still there: {}", absent.text));
    }
    for line in listed.unclear() {
        message.push_str(&format!("; not removed, since it names no property of a path: {line}"));
    }
    for warning in setting.warnings.iter().take(MAX_PROBLEMS) {
        message.push_str(&format!("; warning: {warning}"));
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
    // A clock that went back must not silence the heartbeat for good.
    let elapsed = setting.now.duration_since(last);
    elapsed.is_negative() || elapsed.unsigned_abs() >= setting.heartbeat
}

fn paths(before: &PushSecretStatus, done: &Done<'_>, now: Timestamp) -> Vec<PushedPath> {
    let wanted = done.plan.iter().filter(|(_, job)| !job.lines.is_empty());
    let of = |(spot, _): (&Spot, &Job)| Some(path(before, spot, done.results.get(spot)?, now));
    wanted.filter_map(of).take(MAX_PATHS).collect()
}

fn path(before: &PushSecretStatus, spot: &Spot, outcome: &Outcome, now: Timestamp) -> PushedPath {
    let (store, name) = (spot.store.listed(), spot.path.to_string());
    let earlier = before.paths.iter().find(|path| path.store == store && path.path == name);
    let blank = || PushedPath { store: store.clone(), path: name.clone(), ..PushedPath::default() };
    match &outcome.result {
        Ok(applied) => {
            let version = applied.settled.version.and_then(|version| i64::try_from(version).ok());
            let written_at = match applied.wrote {
                Wrote::Version => Some(Time(now)),
                Wrote::Nothing => earlier.and_then(|earlier| earlier.written_at.clone()),
            };
            // Of another version nobody knows yet who has it.
            let consumers =
                earlier.filter(|earlier| earlier.version == version).and_then(|earlier| earlier.consumers.clone());
            PushedPath {
                consumers,
                // Whoever wrote it: our properties stand in it, and a write of ours whose reply was lost looks like another's.
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
