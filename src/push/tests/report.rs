//! What a report makes of results: which lines stay, when it looks again, and how much it says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::PushSecretStatus;
use crate::api::condition::{self, Condition, ConditionStatus, PROPAGATED, Reason};
use crate::api::path_status::{Consumers, MAX_PATHS};
use crate::api::push_secret::{PushMatch, PushRemoteRef, PushSecretData};
use crate::api::selector::StoreKind;
use crate::controller::report::{Requeue, Verdict};
use crate::domain::path::RemotePath;
use crate::push::apply::{Outcome, Removal, Results};
use crate::push::entry::{Applied, ApplyError, Wrote};
use crate::push::former::Fates;
use crate::push::ledger::{EntryRef, Ledger, Line, StoreKey, key_of};
use crate::push::observe::NoStore;
use crate::push::plan::{Job, Plan, Problem};
use crate::push::refusal::{Left, Refusal};
use crate::push::report::{Done, Said, Setting, published, withdrawn};
use crate::push::step::Settled;
use crate::store::{StoreError, StoreRefusal};

const DAY: Duration = Duration::from_secs(86_400);

fn spot(path: &str) -> EntryRef {
    let store = StoreKey::new(StoreKind::ClusterSecretStore, "vault");
    EntryRef { store, path: RemotePath::parse(Some("secret"), path).unwrap() }
}

fn lines(path: &str, properties: &[&str]) -> BTreeMap<String, Line> {
    let line = |property: &&str| {
        let remote_ref = PushRemoteRef { remote_key: path.into(), property: Some((*property).into()) };
        let match_ = PushMatch { secret_key: Some("k".into()), remote_ref };
        let data = PushSecretData { match_, ..PushSecretData::default() };
        ((*property).to_owned(), Line { key: key_of(&data), data })
    };
    properties.iter().map(line).collect()
}

fn names(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

fn owned(properties: &[&str]) -> Applied {
    let settled = Settled { version: Some(1), owned: names(properties), ..Settled::default() };
    Applied { settled, wrote: Wrote::Nothing }
}

/// A path that sets some properties and removes others.
fn job(path: &str, set: &[&str], remove: &[&str]) -> Job {
    let mut job = Job { lines: lines(path, set), ..Job::default() };
    job.goal.remove = names(remove);
    job
}

fn setting(now: Timestamp) -> Setting<'static> {
    Setting {
        generation: 1,
        synced_version: "1-x".into(),
        now,
        heartbeat: Duration::from_secs(3600),
        refresh: Some(DAY),
        warnings: &[],
        deleted_for: None,
        removes: true,
    }
}

fn say(before: &PushSecretStatus, ledger: &Ledger, plan: &Plan, results: &Results, now: Timestamp) -> Said {
    let wanted = BTreeSet::from([spot("a").store]);
    let absent = BTreeMap::new();
    let fates = Fates::default();
    let (wanted, fates) = (&wanted, &fates);
    let done = Done { plan, results, absent: &absent, wanted, unmatched: &[], astray: &[], fates };
    published(before, ledger, &done, &setting(now))
}

/// The report on one path whose ledger lists `a`, which is wanted, and `b`, which is not.
fn one(result: Result<Applied, Problem>, removal: Removal) -> Said {
    let mut ledger = Ledger::default();
    ledger.pushed.insert(spot("p"), lines("p", &["a", "b"]));
    let plan = Plan::from([(spot("p"), job("p", &["a"], &["b"]))]);
    let results = Results::from([(spot("p"), Outcome::new(result, removal))]);
    say(&PushSecretStatus::default(), &ledger, &plan, &results, Timestamp::UNIX_EPOCH)
}

fn listed(said: &Said) -> Vec<&str> {
    said.status.synced_push_secrets.values().flat_map(|lines| lines.keys().map(String::as_str)).collect()
}

fn failed(error: StoreError) -> Problem {
    Problem::Apply(ApplyError::Store(error))
}

#[test]
fn a_line_stays_unless_the_store_was_seen_without_what_it_lists() {
    let refused = |taken: &[&str]| {
        let refusal = Refusal::MetadataReplaced { version: None };
        Problem::Apply(ApplyError::Refused { refusal, taken: names(taken) })
    };
    let sealed = failed(StoreError::Sealed { server: "vault".into() });
    let taken = Settled { taken: names(&["a"]), kept: names(&["a"]), ..Settled::default() };
    for (result, removal, stays) in [
        (Ok(owned(&["a"])), Removal::Done, vec!["p/a"]),
        (Ok(owned(&["a"])), Removal::Postponed, vec!["p/a", "p/b"]),
        // It is there, and nobody claims it: it may be ours.
        (Ok(owned(&[])), Removal::Done, vec!["p/a"]),
        (Ok(Applied { settled: taken, wrote: Wrote::Nothing }), Removal::Done, vec![]),
        (Err(sealed), Removal::Postponed, vec!["p/a", "p/b"]),
        (Err(refused(&[])), Removal::Postponed, vec!["p/a", "p/b"]),
        (Err(refused(&["a"])), Removal::Postponed, vec!["p/b"]),
    ] {
        let case = format!("{result:?} {removal:?}");
        assert_eq!(listed(&one(result, removal)), stays, "{case}");
    }
}

#[test]
fn a_line_under_a_former_name_stays_until_the_new_one_owns_its_property() {
    let mut ledger = Ledger::default();
    ledger.pushed.insert(spot("old"), lines("old", &["a"]));
    let mut moving = Job::default();
    moving.moved.insert("a".into(), spot("new"));
    let plan = Plan::from([(spot("old"), moving), (spot("new"), job("new", &["a"], &[]))]);
    for (result, stays) in [
        (Ok(owned(&["a"])), vec!["new/a"]),
        (Err(failed(StoreError::Sealed { server: "vault".into() })), vec!["old/a"]),
    ] {
        let idle = Outcome::new(Ok(Applied::default()), Removal::Done);
        let results = Results::from([(spot("old"), idle), (spot("new"), Outcome::new(result, Removal::Done))]);
        let said = say(&PushSecretStatus::default(), &ledger, &plan, &results, Timestamp::UNIX_EPOCH);
        assert_eq!(listed(&said), stays);
    }
}

#[test]
fn what_is_left_is_said_once_the_removal_was_tried_and_only_of_what_was_listed() {
    let left = BTreeMap::from([("b".to_owned(), Left::Unmarked), ("never-listed".to_owned(), Left::Unmarked)]);
    let settled = Settled { left, ..owned(&["a"]).settled };
    let applied = Applied { settled, wrote: Wrote::Nothing };
    let said = one(Ok(applied.clone()), Removal::Done);
    assert_eq!((said.left.len(), listed(&said)), (1, vec!["p/a"]));
    assert!(said.left[0].contains("\"b\"") && said.verdict.message.contains("left in place"), "{:?}", said.left);
    assert!(one(Ok(applied), Removal::Postponed).left.is_empty());
}

#[test]
fn it_looks_again_as_soon_as_what_is_wrong_may_pass() {
    let requeue = |problem: Problem| one(Err(problem), Removal::Postponed).requeue;
    assert_eq!(requeue(failed(StoreError::Sealed { server: "vault".into() })), Requeue::BackOff);
    assert_eq!(requeue(failed(StoreError::RateLimited { server: "vault".into() })), Requeue::Throttled);
    let forbidden = StoreError::Forbidden { operation: "write", path: "secret/p".into() };
    assert_eq!(requeue(failed(forbidden)), Requeue::After(Duration::from_secs(60)));
    let large = Problem::Apply(ApplyError::Refused { refusal: Refusal::TooLarge { bytes: 1 }, taken: names(&[]) });
    assert_eq!(requeue(large), Requeue::After(DAY));
    assert_eq!(one(Ok(owned(&["a"])), Removal::Done).requeue, Requeue::After(DAY));
}

#[test]
fn a_store_that_is_left_and_down_is_an_unfinished_result_only_if_something_is_to_be_removed_there() {
    let left = StoreKey::new(StoreKind::ClusterSecretStore, "left");
    let down = StoreError::Sealed { server: "left".into() };
    let absent = BTreeMap::from([(left, NoStore::Refused(StoreRefusal::Failed(down)))]);
    let (plan, results, wanted, fates) = (Plan::new(), Results::new(), BTreeSet::new(), Fates::default());
    let (plan, results, absent, wanted, fates) = (&plan, &results, &absent, &wanted, &fates);
    let done = Done { plan, results, absent, wanted, unmatched: &[], astray: &[], fates };
    for removes in [true, false] {
        let setting = Setting { removes, ..setting(Timestamp::UNIX_EPOCH) };
        let said = published(&PushSecretStatus::default(), &Ledger::default(), &done, &setting);
        assert_eq!(said.verdict.ready, !removes);
        assert!(said.verdict.message.contains("earlier is still there"), "{}", said.verdict.message);
    }
}

#[test]
fn however_many_paths_there_are_the_status_stays_small() {
    let path = |number: usize| format!("p{number:03}");
    let (mut plan, mut results) = (Plan::new(), Results::new());
    for number in 0..150 {
        plan.insert(spot(&path(number)), job(&path(number), &["a"], &[]));
        let result = Err(failed(StoreError::Rejected { operation: "write", path: path(number), status: 400 }));
        results.insert(spot(&path(number)), Outcome::new(result, Removal::Done));
    }
    let said = say(&PushSecretStatus::default(), &Ledger::default(), &plan, &results, Timestamp::UNIX_EPOCH);
    assert_eq!((said.status.paths.len(), said.verdict.reason), (MAX_PATHS, Reason::Errored));
    assert!(said.verdict.message.ends_with("; and 142 more (see status.paths)"), "{}", said.verdict.message);
}

/// The first ones are in the status. What is said of the others is said all the same.
#[test]
fn what_the_status_has_no_room_for_is_told_apart_and_its_news_takes_the_count_back() {
    let names: Vec<String> = (0..150).map(|number| format!("p{number:03}")).collect();
    let plan: Plan = names.iter().map(|name| (spot(name), job(name, &["a"], &[]))).collect();
    let now = Timestamp::UNIX_EPOCH + DAY;
    let say = |before: &PushSecretStatus, last: Applied| {
        let outcome = |applied| Outcome::new(Ok(applied), Removal::Done);
        let mut results: Results = names.iter().map(|name| (spot(name), outcome(owned(&["a"])))).collect();
        results.insert(spot("p149"), outcome(last));
        say(before, &Ledger::default(), &plan, &results, now)
    };
    let mut said = say(&PushSecretStatus::default(), owned(&["a"]));
    let last = said.beyond.last().unwrap();
    assert_eq!((said.status.paths.len(), said.beyond.len(), last.path.as_str()), (MAX_PATHS, 50, "secret/p149"));
    assert!(said.verdict.message.ends_with(" and 149 more"), "{}", said.verdict.message);

    let counted = Condition::new(PROPAGATED, ConditionStatus::True, Reason::ConsumersCurrent, "counted", None);
    condition::upsert(&mut said.status.conditions, counted, Time(Timestamp::UNIX_EPOCH));
    said.status.paths.iter_mut().for_each(|path| path.consumers = Some(Consumers::default()));
    let fresh = said.status.clone();
    let all = said.status.paths.iter().cloned().chain(said.beyond);
    let known = PushSecretStatus { paths: all.collect(), ..said.status };
    let wrote = Applied { wrote: Wrote::Version, ..owned(&["a"]) };
    let another = Applied { settled: Settled { version: Some(2), ..owned(&["a"]).settled }, wrote: Wrote::Nothing };
    for (before, last, word) in [
        (&known, owned(&["a"]), ConditionStatus::True),
        (&known, another.clone(), ConditionStatus::Unknown),
        (&known, wrote.clone(), ConditionStatus::Unknown),
        // After a restart, what the others were is not known.
        (&fresh, owned(&["a"]), ConditionStatus::True),
        (&fresh, wrote, ConditionStatus::Unknown),
    ] {
        let said = say(before, last);
        assert_eq!(condition::find(&said.status.conditions, PROPAGATED).unwrap().status, word);
        assert_eq!((said.status.paths.len(), said.beyond.len()), (MAX_PATHS, 50));
    }
    assert_eq!(say(&known, another).beyond[49].version, Some(2));
}

#[test]
fn the_refresh_time_moves_with_a_version_with_the_heartbeat_and_when_the_clock_went_back() {
    let (plan, ledger) = (Plan::from([(spot("p"), job("p", &["a"], &[]))]), Ledger::default());
    let last = Timestamp::UNIX_EPOCH + DAY;
    let before = PushSecretStatus { refresh_time: Some(Time(last)), ..PushSecretStatus::default() };
    let minute = Duration::from_secs(60);
    for (wrote, now, moves) in [
        (Wrote::Nothing, last + minute, false),
        (Wrote::Version, last + minute, true),
        (Wrote::Nothing, last + 60 * minute, true),
        (Wrote::Nothing, last - minute, true),
    ] {
        let outcome = Outcome::new(Ok(Applied { wrote, ..owned(&["a"]) }), Removal::Done);
        let said = say(&before, &ledger, &plan, &Results::from([(spot("p"), outcome)]), now);
        assert_eq!(said.status.refresh_time != Some(Time(last)), moves, "{wrote:?} {now}");
    }
}

#[test]
fn a_withdrawal_says_what_it_waits_for_and_how_not_to() {
    let mut ledger = Ledger::default();
    ledger.unreachable.insert(spot("p").store, lines("p", &["a"]).into_values().collect());
    let (wanted, absent) = (BTreeSet::new(), BTreeMap::new());
    let (plan, results) = (Plan::new(), Results::new());
    let fates = Fates::default();
    let (plan, wanted, fates) = (&plan, &wanted, &fates);
    let done = Done { plan, results: &results, absent: &absent, wanted, unmatched: &[], astray: &[], fates };
    let gone = || Verdict { ready: false, reason: Reason::SourceDeleted, message: "gone".into() };
    let setting = setting(Timestamp::UNIX_EPOCH);
    let said = withdrawn(&PushSecretStatus::default(), &ledger, &done, &setting, gone(), Some("annotate it"));
    assert_eq!((said.verdict.reason, listed(&said)), (Reason::CleanupPending, vec!["p/a"]));
    assert!(said.verdict.message.contains("p/a") && said.verdict.message.ends_with("; annotate it"));
    let said = withdrawn(&PushSecretStatus::default(), &Ledger::default(), &done, &setting, gone(), None);
    assert_eq!((said.verdict, said.requeue), (gone(), Requeue::AwaitChange));
}
