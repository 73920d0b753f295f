//! S8, the confused deputy: who writes a PushSecret needs the right to read its source themselves, whatever the source is, and the
//! right to use its store.

use std::fmt::Debug;

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waypost::api::{ClusterPushSecret, PushSecret};
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, STORE, Stage, mapping};

const AUTHOR: &str = "author";

#[tokio::test]
async fn s8_who_may_not_read_a_config_map_may_not_push_it() -> anyhow::Result<()> {
    let author = Author::begin("s8maps").await?;
    author.endpoint("source", "db.svc").await?;
    author.endpoint("other", "secret.svc").await?;
    author.is_refused(&author.of("source"), "you may not get configmap source").await?;

    author.may_read("configmaps", "source").await?;
    author.is_let_through(&author.of("source")).await?;
    let stage = &author.stage;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let path = format!("platform-config/postgres/{}", stage.word);
    let stored = stage.vault.read("secret", &path).await?.and_then(|entry| entry.data);
    assert_eq!(stored, Some(json!({ "host": "db.svc" })));

    // The right to one is none to another, nor the right to a Secret of that name one to a ConfigMap.
    author.may_read("secrets", "other").await?;
    author.is_refused(&author.of("other"), "you may not get configmap other").await?;
    // Whoever only labels it is not asked.
    let label = json!({ "metadata": { "labels": { "team": "a" } } });
    author.pushes().patch("push", &PatchParams::default(), &Patch::Merge(label)).await?;
    Ok(())
}

#[tokio::test]
async fn s8_who_may_not_read_a_secret_or_list_secrets_may_not_push_them() -> anyhow::Result<()> {
    let author = Author::begin("s8secrets").await?;
    let stage = &author.stage;
    stage.secret(&stage.producer, "source", &[("host", "one")]).await?;
    let named = author.spec(json!({ "secret": { "name": "source" } }));
    author.is_refused(&named, "you may not get secret source").await?;
    author.may_read("secrets", "source").await?;
    author.is_let_through(&named).await?;
    let selected = author.spec(json!({ "secret": { "selector": { "matchLabels": { "a": "b" } } } }));
    author.is_refused(&selected, "you may not list secrets here").await
}

#[tokio::test]
async fn s8_a_fan_out_of_config_maps_needs_the_right_to_them_in_every_namespace() -> anyhow::Result<()> {
    let author = Author::begin("s8fan").await?;
    author.may_read("configmaps", "source").await?;
    let all: Api<ClusterPushSecret> = Api::all(author.client.clone());
    let spec = json!({ "namespaceSelectors": [], "pushSecretSpec": author.of("source") });
    let create = async || {
        let object = json!({
            "apiVersion": "external-secrets.io/v1alpha1", "kind": "ClusterPushSecret",
            "metadata": { "name": author.stage.word }, "spec": spec,
        });
        all.patch(&author.stage.word, &PatchParams::apply(AUTHOR).dry_run(), &Patch::Apply(object)).await
    };
    refused("you may not get configmap source", create).await?;
    author.in_cluster("read", json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] })).await?;
    wait::until("the fan-out to be let through", SOON, async || Ok(Some(create().await?))).await.map(drop)
}

/// A ServiceAccount that may write PushSecrets of the producer's namespace, use the shared store, and nothing else.
struct Author {
    stage: Stage,
    client: Client,
}

impl Author {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        create::<ServiceAccount>(&stage, &stage.producer, json!({ "metadata": { "name": AUTHOR } })).await?;
        let client = Lab::shared().await?.kube_as(&stage.producer, AUTHOR).await?;
        let author = Author { stage, client };
        let writes = json!({
            "apiGroups": ["external-secrets.io"], "resources": ["pushsecrets"], "verbs": ["get", "create", "patch"],
        });
        author.may("write", writes).await?;
        let group = "external-secrets.io";
        let uses = json!({
            "apiGroups": [group], "resources": ["clustersecretstores"], "resourceNames": [STORE], "verbs": ["use"],
        });
        author.in_cluster("use", uses).await?;
        let fans_out =
            json!({ "apiGroups": [group], "resources": ["clusterpushsecrets"], "verbs": ["get", "create", "patch"] });
        author.in_cluster("fan-out", fans_out).await?;
        Ok(author)
    }

    async fn endpoint(&self, name: &str, host: &str) -> anyhow::Result<()> {
        let map = json!({ "metadata": { "name": name }, "data": { "host": host } });
        create::<ConfigMap>(&self.stage, &self.stage.producer, map).await
    }

    fn spec(&self, selector: Value) -> Value {
        let path = format!("platform-config/postgres/{}", self.stage.word);
        json!({
            "refreshInterval": "24h", "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
            "selector": selector, "data": [mapping("host", &path, "host")],
        })
    }

    /// The spec that pushes a ConfigMap.
    fn of(&self, config_map: &str) -> Value {
        self.spec(json!({ "configMap": { "name": config_map } }))
    }

    fn pushes(&self) -> Api<PushSecret> {
        Api::namespaced(self.client.clone(), &self.stage.producer)
    }

    async fn apply(&self, spec: &Value, how: PatchParams) -> kube::Result<PushSecret> {
        let object = json!({
            "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "metadata": { "name": "push" }, "spec": spec,
        });
        self.pushes().patch("push", &how, &Patch::Apply(object)).await
    }

    /// Nothing is kept of it: what is let through before the policy is in force would be no change of the spec the next time.
    async fn is_refused(&self, spec: &Value, words: &str) -> anyhow::Result<()> {
        refused(words, async || self.apply(spec, PatchParams::apply(AUTHOR).dry_run()).await).await
    }

    /// As soon as the API server knows of the right.
    async fn is_let_through(&self, spec: &Value) -> anyhow::Result<()> {
        wait::until("the author to be let through", SOON, async || {
            Ok(Some(self.apply(spec, PatchParams::apply(AUTHOR)).await?))
        })
        .await
        .map(drop)
    }

    async fn may_read(&self, resource: &str, name: &str) -> anyhow::Result<()> {
        let rule = json!({ "apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["get"] });
        self.may(&format!("read-{resource}-{name}"), rule).await
    }

    async fn may(&self, name: &str, rule: Value) -> anyhow::Result<()> {
        let (stage, namespace) = (&self.stage, &self.stage.producer);
        create::<Role>(stage, namespace, json!({ "metadata": { "name": name }, "rules": [rule] })).await?;
        create::<RoleBinding>(stage, namespace, self.binding(name, "Role")).await
    }

    async fn in_cluster(&self, name: &str, rule: Value) -> anyhow::Result<()> {
        let name = format!("{}-{name}", self.stage.word);
        let role = serde_json::from_value(json!({ "metadata": { "name": name }, "rules": [rule] }))?;
        let binding = serde_json::from_value(self.binding(&name, "ClusterRole"))?;
        let client = || self.stage.client.clone();
        Api::<ClusterRole>::all(client()).create(&PostParams::default(), &role).await?;
        Api::<ClusterRoleBinding>::all(client()).create(&PostParams::default(), &binding).await?;
        Ok(())
    }

    fn binding(&self, name: &str, kind: &str) -> Value {
        json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": AUTHOR, "namespace": self.stage.producer }],
        })
    }
}

async fn create<K>(stage: &Stage, namespace: &str, object: Value) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    stage.api::<K>(namespace).create(&PostParams::default(), &object).await?;
    Ok(())
}

/// Waits until a request is refused by the policy, which the lab has only just installed. Until the API server knows the author's other rights, those are why.
async fn refused<K>(words: &str, request: impl AsyncFn() -> kube::Result<K>) -> anyhow::Result<()> {
    wait::until(&format!("a refusal: {words}"), LATER, async || match request().await {
        Ok(_) => bail!("it was let through"),
        Err(error) => {
            let said = error.to_string();
            ensure!(said.contains(words), "it is refused otherwise: {said}");
            Ok(Some(()))
        }
    })
    .await
}
