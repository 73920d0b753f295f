//! The path convention as data: after a change, admission, lint and the controller judge in the
//! same way, without a restart. It has its own lab, because it is cluster-wide.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waypost::api::{PathConvention, PushSecret};
use waypost::cli::lint;
use waypost::domain::convention::Severity;
use waypost::manifest::Source;
use waypost_e2e::lab::{Lab, LabOptions, repository};
use waypost_e2e::turns::{Group, OwnLab, Turn};
use waypost_e2e::wait;

use crate::guide::Guide;
use crate::stage::{LATER, STORE, Stage, mapping, own_lab, start_controller_with};

/// A policy takes effect a second or so after its parameter changed, and the controller at once.
const AT_ONCE: Duration = Duration::from_secs(5);
/// What was missing is looked for again after this time at most.
const FOUND: Duration = Duration::from_secs(90);
const PASSWORD: &[(&str, &str)] = &[("password", "password")];

/// A stage in the lab with the convention of these tests, which they change in turn.
async fn turn(test: &str) -> anyhow::Result<(Turn<OwnLab>, Stage)> {
    static OWN: Group<OwnLab> = Group::empty();
    let lab = OWN.turn(async |permit| own_lab(permit, LabOptions::default(), &[]).await).await?;
    let stage = Stage::on(&lab, &lab.controller, test).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let shipped = fs::read_to_string(repository().join("policies/admission/path-convention.yaml"))?;
    put(&stage, serde_saphyr::from_str(&shipped)?).await?;
    Ok((lab, stage))
}

#[tokio::test]
async fn es5_a_changed_convention_is_judged_alike_by_admission_lint_and_the_controller() -> anyhow::Result<()> {
    let (lab, stage) = turn("changed").await?;
    let changed = json!({
        "apiVersion": "waypost.io/v1alpha1", "kind": "PathConvention", "metadata": { "name": "default" },
        "spec": {
            "secretPrefix": "team-data", "configurationPrefix": "team-config",
            "datasources": ["oracle", "postgres"], "environments": ["blue"],
            "vocabulary": { "endpoints": ["url"], "aliases": { "pwd": "password" } },
        },
    });
    put(&stage, changed.clone()).await?;
    let file = lab.folder().join("path-convention.json");
    fs::write(&file, changed.to_string())?;
    let convention = lint::convention(Some(&file))?;
    permit(&lab, "team-data", "team-config").await?;

    let cases = [
        ("team-data/oracle/app", "password", None),
        ("team-data/oracle/app-prod", "password", None),
        ("team-data/oracle/app", "host", None),
        ("team-data/oracle/app-blue", "password", Some("V5")),
        ("team-data/redis/app", "password", Some("V3")),
        ("platform-data/oracle/app", "password", Some("V1")),
        ("team-config/oracle/app", "password", Some("V8")),
        ("other/oracle/app", "url", Some("V2")),
    ];
    admitted(&stage, &stage.producer, "team-data/oracle/app", None).await?;
    for (key, property, rule) in cases {
        let said = refusal(&stage, &stage.producer, key, property).await?;
        ensure!(names(said.as_deref(), rule), "admission says of {key}: {said:?}");
        let linted = lint::judge(&[source(&push(&stage, key, property))], &convention, "secret");
        let errors: Vec<_> = linted.iter().filter(|found| found.problem.severity == Severity::Error).collect();
        ensure!(
            errors.iter().map(|found| found.problem.rule.as_str()).eq(rule),
            "lint says of {key}: {}",
            errors.len()
        );
    }

    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    let binding = bindings.get("waypost-convention-enforce").await?;
    bindings.delete("waypost-convention-enforce", &DeleteParams::default()).await?;
    admitted(&stage, &stage.producer, "platform-data/oracle/app", None).await?;
    for (index, (key, property, rule)) in cases.into_iter().enumerate() {
        let name = format!("case-{index}");
        stage.push(&name, "source", &[], json!({ "data": [mapping("password", key, property)] })).await?;
        match rule {
            None => drop(stage.ready::<PushSecret>(&stage.producer, &name, "True", "Synced").await?),
            Some(rule) => {
                let said = stage.ready::<PushSecret>(&stage.producer, &name, "False", "ConventionViolated").await?;
                ensure!(said.contains(&format!("{rule}: ")), "the controller says of {key}: {said}");
            }
        }
        stage.delete::<PushSecret>(&stage.producer, &name).await?;
    }
    permit(&lab, "platform-data", "platform-config").await?;
    let mut again = binding;
    again.metadata = kube::core::ObjectMeta { name: again.metadata.name, ..Default::default() };
    bindings.create(&PostParams::default(), &again).await?;
    Ok(())
}

#[tokio::test]
async fn a_mode_changes_without_a_restart_and_a_namespace_has_its_own() -> anyhow::Result<()> {
    let (_lab, stage) = turn("modes").await?;
    let key = format!("platform-data/oracle/{}", stage.word);
    admitted(&stage, &stage.producer, &key, Some("V3")).await?;

    label(&stage, &stage.producer, json!("warn")).await?;
    admitted(&stage, &stage.producer, &key, None).await?;
    let spec = json!({ "data": [mapping("password", &key, "password")], "deletionPolicy": "Delete" });
    stage.push("push", "source", &[], spec).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    ensure!(said.contains("V3: "), "a warning: {said}");
    // Another namespace is judged by the installation's mode.
    admitted(&stage, &stage.consumer, &key, Some("V3")).await?;

    label(&stage, &stage.producer, Value::Null).await?;
    says(&stage, "False", "ConventionViolated").await?;
    mode(&stage, "off").await?;
    let said = says(&stage, "True", "Synced").await?;
    ensure!(!said.contains("V3"), "nothing is judged: {said}");
    admitted(&stage, &stage.consumer, &key, None).await?;
    label(&stage, &stage.consumer, json!("enforce")).await?;
    admitted(&stage, &stage.consumer, &key, Some("V3")).await?;

    // What cannot be used changes nothing, and says so once.
    let clash = json!({ "spec": { "mode": "enforce", "vocabulary": { "credentials": ["host"], "endpoints": null } } });
    edit(&stage, clash).await?;
    wait::until("an Event on the PathConvention", LATER, async || {
        let events: Api<Event> = Api::namespaced(stage.client.clone(), "default");
        let events = events.list(&ListParams::default()).await?;
        let told = events.items.iter().filter(|event| {
            let regarding = event.regarding.as_ref().and_then(|object| object.kind.as_deref());
            regarding == Some("PathConvention") && event.reason.as_deref() == Some("InvalidSpec")
        });
        Ok(told.into_iter().find(|event| event.note.as_deref().is_some_and(|note| note.contains("\"host\""))).map(drop))
    })
    .await?;
    says(&stage, "True", "Synced").await?;
    edit(&stage, json!({ "spec": { "vocabulary": null } })).await?;
    says(&stage, "False", "ConventionViolated").await?;

    // Without the object the flag decides, which is enforce here, and admission says nothing.
    mode(&stage, "warn").await?;
    says(&stage, "True", "Synced").await?;
    Api::<PathConvention>::all(stage.client.clone()).delete("default", &DeleteParams::default()).await?;
    says(&stage, "False", "ConventionViolated").await?;
    admitted(&stage, &stage.producer, &key, None).await
}

#[tokio::test]
async fn the_api_server_refuses_a_convention_that_no_path_can_keep() -> anyhow::Result<()> {
    let (_lab, stage) = turn("refused").await?;
    let all: Api<PathConvention> = Api::all(stage.client.clone());
    for (spec, says) in [
        (json!({ "mode": "strict" }), "spec.mode"),
        (json!({ "secretPrefix": "Team Data" }), "spec.secretPrefix"),
        (json!({ "secretPrefix": "platform-config", "configurationPrefix": null }), "set different ones"),
        (json!({ "datasources": [] }), "spec.datasources"),
        (json!({ "environments": ["pre-prod"] }), "spec.environments"),
        (json!({ "vocabulary": { "aliases": { "pwd": "Password" } } }), "spec.vocabulary.aliases.pwd"),
        (json!({ "vocabulary": { "credentials": ["a"], "endpoints": ["a"] } }), "not both"),
    ] {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let refused = all.patch("default", &dry, &patch).await.err().context(says)?.to_string();
        ensure!(refused.contains(says), "{says}: {refused}");
    }
    let mut other = all.get("default").await?;
    other.metadata = kube::core::ObjectMeta { name: Some("other".to_owned()), ..Default::default() };
    let refused = all.create(&PostParams::default(), &other).await.err().context("it is made")?.to_string();
    ensure!(refused.contains("the PathConvention must be named default"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn without_the_definition_the_built_in_convention_holds_and_the_guide_brings_both() -> anyhow::Result<()> {
    let (lab, stage) = turn("undefined").await?;
    let key = format!("platform-data/oracle/{}", stage.word);
    label(&stage, &stage.producer, json!("warn")).await?;
    admitted(&stage, &stage.producer, &key, None).await?;
    stage.push("push", "source", &[], json!({ "data": [mapping("password", &key, "password")] })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    label(&stage, &stage.producer, Value::Null).await?;
    mode(&stage, "off").await?;
    says(&stage, "True", "Synced").await?;

    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    definitions.delete("pathconventions.waypost.io", &DeleteParams::default()).await?;
    says(&stage, "False", "ConventionViolated").await?;
    // Policies that were there before find nothing to judge by.
    admitted(&stage, &stage.producer, &key, None).await?;
    // A controller that starts now has nothing to wait for.
    let alone = ["--leader-elect=false", "--namespace", &stage.consumer];
    drop(start_controller_with(&lab, &alone).await?);

    Guide { lab: &lab, page: "beside-eso.md", store: STORE }.follow("The path convention")?;
    wait::until("the controller to find the definition", FOUND, async || {
        Ok(says(&stage, "True", "Synced").await.is_ok().then_some(()))
    })
    .await?;
    admitted(&stage, &stage.producer, &key, None).await?;
    label(&stage, &stage.consumer, json!("enforce")).await?;
    admitted(&stage, &stage.consumer, &key, Some("V3")).await
}

async fn put(stage: &Stage, object: Value) -> anyhow::Result<()> {
    let all: Api<PathConvention> = Api::all(stage.client.clone());
    all.patch("default", &PatchParams::apply("platform").force(), &Patch::Apply(object)).await?;
    Ok(())
}

async fn edit(stage: &Stage, change: Value) -> anyhow::Result<()> {
    let all: Api<PathConvention> = Api::all(stage.client.clone());
    all.patch("default", &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

async fn mode(stage: &Stage, mode: &str) -> anyhow::Result<()> {
    edit(stage, json!({ "spec": { "mode": mode } })).await
}

async fn label(stage: &Stage, namespace: &str, mode: Value) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let change = json!({ "metadata": { "labels": { "waypost.io/path-convention": mode } } });
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

/// Lets the publisher write under these prefixes, as a platform team with others would.
async fn permit(lab: &Lab, secrets: &str, configuration: &str) -> anyhow::Result<()> {
    let policy = fs::read_to_string(repository().join("policies/vault/combined.hcl"))?;
    let policy = policy.replace("{{mount}}", "secret");
    let policy = policy.replace("platform-data", secrets).replace("platform-config", configuration);
    lab.vault_admin()?.put_policy("waypost-combined", &policy).await
}

/// A PushSecret with one mapping.
fn push(stage: &Stage, key: &str, property: &str) -> Value {
    json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": { "name": "judged", "namespace": stage.producer },
        "spec": {
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
            "selector": { "secret": { "name": "source" } },
            "data": [mapping("password", key, property)],
        },
    })
}

fn source(object: &Value) -> Source {
    Source { name: "judged.json".to_owned(), text: object.to_string() }
}

/// Why the API server would refuse such a PushSecret; `None` if it would take it.
async fn refusal(stage: &Stage, namespace: &str, key: &str, property: &str) -> anyhow::Result<Option<String>> {
    let mut object = push(stage, key, property);
    object["metadata"]["namespace"] = json!(namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match stage.api::<PushSecret>(namespace).create(&dry, &serde_json::from_value(object)?).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(other) => bail!(other),
    }
}

/// Waits until admission refuses such a PushSecret for this rule, or takes it.
async fn admitted(stage: &Stage, namespace: &str, key: &str, rule: Option<&str>) -> anyhow::Result<()> {
    wait::until(&format!("admission to say {rule:?} of {key}"), LATER, async || {
        let said = refusal(stage, namespace, key, PASSWORD[0].1).await?;
        ensure!(names(said.as_deref(), rule), "it says {said:?}");
        Ok(Some(()))
    })
    .await
}

fn names(said: Option<&str>, rule: Option<&str>) -> bool {
    match (said, rule) {
        (None, None) => true,
        (Some(said), Some(rule)) => said.contains(&format!("denied request: {rule}: ")),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Waits, no longer than a change may take, for this condition of the PushSecret that nobody edits.
async fn says(stage: &Stage, status: &str, reason: &str) -> anyhow::Result<String> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until(&format!("the push to be {status} {reason}"), AT_ONCE, async || {
        let found = serde_json::to_value(pushes.get("push").await?)?;
        let ready = crate::stage::condition(&found).context("no condition yet")?.clone();
        ensure!(ready["status"] == status && ready["reason"] == reason, "it says {ready}");
        Ok(Some(ready["message"].as_str().unwrap_or_default().to_owned()))
    })
    .await
}
