//! The servers that a benchmark runs on, and the requests that it makes itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GetParams, ObjectMeta, PostParams},
    core::Request,
};
use serde_json::{Value, json};

use crate::lab::{
    AuditLog, CONTROLLER_ACCOUNT, Controller, ControllerOptions, Lab, LabOptions, Storage, VaultAdmin,
    cluster_secret_store,
};
use crate::wait;

const SOON: Duration = Duration::from_secs(30);
/// The ClusterSecretStore of all scenarios.
const STORE: &str = "vault-backend";

/// A lab with the product installed, and no controller.
pub(super) struct Ground {
    lab: Lab,
    binary: PathBuf,
    kubeconfig: PathBuf,
    /// The administrator's client of the cluster.
    pub(super) client: Client,
    /// OpenBao with all rights.
    pub(super) vault: VaultAdmin,
    /// What OpenBao answered.
    pub(super) audit: AuditLog,
}

impl Ground {
    pub(super) async fn prepare(binary: &Path, storage: Storage) -> anyhow::Result<Self> {
        ensure!(binary.is_file(), "there is no {}: run `cargo build --release --bin waypost`", binary.display());
        let lab = Lab::start(LabOptions { storage, ..LabOptions::default() }).await?;
        lab.install_product().await?;
        let [namespace, name] = CONTROLLER_ACCOUNT;
        let ground = Ground {
            kubeconfig: lab.kubeconfig_for(namespace, name).await?,
            client: lab.kube_admin().await?,
            vault: lab.vault_admin()?,
            audit: lab.bao()?.audit(),
            binary: binary.to_owned(),
            lab,
        };
        ground.make_store().await?;
        Ok(ground)
    }

    /// Starts the controller as it is shipped; it is not ready yet.
    pub(super) fn start_controller(&self) -> anyhow::Result<Controller> {
        self.lab.start_controller(&ControllerOptions::new(&self.binary, &self.kubeconfig))
    }

    /// Ends a controller in order, so that the next one need not wait for its Lease.
    pub(super) async fn retire(&self, controller: Controller) -> anyhow::Result<()> {
        let ended = controller.sigterm(SOON).await?;
        ensure!(ended.success(), "the controller ended with {ended}");
        Ok(())
    }

    pub(super) async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    /// Creates an ExternalSecret that takes `password` from a path.
    pub(super) async fn pull(&self, at: [&str; 2], path: &str, interval: &str) -> anyhow::Result<()> {
        let spec = json!({
            "refreshInterval": interval,
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
            "data": [{ "secretKey": "password", "remoteRef": { "key": path, "property": "password" } }],
        });
        self.create(external_secrets(&self.client, at[0]), "ExternalSecret", at[1], spec).await
    }

    /// Creates a PushSecret that publishes these keys of the Secret of its own name.
    pub(super) async fn push(&self, at: [&str; 2], path: &str, interval: &str, keys: &[String]) -> anyhow::Result<()> {
        let mapping = |key| {
            json!({ "match": {
            "secretKey": key, "remoteRef": { "remoteKey": path, "property": key },
        } })
        };
        let spec = json!({
            "refreshInterval": interval,
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
            "selector": { "secret": { "name": at[1] } },
            "data": keys.iter().map(mapping).collect::<Vec<_>>(),
        });
        self.create(push_secrets(&self.client, at[0]), "PushSecret", at[1], spec).await
    }

    /// How many requests changed something in the cluster since it was started. Leases are
    /// heartbeats, and reviews and tokens are answers that leave nothing behind.
    pub(super) async fn kubernetes_writes(&self) -> anyhow::Result<u64> {
        let request = Request::new("").get("metrics", &GetParams::default())?;
        let text = self.client.request_text(request).await.context("ask the API server for its metrics")?;
        let series = text.lines().filter(|line| line.starts_with("apiserver_request_total{"));
        let kept = series.filter(|line| is_write(line) && leaves_something(line));
        Ok(kept.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map(|count| count as u64).sum())
    }

    async fn create(&self, api: Api<DynamicObject>, kind: &str, name: &str, spec: Value) -> anyhow::Result<()> {
        let version = if kind == "PushSecret" { "v1alpha1" } else { "v1" };
        let object = DynamicObject::new(name, &resource(kind, version, "")).data(json!({ "spec": spec }));
        api.create(&PostParams::default(), &object).await.with_context(|| format!("create {kind} {name}"))?;
        Ok(())
    }

    async fn make_store(&self) -> anyhow::Result<()> {
        let store = cluster_secret_store(STORE, self.lab.vault_addr(), self.lab.vault_ca_pem());
        let store: DynamicObject = serde_json::from_value(store).context("the store's manifest")?;
        let stores = Api::all_with(self.client.clone(), &resource("ClusterSecretStore", "v1", "clustersecretstores"));
        // The API server serves a new kind a moment after its definition is established.
        wait::until("the kind ClusterSecretStore to be served", SOON, async || {
            match stores.create(&PostParams::default(), &store).await {
                Ok(_created) => Ok(Some(())),
                Err(error) => bail!(error),
            }
        })
        .await
    }
}

/// ExternalSecrets of a namespace.
pub(super) fn external_secrets(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource("ExternalSecret", "v1", "externalsecrets"))
}

/// PushSecrets of a namespace.
pub(super) fn push_secrets(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource("PushSecret", "v1alpha1", "pushsecrets"))
}

fn resource(kind: &str, version: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: "external-secrets.io".to_owned(),
        version: version.to_owned(),
        api_version: format!("external-secrets.io/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn is_write(series: &str) -> bool {
    ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"]
        .iter()
        .any(|verb| series.contains(&format!("verb=\"{verb}\"")))
}

fn leaves_something(series: &str) -> bool {
    !series.contains("resource=\"leases\"")
        && !series.contains("subresource=\"token\"")
        && !series.contains("group=\"authentication.k8s.io\"")
        && !series.contains("group=\"authorization.k8s.io\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_something_is_a_write() {
        let series = |verb: &str, resource: &str| {
            format!(r#"apiserver_request_total{{code="200",group="",resource="{resource}",verb="{verb}"}} 3"#)
        };
        let counts = |line: String| is_write(&line) && leaves_something(&line);
        assert!(counts(series("PATCH", "secrets")));
        assert!(!counts(series("PUT", "leases")));
        assert!(!counts(series("WATCH", "secrets")));
    }
}
