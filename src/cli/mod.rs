//! The command line: one module a command.

pub mod claims;
pub mod lint;
pub mod policy;
mod server;

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
    /// Judge manifests before a cluster sees them: fields, durations, names, and the path convention.
    ///
    /// Exit code: 0 when there are no errors (warnings are shown), 1 when there are, 2 when a file cannot be read.
    Lint(lint::Args),
    /// Print the Vault policy that manifests need, and nothing more: a rule for each path, with who needs it.
    ///
    /// A login with this policy can do for these PushSecrets or ExternalSecrets all that the controller does. A path that is
    /// added later needs the policy printed anew. Exit code: 0, or 2 when a file cannot be read or understood. With --check: 0 when
    /// the token has every right, 1 when it lacks one, 2 when that cannot be told.
    Policy(policy::Args),
    /// Say who owns properties of paths, and give what a lost cluster owned to the one that took its place.
    Claims(claims::Args),
}
