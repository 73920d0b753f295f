//! One corpus of good and bad manifests, judged by a real API server with our admission policies,
//! by the reconciler without admission, and by `waypost lint`: they may not disagree.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::json;
use waypost::api::{ClusterPushSecret, ClusterSecretStore, PushSecret};
use waypost::cli::lint::judge;
use waypost::domain::convention::{Convention, Mode, Severity};
use waypost::manifest::Source;
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::bad_push::UNGUARDED;
use crate::stage::{LATER, SOON, Stage, condition};

/// The namespaces of the corpus.
const NAMESPACES: [&str; 3] = ["platform-postgres", "temporal", "backstage"];
/// What kubectl itself settles: the API server never sees a key twice.
const BEFORE_ADMISSION: &str = "duplicate-key.yaml";
/// What lint calls mistakes that no schema and no policy looks into: in the `metadata` of a
/// mapping, and in what a spec asks for.
const ENVELOPE: &str = "envelope";
const UNSUPPORTED: &str = "unsupported";
const SELECTOR: &str = "selector";
const ANNOTATION: &str = "annotation";
/// What lint says of a store whose conditions exclude the object's namespace.
const NOT_PERMITTED: &str = "not-permitted";
/// What it says of mappings that contradict each other.
const MAPPING_CONFLICT: &str = "mapping-conflict";
/// All of these.
const NAMED: [&str; 6] = [ENVELOPE, UNSUPPORTED, SELECTOR, ANNOTATION, NOT_PERMITTED, MAPPING_CONFLICT];
/// The stores that manifests of the corpus make.
const STORES: [&str; 2] = ["no-path", "for-others"];

struct Manifest {
    name: String,
    text: String,
}

#[tokio::test]
async fn es5_admission_decides_as_the_corpus_says() -> anyhow::Result<()> {
    let stage = Stage::new("admission").await?;
    for namespace in NAMESPACES {
        stage.namespace(namespace).await?;
    }
    let manifests = corpus()?;
    let wildcard = manifests.iter().find(|manifest| manifest.name == "p2-wildcard-key.yaml").context("a manifest")?;
    wait::until("the admission policies to be in force", LATER, async || {
        Ok(refusal(&wildcard.text).await?.is_some().then_some(()))
    })
    .await?;
    let mut wrong = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.name != BEFORE_ADMISSION) {
        let refused = refusal(&manifest.text).await?;
        let denied = manifest.text.contains("\n# admission: deny\n");
        match &refused {
            Some(text) if !denied => wrong.push(format!("{} is refused: {text}", manifest.name)),
            None if denied => wrong.push(format!("{} is accepted", manifest.name)),
            Some(text) if !is_denied_for(&expected_rules(manifest), text) => {
                wrong.push(format!("{} is refused for another reason: {text}", manifest.name));
            }
            Some(_) | None => {}
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn es5_the_reconciler_decides_as_lint_does() -> anyhow::Result<()> {
    let stage = Stage::new("judged").await?;
    unguard(&stage).await?;
    let keys = ["username", "password", "host", "port", "tls.crt", "tls.key", "ca.crt", "other"];
    for source in ["source", "redis"] {
        stage.secret(&stage.producer, source, &keys.map(|key| (key, "value"))).await?;
    }
    let map = json!({ "metadata": { "name": "source" }, "data": { "host": "value", "port": "value" } });
    stage.api::<ConfigMap>(&stage.producer).create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    let (mut wrong, mut judged) = (Vec::new(), BTreeSet::new());
    let pushes = |manifest: &Manifest| {
        ["\nkind: PushSecret", "\nkind: ClusterPushSecret"].iter().any(|kind| manifest.text.contains(kind))
    };
    for manifest in corpus()?.into_iter().filter(pushes) {
        let manifest = &manifest;
        let linted = lint_errors(manifest);
        if let Some(refused) = kubectl(&["apply"], &stage.moved(&manifest.text)).await? {
            // What the schema refuses has no convention to break.
            if !linted.is_empty() {
                wrong.push(format!("{} does not reach the reconciler: {refused}", manifest.name));
            }
            continue;
        }
        let said = stage.verdicts().await.with_context(|| manifest.name.clone())?;
        judged.extend(linted.iter().cloned());
        if let Some(difference) = disagreement(&linted, &said) {
            wrong.push(format!("{}: {difference}", manifest.name));
        }
        stage.sweep().await.with_context(|| manifest.name.clone())?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let convention = ["P1", "P2", "P3", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8"].into_iter();
    let rules: BTreeSet<String> = convention.chain(NAMED).map(str::to_owned).collect();
    assert_eq!(judged, rules, "each rule is broken by a manifest that both judged");
    Ok(())
}

/// How the reconcilers' verdicts `(name, ready, reason, message)` contradict the rules that lint
/// finds broken.
fn disagreement(linted: &BTreeSet<String>, said: &[[String; 4]]) -> Option<String> {
    let bad: Vec<_> = said.iter().filter(|[_, ready, ..]| ready != "True").collect();
    if linted.is_empty() || bad.is_empty() {
        return (linted.is_empty() != bad.is_empty()).then(|| format!("lint says {linted:?}, the reconciler {said:?}"));
    }
    bad.into_iter().find_map(|[name, _, reason, message]| {
        let agrees = match reason.as_str() {
            "ConventionViolated" => linted.iter().any(|rule| message.contains(&format!("{rule}: "))),
            // Two objects, one property: it is the claims in the store that settle it.
            "PathConflict" => linted.contains("V4"),
            "InvalidSpec" => {
                [ENVELOPE, SELECTOR, ANNOTATION, MAPPING_CONFLICT].iter().any(|rule| linted.contains(*rule))
            }
            "Unsupported" => linted.contains(UNSUPPORTED),
            "NotPermitted" => linted.contains(NOT_PERMITTED),
            _ => false,
        };
        (!agrees).then(|| format!("lint says {linted:?}, the reconciler of {name}: {reason}: {message}"))
    })
}

impl Stage {
    /// A manifest as this test's own: in its namespace, which the manifest may label. A
    /// ClusterPushSecret passes admission, and has a child in that namespace.
    fn moved(&self, text: &str) -> String {
        let named = format!("kubernetes.io/metadata.name: {}\n", self.producer);
        let unguarded = format!("\nkind: ClusterPushSecret\nmetadata:\n  labels:\n    {UNGUARDED}: \"true\"\n");
        let text = text.replace("kubernetes.io/metadata.name: redis\n", &named);
        let text = text.replace("platform.example.com/redis: \"true\"\n", &named);
        let text = text.replace(" name: redis-credentials\n", &format!(" name: {}\n", self.word));
        let text = text.replace("\nkind: ClusterPushSecret\nmetadata:\n", &unguarded);
        let fields = NAMESPACES.iter().flat_map(|namespace| ["namespace", "name"].map(|field| (field, namespace)));
        fields.fold(text, |text, (field, namespace)| {
            text.replace(&format!(" {field}: {namespace}\n"), &format!(" {field}: {}\n", self.producer))
        })
    }

    /// Name, Ready, reason and message of each PushSecret, once all are judged. A ClusterPushSecret
    /// that is in order has the verdict of its child.
    async fn verdicts(&self) -> anyhow::Result<Vec<[String; 4]>> {
        let (pushes, parents) = (self.api::<PushSecret>(&self.producer), self.parents());
        wait::until("a verdict on each PushSecret", LATER, async || {
            let (mut verdicts, mut children) = (Vec::new(), BTreeSet::new());
            for parent in parents.list(&unguarded()).await? {
                let said = verdict(&parent)?;
                match said[1] == "True" {
                    true => drop(children.insert(parent.name_any())),
                    false => verdicts.push(said),
                }
            }
            for push in pushes.list(&ListParams::default()).await? {
                let said = verdict(&push)?;
                ensure!(said[2] != "StoreNotFound", "{} does not see its store yet", push.name_any());
                children.remove(&push.name_any());
                verdicts.push(said);
            }
            ensure!(children.is_empty(), "{children:?} are not there yet");
            Ok((!verdicts.is_empty()).then_some(verdicts))
        })
        .await
    }

    fn parents(&self) -> Api<ClusterPushSecret> {
        Api::all(self.client.clone())
    }

    /// Removes what a manifest made.
    async fn sweep(&self) -> anyhow::Result<()> {
        let (pushes, parents) = (self.api::<PushSecret>(&self.producer), self.parents());
        // A child comes back as long as it has its parent.
        parents.delete_collection(&DeleteParams::default(), &unguarded()).await?;
        wait::until("the ClusterPushSecrets to go", SOON, async || {
            Ok(parents.list(&unguarded()).await?.items.is_empty().then_some(()))
        })
        .await?;
        pushes.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        wait::until("the PushSecrets to go", SOON, async || {
            Ok(pushes.list(&ListParams::default()).await?.items.is_empty().then_some(()))
        })
        .await?;
        let stores: Api<ClusterSecretStore> = Api::all(self.client.clone());
        for store in STORES {
            if stores.get_opt(store).await?.is_some() {
                stores.delete(store, &DeleteParams::default()).await?;
            }
        }
        Ok(())
    }
}

/// Name, Ready, reason and message of an object.
fn verdict<K: ResourceExt + Serialize>(object: &K) -> anyhow::Result<[String; 4]> {
    let json = serde_json::to_value(object)?;
    let Some(ready) = condition(&json) else { bail!("{} has no condition", object.name_any()) };
    let word = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    Ok([object.name_any(), word("status"), word("reason"), word("message")])
}

/// The ClusterPushSecrets of this test.
fn unguarded() -> ListParams {
    ListParams::default().labels(&format!("{UNGUARDED}=true"))
}

/// Exempts this test's producer from the denying policy, as an administrator does: by the binding.
/// ClusterPushSecrets are exempt by the same label, on themselves.
async fn unguard(stage: &Stage) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let label = json!({ "metadata": { "labels": { UNGUARDED: "true" } } });
    namespaces.patch(&stage.producer, &PatchParams::default(), &Patch::Merge(label)).await?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    let selector = json!({ "matchExpressions": [{ "key": UNGUARDED, "operator": "DoesNotExist" }] });
    let exempt = json!({ "spec": { "matchResources": { "namespaceSelector": selector, "objectSelector": selector } } });
    bindings.patch("waypost-convention-enforce", &PatchParams::default(), &Patch::Merge(exempt)).await?;
    let manifests = corpus()?;
    for name in ["p2-wildcard-key.yaml", "p1-cluster-push-secret.yaml"] {
        let manifest = manifests.iter().find(|manifest| manifest.name == name).context("a manifest")?;
        let text = stage.moved(&manifest.text);
        wait::until("the binding to leave the test's own alone", LATER, async || {
            Ok(refusal(&text).await?.is_none().then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Whether the denying policy, which names one broken rule, names one of these. What breaks none is
/// refused by others.
fn is_denied_for(rules: &[&str], text: &str) -> bool {
    let denial = text.split("'waypost-convention-enforce' denied request: ").nth(1);
    match denial {
        Some(denial) => rules.iter().any(|rule| denial.starts_with(&format!("{rule}: "))),
        None => rules.is_empty(),
    }
}

/// Why the API server would refuse a manifest; `None` if it would accept it.
async fn refusal(text: &str) -> anyhow::Result<Option<String>> {
    let refused = kubectl(&["create", "--dry-run=server"], text).await?;
    // That is found out after admission.
    Ok(refused.filter(|refused| !refused.contains("(AlreadyExists)")))
}

/// Gives a manifest to kubectl; what it printed if it failed.
async fn kubectl(arguments: &[&str], text: &str) -> anyhow::Result<Option<String>> {
    let mut command = Lab::shared().await?.kubectl();
    command.args(arguments).args(["--validate=ignore", "-f", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// The rules of the convention that a bad manifest says it breaks.
fn expected_rules(manifest: &Manifest) -> Vec<&str> {
    let line = manifest.text.lines().find_map(|line| line.strip_prefix("# expect: ")).unwrap_or_default();
    line.split(", ").filter(|word| is_rule(word)).collect()
}

/// The rules of the convention that lint finds broken.
fn lint_errors(manifest: &Manifest) -> BTreeSet<String> {
    let source = Source { name: manifest.name.clone(), text: manifest.text.clone() };
    let found = judge(&[source], &Convention::with_mode(Mode::Enforce), "secret");
    let errors = found.into_iter().filter(|located| located.problem.severity == Severity::Error);
    errors.map(|located| located.problem.rule).filter(|rule| is_rule(rule) || NAMED.contains(&rule.as_str())).collect()
}

fn is_rule(word: &str) -> bool {
    word.len() == 2 && word.starts_with(['P', 'V'])
}

fn corpus() -> anyhow::Result<Vec<Manifest>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<PathBuf> = Vec::new();
    for kind in ["good", "bad"] {
        for entry in std::fs::read_dir(folder.join(kind))? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        anyhow::Ok(Manifest { name, text: std::fs::read_to_string(&path)? })
    };
    files.into_iter().map(read).collect()
}
