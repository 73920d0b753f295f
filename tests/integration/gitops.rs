//! What GitOps tools do with our objects: apply in any order, wait, apply again, prune.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DynamicObject;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, point_at, repository};
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};

#[tokio::test]
async fn the_example_converges_in_any_order_applies_again_silently_and_prunes_cleanly() -> anyhow::Result<()> {
    let fence = Stage::new("fence").await?;
    for seed in 1..=3 {
        let example = Example::new(&format!("{}{seed}", fence.word)).await?;
        let shuffled = shuffled(example.objects.clone(), seed);
        example.apply(&shuffled)?;
        example.wait_ready()?;
        example.is_whole(&fence.client).await?;

        happened(&fence, &format!("before{seed}")).await?;
        let before = example.versions(&fence.client).await?;
        example.apply(&example.objects)?;
        happened(&fence, &format!("after{seed}")).await?;
        assert_eq!(example.versions(&fence.client).await?, before, "seed {seed}: to apply again changes nothing");

        example.prune(&fence.client).await?;
    }
    Ok(())
}

/// Runs something through the whole pipeline: what was there before it has been looked at.
async fn happened(fence: &Stage, name: &str) -> anyhow::Result<()> {
    fence.secret(&fence.producer, "fence", &[("fence", name)]).await?;
    fence.push("fence", "fence", &[("fence", "fence")], json!({})).await?;
    fence.pull("fence", &[("fence", "fence")], json!({})).await?;
    fence.holds_within(LATER, &fence.consumer, "fence", &[("fence", name)]).await?;
    fence.ready::<ExternalSecret>(&fence.consumer, "fence", "True", "SecretSynced").await?;
    fence.ready::<PushSecret>(&fence.producer, "fence", "True", "Synced").await?;
    Ok(())
}

/// `examples/gitops` with its samples, as its README says to adapt it: the address and the CA of
/// the lab's server. The names of the store and the namespaces and the paths end in a word of the
/// test, as everything here does.
struct Example {
    lab: &'static Lab,
    word: String,
    objects: Vec<Value>,
}

impl Example {
    async fn new(word: &str) -> anyhow::Result<Self> {
        let lab = Lab::shared().await?;
        let folder = repository().join("examples/gitops");
        let mut objects = Vec::new();
        for part in ["samples", "1-store", "2-publish", "3-consume"] {
            let mut files: Vec<_> = fs::read_dir(folder.join(part))?.collect::<Result<_, _>>()?;
            files.sort_by_key(|file| file.path());
            for file in files {
                objects.push(adapted(lab, word, object(lab, &file.path())?));
            }
        }
        objects.retain(|object| object["kind"] != "Kustomization");
        ensure!(objects.len() >= 14, "examples/gitops holds {} objects", objects.len());
        Ok(Example { lab, word: word.to_owned(), objects })
    }

    /// As a tool without an order does: whatever is refused for want of its namespace is applied
    /// again later.
    fn apply(&self, objects: &[Value]) -> anyhow::Result<()> {
        let mut left: Vec<&Value> = objects.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            let mut refused = Vec::new();
            for object in left {
                let output = self.kubectl(&["apply", "--server-side", "--field-manager=gitops", "-f", "-"], object)?;
                if !output.status.success() {
                    refused.push((object, String::from_utf8_lossy(&output.stderr).into_owned()));
                }
            }
            if let Some((_, error)) = refused.first().filter(|_| refused.len() == before) {
                bail!("nothing can be applied: {error}");
            }
            left = refused.into_iter().map(|(object, _)| object).collect();
        }
        Ok(())
    }

    fn wait_ready(&self) -> anyhow::Result<()> {
        for object in self.ours() {
            let resource = resource(object);
            let timeout = wait::kubectl_timeout(LATER);
            let mut arguments = vec!["wait", "--for=condition=Ready", &timeout, &resource];
            let namespace = object["metadata"]["namespace"].as_str();
            arguments.extend(namespace.iter().flat_map(|namespace| ["-n", namespace]));
            let output = self.kubectl(&arguments, &Value::Null)?;
            ensure!(output.status.success(), "{resource}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Each ExternalSecret has its target, with every key.
    async fn is_whole(&self, client: &Client) -> anyhow::Result<()> {
        for object in self.ours().filter(|object| object["kind"] == "ExternalSecret") {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            let name = object["spec"]["target"]["name"].as_str().unwrap_or_default();
            let target = Api::<Secret>::namespaced(client.clone(), namespace).get(name).await?;
            let data = target.data.unwrap_or_default();
            for entry in object["spec"]["data"].as_array().into_iter().flatten() {
                let key = entry["secretKey"].as_str().unwrap_or_default();
                ensure!(data.get(key).is_some_and(|value| !value.0.is_empty()), "{namespace}/{name} lacks {key}");
            }
        }
        Ok(())
    }

    /// The resourceVersion of every object and every target.
    async fn versions(&self, client: &Client) -> anyhow::Result<Vec<(String, Option<String>)>> {
        let mut versions = Vec::new();
        for object in self.objects.iter().filter(|object| object["kind"] != "Namespace") {
            let object: DynamicObject = serde_json::from_value(object.clone())?;
            versions.push((named(&object), live(client, &object).await?.resource_version()));
            if let Some(target) = object.data["spec"]["target"]["name"].as_str() {
                let namespace = object.namespace().unwrap_or_default();
                let target = Api::<Secret>::namespaced(client.clone(), &namespace).get(target).await?;
                versions.push((format!("target of {}", named(&object)), target.resource_version()));
            }
        }
        Ok(versions)
    }

    /// Removes what the tool applied, all at once, and then the samples with their namespaces;
    /// nothing hangs.
    async fn prune(&self, client: &Client) -> anyhow::Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": self.ours().collect::<Vec<_>>() });
        self.delete(&list)?;
        for object in self.ours().filter(|object| object["kind"] == "ExternalSecret") {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
            let name = object["spec"]["target"]["name"].as_str().unwrap_or_default();
            wait::until(&format!("Secret {namespace}/{name} to go"), LATER, async || {
                Ok(secrets.get_opt(name).await?.is_none().then_some(()))
            })
            .await?;
        }
        let namespaces: Vec<&Value> = self.objects.iter().filter(|object| object["kind"] == "Namespace").collect();
        self.delete(&json!({ "apiVersion": "v1", "kind": "List", "items": namespaces }))
            .with_context(|| format!("the namespaces of {}", self.word))
    }

    fn delete(&self, list: &Value) -> anyhow::Result<()> {
        let output = self.kubectl(&["delete", "--wait", &wait::kubectl_timeout(LATER), "-f", "-"], list)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The objects that the tool keeps: all but the samples.
    fn ours(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(|object| object["kind"] != "Namespace" && object["kind"] != "Secret")
    }

    fn kubectl(&self, arguments: &[&str], input: &Value) -> anyhow::Result<Output> {
        let mut kubectl = self.lab.kubectl();
        kubectl.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = kubectl.spawn().context("start kubectl")?;
        child.stdin.take().context("kubectl reads its input")?.write_all(input.to_string().as_bytes())?;
        Ok(child.wait_with_output()?)
    }
}

/// The one object of a file, read by kubectl.
fn object(lab: &Lab, file: &Path) -> anyhow::Result<Value> {
    if file.ends_with("kustomization.yaml") {
        return Ok(json!({ "kind": "Kustomization" }));
    }
    let mut kubectl = lab.kubectl();
    kubectl.args(["create", "--dry-run=client", "--validate=false", "-o", "json", "-f"]).arg(file);
    let output = kubectl.output().context("start kubectl")?;
    ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("read {}", file.display()))
}

fn adapted(lab: &Lab, word: &str, mut object: Value) -> Value {
    let ended = |text: &mut Value| {
        if let Some(old) = text.as_str() {
            *text = json!(format!("{old}-{word}"));
        }
    };
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
        metadata.get_mut("namespace").into_iter().for_each(ended);
    }
    match object["kind"].as_str() {
        Some("Namespace") => ended(&mut object["metadata"]["name"]),
        Some("ClusterSecretStore") => {
            ended(&mut object["metadata"]["name"]);
            point_at(&mut object, lab.vault_addr(), lab.vault_ca_pem());
        }
        Some("PushSecret") => {
            ended(&mut object["spec"]["secretStoreRefs"][0]["name"]);
            for entry in object["spec"]["data"].as_array_mut().into_iter().flatten() {
                ended(&mut entry["match"]["remoteRef"]["remoteKey"]);
            }
        }
        Some("ExternalSecret") => {
            ended(&mut object["spec"]["secretStoreRef"]["name"]);
            for entry in object["spec"]["data"].as_array_mut().into_iter().flatten() {
                ended(&mut entry["remoteRef"]["key"]);
            }
        }
        Some(_) | None => {}
    }
    object
}

fn resource(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn named(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    format!("{kind} {}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

async fn live(client: &Client, object: &DynamicObject) -> anyhow::Result<DynamicObject> {
    let types = object.types.clone().context("a manifest says its kind")?;
    let kind = kube::core::GroupVersionKind::try_from(&types)?;
    let resource = kube::core::ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    Ok(api.get(&object.name_any()).await?)
}

/// The same for a seed each time (Fisher and Yates, with a linear congruential generator).
fn shuffled(mut objects: Vec<Value>, seed: u64) -> Vec<Value> {
    let mut state = seed;
    for last in (1..objects.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
        objects.swap(last, at);
    }
    objects
}
