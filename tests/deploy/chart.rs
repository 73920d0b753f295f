//! The values of the chart, each rendered where it belongs.

use serde_json::{Value, json};

use super::helm_template;

#[test]
fn the_values_that_installations_set_arrive_in_the_pod() {
    let pod = |values: &[&str]| deployment(values)["spec"]["template"].clone();
    let spec = |values: &[&str]| pod(values)["spec"].clone();
    assert_eq!(spec(&["imagePullSecrets[0].name=registry"])["imagePullSecrets"], json!([{ "name": "registry" }]));
    assert_eq!(spec(&["nodeSelector.zone=a"])["nodeSelector"], json!({ "zone": "a" }));
    let tolerations = spec(&["tolerations[0].key=infra", "tolerations[0].operator=Exists"])["tolerations"].clone();
    assert_eq!(tolerations, json!([{ "key": "infra", "operator": "Exists" }]));
    let term =
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]";
    let affinity = spec(&[&format!("{term}.key=zone"), &format!("{term}.operator=Exists")])["affinity"].clone();
    assert!(affinity["nodeAffinity"].is_object(), "{affinity}");
    assert_eq!(spec(&["priorityClassName=high"])["priorityClassName"], "high");
    assert_eq!(pod(&["podAnnotations.note=a"])["metadata"]["annotations"], json!({ "note": "a" }));
    assert_eq!(pod(&["podLabels.team=a"])["metadata"]["labels"]["team"], "a");

    let digest = format!("sha256:{}", "0".repeat(64));
    let container = |values: &[&str]| spec(values)["containers"][0].clone();
    assert_eq!(container(&[&format!("image.digest={digest}")])["image"], format!("waypost:dev@{digest}"));
    let bundle = ["extraEnv[0].name=SSL_CERT_FILE", "extraEnv[0].value=/certificates/ca.pem"];
    let env = container(&bundle)["env"].as_array().unwrap().clone();
    assert_eq!(env.last(), Some(&json!({ "name": "SSL_CERT_FILE", "value": "/certificates/ca.pem" })));
    let volume = [
        "extraVolumes[0].name=certificates",
        "extraVolumes[0].configMap.name=certificates",
        "extraVolumeMounts[0].name=certificates",
        "extraVolumeMounts[0].mountPath=/certificates",
    ];
    assert_eq!(spec(&volume)["volumes"], json!([{ "name": "certificates", "configMap": { "name": "certificates" } }]));
    let mounts = json!([{ "name": "certificates", "mountPath": "/certificates" }]);
    assert_eq!(container(&volume)["volumeMounts"], mounts);
}

/// A role that names another Lease would leave every replica waiting.
#[test]
fn the_lease_is_the_one_that_the_role_names() {
    let values = ["leaseName=other"];
    let args = deployment(&values)["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(args.contains("--leader-election-id=other"), "{args}");
    let role = object("Role", "waypost-leader-election", &values);
    assert_eq!(role["rules"][1]["resourceNames"], json!(["other"]));
}

#[test]
fn the_network_policy_opens_what_it_is_told_to() {
    let values = [
        "networkPolicy.vaultPorts={8200,443}",
        "networkPolicy.otlpPorts={4317}",
        "networkPolicy.extraEgress[0].ports[0].port=5353",
        "networkPolicy.extraEgress[0].ports[0].protocol=UDP",
    ];
    let egress = object("NetworkPolicy", "waypost", &values)["spec"]["egress"].clone();
    let ports: Vec<Vec<u64>> = (egress.as_array().unwrap().iter())
        .map(|rule| rule["ports"].as_array().unwrap().iter().filter_map(|port| port["port"].as_u64()).collect())
        .collect();
    assert_eq!(ports, [vec![53, 53], vec![443, 6443], vec![8200, 443], vec![4317], vec![5353]]);
}

#[test]
fn roles_are_aggregated_unless_told_otherwise() {
    let labels = |values: &[&str]| object("ClusterRole", "waypost-edit", values)["metadata"]["labels"].to_string();
    assert!(labels(&[]).contains("aggregate-to-edit"));
    assert!(!labels(&["rbac.aggregate=false"]).contains("aggregate-to"));
    let policies = ["rbac.aggregate=false", "admission.enabled=true"];
    let stores = object("ClusterRole", "waypost-edit-stores", &policies);
    assert!(!stores["metadata"]["labels"].to_string().contains("aggregate-to"), "{stores}");
}

fn deployment(values: &[&str]) -> Value {
    object("Deployment", "waypost", values)
}

fn object(kind: &str, name: &str, values: &[&str]) -> Value {
    helm_template(values)[&(kind.to_owned(), name.to_owned())].clone()
}
