//! S8 for stores: for a store, the controller reads Secrets, ConfigMaps and ServiceAccount tokens
//! and sends them to a server of its author's choice, so the author needs the rights to them.

use std::fs;

use anyhow::{Context, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, SecretStore};
use waypost_e2e::lab::repository;

use crate::author::{Author, apply, let_through, manifest, refused, try_out};

#[tokio::test]
async fn s8_who_may_not_read_a_credential_may_not_have_a_store_send_it() -> anyhow::Result<()> {
    let author = keeper("s8store").await?;
    let stores = author.api::<SecretStore>();
    let plain = store(token("credential"));
    refused("you may not get secret credential of namespace", async || try_out(&stores, &plain).await).await?;
    let right = author.may_do("get", "secrets", "credential").await?;
    let_through(async || apply(&stores, &plain).await).await?;

    // The right to one is none to another, and no namespace can be borrowed.
    refused("you may not get secret other", async || try_out(&stores, &store(token("other"))).await).await?;
    let mut elsewhere = token("other");
    elsewhere["auth"]["tokenSecretRef"]["namespace"] = json!(author.stage.consumer);
    let words = format!("you may not get secret other of namespace {}", author.stage.producer);
    refused(&words, async || try_out(&stores, &store(elsewhere.clone())).await).await?;

    // What stands is not asked about again.
    author.may_no_more(&right).await?;
    let moved = json!({ "server": "https://elsewhere:8200", "auth": token("credential")["auth"] });
    refused("you may not get secret credential", async || try_out(&stores, &store(moved.clone())).await).await?;
    apply(&stores, &plain).await?;
    let label = json!({ "metadata": { "labels": { "team": "a" } } });
    stores.patch("store", &PatchParams::default(), &Patch::Merge(label)).await?;
    Ok(())
}

/// A field that comes to the definitions and not to the policy is let through here.
#[tokio::test]
async fn s8_no_reference_of_a_store_is_forgotten() -> anyhow::Result<()> {
    let author = keeper("s8refs").await?;
    author.may_write_in_cluster("clustersecretstores").await?;
    let (stores, all) = (author.api::<SecretStore>(), author.all::<ClusterSecretStore>());
    let references = references()?;
    ensure!(references.len() >= 32, "the definition has only {references:?}");
    for Reference { provider, words, place } in references {
        let spec = json!({ "provider": provider });
        let of_namespace = manifest::<SecretStore>("store", json!({}), &spec);
        let words = format!("{words} ref");
        let near = format!("{words} of namespace {}", author.stage.producer);
        refused(&near, async || try_out(&stores, &of_namespace).await).await.context(place.clone())?;
        let of_cluster = manifest::<ClusterSecretStore>(&author.stage.word, json!({}), &spec);
        let everywhere = format!("{words} in every namespace");
        refused(&everywhere, async || try_out(&all, &of_cluster).await).await.context(place)?;
    }
    Ok(())
}

#[tokio::test]
async fn s8_a_store_of_the_cluster_needs_the_rights_where_it_reads() -> anyhow::Result<()> {
    let author = Author::begin("s8where").await?;
    author.may_write_in_cluster("clustersecretstores").await?;
    author.may_do("get", "secrets", "credential").await?;
    let all = author.all::<ClusterSecretStore>();
    let cluster = |vault: Value| {
        manifest::<ClusterSecretStore>(&author.stage.word, json!({}), &json!({ "provider": { "vault": vault } }))
    };
    let in_namespace = |namespace: &str| {
        let mut vault = token("credential");
        vault["auth"]["tokenSecretRef"]["namespace"] = json!(namespace);
        cluster(vault)
    };
    let own = in_namespace(&author.stage.producer);
    let_through(async || try_out(&all, &own).await).await?;
    let foreign = in_namespace(&author.stage.consumer);
    let words = format!("you may not get secret credential of namespace {}", author.stage.consumer);
    refused(&words, async || try_out(&all, &foreign).await).await?;
    // Without a namespace it is read wherever the store is used.
    let referent = cluster(token("credential"));
    refused("secret credential in every namespace", async || try_out(&all, &referent).await).await?;
    author.in_cluster("read", json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] })).await?;
    let_through(async || try_out(&all, &referent).await).await?;

    // The controller's own login is its own token.
    let login = cluster(json!({ "server": "https://vault:8200", "auth": { "kubernetes": { "role": "any" } } }));
    let words = "you may not create tokens of serviceaccount external-secrets of namespace external-secrets";
    refused(words, async || try_out(&all, &login).await).await?;
    let tokens = json!({ "apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"] });
    author.in_cluster("tokens", tokens).await?;
    let_through(async || try_out(&all, &login).await).await.map(drop)
}

#[tokio::test]
async fn s8_more_secrets_than_fit_need_the_right_to_all_and_one_named_twice_counts_once() -> anyhow::Result<()> {
    let author = keeper("s8many").await?;
    let stores = author.api::<SecretStore>();
    let vault = |names: [&str; 5]| {
        let [role, secret, certificate, key, ca] = names.map(|name| json!({ "name": name, "key": "a" }));
        store(json!({
            "server": "https://vault:8200", "tls": { "certSecretRef": certificate, "keySecretRef": key },
            "caProvider": { "type": "Secret", "name": ca["name"], "key": "a" },
            "auth": { "appRole": { "roleRef": role, "secretRef": secret } },
        }))
    };
    for name in ["a", "b", "c", "d", "e"] {
        author.may_do("get", "secrets", name).await?;
    }
    let_through(async || try_out(&stores, &vault(["a", "a", "b", "b", "c"])).await).await?;
    let_through(async || try_out(&stores, &vault(["a", "b", "c", "d", "a"])).await).await?;
    let words = "the store names more than four secrets: ask for `get` on all secrets of namespace";
    refused(words, async || try_out(&stores, &vault(["a", "b", "c", "d", "e"])).await).await?;
    author.may("read", json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] })).await?;
    let_through(async || try_out(&stores, &vault(["a", "b", "c", "d", "e"])).await).await.map(drop)
}

#[tokio::test]
async fn s8_letting_a_mass_deletion_through_needs_the_right_to_delete() -> anyhow::Result<()> {
    let author = keeper("s8mass").await?;
    let stores = author.api::<SecretStore>();
    let bare = json!({ "provider": { "vault": { "server": "https://vault:8200" } } });
    let noted = |value: Value| manifest::<SecretStore>("store", value, &bare);
    let plain = noted(json!({}));
    let_through(async || apply(&stores, &plain).await).await?;
    let now = noted(json!({ "waypost.io/allow-mass-deletion": "now" }));
    let words = "waypost.io/allow-mass-deletion deletes the targets whose values are gone: ask for `delete` on secrets";
    refused(words, async || try_out(&stores, &now).await).await?;
    author.may("delete", json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"] })).await?;
    let_through(async || apply(&stores, &now).await).await?;
    // The same value lets nothing more through, and to take it away is no power.
    author.may_no_more("delete").await?;
    let again = noted(json!({ "waypost.io/allow-mass-deletion": "again" }));
    refused(words, async || try_out(&stores, &again).await).await?;
    apply(&stores, &now).await?;
    apply(&stores, &plain).await.map(drop).map_err(Into::into)
}

/// The role comes with the policy, so that it cannot be had without.
#[tokio::test]
async fn s8_the_role_edit_may_write_secret_stores_and_lend_only_what_it_has() -> anyhow::Result<()> {
    let author = Author::begin("s8edit").await?;
    author.has_role("edit").await?;
    let stores = author.api::<SecretStore>();
    let_through(async || try_out(&stores, &store(token("credential"))).await).await?;
    let own = store(json!({ "server": "https://vault:8200", "auth": { "kubernetes": { "role": "any" } } }));
    refused("you may not create tokens of serviceaccount external-secrets", async || try_out(&stores, &own).await).await
}

/// A reference, alone in a provider, and what is said of it.
#[derive(Debug)]
struct Reference {
    provider: Value,
    words: &'static str,
    place: String,
}

/// Every object of the definition that has a `name` is a reference.
fn references() -> anyhow::Result<Vec<Reference>> {
    let text = fs::read_to_string(repository().join("crds/secretstores.yaml"))?;
    let definition: Value = serde_saphyr::from_str(&text)?;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    walk(&schema["properties"]["provider"], &mut Vec::new(), &mut found);
    let mut references = Vec::new();
    for path in found {
        let last = path.last().context("a reference has a field")?;
        let kinds = match last.as_str() {
            "caProvider" => vec![("you may not get secret", "Secret"), ("you may not get configmap", "ConfigMap")],
            "serviceAccountRef" => vec![("you may not create tokens of serviceaccount", "")],
            _secret => vec![("you may not get secret", "")],
        };
        for (words, kind) in kinds {
            let mut provider = json!({});
            fill(&schema["properties"]["provider"], &path, &mut provider);
            let pointer = format!("/{}", path.join("/"));
            let reference = provider.pointer_mut(&pointer).context("the field that was filled")?;
            reference["name"] = json!("ref");
            if !kind.is_empty() {
                reference["type"] = json!(kind);
            }
            references.push(Reference { provider, words, place: format!("{pointer} {kind}") });
        }
    }
    Ok(references)
}

fn walk(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let Some(fields) = schema["properties"].as_object() else { return };
    if fields.contains_key("name") {
        found.push(path.clone());
    }
    for (field, schema) in fields {
        path.push(field.clone());
        walk(schema, path, found);
        path.pop();
    }
}

/// The smallest object that the definition takes and that has the field at `path`.
fn fill(schema: &Value, path: &[String], object: &mut Value) {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Rules ask for these, and the schema does not: both halves of a client certificate, and a role
    // id.
    let asked = ["certSecretRef", "keySecretRef", "roleId"];
    let asked = asked.into_iter().filter(|field| schema["properties"].get(*field).is_some());
    for field in required.chain(asked) {
        object[field] = match (field, &schema["properties"][field]) {
            ("server", _) => json!("https://vault:8200"),
            (_, schema) if schema["type"] == "object" => json!({}),
            (_, _text) => json!("any"),
        };
    }
    let Some((field, rest)) = path.split_first() else { return };
    if object.get(field).is_none() {
        object[field] = json!({});
    }
    fill(&schema["properties"][field], rest, &mut object[field]);
}

/// An author who may write SecretStores, and nothing else.
async fn keeper(test: &str) -> anyhow::Result<Author> {
    let author = Author::begin(test).await?;
    author.may_write("secretstores").await?;
    Ok(author)
}

fn token(secret: &str) -> Value {
    json!({ "server": "https://vault:8200", "auth": { "tokenSecretRef": { "name": secret, "key": "token" } } })
}

fn store(vault: Value) -> Value {
    manifest::<SecretStore>("store", json!({}), &json!({ "provider": { "vault": vault } }))
}
