//! A lab that outlives the command that started it, in a well-known folder.

use std::{
    env,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    CONTROLLER_ACCOUNT, Controller, ControllerOptions, Lab, LabOptions, Transport, existing, folder,
    product::repository, shell,
};
use crate::provision::{Program, quoted};
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
    /// With `kubectl`, `bao` and `waypost`; a lab that an older program started has none.
    #[serde(default)]
    programs: Option<PathBuf>,
    /// Of the controller that runs with the lab, if one does.
    controller_log: Option<PathBuf>,
}

/// `.lab` in the repository.
fn home() -> PathBuf {
    repository().join(".lab")
}

fn state() -> PathBuf {
    home().join("state")
}

/// A detached lab that this process started or found.
pub(crate) struct Kept {
    running: Running,
    /// Ends the lab unless it is kept.
    guard: Option<Guard>,
}

impl Kept {
    /// Where it is.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// Lets it run on after this process. A lab that is not kept is stopped on drop, unless it ran
    /// before.
    pub(crate) fn keep(mut self) -> Running {
        if let Some(guard) = &mut self.guard {
            guard.child = None;
        }
        self.running
    }
}

/// The process of a detached lab, which ends with this value.
struct Guard {
    child: Option<Child>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let stopped = terminate(child.id()).and_then(|()| child.wait().context("wait for the lab"));
        if let Err(error) = stopped {
            tracing::warn!(%error, "could not stop the lab");
        }
    }
}

/// Starts a lab in a process of its own, or finds it running. Dropping the future, or what it
/// gives, stops what it started.
pub(crate) async fn up(transport: Transport) -> anyhow::Result<Kept> {
    start_detached(transport, None).await
}

/// The same with a controller that runs as long as the lab.
pub(crate) async fn up_with_controller(transport: Transport, program: &Path) -> anyhow::Result<Kept> {
    let kept = start_detached(transport, Some(program)).await?;
    ensure!(
        kept.running.controller_log.is_some(),
        "a lab without a controller is running; stop it with `make lab-down` and try again"
    );
    Ok(kept)
}

async fn start_detached(transport: Transport, controller: Option<&Path>) -> anyhow::Result<Kept> {
    if let Some(running) = running()? {
        return Ok(Kept { running, guard: None });
    }
    // Here, where its progress is seen.
    crate::provision::Programs::provision()?;
    fs::create_dir_all(home()).with_context(|| format!("make {}", home().display()))?;
    let log_path = home().join("lab.log");
    let log = File::create(&log_path).with_context(|| format!("open {}", log_path.display()))?;
    let mut command = Command::new(env::current_exe().context("find this program")?);
    command.args(["lab", "serve"]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    match transport {
        Transport::Tls => {}
        Transport::Plain => {
            command.arg("--plain");
        }
    }
    if let Some(program) = controller {
        command.arg("--controller").arg(program);
    }
    let mut guard = Guard { child: Some(command.spawn().context("start the lab's process")?) };
    let started = wait::until("the lab to start", START, async || {
        let ended = guard.child.as_mut().is_some_and(|child| child.try_wait().ok().flatten().is_some());
        Ok(if ended { Some(None) } else { running()?.map(Some) })
    });
    let running = started.await?.with_context(|| {
        let log = fs::read_to_string(&log_path).unwrap_or_default();
        format!("the lab did not start; {} says:\n{log}", log_path.display())
    })?;
    Ok(Kept { running, guard: Some(guard) })
}

fn terminate(pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-TERM", &pid.to_string()]).status().context("start kill")?;
    ensure!(status.success(), "could not signal the lab's process {pid}");
    Ok(())
}

/// Runs a lab in `folder`, or in the repository's own, until it is told to end.
pub(crate) async fn serve(
    transport: Transport,
    folder: Option<PathBuf>,
    controller: Option<PathBuf>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let (lab, controller) = tokio::select! {
        started = start(transport, folder.unwrap_or_else(state), controller) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(controller);
    drop(lab);
    Ok(())
}

async fn start(
    transport: Transport,
    folder: PathBuf,
    program: Option<PathBuf>,
) -> anyhow::Result<(Lab, Option<Controller>)> {
    let lab = Lab::start(LabOptions { transport, folder: Some(folder), ..LabOptions::default() }).await?;
    lab.install_product().await?;
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let token_file = lab.folder().join("token");
    folder::write_private(&token_file, &lab.vault.token)?;
    let ca = lab.vault_ca_pem().map(|pem| (lab.folder().join("vault-ca.crt"), pem));
    if let Some((path, pem)) = &ca {
        folder::write_private(path, pem)?;
    }
    let programs = lab.folder().join("bin");
    write_scripts(&lab, &programs)?;
    let controller_kubeconfig = lab.kubeconfig_for(namespace, account).await?;
    let controller = match program {
        Some(program) => Some(lab.start_controller(&ControllerOptions::new(program, &controller_kubeconfig))?),
        None => None,
    };
    if let Some(controller) = &controller {
        controller.wait_ready().await?;
    }
    let running = Running {
        pid: std::process::id(),
        kubeconfig: lab.kubeconfig_admin().to_owned(),
        controller_kubeconfig,
        address: lab.vault_addr().to_owned(),
        ca: ca.map(|(path, _)| path),
        token_file,
        programs: Some(programs),
        controller_log: controller.as_ref().map(|controller| controller.log_file().to_owned()),
    };
    let unfinished = lab.folder().join("lab.json.new");
    folder::write_private(&unfinished, &serde_json::to_string(&running)?)?;
    fs::rename(&unfinished, lab.folder().join("lab.json")).context("say that the lab is ready")?;
    Ok((lab, controller))
}

/// The lab's own `kubectl` and `bao`, and this checkout's `waypost` if it is built.
fn write_scripts(lab: &Lab, folder: &Path) -> anyhow::Result<()> {
    let product = env::current_exe().context("find this program")?.with_file_name("waypost");
    let product = product.is_file().then(|| Program::at(product));
    let mut programs = vec![("kubectl", &lab.programs.kubectl), ("bao", &lab.programs.bao)];
    programs.extend(product.as_ref().map(|product| ("waypost", product)));
    shell::scripts(&programs, folder)
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
    terminate(lab.pid)?;
    wait::until_blocking("the lab to stop", STOP, || (!folder_is_used(&state())).then_some(()))?;
    Ok(true)
}

fn folder_is_used(path: &Path) -> bool {
    path.exists() && folder::is_in_use(path).unwrap_or(true)
}

impl Running {
    /// Shell lines that point the lab's kubectl and bao at it. The token is read from its file, so
    /// that it is not in a history.
    pub(crate) fn exports(&self) -> String {
        let mut lines = String::new();
        if let Some(programs) = &self.programs {
            lines.push_str(&format!("export PATH={}:\"$PATH\"\n", quoted(programs)));
        }
        lines.push_str(&format!(
            "export KUBECONFIG={}\nexport BAO_ADDR={}\nexport BAO_TOKEN=\"$(cat {})\"\n",
            quoted(&self.kubeconfig),
            self.address,
            quoted(&self.token_file)
        ));
        if let Some(ca) = &self.ca {
            lines.push_str(&format!("export BAO_CACERT={}\n", quoted(ca)));
        }
        lines
    }

    /// What a person may type next, as comments: the lines around it are pasted into a shell.
    pub(crate) fn next(&self) -> String {
        let mut commands = vec![("kubectl get clustersecretstores,pushsecrets,externalsecrets -A".to_owned(), "")];
        match &self.controller_log {
            Some(log) => {
                commands.push(("bao kv metadata get -mount=secret platform-data/postgres/temporal".to_owned(), ""));
                commands.push(("waypost claims list examples/gitops".to_owned(), "in the repository"));
                commands.push((format!("tail -f {}", quoted(log)), "the controller's log"));
            }
            None => {
                commands.push(("bao secrets list".to_owned(), ""));
                commands.push(("make run".to_owned(), "the controller of this checkout, in a terminal of its own"));
            }
        }
        let lines = commands.into_iter().map(|(command, what)| match what {
            "" => format!("#   {command}\n"),
            what => format!("#   {command}    # {what}\n"),
        });
        std::iter::once("# Then type, for example:\n".to_owned()).chain(lines).collect()
    }

    /// What the controller runs as.
    pub(crate) fn controller_kubeconfig(&self) -> &Path {
        &self.controller_kubeconfig
    }

    /// The lab for this process to use: it does not end with it.
    pub(crate) async fn attach(&self) -> anyhow::Result<Lab> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
        let ca_pem = match &self.ca {
            Some(path) => Some(read(path)?),
            None => None,
        };
        existing::use_servers(&self.kubeconfig, &self.address, ca_pem, read(&self.token_file)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(controller_log: Option<PathBuf>) -> Running {
        Running {
            pid: 1,
            kubeconfig: "/my lab/kubeconfig".into(),
            controller_kubeconfig: "/my lab/controller".into(),
            address: "https://127.0.0.1:8200".to_owned(),
            ca: Some("/my lab/ca.crt".into()),
            token_file: "/my lab/token".into(),
            programs: Some("/my lab/bin".into()),
            controller_log,
        }
    }

    #[test]
    fn what_is_printed_can_be_pasted_and_says_what_to_type_next() {
        let lab = running(None);
        let pasted = format!("cat() {{ echo \"from $1\"; }}\n{}{}", lab.exports(), lab.next());
        let shown = "echo \"$PATH|$KUBECONFIG|$BAO_ADDR|$BAO_TOKEN|$BAO_CACERT\"";
        let output = Command::new("bash").args(["-euc", &format!("{pasted}{shown}")]).env("PATH", "/bin").output();
        let output = String::from_utf8(output.unwrap().stdout).unwrap();
        let wanted = "/my lab/bin:/bin|/my lab/kubeconfig|https://127.0.0.1:8200|from /my lab/token|/my lab/ca.crt\n";
        assert_eq!(output, wanted, "{pasted}");
        assert!(lab.next().contains("kubectl get ") && lab.next().contains("bao ") && lab.next().contains("make run"));
        let next = running(Some("/my lab/controller.log".into())).next();
        assert!(next.contains("tail -f '/my lab/controller.log'") && !next.contains("make run"), "{next}");
    }

    #[test]
    fn a_lab_of_an_older_program_is_understood() {
        let mut described = serde_json::to_value(running(None)).unwrap();
        described.as_object_mut().unwrap().remove("programs");
        let lab: Running = serde_json::from_value(described).unwrap();
        assert!(!lab.exports().contains("PATH"));
    }
}
