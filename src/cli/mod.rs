//! The command line: one module a command.

pub mod lint;
pub mod policy;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// Distributes operator-generated Secrets between namespaces through Vault or OpenBao, with the External Secrets API.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the controller, in a cluster or against the one that --kubeconfig names.
    Controller(Box<Config>),
    /// Judge manifests by the schema and the path convention before they reach a cluster.
    Lint(lint::Args),
    /// Print the Vault policy that manifests need, and nothing more.
    Policy(policy::Args),
}
