//! The demo: an operator's password is copied through Vault to two services and rotated, and an
//! invalid manifest is refused.
//!
//! Everything shown is the output of the command above it. No value of a Secret is ever printed.

mod narrator;
mod place;
mod refusal;
mod rotation;
mod source;
mod vault_paths;

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use self::{narrator::Narrator, place::Place, source::Source};
use crate::{lab::repository, wait};

/// How many rotations are measured.
const ROTATIONS: usize = 5;

/// Far more than any step may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The address of Vault in the examples.
const EXAMPLE_ADDRESS: &str = "https://vault.vault.svc:8200";

/// What the examples make, by namespace. A lab that was kept may hold other objects too, in
/// whatever state.
const READY: [&[&str]; 4] = [
    &["platform-postgres", "pushsecrets/temporal-postgres", "pushsecrets/platform-postgres-endpoint"],
    &["platform-redis", "pushsecrets/temporal-redis"],
    &["temporal", "externalsecrets/temporal-postgres", "externalsecrets/temporal-redis"],
    &["backstage", "externalsecrets/temporal-postgres"],
];

/// What happens to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// They end with the demo.
    Stop,
    /// They stay for a person to explore.
    Keep,
}

/// Runs the demo from start to end. Dropping the future stops what it started, also where it should
/// have stayed.
///
/// `canary` begins each generated password.
///
/// # Errors
/// The first step that failed.
pub async fn show(ending: Ending, canary: &str) -> anyhow::Result<()> {
    let mut narrator = Narrator::begin();
    narrator.step("Real servers: etcd, kube-apiserver, kube-controller-manager and OpenBao, with the shipped CRDs, rights and policies");
    let place = Place::open(ending, &narrator).await?;
    narrator.step("Operators write Secrets into their own namespaces, as Zalando's postgres-operator does");
    let sources = write_sources(&place, &narrator, canary).await?;
    narrator.step("The store: where OpenBao is, and how the controller logs in (Kubernetes auth, no stored token)");
    apply_store(&place, &narrator).await?;
    narrator.step("The platform team publishes named keys; service teams consume them in their namespaces");
    publish_and_consume(&place, &narrator).await?;
    narrator.step("Is it synced, from or to which path and version, since when?");
    look(&place, &narrator).await?;
    narrator.step("What OpenBao holds: one version per push, all properties of a path together");
    vault_paths::show(&place, &narrator).await?;
    narrator.step("The operator rotates the password; both consumers are watched until they hold it");
    let last = rotation::show(&place, &narrator, &sources.postgres, canary, ROTATIONS).await?;
    narrator.step("The platform team sees who has it, without looking into anybody's namespace");
    show_propagation(&place, &narrator, last).await?;
    narrator.step("A path outside the convention is refused at admission, and in a pipeline before that");
    refusal::show(&place, &narrator).await?;
    place.end(&narrator)
}

/// The Secrets that operators wrote.
struct Sources {
    postgres: Source,
}

async fn write_sources(place: &Place, narrator: &Narrator, canary: &str) -> anyhow::Result<Sources> {
    let samples = "examples/gitops/samples";
    for namespace in ["platform-postgres", "platform-redis", "temporal", "backstage"] {
        let file = format!("{samples}/namespace-{namespace}.yaml");
        place.quiet_kubectl(&["apply", "-f", &file]).await?;
    }
    let client = place.lab().kube_admin().await?;
    let sample = |name: &str| Source::sample(&format!("{samples}/secret-{name}.yaml"));
    let postgres = sample("temporal-postgres")?;
    for source in [&postgres, &sample("platform-redis")?, &sample("platform-postgres-endpoint")?] {
        source.write(&client, &source::generated(canary)?).await?;
        place.kubectl(narrator, &["get", "secret", "-n", source.namespace(), source.name()]).await?;
    }
    Ok(Sources { postgres })
}

/// The example's store with the lab's address, and the ConfigMap with OpenBao's CA that it names.
async fn apply_store(place: &Place, narrator: &Narrator) -> anyhow::Result<()> {
    let ca = place.lab().vault_ca_pem().unwrap_or_default();
    let authority = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "vault" } },
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "vault-ca", "namespace": "vault" }, "data": { "ca.crt": ca } },
    ]});
    place.apply_text(narrator, &authority.to_string()).await?;
    let file = "examples/gitops/1-store/10-clustersecretstore-vault-backend.yaml";
    let example = std::fs::read_to_string(repository().join(file)).with_context(|| format!("read {file}"))?;
    let address = place.lab().vault_addr();
    narrator.say(&format!("{file}, with server: {address}"));
    place.apply_text(narrator, &example.replace(EXAMPLE_ADDRESS, address)).await?;
    let timeout = wait::kubectl_timeout(DEADLINE);
    place.kubectl(narrator, &["wait", "--for=condition=Ready", &timeout, "clustersecretstore/vault-backend"]).await?;
    place.kubectl(narrator, &["get", "clustersecretstores"]).await
}

async fn publish_and_consume(place: &Place, narrator: &Narrator) -> anyhow::Result<()> {
    for folder in ["examples/gitops/2-publish", "examples/gitops/3-consume"] {
        place.kubectl(narrator, &["apply", "-k", folder]).await?;
    }
    for ready in READY {
        let timeout = wait::kubectl_timeout(DEADLINE);
        let wait = ["wait", "--for=condition=Ready", &timeout, "-n"];
        place.kubectl(narrator, &[&wait[..], ready].concat()).await?;
    }
    Ok(())
}

/// Waits until the consumers of this version are counted, and shows it.
async fn show_propagation(place: &Place, narrator: &Narrator, version: u64) -> anyhow::Result<()> {
    let push = ["-n", "platform-postgres", "pushsecret/temporal-postgres"];
    let version = format!("--for=jsonpath={{.status.paths[0].version}}={version}");
    for what in [version.as_str(), "--for=condition=Propagated"] {
        let timeout = wait::kubectl_timeout(DEADLINE);
        place.kubectl(narrator, &[&["wait", what, &timeout], &push[..]].concat()).await?;
    }
    let described = ["describe", "pushsecret", "-n", "platform-postgres", "temporal-postgres"];
    place.kubectl_from(narrator, &described, "  Paths:").await
}

async fn look(place: &Place, narrator: &Narrator) -> anyhow::Result<()> {
    place.kubectl(narrator, &["get", "pushsecrets,externalsecrets", "-A"]).await?;
    let described = ["describe", "externalsecret", "-n", "temporal", "temporal-postgres"];
    place.kubectl_from(narrator, &described, "Status:").await?;
    place.kubectl(narrator, &["get", "secrets", "-n", "temporal"]).await?;
    place.kubectl(narrator, &["get", "secrets", "-n", "backstage"]).await
}
