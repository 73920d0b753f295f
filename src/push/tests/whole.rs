//! Pushes of whatever a source has, which the convention refuses and its other modes allow.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::{Value, json};

use super::lifecycle::{Bench, TEMPORAL, at, expect, mapping};
use crate::domain::convention::{Convention, Mode};
use crate::domain::remote::EntryState;

fn bench() -> Bench {
    Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() }
}

fn spec(fields: Value) -> Value {
    let mut spec = json!({
        "refreshInterval": "1h", "deletionPolicy": "Delete",
        "secretStoreRefs": [{ "name": "vault", "kind": "ClusterSecretStore" }],
        "selector": { "secret": { "name": "source" } },
    });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

fn whole(remote_ref: Value) -> Value {
    spec(json!({ "data": [{ "match": { "remoteRef": remote_ref } }] }))
}

#[tokio::test]
async fn a_whole_source_becomes_properties_beside_those_of_others_and_what_it_loses_goes() {
    let bench = bench();
    let other = [("theirs".to_owned(), crate::domain::remote::RemoteValue::text("kept"))];
    bench.store.put(&at(TEMPORAL), other.into());
    bench.store.put_metadata(&at(TEMPORAL), [("managed-by".into(), "external-secrets".into())].into());
    bench.spec(1, whole(json!({ "remoteKey": TEMPORAL })));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("user", "u"), ("pass", "p"), ("theirs", "kept")]));
    assert_eq!(bench.ledger(), [format!("{TEMPORAL}/pass"), format!("{TEMPORAL}/user")]);
    bench.source(&[("user", b"u")]);
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("user", "u"), ("theirs", "kept")]));
    let mutations = bench.store.mutations();
    bench.turn().await;
    assert_eq!(bench.store.mutations(), mutations);
}

#[tokio::test]
async fn with_a_property_a_whole_source_is_one_json_text() {
    let bench = bench();
    bench.spec(1, whole(json!({ "remoteKey": TEMPORAL, "property": "all" })));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("all", r#"{"pass":"p","user":"u"}"#)]));
}

#[tokio::test]
async fn defects_d_e_m_numbers_and_nested_objects_are_exact_and_cost_one_version() {
    let bench = bench();
    let json = br#"{"id": 9007199254740993, "rate": 1.50, "nested": {"b": [1, 2], "a": "<"}}"#;
    bench.source(&[("config", json)]);
    let fields = json!({ "data": [{ "match": { "secretKey": "config", "remoteRef": { "remoteKey": TEMPORAL } } }] });
    bench.spec(1, spec(fields));
    for _ in 0..3 {
        bench.turn().await;
        assert!(bench.ready().0, "{:?}", bench.ready());
        assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1);
    }
    let texts = bench.texts(TEMPORAL);
    assert_eq!((texts["id"].as_str(), texts["rate"].as_str()), ("9007199254740993", "1.50"));
    // A server gives it back in an order of its own, and numbers as floats.
    let reordered = [("nested", r#"{"a":"\u003c","b":[1,2]}"#), ("rate", "1.5"), ("id", r#""9007199254740993""#)];
    let raw = |json: &str| {
        let json = serde_json::value::RawValue::from_string(json.to_owned()).unwrap();
        crate::domain::remote::RemoteValue::raw(json)
    };
    bench.store.put(&at(TEMPORAL), reordered.into_iter().map(|(field, json)| (field.to_owned(), raw(json))).collect());
    let mutations = bench.store.mutations();
    bench.turn().await;
    assert_eq!(bench.store.mutations(), mutations);
    bench.source(&[("config", b"no object any more")]);
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "SourceInvalid" && message.contains("\"config\""), "{message}");
    assert_eq!(bench.texts(TEMPORAL).len(), 3, "what it was made of is not known any more, and stays");
}

#[tokio::test]
async fn a_bundle_has_the_keys_that_match_and_a_mapping_of_its_own_wins() {
    let bench = bench();
    bench.source(&[("db-user", b"u"), ("db-pass", b"p"), ("db-host", b"h"), ("other", b"x")]);
    let fields = json!({
        "data": [mapping("db-host", "platform-config/postgres/temporal", "host")],
        "dataTo": [{ "remoteKey": TEMPORAL, "match": { "regexp": "^db-" } }],
    });
    bench.spec(1, spec(fields));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("db-user", "u"), ("db-pass", "p")]));
    assert_eq!(bench.texts("platform-config/postgres/temporal"), expect(&[("host", "h")]));
}

#[tokio::test]
async fn defect_l_each_key_gets_a_path_of_its_own_whatever_its_value() {
    let bench = bench();
    bench.source(&[("db-user", b"u"), ("db-pool", br#"{"size": 10}"#)]);
    let rewrite = json!([{ "regexp": { "source": "^db-(.*)$", "target": "apps/shop/$1" } }]);
    bench.spec(1, spec(json!({ "dataTo": [{ "rewrite": rewrite }] })));
    bench.turn().await;
    assert_eq!(bench.texts("apps/shop/user"), expect(&[("value", "u")]));
    assert_eq!(bench.texts("apps/shop/pool"), expect(&[("size", "10")]));
    bench.source(&[("db-pool", br#"{"size": 10}"#)]);
    bench.turn().await;
    assert!(matches!(bench.store.peek(&at("apps/shop/user")).state, EntryState::Deleted { .. }));
    assert_eq!(bench.ledger(), ["apps/shop/pool/size"]);
}

#[tokio::test]
async fn a_path_is_made_of_its_key_by_a_template_as_well() {
    let bench = bench();
    bench.source(&[("db-user", b"u")]);
    let rewrite = json!([
        { "regexp": { "source": "^db-", "target": "" } },
        { "transform": { "template": "apps/shop/{{ .value }}" } },
    ]);
    bench.spec(1, spec(json!({ "dataTo": [{ "rewrite": rewrite }] })));
    bench.turn().await;
    assert_eq!(bench.texts("apps/shop/user"), expect(&[("value", "u")]), "{:?}", bench.ready());
}

#[tokio::test]
async fn two_keys_that_are_rewritten_to_one_path_are_refused_and_both_named() {
    let bench = bench();
    bench.source(&[("a-x", b"1"), ("b-x", b"2")]);
    let rewrite = json!([{ "regexp": { "source": "^.-", "target": "" } }]);
    bench.spec(1, spec(json!({ "dataTo": [{ "rewrite": rewrite }] })));
    bench.turn().await;
    let (ready, _, message) = bench.ready();
    assert!(!ready && message.contains("\"a-x\"") && message.contains("\"b-x\""), "{message}");
    assert_eq!(bench.store.mutations(), 0);
}

#[tokio::test]
async fn what_cannot_be_done_of_many_keys_is_said_by_field() {
    for (many, reason, said) in [
        (json!({ "match": { "regexp": "(" } }), "InvalidSpec", "spec.dataTo[0].match.regexp"),
        (
            json!({ "rewrite": [{ "transform": { "template": "{{ .value | uppercase }}" } }] }),
            "InvalidSpec",
            "spec.dataTo[0].rewrite[0].transform.template",
        ),
        (json!({ "storeRef": { "name": "nowhere" } }), "InvalidSpec", "spec.dataTo[0].storeRef"),
        (json!({ "storeRef": {} }), "InvalidSpec", "spec.dataTo[0].storeRef.name"),
        (
            json!({ "storeRef": { "labelSelector": { "matchLabels": { "te am": "x" } } } }),
            "InvalidSpec",
            "spec.dataTo[0].storeRef.labelSelector",
        ),
        (json!({ "remoteKey": "a/{{ .data }}" }), "InvalidSpec", "spec.dataTo[0].remoteKey"),
        (json!({ "metadata": {} }), "InvalidSpec", "spec.dataTo[0].metadata"),
    ] {
        let bench = bench();
        bench.spec(1, spec(json!({ "dataTo": [many] })));
        bench.turn().await;
        let (_, found, message) = bench.ready();
        assert!(found == reason && message.contains(said), "{said}: {found} {message}");
        assert_eq!(bench.store.mutations(), 0);
    }
}

#[tokio::test]
async fn where_the_convention_only_warns_it_works_and_p2_is_said() {
    let bench = Bench { convention: Convention::with_mode(Mode::Warn), ..Bench::new() };
    bench.spec(1, whole(json!({ "remoteKey": TEMPORAL })));
    bench.turn().await;
    let (ready, _, message) = bench.ready();
    assert!(ready && message.contains("P2"), "{message}");
    assert_eq!(bench.texts(TEMPORAL), expect(&[("user", "u"), ("pass", "p")]));
}

#[tokio::test]
async fn who_may_read_is_said_of_each_of_many_keys() {
    let bench = bench();
    let metadata = json!({
        "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata",
        "spec": { "consumers": { "namespaces": ["web"] } },
    });
    bench.spec(1, spec(json!({ "dataTo": [{ "remoteKey": TEMPORAL, "metadata": metadata }] })));
    bench.turn().await;
    let metadata = bench.store.peek(&at(TEMPORAL)).custom_metadata;
    for key in ["user", "pass"] {
        assert!(metadata.contains_key(&crate::domain::consent::key(key)), "{metadata:?}");
    }
}

#[tokio::test]
async fn a_rewrite_that_multiplies_a_key_is_named_and_stops_no_other_mapping() {
    let bench = bench();
    let bomb = json!({ "regexp": { "source": ".", "target": "$0".repeat(512) } });
    let fields = json!({
        "data": [mapping("user", TEMPORAL, "username")],
        "dataTo": [{ "match": { "regexp": "^pass$" }, "rewrite": vec![bomb; 10] }],
    });
    bench.spec(1, spec(fields));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "SourceInvalid", "{reason} {message}");
    assert!(message.contains("spec.dataTo[0]") && message.contains("rewrite[0]"), "{message}");
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u")]), "{message}");
    assert_eq!(bench.ledger(), [format!("{TEMPORAL}/username")]);
}

#[tokio::test]
async fn a_spec_has_a_bounded_number_of_regular_expressions() {
    for (each, is_refused) in [(26, true), (6, false)] {
        let bench = bench();
        let rewrite = json!({ "regexp": { "source": "^nothing$", "target": "" } });
        let many = || json!({ "rewrite": vec![rewrite.clone(); each] });
        let data_to: Vec<Value> = (0..4).map(|_| many()).collect();
        bench.spec(1, spec(json!({ "dataTo": data_to })));
        bench.turn().await;
        let (_, reason, message) = bench.ready();
        let counted = message.contains("104 regular expressions");
        assert_eq!((reason == "InvalidSpec" && counted, counted), (is_refused, is_refused), "{reason} {message}");
        assert!(!is_refused || message.contains("may have 25") && bench.store.mutations() == 0, "{message}");
    }
}

#[tokio::test]
async fn r16_a_value_that_is_empty_is_published_and_named() {
    let bench = bench();
    let warnings = || {
        let (ready, _, message) = bench.ready();
        let said = message.split("; warning: ").skip(1).map(str::to_owned).collect::<Vec<_>>();
        (ready, said)
    };
    let all = json!({
        "data": [
            mapping("tls.crt", TEMPORAL, "certificate"),
            mapping("tls.crt", TEMPORAL, "again"),
            { "match": { "secretKey": "config", "remoteRef": { "remoteKey": "platform-data/postgres/config" } } },
            { "match": { "remoteRef": { "remoteKey": "platform-data/postgres/all", "property": "all" } } },
        ],
        "dataTo": [
            { "remoteKey": "platform-data/postgres/bundle", "match": { "regexp": "^note$" } },
            { "rewrite": [{ "regexp": { "source": "^(lone)$", "target": "apps/shop/$1" } }],
              "match": { "regexp": "^lone$" } },
        ],
    });
    let filled: [(&str, &[u8]); 4] =
        [("tls.crt", b"good"), ("config", br#"{"user": "u", "pass": "p"}"#), ("note", b"n"), ("lone", b"l")];
    bench.source(&filled);
    bench.spec(1, spec(all));
    bench.turn().await;
    assert_eq!(warnings(), (true, vec![]));
    let emptied: [(&str, &[u8]); 4] =
        [("tls.crt", b""), ("config", br#"{"user": "u", "pass": ""}"#), ("note", b""), ("lone", b"")];
    bench.source(&emptied);
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("certificate", ""), ("again", "")]));
    let (ready, said) = warnings();
    let named = [r#"field "pass" of key "config""#, r#"key "lone""#, r#"key "note""#, r#"key "tls.crt""#];
    assert!(ready && said.len() == named.len(), "{said:?}");
    for (said, named) in said.iter().zip(named) {
        let words = format!("{named} of Secret db/source is empty: fill it, or do not map it");
        assert!(said.starts_with(&words), "{said}");
    }
}

/// The spec is edited to name another source, and that one has nothing to push yet.
#[tokio::test]
async fn an_edit_to_a_source_that_is_not_filled_yet_removes_nothing() {
    let empty = |keys: &[(&str, &str)]| {
        Some(keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
    };
    let (config, other) = (("db-config", r#"{"user":"u"}"#), ("other", "x"));
    let rewrite = json!([{ "regexp": { "source": "^db-(.*)$", "target": "apps/shop/$1" } }]);
    let shapes = [
        // A bundle of keys; each key by itself; the fields of a key; a whole source.
        (
            json!({ "dataTo": [{ "remoteKey": TEMPORAL, "match": { "regexp": "^db-" } }] }),
            TEMPORAL,
            vec![None, empty(&[]), empty(&[other])],
        ),
        (
            json!({ "dataTo": [{ "match": { "regexp": "^db-" }, "rewrite": rewrite }] }),
            "apps/shop/config",
            vec![None, empty(&[]), empty(&[other]), empty(&[("db-config", "{}")])],
        ),
        (
            json!({ "data": [{ "match": { "secretKey": "db-config", "remoteRef": { "remoteKey": TEMPORAL } } }] }),
            TEMPORAL,
            vec![None, empty(&[]), empty(&[other]), empty(&[("db-config", "{}")])],
        ),
        (
            json!({ "data": [{ "match": { "remoteRef": { "remoteKey": TEMPORAL } } }] }),
            TEMPORAL,
            vec![None, empty(&[])],
        ),
    ];
    for (shape, path, states) in shapes {
        for state in states {
            let place = format!("{shape} {state:?}");
            let bench = bench();
            bench.source(&[(config.0, config.1.as_bytes())]);
            bench.spec(1, spec(shape.clone()));
            bench.turn().await;
            let (before, listed) = (bench.texts(path), bench.ledger());
            assert!(bench.ready().0 && !before.is_empty(), "{place}: {:?}", bench.ready());
            let next = |state: &[(String, String)]| {
                let data: BTreeMap<&String, &String> = state.iter().map(|(key, text)| (key, text)).collect();
                let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "next", "uid": "n" },
                    "data": data.into_iter().map(|(key, text)| (key.clone(), base64::engine::general_purpose::STANDARD.encode(text))).collect::<BTreeMap<_, _>>() });
                bench.server.put("/namespaces/db/secrets/next", secret);
            };
            if let Some(state) = &state {
                next(state);
            }
            let mut edited = spec(shape.clone());
            edited["selector"]["secret"]["name"] = json!("next");
            bench.spec(2, edited);
            for _ in 0..2 {
                bench.turn().await;
                let (ready, _, message) = bench.ready();
                assert!(!ready && message.contains("db/next"), "{place}: {message}");
                assert_eq!((bench.texts(path), bench.ledger()), (before.clone(), listed.clone()), "{place}");
            }
            // Filled, it replaces the other one. From then on a key that it loses is removed.
            next(&[(config.0.to_owned(), r#"{"user":"v"}"#.to_owned())]);
            bench.turn().await;
            assert!(bench.ready().0 && bench.texts(path) != before, "{place}: {:?}", bench.ready());
            assert_eq!(bench.ledger(), listed, "{place}");
            if state.is_some() {
                next(&[]);
                bench.turn().await;
                assert!(bench.texts(path).is_empty() || !bench.ready().0, "{place}: {:?}", bench.ready());
            }
        }
    }
}

/// Whoever wants nothing any more removes the mappings.
#[tokio::test]
async fn a_spec_without_mappings_removes_everything() {
    let bench = bench();
    bench.spec(1, whole(json!({ "remoteKey": TEMPORAL })));
    bench.turn().await;
    bench.spec(2, spec(json!({ "data": [] })));
    bench.turn().await;
    assert!(bench.ready().0 && bench.texts(TEMPORAL).is_empty(), "{:?}", bench.ready());
}
