//! How GitOps tools read our status, judged by their own code: kstatus (Flux), Argo CD's checks,
//! and `kubectl wait`.

use std::time::Duration;

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{
    ClusterExternalSecret, ClusterPushSecret, ClusterSecretStore, ExternalSecret, PushSecret, SecretStore,
};
use waypost_e2e::health;
use waypost_e2e::lab::{Lab, ca_bundle};
use waypost_e2e::wait;

use crate::stage::{self, LATER, SOON, Stage, condition, mapping};

/// How long `kubectl wait` is given for what does not become true.
const MOMENT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_nobody_has_looked_at_is_in_progress() -> anyhow::Result<()> {
    let stage = Stage::new("unseen").await?;
    let mut seen = Vec::new();
    // Stores of another controller and what refers to them are not touched: they stay as the API
    // server made them.
    for mut subject in subjects(&stage).await? {
        if subject.spec.get("provider").is_some() {
            subject.spec["controller"] = json!("somebody-else");
        }
        subject.apply(json!({})).await?;
        seen.push(Seen::new(&subject, "of another controller", subject.get().await?, "InProgress", "Progressing"));
    }
    // That is answered at once: what counts is how the API server made it.
    let unserved = unserved(&stage).await?;
    let made = unserved.apply(json!({})).await?;
    seen.push(Seen::new(&unserved, "just made", made, "InProgress", "Progressing"));
    unserved.delete().await?;
    judged(&seen)?;
    remove_store(&stage).await
}

#[tokio::test]
async fn ready_is_current_not_ready_degraded_and_an_edit_in_progress_until_it_was_seen() -> anyhow::Result<()> {
    let stage = Stage::new("health").await?;
    let mut seen = Vec::new();
    for subject in subjects(&stage).await? {
        subject.apply(json!({})).await?;
        seen.push(Seen::new(&subject, "ready", subject.says("True").await?, "Current", "Healthy"));
        subject.kubectl_wait("condition=Ready", SOON).await?;

        // Argo CD's checks do not look at generations: they show the verdict on the former spec
        // until there is a new one.
        let edited = subject.apply(subject.flaw.clone()).await?;
        seen.push(Seen::new(&subject, "edited and not seen yet", edited, "InProgress", "Healthy"));
        seen.push(Seen::new(&subject, "failing", subject.says("False").await?, "InProgress", "Degraded"));
        ensure!(subject.kubectl_wait("condition=Ready", MOMENT).await.is_err(), "kubectl takes what fails for ready");
        subject.kubectl_wait("condition=Ready=False", SOON).await?;

        // Who comes next needs it.
        subject.apply(json!({})).await?;
        subject.says("True").await?;
    }
    judged(&seen)?;
    remove_store(&stage).await
}

#[tokio::test]
async fn what_is_being_deleted_is_terminating() -> anyhow::Result<()> {
    let stage = Stage::new("going").await?;
    let subjects = subjects(&stage).await?;
    for subject in &subjects {
        subject.apply(json!({})).await?;
        subject.says("True").await?;
    }
    let mut seen = Vec::new();
    for subject in subjects.iter().rev() {
        subject.finalizers(json!(["waypost.io/test"])).await?;
        subject.delete().await?;
        // Argo CD does not ask its check about what is being deleted.
        seen.push(Seen {
            argo_cd: None,
            ..Seen::new(subject, "being deleted", subject.get().await?, "Terminating", "")
        });
        subject.finalizers(Value::Null).await?;
        wait::until("it to go", LATER, async || Ok(subject.api().get_opt(&stage.word).await?.is_none().then_some(())))
            .await?;
    }
    judged(&seen)
}

#[tokio::test]
async fn an_edit_of_what_is_read_once_does_not_hold_up_who_waits_for_it() -> anyhow::Result<()> {
    let stage = Stage::new("readonce").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "p", "user": "u" })).await?;
    for once in [json!({ "refreshPolicy": "CreatedOnce" }), json!({ "refreshInterval": "0" })] {
        let mut pull = pull(&stage, stage::STORE);
        merge(&mut pull.spec, once);
        pull.apply(json!({})).await?;
        pull.says("True").await?;
        pull.apply(json!({ "data": [entry(&stage, "user")] })).await?;
        pull.kubectl_wait("condition=Ready", SOON).await?;
        let noted = pull.get().await?;
        ensure!(condition(&noted).is_some_and(|ready| ready["message"].to_string().contains("is not read again")));
        judged(&[Seen::new(&pull, "read once and edited", noted, "Current", "Healthy")])?;
        stage.holds(&stage.consumer, &stage.word, &[("password", "p")]).await?;
        pull.delete().await?;
        let targets = stage.api::<Secret>(&stage.consumer);
        wait::until("the target to go", LATER, async || {
            Ok(targets.get_opt(&stage.word).await?.is_none().then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn under_on_change_the_condition_is_never_older_than_the_refresh() -> anyhow::Result<()> {
    let stage = Stage::new("argo").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "p", "user": "u" })).await?;
    let pull = pull(&stage, stage::STORE);
    for property in ["password", "user"] {
        pull.apply(json!({ "refreshPolicy": "OnChange", "data": [entry(&stage, property)] })).await?;
        let found = pull.says("True").await?;
        let moved = condition(&found).and_then(|ready| ready["lastTransitionTime"].as_str().map(str::to_owned));
        let refreshed = found["status"]["refreshTime"].as_str().map(str::to_owned);
        // RFC 3339 in UTC and whole seconds sorts as it is.
        ensure!(moved.is_some() && moved >= refreshed, "moved {moved:?}, refreshed {refreshed:?}");
        judged(&[Seen::new(&pull, "OnChange", found, "Current", "Healthy")])?;
    }
    Ok(())
}

/// An object as it was found, and what its readers are to say of it.
struct Seen {
    what: String,
    object: Value,
    kstatus: &'static str,
    /// None where it has no check, or does not ask it.
    argo_cd: Option<&'static str>,
}

impl Seen {
    fn new(subject: &Subject, how: &str, object: Value, kstatus: &'static str, argo_cd: &'static str) -> Self {
        let kind = &subject.resource.kind;
        // The one kind without a check.
        let argo_cd = (kind != "ClusterPushSecret").then_some(argo_cd);
        Seen { what: format!("{kind}, {how}"), object, kstatus, argo_cd }
    }
}

/// Asks the judges about all of it, and names every object that they read otherwise.
fn judged(seen: &[Seen]) -> anyhow::Result<()> {
    let objects: Vec<Value> = seen.iter().map(|seen| seen.object.clone()).collect();
    let mut wrong = Vec::new();
    for (seen, verdicts) in seen.iter().zip(health::judge(&objects)?) {
        let by_argo_cd = verdicts.argo_cd.as_ref().filter(|_| seen.argo_cd.is_some());
        let said = (verdicts.kstatus.status.as_str(), by_argo_cd.map(|verdict| verdict.status.as_str()));
        // People see the check's message: it is to be that of our condition.
        let message =
            by_argo_cd.zip(condition(&seen.object)).is_none_or(|(said, ready)| ready["message"] == said.message);
        if said != (seen.kstatus, seen.argo_cd) || !message {
            wrong.push(format!("{}: {verdicts:?} of {}", seen.what, seen.object["status"]));
        }
    }
    ensure!(wrong.is_empty(), "read otherwise:\n{}", wrong.join("\n"));
    Ok(())
}

/// An object of the test, by the name of the test's word.
struct Subject<'a> {
    stage: &'a Stage,
    resource: ApiResource,
    /// None for the cluster-wide kinds.
    namespace: Option<&'a str>,
    spec: Value,
    /// Fields of `spec` with which it fails.
    flaw: Value,
}

/// One of each kind, in an order in which each finds what it refers to; a push and a pull through a
/// store of the test's own.
async fn subjects(stage: &Stage) -> anyhow::Result<[Subject<'_>; 5]> {
    let lab = Lab::shared().await?;
    // The namespace's own store logs in with a token: to ask for those of its ServiceAccount would
    // take a grant.
    let token = stage.vault.create_token(&["waypost-combined"], "1h").await?;
    stage.secret(&stage.consumer, "login", &[("token", &token)]).await?;
    stage.secret(&stage.producer, "source", &[("password", "p"), ("user", "u")]).await?;
    let vault = |auth: Value, path: &str| {
        let ca = ca_bundle(lab.vault_ca_pem().unwrap_or_default());
        json!({ "vault": { "server": lab.vault_addr(), "caBundle": ca, "path": path, "version": "v2", "auth": auth } })
    };
    let account = json!({ "name": "external-secrets", "namespace": "external-secrets" });
    let kubernetes = json!({ "kubernetes": {
        "mountPath": "kubernetes", "role": "external-secrets", "serviceAccountRef": account,
    } });
    let static_token = json!({ "tokenSecretRef": { "name": "login", "key": "token" } });
    let store = |resource, namespace, auth: &Value| Subject {
        stage,
        resource,
        namespace,
        spec: json!({ "provider": vault(auth.clone(), "secret") }),
        flaw: json!({ "provider": vault(auth.clone(), "no-such-mount") }),
    };
    let push = Subject {
        stage,
        resource: ApiResource::erase::<PushSecret>(&()),
        namespace: Some(&stage.producer),
        spec: json!({
            "refreshInterval": "24h",
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": stage.word }],
            "selector": { "secret": { "name": "source" } },
            "data": (["password", "user"].map(|key| mapping(key, &stage.path(), key))),
        }),
        flaw: json!({ "selector": { "secret": { "name": "no-such-source" } } }),
    };
    let malformed = json!([{ "matchExpressions": [{ "key": "a", "operator": "Is" }] }]);
    let fan_out = Subject {
        stage,
        resource: ApiResource::erase::<ClusterPushSecret>(&()),
        namespace: None,
        spec: json!({ "namespaceSelectors": nowhere(), "pushSecretSpec": push.spec }),
        flaw: json!({ "namespaceSelectors": malformed }),
    };
    Ok([
        store(ApiResource::erase::<ClusterSecretStore>(&()), None, &kubernetes),
        store(ApiResource::erase::<SecretStore>(&()), Some(stage.consumer.as_str()), &static_token),
        fan_out,
        push,
        pull(stage, &stage.word),
    ])
}

/// An ExternalSecret that reads the password at the test's path.
fn pull<'a>(stage: &'a Stage, store: &str) -> Subject<'a> {
    Subject {
        stage,
        resource: ApiResource::erase::<ExternalSecret>(&()),
        namespace: Some(&stage.consumer),
        spec: json!({
            "refreshInterval": "24h",
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": store },
            "data": [entry(stage, "password")],
        }),
        flaw: json!({ "data": [entry(stage, "no-such-property")] }),
    }
}

/// The cluster-wide kind that is not served, for no namespace at all.
async fn unserved(stage: &Stage) -> anyhow::Result<Subject<'_>> {
    let [.., pull] = subjects(stage).await?;
    let spec = json!({ "namespaceSelectors": nowhere(), "externalSecretSpec": pull.spec });
    let resource = ApiResource::erase::<ClusterExternalSecret>(&());
    Ok(Subject { stage, resource, namespace: None, spec, flaw: Value::Null })
}

/// Selectors that match no namespace.
fn nowhere() -> Value {
    json!([{ "matchLabels": { "kubernetes.io/metadata.name": "nowhere" } }])
}

/// Takes a property of the test's path under its own name.
fn entry(stage: &Stage, property: &str) -> Value {
    json!({ "secretKey": property, "remoteRef": { "key": stage.path(), "property": property } })
}

fn merge(spec: &mut Value, more: Value) {
    if let (Value::Object(spec), Value::Object(more)) = (spec, more) {
        spec.extend(more);
    }
}

async fn remove_store(stage: &Stage) -> anyhow::Result<()> {
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    stores.delete(&stage.word, &DeleteParams::default()).await?;
    Ok(())
}

impl Subject<'_> {
    fn api(&self) -> Api<DynamicObject> {
        let client = self.stage.client.clone();
        match self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        }
    }

    /// Applies it with other fields of its spec, as a GitOps controller does; the object as the API
    /// server answers it.
    async fn apply(&self, other: Value) -> anyhow::Result<Value> {
        let mut spec = self.spec.clone();
        merge(&mut spec, other);
        let object = json!({
            "apiVersion": self.resource.api_version, "kind": self.resource.kind,
            "metadata": { "name": self.stage.word }, "spec": spec,
        });
        let params = PatchParams::apply("gitops").force();
        Ok(serde_json::to_value(self.api().patch(&self.stage.word, &params, &Patch::Apply(object)).await?)?)
    }

    async fn get(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.api().get(&self.stage.word).await?)?)
    }

    /// Waits until Ready has this status for the present generation; the object as it is then.
    async fn says(&self, status: &str) -> anyhow::Result<Value> {
        wait::until(&format!("{} to be {status}", self.resource.kind), LATER, async || {
            let object = self.get().await?;
            let generation = &object["metadata"]["generation"];
            match condition(&object) {
                Some(ready) if ready["status"] == status && ready["observedGeneration"] == *generation => {
                    Ok(Some(object))
                }
                Some(ready) => bail!("it says {ready}"),
                None => bail!("it says nothing"),
            }
        })
        .await
    }

    async fn finalizers(&self, finalizers: Value) -> anyhow::Result<()> {
        let change = json!({ "metadata": { "finalizers": finalizers } });
        self.api().patch(&self.stage.word, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }

    async fn delete(&self) -> anyhow::Result<()> {
        self.api().delete(&self.stage.word, &DeleteParams::default()).await?;
        Ok(())
    }

    /// `kubectl wait`, as pipelines run it.
    async fn kubectl_wait(&self, condition: &str, timeout: Duration) -> anyhow::Result<()> {
        let mut kubectl = Lab::shared().await?.kubectl();
        kubectl.arg("wait").arg(format!("--for={condition}")).arg(wait::kubectl_timeout(timeout));
        kubectl.arg(format!("{}.{}/{}", self.resource.plural, self.resource.group, self.stage.word));
        kubectl.args(self.namespace.iter().flat_map(|namespace| ["--namespace", namespace]));
        let output = kubectl.output()?;
        ensure!(output.status.success(), "{kubectl:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
