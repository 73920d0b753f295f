//! The stage of the demo: a lab with the controller, in this process or a detached one.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context, ensure};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Ending, Narrator};
use crate::{
    lab::{
        CONTROLLER_ACCOUNT, Controller, ControllerOptions, Lab, LabOptions, Transport,
        detached::{self, Kept},
        repository,
    },
    pace,
};

/// The program of the product, beside this one.
const PROGRAM: &str = "waypost";

/// The servers, the controller and the program.
pub(super) struct Place {
    program: PathBuf,
    /// Before the lab: it is the first to end.
    _controller: Option<Controller>,
    kept: Option<Kept>,
    lab: Lab,
}

impl Place {
    /// Starts the servers and the controller, and says how long each took.
    pub(super) async fn open(ending: Ending, narrator: &Narrator) -> anyhow::Result<Self> {
        let program = program()?;
        narrator.say("starting them; this takes some seconds ...");
        let place = match ending {
            Ending::Stop => Self::own(program, narrator).await?,
            Ending::Keep => Self::detached(program).await?,
        };
        // A lab that this process did not start says nothing of the machine yet.
        pace::measure(&place.lab).await?;
        narrator.say(&format!(
            "the controller runs with the rights of ServiceAccount {} alone ({:.1} s)",
            CONTROLLER_ACCOUNT.join("/"),
            narrator.elapsed().as_secs_f64()
        ));
        Ok(place)
    }

    async fn own(program: PathBuf, narrator: &Narrator) -> anyhow::Result<Self> {
        let lab = Lab::start(LabOptions::default()).await?;
        narrator.say(&format!("the servers are ready ({:.1} s)", narrator.elapsed().as_secs_f64()));
        lab.install_product().await?;
        narrator.say(&format!("CRDs, rights and policies are installed ({:.1} s)", narrator.elapsed().as_secs_f64()));
        let [namespace, account] = CONTROLLER_ACCOUNT;
        let kubeconfig = lab.kubeconfig_for(namespace, account).await?;
        let controller = lab.start_controller(&ControllerOptions::new(&program, kubeconfig))?;
        controller.wait_ready().await?;
        Ok(Place { program, _controller: Some(controller), kept: None, lab })
    }

    async fn detached(program: PathBuf) -> anyhow::Result<Self> {
        let kept = detached::up_with_controller(Transport::Tls, &program).await?;
        let lab = kept.running().attach().await?;
        Ok(Place { program, _controller: None, kept: Some(kept), lab })
    }

    pub(super) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Prints how to continue, and leaves the servers running if asked to.
    pub(super) fn end(self, narrator: &Narrator) -> anyhow::Result<()> {
        println!("\nDone in {:.1} s.", narrator.elapsed().as_secs_f64());
        match self.kept {
            None => println!("The servers end now; `make demo KEEP=1` leaves them running for you to explore."),
            Some(kept) => {
                println!(
                    "# The servers and the controller stay; `make lab-down` stops them, and `make lab-status` prints this again.\n\
                     # Paste these lines to explore:"
                );
                let running = kept.keep();
                print!("{}{}", running.exports(), running.next());
            }
        }
        Ok(())
    }

    /// Runs kubectl as the administrator and shows it with its output.
    pub(super) async fn kubectl(&self, narrator: &Narrator, args: &[&str]) -> anyhow::Result<()> {
        narrator.command("kubectl", args);
        narrator.output(&self.quiet_kubectl(args).await?);
        Ok(())
    }

    /// The same, showing only what follows the line that begins with `from`.
    pub(super) async fn kubectl_from(&self, narrator: &Narrator, args: &[&str], from: &str) -> anyhow::Result<()> {
        narrator.command("kubectl", args);
        let output = self.quiet_kubectl(args).await?;
        let lines: Vec<_> = output.lines().skip_while(|line| !line.starts_with(from)).collect();
        narrator.output(&format!("[...]\n{}", lines.join("\n")));
        Ok(())
    }

    /// Runs kubectl and gives its output.
    pub(super) async fn quiet_kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.kubectl_output(args).await?;
        ensure!(output.status.success(), "kubectl {} failed:\n{}", args.join(" "), text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// Runs kubectl, which may fail.
    pub(super) async fn kubectl_output(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::from(self.lab.kubectl());
        command.args(args).current_dir(repository()).kill_on_drop(true).stdin(Stdio::null());
        command.output().await.context("run kubectl")
    }

    /// `kubectl apply -f -` with this text.
    pub(super) async fn apply_text(&self, narrator: &Narrator, manifest: &str) -> anyhow::Result<()> {
        let args = ["apply", "-f", "-"];
        narrator.command("kubectl", &args);
        let mut command = Command::from(self.lab.kubectl());
        command.args(args).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start kubectl")?;
        let mut input = child.stdin.take().context("kubectl takes input")?;
        input.write_all(manifest.as_bytes()).await.context("write to kubectl")?;
        drop(input);
        let output = child.wait_with_output().await.context("run kubectl")?;
        ensure!(output.status.success(), "kubectl apply failed:\n{}", text(&output.stderr));
        narrator.output(&text(&output.stdout));
        Ok(())
    }

    /// Runs `waypost`, which may fail, in the repository.
    pub(super) async fn waypost(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(repository()).kill_on_drop(true).stdin(Stdio::null());
        command.output().await.with_context(|| format!("run {}", self.program.display()))
    }
}

/// What a program printed, as text.
pub(super) fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("find this program")?;
    let program = this.parent().map(|folder| folder.join(PROGRAM)).filter(|path: &PathBuf| Path::is_file(path));
    program.with_context(|| format!("there is no {PROGRAM} beside {}; run `cargo build --workspace`", this.display()))
}
