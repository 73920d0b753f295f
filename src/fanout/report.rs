//! Reports on a cluster-wide object, from the outcomes of its namespaces. Pure: the time is an
//! argument.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::apply::{Outcome, Results};
use super::change::Problem;
use super::desired::{Desired, SpecError};
use super::kind::{Child, Parent, Told, Words};
use crate::api::condition::{self, Condition, ConditionStatus, READY, Reason};
use crate::api::selector::FailedNamespace;
use crate::cluster::ClusterError;
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};

/// A message names this many namespaces, and counts the rest.
const NAMED: usize = 3;
/// The maximum length of `status.failedNamespaces`.
const MOST_FAILED: usize = 500;
/// The maximum length of `status.provisionedNamespaces`: these names take 640 kB, and an object may
/// have 1.5 MB.
const MOST_PROVISIONED: usize = 10_000;
/// The maximum length of a namespace's reason, in characters.
const MAX_REASON: usize = 512;
/// When a changed namespace is tried again; longer than the usual lag of caches.
const SOON: Duration = Duration::from_secs(1);
/// The maximum wait for an obstacle whose end no watch shows.
const REFUSED_RETRY: Duration = Duration::from_secs(300);

/// The report of a reconcile.
pub fn report<P: Parent>(
    object: &P,
    desired: &Desired<<P::Child as Child>::Spec>,
    results: &Results,
    contested: &BTreeSet<String>,
    now: Timestamp,
) -> Report<P::Status> {
    let requeue = requeue(desired, results);
    let failed = failures(results);
    // The next try is a second away. A failure is reported at once, because that try may fail too.
    if is_unsettled(results) && failed.is_empty() {
        return Report::Undecided { requeue };
    }
    let mut status = object.status().cloned().unwrap_or_default();
    let told = P::told(&mut status);
    let before: BTreeSet<String> = std::mem::take(told.provisioned).into_iter().collect();
    let is_provisioned = |name: &String, outcome: &Outcome| match outcome {
        Outcome::Done => true,
        // As in the last report.
        Outcome::Moved(_) => before.contains(name),
        Outcome::Leaving | Outcome::Failed(_) => false,
    };
    let provisioned: Vec<&String> =
        (results.wanted.iter()).filter(|(name, outcome)| is_provisioned(name, outcome)).map(|(name, _)| name).collect();
    let verdict = match failed.is_empty() {
        true => Verdict {
            ready: true,
            reason: Reason::Provisioned,
            message: in_place(desired, &provisioned) + &conflicts(&desired.words, contested),
        },
        false => Verdict {
            ready: false,
            reason: Reason::NamespacesFailed,
            message: summary(&desired.words, &failed, results.wanted.len().max(failed.len())),
        },
    };
    *told.name = Some(desired.child.name.clone());
    *told.provisioned = provisioned.into_iter().take(MOST_PROVISIONED).cloned().collect();
    *told.failed = failed.iter().take(MOST_FAILED).map(|failure| listed(&desired.words, failure)).collect();
    conclude(object, status, verdict, requeue, now)
}

/// The report on an invalid spec. The children stay, and so do the lists of namespaces.
pub fn refused<P: Parent>(object: &P, error: &SpecError, now: Timestamp) -> Report<P::Status> {
    let verdict = Verdict { ready: false, reason: error.reason(), message: error.to_string() };
    conclude(object, object.status().cloned().unwrap_or_default(), verdict, Requeue::AwaitChange, now)
}

fn conclude<P: Parent>(
    object: &P,
    mut after: P::Status,
    verdict: Verdict,
    requeue: Requeue,
    now: Timestamp,
) -> Report<P::Status> {
    let generation = object.meta().generation;
    let Told { observed_generation, conditions, .. } = P::told(&mut after);
    *observed_generation = generation;
    // Removes conditions of a former controller, because some tools take the last one for the
    // verdict.
    conditions.retain(|condition| condition.type_ == READY);
    let word = if verdict.ready { ConditionStatus::True } else { ConditionStatus::False };
    let ready = Condition::ready(word, verdict.reason, verdict.message.clone(), generation);
    condition::upsert(conditions, ready, Time(now));
    let status = Box::new(StatusChange { before: object.status().cloned(), after, resource_version: None });
    Report::Verdict { verdict, status, requeue }
}

fn is_unsettled(results: &Results) -> bool {
    results.wanted.values().chain(results.unwanted.values()).any(Outcome::has_moved)
}

/// The failed namespaces, with their problems, sorted by name. If one failed in both ways, the
/// first counts.
fn failures(results: &Results) -> Vec<(&String, &Problem)> {
    let mut failed: Vec<_> = (results.wanted.iter().chain(&results.unwanted))
        .filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(problem) => Some((name, problem)),
            Outcome::Done | Outcome::Leaving | Outcome::Moved(_) => None,
        })
        .collect();
    failed.sort_by_key(|(name, _)| *name);
    failed.dedup_by_key(|(name, _)| *name);
    failed
}

fn in_place<S>(desired: &Desired<S>, provisioned: &[&String]) -> String {
    let (name, kind) = (&desired.child.name, desired.words.child);
    match provisioned.len() {
        0 => format!("no namespace matches spec.namespaceSelectors: no {kind} {name} is created"),
        1 => format!("{kind} {name} is in place in namespace {}", provisioned[0]),
        count => {
            let named: Vec<&str> = provisioned.iter().take(NAMED).map(|name| name.as_str()).collect();
            format!("{kind} {name} is in place in {count} namespaces: {}{}", named.join(", "), rest(count))
        }
    }
}

/// The namespaces whose child does not own what it writes; usually a sibling does.
fn conflicts(words: &Words, contested: &BTreeSet<String>) -> String {
    let named: Vec<&str> = contested.iter().take(NAMED).map(String::as_str).collect();
    let more = match contested.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match named.is_empty() {
        true => String::new(),
        false => format!("; in {}{more} {}", named.join(", "), words.contested),
    }
}

fn summary(words: &Words, failed: &[(&String, &Problem)], all: usize) -> String {
    let named = failed.iter().take(NAMED).map(|(name, problem)| format!("{name}: {}", problem.text(words)));
    let texts = named.collect::<Vec<_>>().join("; ");
    format!("{} of {all} namespaces failed: {texts}{}", failed.len(), rest(failed.len()))
}

fn rest(count: usize) -> String {
    match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more, listed in status"),
    }
}

fn listed(words: &Words, (namespace, problem): &(&String, &Problem)) -> FailedNamespace {
    let reason: String = problem.text(words).chars().take(MAX_REASON).collect();
    FailedNamespace { namespace: (*namespace).clone(), reason: Some(reason) }
}

fn requeue<S>(desired: &Desired<S>, results: &Results) -> Requeue {
    let resync = desired.resync.map_or(Requeue::AwaitChange, Requeue::After);
    let outcomes = results.wanted.values().chain(results.unwanted.values());
    outcomes.map(|outcome| wish(outcome, desired.resync)).fold(resync, sooner)
}

fn wish(outcome: &Outcome, resync: Option<Duration>) -> Requeue {
    let refused = Requeue::After(resync.unwrap_or(REFUSED_RETRY).min(REFUSED_RETRY));
    match outcome {
        Outcome::Done | Outcome::Leaving => Requeue::AwaitChange,
        Outcome::Moved(_) => Requeue::After(SOON),
        Outcome::Failed(Problem::Unsettled(_)) => Requeue::BackOff,
        Outcome::Failed(Problem::Taken { .. } | Problem::Leaving | Problem::ChangedBack) => refused,
        Outcome::Failed(Problem::Cluster(error)) => match error {
            ClusterError::Invalid { .. } => refused,
            ClusterError::NotFound { .. }
            | ClusterError::AlreadyExists { .. }
            | ClusterError::Conflict { .. }
            | ClusterError::Forbidden { .. }
            | ClusterError::NamespaceTerminating { .. }
            | ClusterError::Held { .. }
            | ClusterError::Api { .. }
            | ClusterError::Timeout { .. }
            | ClusterError::Transport { .. } => Requeue::BackOff,
        },
    }
}

/// The earlier requeue. A back-off begins with one second, so it comes first.
fn sooner(one: Requeue, other: Requeue) -> Requeue {
    match (one, other) {
        (Requeue::After(one), Requeue::After(other)) => Requeue::After(one.min(other)),
        (Requeue::BackOff | Requeue::Throttled | Requeue::AskAgain, _)
        | (_, Requeue::BackOff | Requeue::Throttled | Requeue::AskAgain) => Requeue::BackOff,
        (Requeue::AwaitChange, other) => other,
        (one, Requeue::AwaitChange) => one,
    }
}
