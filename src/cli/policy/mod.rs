//! `waypost policy`: prints the least Vault policy for a set of manifests, or checks whether a live
//! token has it.

mod check;
mod hcl;
pub(super) mod needs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::lint;
use super::server::Server;
use super::terminal;
use crate::manifest::{self, Exclude, Found};
use check::check;
use hcl::Section;
use needs::needs;

/// Arguments of `waypost policy`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Which store's login the policy is for
    #[arg(value_enum)]
    pub role: Role,
    /// Files of YAML or JSON, folders, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What to leave out
    #[command(flatten)]
    pub exclude: Exclude,
    /// Only objects in this namespace, for a team's own store
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The manifest of the installation's PathConvention; a store's check uses its prefix of
    /// secrets
    #[arg(long, value_name = "FILE")]
    pub convention: Option<PathBuf>,
    /// The mount of stores whose manifests are not among the files
    #[arg(long, default_value = "secret", value_parser = super::mount, value_name = "MOUNT")]
    pub store_path: String,
    /// Instead of printing the policy, ask a server which of these rights the token lacks, and
    /// which it has in addition
    #[arg(long)]
    pub check: bool,
    /// The server
    #[command(flatten)]
    pub server: Server,
}

/// The store whose login a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The store of PushSecrets: reads, writes and claims their paths
    Publisher,
    /// The store of ExternalSecrets: reads their paths
    Consumer,
}

impl Args {
    /// Said where no path is needed: such a policy would let nobody read or write anything.
    fn nothing(&self) -> String {
        let (kind, other) = match self.role {
            Role::Publisher => ("PushSecret", "consumer"),
            Role::Consumer => ("ExternalSecret", "publisher"),
        };
        let place = self.namespace.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        format!("no {kind}{place} among the files names a path: check the files, or print the policy of the {other}")
    }
}

/// Reads the manifests and prints the policy.
pub fn run(args: &Args) -> ExitCode {
    let Found { sources, refused: unread, skipped } = manifest::read(&args.files, &args.exclude);
    skipped.iter().for_each(|skipped| terminal::say(format_args!("waypost policy: skipped: {skipped}")));
    let (needs, refused) = needs(&sources, args.role, args.namespace.as_deref(), &args.store_path);
    let mut problems: Vec<String> = unread.iter().map(ToString::to_string).collect();
    problems.extend(refused);
    if needs.is_empty() && problems.is_empty() {
        problems.push(args.nothing());
    }
    let convention = lint::convention(args.convention.as_deref());
    problems.extend(convention.as_ref().err().map(ToString::to_string));
    let (Ok(convention), []) = (convention, problems.as_slice()) else {
        problems.iter().for_each(|problem| terminal::say(format_args!("waypost policy: {problem}")));
        return ExitCode::from(2);
    };
    let sections = hcl::sections(args.role, &needs, &convention.secret_prefix);
    match args.check {
        true => checked(&args.server, &sections),
        false => printed(&sections),
    }
}

fn printed(sections: &[Section]) -> ExitCode {
    terminal::print("policy", &hcl::policy(sections), ExitCode::SUCCESS)
}

fn checked(server: &Server, sections: &[Section]) -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        terminal::say("waypost policy: another TLS provider is installed already");
        return ExitCode::from(2);
    }
    match check(server, sections) {
        Ok(difference) => {
            let code = if difference.lacking.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) };
            terminal::print("policy", &difference.to_string(), code)
        }
        Err(error) => {
            terminal::say(format_args!("waypost policy: {}", server.in_its_words(&error)));
            ExitCode::from(2)
        }
    }
}
