//! A ServiceAccount that writes manifests, with only the rights that a test gives it.

use std::fmt::Debug;

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, STORE, Stage};

const AUTHOR: &str = "author";

/// The author, in the producer's namespace.
pub struct Author {
    pub stage: Stage,
    pub client: Client,
}

impl Author {
    /// May do nothing yet.
    pub async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        create::<ServiceAccount>(&stage, json!({ "metadata": { "name": AUTHOR } })).await?;
        let client = Lab::shared().await?.kube_as(&stage.producer, AUTHOR).await?;
        Ok(Author { stage, client })
    }

    /// Objects of the author's namespace, with the author's rights.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.stage.producer)
    }

    /// Objects of the cluster, with the author's rights.
    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        Api::all(self.client.clone())
    }

    /// May write a kind of our API group in its namespace.
    pub async fn may_write(&self, resource: &str) -> anyhow::Result<()> {
        self.may(&format!("write-{resource}"), writing(resource)).await
    }

    /// May write a kind of the cluster.
    pub async fn may_write_in_cluster(&self, resource: &str) -> anyhow::Result<()> {
        self.in_cluster(&format!("write-{resource}"), writing(resource)).await
    }

    /// May use the store that all tests share.
    pub async fn may_use_store(&self) -> anyhow::Result<()> {
        let rule = json!({
            "apiGroups": ["external-secrets.io"], "resources": ["clustersecretstores"], "resourceNames": [STORE],
            "verbs": ["use"],
        });
        self.in_cluster("use", rule).await
    }

    /// A verb on one Secret, ConfigMap or ServiceAccount token of the author's namespace; gives the
    /// binding's name.
    pub async fn may_do(&self, verb: &str, resource: &str, name: &str) -> anyhow::Result<String> {
        let rule = json!({ "apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": [verb] });
        let binding = format!("{verb}-{}-{name}", resource.replace('/', "-"));
        self.may(&binding, rule).await?;
        Ok(binding)
    }

    /// Takes back what [`Author::may_do`] gave.
    pub async fn may_no_more(&self, binding: &str) -> anyhow::Result<()> {
        self.stage.delete::<RoleBinding>(&self.stage.producer, binding).await
    }

    /// A rule in the author's namespace.
    pub async fn may(&self, name: &str, rule: Value) -> anyhow::Result<()> {
        create::<Role>(&self.stage, json!({ "metadata": { "name": name }, "rules": [rule] })).await?;
        create::<RoleBinding>(&self.stage, self.binding(name, "Role", name)).await
    }

    /// A ClusterRole in the author's namespace.
    pub async fn has_role(&self, role: &str) -> anyhow::Result<()> {
        create::<RoleBinding>(&self.stage, self.binding(role, "ClusterRole", role)).await
    }

    /// A rule in the whole cluster.
    pub async fn in_cluster(&self, name: &str, rule: Value) -> anyhow::Result<()> {
        let name = format!("{}-{name}", self.stage.word);
        let role = serde_json::from_value(json!({ "metadata": { "name": name }, "rules": [rule] }))?;
        let binding = serde_json::from_value(self.binding(&name, "ClusterRole", &name))?;
        let client = || self.stage.client.clone();
        Api::<ClusterRole>::all(client()).create(&PostParams::default(), &role).await?;
        Api::<ClusterRoleBinding>::all(client()).create(&PostParams::default(), &binding).await?;
        Ok(())
    }

    fn binding(&self, name: &str, kind: &str, role: &str) -> Value {
        json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": AUTHOR, "namespace": self.stage.producer }],
        })
    }
}

fn writing(resource: &str) -> Value {
    json!({ "apiGroups": ["external-secrets.io"], "resources": [resource], "verbs": ["get", "create", "patch"] })
}

async fn create<K>(stage: &Stage, object: Value) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    stage.api::<K>(&stage.producer).create(&PostParams::default(), &object).await?;
    Ok(())
}

/// An object of our API, with these fields of its metadata.
pub fn manifest<K: Resource<DynamicType = ()>>(name: &str, annotations: Value, spec: &Value) -> Value {
    json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": { "name": name, "annotations": annotations }, "spec": spec,
    })
}

/// Applies an object, as a GitOps controller does.
pub async fn apply<K>(api: &Api<K>, object: &Value) -> kube::Result<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    api.patch(name(object), &PatchParams::apply(AUTHOR), &Patch::Apply(object)).await
}

/// What applying it would end in. Nothing is kept: what is let through before a policy is in force
/// would be no change of the spec the next time.
pub async fn try_out<K>(api: &Api<K>, object: &Value) -> kube::Result<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    api.patch(name(object), &PatchParams::apply(AUTHOR).dry_run(), &Patch::Apply(object)).await
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Waits until a request is refused by the policy, which the lab has only just installed. Until the
/// API server knows the author's other rights, those are why.
pub async fn refused<K>(words: &str, request: impl AsyncFn() -> kube::Result<K>) -> anyhow::Result<()> {
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

/// Waits until a request is let through, which is as soon as the API server knows of the right.
pub async fn let_through<K>(request: impl AsyncFn() -> kube::Result<K>) -> anyhow::Result<K> {
    wait::until("the author to be let through", SOON, async || Ok(Some(request().await?))).await
}
