//! The types of the API: what they decode, what they keep, what they tolerate.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waypost::api::condition::{self, Upsert};
use waypost::api::path_status::PushedPath;
use waypost::api::store_spec::Headers;
use waypost::api::{
    ClusterExternalSecret, ClusterPushSecret, ClusterSecretStore, Condition, ConditionStatus, ExternalSecret,
    GoDuration, PushSecret, Reason, SecretStore, crd, names,
};

const MANIFESTS: [&str; 4] = [
    include_str!("data/manifests/externalsecret-full.yaml"),
    include_str!("data/manifests/pushsecret-full.yaml"),
    include_str!("data/manifests/secretstore-full.yaml"),
    include_str!("data/manifests/cluster-wide-full.yaml"),
];

#[test]
fn durations_are_what_go_makes_of_them() {
    let table = include_str!("data/go-durations.tsv");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (text, nanos, printed) = (columns[0], columns[1], columns[2]);
        let parsed = text.parse::<GoDuration>();
        if nanos == "error" {
            assert!(parsed.is_err(), "{text:?} became {parsed:?}");
            continue;
        }
        let duration = parsed.unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(duration.as_nanos().to_string(), nanos, "{text:?}");
        assert_eq!(duration.to_string(), printed, "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_printed_duration_parses_to_itself(nanos in any::<i64>()) {
        let duration = GoDuration::from_nanos(nanos);
        prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+0-9.a-zµμ ]{0,40}") {
        let _ = text.parse::<GoDuration>();
    }
}

#[test]
fn zero_and_negative_durations_mean_once() {
    for text in ["0", "0s", "-5m"] {
        let duration: GoDuration = text.parse().expect("Go accepts it");
        assert_eq!(duration.positive(), None, "{text}");
    }
}

#[test]
fn full_manifests_survive_a_round_trip() {
    let mut kinds = BTreeSet::new();
    for manifest in documents() {
        kinds.insert(manifest["kind"].as_str().unwrap_or_default().to_owned());
        assert_eq!(round_trip(&manifest), manifest);
    }
    assert_eq!(kinds.len(), 6);
}

#[test]
fn full_manifests_hold_every_field_of_the_schemas() {
    let mut used = BTreeSet::new();
    for manifest in documents() {
        let kind = manifest["kind"].as_str().unwrap_or_default();
        collect_used(shared(kind), &manifest["spec"], &mut used);
    }
    let mut declared = BTreeSet::new();
    for definition in crd::definitions() {
        let kind = definition["spec"]["names"]["kind"].as_str();
        let kind = shared(kind.unwrap_or_default());
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        collect_declared(kind, &schema["properties"]["spec"], &mut declared);
    }
    let missing: Vec<_> = declared.difference(&used).collect();
    assert!(missing.is_empty(), "no manifest uses: {missing:#?}");
}

#[test]
fn a_malformed_interval_reaches_the_reconciler() {
    let mut manifest = documents().remove(0);
    manifest["spec"]["refreshInterval"] = json!("1h-5m");
    let decoded: ExternalSecret = decode(&manifest);
    assert_eq!(decoded.spec.refresh_interval.as_str(), "1h-5m");
    assert!(decoded.spec.refresh_interval.parse().is_err());
}

#[test]
fn absent_fields_get_the_defaults_of_the_schema_and_no_others() {
    let decoded: ExternalSecret = decode(&json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a"}, "spec": {},
    }));
    let encoded = serde_json::to_value(&decoded.spec).expect("plain data");
    let expected = json!({
        "refreshInterval": "1h0m0s",
        "target": {"creationPolicy": "Owner", "deletionPolicy": "Retain"},
    });
    assert_eq!(encoded, expected);
    assert_eq!(decoded.spec.target_name("a"), "a");
}

#[test]
fn stores_of_foreign_providers_decode_and_keep_nothing_but_the_name() {
    let decoded: SecretStore = decode(&json!({
        "apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "a"},
        "spec": {"provider": {"aws": {"service": "SecretsManager", "token": "canary"}}},
    }));
    let names: Vec<&str> = decoded.spec.provider.foreign_names().collect();
    assert_eq!(names, ["aws"]);
    assert!(decoded.spec.provider.vault.is_none());
    assert!(!format!("{decoded:?}").contains("canary"));
}

#[test]
fn headers_are_never_printed() {
    let headers = Headers(BTreeMap::from([("X-Proxy".to_owned(), "canary".to_owned())]));
    assert_eq!(format!("{headers:?}"), r#"{"X-Proxy"}"#);
}

#[test]
fn a_state_of_a_newer_version_decodes_as_none() {
    let decoded: PushedPath = decode(&json!({"store": "s", "path": "p", "state": "Quantum"}));
    assert_eq!(decoded.state, None);
}

#[test]
fn a_condition_keeps_its_transition_time_while_its_status_stays() {
    let mut conditions = Vec::new();
    let ready = |status, message: &str| Condition::ready(status, Reason::Synced, message, Some(1));
    let upsert = |conditions: &mut Vec<Condition>, new, now: &str| condition::upsert(conditions, new, time(now));
    let first = "2026-01-01T00:00:00Z";
    let later = "2026-01-02T00:00:00Z";
    assert_eq!(upsert(&mut conditions, ready(ConditionStatus::True, "a"), first), Upsert::Changed);
    assert_eq!(upsert(&mut conditions, ready(ConditionStatus::True, "a"), later), Upsert::Unchanged);
    assert_eq!(upsert(&mut conditions, ready(ConditionStatus::True, "b"), later), Upsert::Changed);
    assert_eq!(conditions[0].last_transition_time, Some(time(first)));
    assert_eq!(upsert(&mut conditions, ready(ConditionStatus::False, "b"), later), Upsert::Changed);
    assert_eq!(conditions[0].last_transition_time, Some(time(later)));
    assert_eq!(conditions.len(), 1);
}

#[test]
fn reasons_are_words_and_each_is_there_once() {
    let words: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
    for word in words {
        assert!(word.chars().all(|c| c.is_ascii_alphabetic()), "{word}");
        assert!(word.starts_with(|c: char| c.is_ascii_uppercase()), "{word}");
    }
}

#[test]
fn field_managers_of_targets_fit_into_63_characters_and_then_turn_into_a_digest() {
    let (short, long) = ("a".repeat(27), "a".repeat(28));
    assert_eq!(names::target_manager(&short), format!("externalsecrets.external-secrets.io/{short}"));
    let hashed = names::target_manager(&long);
    assert!(hashed.starts_with("externalsecrets.external-secrets.io/sha3/"), "{hashed}");
    assert_eq!(hashed.len(), names::MANAGER_TARGET_PREFIX.len() + "sha3/".len() + 56);
}

fn time(text: &str) -> Time {
    decode(&json!(text))
}

fn decode<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("the manifest decodes")
}

fn documents() -> Vec<Value> {
    MANIFESTS
        .iter()
        .flat_map(|text| text.split("\n---\n"))
        .map(|document| serde_saphyr::from_str(document).expect("the manifest is YAML"))
        .collect()
}

fn round_trip(manifest: &Value) -> Value {
    fn through<T: DeserializeOwned + Serialize>(manifest: &Value) -> Value {
        serde_json::to_value(decode::<T>(manifest)).expect("plain data")
    }
    match manifest["kind"].as_str() {
        Some("ExternalSecret") => through::<ExternalSecret>(manifest),
        Some("PushSecret") => through::<PushSecret>(manifest),
        Some("SecretStore") => through::<SecretStore>(manifest),
        Some("ClusterSecretStore") => through::<ClusterSecretStore>(manifest),
        Some("ClusterExternalSecret") => through::<ClusterExternalSecret>(manifest),
        Some("ClusterPushSecret") => through::<ClusterPushSecret>(manifest),
        kind => panic!("unknown kind {kind:?}"),
    }
}

/// A field by the kind whose spec it is of, and its name: references and selectors stand at many
/// places, and using each at one of them is enough.
type Field = (String, String);

/// Kinds that share a spec share the manifests that use its fields.
fn shared(kind: &str) -> &str {
    match kind {
        "ClusterSecretStore" => "SecretStore",
        "ClusterExternalSecret" => "ExternalSecret",
        "ClusterPushSecret" => "PushSecret",
        kind => kind,
    }
}

fn collect_used(kind: &str, value: &Value, used: &mut BTreeSet<Field>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                used.insert((kind.to_owned(), name.clone()));
                collect_used(kind, field, used);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_used(kind, item, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn collect_declared(kind: &str, schema: &Value, declared: &mut BTreeSet<Field>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        declared.insert((kind.to_owned(), name.clone()));
        collect_declared(kind, field, declared);
    }
    if schema["items"].is_object() {
        collect_declared(kind, &schema["items"], declared);
    }
}
