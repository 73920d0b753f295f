//! Several stores: none delays another, and those that labels select come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{SOURCE, missing, unusable};
use super::lifecycle::{Bench, TEMPORAL, at, expect, mapping, texts};
use crate::controller::report::Requeue;
use crate::domain::claim::{self, Owner};
use crate::domain::convention::{Convention, Mode};
use crate::store::fake::{FakeStore, Operation};
use crate::store::{StoreError, StoreName, StoreRefusal};

fn spec(stores: Value) -> Value {
    json!({
        "refreshInterval": "1h", "deletionPolicy": "Delete", "secretStoreRefs": stores,
        "selector": { "secret": { "name": "source" } },
        "data": [mapping("pass", TEMPORAL, "password")],
    })
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "name": name, "kind": "ClusterSecretStore" })).collect()
}

/// A second store, which is another server.
fn second(bench: &mut Bench) -> FakeStore {
    let second = FakeStore::on("second");
    bench.stores.clients.insert("second", second.clone());
    second
}

#[tokio::test]
async fn one_failing_store_delays_no_other_and_both_are_told() {
    let mut bench = Bench::new();
    let second = second(&mut bench);
    bench.store.fail_next(100, StoreError::Sealed { server: "fake".into() });
    bench.spec(1, spec(named(&["vault", "second"])));
    bench.turn().await;
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]));
    let (ready, _, message) = bench.ready();
    assert!(!ready && message.contains("in ClusterSecretStore/vault: fake is sealed"), "{message}");
    assert!(message.ends_with("all is in place in ClusterSecretStore/second"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn one_hanging_store_holds_no_other_up() {
    let mut bench = Bench::new();
    let second = second(&mut bench);
    bench.spec(1, spec(named(&["vault", "second"])));
    bench.store.hang();
    let began = tokio::time::Instant::now();
    bench.turn().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]));
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "StoreNotReady" && message.contains("ClusterSecretStore/vault"), "{reason} {message}");
}

/// It answers every request, in time for one request but too late for the patience with a store that
/// hangs: it is skipped once at most, and gets a rotation at once.
#[tokio::test(start_paused = true)]
async fn a_store_that_answers_late_is_written_beside_a_quick_one() {
    use Operation::{CreateEntry, PatchMetadata, Read, Write};
    for (seconds, turns) in [(2, 1), (4, 2), (14, 2)] {
        let mut bench = Bench::new();
        let late = second(&mut bench);
        for operation in [Read, CreateEntry, PatchMetadata, Write] {
            late.slow(operation, Duration::from_secs(seconds));
        }
        bench.spec(1, spec(named(&["vault", "second"])));
        for turn in 1..=turns {
            bench.turn().await;
            assert_eq!(bench.ready().0, turn == turns, "{seconds} s, turn {turn}: {:?}", bench.ready());
        }
        assert_eq!(texts(&late, TEMPORAL), expect(&[("password", "p")]));
        bench.source(&[("user", b"u"), ("pass", b"q")]);
        bench.turn().await;
        assert_eq!(texts(&late, TEMPORAL), expect(&[("password", "q")]), "{seconds} s");
        assert!(bench.ready().0, "{seconds} s: {:?}", bench.ready());
    }
}

/// Whatever the store that hangs answered before, the other gets each rotation at once, and the
/// object is soon free for the next, at least every other time.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_for_long_delays_every_other_reconcile_for_a_bounded_time() {
    let mut bench = Bench::new();
    let second = second(&mut bench);
    bench.spec(1, spec(named(&["vault", "second"])));
    bench.store.hang();
    let mut took = Vec::new();
    for value in ["1", "2", "3", "4"] {
        bench.source(&[("user", b"u"), ("pass", value.as_bytes())]);
        let began = tokio::time::Instant::now();
        bench.turn().await;
        took.push(began.elapsed());
        assert_eq!(texts(&second, TEMPORAL), expect(&[("password", value)]));
    }
    let is_quick: Vec<bool> = took.iter().map(|took| *took < Duration::from_secs(10)).collect();
    assert!(took.iter().all(|took| *took < Duration::from_secs(50)), "{took:?}");
    assert_eq!(is_quick, [true, false, true, false], "{took:?}");
    bench.store.recover();
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "4")]));
}

/// The one that hangs is given up three seconds after the one that answers late is done.
#[tokio::test(start_paused = true)]
async fn a_store_that_answers_late_brings_no_leeway_to_one_that_hangs() {
    let mut bench = Bench::new();
    let late = second(&mut bench);
    late.slow(Operation::Read, Duration::from_secs(4));
    bench.spec(1, spec(named(&["vault", "second"])));
    bench.turn().await;
    let third = FakeStore::on("third");
    third.hang();
    bench.stores.clients.insert("third", third);
    bench.spec(2, spec(named(&["vault", "second", "third"])));
    let began = tokio::time::Instant::now();
    bench.turn().await;
    assert_eq!(texts(&late, TEMPORAL), expect(&[("password", "p")]));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_malformed_selector_of_stores_is_told_and_removes_nothing() {
    let bench = Bench::new();
    bench.spec(1, spec(named(&["vault"])));
    bench.turn().await;
    let near = json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchExpressions": [{ "key": "store", "operator": "Near" }] } }]);
    bench.spec(2, spec(near));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "InvalidSpec", "{reason} {message}");
    assert!(message.contains("spec.secretStoreRefs[0].labelSelector"), "{message}");
    assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (expect(&[("password", "p")]), 1));
}

#[tokio::test]
async fn data_to_goes_to_the_stores_that_its_labels_select_and_to_no_other() {
    let mut bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
    let second = second(&mut bench);
    let to = |name: &str| {
        let mut spec = spec(named(&["vault", "second"]));
        spec["data"] = json!([]);
        let selector = json!({ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { "store": name } } });
        spec["dataTo"] = json!([{ "remoteKey": TEMPORAL, "storeRef": selector }]);
        spec
    };
    let all = expect(&[("user", "u"), ("pass", "p")]);
    bench.spec(1, to("second"));
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (expect(&[]), all.clone()));
    // A selector that means none of the stores says so, and takes nothing along.
    bench.spec(2, to("elsewhere"));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "StoreNotFound" && message.contains("spec.dataTo[0].storeRef"), "{reason} {message}");
    assert_eq!(texts(&second, TEMPORAL), all);
    bench.spec(3, to("vault"));
    bench.turn().await;
    assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (all, expect(&[])));
}

#[tokio::test]
async fn stores_are_selected_by_their_labels_and_none_is_an_error_that_removes_nothing() {
    let mut bench = Bench::new();
    let by_label = |name: &str| {
        json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchExpressions": [
            { "key": "store", "operator": "In", "values": [name, "second"] }] } }])
    };
    bench.spec(1, spec(by_label("vault")));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "p")]));
    // Nothing matches any more, and nobody knows where it should be.
    bench.spec(2, spec(by_label("elsewhere")));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "StoreNotFound" && message.contains("store in (elsewhere,second)"), "{message}");
    assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (expect(&[("password", "p")]), 1));
    // Another one matches: it gets the value, and the first loses it.
    let second = second(&mut bench);
    bench.turn().await;
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]));
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert!(bench.store.peek(&at(TEMPORAL)).data().is_none());
}

/// A leader before this one saw the labels, and pushed. The watch of this one shows none yet.
#[tokio::test]
async fn a_store_whose_labels_the_watch_shows_late_loses_nothing() {
    let selector = json!({ "kind": "ClusterSecretStore", "labelSelector": { "matchExpressions": [
        { "key": "store", "operator": "In", "values": ["vault", "second"] }] } });
    let selected = spec(json!([selector.clone()]));
    let mut narrowed = spec(named(&["vault", "second"]));
    narrowed["data"] = json!([]);
    narrowed["dataTo"] = json!([{ "remoteKey": TEMPORAL, "storeRef": selector }]);
    for spec in [selected, narrowed] {
        let mut bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
        let second = second(&mut bench);
        bench.spec(1, spec.clone());
        bench.turn().await;
        let all = bench.texts(TEMPORAL);
        assert!(bench.ready().0 && !all.is_empty() && texts(&second, TEMPORAL) == all, "{:?}", bench.ready());
        let listed = bench.ledger().len();
        bench.stores.unlabelled.insert("vault");
        let report = bench.turn().await;
        assert!(report.requeue().is_some_and(Requeue::is_failure), "{report:?}");
        assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (all.clone(), listed), "{spec}");
        bench.stores.unlabelled.clear();
        bench.turn().await;
        assert!(bench.ready().0 && bench.texts(TEMPORAL) == all, "{:?}", bench.ready());
    }
}

/// Nothing fails in it: it is not even asked. What is no longer wanted there waits for it all the same.
#[tokio::test]
async fn a_store_that_only_loses_and_cannot_for_now_leaves_an_unfinished_result_that_says_why() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Wrong {
        Labelled,
        Unanswered,
        Edited,
        Down,
        Gone,
    }
    let selected = json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchExpressions": [
        { "key": "store", "operator": "In", "values": ["vault", "second"] }] } }]);
    for (wrong, says) in [
        (Wrong::Labelled, "ClusterSecretStore/vault got other labels"),
        (
            Wrong::Unanswered,
            "ClusterSecretStore/vault is not confirmed by the API server (list ClusterSecretStore vault",
        ),
        (Wrong::Edited, "ClusterSecretStore/vault was edited to lead elsewhere"),
        (Wrong::Down, "down is sealed"),
        (Wrong::Gone, "ClusterSecretStore vault does not exist"),
    ] {
        let mut bench = Bench::new();
        let second = second(&mut bench);
        bench.spec(1, spec(selected.clone()));
        bench.turn().await;
        assert!(bench.ready().0 && bench.ledger().len() == 2, "{:?}", bench.ready());
        match wrong {
            Wrong::Labelled | Wrong::Unanswered => {
                bench.stores.unlabelled.insert("vault");
                bench.stores.unanswered.extend((wrong == Wrong::Unanswered).then_some("vault"));
            }
            Wrong::Edited => {
                bench.spec(2, spec(named(&["second"])));
                bench.stores.clients.insert("vault", FakeStore::on("third"));
                bench.stores.behind.insert("vault");
            }
            Wrong::Down | Wrong::Gone => {
                bench.spec(2, spec(named(&["second"])));
                bench.stores.clients.remove("vault");
                bench.stores.refusal = if wrong == Wrong::Down { unusable } else { missing };
            }
        }
        for second_fails in [false, true] {
            if second_fails {
                second.fail_next(1, StoreError::Standby { server: "second".into() });
            }
            let report = bench.turn().await;
            let (ready, reason, message) = bench.ready();
            let still = format!("what was pushed to ClusterSecretStore/vault earlier is still there: {says}");
            assert_eq!(message.matches("ClusterSecretStore/vault earlier").count(), 1, "{wrong:?}: {message}");
            assert!(
                message.contains(&still) && !message.contains("ClusterSecretStore/vault stays"),
                "{wrong:?}: {message}"
            );
            // Somebody has to create the store again, and that wakes.
            let is_over = wrong == Wrong::Gone && !second_fails;
            assert_eq!((ready, reason == "StoreNotReady"), (is_over, !is_over), "{wrong:?}: {reason} {message}");
            assert_eq!(report.requeue().is_some_and(Requeue::is_failure), !is_over, "{wrong:?}: {report:?}");
            assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (expect(&[("password", "p")]), 2), "{wrong:?}");
        }
        bench.stores.clients.insert("vault", bench.store.clone());
        bench.stores.unanswered.clear();
        bench.stores.behind.clear();
        bench.spec(3, spec(named(&["second"])));
        bench.turn().await;
        assert!(bench.ready().0, "{wrong:?}: {:?}", bench.ready());
        assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (expect(&[]), 1), "{wrong:?}");
    }
}

/// Whatever keeps the new store from being written: the old one keeps its value until then, and no
/// line is lost.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_left_keeps_its_value_until_every_wanted_store_has_it() {
    #[derive(Clone, Copy, Debug)]
    enum Wrong {
        Absent(fn(StoreName) -> StoreRefusal),
        Failing,
        Hanging,
    }
    let others = |store| StoreRefusal::OtherController { store, class: "other".into() };
    let closed = |store| StoreRefusal::NotAllowed { store, namespace: "db".into() };
    let absent = [missing, others, closed, unusable].map(Wrong::Absent);
    for wrong in absent.into_iter().chain([Wrong::Failing, Wrong::Hanging]) {
        let mut bench = Bench::new();
        let third = FakeStore::on("third");
        bench.stores.clients.insert("third", third.clone());
        bench.spec(1, spec(named(&["vault"])));
        bench.turn().await;
        let new = FakeStore::on("second");
        match wrong {
            Wrong::Absent(refusal) => bench.stores.refusal = refusal,
            Wrong::Failing => {
                new.fail_next(2, StoreError::Sealed { server: "second".into() });
                bench.stores.clients.insert("second", new.clone());
            }
            Wrong::Hanging => {
                new.hang();
                bench.stores.clients.insert("second", new.clone());
            }
        }
        bench.spec(2, spec(named(&["second", "third"])));
        for _ in 0..2 {
            bench.turn().await;
            let (ready, _, message) = bench.ready();
            assert!(
                !ready && message.ends_with("what was pushed to ClusterSecretStore/vault stays"),
                "{wrong:?}: {message}"
            );
            assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "p")]), "{wrong:?}");
            assert_eq!(texts(&third, TEMPORAL), expect(&[("password", "p")]), "{wrong:?}");
            assert_eq!(bench.ledger().len(), 2, "{wrong:?}");
        }
        let second = match wrong {
            Wrong::Hanging => FakeStore::on("second"),
            Wrong::Absent(_) | Wrong::Failing => new,
        };
        bench.stores.clients.insert("second", second.clone());
        bench.turn().await;
        assert!(bench.ready().0, "{wrong:?}: {:?}", bench.ready());
        assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (expect(&[]), expect(&[("password", "p")])));
        assert_eq!(bench.ledger().len(), 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn one_store_that_is_gone_delays_no_removal_in_another_that_is_wanted() {
    let mut bench = Bench::new();
    second(&mut bench);
    let renamed = |property: &str| {
        let mut spec = spec(named(&["vault", "second"]));
        spec["data"] = json!([mapping("pass", TEMPORAL, property)]);
        spec
    };
    bench.spec(1, renamed("password"));
    bench.turn().await;
    let gone = bench.stores.clients.remove("second").unwrap();
    bench.spec(2, renamed("token"));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("token", "p")]));
    assert_eq!(texts(&gone, TEMPORAL), expect(&[("password", "p")]));
    assert_eq!(bench.ledger(), [format!("{TEMPORAL}/password"), format!("{TEMPORAL}/token")]);
    bench.stores.clients.insert("second", gone.clone());
    bench.turn().await;
    assert_eq!(texts(&gone, TEMPORAL), expect(&[("token", "p")]));

    // A path that is left as a whole, too.
    let gone = bench.stores.clients.remove("second").unwrap();
    let mut moved = spec(named(&["vault", "second"]));
    moved["data"] = json!([mapping("pass", "platform-data/postgres/moved", "token")]);
    bench.spec(3, moved);
    bench.turn().await;
    let there = [TEMPORAL, "platform-data/postgres/moved"].map(|path| bench.texts(path));
    assert_eq!(there, [expect(&[]), expect(&[("token", "p")])]);
    assert_eq!(texts(&gone, TEMPORAL), expect(&[("token", "p")]));
}

/// A spec counts as pushed once it is in all its stores (ADR 0026). Until then a source that goes may
/// be one that is about to come, so nothing is removed in any store.
#[tokio::test]
async fn a_source_that_goes_while_a_store_lacks_something_takes_nothing_along() {
    let mut bench = Bench::new();
    bench.spec(1, spec(named(&["vault", "second"])));
    bench.turn().await;
    bench.server.remove(SOURCE);
    bench.turn().await;
    assert_eq!(bench.ready().1, "SourceGone", "{:?}", bench.ready());
    let second = second(&mut bench);
    bench.turn().await;
    assert_eq!((bench.ready().1.as_str(), bench.texts(TEMPORAL)), ("SourceGone", expect(&[("password", "p")])));
    bench.source(&[("pass", b"q")]);
    bench.turn().await;
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "q")]));
    bench.server.remove(SOURCE);
    bench.turn().await;
    assert_eq!(bench.ready().1, "SourceDeleted");
    assert_eq!([bench.texts(TEMPORAL), texts(&second, TEMPORAL)], [expect(&[]), expect(&[])]);
}

/// A store that is there and does not answer, or answers that it cannot, delays a removal in
/// another no more than one that is gone.
#[tokio::test(start_paused = true)]
async fn one_store_that_hangs_or_fails_delays_no_removal_in_another_that_is_wanted() {
    let mapped = |path: &str, property: &str| {
        let mut spec = spec(named(&["vault", "second"]));
        spec["data"] = json!([mapping("pass", path, property)]);
        spec
    };
    let moved = "platform-data/postgres/moved";
    for hangs in [true, false] {
        let mut bench = Bench::new();
        let second = second(&mut bench);
        bench.spec(1, mapped(TEMPORAL, "password"));
        bench.turn().await;
        match hangs {
            true => second.hang(),
            false => second.fail_next(1000, StoreError::Sealed { server: "second".into() }),
        }
        bench.spec(2, mapped(TEMPORAL, "token"));
        bench.turn().await;
        assert_eq!(bench.texts(TEMPORAL), expect(&[("token", "p")]), "hangs: {hangs}");
        bench.spec(3, mapped(moved, "token"));
        bench.turn().await;
        assert_eq!([TEMPORAL, moved].map(|path| bench.texts(path)), [expect(&[]), expect(&[("token", "p")])]);
        // What is in the other stays, and stays listed.
        assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]));
        assert!(bench.ledger().contains(&format!("{TEMPORAL}/password")), "{:?}", bench.ledger());
    }
}

/// The claimant announced and died, in one of two stores. What is read of the other says nothing
/// about that.
#[tokio::test(start_paused = true)]
async fn a_dead_claimants_intent_grows_old_while_the_other_store_settles() {
    let mut bench = Bench::new();
    let second = second(&mut bench);
    let theirs = Owner { uid: "0".into(), cluster: "there".into(), namespace: "db".into(), name: "dead".into() };
    let intents = claim::intend(&BTreeMap::new(), ["password"], &theirs, &claim::Inquiry::default());
    let marked = (claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned());
    let labels = intents.into_iter().filter_map(|(key, value)| Some((key, value?))).chain([marked]);
    second.put_metadata(&at(TEMPORAL), labels.collect());
    bench.spec(1, spec(named(&["vault", "second"])));
    for passes in [1, 29, 30] {
        bench.turn().await;
        assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "p")]));
        let (ready, _, message) = bench.ready();
        assert!(!ready && message.contains("announced a claim"), "{message}");
        assert_eq!(texts(&second, TEMPORAL), expect(&[]));
        bench.pass(Duration::from_secs(passes));
    }
    bench.pass(Duration::from_secs(1));
    bench.turn().await;
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]), "{:?}", bench.ready());
    assert!(bench.ready().0, "{:?}", bench.ready());
}

#[tokio::test]
async fn a_mapping_that_moves_to_a_store_that_is_not_there_is_not_taken_from_the_other() {
    let mut bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
    let to = |name: &str| {
        let mut spec = spec(named(&["vault", "second"]));
        spec["data"] = json!([]);
        spec["dataTo"] = json!([{ "remoteKey": TEMPORAL, "storeRef": { "kind": "ClusterSecretStore", "name": name } }]);
        spec
    };
    bench.spec(1, to("vault"));
    bench.turn().await;
    bench.spec(2, to("second"));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("user", "u"), ("pass", "p")]));
    // It is the same place under another name.
    bench.stores.clients.insert("second", bench.store.clone());
    bench.turn().await;
    assert_eq!((bench.texts(TEMPORAL).len(), bench.store.peek(&at(TEMPORAL)).cas()), (2, 1));
    assert!(bench.ready().0, "{:?}", bench.ready());
}

/// A store that is left behind takes none of the ledger's lines along.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_in_the_middle_loses_no_line() {
    let other = "platform-data/redis/temporal";
    let two = |properties: &[&str]| {
        let mut spec = spec(named(&["vault", "second"]));
        let both =
            [TEMPORAL, other].into_iter().flat_map(|path| properties.iter().map(move |p| mapping("pass", path, p)));
        spec["data"] = both.collect();
        spec
    };
    for hanging in ["vault", "second"] {
        let mut bench = Bench::new();
        second(&mut bench);
        bench.spec(1, two(&["password", "token"]));
        bench.turn().await;
        assert_eq!(bench.ledger().len(), 8);
        bench.stores.clients[hanging].hang();
        bench.spec(2, two(&["password"]));
        bench.turn().await;
        let lines = &bench.server.push_secret(super::lifecycle::PUSH).unwrap().status.unwrap().synced_push_secrets;
        let listed = |name: &str| lines[&format!("ClusterSecretStore/{name}")].len();
        let healthy = if hanging == "vault" { "second" } else { "vault" };
        assert_eq!((listed(hanging), listed(healthy)), (4, 2), "{hanging} hangs");
    }
}

/// One of two properties is published through another address alone now, and the entry through both.
#[tokio::test]
async fn a_line_with_a_twin_leaves_although_something_else_is_published_to_its_entry() {
    let mut bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
    bench.stores.clients.insert("alias", bench.store.with_address("elsewhere").with_identity("alias"));
    let mut before = spec(named(&["vault"]));
    before["data"] = json!([mapping("user", TEMPORAL, "user"), mapping("pass", TEMPORAL, "pass")]);
    bench.spec(1, before.clone());
    bench.turn().await;
    let mut after = before;
    after["secretStoreRefs"] = named(&["vault", "alias"]);
    after["data"] = json!([mapping("user", TEMPORAL, "user")]);
    after["dataTo"] = json!([{ "remoteKey": TEMPORAL, "storeRef": { "kind": "ClusterSecretStore", "name": "alias" } }]);
    bench.spec(2, after);
    bench.turn().await;
    assert!(bench.ready().0 && bench.ready().2.contains("still listed"), "{:?}", bench.ready());
    assert_eq!(bench.ledger().len(), 4);
    bench.source(&[("user", b"u"), ("pass", b"q")]);
    bench.turn().await;
    assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (expect(&[("user", "u"), ("pass", "q")]), 3));
    assert!(bench.ready().0 && !bench.ready().2.contains("still listed"), "{:?}", bench.ready());
}

/// A mapping goes through another store of the same place now. Its custom metadata is wanted there, or
/// goes.
#[tokio::test]
async fn custom_metadata_follows_its_mapping_to_an_alias() {
    let labelled = |key: &str, property: &str, team: Option<&str>| {
        let mut mapping = mapping(key, TEMPORAL, property);
        if let Some(team) = team {
            mapping["metadata"] = json!({
                "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata",
                "spec": { "customMetadata": { "team": team } },
            });
        }
        mapping
    };
    let through = |store: &str, mappings: Vec<Value>| {
        let mut spec = spec(named(&[store]));
        spec["data"] = Value::Array(mappings);
        spec
    };
    let team = Some("x");
    for (address, drops, wanted) in [
        ("fake", true, team),
        ("elsewhere", true, team),
        ("fake", true, None),
        ("elsewhere", true, None),
        ("fake", false, team),
        ("elsewhere", false, team),
        ("fake", false, None),
        ("elsewhere", false, None),
    ] {
        let mut bench = Bench::new();
        bench.stores.clients.insert("alias", bench.store.with_address(address).with_identity("alias"));
        let dropped = drops.then(|| labelled("pass", "password", team));
        let before = [labelled("user", "username", team)].into_iter().chain(dropped).collect();
        bench.spec(1, through("vault", before));
        bench.turn().await;
        assert!(bench.store.peek(&at(TEMPORAL)).custom_metadata.contains_key("team"));
        bench.spec(2, through("alias", vec![labelled("user", "username", wanted)]));
        bench.turn().await;
        assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u")]));
        let labels = bench.store.peek(&at(TEMPORAL)).custom_metadata;
        assert_eq!(labels.get("team").map(String::as_str), wanted, "{address}, drops: {drops}");
        // At another address, the former line stays for long. What is set by then is another's.
        let theirs = labels.into_iter().chain([("team".to_owned(), "theirs".to_owned())]);
        bench.store.put_metadata(&at(TEMPORAL), theirs.collect());
        bench.turn().await;
        let labels = bench.store.peek(&at(TEMPORAL)).custom_metadata;
        assert_eq!(labels.get("team").map(String::as_str), wanted.or(Some("theirs")), "{address}, drops: {drops}");
    }
}
