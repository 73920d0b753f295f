//! A lab that outlives the command which started it, in a folder that everybody finds.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::{CONTROLLER_ACCOUNT, Lab, LabOptions, Transport, folder, product::repository};
use crate::wait;

/// Building the control plane is part of the first start.
const START: Duration = Duration::from_secs(30 * 60);
const STOP: Duration = Duration::from_secs(60);

/// Where a detached lab is, and what a person needs to use it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pid: u32,
    kubeconfig: PathBuf,
    /// As the controller's own ServiceAccount.
    controller_kubeconfig: PathBuf,
    address: String,
    ca: Option<PathBuf>,
    token_file: PathBuf,
}

/// `.lab` in the repository.
fn home() -> PathBuf {
    repository().join(".lab")
}

fn state() -> PathBuf {
    home().join("state")
}

/// Starts a lab in a process of its own, and returns when it is ready.
pub(crate) fn up(transport: Transport) -> anyhow::Result<Running> {
    if let Some(running) = running()? {
        return Ok(running);
    }
    // Here, where its progress is seen.
    crate::provision::Programs::provision()?;
    fs::create_dir_all(home()).with_context(|| format!("make {}", home().display()))?;
    let log_path = home().join("lab.log");
    let log = File::create(&log_path).with_context(|| format!("open {}", log_path.display()))?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.args(["lab", "serve"]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    match transport {
        Transport::Tls => {}
        Transport::Plain => {
            command.arg("--plain");
        }
    }
    let mut server = command.spawn().context("start the lab's process")?;
    wait::until_blocking("the lab to start", START, || match running() {
        Ok(None) => server.try_wait().ok().flatten().map(|_| ()),
        Ok(Some(_)) | Err(_) => Some(()),
    })?;
    running()?.with_context(|| {
        let log = fs::read_to_string(&log_path).unwrap_or_default();
        format!("the lab did not start; {} says:\n{log}", log_path.display())
    })
}

/// Runs a lab in `folder`, or in the repository's own, until it is told to end.
pub(crate) async fn serve(transport: Transport, folder: Option<PathBuf>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let lab = tokio::select! {
        lab = start(transport, folder.unwrap_or_else(state)) => lab?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(lab);
    Ok(())
}

async fn start(transport: Transport, folder: PathBuf) -> anyhow::Result<Lab> {
    let lab = Lab::start(LabOptions { transport, folder: Some(folder), ..LabOptions::default() }).await?;
    lab.install_product().await?;
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let token_file = lab.folder().join("token");
    folder::write_private(&token_file, &lab.vault.token)?;
    let ca = lab.vault_ca_pem().map(|pem| (lab.folder().join("vault-ca.crt"), pem));
    if let Some((path, pem)) = &ca {
        folder::write_private(path, pem)?;
    }
    let running = Running {
        pid: std::process::id(),
        kubeconfig: lab.kubeconfig_admin().to_owned(),
        controller_kubeconfig: lab.kubeconfig_for(namespace, account).await?,
        address: lab.vault_addr().to_owned(),
        ca: ca.map(|(path, _)| path),
        token_file,
    };
    let unfinished = lab.folder().join("lab.json.new");
    folder::write_private(&unfinished, &serde_json::to_string(&running)?)?;
    fs::rename(&unfinished, lab.folder().join("lab.json")).context("say that the lab is ready")?;
    Ok(lab)
}

/// The detached lab, if one is running and ready.
pub(crate) fn running() -> anyhow::Result<Option<Running>> {
    if !folder::is_in_use(&state())? {
        return Ok(None);
    }
    match fs::read_to_string(state().join("lab.json")) {
        Ok(text) => serde_json::from_str(&text).map(Some).context("read .lab/state/lab.json"),
        Err(_) => Ok(None),
    }
}

/// Stops the detached lab and waits until nothing of it is left. Says whether there was one.
pub(crate) fn down() -> anyhow::Result<bool> {
    let Some(lab) = running()? else {
        if folder::is_in_use(&state())? {
            bail!("the lab is just starting or stopping; try again in a moment");
        }
        return Ok(false);
    };
    // The process that holds the folder's lock wrote this id, so it is still its own.
    let status = Command::new("kill").args(["-TERM", &lab.pid.to_string()]).status().context("start kill")?;
    ensure!(status.success(), "could not signal the lab's process {}", lab.pid);
    wait::until_blocking("the lab to stop", STOP, || (!folder_is_used(&state())).then_some(()))?;
    Ok(true)
}

fn folder_is_used(path: &Path) -> bool {
    path.exists() && folder::is_in_use(path).unwrap_or(true)
}

impl Running {
    /// Shell lines that point kubectl and bao at the lab. The token is read from its file, so that it is not in a history.
    pub(crate) fn exports(&self) -> String {
        let mut lines = format!(
            "export KUBECONFIG={}\nexport BAO_ADDR={}\nexport BAO_TOKEN=\"$(cat {})\"\n",
            self.kubeconfig.display(),
            self.address,
            self.token_file.display()
        );
        if let Some(ca) = &self.ca {
            lines.push_str(&format!("export BAO_CACERT={}\n", ca.display()));
        }
        lines
    }

    /// What the controller runs as.
    pub(crate) fn controller_kubeconfig(&self) -> &Path {
        &self.controller_kubeconfig
    }
}
