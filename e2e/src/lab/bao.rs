//! An OpenBao server with raft storage and an audit device, initialised and unsealed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::{
    audit::AuditLog,
    folder::write_private,
    pki::{Identity, Pki},
    ports::Port,
    server::{Server, Signal},
    vault_admin::VaultAdmin,
};
use crate::{
    provision::{Program, Programs},
    wait,
};

const READY: Duration = Duration::from_secs(60);

/// The protocol of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    #[default]
    Tls,
    Plain,
}

/// Which clients the server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clients {
    /// Anybody.
    #[default]
    Anybody,
    /// Those with a certificate of the lab's CA: see [`Bao::client_certificate`].
    Certified,
}

/// How a server differs from the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BaoOptions {
    /// Its protocol.
    pub transport: Transport,
    /// Which clients it accepts, over TLS.
    pub clients: Clients,
    /// The largest entry of its storage in bytes, if it is not to be the server's own choice of 1
    /// MiB.
    pub max_entry_size: Option<u32>,
}

impl From<Transport> for BaoOptions {
    fn from(transport: Transport) -> Self {
        BaoOptions { transport, ..BaoOptions::default() }
    }
}

/// Which of the two servers a binary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    OpenBao,
    Vault,
}

impl Brand {
    /// Asks the binary.
    pub(super) fn of(program: &Program) -> anyhow::Result<Self> {
        let output = program.command().arg("version").output().with_context(|| format!("start {program}"))?;
        let is_vault = String::from_utf8_lossy(&output.stdout).starts_with("Vault");
        Ok(if is_vault { Brand::Vault } else { Brand::OpenBao })
    }
}

/// A running, or stopped, server with its data. Dropping it kills the server.
#[derive(Debug)]
pub struct Bao {
    folder: PathBuf,
    tied: Program,
    command: Command,
    address: String,
    ca_pem: Option<String>,
    /// The certificate and key that its clients show.
    client: Option<Identity>,
    keys: Option<Keys>,
    server: Mutex<Option<Server>>,
    _ports: [Port; 2],
}

/// What `sys/init` gave.
struct Keys {
    unseal: String,
    root_token: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Bao {
    /// Starts a new server with its state in `folder`, and initialises and unseals it.
    pub(super) async fn start_new(
        programs: &Programs,
        folder: &Path,
        ports_folder: &Path,
        pki: &Pki,
        options: BaoOptions,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("raft")).with_context(|| format!("make {}", folder.display()))?;
        let ports = [Port::reserve(ports_folder)?, Port::reserve(ports_folder)?];
        let config_file = folder.join("config.hcl");
        write_private(&config_file, &config(folder, pki, options, &ports)?)?;
        let mut command = programs.bao.command();
        command.arg("server").arg("-config").arg(&config_file).env("HOME", folder);
        let (scheme, ca_pem) = match options.transport {
            Transport::Tls => ("https", Some(pki.ca_pem())),
            Transport::Plain => ("http", None),
        };
        let client = match options.clients {
            Clients::Anybody => None,
            Clients::Certified => Some(pki.client(&format!("openbao-client-{}", ports[0].number()), "client", None)?),
        };
        let mut bao = Bao {
            folder: folder.to_owned(),
            tied: programs.tied.clone(),
            command,
            address: format!("{scheme}://{}", ports[0].address()),
            ca_pem,
            client,
            keys: None,
            server: Mutex::new(None),
            _ports: ports,
        };
        bao.launch().await?;
        bao.initialise().await?;
        bao.unseal().await?;
        match Brand::of(&programs.bao)? {
            Brand::OpenBao => {}
            Brand::Vault => bao.enable_audit().await?,
        }
        Ok(bao)
    }

    /// `https://127.0.0.1:PORT`, the same for as long as this value lives.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The CA of the server's certificate; none on plain HTTP.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// A client with the root token, bound to the caller's runtime.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn admin(&self) -> anyhow::Result<VaultAdmin> {
        let identity = self.client.as_ref().map(|client| format!("{}\n{}", client.certificate_pem, client.key_pem));
        VaultAdmin::new(&self.address, self.ca_pem(), identity.as_deref(), self.root_token())
    }

    /// The certificate and the key, both PEM, that a client must show; none where anybody may come.
    pub fn client_certificate(&self) -> Option<(&str, &str)> {
        self.client.as_ref().map(|client| (client.certificate_pem.as_str(), client.key_pem.as_str()))
    }

    /// What requests the server has seen.
    pub fn audit(&self) -> AuditLog {
        AuditLog::at(self.folder.join("audit.log"))
    }

    /// The process id of the server, or `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server().as_ref().map(Server::pid)
    }

    /// The file with what the server printed.
    pub fn log(&self) -> PathBuf {
        self.folder.join("openbao.log")
    }

    /// Kills the server. Its data and its address stay.
    pub fn stop(&self) {
        let old = self.server().take();
        drop(old);
    }

    /// Starts the stopped server on its address, sealed.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn start_sealed(&self) -> anyhow::Result<()> {
        ensure!(self.server().is_none(), "OpenBao at {} is running already", self.address);
        self.launch().await
    }

    /// Starts the stopped server on its address, and unseals it.
    ///
    /// # Errors
    /// When it does not become active.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.start_sealed().await?;
        self.unseal().await
    }

    /// Suspends or resumes the server, or ends it.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.server().as_ref().context("OpenBao is stopped")?.signal(signal)
    }

    /// Seals the server: it answers 503 until [`Bao::unseal`].
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn seal(&self) -> anyhow::Result<()> {
        self.admin()?.post("sys/seal", &json!({})).await.map(drop)
    }

    /// Unseals the server and waits until it is active.
    ///
    /// # Errors
    /// When it does not become active.
    pub async fn unseal(&self) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let key = self.keys.as_ref().map(|keys| keys.unseal.as_str());
        wait::until("OpenBao to take the unseal key", READY, async || {
            admin.post("sys/unseal", &json!({ "key": key })).await.map(Some)
        })
        .await?;
        wait::until("OpenBao to be active", READY, async || Ok((admin.health().await? == 200).then_some(()))).await
    }

    pub(super) fn root_token(&self) -> &str {
        self.keys.as_ref().map_or("", |keys| &keys.root_token)
    }

    async fn launch(&self) -> anyhow::Result<()> {
        let server = Server::start(&self.tied, "openbao", &self.command, &self.folder)?;
        let admin = self.admin()?;
        wait::until("OpenBao to answer", READY, async || {
            if server.exited().is_some() {
                return Ok(Some(()));
            }
            admin.health().await.map(|_| Some(()))
        })
        .await?;
        server.check_running()?;
        *self.server() = Some(server);
        Ok(())
    }

    async fn initialise(&mut self) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let request = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let answer = admin.post("sys/init", &request).await.context("initialise OpenBao")?;
        write_private(&self.folder.join("init.json"), &answer.to_string())?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (unseal, root_token) =
            text(&answer["keys"][0]).zip(text(&answer["root_token"])).context("sys/init gave no keys")?;
        self.keys = Some(Keys { unseal, root_token });
        Ok(())
    }

    /// Vault has audit devices by API only; OpenBao by configuration only.
    async fn enable_audit(&self) -> anyhow::Result<()> {
        let options = json!({ "file_path": self.folder.join("audit.log") });
        self.admin()?.post("sys/audit/lab", &json!({ "type": "file", "options": options })).await.map(drop)
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock()
    }
}

fn config(folder: &Path, pki: &Pki, options: BaoOptions, [api, cluster]: &[Port; 2]) -> anyhow::Result<String> {
    let (scheme, tls) = match options.transport {
        Transport::Tls => {
            let identity = pki.server(&format!("openbao-{}", api.number()))?;
            let (certificate, key) = (hcl(&identity.certificate_file)?, hcl(&identity.key_file)?);
            let clients = match options.clients {
                Clients::Anybody => String::new(),
                Clients::Certified => {
                    let ca = hcl(&pki.ca_file())?;
                    format!("\n  tls_client_ca_file = {ca}\n  tls_require_and_verify_client_cert = true")
                }
            };
            ("https", format!("tls_cert_file = {certificate}\n  tls_key_file = {key}{clients}"))
        }
        Transport::Plain => ("http", "tls_disable = true".to_owned()),
    };
    let entry_size = options.max_entry_size.map(|bytes| format!("\n  max_entry_size = {bytes}")).unwrap_or_default();
    let (raft, audit) = (hcl(&folder.join("raft"))?, hcl(&folder.join("audit.log"))?);
    let (address, cluster) = (api.address(), cluster.address());
    Ok(format!(
        r#"disable_mlock = true
api_addr = "{scheme}://{address}"
cluster_addr = "https://{cluster}"
storage "raft" {{
  path = {raft}
  node_id = "lab"
  performance_multiplier = 1{entry_size}
}}
listener "tcp" {{
  address = "{address}"
  cluster_address = "{cluster}"
  {tls}
}}
audit "file" "lab" {{
  options = {{
    file_path = {audit}
  }}
}}
"#
    ))
}

/// A path as an HCL string.
fn hcl(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(Value::from(text).to_string())
}
