//! What is said about a spec out of its bounds, what is not, and that code and definitions have the
//! same bounds.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::api::push_secret::PushSecretSpec;
use crate::api::store_spec::StoreSpec;
use crate::api::{ClusterExternalSecretSpec, ClusterPushSecretSpec, ExternalSecretSpec, crd};

fn judged<T: DeserializeOwned + Validate>(spec: &Value) -> Result<(), String> {
    let spec: T = serde_json::from_value(spec.clone()).unwrap_or_else(|error| panic!("{error}: {spec}"));
    check(&spec).map_err(|error| error.to_string())
}

fn text(length: usize) -> Value {
    Value::String("a".repeat(length))
}

fn push(data: &[Value]) -> Value {
    json!({ "secretStoreRefs": [], "selector": {}, "data": data })
}

fn mapping(secret_key: usize, remote_key: usize) -> Value {
    json!({ "match": { "secretKey": text(secret_key), "remoteRef": { "remoteKey": text(remote_key) } } })
}

#[test]
fn fields_are_named_as_the_manifest_spells_them_in_its_order_and_always_the_same() {
    let mut data = vec![mapping(1, 1); 12];
    data[2] = mapping(254, 1);
    data[11] = mapping(254, 0);
    let mut spec = push(&data);
    for _each_with_another_order_of_the_library_s_maps in 0..20 {
        assert_eq!(
            judged::<PushSecretSpec>(&spec).unwrap_err(),
            "spec.data[2].match.secretKey has 254 characters: at most 253; \
             spec.data[11].match.remoteRef.remoteKey has 0 characters: at least 1; \
             spec.data[11].match.secretKey has 254 characters: at most 253"
        );
    }
    spec["selector"]["secret"] = json!({ "name": "" });
    let said = judged::<PushSecretSpec>(&spec).unwrap_err();
    assert!(said.ends_with("; and 1 more field is out of its bounds"), "{said}");
    spec["secretStoreRefs"] = json!([{ "name": text(300) }]);
    let said = judged::<PushSecretSpec>(&spec).unwrap_err();
    assert!(said.ends_with("; and 2 more fields are out of their bounds"), "{said}");
}

#[test]
fn a_list_that_is_too_long_is_counted_and_not_looked_into() {
    assert_eq!(judged::<PushSecretSpec>(&push(&vec![mapping(1, 1); 1000])), Ok(()));
    let said = judged::<PushSecretSpec>(&push(&vec![mapping(254, 1); 1001]));
    assert_eq!(said.unwrap_err(), "spec.data has 1001 items: at most 1000");
}

#[test]
fn characters_are_counted_as_the_api_server_counts_them() {
    let four_bytes_each = |length: usize| {
        push(&[json!({ "match": { "secretKey": "🔑".repeat(length), "remoteRef": { "remoteKey": "k" } } })])
    };
    assert_eq!(judged::<PushSecretSpec>(&four_bytes_each(253)), Ok(()));
    let said = judged::<PushSecretSpec>(&four_bytes_each(254)).unwrap_err();
    assert_eq!(said, "spec.data[0].match.secretKey has 254 characters: at most 253");
}

#[test]
fn no_value_is_kept_or_shown() {
    const CANARY: &str = "canary-1f0c";
    let long = format!("{CANARY}{}", "a".repeat(2000));
    let mapping = json!({ "match": { "secretKey": CANARY, "remoteRef": { "remoteKey": long } }, "metadata": CANARY });
    for data in [vec![mapping.clone()], vec![mapping; 1001]] {
        let spec: PushSecretSpec = serde_json::from_value(push(&data)).unwrap();
        let theirs = spec.validate().unwrap_err().to_string();
        assert!(theirs.contains(CANARY), "the library quotes it, or this test shows nothing");
        let ours = check(&spec).unwrap_err();
        assert!(!ours.to_string().contains(CANARY) && !format!("{ours:?}").contains(CANARY), "{ours:?}");
    }
    let retries = |most: i32| json!({ "provider": {}, "retrySettings": { "maxRetries": most } });
    let said = [7141, -7141].map(|most| judged::<StoreSpec>(&retries(most)).unwrap_err());
    let field = "spec.retrySettings.maxRetries is out of its bounds";
    assert_eq!(said, [format!("{field}: at most 100"), format!("{field}: at least 0")]);
}

#[test]
fn a_check_that_has_no_bounds_is_reported_all_the_same() {
    #[derive(Validate)]
    struct Spec {
        #[validate(url)]
        address: String,
    }
    let said = check(&Spec { address: "canary".into() }).unwrap_err();
    assert_eq!(said.to_string(), "spec.address is out of its bounds");
}

/// The fields with a parser of their own, whose text is bounded there.
const DURATIONS: [&str; 4] = ["refreshInterval", "refreshTime", "retryInterval", "duration"];

/// What only definitions bound: the library does not look at texts that are items of a list, and
/// LabelSelector is not ours. Maps, certificates and intervals of stores are not compared at all:
/// their schemas are written by hand.
fn is_left_to_definitions(field: &str) -> bool {
    field.ends_with(']') || field.contains(".matchExpressions") || DURATIONS.iter().any(|name| field.ends_with(name))
}

#[test]
fn code_and_definitions_have_the_same_bounds() {
    let mut compared = 0;
    for definition in crd::definitions() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        each_field(schema, "spec", &|spec| spec, &mut |field, schema, put| {
            for edge in edges(schema) {
                assert_eq!(judged_as(kind, &put(edge.inside)), Ok(()), "{kind} {field}");
                let said = match is_left_to_definitions(field) {
                    true => Ok(()),
                    false => Err(format!("{field} {}", edge.said)),
                };
                assert_eq!(judged_as(kind, &put(edge.outside)), said, "{kind} {field}");
                compared += 1;
            }
        });
    }
    assert!(compared > 500, "only {compared} bounds were found in the definitions");
}

fn judged_as(kind: &str, spec: &Value) -> Result<(), String> {
    match kind {
        "ExternalSecret" => judged::<ExternalSecretSpec>(spec),
        "PushSecret" => judged::<PushSecretSpec>(spec),
        "SecretStore" | "ClusterSecretStore" => judged::<StoreSpec>(spec),
        "ClusterExternalSecret" => judged::<ClusterExternalSecretSpec>(spec),
        "ClusterPushSecret" => judged::<ClusterPushSecretSpec>(spec),
        kind => panic!("unknown kind {kind:?}"),
    }
}

/// Puts a value in its place in a spec that has else only what is required.
type Put<'a> = &'a dyn Fn(Value) -> Value;

/// Visits every field below a schema: its path, its schema, and how to put a value there.
fn each_field(schema: &Value, path: &str, put: Put<'_>, visit: &mut dyn FnMut(&str, &Value, Put<'_>)) {
    visit(path, schema, put);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let put_field = |value| {
            let mut object = least(schema);
            object[name] = value;
            put(object)
        };
        each_field(field, &format!("{path}.{name}"), &put_field, visit);
    }
    if schema["items"].is_object() {
        each_field(&schema["items"], &format!("{path}[0]"), &|item| put(json!([item])), visit);
    }
}

/// The least value that a schema allows.
fn least(schema: &Value) -> Value {
    if let Some(word) = schema["enum"].get(0) {
        return word.clone();
    }
    match schema["type"].as_str() {
        Some("string") => text(bound(schema, "minLength").unwrap_or(0)),
        Some("array") => Value::Array(vec![least(&schema["items"]); bound(schema, "minItems").unwrap_or(0)]),
        Some("boolean") => json!(false),
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), least(&schema["properties"][name]))).collect()
        }
        Some(_) | None => json!(0),
    }
}

/// A bound with a value on each side of it.
struct Edge {
    inside: Value,
    outside: Value,
    said: String,
}

fn edges(schema: &Value) -> Vec<Edge> {
    let (least_name, most_name, unit, of_length): (_, _, _, &dyn Fn(usize) -> Value) = match schema["type"].as_str() {
        Some("string") if schema["format"].is_null() => ("minLength", "maxLength", "characters", &text),
        Some("array") => {
            ("minItems", "maxItems", "items", &|length| Value::Array(vec![least(&schema["items"]); length]))
        }
        Some("integer") => return number_edges(schema),
        Some(_) | None => return Vec::new(),
    };
    let edge = |bound: usize, beyond: usize, limit: &str| Edge {
        inside: of_length(bound),
        outside: of_length(beyond),
        said: format!("has {beyond} {unit}: {limit} {bound}"),
    };
    let fewest =
        bound(schema, least_name).filter(|fewest| *fewest > 0).map(|fewest| edge(fewest, fewest - 1, "at least"));
    let most = bound(schema, most_name).map(|most| edge(most, most + 1, "at most"));
    fewest.into_iter().chain(most).collect()
}

fn number_edges(schema: &Value) -> Vec<Edge> {
    let edge = |bound: i64, beyond: i64, limit: &str| Edge {
        inside: json!(bound),
        outside: json!(beyond),
        said: format!("is out of its bounds: {limit} {bound}"),
    };
    let whole = |name: &str| schema[name].as_f64().map(|bound| bound as i64);
    let fewest = whole("minimum").map(|least| edge(least, least - 1, "at least"));
    fewest.into_iter().chain(whole("maximum").map(|most| edge(most, most + 1, "at most"))).collect()
}

fn bound(schema: &Value, name: &str) -> Option<usize> {
    schema[name].as_u64().and_then(|bound| usize::try_from(bound).ok())
}
