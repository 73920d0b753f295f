//! The commands, one file each.

mod bench;
mod demo;
mod lab;
mod mutants;
mod provision;

use clap::{Parser, Subcommand};

/// Runs the real servers that Waypost is tested against.
#[derive(Debug, Parser)]
#[command(name = "waypost-e2e", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and install the servers of the lab into the user's cache, once per machine.
    Provision(provision::Args),
    /// Show a secret on its way from an operator to two services, on real servers, step by step.
    Demo(demo::Args),
    /// Measure the product on real servers, beside a program that sends only the necessary
    /// requests.
    Bench(bench::Args),
    /// Bring known faults back, one at a time, and say whether the unit tests notice.
    Mutants(mutants::Args),
    /// Start, stop or show a lab that outlives this command.
    #[command(subcommand)]
    Lab(lab::Command),
}

impl Cli {
    /// Runs the command. Each command creates its own tokio runtime if it needs one.
    ///
    /// # Errors
    /// What failed, and what to do about it.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Bench(args) => bench::run(args),
            Command::Provision(args) => provision::run(&args),
            Command::Demo(args) => demo::run(&args),
            Command::Mutants(args) => mutants::run(&args),
            Command::Lab(command) => lab::run(command),
        }
    }
}
