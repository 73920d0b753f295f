//! The stage of a test: the shared lab with one controller, and the test's own namespaces and
//! paths.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::{
    Bao, CONTROLLER_ACCOUNT, Controller, ControllerOptions, Lab, LabOptions, Transport, VaultAdmin,
    cluster_secret_store,
};
use waypost_e2e::turns::{OwnLab, Permit};
use waypost_e2e::wait;

/// Twice what users are promised in the slowest case, because not everything that slows a shared
/// machine down shows in its load. A test that waits longer has failed.
pub const SOON: Duration = Duration::from_secs(20);
/// For what includes a start, an outage or a back-off.
pub const LATER: Duration = Duration::from_secs(60);
/// The store that all tests share.
pub const STORE: &str = "vault-backend";

/// The lab, its controller, and what belongs to one test.
pub struct Stage {
    /// The controller that serves all tests.
    pub controller: Arc<Controller>,
    /// The administrator's client, of this test's own runtime.
    pub client: Client,
    /// OpenBao with all rights.
    pub vault: VaultAdmin,
    /// A word that no other test has, for names and path segments.
    pub word: String,
    /// The namespace of the source.
    pub producer: String,
    /// The namespace of the target.
    pub consumer: String,
}

impl Stage {
    /// Namespaces `<word>-producer` and `<word>-consumer`, made from the test's name.
    pub async fn new(test: &str) -> anyhow::Result<Self> {
        let (lab, controller) = shared().await?;
        Stage::on(lab, controller, test).await
    }

    /// The same on a lab of the test's own.
    pub async fn on(lab: &Lab, controller: &Arc<Controller>, test: &str) -> anyhow::Result<Self> {
        let client = lab.kube_admin().await?;
        let word = format!("{test}{:04x}", rand::random::<u16>());
        let stage = Stage {
            controller: Arc::clone(controller),
            vault: lab.vault_admin()?,
            producer: format!("{word}-producer"),
            consumer: format!("{word}-consumer"),
            word,
            client,
        };
        stage.namespace(&stage.producer).await?;
        stage.namespace(&stage.consumer).await?;
        Ok(stage)
    }

    /// Makes a namespace.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    /// A path of this test: `platform-data/postgres/<word>`.
    pub fn path(&self) -> String {
        format!("platform-data/postgres/{}", self.word)
    }

    /// Objects of a kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates or replaces a Secret's data, as an operator does.
    pub async fn secret(&self, namespace: &str, name: &str, data: &[(&str, &str)]) -> anyhow::Result<Secret> {
        let bytes = data.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        self.secret_bytes(namespace, name, bytes).await
    }

    /// Creates or replaces a Secret's data, whatever bytes they are.
    pub async fn secret_bytes(
        &self,
        namespace: &str,
        name: &str,
        data: BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<Secret> {
        let secrets = self.api::<Secret>(namespace);
        let data: BTreeMap<String, ByteString> =
            data.into_iter().map(|(key, value)| (key, ByteString(value))).collect();
        if let Some(mut found) = secrets.get_opt(name).await? {
            found.data = Some(data);
            return Ok(secrets.replace(name, &PostParams::default(), &found).await?);
        }
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        Ok(secrets.create(&PostParams::default(), &secret).await?)
    }

    /// Applies a PushSecret in the producer's namespace that maps `(secretKey, property)` to this
    /// test's path, with intervals so long that only events move anything. `more` is merged over
    /// the spec.
    pub async fn push(
        &self,
        name: &str,
        source: &str,
        mappings: &[(&str, &str)],
        more: Value,
    ) -> anyhow::Result<PushSecret> {
        let data: Vec<Value> = mappings.iter().map(|(key, property)| mapping(key, &self.path(), property)).collect();
        let mut spec = json!({
            "refreshInterval": "24h",
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
            "selector": { "secret": { "name": source } },
            "data": data,
        });
        merge(&mut spec, more);
        self.apply(&self.producer, name, spec).await
    }

    /// Applies an ExternalSecret in the consumer's namespace that takes `(secretKey, property)`
    /// from this test's path. `more` is merged over the spec.
    pub async fn pull(&self, name: &str, entries: &[(&str, &str)], more: Value) -> anyhow::Result<ExternalSecret> {
        let data: Vec<Value> = entries
            .iter()
            .map(|(key, property)| {
                json!({ "secretKey": key, "remoteRef": { "key": self.path(), "property": property } })
            })
            .collect();
        let mut spec = json!({
            "refreshInterval": "24h",
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
            "data": data,
        });
        merge(&mut spec, more);
        self.apply(&self.consumer, name, spec).await
    }

    /// Applies an object with this spec, as a GitOps controller does.
    pub async fn apply<K>(&self, namespace: &str, name: &str, spec: Value) -> anyhow::Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let object = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": { "name": name }, "spec": spec,
        });
        let params = PatchParams::apply("gitops").force();
        let applied = self.api::<K>(namespace).patch(name, &params, &Patch::Apply(object)).await;
        applied.with_context(|| format!("apply {} {namespace}/{name}", K::kind(&())))
    }

    /// Deletes an object; the API server has accepted it, and the object may still be going.
    pub async fn delete<K>(&self, namespace: &str, name: &str) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let deleted = self.api::<K>(namespace).delete(name, &DeleteParams::default()).await;
        deleted.map(drop).with_context(|| format!("delete {} {namespace}/{name}", K::kind(&())))
    }

    /// Says which namespaces a ClusterSecretStore of this test serves.
    pub async fn admit(&self, store: &str, conditions: Value) -> anyhow::Result<()> {
        let stores: Api<ClusterSecretStore> = Api::all(self.client.clone());
        let change = json!({ "spec": { "conditions": conditions } });
        stores.patch(store, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }

    /// An OpenBao for this test alone, to be disturbed, and a ClusterSecretStore for it.
    pub async fn own_store(&self) -> anyhow::Result<(Bao, String)> {
        let lab = Lab::shared().await?;
        let (bao, name) = (lab.extra_bao(Transport::Tls).await?, format!("{}-store", self.word));
        store(lab, &name, bao.address(), bao.ca_pem()).await?;
        Ok((bao, name))
    }

    /// A ClusterSecretStore for the lab's server that only controllers of this test's own class
    /// serve.
    pub async fn class_store(&self) -> anyhow::Result<String> {
        let (lab, name) = (Lab::shared().await?, format!("{}-store", self.word));
        let mut manifest = cluster_secret_store(&name, lab.vault_addr(), lab.vault_ca_pem());
        manifest["spec"]["controller"] = json!(self.word);
        apply_store(lab, manifest).await?;
        Ok(name)
    }

    /// A controller of this test's own class, with these arguments besides, which leaves to others
    /// what others serve.
    pub async fn class_controller(&self, args: &[&str]) -> anyhow::Result<Controller> {
        let class = format!("--controller-class={}", self.word);
        let own = [class.as_str(), "--serve-unclassified=false", "--leader-elect=false"];
        start_controller_with(Lab::shared().await?, &[&own[..], args].concat()).await
    }

    /// Waits until the object's Ready condition has this status and reason for its present
    /// generation; gives its message.
    pub async fn ready<K>(&self, namespace: &str, name: &str, status: &str, reason: &str) -> anyhow::Result<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        self.ready_within::<K>(LATER, namespace, name, status, reason).await
    }

    /// The same with another deadline.
    pub async fn ready_within<K>(
        &self,
        deadline: Duration,
        namespace: &str,
        name: &str,
        status: &str,
        reason: &str,
    ) -> anyhow::Result<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        let api = self.api::<K>(namespace);
        let what = format!("{} {namespace}/{name} is {status} {reason}", K::kind(&()));
        let result = wait::until(&what, deadline, async || {
            let object = api.get(name).await?;
            let generation = object.meta().generation;
            let object = serde_json::to_value(&object)?;
            let Some(ready) = condition(&object) else { bail!("it has no condition yet") };
            let observed = ready["observedGeneration"].as_i64();
            if ready["status"] == status && ready["reason"] == reason && observed == generation {
                return Ok(Some(ready["message"].as_str().unwrap_or_default().to_owned()));
            }
            bail!("its condition is {ready}")
        })
        .await;
        self.explained(result, name)
    }

    /// Waits until a Secret holds exactly this data.
    pub async fn holds(&self, namespace: &str, name: &str, data: &[(&str, &str)]) -> anyhow::Result<Secret> {
        self.holds_within(SOON, namespace, name, data).await
    }

    /// The same with another deadline.
    pub async fn holds_within(
        &self,
        deadline: Duration,
        namespace: &str,
        name: &str,
        data: &[(&str, &str)],
    ) -> anyhow::Result<Secret> {
        let secrets = self.api::<Secret>(namespace);
        let wanted: BTreeMap<String, Vec<u8>> =
            data.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        let what = format!("Secret {namespace}/{name} holds the keys {:?}", wanted.keys());
        let result = wait::until(&what, deadline, async || {
            let Some(found) = secrets.get_opt(name).await? else { bail!("it does not exist") };
            let keys = bytes_of(&found);
            if keys == wanted {
                return Ok(Some(found));
            }
            bail!("it holds {:?}, or other values", keys.keys())
        })
        .await;
        self.explained(result, &self.word)
    }

    /// The words of the Event that names what a PushSecret left in a store.
    pub async fn orphaned(&self) -> anyhow::Result<String> {
        let events = self.api::<Event>(&self.producer);
        wait::until("an Event Orphaned", LATER, async || {
            let found = events.list(&ListParams::default()).await?.items;
            let orphaned = found.into_iter().find(|event| event.reason.as_deref() == Some("Orphaned"));
            Ok(orphaned.and_then(|event| event.message))
        })
        .await
    }

    /// The properties at this test's path, as text.
    pub async fn stored(&self) -> anyhow::Result<Value> {
        let entry = self.vault.read("secret", &self.path()).await?;
        Ok(entry.and_then(|entry| entry.data).unwrap_or_default())
    }

    /// The latest version at this test's path; 0 when there is none.
    pub async fn version(&self) -> anyhow::Result<u64> {
        let metadata = self.vault.metadata("secret", &self.path()).await?;
        Ok(metadata.and_then(|metadata| metadata["current_version"].as_u64()).unwrap_or(0))
    }

    /// A failure with what the controller's log says last of this stage and a word. What was waited for
    /// comes first: whoever cuts the text off leaves that.
    pub fn explained<T>(&self, result: anyhow::Result<T>, word: &str) -> anyhow::Result<T> {
        result.map_err(|failure| {
            let log = self.controller.log().unwrap_or_default();
            let lines: Vec<&str> =
                log.lines().filter(|line| line.contains(&self.word) && line.contains(word)).collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            anyhow::anyhow!("{failure:#}\nthe controller's log ends with\n{last}")
        })
    }
}

/// One explicit mapping of a PushSecret.
pub fn mapping(secret_key: &str, remote_key: &str, property: &str) -> Value {
    json!({
        "match": { "secretKey": secret_key, "remoteRef": { "remoteKey": remote_key, "property": property } },
    })
}

/// The Ready condition of an object in JSON.
pub fn condition(object: &Value) -> Option<&Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")
}

/// A Secret's data.
pub fn bytes_of(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn merge(target: &mut Value, more: Value) {
    if let (Value::Object(target), Value::Object(more)) = (target, more) {
        target.extend(more);
    }
}

/// The lab and its controller, started by the first test that asks.
async fn shared() -> anyhow::Result<(&'static Lab, &'static Arc<Controller>)> {
    static CONTROLLER: OnceCell<Arc<Controller>> = OnceCell::const_new();
    let lab = Lab::shared().await?;
    let controller = CONTROLLER.get_or_try_init(async || anyhow::Ok(Arc::new(start_controller(lab).await?))).await?;
    Ok((lab, controller))
}

/// The store that all tests share, and a controller with the rights that we ship.
pub async fn start_controller(lab: &Lab) -> anyhow::Result<Controller> {
    store(lab, STORE, lab.vault_addr(), lab.vault_ca_pem()).await?;
    start_controller_with(lab, &[]).await
}

/// A lab of its own with the product, the store that all tests share, and a controller with these
/// arguments besides.
pub async fn own_lab(permit: &Permit, options: LabOptions, args: &[&str]) -> anyhow::Result<OwnLab> {
    let lab = permit.start_lab(options).await?;
    lab.install_product().await?;
    store(&lab, STORE, lab.vault_addr(), lab.vault_ca_pem()).await?;
    let controller = Arc::new(start_controller_with(&lab, args).await?);
    Ok(OwnLab { controller, lab })
}

/// A controller with the rights that we ship and these arguments besides.
pub async fn start_controller_with(lab: &Lab, args: &[&str]) -> anyhow::Result<Controller> {
    let [namespace, name] = CONTROLLER_ACCOUNT;
    let kubeconfig = lab.kubeconfig_for(namespace, name).await?;
    let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), kubeconfig)
        .arg("--log-format=text")
        .env("NO_COLOR", "1")
        .arg("--log-level=info,waypost=debug");
    let options = args.iter().fold(options, |options, arg| options.arg(*arg));
    let controller = lab.start_controller(&options)?;
    controller.wait_ready().await?;
    Ok(controller)
}

/// Makes a ClusterSecretStore for a server, with the framework's names.
pub async fn store(lab: &Lab, name: &str, server: &str, ca_pem: Option<&str>) -> anyhow::Result<()> {
    apply_store(lab, cluster_secret_store(name, server, ca_pem)).await
}

/// The same for a server that knows the lab's cluster under another auth mount.
pub async fn store_by_login(
    lab: &Lab,
    name: &str,
    server: &str,
    ca_pem: Option<&str>,
    auth_mount: &str,
) -> anyhow::Result<()> {
    let mut manifest = cluster_secret_store(name, server, ca_pem);
    manifest["spec"]["provider"]["vault"]["auth"]["kubernetes"]["mountPath"] = json!(auth_mount);
    apply_store(lab, manifest).await
}

/// Applies a store as it is written.
pub async fn apply_store(lab: &Lab, manifest: Value) -> anyhow::Result<()> {
    let stores: Api<ClusterSecretStore> = Api::all(lab.kube_admin().await?);
    let name = manifest["metadata"]["name"].as_str().context("a store has a name")?.to_owned();
    stores.patch(&name, &PatchParams::apply("gitops").force(), &Patch::Apply(manifest)).await?;
    Ok(())
}
