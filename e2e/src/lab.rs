//! A lab: real servers of one's own, or an existing cluster where that was asked for.
//!
//! Ambient `KUBECONFIG`, `VAULT_*` and `BAO_*` are never read: only `LAB=existing` with
//! `LAB_KUBECONFIG` and `LAB_VAULT_ADDR` leads to servers that the lab did not start. Nothing here
//! belongs to a runtime, so tests with one each can share a lab.

mod api_audit;
mod audit;
mod bao;
mod controller;
pub(crate) mod detached;
mod existing;
mod folder;
mod http;
mod json_lines;
mod kubeconfig;
mod kubernetes;
mod pki;
mod ports;
mod product;
mod server;
mod shell;
mod store;
mod vault_admin;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::OnceCell;

pub use self::{
    api_audit::{ApiAudit, ApiObject, ApiRequest},
    audit::{AuditLog, Caller, Namespace, Request},
    bao::{Bao, BaoOptions, Brand, Clients, Transport},
    controller::{Controller, ControllerOptions},
    folder::Storage,
    json_lines::Mark,
    product::{MOUNT, repository},
    server::{Server, Signal},
    store::{ca_bundle, cluster_secret_store, point_at},
    vault_admin::{Entry, VaultAdmin},
};
use self::{folder::StateFolder, kubernetes::Kubernetes, pki::Pki, product::Reviewer};
use crate::{pace, provision::Programs};

/// The namespace and the ServiceAccount of the controller.
pub const CONTROLLER_ACCOUNT: [&str; 2] = ["external-secrets", "external-secrets"];

/// How long the tokens of the lab's kubeconfigs live: longer than any lab.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;

/// How a lab differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct LabOptions {
    /// The protocol of its OpenBao.
    pub transport: Transport,
    /// Where its servers keep their state, if no folder is given.
    pub storage: Storage,
    /// Its state folder; one of its own if none is given.
    pub folder: Option<PathBuf>,
}

/// Running servers, and how to reach them. Dropping a lab stops what it started and removes its
/// state.
pub struct Lab {
    servers: Option<Servers>,
    cluster: ClusterAccess,
    vault: VaultAccess,
    programs: Programs,
    next: AtomicU32,
    /// After the servers: they write into it until they are gone.
    folder: StateFolder,
}

struct Servers {
    bao: Bao,
    kubernetes: Kubernetes,
    pki: Pki,
}

/// An API server and who its administrator is.
struct ClusterAccess {
    url: String,
    ca_pem: String,
    admin_kubeconfig: PathBuf,
}

/// An OpenBao or Vault and its administrator's token.
struct VaultAccess {
    address: String,
    ca_pem: Option<String>,
    token: String,
}

impl Lab {
    /// Starts a lab, and first builds or installs its programs where the machine lacks them; or
    /// uses the servers that `LAB=existing` names. The product is not installed: see
    /// [`Lab::install_product`].
    ///
    /// # Errors
    /// What could not be provided or did not start, with the end of its log.
    pub async fn start(options: LabOptions) -> anyhow::Result<Self> {
        let programs = Programs::provision()?;
        let folder = match &options.folder {
            Some(path) => StateFolder::named(path)?,
            None => StateFolder::unnamed(options.storage)?,
        };
        match existing::asked_for()? {
            Some(access) => existing::attach(access, programs, folder).await,
            None => Self::start_servers(&options, programs, folder).await,
        }
    }

    /// The lab that all tests of a process share, with the product installed. It ends with the
    /// process.
    ///
    /// # Errors
    /// Those of [`Lab::start`] and [`Lab::install_product`].
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<Lab> = OnceCell::const_new();
        SHARED
            .get_or_try_init(async || {
                let lab = Lab::start(LabOptions::default()).await?;
                lab.install_product().await?;
                pace::measure(&lab).await?;
                Ok(lab)
            })
            .await
    }

    async fn start_servers(options: &LabOptions, programs: Programs, folder: StateFolder) -> anyhow::Result<Self> {
        let ports_folder = ports_folder()?;
        let pki = Pki::create(&folder.path().join("pki"))?;
        let bao_folder = folder.path().join("openbao");
        let (kubernetes, bao) = tokio::try_join!(
            Kubernetes::start(&programs, folder.path(), &ports_folder, &pki),
            Bao::start_new(&programs, &bao_folder, &ports_folder, &pki, BaoOptions::from(options.transport)),
        )?;
        let lab = Lab {
            cluster: ClusterAccess {
                url: kubernetes.url().to_owned(),
                ca_pem: pki.ca_pem(),
                admin_kubeconfig: kubernetes.admin_kubeconfig().to_owned(),
            },
            vault: VaultAccess {
                address: bao.address().to_owned(),
                ca_pem: bao.ca_pem().map(str::to_owned),
                token: bao.root_token().to_owned(),
            },
            servers: Some(Servers { bao, kubernetes, pki }),
            programs,
            next: AtomicU32::new(0),
            folder,
        };
        lab.install_reviewer()?;
        lab.prepare(&lab.servers()?.bao).await?;
        pace::measure(&lab).await?;
        Ok(lab)
    }

    /// Installs what an administrator installs: CRDs, RBAC, the Deployment (which stays pending:
    /// there are no nodes), the admission policies, and the policies and roles in OpenBao.
    ///
    /// # Errors
    /// What was refused.
    pub async fn install_product(&self) -> anyhow::Result<()> {
        product::install_manifests(|| self.kubectl())?;
        self.install_in_vault(&self.vault_admin()?).await
    }

    /// Lets the controller of another lab's cluster log in to this lab's OpenBao as well:
    /// Kubernetes auth at `auth_mount`, with the shipped roles. Their policies come with
    /// [`Lab::install_product`].
    ///
    /// # Errors
    /// What was refused.
    pub async fn admit_cluster(&self, other: &Lab, auth_mount: &str) -> anyhow::Result<()> {
        let admin = self.vault_admin()?;
        other.introduce_to(&admin, auth_mount).await?;
        product::install_vault_roles(&admin, auth_mount).await
    }

    /// A client with all rights, bound to the caller's runtime.
    ///
    /// # Errors
    /// When the administrator's kubeconfig cannot be used.
    pub async fn kube_admin(&self) -> anyhow::Result<Client> {
        kubernetes::client(&self.cluster.admin_kubeconfig).await
    }

    /// A client with the rights of a ServiceAccount, bound to the caller's runtime.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub async fn kube_as(&self, namespace: &str, name: &str) -> anyhow::Result<Client> {
        kubernetes::client(&self.kubeconfig_for(namespace, name).await?).await
    }

    /// The kubeconfig with all rights.
    pub fn kubeconfig_admin(&self) -> &Path {
        &self.cluster.admin_kubeconfig
    }

    /// A kubeconfig with the rights of a ServiceAccount, by a token from TokenRequest that outlives
    /// the lab.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub async fn kubeconfig_for(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        let token = self.token_for(namespace, name, &[]).await?;
        let path = self.folder.path().join(format!("{namespace}.{name}.kubeconfig"));
        kubeconfig::with_token(&path, &self.cluster.url, &self.cluster.ca_pem, &token)?;
        Ok(path)
    }

    /// A token of a ServiceAccount for these audiences; for the cluster's own if there are none.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub async fn token_for(&self, namespace: &str, name: &str, audiences: &[&str]) -> anyhow::Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.kube_admin().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("request a token of ServiceAccount {namespace}/{name}"))?;
        Ok(answer.status.context("the token request has no status")?.token)
    }

    /// kubectl with all rights; add its arguments.
    pub fn kubectl(&self) -> Command {
        let mut command = self.programs.kubectl.command();
        command.env("KUBECONFIG", &self.cluster.admin_kubeconfig).env("HOME", self.folder.path());
        command
    }

    /// An administrator's shell in the repository, with `kubectl` and `bao` and all rights in the
    /// lab. It stops at the first failure; add `-c` and the script.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn shell(&self) -> anyhow::Result<Command> {
        shell::shell(&self.programs, &self.cluster.admin_kubeconfig, &self.vault, &self.own_folder("shell"))
    }

    /// The address of OpenBao.
    pub fn vault_addr(&self) -> &str {
        &self.vault.address
    }

    /// The CA of OpenBao's certificate, if it has one of its own.
    pub fn vault_ca_pem(&self) -> Option<&str> {
        self.vault.ca_pem.as_deref()
    }

    /// A client of OpenBao with the root token, bound to the caller's runtime.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn vault_admin(&self) -> anyhow::Result<VaultAdmin> {
        VaultAdmin::new(&self.vault.address, self.vault_ca_pem(), None, &self.vault.token)
    }

    /// The lab's OpenBao as a process. Who stops or seals it disturbs every user of the lab: see
    /// [`Lab::extra_bao`].
    ///
    /// # Errors
    /// In an existing cluster, whose servers are not ours to stop.
    pub fn bao(&self) -> anyhow::Result<&Bao> {
        self.servers().map(|servers| &servers.bao)
    }

    /// What the controller asked of the API server.
    ///
    /// # Errors
    /// In an existing cluster, whose audit log is not ours to read.
    pub fn api_audit(&self) -> anyhow::Result<ApiAudit> {
        self.servers().map(|servers| servers.kubernetes.audit())
    }

    /// One more OpenBao with the same mount, Kubernetes auth, policies and roles, to be sealed,
    /// stopped and restarted at will.
    ///
    /// # Errors
    /// When it does not start, or in an existing cluster.
    pub async fn extra_bao(&self, options: impl Into<BaoOptions>) -> anyhow::Result<Bao> {
        let servers = self.servers()?;
        let folder = self.own_folder("openbao");
        let bao = Bao::start_new(&self.programs, &folder, &ports_folder()?, &servers.pki, options.into()).await?;
        self.prepare(&bao).await?;
        self.install_in_vault(&bao.admin()?).await?;
        Ok(bao)
    }

    /// Kills the apiserver and starts it again on its port: every watch ends, resource versions
    /// stay.
    ///
    /// # Errors
    /// When it does not become ready, or in an existing cluster.
    pub async fn restart_apiserver(&self) -> anyhow::Result<()> {
        self.servers()?.kubernetes.restart_apiserver().await
    }

    /// Starts the `waypost` binary; it is not ready yet.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_controller(&self, options: &ControllerOptions) -> anyhow::Result<Controller> {
        Controller::start(&self.programs.tied, options, &self.own_folder("controller"), &ports_folder()?)
    }

    /// The state folder, for files of a test or a demo. It is removed with the lab.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn servers(&self) -> anyhow::Result<&Servers> {
        self.servers.as_ref().context("this needs servers that the lab started itself; unset LAB")
    }

    fn own_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// An existing server is taken for what the chosen binary is.
    fn brand(&self) -> anyhow::Result<Brand> {
        Brand::of(&self.programs.bao)
    }

    fn install_reviewer(&self) -> anyhow::Result<()> {
        let manifest = self.folder.path().join("token-reviewer.json");
        folder::write_private(&manifest, &product::reviewer_manifest())?;
        let mut apply = self.kubectl();
        apply.args(["apply", "--server-side", "-f"]).arg(&manifest);
        product::run(apply)
    }

    /// Gives a server its mount and an auth method that knows this cluster.
    async fn prepare(&self, bao: &Bao) -> anyhow::Result<()> {
        let admin = bao.admin()?;
        product::mount_kv(&admin).await?;
        self.introduce_to(&admin, product::AUTH_MOUNT).await
    }

    /// Gives a server an auth method that asks this cluster whose a token is.
    async fn introduce_to(&self, admin: &VaultAdmin, auth_mount: &str) -> anyhow::Result<()> {
        let [namespace, name] = product::REVIEWER;
        let token = self.token_for(namespace, name, &[]).await?;
        let reviewer = Reviewer { url: &self.cluster.url, ca_pem: &self.cluster.ca_pem, token: &token };
        product::trust_cluster(admin, auth_mount, &reviewer).await
    }

    async fn install_in_vault(&self, admin: &VaultAdmin) -> anyhow::Result<()> {
        product::install_vault_policies(admin, self.brand()?).await?;
        product::install_vault_roles(admin, product::AUTH_MOUNT).await
    }
}

fn ports_folder() -> anyhow::Result<PathBuf> {
    Ok(folder::labs_folder()?.join("ports"))
}
