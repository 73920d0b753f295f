//! etcd, kube-apiserver and kube-controller-manager.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client,
    client::ConfigExt,
    config::{KubeConfigOptions, Kubeconfig},
};
use parking_lot::Mutex;
use tower::ServiceBuilder;

use super::{
    api_audit::{self, ApiAudit},
    http, kubeconfig,
    pki::{Identity, Pki},
    ports::Port,
    server::Server,
};
use crate::{
    provision::{Program, Programs},
    wait,
};

/// How long one of the servers may take to be ready; a loaded machine of two cores needs a few
/// seconds.
const READY: Duration = Duration::from_secs(120);

/// The controllers that make deletion, ownership, identities, quotas and workloads real. There are
/// no nodes, so Pods stay pending.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
    serviceaccount-token-controller,root-ca-certificate-publisher-controller,resourcequota-controller,\
    deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,\
    clusterrole-aggregation-controller,validatingadmissionpolicy-status-controller";

/// The running control plane.
#[derive(Debug)]
pub(super) struct Kubernetes {
    folder: PathBuf,
    url: String,
    ca_pem: String,
    admin_kubeconfig: PathBuf,
    tied: Program,
    apiserver_command: Command,
    apiserver: Mutex<Option<Server>>,
    /// In the order in which they are dropped.
    _controller_manager: Server,
    _etcd: Server,
    _ports: [Port; 3],
}

impl Kubernetes {
    pub(super) async fn start(
        programs: &Programs,
        folder: &Path,
        ports_folder: &Path,
        pki: &Pki,
    ) -> anyhow::Result<Self> {
        let ports = [Port::reserve(ports_folder)?, Port::reserve(ports_folder)?, Port::reserve(ports_folder)?];
        let [etcd_port, peer_port, api_port] = &ports;
        let server_identity = pki.server("kubernetes")?;
        let etcd_command = etcd_command(programs, folder, pki, &server_identity, [etcd_port, peer_port]);
        let etcd = Server::start(&programs.tied, "etcd", &etcd_command, folder)?;

        let signing_keys = pki.signing_key("service-account")?;
        let mut apiserver_command =
            apiserver_command(programs, folder, pki, &server_identity, [etcd_port, api_port], &signing_keys);
        apiserver_command
            .arg(file_flag("--audit-policy-file", &api_audit::write_policy(folder)?))
            .arg(file_flag("--audit-log-path", &api_audit::log_file(folder)));
        let apiserver = Server::start(&programs.tied, "kube-apiserver", &apiserver_command, folder)?;
        let url = format!("https://{}", api_port.address());
        let admin_kubeconfig = folder.join("admin.kubeconfig");
        let admin = pki.client("admin", "lab-admin", Some("system:masters"))?;
        kubeconfig::with_certificate(&admin_kubeconfig, &url, &pki.ca_pem(), &admin)?;
        wait_ready(&url, &pki.ca_pem(), &[&etcd, &apiserver]).await?;

        let manager_kubeconfig = folder.join("kube-controller-manager.kubeconfig");
        let manager = pki.client("kube-controller-manager", "system:kube-controller-manager", None)?;
        kubeconfig::with_certificate(&manager_kubeconfig, &url, &pki.ca_pem(), &manager)?;
        let manager_command = controller_manager_command(programs, &manager_kubeconfig, pki, &signing_keys[0]);
        let controller_manager = Server::start(&programs.tied, "kube-controller-manager", &manager_command, folder)?;
        wait_controllers(&client(&admin_kubeconfig).await?, &controller_manager).await?;
        Ok(Kubernetes {
            folder: folder.to_owned(),
            url,
            ca_pem: pki.ca_pem(),
            admin_kubeconfig,
            tied: programs.tied.clone(),
            apiserver_command,
            apiserver: Mutex::new(Some(apiserver)),
            _controller_manager: controller_manager,
            _etcd: etcd,
            _ports: ports,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// What the controller asked of the apiserver.
    pub(super) fn audit(&self) -> ApiAudit {
        ApiAudit::in_folder(&self.folder)
    }

    /// Kills the apiserver, which ends every watch and request, and starts it again on its port.
    pub(super) async fn restart_apiserver(&self) -> anyhow::Result<()> {
        let old = self.apiserver.lock().take();
        drop(old);
        let apiserver = Server::start(&self.tied, "kube-apiserver", &self.apiserver_command, &self.folder)?;
        wait_ready(&self.url, &self.ca_pem, &[&apiserver]).await?;
        *self.apiserver.lock() = Some(apiserver);
        Ok(())
    }
}

/// A client for the kubeconfig at `path`, bound to the caller's runtime.
pub(super) async fn client(path: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use {}", path.display()))?;
    prompt_client(&config).with_context(|| format!("make a client for {}", path.display()))
}

/// Like the product's, it sends at once: kube's own client leaves Nagle's algorithm on, and a floor
/// with pauses would be none.
fn prompt_client(config: &kube::Config) -> anyhow::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(tower::BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn etcd_command(
    programs: &Programs,
    folder: &Path,
    pki: &Pki,
    identity: &Identity,
    [client_port, peer_port]: [&Port; 2],
) -> Command {
    let (client_url, peer_url) =
        (format!("https://{}", client_port.address()), format!("https://{}", peer_port.address()));
    let mut command = programs.etcd.command();
    command
        .args(["--name=lab", "--log-level=warn", "--client-cert-auth", "--peer-client-cert-auth"])
        .arg(file_flag("--data-dir", &folder.join("etcd")))
        .arg(format!("--listen-client-urls={client_url}"))
        .arg(format!("--advertise-client-urls={client_url}"))
        .arg(format!("--listen-peer-urls={peer_url}"))
        .arg(format!("--initial-advertise-peer-urls={peer_url}"))
        .arg(format!("--initial-cluster=lab={peer_url}"));
    for prefix in ["--", "--peer-"] {
        command
            .arg(file_flag(&format!("{prefix}trusted-ca-file"), &pki.ca_file()))
            .arg(file_flag(&format!("{prefix}cert-file"), &identity.certificate_file))
            .arg(file_flag(&format!("{prefix}key-file"), &identity.key_file));
    }
    command
}

fn apiserver_command(
    programs: &Programs,
    folder: &Path,
    pki: &Pki,
    identity: &Identity,
    [etcd_port, api_port]: [&Port; 2],
    [signing_key, public_key]: &[PathBuf; 2],
) -> Command {
    let mut command = programs.kube_apiserver.command();
    command
        .arg(format!("--etcd-servers=https://{}", etcd_port.address()))
        .arg(file_flag("--etcd-cafile", &pki.ca_file()))
        .arg(file_flag("--etcd-certfile", &identity.certificate_file))
        .arg(file_flag("--etcd-keyfile", &identity.key_file))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        // A loopback address cannot be an endpoint of the Service `kubernetes`, and nothing here
        // reads that Service.
        .arg("--endpoint-reconciler-type=none")
        .arg(format!("--secure-port={}", api_port.number()))
        .arg(file_flag("--tls-cert-file", &identity.certificate_file))
        .arg(file_flag("--tls-private-key-file", &identity.key_file))
        .arg(file_flag("--client-ca-file", &pki.ca_file()))
        .arg(file_flag("--cert-dir", folder))
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true"])
        // As OpenShift has it: who makes an object block its owner's deletion must have the right
        // to.
        .arg("--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg(file_flag("--service-account-key-file", public_key))
        .arg(file_flag("--service-account-signing-key-file", signing_key));
    command
}

fn controller_manager_command(programs: &Programs, kubeconfig: &Path, pki: &Pki, signing_key: &Path) -> Command {
    let mut command = programs.kube_controller_manager.command();
    command
        .arg(file_flag("--kubeconfig", kubeconfig))
        .arg(format!("--controllers={CONTROLLERS}"))
        .args(["--use-service-account-credentials", "--leader-elect=false", "--secure-port=0"])
        .arg(file_flag("--root-ca-file", &pki.ca_file()))
        .arg(file_flag("--service-account-private-key-file", signing_key));
    command
}

fn file_flag(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(format!("{flag}="));
    argument.push(path);
    argument
}

/// Asks as nobody, which the apiserver allows for this path once its own roles are there.
async fn wait_ready(url: &str, ca_pem: &str, servers: &[&Server]) -> anyhow::Result<()> {
    let http = http::client(Some(ca_pem), None)?;
    wait::until("kube-apiserver to be ready", READY, async || {
        if servers.iter().any(|server| server.exited().is_some()) {
            return Ok(Some(()));
        }
        let answer = http.get(format!("{url}/readyz")).send().await?;
        Ok(answer.status().is_success().then_some(()))
    })
    .await?;
    servers.iter().try_for_each(|server| server.check_running())
}

/// The ServiceAccount controller has made the first ServiceAccount.
async fn wait_controllers(client: &Client, manager: &Server) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    wait::until("kube-controller-manager to make ServiceAccount default/default", READY, async || {
        if manager.exited().is_some() {
            return Ok(Some(()));
        }
        Ok(accounts.get_opt("default").await?.map(|_| ()))
    })
    .await?;
    manager.check_running()
}
