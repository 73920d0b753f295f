//! What an administrator installs: CRDs, RBAC and admission policies in the cluster, policies and
//! roles in OpenBao.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{bao::Brand, vault_admin::VaultAdmin};
use crate::wait;

/// The mount of the shipped policies.
pub const MOUNT: &str = "secret";
/// Where the lab's own cluster logs in.
pub(super) const AUTH_MOUNT: &str = "kubernetes";

/// The repository's own folder, whose shipped files are installed.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Asks the cluster who a token belongs to, as an identity that may do nothing else.
pub(super) struct Reviewer<'a> {
    pub(super) url: &'a str,
    pub(super) ca_pem: &'a str,
    pub(super) token: &'a str,
}

/// The ServiceAccount that OpenBao reviews tokens with.
pub(super) const REVIEWER: [&str; 2] = ["openbao", "token-reviewer"];

/// Its manifests.
pub(super) fn reviewer_manifest() -> String {
    let [namespace, name] = REVIEWER;
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } },
            { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": namespace } },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": { "name": "openbao-token-reviewer" },
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "system:auth-delegator",
                },
                "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": namespace }],
            },
        ],
    })
    .to_string()
}

/// Mounts KV v2, as the framework names it.
pub(super) async fn mount_kv(admin: &VaultAdmin) -> anyhow::Result<()> {
    admin.enable_mount(MOUNT, "kv", &json!({ "version": "2" })).await
}

/// Enables Kubernetes auth at `auth_mount` for the cluster that the reviewer asks.
pub(super) async fn trust_cluster(admin: &VaultAdmin, auth_mount: &str, reviewer: &Reviewer<'_>) -> anyhow::Result<()> {
    admin.enable_auth(auth_mount, "kubernetes").await?;
    let config = json!({
        "kubernetes_host": reviewer.url,
        "kubernetes_ca_cert": reviewer.ca_pem,
        "token_reviewer_jwt": reviewer.token,
    });
    admin.post(&format!("auth/{auth_mount}/config"), &config).await.map(drop)
}

/// Installs the policies of `policies/vault/`, each as `waypost-FILE`.
pub(super) async fn install_vault_policies(admin: &VaultAdmin, brand: Brand) -> anyhow::Result<()> {
    for file in files(&repository().join("policies/vault"), "hcl")? {
        let name = format!("waypost-{}", stem(&file)?);
        // Vault refuses the capability of this one; its README says to leave it out there.
        if name == "waypost-scan" && brand == Brand::Vault {
            continue;
        }
        admin.put_policy(&name, &read(&file)?.replace("{{mount}}", MOUNT)).await?;
    }
    Ok(())
}

/// Installs the roles of `policies/vault/roles/` at an auth mount, each under its file's name.
pub(super) async fn install_vault_roles(admin: &VaultAdmin, auth_mount: &str) -> anyhow::Result<()> {
    for file in files(&repository().join("policies/vault/roles"), "json")? {
        let role: Value = serde_json::from_str(&read(&file)?).with_context(|| format!("parse {}", file.display()))?;
        admin.post(&format!("auth/{auth_mount}/role/{}", stem(&file)?), &role).await?;
    }
    Ok(())
}

/// The admission policies that the README tells an administrator to apply. The others are a matter
/// of choice.
const ADMISSION: [&str; 5] = [
    "path-convention.yaml",
    "convention-enforce.yaml",
    "convention-warn.yaml",
    "who-may-refer.yaml",
    "who-may-store.yaml",
];

/// Until the API server serves a new CRD.
const SERVED: Duration = Duration::from_secs(60);

/// Applies the kustomize base, CRDs included, and the admission policies with kubectl, as an
/// administrator does.
pub(super) fn install_manifests(kubectl: impl Fn() -> Command) -> anyhow::Result<()> {
    apply(kubectl(), &["-k"], &repository().join("deploy/kustomize/base"))?;
    let mut established = kubectl();
    established.args(["wait", "--for=condition=Established", &wait::kubectl_timeout(SERVED), "crd", "--all"]);
    run(established)?;
    ADMISSION.iter().try_for_each(|file| apply(kubectl(), &["-f"], &repository().join("policies/admission").join(file)))
}

fn apply(mut kubectl: Command, how: &[&str], path: &Path) -> anyhow::Result<()> {
    kubectl.args(["apply", "--server-side", "--field-manager=lab"]).args(how).arg(path);
    run(kubectl)
}

/// Runs a command to its end.
///
/// # Errors
/// With what it printed, when it fails.
pub(super) fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("start {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The files of a folder with this extension, in order.
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> anyhow::Result<&str> {
    path.file_stem().and_then(|stem| stem.to_str()).with_context(|| format!("{} has no name", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}
