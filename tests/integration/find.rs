//! `dataFrom.find`: a folder is followed like a path.

use anyhow::ensure;
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};

use crate::bad_store::remove_store;
use crate::least_rights::login_by;
use crate::stage::{SOON, Stage, mapping};

/// The folder that the tests share, as the convention of paths has it.
const FOLDER: &str = "platform-data/postgres";

/// What is at a path with this password.
fn secret(password: &str) -> String {
    json!({ "password": password }).to_string()
}

/// A PushSecret of `source` to this name in the folder of the test, which takes its value along.
async fn push(stage: &Stage, name: &str, more: Value) -> anyhow::Result<()> {
    let mut data = mapping("password", &format!("{FOLDER}/{}-{name}", stage.word), "password");
    if !more.is_null() {
        data["metadata"] = json!({ "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata", "spec": more });
    }
    stage.push(name, "source", &[], json!({ "deletionPolicy": "Delete", "data": [data] })).await?;
    stage.ready::<PushSecret>(&stage.producer, name, "True", "Synced").await.map(drop)
}

/// An ExternalSecret whose keys are the names that this test has in the folder.
async fn find(stage: &Stage, name: &str, selection: Value) -> anyhow::Result<()> {
    let mut find = json!({ "path": FOLDER });
    find.as_object_mut().zip(selection.as_object()).into_iter().for_each(|(find, more)| find.extend(more.clone()));
    let rewrite = json!([{ "regexp": { "source": format!(".*/{}-", stage.word), "target": "" } }]);
    stage.pull(name, &[], json!({ "dataFrom": [{ "find": find, "rewrite": rewrite }] })).await.map(drop)
}

async fn holds(stage: &Stage, name: &str, data: &[(&str, &str)]) -> anyhow::Result<()> {
    let data: Vec<(&str, String)> = data.iter().map(|(key, password)| (*key, secret(password))).collect();
    let data: Vec<(&str, &str)> = data.iter().map(|(key, json)| (*key, json.as_str())).collect();
    stage.holds(&stage.consumer, name, &data).await.map(drop)
}

/// With an interval of a day: only events move anything.
#[tokio::test]
async fn a_push_a_change_a_removal_and_a_tag_below_a_folder_reach_the_target_at_once() -> anyhow::Result<()> {
    let stage = Stage::new("find").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    push(&stage, "a", Value::Null).await?;
    let (named, team) =
        (|names: &str| json!({ "name": { "regexp": format!("/{}-{names}$", stage.word) } }), &stage.word);
    find(&stage, "all", named(".*")).await?;
    find(&stage, "named", named("[ac]")).await?;
    find(&stage, "tagged", json!({ "tags": { "team": team } })).await?;
    holds(&stage, "all", &[("a", "one")]).await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "tagged", "False", "PropertyNotFound").await?;
    ensure!(told.contains("spec.dataFrom[0] finds no secret"), "{told}");

    push(&stage, "b", json!({ "customMetadata": { "team": team } })).await?;
    holds(&stage, "all", &[("a", "one"), ("b", "one")]).await?;
    holds(&stage, "named", &[("a", "one")]).await?;
    holds(&stage, "tagged", &[("b", "one")]).await?;

    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    holds(&stage, "all", &[("a", "two"), ("b", "two")]).await?;
    holds(&stage, "tagged", &[("b", "two")]).await?;

    push(&stage, "a", json!({ "customMetadata": { "team": team } })).await?;
    holds(&stage, "tagged", &[("a", "two"), ("b", "two")]).await?;
    push(&stage, "b", json!({ "customMetadata": {} })).await?;
    holds(&stage, "tagged", &[("a", "two")]).await?;

    stage.delete::<PushSecret>(&stage.producer, "b").await?;
    holds(&stage, "all", &[("a", "two")]).await?;
    // What is gone last keeps the target: its deletionPolicy is Retain.
    stage.delete::<PushSecret>(&stage.producer, "a").await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "all", "False", "PropertyNotFound").await?;
    ensure!(told.contains("keeps its data"), "{told}");
    holds(&stage, "all", &[("a", "two")]).await
}

#[tokio::test]
async fn what_a_producer_does_not_let_it_read_is_left_out_and_named() -> anyhow::Result<()> {
    let stage = Stage::new("findmine").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    push(&stage, "mine", json!({ "consumers": { "namespaces": [stage.consumer] } })).await?;
    push(&stage, "theirs", json!({ "consumers": { "namespaces": ["somebody-else"] } })).await?;
    find(&stage, "all", json!({ "name": { "regexp": stage.word } })).await?;
    holds(&stage, "all", &[("mine", "one")]).await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "all", "True", "SecretSynced").await?;
    ensure!(told.contains(&format!("secret/{FOLDER}/{}-theirs of ClusterSecretStore", stage.word)), "{told}");
    ensure!(told.contains("is left out"), "{told}");
    push(&stage, "theirs", json!({ "consumers": { "namespaces": [stage.consumer] } })).await?;
    holds(&stage, "all", &[("mine", "one"), ("theirs", "one")]).await?;
    push(&stage, "mine", json!({ "consumers": { "namespaces": ["somebody-else"] } })).await?;
    holds(&stage, "all", &[("theirs", "one")]).await
}

/// Folder by folder, as on Vault, with a folder that the policy forbids.
#[tokio::test]
async fn a_folder_of_which_a_part_may_not_be_listed_changes_nothing_and_is_named() -> anyhow::Result<()> {
    let stage = Stage::new("findpart").await?;
    let (path, store) = (format!("platform-data/{}", stage.word), format!("{}-store", stage.word));
    for name in ["a", "open/b", "shut/c"] {
        stage.vault.write("secret", &format!("{path}/{name}"), &json!({ "password": "one" })).await?;
    }
    let session = r#"
        path "sys/internal/ui/mounts/*" { capabilities = ["read"] }
        path "auth/token/lookup-self" { capabilities = ["read"] }
    "#;
    let policy = |shut: &str| {
        format!(
            r#"{session}
            path "secret/data/{path}/*" {{ capabilities = ["read"] }}
            path "secret/metadata/{path}/*" {{ capabilities = ["read", "list"] }}
            path "secret/metadata/{path}/shut/*" {{ capabilities = ["{shut}"] }}"#
        )
    };
    login_by(&stage, &store, &policy("list")).await?;
    let of_store =
        json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": store }, "refreshInterval": "1s" });
    let rewrite = json!([{ "regexp": { "source": ".*/", "target": "" } }]);
    let mut spec = json!({ "dataFrom": [{ "find": { "path": path }, "rewrite": rewrite }] });
    spec.as_object_mut().zip(of_store.as_object()).into_iter().for_each(|(spec, more)| spec.extend(more.clone()));
    stage.pull("all", &[], spec).await?;
    holds(&stage, "all", &[("a", "one"), ("b", "one"), ("c", "one")]).await?;

    stage.vault.put_policy(&store, &policy("deny")).await?;
    let told = stage.ready_within::<ExternalSecret>(SOON, &stage.consumer, "all", "False", "SecretSyncedError").await?;
    let words = format!("permission denied to list secret/metadata/{path}/shut/: let the role's policy allow `list`");
    ensure!(told.contains(&words) && told.contains("keeps its data"), "{told}");
    holds(&stage, "all", &[("a", "one"), ("b", "one"), ("c", "one")]).await?;
    stage.vault.write("secret", &format!("{path}/a"), &json!({ "password": "two" })).await?;
    stage.vault.put_policy(&store, &policy("list")).await?;
    holds(&stage, "all", &[("a", "two"), ("b", "one"), ("c", "one")]).await?;
    remove_store(&stage, &store).await
}
