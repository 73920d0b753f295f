//! What a PushSecret pushes, from a source among the files.

use std::fs;

use super::Folder;

pub const PUSH: &str = "apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata:
  name: orders
  namespace: db
spec:
  secretStoreRefs:
  - name: vault-backend
    kind: ClusterSecretStore
  selector:
    secret:
      name: source
  data:
  - match:
      secretKey: username
      remoteRef: {remoteKey: platform-data/orders/shop, property: username}
  - match:
      secretKey: password
      remoteRef: {remoteKey: platform-data/orders/shop, property: password}
";

pub const SOURCE: &str = "apiVersion: v1
kind: Secret
metadata:
  name: source
  namespace: db
  labels: {team: orders}
data:
  username: YXBw
stringData:
  password: s3cret
";

#[test]
fn a_push_is_rendered_from_its_source() {
    let folder = Folder::new("push", &[("push.yaml", PUSH), ("source.yaml", SOURCE)]);
    let expected = "PushSecret db/orders makes secret/platform-data/orders/shop in ClusterSecretStore/vault-backend
  properties
    password  6 bytes
    username  3 bytes
";
    let ran = folder.run(&["--with=source.yaml", "push.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
    let ran = folder.run(&["push.yaml", "source.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
    folder.run(&["push.yaml"]).fails(1, &["push.yaml:11:", "Secret db/source: not among the files", "--with"]);
}

#[test]
fn what_a_mapping_asks_in_vain_is_told_by_its_key() {
    let folder = Folder::new(
        "push-vain",
        &[("push.yaml", &PUSH.replace("secretKey: password", "secretKey: passwd")), ("source.yaml", SOURCE)],
    );
    folder
        .run(&["--with=source.yaml", "push.yaml"])
        .fails(1, &["push.yaml:", "the source has no key \"passwd\" (for property \"password\")"]);
    fs::write(folder.0.join("push.yaml"), PUSH.replace("property: password", "property: username")).unwrap();
    folder.run(&["--with=source.yaml", "push.yaml"]).fails(1, &["both write property \"username\""]);
    fs::write(folder.0.join("source.yaml"), SOURCE.replace("YXBw", "s3cret!")).unwrap();
    fs::write(folder.0.join("push.yaml"), PUSH).unwrap();
    folder
        .run(&["--with=source.yaml", "push.yaml"])
        .fails(1, &["source.yaml:1:1", "no Secret that an API server would take"]);
}

#[test]
fn sources_are_selected_by_labels_and_a_config_map_is_one_too() {
    let labelled = PUSH.replace("      name: source\n", "      selector: {matchLabels: {team: orders}}\n");
    let other = SOURCE.replace("name: source", "name: other").replace("team: orders", "team: stock");
    let folder =
        Folder::new("push-labels", &[("push.yaml", &labelled), ("sources.yaml", &format!("{SOURCE}---\n{other}"))]);
    let ran = folder.run(&["--with=sources.yaml", "push.yaml"]);
    assert!(ran.code == Some(0) && ran.out.contains("username  3 bytes"), "{ran:?}");

    let of_map = PUSH.replace("    secret:\n      name: source\n", "    configMap:\n      name: source\n");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: source}\ndata: {username: host, password: x}\n";
    fs::write(folder.0.join("push.yaml"), of_map).unwrap();
    fs::write(folder.0.join("sources.yaml"), map).unwrap();
    let ran = folder.run(&["--with=sources.yaml", "push.yaml"]);
    assert!(ran.code == Some(0) && ran.out.contains("username  4 bytes"), "{ran:?}");
}

#[test]
fn each_store_that_is_selected_by_labels_gets_the_entry() {
    let store = |name: &str, mount: &str| {
        format!("---
apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {{name: {name}, labels: {{region: all}}}}
spec: {{provider: {{vault: {{server: 'https://vault', path: {mount}, auth: {{kubernetes: {{mountPath: kubernetes, role: a}}}}}}}}}}
")
    };
    let selected =
        PUSH.replace("  - name: vault-backend\n    kind", "  - labelSelector: {matchLabels: {region: all}}\n    kind");
    let folder = Folder::new(
        "push-stores",
        &[
            ("push.yaml", &selected),
            ("with.yaml", &[SOURCE, &store("east", "kv-east"), &store("west", "kv-west")].concat()),
        ],
    );
    let ran = folder.run(&["--with=with.yaml", "push.yaml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for place in [
        "kv-east/platform-data/orders/shop in ClusterSecretStore/east",
        "kv-west/platform-data/orders/shop in ClusterSecretStore/west",
    ] {
        assert!(ran.out.contains(place), "{ran:?}");
    }
    fs::write(folder.0.join("with.yaml"), SOURCE).unwrap();
    folder.run(&["--with=with.yaml", "push.yaml"]).fails(1, &["no store among the files has the labels"]);
}
