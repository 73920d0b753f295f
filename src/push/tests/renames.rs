//! A PushSecret that is deleted, or no longer maps a property, leaves it to one that waits for it.
//! The value is there at every request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::bench::{Bench, TEMPORAL, at, both, expect, mapping, spec};
use crate::api::PushSecret;
use crate::api::condition::{self, ConditionStatus};
use crate::api::names::{ANNOTATION_ABANDON, FINALIZER_PUSH_SECRET};
use crate::api::push_secret::PushSecretStatus;
use crate::cluster::events::Tone;
use crate::cluster::in_memory::Fault;
use crate::controller::publish;
use crate::controller::report::{Report, Requeue};
use crate::domain::claim;
use crate::domain::object_name::Name;
use crate::metrics::LetGo;
use crate::push::offers::Offers;
use crate::store::StoreError;
use crate::store::fake::{self, Counting};

const REDIS: &str = "platform-data/redis/temporal";

pub(super) fn url(name: &str) -> String {
    format!("/namespaces/db/pushsecrets/{name}")
}

fn policy(of: &str) -> Value {
    let mut spec = both();
    spec["deletionPolicy"] = json!(of);
    spec
}

fn counting(counting: Counting) -> Bench {
    let mut bench = Bench::new();
    bench.store = bench.store.with_counting(counting);
    bench.stores.clients.insert("vault", bench.store.clone());
    bench
}

impl Bench {
    /// Creates or edits a PushSecret of this name.
    pub(super) fn apply(&self, name: &str, spec: Value) {
        let found = self.get(name).map(|push| json!(push));
        let mut push = found.unwrap_or_else(|| {
            json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
                "metadata": { "name": name, "namespace": "db", "uid": format!("uid-{name}"), "generation": 0 } })
        });
        push["metadata"]["generation"] = json!(push["metadata"]["generation"].as_i64().unwrap() + 1);
        push["spec"] = spec;
        self.server.put(&url(name), push);
    }

    pub(super) fn get(&self, name: &str) -> Option<PushSecret> {
        self.server.push_secret(&url(name))
    }

    /// Asks for the deletion of what has a finalizer, and removes what has none.
    pub(super) fn drop(&self, name: &str) {
        let mut push = json!(self.get(name).unwrap());
        if push["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            self.server.remove(&url(name));
            return self.offers.forget(&Name::new("db", name));
        }
        push["metadata"]["deletionTimestamp"] = json!(Timestamp::now());
        self.server.put(&url(name), push);
    }

    /// One reconcile, after which the watch shows what is gone.
    pub(super) async fn one(&self, name: &str) -> Report<PushSecretStatus> {
        let report = self.turn_with(self.get(name).expect("the PushSecret is there")).await;
        if self.get(name).is_none() {
            self.offers.forget(&Name::new("db", name));
        }
        report
    }

    /// Everybody who is woken is reconciled, until nobody is.
    pub(super) async fn settle(&self) {
        for _ in 0..30 {
            let woken: Vec<Name> = std::mem::take(&mut *self.woken.lock());
            if woken.is_empty() {
                return;
            }
            for name in woken {
                if self.get(&name.name).is_some() {
                    self.one(&name.name).await;
                }
            }
        }
        panic!("they wake each other for ever");
    }

    pub(super) fn says(&self, name: &str) -> (bool, String, String) {
        let status = self.get(name).unwrap().status.unwrap_or_default();
        let ready = condition::find(&status.conditions, condition::READY).unwrap();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (ready.status == ConditionStatus::True, text(&ready.reason), text(&ready.message))
    }

    pub(super) fn lists(&self, name: &str) -> Vec<String> {
        let status = self.get(name).unwrap().status.unwrap_or_default();
        status.synced_push_secrets.values().flat_map(|lines| lines.keys().cloned()).collect()
    }

    pub(super) fn owner(&self, path: &str, property: &str) -> Option<String> {
        claim::owner(&self.store.peek(&at(path)).custom_metadata, property).map(|owner| owner.name)
    }

    /// `old` has pushed, and `new` waits for it by another login, `second`.
    pub(super) async fn awaited_by_another_login(&mut self) {
        self.stores.clients.insert("second", self.store.with_identity("second"));
        let mut next = both();
        next["secretStoreRefs"][0]["name"] = json!("second");
        self.apply("old", both());
        self.one("old").await;
        self.apply("new", next);
    }

    /// The requests of that login fail as long as the answer says so.
    pub(super) async fn awaited_through_a_store_that_is_down(&mut self) -> Arc<AtomicBool> {
        self.awaited_by_another_login().await;
        let is_down = Arc::new(AtomicBool::new(true));
        let down = is_down.clone();
        self.store.before_each(move |_, request| {
            let sealed = StoreError::Sealed { server: "fake".into() };
            (down.load(Ordering::Relaxed) && &*request.identity.0 == "second").then_some(fake::Fault::Refuse(sealed))
        });
        is_down
    }

    /// From now on `username` and `password` must have a value, a claim and a line at each request.
    pub(super) fn guard(&self) -> Arc<AtomicBool> {
        let (server, holds) = (self.server.clone(), Arc::new(AtomicBool::new(true)));
        let seen = holds.clone();
        self.store.after_each(move |store, _| {
            let entry = store.peek(&at(TEMPORAL));
            let stands = |property: &str| {
                let lists = |name: &str| {
                    let status = server.push_secret(&url(name)).and_then(|push| push.status).unwrap_or_default();
                    let lines = status.synced_push_secrets.into_values().flatten();
                    lines.into_iter().any(|(_, line)| line.match_.remote_ref.property.as_deref() == Some(property))
                };
                let owner = claim::owner(&entry.custom_metadata, property);
                entry.data().is_some_and(|data| data.contains_key(property)) && owner.is_some_and(|by| lists(&by.name))
            };
            if !stands("username") || !stands("password") {
                seen.store(false, Ordering::Relaxed);
            }
        });
        holds
    }

    /// The next reconcile of `from` hands everything over to `to`, and each value stays meanwhile.
    pub(super) async fn hands_over(&self, from: &str, to: &str) {
        let holds = self.guard();
        self.one(from).await;
        self.settle().await;
        self.is_handed_over(from, to);
        assert!(holds.load(Ordering::Relaxed));
    }

    pub(super) fn is_handed_over(&self, from: &str, to: &str) {
        assert!(self.get(from).is_none(), "{:?}", self.says(from));
        assert!(self.says(to).0, "{:?}", self.says(to));
        assert_eq!(self.lists(to), [format!("{TEMPORAL}/password"), format!("{TEMPORAL}/username")]);
        for property in ["username", "password"] {
            assert_eq!(self.owner(TEMPORAL, property).as_deref(), Some(to), "{property}");
        }
        let entry = self.store.peek(&at(TEMPORAL));
        assert!(!entry.custom_metadata.keys().any(|key| key.contains("intent")), "{:?}", entry.custom_metadata);
        assert_eq!(self.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
    }
}

/// One that has pushed, and one of another name with the same mappings that was refused for it.
pub(super) async fn two(bench: &Bench) {
    bench.apply("old", both());
    bench.one("old").await;
    bench.apply("new", both());
    bench.one("new").await;
    assert_eq!(bench.says("new").1, "PathConflict");
    assert!(bench.lists("new").is_empty() && bench.woken.lock().is_empty());
}

#[tokio::test]
async fn a_renamed_push_secret_leaves_its_properties_to_its_successor() {
    for counted in [Counting::Offered, Counting::Refused] {
        for is_known in [true, false] {
            let bench = counting(counted);
            two(&bench).await;
            if !is_known {
                // As after a restart, or where nobody has looked at the new one yet.
                bench.server.remove(&url("new"));
                bench.apply("new", both());
            }
            let holds = bench.guard();
            bench.drop("old");
            let report = bench.one("old").await;
            let Report::Verdict { verdict, requeue: Requeue::After(_), .. } = report else { panic!("{report:?}") };
            assert_eq!(publish::tone(&verdict), Tone::Normal, "nobody has to look at it");
            let (_, reason, message) = bench.says("old");
            assert_eq!(reason, "HandingOver");
            assert!(message.contains("is offered to db/new, and is removed if nobody takes it over"), "{message}");
            bench.settle().await;
            bench.is_handed_over("old", "new");
            assert_eq!(bench.get("new").unwrap().metadata.finalizers.unwrap(), [FINALIZER_PUSH_SECRET]);
            assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1, "no version is written");
            assert!(holds.load(Ordering::Relaxed));
        }
    }
}

#[tokio::test]
async fn the_successors_own_value_follows_in_one_version() {
    let bench = Bench::new();
    two(&bench).await;
    let other = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "other", "uid": "o" },
        "data": { "user": "dTI=", "pass": "cDI=" } });
    bench.server.put("/namespaces/db/secrets/other", other);
    let mut next = both();
    next["selector"]["secret"]["name"] = json!("other");
    bench.apply("new", next);
    let holds = bench.guard();
    bench.drop("old");
    bench.one("old").await;
    bench.settle().await;
    assert!(bench.get("old").is_none() && holds.load(Ordering::Relaxed));
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u2"), ("password", "p2")]));
    assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 2);
}

/// Others that have nothing to do with it, or cannot take it, cost one reconcile each and keep nothing.
#[tokio::test]
async fn who_does_not_take_it_over_delays_the_removal_by_one_reconcile() {
    let elsewhere = spec(&[mapping("pass", REDIS, "password")]);
    let mut sourceless = both();
    sourceless["selector"]["secret"]["name"] = json!("nowhere");
    let mut misspelled = both();
    misspelled["refreshInterval"] = json!("1d");
    let placeholder = spec(&[mapping("pass", "platform-data/postgres/{{ .metadata.name }}", "password")]);
    for other in [elsewhere, sourceless, misspelled, placeholder] {
        let bench = Bench::new();
        bench.apply("old", both());
        bench.one("old").await;
        bench.apply("other", other.clone());
        bench.drop("old");
        bench.one("old").await;
        bench.settle().await;
        assert!(bench.get("old").is_none(), "{other}: {:?}", bench.says("old"));
        assert!(bench.texts(TEMPORAL).is_empty(), "{other}");
    }
}

#[tokio::test]
async fn a_waiter_that_goes_or_changes_its_mind_is_waited_for_no_longer() {
    for edited in [true, false] {
        let bench = Bench::new();
        two(&bench).await;
        bench.drop("old");
        bench.one("old").await;
        bench.woken.lock().clear();
        match edited {
            true => {
                bench.apply("new", spec(&[mapping("pass", REDIS, "password")]));
                bench.one("new").await;
            }
            false => bench.drop("new"),
        }
        bench.settle().await;
        assert!(bench.get("old").is_none() && bench.texts(TEMPORAL).is_empty(), "edited: {edited}");
    }
}

/// Its store fails just then: what it is to get waits for it, and a person can end that.
#[tokio::test]
async fn a_waiter_whose_store_fails_is_waited_for() {
    for abandoned in [true, false] {
        let mut bench = Bench::new();
        let is_down = bench.awaited_through_a_store_that_is_down().await;
        bench.drop("old");
        for said in
            [("HandingOver", Tone::Normal), ("CleanupPending", Tone::Warning), ("CleanupPending", Tone::Warning)]
        {
            let report = bench.one("old").await;
            bench.settle().await;
            let Report::Verdict { verdict, .. } = report else { panic!("{report:?}") };
            assert_eq!((bench.says("old").1.as_str(), publish::tone(&verdict)), said);
            assert_eq!(bench.texts(TEMPORAL).len(), 2);
            bench.pass(Duration::from_secs(60));
        }
        if abandoned {
            let mut push = json!(bench.get("old").unwrap());
            push["metadata"]["annotations"] = json!({ ANNOTATION_ABANDON: "true" });
            bench.server.put(&url("old"), push);
            let report = bench.one("old").await;
            assert!(matches!(report, Report::LetGo { why: LetGo::Abandoned, .. }), "{report:?}");
            assert_eq!(bench.one("old").await, Report::Gone);
        }
        is_down.store(false, Ordering::Relaxed);
        bench.one("new").await;
        bench.settle().await;
        bench.is_handed_over("old", "new");
    }
}

/// Another tenant's PushSecret that fails for ever holds nobody's deletion.
#[tokio::test]
async fn a_waiter_that_fails_for_ever_is_waited_for_until_the_deadline() {
    let mut bench = Bench::new();
    bench.awaited_through_a_store_that_is_down().await;
    bench.drop("old");
    bench.one("old").await;
    assert_eq!((bench.says("old").1.as_str(), bench.texts(TEMPORAL).len()), ("HandingOver", 2));
    bench.pass(Duration::from_secs(600));
    bench.one("old").await;
    assert!(bench.get("old").is_none() && bench.texts(TEMPORAL).is_empty());
}

#[tokio::test]
async fn what_is_no_longer_mapped_is_left_as_well() {
    let bench = Bench::new();
    two(&bench).await;
    let holds = bench.guard();
    bench.apply("old", spec(&[mapping("pass", REDIS, "password")]));
    bench.one("old").await;
    assert!(bench.says("old").0 && bench.says("old").2.contains("is offered to db/new"), "{:?}", bench.says("old"));
    bench.settle().await;
    assert!(bench.says("new").0 && bench.says("old").0 && holds.load(Ordering::Relaxed));
    assert_eq!(bench.lists("old"), [format!("{REDIS}/password")]);
    let said = bench.says("old").2;
    assert!(said.contains("belongs to PushSecret db/new now"), "{said}");
    assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1);
}

/// Each writes what the other gives up only once it has everything itself.
#[tokio::test]
async fn two_that_swap_their_paths_do_not_wait_for_each_other_for_ever() {
    let bench = Bench::new();
    let on = |path| spec(&[mapping("user", path, "username"), mapping("pass", path, "password")]);
    bench.apply("one", on(TEMPORAL));
    bench.apply("two", on(REDIS));
    bench.one("one").await;
    bench.one("two").await;
    let holds = bench.guard();
    bench.apply("one", on(REDIS));
    bench.apply("two", on(TEMPORAL));
    bench.one("one").await;
    bench.one("two").await;
    bench.settle().await;
    for (name, path) in [("one", REDIS), ("two", TEMPORAL)] {
        assert!(bench.says(name).0, "{:?}", bench.says(name));
        assert_eq!(bench.owner(path, "password").as_deref(), Some(name));
        assert_eq!(bench.lists(name), [format!("{path}/password"), format!("{path}/username")]);
        assert_eq!(bench.store.peek(&at(path)).cas(), 1);
    }
    assert!(holds.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_chain_of_names_passes_it_on() {
    for counted in [Counting::Offered, Counting::Refused] {
        let bench = counting(counted);
        let names = ["a", "b", "c", "d"];
        for name in names {
            bench.apply(name, both());
            bench.one(name).await;
        }
        let holds = bench.guard();
        for name in &names[..3] {
            bench.drop(name);
        }
        // Nobody is to go before the last one has it, in whichever order they are looked at.
        for name in ["b", "a", "c"] {
            if bench.get(name).is_some() {
                bench.one(name).await;
            }
        }
        bench.settle().await;
        assert!(names[..3].iter().all(|name| bench.get(name).is_none()));
        assert!(bench.says("d").0 && holds.load(Ordering::Relaxed));
        assert_eq!((bench.lists("d").len(), bench.store.peek(&at(TEMPORAL)).cas()), (2, 1));
    }
}

/// Only one of those who are asked has it.
#[tokio::test]
async fn of_two_that_wait_one_takes_all_and_the_other_goes_on_waiting() {
    let bench = Bench::new();
    two(&bench).await;
    bench.apply("third", both());
    bench.one("third").await;
    let holds = bench.guard();
    bench.drop("old");
    bench.one("old").await;
    bench.settle().await;
    assert!(bench.get("old").is_none() && holds.load(Ordering::Relaxed));
    let ready: Vec<&str> = ["new", "third"].into_iter().filter(|name| bench.says(name).0).collect();
    assert_eq!(ready.len(), 1);
    let owner = bench.owner(TEMPORAL, "username");
    assert!(owner == bench.owner(TEMPORAL, "password") && owner.as_deref() == Some(ready[0]));
}

/// Both read the offer before either takes it.
#[tokio::test]
async fn two_that_take_at_once_do_not_take_from_each_other() {
    for counted in [Counting::Offered, Counting::Refused] {
        let bench = counting(counted);
        two(&bench).await;
        bench.apply("third", both());
        bench.one("third").await;
        bench.drop("old");
        bench.one("old").await;
        bench.woken.lock().clear();
        let holds = bench.guard();
        bench.store.yield_at_each_request();
        bench.server.yield_at_each_request();
        let owner = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let seen = owner.clone();
        bench.store.before_each(move |store, _| {
            let owner = claim::owner(&store.peek(&at(TEMPORAL)).custom_metadata, "username").unwrap().name;
            let mut seen = seen.lock();
            if seen.last() != Some(&owner) {
                seen.push(owner);
            }
            None
        });
        tokio::join!(bench.one("new"), bench.one("third"));
        bench.settle().await;
        assert!(bench.get("old").is_none() && holds.load(Ordering::Relaxed));
        assert_eq!(owner.lock().len(), 2);
        assert_ne!(bench.says("new").0, bench.says("third").0);
    }
}

#[tokio::test]
async fn what_is_left_as_it_was_by_its_own_namespace_is_taken_over_and_no_other() {
    let mut keep = both();
    keep["updatePolicy"] = json!("IfNotExists");
    let bench = Bench::new();
    bench.apply("old", keep.clone());
    bench.one("old").await;
    bench.apply("new", keep.clone());
    bench.one("new").await;
    assert!(bench.says("new").0 && bench.lists("new").is_empty());
    bench.drop("old");
    bench.hands_over("old", "new").await;

    // A value of another namespace is not kept alive by who would never write it.
    let foreign = json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": keep,
        "metadata": { "name": "theirs", "namespace": "other", "uid": "uid-theirs", "generation": 1 } });
    let theirs = "/namespaces/other/pushsecrets/theirs";
    bench.server.put(theirs, foreign);
    bench.server.put("/namespaces/other/secrets/source", json!(bench_source()));
    bench.drop("new");
    bench.one("new").await;
    for _ in 0..3 {
        bench.turn_with(bench.server.push_secret(theirs).unwrap()).await;
        if bench.get("new").is_some() {
            bench.one("new").await;
        }
    }
    assert!(bench.get("new").is_none());
    assert_ne!(bench.owner(TEMPORAL, "username").as_deref(), Some("new"));
    assert!(bench.store.peek(&at(TEMPORAL)).cas() > 1, "what was left was removed before theirs was written");
}

fn bench_source() -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "source", "uid": "s2" },
        "data": { "user": "dTI=", "pass": "cDI=" } })
}

/// Without a finalizer it is gone at once, with its claims where they were: whoever waits is woken
/// and takes them.
#[tokio::test]
async fn one_that_leaves_everything_behind_wakes_who_waits() {
    let bench = Bench::new();
    bench.apply("old", policy("None"));
    bench.one("old").await;
    bench.apply("new", policy("None"));
    bench.one("new").await;
    assert_eq!(bench.says("new").1, "PathConflict");
    bench.drop("old");
    bench.settle().await;
    bench.is_handed_over("old", "new");
    assert_eq!(bench.get("new").unwrap().metadata.finalizers, None);
    // One that deletes leaves it to one that does not as well.
    bench.apply("new", policy("Delete"));
    bench.one("new").await;
    bench.apply("next", policy("None"));
    bench.one("next").await;
    bench.drop("new");
    bench.hands_over("new", "next").await;
}

/// Somebody of another cluster wants it too: it is no PushSecret of ours, and gets nothing by our hand.
#[tokio::test]
async fn another_clusters_intent_is_no_reason_to_wait() {
    let bench = Bench::new();
    bench.apply("old", both());
    bench.one("old").await;
    let mut metadata = bench.store.peek(&at(TEMPORAL)).custom_metadata;
    let theirs = crate::domain::claim::Owner {
        uid: "zzz".into(),
        cluster: "there".into(),
        namespace: "db".into(),
        name: "new".into(),
    };
    let intents = claim::intend(&BTreeMap::new(), ["password"], &theirs, &claim::Inquiry::default());
    metadata.extend(intents.into_iter().filter_map(|(key, value)| Some((key, value?))));
    bench.store.put_metadata(&at(TEMPORAL), metadata);
    bench.drop("old");
    assert_eq!(bench.one("old").await, Report::Gone);
    assert!(bench.texts(TEMPORAL).is_empty());
}

/// The PushSecret that the cache shows as going, or as mapping something no longer, was edited back.
#[tokio::test]
async fn nothing_is_left_to_others_on_the_word_of_a_cache() {
    let bench = Bench::new();
    two(&bench).await;
    bench.apply("old", spec(&[mapping("pass", REDIS, "password")]));
    let copy = bench.get("old").unwrap();
    bench.apply("old", both());
    bench.turn_with(copy).await;
    bench.one("new").await;
    bench.settle().await;
    assert_eq!(bench.owner(TEMPORAL, "username").as_deref(), Some("old"));
    bench.one("old").await;
    assert!(bench.says("old").0, "{:?}", bench.says("old"));
}

/// A controller stops at request `k`, of either server and on either side of it, and the restart
/// forgets all offers. The next reconciles end where undisturbed ones would, and the value is there
/// all the time.
#[tokio::test]
async fn a_stop_at_any_request_of_a_rename_is_repaired_and_the_value_stands() {
    use Counting::{Offered, Refused};
    use Fault::{LoseReply, Refuse};
    for (counted, fault) in [(Offered, Refuse), (Offered, LoseReply), (Refused, Refuse), (Refused, LoseReply)] {
        for stop in 0..45 {
            let mut bench = counting(counted);
            two(&bench).await;
            let holds = bench.guard();
            bench.fail_at(stop, fault);
            bench.drop("old");
            bench.one("old").await;
            bench.settle().await;
            // Whatever failed is tried again, by a process that remembers nothing.
            let (woken, server) = (bench.woken.clone(), bench.server.clone());
            bench.offers = Offers::new(Box::new(server), Box::new(move |name| woken.lock().push(name)));
            for _ in 0..6 {
                for name in ["old", "new"] {
                    if bench.get(name).is_some() {
                        bench.one(name).await;
                        bench.settle().await;
                    }
                }
                if bench.get("old").is_none() && bench.says("new").0 {
                    break;
                }
            }
            assert!(holds.load(Ordering::Relaxed), "stopped at {stop}, {fault:?}");
            bench.is_handed_over("old", "new");
            assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1, "stopped at {stop}");
        }
    }
}

/// While one takes it over, its owner waits, and neither takes the other by surprise.
#[tokio::test]
async fn an_owner_that_comes_back_waits_for_who_has_its_property_in_hand() {
    let bench = Arc::new(Bench::new());
    bench.store.yield_at_each_request();
    bench.server.yield_at_each_request();
    two(&bench).await;
    bench.apply("old", spec(&[mapping("pass", REDIS, "password")]));
    bench.one("old").await;
    // It wants everything back, just while the other takes it.
    bench.apply("old", both());
    tokio::join!(bench.one("new"), bench.one("old"));
    bench.settle().await;
    for _ in 0..2 {
        bench.one("old").await;
        bench.one("new").await;
        bench.settle().await;
    }
    let ready: Vec<&str> = ["old", "new"].into_iter().filter(|name| bench.says(name).0).collect();
    assert_eq!(ready.len(), 1, "{:?} {:?}", bench.says("old"), bench.says("new"));
    for property in ["username", "password"] {
        assert_eq!(bench.owner(TEMPORAL, property).as_deref(), Some(ready[0]));
    }
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
}
