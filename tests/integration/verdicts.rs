//! The API server, the controller and `waypost lint` agree on each manifest: on those in the corpus
//! that name the controller's reason, and on a bad one for every constraint of our CRDs.

#[path = "../lint/constructed.rs"]
mod constructed;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use waypost::cli::lint::judge;
use waypost::domain::convention::{Convention, Mode};
use waypost::manifest::{Located, Source, bundle};
use waypost_e2e::turns::heavy;
use waypost_e2e::wait;

use crate::stage::{LATER, STORE, Stage, condition};

/// Bad manifests of consumers and stores that the API server takes and the controller has no reason
/// for. The others of `# admission: accept` name its reason.
const UNTOLD: [(&str, &str); 4] = [
    ("duplicate-key.yaml", "the API server never sees a key twice"),
    ("duration-store.yaml", "the store is valid, and its message warns"),
    ("read-outside.yaml", "it is a warning, and is carried out"),
    ("unknown-field.yaml", "the API server drops it"),
];
/// The store that manifests of the corpus make for others, for whoever may not use it.
const FOR_OTHERS: &str = "for-others";
/// The namespace of consumers in the corpus.
const NAMESPACE: &str = "temporal";

/// Requests to the API server at the same time.
const AT_ONCE: usize = 8;

/// Objects of the kind that a manifest has.
fn api(stage: &Stage, manifest: &Value) -> anyhow::Result<Api<DynamicObject>> {
    let word = |field: &str| manifest[field].as_str().context("a word");
    let (group, version) = word("apiVersion")?.split_once('/').context("a group")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, word("kind")?));
    Ok(match manifest["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(stage.client.clone(), namespace, &resource),
        None => Api::all_with(stage.client.clone(), &resource),
    })
}

/// Why the API server would refuse to create it; nothing if it would.
async fn refusal(stage: &Stage, manifest: &Value) -> anyhow::Result<Option<String>> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api(stage, manifest)?.create(&dry, &serde_json::from_value(manifest.clone())?).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn the_api_server_refuses_everything_that_breaks_a_definition_as_lint_does() -> anyhow::Result<()> {
    let _turn = heavy().await?;
    let stage = Stage::new("built").await?;
    let cases = constructed::cases();
    ensure!(constructed::unknown_words().is_empty(), "{:?}", constructed::unknown_words());
    let asked = stream::iter(&cases).map(async |case| {
        let mut wrong = Vec::new();
        match refusal(&stage, &case.manifest).await? {
            Some(text) if text.contains(&case.says) => {}
            Some(text) => {
                wrong.push(format!("{} ({}) is refused for another reason: {text:.300}", case.name, case.word))
            }
            None => wrong.push(format!("{} ({}) is accepted", case.name, case.word)),
        }
        if let Some(control) = &case.control
            && let Some(text) = refusal(&stage, control).await?
            && text.contains(&case.says)
        {
            wrong.push(format!("{}: what is right is refused: {text:.300}", case.name));
        }
        anyhow::Ok(wrong)
    });
    let wrong: Vec<Vec<String>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    ensure!(wrong.concat().is_empty(), "{}", wrong.concat().join("\n"));
    Ok(())
}

/// A manifest of the corpus that names the controller's reason for it.
#[derive(Clone)]
struct Judged {
    name: String,
    text: String,
    reason: String,
}

fn corpus() -> anyhow::Result<Vec<Judged>> {
    let mut judged = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad"))? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        if let Some(reason) = text.lines().find_map(|line| line.strip_prefix("# controller: ")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            judged.push(Judged { reason: reason.to_owned(), name, text });
        }
    }
    Ok(judged)
}

#[test]
fn every_bad_consumer_and_store_that_the_api_server_takes_names_the_controllers_reason() -> anyhow::Result<()> {
    let mut untold = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad"))? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        let has = |lines: &[&str]| text.lines().any(|line| lines.contains(&line));
        // Those with PushSecrets are the corpus's own: the controller judges all of them.
        let is_meant = has(&["kind: ExternalSecret", "kind: SecretStore", "kind: ClusterSecretStore"])
            && !has(&["kind: PushSecret", "kind: ClusterPushSecret"]);
        if is_meant && has(&["# admission: accept"]) && !text.contains("\n# controller: ") {
            untold.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let named: BTreeSet<String> = UNTOLD.iter().map(|(name, _)| (*name).to_owned()).collect();
    ensure!(untold == named, "without the controller's reason: {untold:?}");
    Ok(())
}

fn lint(manifest: &Judged) -> Vec<Located> {
    let source = Source { name: manifest.name.clone(), text: manifest.text.clone() };
    judge(&[source], &Convention::with_mode(Mode::Enforce), "secret")
}

/// A manifest in this test's namespace. The store that it makes has a name that no other test has.
fn moved(stage: &Stage, manifest: &Judged) -> Judged {
    let text = manifest.text.replace(FOR_OTHERS, &format!("{}-{FOR_OTHERS}", stage.word));
    let text = text.replace(&format!("namespace: {NAMESPACE}\n"), &format!("namespace: {}\n", stage.consumer));
    Judged { text, ..manifest.clone() }
}

/// The object of a manifest that is judged, under a name that no other test has, and the stores
/// before it that it needs.
fn objects(stage: &Stage, manifest: &Judged) -> anyhow::Result<(Value, Vec<Value>)> {
    let source = [Source { name: manifest.name.clone(), text: manifest.text.clone() }];
    let mut objects: Vec<Value> = bundle(&source).objects.iter().map(|object| object.node.json()).collect();
    let mut judged = objects.pop().with_context(|| format!("{} has no object", manifest.name))?;
    if !judged["metadata"]["namespace"].is_string() {
        let name = manifest.name.trim_end_matches(".yaml");
        judged["metadata"]["name"] = json!(format!("{}-{name}", stage.word));
    }
    Ok((judged, objects))
}

#[tokio::test]
async fn the_controller_says_of_consumers_and_stores_what_lint_says() -> anyhow::Result<()> {
    let stage = Stage::new("verdicts").await?;
    let manifests = corpus()?;
    ensure!(manifests.len() > 25, "the corpus is there");
    let asked = stream::iter(&manifests).map(async |manifest| said(&stage, manifest).await);
    let wrong: Vec<Option<String>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn the_controller_carries_out_what_lint_finds_good_in_consumers() -> anyhow::Result<()> {
    let stage = Stage::new("approved").await?;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = vec![corpus.join("bad/read-outside.yaml")];
    for entry in std::fs::read_dir(corpus.join("good"))? {
        files.push(entry?.path());
    }
    let mut pulls = Vec::new();
    for file in files {
        let stem = file.file_stem().and_then(OsStr::to_str).context("a name")?.to_owned();
        let source = [Source { name: stem.clone(), text: std::fs::read_to_string(&file)? }];
        for (number, object) in bundle(&source).objects.iter().enumerate() {
            let mut object = object.node.json();
            if object["kind"] == "ExternalSecret" {
                let name = format!("{stem}-{number}-{}", file.extension().and_then(OsStr::to_str).unwrap_or_default());
                object["metadata"]["namespace"] = json!(stage.consumer);
                object["metadata"]["name"] = json!(name);
                object["spec"]["target"]["name"] = json!(name);
                object["spec"]["secretStoreRef"] = json!({ "kind": "ClusterSecretStore", "name": STORE });
                pulls.push(object);
            }
        }
    }
    ensure!(pulls.len() > 4, "the corpus is there");
    let asked = stream::iter(pulls)
        .map(async |pull| anyhow::Ok((pull["metadata"]["name"].clone(), verdict(&stage, pull).await?)));
    let verdicts: Vec<(Value, Value)> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    for (name, ready) in verdicts {
        let reason = ready["reason"].as_str().unwrap_or_default();
        let is_told = ["InvalidSpec", "Unsupported", "StoreNotFound"].contains(&reason);
        ensure!(!is_told, "{name}: the controller says {ready}");
    }
    Ok(())
}

/// The Ready condition that an object gets, which goes again.
async fn verdict(stage: &Stage, object: Value) -> anyhow::Result<Value> {
    let ready = created(stage, &object).await?;
    delete(stage, &object).await?;
    Ok(ready)
}

/// The Ready condition that an object gets.
async fn created(stage: &Stage, object: &Value) -> anyhow::Result<Value> {
    let objects = api(stage, object)?;
    let name = object["metadata"]["name"].as_str().context("a name")?;
    let created = objects.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await;
    created.with_context(|| format!("{name} does not reach the controller"))?;
    wait::until(&format!("a verdict on {name}"), LATER, async || {
        Ok(condition(&serde_json::to_value(objects.get(name).await?)?).cloned())
    })
    .await
}

async fn delete(stage: &Stage, object: &Value) -> anyhow::Result<()> {
    let name = object["metadata"]["name"].as_str().context("a name")?;
    api(stage, object)?.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// How the controller's answer differs from the corpus and from lint.
async fn said(stage: &Stage, manifest: &Judged) -> anyhow::Result<Option<String>> {
    let manifest = moved(stage, manifest);
    let (object, needed) = objects(stage, &manifest)?;
    for store in &needed {
        created(stage, store).await?;
    }
    let ready = verdict(stage, object).await?;
    for store in &needed {
        delete(stage, store).await?;
    }
    let message = ready["message"].as_str().unwrap_or_default();
    let found = lint(&manifest);
    // A store that cannot be reached has the same word: that it is the same fault, the text says.
    // Where in a template's text it is, lint shows in the manifest.
    let is_said = found.iter().any(|found| {
        let linted = found.problem.message.trim_start_matches("the store ");
        let of_field = linted.split_once(": ").filter(|(field, _)| field.starts_with("spec."));
        message.contains(linted)
            || of_field.is_some_and(|(field, cause)| message.starts_with(field) && message.ends_with(cause))
    });
    let agrees = ready["reason"] == manifest.reason.as_str() && is_said;
    let linted: Vec<&str> = found.iter().map(|found| found.problem.message.as_str()).collect();
    Ok((!agrees).then(|| format!("{}: the controller says {ready}, lint {linted:?}", manifest.name)))
}
