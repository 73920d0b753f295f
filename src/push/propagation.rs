//! Counts which consumers have the pushed versions, for `status.paths` and the condition
//! `Propagated`. Pure.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::PushSecretStatus;
use crate::api::condition::{self, Condition, ConditionStatus, PROPAGATED, Reason};
use crate::api::path_status::{Consumers, Lagging, MAX_LAGGING, MAX_PATHS, PushedPath};
use crate::domain::object_name::Name;
use crate::feed::Follower;

/// The maximum number of lagging consumers that one status names, over all paths.
const MAX_LAGGING_IN_ALL: usize = 50;
/// The condition names this many lagging consumers, and counts the rest.
const MAX_NAMED: usize = 3;

/// The status with new counts. `beyond` has the paths that the status has no room for; `None` if they
/// are not known yet. `followers` returns the consumers of a path. If they are unknown for one path
/// that has a version, or if paths may be unknown, the result is `None`: no count changes.
pub fn counted(
    before: &PushSecretStatus,
    beyond: Option<&[PushedPath]>,
    followers: impl Fn(&PushedPath) -> Option<Vec<Follower>>,
    now: Timestamp,
) -> Option<PushSecretStatus> {
    // Other controllers' CRDs keep no paths, and nothing is counted there.
    let is_full = before.paths.len() >= MAX_PATHS;
    let beyond = if is_full { beyond? } else { &[] };
    let mut status = before.clone();
    let mut count = Count::default();
    for path in &mut status.paths {
        path.consumers = match path.version {
            Some(version) => Some(count.path(&path.path, version, followers(path)?)),
            None => None,
        };
    }
    for path in beyond {
        if let Some(version) = path.version {
            count.path(&path.path, version, followers(path)?);
        }
    }
    match count.verdict() {
        Some((word, reason, message)) => {
            let propagated = Condition::new(PROPAGATED, word, reason, message, status.observed_generation);
            condition::upsert(&mut status.conditions, propagated, Time(now));
        }
        None => withdraw(&mut status.conditions),
    }
    Some(status)
}

/// Removes the condition: nothing is published.
pub fn withdraw(conditions: &mut Vec<Condition>) {
    conditions.retain(|condition| condition.type_ != PROPAGATED);
}

/// Sets the condition to Unknown if a path has a version that was not counted yet. `has_news` says so
/// of the paths that the status has no room for.
pub fn recount(status: &mut PushSecretStatus, has_news: bool, now: Timestamp) {
    let uncounted = status.paths.iter().any(|path| path.version.is_some() && path.consumers.is_none());
    if (uncounted || has_news) && condition::find(&status.conditions, PROPAGATED).is_some() {
        let message = "what was just pushed is on its way to its consumers";
        let generation = status.observed_generation;
        let on_its_way = Condition::new(PROPAGATED, ConditionStatus::Unknown, Reason::Propagating, message, generation);
        condition::upsert(&mut status.conditions, on_its_way, Time(now));
    }
}

/// The counts over all paths.
#[derive(Default)]
struct Count {
    paths: Vec<String>,
    consumers: BTreeSet<Name>,
    lagging: BTreeSet<Name>,
    listed: usize,
    words: Vec<String>,
}

impl Count {
    fn path(&mut self, path: &str, version: i64, followers: Vec<Follower>) -> Consumers {
        self.paths.push(format!("{path} version {version}"));
        let total = followers.len();
        self.consumers.extend(followers.iter().map(|follower| follower.name.clone()));
        let late: Vec<Follower> = followers.into_iter().filter(|follower| !has(follower, version)).collect();
        let room = MAX_LAGGING.min(MAX_LAGGING_IN_ALL.saturating_sub(self.listed));
        let lagging: Vec<Lagging> = late.iter().take(room).map(lagging).collect();
        self.listed += lagging.len();
        for (follower, lagging) in late.iter().zip(&lagging) {
            if self.lagging.insert(follower.name.clone()) && self.words.len() < MAX_NAMED {
                self.words.push(format!("{} lacks {path} version {version} ({})", follower.name, lagging.message));
            }
        }
        self.lagging.extend(late.iter().map(|follower| follower.name.clone()));
        Consumers { total: count(total), current: count(total - late.len()), lagging }
    }

    fn verdict(&self) -> Option<(ConditionStatus, Reason, String)> {
        let what = match self.paths.as_slice() {
            [] => return None,
            [path] => path.clone(),
            [first, rest @ ..] => {
                format!("{first} and {} more {}", rest.len(), if rest.len() == 1 { "path" } else { "paths" })
            }
        };
        Some(match (self.consumers.len(), self.lagging.len()) {
            (0, _) => {
                (ConditionStatus::True, Reason::NoConsumers, "no ExternalSecret of this cluster follows it".into())
            }
            (1, 0) => {
                (ConditionStatus::True, Reason::ConsumersCurrent, format!("{what} is in its one consumer's target"))
            }
            (all, 0) => {
                let message = format!("{what} is in the targets of all its {all} consumers");
                (ConditionStatus::True, Reason::ConsumersCurrent, message)
            }
            (all, late) => {
                let more = match late - self.words.len() {
                    0 => String::new(),
                    more if self.paths.len() > MAX_PATHS => format!("; and {more} more"),
                    more => format!("; and {more} more (see status.paths)"),
                };
                let message = format!("{late} of {all} consumers lag: {}{more}", self.words.join("; "));
                (ConditionStatus::False, Reason::ConsumersLag, message)
            }
        })
    }
}

/// A later version, written for other properties, has ours as well.
fn has(follower: &Follower, version: i64) -> bool {
    follower.version.and_then(|has| i64::try_from(has).ok()).is_some_and(|has| has >= version)
}

fn lagging(follower: &Follower) -> Lagging {
    let version = follower.version.and_then(|version| i64::try_from(version).ok());
    let message = match (&follower.trouble, version) {
        // The message of the trouble may name the consumer's own stores and paths, so only its
        // reason is shown.
        (Some(trouble), _) => trouble.reason.to_owned(),
        (None, Some(version)) => format!("it has version {version} and is on its way"),
        (None, None) => "it is on its way".to_owned(),
    };
    Lagging { consumer: follower.name.to_string(), version, message }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Trouble;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn pushed(paths: &[(&str, Option<i64>)]) -> PushSecretStatus {
        let path = |(path, version): &(&str, Option<i64>)| PushedPath {
            path: (*path).to_owned(),
            version: *version,
            ..PushedPath::default()
        };
        PushSecretStatus { paths: paths.iter().map(path).collect(), ..PushSecretStatus::default() }
    }

    fn follower(name: &str, version: Option<u64>, trouble: Option<&'static str>) -> Follower {
        let trouble = trouble.map(|reason| Trouble { reason });
        Follower { name: Name::new("team", name), version, trouble }
    }

    fn propagated(status: &PushSecretStatus) -> (ConditionStatus, String, String) {
        let condition = condition::find(&status.conditions, PROPAGATED).unwrap();
        (condition.status, condition.reason.clone().unwrap(), condition.message.clone().unwrap())
    }

    #[test]
    fn who_has_an_older_version_lags_and_says_why() {
        let followers = [
            follower("a", Some(8), None),
            follower("b", Some(7), Some("StoreNotReady")),
            follower("c", Some(7), None),
            follower("d", None, None),
            follower("e", Some(9), None),
        ];
        let status = counted(&pushed(&[("kv/p", Some(8))]), None, |_| Some(followers.to_vec()), NOW).unwrap();
        let consumers = status.paths[0].consumers.as_ref().unwrap();
        assert_eq!((consumers.total, consumers.current), (5, 2));
        let why: Vec<(&str, &str)> =
            consumers.lagging.iter().map(|late| (late.consumer.as_str(), late.message.as_str())).collect();
        assert_eq!(
            why,
            [
                ("team/b", "StoreNotReady"),
                ("team/c", "it has version 7 and is on its way"),
                ("team/d", "it is on its way"),
            ]
        );
        let (word, reason, message) = propagated(&status);
        assert_eq!((word, reason.as_str()), (ConditionStatus::False, "ConsumersLag"));
        assert!(message.starts_with("3 of 5 consumers lag: team/b lacks kv/p version 8 (StoreNotReady); "));
    }

    #[test]
    fn the_condition_holds_once_all_have_it_and_where_nobody_asks() {
        let all =
            counted(&pushed(&[("kv/p", Some(8))]), None, |_| Some(vec![follower("a", Some(8), None)]), NOW).unwrap();
        let (word, reason, message) = propagated(&all);
        assert_eq!((word, reason.as_str()), (ConditionStatus::True, "ConsumersCurrent"));
        assert_eq!(message, "kv/p version 8 is in its one consumer's target");
        let nobody = counted(&pushed(&[("kv/p", Some(8))]), None, |_| Some(Vec::new()), NOW).unwrap();
        let (word, reason, _) = propagated(&nobody);
        assert_eq!((word, reason.as_str()), (ConditionStatus::True, "NoConsumers"));
    }

    #[test]
    fn nothing_is_said_anew_while_a_place_is_unknown_and_nothing_at_all_without_a_version() {
        assert_eq!(counted(&pushed(&[("kv/p", Some(8))]), None, |_| None, NOW), None);
        let before = counted(&pushed(&[("kv/p", Some(8))]), None, |_| Some(Vec::new()), NOW).unwrap();
        let refused = PushSecretStatus { paths: pushed(&[("kv/p", None)]).paths, ..before };
        assert_eq!(counted(&refused, None, |_| None, NOW).unwrap().conditions, []);
    }

    #[test]
    fn however_many_lag_the_status_stays_small() {
        let many: Vec<Follower> = (0..1000).map(|n| follower(&format!("c{n:04}"), None, None)).collect();
        let paths: Vec<(String, Option<i64>)> = (0..100).map(|n| (format!("kv/p{n}"), Some(1))).collect();
        let paths: Vec<(&str, Option<i64>)> = paths.iter().map(|(path, version)| (path.as_str(), *version)).collect();
        let status = counted(&pushed(&paths), Some(&[]), |_| Some(many.clone()), NOW).unwrap();
        let named: usize = status.paths.iter().map(|path| path.consumers.as_ref().unwrap().lagging.len()).sum();
        assert_eq!(named, MAX_LAGGING_IN_ALL);
        assert!(serde_json::to_string(&status).unwrap().len() < 50_000);
        assert!(propagated(&status).2.ends_with("; and 997 more (see status.paths)"));
    }

    #[test]
    fn what_was_counted_is_not_said_of_a_new_version() {
        let mut never = pushed(&[("kv/p", Some(8))]);
        recount(&mut never, false, NOW);
        assert_eq!(never.conditions, []);
        let mut status = counted(&never, None, |_| Some(Vec::new()), NOW).unwrap();
        recount(&mut status, false, NOW);
        assert_eq!(propagated(&status).0, ConditionStatus::True, "it was counted");
        status.paths[0] = PushedPath { version: Some(9), consumers: None, ..status.paths[0].clone() };
        recount(&mut status, false, NOW);
        assert_eq!(propagated(&status).0, ConditionStatus::Unknown);
        let mut elsewhere = counted(&never, None, |_| Some(Vec::new()), NOW).unwrap();
        recount(&mut elsewhere, true, NOW);
        assert_eq!(propagated(&elsewhere).0, ConditionStatus::Unknown);
    }

    /// Whatever the condition says, it says of all paths.
    #[test]
    fn a_path_that_the_status_has_no_room_for_is_counted_and_nothing_is_said_until_it_is_known() {
        let paths: Vec<String> = (0..MAX_PATHS).map(|n| format!("kv/p{n}")).collect();
        let paths: Vec<(&str, Option<i64>)> = paths.iter().map(|path| (path.as_str(), Some(1))).collect();
        let (full, beyond) = (pushed(&paths), pushed(&[("kv/q", Some(2)), ("kv/refused", None)]).paths);
        let at = |has| {
            move |path: &PushedPath| Some(Vec::from_iter((path.path == "kv/q").then(|| follower("late", has, None))))
        };
        assert_eq!(counted(&full, None, at(Some(1)), NOW), None);
        let late = counted(&full, Some(&beyond), at(Some(1)), NOW).unwrap();
        let (word, reason, message) = propagated(&late);
        assert_eq!((word, reason.as_str()), (ConditionStatus::False, "ConsumersLag"));
        assert!(message.contains("team/late lacks kv/q version 2"), "{message}");
        assert_eq!(late.paths.len(), MAX_PATHS);
        let current = propagated(&counted(&full, Some(&beyond), at(Some(2)), NOW).unwrap());
        assert_eq!((current.0, current.1.as_str()), (ConditionStatus::True, "ConsumersCurrent"));
        assert_eq!(current.2, "kv/p0 version 1 and 100 more paths is in its one consumer's target");
        assert_eq!(counted(&pushed(&[]), Some(&beyond), at(Some(1)), NOW).unwrap().conditions, []);
        let unknown = |path: &PushedPath| (path.path != "kv/q").then(Vec::new);
        assert_eq!(counted(&full, Some(&beyond), unknown, NOW), None);
    }
}
