//! Whole reconciles: what is published, what is refused, what is removed, and that any stop is
//! repaired.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::condition::Reason;
use crate::api::names::FINALIZER_PUSH_SECRET;
use crate::cluster::in_memory::Fault;
use crate::controller::report::{Report, Requeue};
use crate::domain::convention::{Convention, Mode};
use crate::domain::remote::EntryState;
use crate::feed::{News, Pushed};
use crate::metrics::LetGo;
use crate::store::StoreError;
use crate::store::fake::FakeStore;

pub(super) use super::bench::{Bench, PUSH, TEMPORAL, at, both, expect, mapping, texts};
use super::bench::{SOURCE, spec};

#[tokio::test]
async fn a_push_is_recorded_written_announced_and_reported() {
    let bench = Bench::new();
    bench.spec(1, both());
    let report = bench.turn().await;
    assert!(
        matches!(report, Report::Verdict { requeue: Requeue::After(pause), .. } if pause == Duration::from_secs(3600))
    );
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
    let (ready, reason, message) = bench.ready();
    assert!(
        ready && reason == "Synced" && message.contains("secret/platform-data/postgres/temporal version 1"),
        "{message}"
    );
    assert_eq!(bench.ledger(), [format!("{TEMPORAL}/password"), format!("{TEMPORAL}/username")]);
    assert_eq!(*bench.announced.lock(), [Pushed::Version(1, bench.store.peek(&at(TEMPORAL)).created).into()]);
    let push = bench.server.push_secret(PUSH).unwrap();
    assert_eq!(push.metadata.finalizers.unwrap(), [FINALIZER_PUSH_SECRET]);
    assert_eq!(push.status.unwrap().paths[0].properties, ["password", "username"]);
}

#[tokio::test]
async fn a_source_change_costs_one_get_and_one_write_and_an_unchanged_one_no_write_at_all() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.source(&[("user", b"u"), ("pass", b"p2")]);
    let (kube, vault) = (bench.server.requests().len(), bench.store.requests().len());
    bench.turn().await;
    assert_eq!(bench.server.requests()[kube..], [format!("GET {SOURCE}"), format!("PATCH {PUSH}/status")]);
    assert_eq!(bench.store.requests().len() - vault, 2);
    assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 2);
    let (kube, vault) = (bench.server.requests().len(), bench.store.mutations());
    bench.turn().await;
    assert_eq!(bench.server.requests()[kube..], [format!("GET {SOURCE}")]);
    assert_eq!(bench.store.mutations(), vault);
}

#[tokio::test]
async fn a_renamed_path_gets_its_new_value_before_the_old_one_goes() {
    let bench = Bench::new();
    bench.spec(1, spec(&[mapping("pass", TEMPORAL, "password")]));
    bench.turn().await;
    let renamed = "platform-data/postgres/backstage";
    bench.spec(2, spec(&[mapping("pass", renamed, "password")]));
    bench.store.fail_next(1, StoreError::Standby { server: "fake".into() });
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "p")]));
    bench.turn().await;
    assert_eq!(bench.texts(renamed), expect(&[("password", "p")]));
    assert!(matches!(bench.store.peek(&at(TEMPORAL)).state, EntryState::Deleted { .. }));
    assert_eq!(bench.ledger(), [format!("{renamed}/password")]);
}

#[tokio::test]
async fn a_renamed_property_is_one_version() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.spec(2, spec(&[mapping("user", TEMPORAL, "username"), mapping("pass", TEMPORAL, "token")]));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("token", "p")]));
    assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 2);
    let claims: Vec<String> = bench.store.peek(&at(TEMPORAL)).custom_metadata.into_keys().collect();
    assert_eq!(claims, ["claim.waypost.io/token", "claim.waypost.io/username", "managed-by"]);
}

#[tokio::test]
async fn a_store_renamed_over_the_same_place_deletes_nothing() {
    let mut bench = Bench::new();
    bench.stores.clients.insert("other-name", bench.store.clone());
    bench.spec(1, both());
    bench.turn().await;
    let mut moved = both();
    moved["secretStoreRefs"][0]["name"] = json!("other-name");
    bench.spec(2, moved);
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
    assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1);
    assert_eq!(bench.ledger().len(), 2);
}

#[tokio::test]
async fn a_changed_store_is_written_before_the_old_one_is_cleaned() {
    let mut bench = Bench::new();
    let second = FakeStore::new();
    bench.stores.clients.insert("second", second.with_identity("second"));
    second.add_mount("elsewhere");
    bench.spec(1, both());
    bench.turn().await;
    // Another mount makes another place: the fake knows no servers.
    let mut moved = spec(&[mapping("pass", "platform-data/redis/temporal", "password")]);
    moved["secretStoreRefs"][0]["name"] = json!("second");
    bench.spec(2, moved);
    bench.turn().await;
    assert_eq!(texts(&second, "platform-data/redis/temporal"), expect(&[("password", "p")]));
    assert!(bench.texts(TEMPORAL).is_empty());
    assert_eq!(bench.ledger(), ["platform-data/redis/temporal/password"]);
}

/// Somebody purged the entry. Whatever request of the push that creates it again fails or loses its
/// reply: its readers hear of the new entry, although its number is the one in the status.
#[tokio::test]
async fn an_entry_that_is_created_again_under_its_number_is_announced_whatever_reply_is_lost() {
    for (fault, stop) in
        [Fault::Refuse, Fault::LoseReply].into_iter().flat_map(|fault| (0..16).map(move |k| (fault, k)))
    {
        let bench = Bench::new();
        bench.spec(1, both());
        bench.turn().await;
        bench.store.purge(&at(TEMPORAL));
        bench.fail_at(stop, fault);
        for _ in 0..3 {
            bench.turn().await;
        }
        let entry = bench.store.peek(&at(TEMPORAL));
        let told = bench.announced.lock().iter().any(|pushed| match *pushed {
            News::Pushed(Pushed::Version(version, created)) | News::Found(version, created) => {
                version == entry.cas() && created == entry.created
            }
            News::Pushed(
                Pushed::Removal(_) | Pushed::Purge | Pushed::Consent | Pushed::Release | Pushed::CustomMetadata,
            )
            | News::Uncertain => false,
        });
        assert!(told, "{fault:?} at {stop}: {:?}", bench.announced.lock());
    }
}

#[tokio::test]
async fn a_deleted_push_secret_takes_its_values_along_and_waits_for_a_store_that_is_down() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    let created = bench.store.peek(&at(TEMPORAL)).created;
    let mut push = json!(bench.server.push_secret(PUSH).unwrap());
    push["metadata"]["deletionTimestamp"] = json!(Timestamp::now());
    bench.server.put(PUSH, push);
    bench.store.fail_next(1, StoreError::Sealed { server: "fake".into() });
    let report = bench.turn().await;
    assert!(matches!(report, Report::Verdict { requeue: Requeue::BackOff, .. }));
    assert_eq!(bench.ready().1, "CleanupPending");
    assert_eq!(bench.turn().await, Report::Gone);
    assert!(bench.server.push_secret(PUSH).is_none());
    assert!(matches!(bench.store.peek(&at(TEMPORAL)).state, EntryState::Deleted { .. }));
    // Readers hear of the removal, and not of the empty version before it.
    assert_eq!(*bench.announced.lock(), [Pushed::Version(1, created), Pushed::Removal(2)].map(News::from));
}

#[tokio::test]
async fn a_deleted_push_secret_whose_store_is_gone_is_let_go_after_the_deadline() {
    let mut bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.stores.clients.clear();
    bench.delete();
    bench.turn().await;
    let (_, reason, message) = bench.ready();
    assert!(reason == "CleanupPending" && message.contains(TEMPORAL), "{message}");
    // The longer it is held, the longer the pauses, but none goes past the deadline. The ranges
    // leave the test some seconds of its own.
    for (more, pause) in [(0, 1..=20), (30, 30..=50), (270, 60..=60), (280, 1..=20)] {
        bench.pass(Duration::from_secs(more));
        let Report::Verdict { requeue: Requeue::After(after), .. } = bench.turn().await else { panic!("{more}") };
        assert!(pause.contains(&after.as_secs()), "{after:?} after {more} s more");
    }
    bench.pass(Duration::from_secs(20));
    let left =
        format!("{TEMPORAL}/password in ClusterSecretStore/vault, {TEMPORAL}/username in ClusterSecretStore/vault");
    let report = bench.turn().await;
    assert!(matches!(&report, Report::LetGo { why: LetGo::StoreGone, left: said, .. } if *said == left), "{report:?}");
}

#[tokio::test]
async fn without_deletion_policy_there_is_no_finalizer_and_nothing_goes() {
    let bench = Bench::new();
    let mut keep = both();
    keep["deletionPolicy"] = json!("None");
    bench.spec(1, keep.clone());
    bench.turn().await;
    assert_eq!(bench.server.push_secret(PUSH).unwrap().metadata.finalizers, None);
    keep["data"] = json!([mapping("user", TEMPORAL, "username")]);
    bench.spec(2, keep);
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
    assert_eq!(bench.ledger(), [format!("{TEMPORAL}/username")]);
    bench.server.remove(SOURCE);
    bench.turn().await;
    assert_eq!(bench.ready().1, "SourceGone");
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
}

#[tokio::test]
async fn a_deleted_source_takes_its_values_along_and_a_new_one_brings_them_back() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.server.remove(SOURCE);
    for _ in 0..2 {
        bench.turn().await;
        assert_eq!(bench.ready().1, "SourceDeleted");
        assert!(bench.texts(TEMPORAL).is_empty() && bench.ledger().is_empty());
    }
    bench.source(&[("user", b"u"), ("pass", b"p3")]);
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p3")]));
    assert!(bench.ready().0);
}

#[tokio::test]
async fn a_source_that_was_only_renamed_in_the_spec_deletes_nothing() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    let mut renamed = both();
    renamed["selector"]["secret"]["name"] = json!("not-yet-there");
    bench.spec(2, renamed);
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
}

#[tokio::test]
async fn bytes_that_are_no_text_keep_their_path_as_it_was_and_no_other() {
    let bench = Bench::new();
    let redis = "platform-data/redis/temporal";
    let spec = || spec(&[mapping("user", TEMPORAL, "username"), mapping("pass", redis, "password")]);
    bench.spec(1, spec());
    bench.turn().await;
    bench.source(&[("user", &[0xff, 0xfe]), ("pass", b"p2")]);
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(
        !ready && reason == "SourceInvalid" && message.contains("\"user\"") && message.contains(TEMPORAL),
        "{message}"
    );
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u")]));
    assert_eq!(bench.texts(redis), expect(&[("password", "p2")]));
    assert_eq!(bench.ledger().len(), 2);
}

#[tokio::test]
async fn more_than_a_mebibyte_is_refused_before_it_is_sent() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    let mutations = bench.store.mutations();
    bench.source(&[("user", b"u"), ("pass", &vec![b'x'; 1024 * 1024])]);
    bench.turn().await;
    let (ready, reason, _) = bench.ready();
    assert!(!ready && reason == "TooLarge");
    assert_eq!(bench.store.mutations(), mutations);
    assert_eq!(bench.ledger().len(), 2);
}

#[tokio::test]
async fn more_than_a_mebibyte_is_not_even_announced() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.source(&[("user", b"u"), ("pass", &vec![b'x'; 1024 * 1024])]);
    bench.turn().await;
    let (ready, reason, _) = bench.ready();
    assert!(!ready && reason == "TooLarge", "{reason}");
    assert_eq!(bench.store.mutations(), 0);
    assert!(bench.ledger().is_empty());
}

#[tokio::test]
async fn what_is_not_done_is_said_and_nothing_happens() {
    let at_index = |spec: &Value, pointer: &str, value: Value| {
        let mut spec = spec.clone();
        match (spec.pointer_mut(pointer).is_some(), pointer.rsplit_once('/').unwrap()) {
            (true, _) => *spec.pointer_mut(pointer).unwrap() = value,
            (false, (parent, field)) => spec.pointer_mut(parent).unwrap()[field] = value,
        }
        spec
    };
    let base = both();
    let cases = [
        (
            at_index(&base, "/selector/generatorRef", json!({ "kind": "Password", "name": "g" })),
            "Unsupported",
            "generatorRef",
        ),
        (
            at_index(&base, "/template", json!({ "data": { "salt": "{{ randAlphaNum 8 }}" } })),
            "Unsupported",
            "spec.template.data.salt: a function whose result changes by itself",
        ),
        (
            at_index(&base, "/template", json!({ "data": { "a": "{{ .x" } })),
            "InvalidSpec",
            "spec.template.data.a: line 1",
        ),
        (at_index(&base, "/data/0/metadata", json!({})), "InvalidSpec", "spec.data[0].metadata"),
        (at_index(&base, "/refreshInterval", json!("1d")), "InvalidSpec", "spec.refreshInterval"),
        (
            at_index(&base, "/data/1/match/secretKey", json!("k".repeat(254))),
            "InvalidSpec",
            "spec.data[1].match.secretKey has 254 characters: at most 253",
        ),
        (at_index(&base, "/secretStoreRefs/0/kind", json!("SecretStore")), "ConventionViolated", "P1"),
        (at_index(&base, "/data/0/match/secretKey", json!("")), "ConventionViolated", "P2"),
        (at_index(&base, "/dataTo", json!([{}])), "ConventionViolated", "P2"),
        (
            at_index(&base, "/data/1", mapping("pass", &format!("secret/{TEMPORAL}"), "username")),
            "ConventionViolated",
            "V4",
        ),
        (
            at_index(&base, "/data/1", mapping("pass", "platform-data/postgres/temporal-dev", "password")),
            "ConventionViolated",
            "V5",
        ),
        (at_index(&base, "/secretStoreRefs/0/name", json!("nowhere")), "StoreNotFound", "nowhere"),
        (at_index(&base, "/data/1/match/secretKey", json!("none")), "SourceInvalid", "\"none\""),
    ];
    for (spec, reason, named) in cases {
        let bench = Bench::new();
        bench.spec(1, spec);
        bench.turn().await;
        let (ready, found, message) = bench.ready();
        assert!(!ready && found == reason && message.contains(named), "{reason} {named}: {found} {message}");
        let password = bench.store.peek(&at(TEMPORAL)).data().is_some_and(|data| data.contains_key("password"));
        assert!(!password, "{reason} {named}");
    }
}

/// A version that is announced wakes followers at other addresses, so what was told is not told again.
#[tokio::test]
async fn a_path_that_the_status_has_no_room_for_is_announced_once() {
    let bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
    let mappings: Vec<Value> = (0..120).map(|number| mapping("pass", &format!("p{number:03}"), "password")).collect();
    bench.spec(1, spec(&mappings));
    bench.turn().await;
    assert!(bench.ready().0 && bench.announced.lock().len() == 120, "{:?}", bench.ready());
    bench.announced.lock().clear();
    bench.turn().await;
    let announced = bench.announced.lock().clone();
    assert!(announced.iter().all(|pushed| matches!(pushed, News::Found(1, _))), "{announced:?}");
    assert_eq!(announced.len(), 120);
}

#[tokio::test]
async fn without_a_convention_two_mappings_to_one_property_are_still_refused() {
    let bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
    bench.spec(1, spec(&[mapping("user", TEMPORAL, "password"), mapping("pass", TEMPORAL, "password")]));
    bench.turn().await;
    let (_, reason, message) = bench.ready();
    assert_eq!(reason, Reason::InvalidSpec.as_str());
    assert!(message.contains("spec.data[0]") && message.contains("spec.data[1]"), "{message}");
}

#[tokio::test]
async fn an_existing_property_is_left_and_never_listed_when_asked() {
    let bench = Bench::new();
    let other = crate::domain::remote::RemoteData::from([(
        "password".to_owned(),
        crate::domain::remote::RemoteValue::text("theirs"),
    )]);
    bench.store.put(&at(TEMPORAL), other);
    bench.store.put_metadata(&at(TEMPORAL), BTreeMap::from([("managed-by".into(), "external-secrets".into())]));
    let mut keep = both();
    keep["updatePolicy"] = json!("IfNotExists");
    bench.spec(1, keep);
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "theirs")]));
    assert_eq!(bench.ledger(), [format!("{TEMPORAL}/username")]);
    assert!(bench.ready().2.contains("IfNotExists"));
}

/// A controller that stops at request `k`, of either server and on either side of it, for every
/// `k`: the next ones end where an undisturbed one would.
#[tokio::test]
async fn a_stop_at_any_request_is_repaired() {
    for fault in [Fault::Refuse, Fault::LoseReply] {
        for stop in 0..40 {
            let bench = Bench::new();
            let count = bench.fail_at(stop, fault);
            let renamed = "platform-data/redis/temporal";
            bench.spec(1, both());
            bench.turn().await;
            bench.spec(2, spec(&[mapping("user", renamed, "username"), mapping("pass", TEMPORAL, "password")]));
            for _ in 0..2 {
                bench.turn().await;
            }
            for _ in 0..2 {
                if count.load(Ordering::Relaxed) >= stop {
                    bench.turn().await;
                }
            }
            assert!(bench.ready().0, "stopped at {stop}: {:?}", bench.ready());
            assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "p")]), "stopped at {stop}");
            assert_eq!(bench.texts(renamed), expect(&[("username", "u")]), "stopped at {stop}");
            assert_eq!(bench.ledger(), [format!("{TEMPORAL}/password"), format!("{renamed}/username")]);
            let (first, second) = (bench.store.peek(&at(TEMPORAL)).cas(), bench.store.peek(&at(renamed)).cas());
            assert!(first <= 2 && second == 1, "stopped at {stop}: versions {first} and {second}");
            let announced = bench.announced.lock().clone();
            let written = announced.into_iter().filter_map(|pushed| match pushed {
                News::Pushed(Pushed::Version(version, _)) | News::Found(version, _) => Some(version),
                News::Pushed(
                    Pushed::Removal(_) | Pushed::Purge | Pushed::Consent | Pushed::Release | Pushed::CustomMetadata,
                )
                | News::Uncertain => None,
            });
            assert_eq!(written.max(), Some(first), "stopped at {stop}");
            let mut push = json!(bench.server.push_secret(PUSH).unwrap());
            push["metadata"]["deletionTimestamp"] = json!(Timestamp::now());
            bench.server.put(PUSH, push);
            for _ in 0..3 {
                if bench.server.push_secret(PUSH).is_some() {
                    bench.turn().await;
                }
            }
            assert!(bench.server.push_secret(PUSH).is_none(), "stopped at {stop}");
            assert!(bench.texts(TEMPORAL).is_empty() && bench.texts(renamed).is_empty(), "stopped at {stop}");
        }
    }
}
