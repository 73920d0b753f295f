//! I5 and S1: no secret is in any output, in any encoding, in success and failure, with everything
//! logged.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::{Bao, CONTROLLER_ACCOUNT, Controller, ControllerOptions, Lab, Transport, VaultAdmin, ca_bundle};

use crate::bad_store::store_says;
use crate::collector::Collector;
use crate::stage::{self, LATER, Stage, mapping};

/// A value that exists nowhere else.
struct Canary {
    what: &'static str,
    value: String,
}

impl Canary {
    fn new(what: &'static str) -> Self {
        let value = (0..32).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
        Canary { what, value }
    }

    /// How it would look in an output; letters are the same in JSON and in a URL.
    fn encodings(&self) -> Vec<String> {
        let hex: String = self.value.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut all = vec![self.value.clone(), hex.to_uppercase(), hex];
        for before in 0..3 {
            // Inside a longer text it may begin at any of the three offsets of base64.
            let padded = [vec![0; before], self.value.clone().into_bytes()].concat();
            for encoded in [STANDARD.encode(&padded), URL_SAFE.encode(&padded)] {
                all.push(encoded[4..40].to_owned());
            }
        }
        all
    }

    fn found_in(&self, text: &str) -> bool {
        self.encodings().iter().any(|encoding| text.contains(encoding))
    }
}

/// A controller of the test's own class that logs all it can, and stores that only it serves.
struct Watched<'a> {
    stage: &'a Stage,
    controller: Controller,
    bao: Bao,
    class: String,
    traces: Collector,
}

#[tokio::test]
async fn i5_no_secret_leaves_in_any_output() -> anyhow::Result<()> {
    let stage = Stage::new("canary").await?;
    let canaries = ["source", "token", "secret id", "role id", "broken", "large", "not base64"].map(Canary::new);
    for canary in &canaries {
        let longer = format!("so {} it goes", canary.value);
        let hex: String = longer.bytes().map(|byte| format!("{byte:02x}")).collect();
        for leak in [json!({ "leak": longer }).to_string(), STANDARD.encode(&longer), hex] {
            ensure!(canary.found_in(&leak), "the search misses {leak}");
        }
    }
    let [source, token, secret_id, role_id, broken, large, not_base64] = &canaries;
    let watched = Watched::start(&stage).await?;
    let lived = async {
        watched.credentials(token, role_id, secret_id).await?;
        watched.succeed(source).await?;
        watched.fail_by_content(broken, large, not_base64).await?;
        watched.fail_by_store(source).await
    };
    lived.await.with_context(|| watched.own_log())?;

    let outputs = watched.outputs().await?;
    let traced = ["source changed", "store request", "kubernetes request", "announce"];
    ensure!(traced.iter().all(|span| outputs["traces"].contains(span)), "not every span of ours was exported");
    ensure!(outputs["log"].contains("TRACE"), "the log is not as detailed as it can be");
    for (output, text) in &outputs {
        for canary in &canaries {
            ensure!(!canary.found_in(text), "the {} is in the {output}", canary.what);
        }
        ensure!(!text.contains("eyJhbGciOi"), "a ServiceAccount's token is in the {output}");
    }
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    for way in ["token", "approle", "kubernetes"] {
        stores.delete(&watched.store(way), &DeleteParams::default()).await?;
    }
    Ok(())
}

impl<'a> Watched<'a> {
    async fn start(stage: &'a Stage) -> anyhow::Result<Self> {
        let lab = Lab::shared().await?;
        let [namespace, name] = CONTROLLER_ACCOUNT;
        let class = stage.word.clone();
        let (kubeconfig, traces) = (lab.kubeconfig_for(namespace, name).await?, Collector::start().await?);
        let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), kubeconfig)
            .arg("--log-level=trace")
            .arg("--log-format=text")
            .env("NO_COLOR", "1")
            .arg(traces.flag())
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
            .arg("--leader-elect=false")
            .arg("--serve-unclassified=false")
            .arg(format!("--controller-class={class}"));
        let (bao, controller) = (lab.extra_bao(Transport::Tls).await?, lab.start_controller(&options)?);
        controller.wait_ready().await?;
        Ok(Watched { stage, controller, bao, class, traces })
    }

    /// What this test's own controller said last, without the details.
    fn own_log(&self) -> String {
        let log = self.controller.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("waypost::")).collect();
        format!("its own controller's log ends with\n{}", lines[lines.len().saturating_sub(60)..].join("\n"))
    }

    fn store(&self, way: &str) -> String {
        format!("{}-{way}", self.stage.word)
    }

    fn path(&self, way: &str) -> String {
        format!("platform-data/postgres/{}-{way}", self.stage.word)
    }

    /// One store for each way to log in, two of them with canaries as credentials.
    async fn credentials(&self, token: &Canary, role_id: &Canary, secret_id: &Canary) -> anyhow::Result<()> {
        let admin = self.bao.admin()?;
        new_token(&admin, token).await?;
        admin.enable_auth("approle", "approle").await?;
        let role = "auth/approle/role/canary";
        admin.post(role, &json!({ "token_policies": ["waypost-combined"] })).await?;
        admin.post(&format!("{role}/role-id"), &json!({ "role_id": role_id.value })).await?;
        admin.post(&format!("{role}/custom-secret-id"), &json!({ "secret_id": secret_id.value })).await?;
        let (stage, namespace) = (self.stage, &self.stage.producer);
        let credentials =
            [("token", token.value.as_str()), ("role-id", &role_id.value), ("secret-id", &secret_id.value)];
        stage.secret(namespace, "credentials", &credentials).await?;
        let key = |key: &str| json!({ "name": "credentials", "namespace": namespace, "key": key });
        let account = json!({ "name": "external-secrets", "namespace": "external-secrets" });
        let ways = [
            ("token", json!({ "tokenSecretRef": key("token") })),
            ("approle", json!({ "appRole": { "roleRef": key("role-id"), "secretRef": key("secret-id") } })),
            ("kubernetes", json!({ "kubernetes": { "role": "external-secrets", "serviceAccountRef": account } })),
        ];
        for (way, auth) in ways {
            self.make_store(way, auth).await?;
        }
        Ok(())
    }

    async fn make_store(&self, way: &str, auth: Value) -> anyhow::Result<()> {
        let stores: Api<ClusterSecretStore> = Api::all(self.stage.client.clone());
        let vault = json!({
            "server": self.bao.address(), "path": "secret", "auth": auth,
            "caBundle": ca_bundle(self.bao.ca_pem().unwrap_or_default()),
        });
        let object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore",
            "metadata": { "name": self.store(way) },
            "spec": { "controller": self.class, "provider": { "vault": vault } },
        });
        stores.patch(&self.store(way), &PatchParams::apply("gitops"), &Patch::Apply(object)).await?;
        store_says(self.stage, &self.store(way), "True", "Valid", &["store validated"]).await.map(drop)
    }

    async fn push(&self, way: &str, source: &str) -> anyhow::Result<()> {
        let more = json!({
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": self.store(way) }],
            "data": [mapping("password", &self.path(way), "password")],
        });
        self.stage.push(way, source, &[], more).await.map(drop)
    }

    async fn pull(&self, way: &str, more: Value) -> anyhow::Result<()> {
        let mut remote = json!({ "key": self.path(way), "property": "password" });
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            remote[field] = value;
        }
        let spec = json!({
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": self.store(way) },
            "data": [{ "secretKey": "PASSWORD", "remoteRef": remote }],
        });
        self.stage.pull(way, &[], spec).await.map(drop)
    }

    async fn succeed(&self, source: &Canary) -> anyhow::Result<()> {
        let stage = self.stage;
        stage.secret(&stage.producer, "source", &[("password", &source.value)]).await?;
        for way in ["token", "approle", "kubernetes"] {
            self.push(way, "source").await?;
            self.pull(way, json!({})).await?;
            stage.holds_within(LATER, &stage.consumer, way, &[("PASSWORD", &source.value)]).await?;
        }
        Ok(())
    }

    /// Values that cannot be pushed or rendered.
    async fn fail_by_content(&self, broken: &Canary, large: &Canary, not_base64: &Canary) -> anyhow::Result<()> {
        let stage = self.stage;
        let bytes = [broken.value.as_bytes(), &[0xff]].concat();
        stage.secret_bytes(&stage.producer, "source", BTreeMap::from([("password".to_owned(), bytes)])).await?;
        stage.ready::<PushSecret>(&stage.producer, "token", "False", "SourceInvalid").await?;
        let text = format!("{}{}", large.value, "\u{1}".repeat(300_000));
        stage.secret(&stage.producer, "source", &[("password", &text)]).await?;
        stage.ready::<PushSecret>(&stage.producer, "token", "False", "TooLarge").await?;
        let text = format!("{} !", not_base64.value);
        stage.secret(&stage.producer, "source", &[("password", &text)]).await?;
        self.pull("approle", json!({ "decodingStrategy": "Base64" })).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "approle", "False", "TargetInvalid").await?;
        self.pull("approle", json!({ "property": "nothing" })).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "approle", "False", "PropertyNotFound").await?;
        stage.secret(&stage.producer, "source", &[("other", &text)]).await?;
        stage.ready::<PushSecret>(&stage.producer, "token", "False", "SourceInvalid").await?;
        Ok(())
    }

    /// Logins that are refused, and a server that does not serve.
    async fn fail_by_store(&self, source: &Canary) -> anyhow::Result<()> {
        let (stage, admin) = (self.stage, self.bao.admin()?);
        let token = stage.api::<k8s_openapi::api::core::v1::Secret>(&stage.producer).get("credentials").await?;
        let token = stage::bytes_of(&token).remove("token").context("the token")?;
        admin.post("auth/token/revoke", &json!({ "token": String::from_utf8(token)? })).await?;
        stage.secret(&stage.producer, "source", &[("password", &source.value)]).await?;
        stage.ready::<PushSecret>(&stage.producer, "token", "False", "StoreNotReady").await?;
        self.bao.seal().await?;
        stage.secret(&stage.producer, "source", &[("password", &format!("{}.", source.value))]).await?;
        stage.ready::<PushSecret>(&stage.producer, "kubernetes", "False", "StoreNotReady").await?;
        self.bao.unseal().await?;
        stage.ready::<PushSecret>(&stage.producer, "kubernetes", "True", "Synced").await?;
        Ok(())
    }

    async fn outputs(&self) -> anyhow::Result<BTreeMap<&'static str, String>> {
        let (client, all) = (self.stage.client.clone(), ListParams::default());
        let (producer, consumer) = (&self.stage.producer, &self.stage.consumer);
        let events: Api<Event> = Api::all(client.clone());
        let stores: Api<ClusterSecretStore> = Api::all(client);
        let mut statuses = Vec::new();
        for push in self.stage.api::<PushSecret>(producer).list(&all).await? {
            statuses.push(serde_json::to_string(&push)?);
        }
        for pull in self.stage.api::<ExternalSecret>(consumer).list(&all).await? {
            statuses.push(serde_json::to_string(&pull)?);
        }
        for store in stores.list(&all).await? {
            statuses.push(serde_json::to_string(&store)?);
        }
        let events: Vec<String> =
            events.list(&all).await?.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        ensure!(!events.is_empty(), "there are no Events to look into");
        Ok(BTreeMap::from([
            ("log", self.controller.log()?),
            ("metrics page", self.controller.metrics().await?),
            ("traces", self.traces.text()),
            ("Events", events.concat()),
            ("resources and their statuses", statuses.concat()),
        ]))
    }
}

async fn new_token(admin: &VaultAdmin, token: &Canary) -> anyhow::Result<()> {
    let wanted = json!({ "id": token.value, "policies": ["waypost-combined"], "no_default_policy": true });
    admin.post("auth/token/create", &wanted).await.map(drop)
}
