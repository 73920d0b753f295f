//! With the CRDs of another installation of the External Secrets API: fewer status fields, and none
//! of our rules and bounds. It has its own lab, because CRDs are cluster-wide.

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, LabOptions, Mark};
use waypost_e2e::turns::{Group, OwnLab, Permit, Turn};
use waypost_e2e::wait;

use crate::bad_store::{edit_store, store_says};
use crate::stage::{self, LATER, STORE, Stage, condition, start_controller};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

/// What a schema says about lengths, counts and numbers.
const BOUNDS: [&str; 6] = ["minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"];

/// A stage in the lab with the bare definitions, which all tests that need such ones share.
pub async fn bare(test: &str) -> anyhow::Result<(Turn<OwnLab>, Stage)> {
    static BARE: Group<OwnLab> = Group::empty();
    let start = async |permit: &Permit| {
        let lab = permit.start_lab(LabOptions::default()).await?;
        lab.install_product().await?;
        strip_definitions(&lab).await?;
        let controller = Arc::new(start_controller(&lab).await?);
        Ok(OwnLab { controller, lab })
    };
    let lab = BARE.turn(start).await?;
    let stage = Stage::on(&lab, &lab.controller, test).await?;
    Ok((lab, stage))
}

#[tokio::test]
async fn es11_everything_works_and_comes_to_rest_with_definitions_that_declare_less() -> anyhow::Result<()> {
    let (lab, stage) = bare("bare").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let often = || json!({ "refreshInterval": "1s" });
    stage.push("push", "source", PASSWORD, often()).await?;
    stage.pull("pull", PASSWORD, often()).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("password", "one")]).await?;
    says(&stage, "push", "True Synced").await?;
    says(&stage, "pull", "True SecretSynced").await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;

    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    let store = serde_json::to_value(stores.get(STORE).await?)?;
    assert_eq!(condition(&store).map(|ready| &ready["status"]), Some(&json!("True")), "{store}");
    assert_eq!(store["status"]["conditions"][0].get("observedGeneration"), None, "the definitions are the bare ones");

    let audit = lab.bao()?.audit();
    refreshed(&lab, &stage, audit.mark()?, 3).await?;
    let before = resource_versions(&stage).await?;
    refreshed(&lab, &stage, audit.mark()?, 6).await?;
    assert_eq!(resource_versions(&stage).await?, before, "a status that the server cuts is not sent again and again");
    assert_eq!(stage.version().await?, 2);

    edit(&lab, ["pushsecret", &stage.producer, "bad"], json!({ "refreshInterval": "soon" }), &stage).await?;
    edit(
        &lab,
        ["externalsecret", &stage.consumer, "bad"],
        json!({ "target": { "creationPolicy": "Sometimes" } }),
        &stage,
    )
    .await?;
    says(&stage, "bad push", "False InvalidSpec").await?;
    says(&stage, "bad pull", "False InvalidSpec").await?;
    stage.secret(&stage.producer, "source", &[("password", "three")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "three")]).await?;
    stage.pull("neighbour", PASSWORD, json!({})).await?;
    stage.holds(&stage.consumer, "neighbour", &[("password", "three")]).await?;
    Ok(())
}

#[tokio::test]
async fn es11_bounds_hold_where_the_definitions_have_none() -> anyhow::Result<()> {
    let (lab, stage) = bare("bounds").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let long = "k".repeat(1025);
    stage.push("push", "source", &[("password", &long)], json!({})).await?;
    let said = says(&stage, "push", "False InvalidSpec").await?;
    let field = "spec.data[0].match.remoteRef.property";
    assert_eq!(said, format!("{field} has 1025 characters: at most 1024"));
    assert_eq!(stage.version().await?, 0, "nothing is written of a spec that is refused");
    stage.push("push", "source", PASSWORD, json!({})).await?;
    says(&stage, "push", "True Synced").await?;

    let keys: Vec<String> = (0..=1000).map(|number| format!("KEY_{number}")).collect();
    let entries: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "password")).collect();
    stage.pull("pull", &entries, json!({})).await?;
    let said = says(&stage, "pull", "False InvalidSpec").await?;
    assert_eq!(said, "spec.data has 1001 items: at most 1000");
    ensure!(stage.api::<Secret>(&stage.consumer).get_opt("pull").await?.is_none(), "no target of a refused spec");
    stage.pull("pull", PASSWORD, json!({})).await?;
    says(&stage, "pull", "True SecretSynced").await?;
    stage.holds(&stage.consumer, "pull", &[("password", "one")]).await?;

    let name = format!("{}-store", stage.word);
    stage::store(&lab, &name, lab.vault_addr(), lab.vault_ca_pem()).await?;
    let role = |role: &str| json!({ "auth": { "kubernetes": { "role": role } } });
    edit_store(&stage, &name, role(&long)).await?;
    let field = "spec.provider.vault.auth.kubernetes.role has 1025 characters: at most 1024";
    let said = store_says(&stage, &name, "False", "InvalidProviderConfig", &[field]).await?;
    ensure!(!said.contains(&long), "the value is not repeated: {said}");
    edit_store(&stage, &name, role("external-secrets")).await?;
    store_says(&stage, &name, "True", "Valid", &[]).await?;
    Api::<ClusterSecretStore>::all(stage.client.clone()).delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

/// Makes an object and then gives it a field that our types refuse, which is why kubectl does it.
async fn edit(lab: &Lab, [kind, namespace, name]: [&str; 3], spec: Value, stage: &Stage) -> anyhow::Result<()> {
    match kind {
        "pushsecret" => drop(stage.push(name, "source", &[("password", "other")], json!({})).await?),
        _ => drop(stage.pull(name, PASSWORD, json!({})).await?),
    }
    let patch = json!({ "spec": spec }).to_string();
    run(lab.kubectl().args(["patch", kind, name, "--namespace", namespace, "--type=merge", "--patch", &patch]))
}

/// Waits until `push`, `pull`, `bad push` or `bad pull` has this Ready condition, which does not
/// say its generation here; gives its message.
async fn says(stage: &Stage, which: &str, wanted: &str) -> anyhow::Result<String> {
    let name = which.split(' ').next().unwrap_or_default();
    let (plural, version, namespace) = match which.ends_with("push") {
        true => ("pushsecrets", "v1alpha1", &stage.producer),
        false => ("externalsecrets", "v1", &stage.consumer),
    };
    let path = format!("/apis/external-secrets.io/{version}/namespaces/{namespace}/{plural}/{name}");
    wait::until(&format!("{which} to say {wanted}"), LATER, async || {
        // As it stands there: what does not decode has no type.
        let object: Value = stage.client.request(http_get(&path)?).await?;
        let ready = condition(&object).context("no condition yet")?;
        let words = [&ready["status"], &ready["reason"]].map(|word| word.as_str().unwrap_or_default()).join(" ");
        ensure!(words == wanted, "it says {ready}");
        Ok(Some(ready["message"].as_str().unwrap_or_default().to_owned()))
    })
    .await
}

fn http_get(path: &str) -> anyhow::Result<axum::http::Request<Vec<u8>>> {
    Ok(axum::http::Request::get(path).body(Vec::new())?)
}

/// Waits until the path was read so many times.
async fn refreshed(lab: &Lab, stage: &Stage, mark: Mark, wanted: usize) -> anyhow::Result<()> {
    let (audit, path) = (lab.bao()?.audit(), format!("secret/data/{}", stage.path()));
    wait::until("refreshes of the path", LATER, async || {
        Ok((audit.since_under(mark, &path)?.len() >= wanted).then_some(()))
    })
    .await
}

async fn resource_versions(stage: &Stage) -> anyhow::Result<[Option<String>; 3]> {
    let push = stage.api::<PushSecret>(&stage.producer).get("push").await?;
    let pull = stage.api::<ExternalSecret>(&stage.consumer).get("pull").await?;
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    let store = stores.get(STORE).await?;
    Ok([push.metadata, pull.metadata, store.metadata].map(|metadata| metadata.resource_version))
}

/// Puts definitions without our additions in the place of ours, and takes away what would hold back
/// odd words.
async fn strip_definitions(lab: &Lab) -> anyhow::Result<()> {
    let folder = lab.folder().join("bare-definitions");
    std::fs::create_dir_all(&folder)?;
    run(Command::new(env!("CARGO_BIN_EXE_waypost-generate")).arg("--stripped").arg(&folder))?;
    let mut kubectl = lab.kubectl();
    run(kubectl.args(["apply", "--server-side", "--force-conflicts", "--field-manager=lab", "-f"]).arg(&folder))?;
    let definitions: Api<CustomResourceDefinition> = Api::all(lab.kube_admin().await?);
    let theirs = |definition: &CustomResourceDefinition| definition.spec.group == waypost::api::GROUP;
    for definition in definitions.list(&ListParams::default()).await?.into_iter().filter(theirs) {
        let mut loose = serde_json::to_value(&definition)?;
        for version in loose["spec"]["versions"].as_array_mut().into_iter().flatten() {
            loosen(&mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]);
        }
        let name = definition.metadata.name.unwrap_or_default();
        definitions.replace(&name, &PostParams::default(), &serde_json::from_value(loose)?).await?;
    }
    Ok(())
}

/// Removes patterns, enums and bounds from a schema.
fn loosen(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    let is_word = fields.get("type").is_some_and(|kind| kind == "string");
    fields.retain(|key, _| match key.as_str() {
        "pattern" | "enum" => !is_word,
        key => !BOUNDS.contains(&key),
    });
    fields.values_mut().for_each(loosen);
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
