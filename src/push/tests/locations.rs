//! Stores that are edited in place: what was pushed to a former location is removed once everything
//! is at the new one, or is named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::SOURCE;
use super::lifecycle::{Bench, PUSH, TEMPORAL, at, expect, mapping, texts};
use crate::api::push_secret::PushSecretStatus;
use crate::cluster::in_memory;
use crate::controller::report::Report;
use crate::domain::claim;
use crate::domain::path::RemotePath;
use crate::metrics::LetGo;
use crate::store::StoreError;
use crate::store::fake::{FakeStore, Fault, Operation, Request};

/// A mount beside `secret`.
const OTHER: &str = "other";

fn pushing(properties: &[&str], stores: &[&str]) -> Value {
    let stores: Vec<Value> = stores.iter().map(|name| json!({ "name": name, "kind": "ClusterSecretStore" })).collect();
    let data: Vec<Value> = properties.iter().map(|property| mapping("pass", TEMPORAL, property)).collect();
    json!({ "refreshInterval": "1h", "deletionPolicy": "Delete", "secretStoreRefs": stores,
        "selector": { "secret": { "name": "source" } }, "data": data })
}

/// A PushSecret that has pushed its password, and a second server.
async fn pushed() -> (Bench, FakeStore) {
    let bench = Bench::new();
    bench.store.add_mount(OTHER);
    bench.spec(1, pushing(&["password"], &["vault"]));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), password());
    (bench, FakeStore::on("second"))
}

fn password() -> BTreeMap<String, String> {
    expect(&[("password", "p")])
}

fn edit(bench: &mut Bench, client: FakeStore) {
    bench.stores.clients.insert("vault", client);
}

fn status(bench: &Bench) -> PushSecretStatus {
    bench.server.push_secret(PUSH).unwrap().status.unwrap()
}

/// Where the store leads by the status, and how many lines are of former locations.
fn recorded(bench: &Bench) -> (String, usize) {
    let status = status(bench);
    let location = status.store_locations.get("ClusterSecretStore/vault").map(ToString::to_string);
    (location.unwrap_or_default(), status.former_locations.iter().map(|former| former.pushed.len()).sum())
}

/// The texts of the path at a mount.
fn texts_at(store: &FakeStore, mount: &str) -> BTreeMap<String, String> {
    let path = RemotePath::parse(Some(mount), TEMPORAL).unwrap();
    let entry = store.peek(&path);
    let data = entry.data().into_iter().flatten();
    data.map(|(property, value)| (property.clone(), value.rendered().expose_utf8().unwrap().to_owned())).collect()
}

fn lost(report: &Report<PushSecretStatus>) -> &str {
    match report {
        Report::Orphaned { why: LetGo::StoreMoved, left, .. } | Report::LetGo { why: LetGo::StoreMoved, left, .. } => {
            left
        }
        other => panic!("nothing is let go: {other:?}"),
    }
}

#[tokio::test]
async fn an_edited_path_moves_what_was_pushed_and_leaves_nothing_at_the_former_one() {
    let (mut bench, _) = pushed().await;
    let client = bench.store.with_mount(OTHER);
    edit(&mut bench, client);
    bench.turn().await;
    assert_eq!((texts_at(&bench.store, OTHER), texts_at(&bench.store, "secret")), (password(), expect(&[])));
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert_eq!((recorded(&bench), bench.ledger().len()), (("mount other at fake".to_owned(), 0), 1));
    let mutations = bench.store.mutations();
    bench.turn().await;
    assert_eq!(bench.store.mutations(), mutations);
}

#[tokio::test]
async fn an_edited_server_is_cleaned_by_a_session_from_before_the_edit() {
    let (mut bench, second) = pushed().await;
    bench.stores.former.push(("vault", bench.store.clone()));
    edit(&mut bench, second.clone());
    bench.turn().await;
    assert_eq!((texts(&second, TEMPORAL), bench.texts(TEMPORAL)), (password(), expect(&[])));
    assert_eq!((recorded(&bench), bench.ready().0), (("mount secret at second".to_owned(), 0), true));
}

/// The former server gets nothing that the store did not send there before it was edited.
#[tokio::test]
async fn a_server_without_a_session_is_left_alone_and_what_stands_there_is_named_once() {
    let (mut bench, second) = pushed().await;
    edit(&mut bench, second.clone());
    let requests = bench.store.requests().len();
    let report = bench.turn().await;
    let left = lost(&report);
    assert!(left.contains("ClusterSecretStore/vault (formerly mount secret at fake)"), "{left}");
    assert!(left.contains(&format!("{TEMPORAL}/password")) && left.ends_with("remove it there by hand"), "{left}");
    assert_eq!((texts(&second, TEMPORAL), bench.texts(TEMPORAL)), (password(), password()));
    assert_eq!(bench.store.requests().len(), requests);
    let (ready, _, message) = bench.ready();
    assert!(ready && message.contains("left in place") && message.contains("at fake"), "{message}");
    assert_eq!(recorded(&bench), ("mount secret at second".to_owned(), 0));
    assert!(matches!(bench.turn().await, Report::Verdict { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_does_not_answer_takes_nothing_from_the_former_one() {
    for hangs in [false, true] {
        let (mut bench, second) = pushed().await;
        bench.stores.former.push(("vault", bench.store.clone()));
        match hangs {
            true => second.hang(),
            false => second.fail_next(2, StoreError::Sealed { server: "second".into() }),
        }
        edit(&mut bench, second.clone());
        for _ in 0..2 {
            // A store alone has all the time it takes.
            drop(tokio::time::timeout(Duration::from_secs(60), bench.turn()).await);
            assert_eq!(bench.texts(TEMPORAL), password(), "hangs: {hangs}");
            assert!(hangs || !bench.ready().0);
        }
        second.recover();
        bench.turn().await;
        assert_eq!((texts(&second, TEMPORAL), bench.texts(TEMPORAL)), (password(), expect(&[])), "hangs: {hangs}");
    }
}

#[tokio::test]
async fn another_address_of_the_same_server_is_no_other_place() {
    // A proxy hides what the server calls itself.
    for name in ["fake", "https://alias"] {
        let (mut bench, _) = pushed().await;
        let client = bench.store.with_address("alias").with_name(name);
        edit(&mut bench, client);
        bench.turn().await;
        assert_eq!((bench.texts(TEMPORAL), bench.store.peek(&at(TEMPORAL)).cas()), (password(), 1), "{name}");
        assert_eq!(recorded(&bench), ("mount secret at alias".to_owned(), 0), "{name}");
        // What is not wanted any more goes as it always does.
        bench.spec(2, pushing(&["token"], &["vault"]));
        bench.stores.clients.insert("vault", bench.store.with_address("another"));
        bench.turn().await;
        assert_eq!(bench.texts(TEMPORAL), expect(&[("token", "p")]), "{name}");
        assert!(bench.ready().0, "{name}: {:?}", bench.ready());
    }
}

/// The only copy would go.
#[tokio::test]
async fn a_store_that_is_left_for_another_name_of_its_server_loses_nothing() {
    for name in ["fake", "https://proxy"] {
        let (mut bench, _) = pushed().await;
        let proxy = bench.store.with_address("proxy").with_name(name).with_identity("proxy");
        bench.stores.clients.insert("proxy", proxy);
        for (generation, stores) in [(2, &["vault", "proxy"][..]), (3, &["proxy"]), (4, &["vault"])] {
            bench.spec(generation, pushing(&["password"], stores));
            for _ in 0..2 {
                bench.turn().await;
                assert_eq!(bench.texts(TEMPORAL), password(), "{name}, through {stores:?}");
                assert!(bench.ready().0, "{name}, through {stores:?}: {:?}", bench.ready());
            }
        }
    }
}

#[tokio::test]
async fn an_edit_that_is_taken_back_leaves_everything_where_it_was() {
    // Before the other place answered, and after it had everything and the former one did not answer.
    for answers in [false, true] {
        let (mut bench, second) = pushed().await;
        bench.stores.former.push(("vault", bench.store.clone()));
        let down = || StoreError::Sealed { server: "down".into() };
        match answers {
            false => second.fail_next(1, down()),
            true => bench.store.fail_next(1, down()),
        }
        edit(&mut bench, second.clone());
        bench.turn().await;
        assert_eq!(texts(&second, TEMPORAL), if answers { password() } else { expect(&[]) });
        assert_eq!(recorded(&bench).1, 1, "{:?}", status(&bench));
        bench.stores.former.push(("vault", second.clone()));
        let client = bench.store.clone();
        edit(&mut bench, client);
        bench.turn().await;
        assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (password(), expect(&[])));
        assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1);
        assert_eq!(recorded(&bench), ("mount secret at fake".to_owned(), 0));
    }
}

#[tokio::test]
async fn two_stores_that_are_swapped_keep_what_both_have_and_clean_for_each_other() {
    let (mut bench, second) = pushed().await;
    bench.stores.clients.insert("second", second.clone());
    bench.spec(2, pushing(&["password"], &["vault", "second"]));
    bench.turn().await;
    let swap = |bench: &mut Bench, vault: &FakeStore, other: &FakeStore| {
        bench.stores.clients.insert("vault", vault.clone());
        bench.stores.clients.insert("second", other.clone());
    };
    let first = bench.store.clone();
    swap(&mut bench, &second, &first);
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert_eq!((bench.store.peek(&at(TEMPORAL)).cas(), second.peek(&at(TEMPORAL)).cas()), (1, 1));
    assert_eq!((bench.ledger().len(), recorded(&bench).1), (2, 0));
    // One of them gets another property: where it led, the other leads.
    swap(&mut bench, &first, &second);
    bench.spec(3, pushing(&["token"], &["vault", "second"]));
    bench.turn().await;
    let token = expect(&[("token", "p")]);
    assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (token.clone(), token));
}

#[tokio::test]
async fn a_ledger_without_locations_stands_where_the_stores_lead() {
    let (mut bench, second) = pushed().await;
    let mut push = json!(bench.server.push_secret(PUSH).unwrap());
    push["status"].as_object_mut().unwrap().remove("storeLocations");
    bench.server.put(PUSH, push.clone());
    bench.turn().await;
    assert_eq!(recorded(&bench), ("mount secret at fake".to_owned(), 0));
    push["metadata"]["generation"] = json!(2);
    bench.server.put(PUSH, push);
    edit(&mut bench, second.clone());
    assert!(matches!(bench.turn().await, Report::Verdict { .. }));
    assert_eq!((texts(&second, TEMPORAL), bench.texts(TEMPORAL)), (password(), password()));
}

/// Whoever may write the status gets no request sent to a server of their choice, and nothing
/// deleted that has not our claim.
#[tokio::test]
async fn a_place_that_somebody_wrote_into_the_status_is_not_believed() {
    let (bench, second) = pushed().await;
    let path = RemotePath::parse(Some(OTHER), TEMPORAL).unwrap();
    let theirs = super::protocol::data(&[("password", "theirs")]);
    bench.store.put(&path, theirs);
    let marker = BTreeMap::from([(claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned())]);
    bench.store.put_metadata(&path, marker);
    let line = &json!(status(&bench).synced_push_secrets)["ClusterSecretStore/vault"];
    let forged = |server: &str, path: &str| json!({ "store": "ClusterSecretStore/vault", "location": { "server": server, "path": path }, "pushed": line });
    let mut push = json!(bench.server.push_secret(PUSH).unwrap());
    push["status"]["formerLocations"] =
        json!([forged("second", "secret"), forged("fake", OTHER), forged("fake", "a/../b")]);
    bench.server.put(PUSH, push);
    let report = bench.turn().await;
    let Report::Orphaned { why: LetGo::StoreMoved, left, rest } = &report else { panic!("{report:?}") };
    assert!(left.contains("at second") && left.contains("a/../b"), "{left}");
    let Report::Orphaned { why: LetGo::Declined, left, .. } = &**rest else { panic!("{rest:?}") };
    assert!(left.contains("nobody claims it"), "{left}");
    assert_eq!(second.requests().len(), 0);
    assert_eq!((texts_at(&bench.store, OTHER), bench.texts(TEMPORAL)), (expect(&[("password", "theirs")]), password()));
    assert_eq!(recorded(&bench).1, 0);
}

#[tokio::test]
async fn a_deleted_push_secret_cleans_former_places_or_names_them() {
    for has_session in [true, false] {
        let (mut bench, second) = pushed().await;
        if has_session {
            bench.stores.former.push(("vault", bench.store.clone()));
        }
        edit(&mut bench, second);
        bench.delete();
        let report = bench.turn().await;
        match has_session {
            true => assert_eq!((report, bench.texts(TEMPORAL)), (Report::Gone, expect(&[]))),
            false => {
                assert!(lost(&report).contains("at fake"), "{report:?}");
                assert_eq!(bench.turn().await, Report::Gone);
            }
        }
        assert!(bench.server.push_secret(PUSH).is_none());
    }
}

#[tokio::test]
async fn a_former_place_that_cannot_be_cleaned_is_waited_for_until_the_deadline() {
    for is_deleted in [false, true] {
        let (mut bench, _) = pushed().await;
        let client = bench.store.with_mount(OTHER);
        edit(&mut bench, client);
        if is_deleted {
            bench.delete();
        }
        bench.store.before_each(|_, request| {
            let error = StoreError::Forbidden { operation: "read", path: request.path.clone() };
            request.path.starts_with("secret/").then_some(Fault::Refuse(error))
        });
        bench.turn().await;
        bench.pass(Duration::from_secs(599));
        bench.turn().await;
        let (ready, _, message) = bench.ready();
        assert!(!ready && message.contains("(formerly mount secret at fake)"), "{message}");
        assert_eq!(recorded(&bench).1, 1);
        bench.pass(Duration::from_secs(1));
        let report = bench.turn().await;
        assert!(lost(&report).contains("property \"password\""), "{report:?}");
        if is_deleted {
            assert_eq!(bench.turn().await, Report::Gone);
        }
        assert!(is_deleted || bench.ready().0);
        assert_eq!(bench.texts(TEMPORAL), password());
    }
}

/// While it is not tried, its deadline neither passes nor begins again.
#[tokio::test]
async fn a_former_place_that_has_to_wait_between_two_tries_keeps_its_deadline() {
    for waits_for in ["another line", "a wanted store", "a source"] {
        let (mut bench, second) = pushed().await;
        let west = FakeStore::new().with_address(WEST).with_identity(WEST);
        bench.stores.clients.insert(WEST, west.clone());
        bench.spec(2, pushing(&["password", "token"], &["vault", WEST]));
        bench.turn().await;
        edit(&mut bench, second.clone());
        bench.stores.former.push(("vault", bench.store.clone()));
        let denied = |path: &str| StoreError::Forbidden { operation: "read", path: path.to_owned() };
        bench.store.before_each(move |_, request| Some(Fault::Refuse(denied(&request.path))));
        bench.spec(3, pushing(&["password"], &["vault", WEST]));
        bench.turn().await;
        assert_eq!(recorded(&bench).1, 2, "{:?}", bench.ready());
        bench.pass(Duration::from_secs(300));
        let down = |_: &FakeStore, _: &Request| Some(Fault::Refuse(StoreError::Sealed { server: "down".into() }));
        match waits_for {
            "another line" => {
                bench.delete();
                west.before_each(down);
            }
            "a wanted store" => second.before_each(down),
            _source => bench.server.remove(SOURCE),
        }
        for _ in 0..2 {
            bench.turn().await;
            bench.pass(Duration::from_secs(300));
        }
        [&second, &west].iter().for_each(|store| store.before_each(|_, _| None));
        bench.source(&[("user", b"u"), ("pass", b"p")]);
        bench.turn().await;
        bench.pass(Duration::from_secs(299));
        bench.turn().await;
        assert_eq!(recorded(&bench).1, 2, "{waits_for}: {:?}", bench.ready());
        bench.pass(Duration::from_secs(1));
        let report = bench.turn().await;
        assert!(lost(&report).contains("the cleanup deadline is over"), "{waits_for}: {report:?}");
    }
}

/// The store is not wanted any more, and where it leads now does not say whether that is another place.
#[tokio::test]
async fn nothing_is_let_go_before_the_new_place_has_said_that_it_is_another() {
    let (mut bench, second) = pushed().await;
    let silent = FakeStore::on("silent");
    silent.remove_mount("secret");
    edit(&mut bench, silent.clone());
    bench.stores.clients.insert("second", second.clone());
    bench.spec(2, pushing(&["password"], &["second"]));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "StoreNotReady" && message.contains("(formerly mount secret at fake)"), "{message}");
    assert_eq!((texts(&second, TEMPORAL), recorded(&bench).1), (password(), 1));
    silent.add_mount("secret");
    assert!(lost(&bench.turn().await).contains("at fake"));
    assert_eq!((bench.ready().0, recorded(&bench).1), (true, 0));
}

/// Whatever request fails or loses its reply: the next reconciles leave the value at the new place
/// alone.
#[tokio::test]
async fn a_stop_at_any_request_of_an_edit_is_repaired() {
    let mut stopped = 0;
    for (stop, is_lost) in (0..24).flat_map(|stop| [(stop, false), (stop, true)]) {
        let (mut bench, second) = pushed().await;
        bench.stores.former.push(("vault", bench.store.clone()));
        edit(&mut bench, second.clone());
        let count = Arc::new(AtomicUsize::new(0));
        for store in [&bench.store, &second] {
            let count = count.clone();
            store.before_each(move |_, _| {
                let down = StoreError::Standby { server: "down".into() };
                let fault = if is_lost { Fault::LoseReply(down) } else { Fault::Refuse(down) };
                (count.fetch_add(1, Ordering::Relaxed) == stop).then_some(fault)
            });
        }
        let api = count.clone();
        bench.server.before_each(move |method, _| {
            let fault = if is_lost { in_memory::Fault::LoseReply } else { in_memory::Fault::Refuse };
            (method != "GET" && api.fetch_add(1, Ordering::Relaxed) == stop).then_some(fault)
        });
        bench.turn().await;
        stopped += usize::from(count.swap(1000, Ordering::Relaxed) > stop);
        let stands = [bench.texts(TEMPORAL), texts(&second, TEMPORAL)];
        assert!(stands.contains(&password()), "stopped at {stop}: {stands:?}");
        bench.turn().await;
        bench.turn().await;
        assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (expect(&[]), password()), "stopped at {stop}");
        assert_eq!((bench.ready().0, recorded(&bench).1), (true, 0), "stopped at {stop}");
    }
    assert!(stopped > 16, "only {stopped} turns were stopped");
}

#[tokio::test]
async fn a_cache_from_before_the_edit_loses_no_line() {
    let (mut bench, second) = pushed().await;
    let before = bench.server.push_secret(PUSH).unwrap();
    bench.store.fail_next(1, StoreError::Sealed { server: "fake".into() });
    bench.stores.former.push(("vault", bench.store.clone()));
    edit(&mut bench, second.clone());
    bench.turn().await;
    assert_eq!(recorded(&bench), ("mount secret at second".to_owned(), 1));
    bench.source(&[("user", b"u"), ("pass", b"p2")]);
    bench.turn_with(before).await;
    bench.turn().await;
    assert_eq!((texts(&second, TEMPORAL), bench.texts(TEMPORAL)), (expect(&[("password", "p2")]), expect(&[])));
    assert_eq!((recorded(&bench).1, bench.ledger().len()), (0, 1));
}

#[tokio::test]
async fn the_place_is_recorded_before_the_first_write_there() {
    let (mut bench, second) = pushed().await;
    edit(&mut bench, second.clone());
    let server = bench.server.clone();
    second.before_each(move |_, request| {
        if request.operation == Operation::Read {
            return None;
        }
        let status = server.push_secret(PUSH).unwrap().status.unwrap();
        let location = &status.store_locations["ClusterSecretStore/vault"];
        assert_eq!((location.server.as_str(), location.server_id.as_deref()), ("second", Some("second")));
        assert_eq!(status.former_locations[0].location.server, "fake");
        None
    });
    bench.turn().await;
    assert_eq!(texts(&second, TEMPORAL), password());
}

/// The spec changes from one store to another, whose server calls itself the same at another address.
/// Whether it is a copy shows its next version.
#[tokio::test]
async fn what_is_wanted_at_a_twin_is_listed_until_it_is_proven_to_be_the_same() {
    for is_copy in [false, true] {
        let (mut bench, _) = pushed().await;
        let twin = match is_copy {
            true => FakeStore::new(),
            false => bench.store.clone(),
        };
        if is_copy {
            let (path, entry) = (at(TEMPORAL), bench.store.peek(&at(TEMPORAL)));
            let data = entry.data().unwrap().iter();
            twin.put(&path, data.map(|(property, value)| (property.clone(), value.duplicate())).collect());
            twin.put_metadata(&path, entry.custom_metadata);
        }
        bench.stores.clients.insert("twin", twin.with_address("twin").with_identity("twin"));
        bench.spec(2, pushing(&["password"], &["twin"]));
        for _ in 0..2 {
            bench.turn().await;
            let (ready, _, message) = bench.ready();
            assert!(
                ready && message.contains("ClusterSecretStore/vault is still listed"),
                "copy: {is_copy}: {message}"
            );
            assert_eq!((bench.ledger().len(), bench.texts(TEMPORAL)), (2, password()), "copy: {is_copy}");
        }
        bench.source(&[("user", b"u"), ("pass", b"p2")]);
        bench.turn().await;
        assert_eq!(texts(&twin, TEMPORAL), expect(&[("password", "p2")]));
        assert_eq!(bench.ledger().len(), if is_copy { 2 } else { 1 }, "{:?}", bench.ready());
        assert_eq!(bench.ready().2.contains("still listed"), is_copy);
        if is_copy {
            // By hand.
            bench.store.purge(&at(TEMPORAL));
            bench.turn().await;
            assert_eq!((bench.ledger().len(), bench.ready().2.contains("still listed")), (1, false));
        }
    }
}

#[tokio::test]
async fn what_is_listed_at_a_twin_goes_with_its_push_secret() {
    let (mut bench, _) = pushed().await;
    let twin = FakeStore::new();
    bench.stores.clients.insert("twin", twin.with_address("twin").with_identity("twin"));
    bench.spec(2, pushing(&["password"], &["twin"]));
    bench.turn().await;
    assert_eq!((bench.texts(TEMPORAL), texts(&twin, TEMPORAL), bench.ledger().len()), (password(), password(), 2));
    bench.delete();
    assert_eq!(bench.turn().await, Report::Gone);
    assert_eq!((bench.texts(TEMPORAL), texts(&twin, TEMPORAL)), (expect(&[]), expect(&[])));
}

/// A store of the server that `vault` led to, at another address. It comes after that one.
const WEST: &str = "west";

/// A PushSecret that has pushed its password to `vault`, and to the same server, or a copy of it, at
/// another address. Then the first store is edited to lead to another server, and a write of another
/// controller erases the claims.
async fn pushed_to_both(is_copy: bool) -> (Bench, FakeStore) {
    let (mut bench, second) = pushed().await;
    let west = if is_copy { FakeStore::new() } else { bench.store.clone() };
    let west = west.with_address(WEST).with_identity(WEST);
    bench.stores.clients.insert(WEST, west.clone());
    bench.spec(2, pushing(&["password"], &["vault", WEST]));
    bench.turn().await;
    assert_eq!((texts(&west, TEMPORAL), bench.ledger().len()), (password(), 2));
    edit(&mut bench, second);
    let mark = || BTreeMap::from([(claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned())]);
    [&bench.store, &west].iter().for_each(|store| store.put_metadata(&at(TEMPORAL), mark()));
    (bench, west)
}

/// At a former location, only what our claim covers is removed. Under the other line it goes anyway.
#[tokio::test]
async fn what_goes_under_another_line_is_not_left_at_a_former_place() {
    for (is_copy, is_down) in [(false, false), (false, true), (true, false)] {
        let (mut bench, west) = pushed_to_both(is_copy).await;
        bench.stores.former.push(("vault", bench.store.clone()));
        bench.delete();
        if is_down {
            west.before_each(|_, request| {
                let down = StoreError::Sealed { server: WEST.into() };
                (*request.identity.0 == *WEST).then_some(Fault::Refuse(down))
            });
            let report = bench.turn().await;
            assert!(matches!(report, Report::Verdict { .. }), "{report:?}");
            assert_eq!((bench.texts(TEMPORAL), recorded(&bench).1), (password(), 1));
            west.before_each(|_, _| None);
        }
        let report = bench.turn().await;
        assert_eq!(texts(&west, TEMPORAL), expect(&[]));
        match is_copy {
            false => assert_eq!(report, Report::Gone, "down: {is_down}"),
            true => {
                let Report::LetGo { why: LetGo::Declined, left, .. } = &report else { panic!("{report:?}") };
                assert!(left.contains("formerly mount secret at fake") && left.contains("nobody claims it"), "{left}");
                assert_eq!(bench.texts(TEMPORAL), password());
            }
        }
    }
}

/// Without a login nobody knows whether the server of the former location is that of the other line.
#[tokio::test]
async fn what_stands_under_another_line_is_not_lost_at_a_former_place_without_a_login() {
    let (bench, west) = pushed_to_both(false).await;
    for _ in 0..2 {
        let report = bench.turn().await;
        assert!(matches!(report, Report::Verdict { .. }), "{report:?}");
        let (ready, _, message) = bench.ready();
        assert!(ready && message.contains("ClusterSecretStore/west may lead to the same server"), "{message}");
        assert_eq!((texts(&west, TEMPORAL), recorded(&bench).1), (password(), 1));
    }
    bench.delete();
    let report = bench.turn().await;
    let left = lost(&report);
    assert!(left.contains("by hand, unless ClusterSecretStore/west leads to the same server"), "{left}");
    assert_eq!(texts(&west, TEMPORAL), expect(&[]));
}
