//! `waypost-e2e lab`: a lab for a person.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::lab::{
    Transport,
    detached::{self, Running},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Start a lab that keeps running, and print the lines that point kubectl and bao at it.
    Up(Start),
    /// Stop the lab that `up` started, and remove its state.
    Down,
    /// Show whether a lab is running, and how to use it.
    Status,
    /// Print only the path of the kubeconfig of the controller's ServiceAccount.
    ControllerKubeconfig,
    /// Run the lab in this process until SIGTERM or ^C; `up` starts this.
    #[command(hide = true)]
    Serve {
        #[command(flatten)]
        start: Start,
        /// Its state folder instead of the repository's own.
        #[arg(long)]
        folder: Option<PathBuf>,
        /// Also run this program as the controller.
        #[arg(long)]
        controller: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// Speak plain HTTP to OpenBao.
    #[arg(long)]
    plain: bool,
}

impl Start {
    fn transport(&self) -> Transport {
        if self.plain { Transport::Plain } else { Transport::Tls }
    }
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(start) => {
            let running = runtime()?.block_on(async {
                tokio::select! {
                    kept = detached::up(start.transport()) => Ok(kept?.keep()),
                    _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing is left running"),
                }
            })?;
            show(&running);
        }
        Command::Down => println!("{}", if detached::down()? { "lab stopped" } else { "no lab is running" }),
        Command::Status => match detached::running()? {
            Some(running) => show(&running),
            None => println!("no lab is running; start one with `make lab-up`"),
        },
        Command::ControllerKubeconfig => {
            let running = detached::running()?.context("no lab is running; start one with `make lab-up`")?;
            println!("{}", running.controller_kubeconfig().display());
        }
        Command::Serve { start, folder, controller } => {
            runtime()?.block_on(detached::serve(start.transport(), folder, controller))?;
        }
    }
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("start the runtime")
}

fn show(running: &Running) {
    println!("# The lab is running; `make lab-down` stops it. Paste these lines to use it:");
    print!("{}{}", running.exports(), running.next());
}
