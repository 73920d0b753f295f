//! Generated files match the code, and the CRDs keep the promises that tools rely on.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use waypost::api::crd;

#[test]
fn generated_files_match_the_code() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_waypost-generate")).arg("--check").output().expect("the generator runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn drift_is_listed_with_the_command_that_mends_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_waypost-generate"))
        .args(["--check", "--root", "/nonexistent"])
        .output()
        .expect("the generator runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("crds/pushsecrets.yaml"), "{message}");
    assert!(message.contains("make generate"), "{message}");
}

#[test]
fn every_field_is_described() {
    let missing: Vec<String> = fields()
        .filter(|(_, field)| field["description"].as_str().is_none_or(|text| text.trim().is_empty()))
        .map(|(path, _)| path)
        .collect();
    assert!(missing.is_empty(), "no description: {missing:#?}");
}

#[test]
fn every_string_list_and_map_is_bounded_and_nothing_is_nullable() {
    for (path, field) in all_schemas() {
        let bounded = match field["type"].as_str() {
            Some("string") => !field["maxLength"].is_null() || !field["enum"].is_null() || !field["format"].is_null(),
            Some("array") => !field["maxItems"].is_null(),
            Some("object") if !field["additionalProperties"].is_null() => !field["maxProperties"].is_null(),
            Some(_) | None => true,
        };
        assert!(bounded, "{path} has no bound");
        assert!(field["nullable"].is_null(), "{path} is nullable");
        let values = field["enum"].as_array();
        assert!(values.is_none_or(|values| values.iter().all(Value::is_string)), "{path} admits a null");
    }
}

#[test]
fn defaults_stand_only_where_gitops_tools_expect_them() {
    // GitOps tools leave a status alone: the next test is about that default.
    let defaulted: BTreeSet<String> = fields()
        .filter(|(path, field)| !field["default"].is_null() && !path.ends_with(".status"))
        .map(|(path, _)| path)
        .collect();
    let external_secret = ["refreshInterval", "target", "target.creationPolicy", "target.deletionPolicy"];
    let mut expected = BTreeSet::from([
        "PushSecret.spec.refreshInterval".to_owned(),
        "ClusterPushSecret.spec.pushSecretSpec.refreshInterval".to_owned(),
    ]);
    for field in external_secret {
        expected.insert(format!("ExternalSecret.spec.{field}"));
        expected.insert(format!("ClusterExternalSecret.spec.externalSecretSpec.{field}"));
    }
    assert_eq!(defaulted, expected);
}

#[test]
fn what_nobody_has_looked_at_says_so_to_kstatus() {
    for definition in crd::definitions() {
        let status = &schema(&definition)["properties"]["status"];
        assert_eq!(status["default"], serde_json::json!({ "observedGeneration": -1 }), "{}", definition["metadata"]);
    }
}

#[test]
fn conditions_are_a_map_by_type() {
    for definition in crd::definitions() {
        let conditions = &schema(&definition)["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
    }
}

#[test]
fn names_versions_and_columns_are_those_of_the_external_secrets_api() {
    // Kind, version, scope, plural, short names, the columns that users know, and those we append.
    let expected = [
        "ClusterExternalSecret v1 Cluster clusterexternalsecrets [ces] Store, Refresh Interval, Ready | Message",
        "ClusterPushSecret v1alpha1 Cluster clusterpushsecrets [] AGE, Status, Ready | Message",
        "ClusterSecretStore v1 Cluster clustersecretstores [css] AGE, Status, Capabilities, Ready | Message",
        "ExternalSecret v1 Namespaced externalsecrets [es] StoreType, Store, Refresh Interval, Status, Ready, Last Sync | Message",
        "PushSecret v1alpha1 Namespaced pushsecrets [ps] AGE, Status, Last Sync, Ready, Propagated | Message",
        "SecretStore v1 Namespaced secretstores [ss] AGE, Status, Capabilities, Ready | Message",
    ];
    let found: Vec<String> = crd::definitions().iter().map(summary).collect();
    assert_eq!(found, expected);
    for definition in crd::definitions() {
        assert_eq!(definition["spec"]["names"]["categories"][0], "external-secrets");
        assert_eq!(definition["metadata"]["labels"]["external-secrets.io/component"], "controller");
        assert_eq!(definition["spec"]["versions"][0]["subresources"]["status"], serde_json::json!({}));
    }
}

#[test]
fn external_secrets_are_selectable_by_store_target_and_interval() {
    let definition = &crd::definitions()[3];
    let fields = definition["spec"]["versions"][0]["selectableFields"].as_array();
    let paths: Vec<&str> = fields.into_iter().flatten().filter_map(|field| field["jsonPath"].as_str()).collect();
    let expected =
        [".spec.secretStoreRef.name", ".spec.secretStoreRef.kind", ".spec.target.name", ".spec.refreshInterval"];
    assert_eq!(paths, expected);
}

#[test]
fn stripped_definitions_hold_nothing_of_ours() {
    let folder = std::env::temp_dir().join(format!("waypost-stripped-{}", std::process::id()));
    let status = Command::new(env!("CARGO_BIN_EXE_waypost-generate"))
        .arg("--stripped")
        .arg(&folder)
        .status()
        .expect("the generator runs");
    assert!(status.success());
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("the file is there");
    let push_secret = read("pushsecrets.yaml");
    let whole = std::fs::read_to_string("crds/pushsecrets.yaml").expect("the file is there");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    for ours in ["x-kubernetes-validations", "x-kubernetes-list-map-keys", "observedGeneration", "writtenAt", "Message"]
    {
        assert!(whole.contains(ours), "{ours}");
        assert!(!push_secret.contains(ours), "{ours}");
    }
    assert!(push_secret.contains("syncedPushSecrets"));
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn summary(definition: &Value) -> String {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
    };
    let version = &spec["versions"][0];
    let columns = |ours: bool| {
        let columns = version["additionalPrinterColumns"].as_array();
        let names = columns
            .into_iter()
            .flatten()
            .filter(|column| (column["name"] == "Message") == ours)
            .map(|column| text(&column["name"]));
        names.collect::<Vec<_>>().join(", ")
    };
    format!(
        "{} {} {} {} [{}] {} | {}",
        text(&spec["names"]["kind"]),
        text(&version["name"]),
        text(&spec["scope"]),
        text(&spec["names"]["plural"]),
        list(&spec["names"]["shortNames"]).join(","),
        columns(false),
        columns(true),
    )
}

/// Every named field of every kind, as `Kind.spec.field` with its schema.
fn fields() -> impl Iterator<Item = (String, Value)> {
    all_schemas().filter(|(path, _)| !path.ends_with(']') && !path.ends_with('}'))
}

/// Every schema of every kind: fields, items of lists (`[]`), values of maps (`{}`).
fn all_schemas() -> impl Iterator<Item = (String, Value)> {
    let mut found = Vec::new();
    for definition in crd::definitions().into_iter().chain([crd::path_convention()]) {
        let kind = definition["spec"]["names"]["kind"].as_str();
        collect(kind.expect("a kind"), schema(&definition), &mut found);
    }
    found.into_iter()
}

fn collect(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    found.push((path.to_owned(), schema.clone()));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        collect(&format!("{path}.{name}"), field, found);
    }
    if schema["items"].is_object() {
        collect(&format!("{path}[]"), &schema["items"], found);
    }
    if schema["additionalProperties"].is_object() {
        collect(&format!("{path}{{}}"), &schema["additionalProperties"], found);
    }
}
