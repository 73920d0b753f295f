//! `waypost claims`: lists the owners of properties, and transfers the claims of a lost cluster to
//! its successor.

mod list;
mod paths;
mod transfer;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::server::{self, Server};
use super::terminal;
use crate::domain::path::RemotePath;
use crate::manifest::Exclude;
use crate::store::vault::VaultClient;

/// Arguments of `waypost claims`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const LIST: &str = "\
Examples:
  waypost claims list deploy/
  waypost claims list --path=secret/platform-data/postgres/shop
  waypost claims list --cluster=4b5c6d7e-0000-4000-8000-123456789abc deploy/";

const TRANSFER: &str = "\
Examples:
  waypost claims transfer --from=eu-old --to=eu-new deploy/             show what would move
  waypost claims transfer --from=eu-old --to=eu-new --apply deploy/     move it
  waypost claims transfer --from=4b5c6d7e-0000-4000-8000-123456789abc --apply deploy/
  waypost claims transfer --from=eu-old --to=eu-new --path=secret/platform-data/postgres/shop";

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// List which PushSecret of which cluster owns which property.
    ///
    /// Exit code: 0, or 2 if a file cannot be parsed or the server cannot be reached.
    #[command(after_help = LIST)]
    List(list::Args),
    /// Transfer the claims of a cluster that is gone for good to its successor. Shows what it would
    /// do, and does it with --apply.
    ///
    /// Claims of other clusters stay. Only custom metadata is written. The controllers of the new
    /// cluster then give each property to the PushSecret that publishes it. Exit code: 0; 1 if a
    /// claim could not be transferred, because somebody is about to claim the property; 2 if a file
    /// cannot be parsed or the server cannot be reached.
    #[command(after_help = TRANSFER)]
    Transfer(transfer::Args),
}

/// The paths of a command.
#[derive(clap::Args, Clone, Debug)]
struct Places {
    /// Manifests whose PushSecrets name the paths: files of YAML or JSON, folders, or `-` for
    /// standard input
    #[arg(value_name = "FILE", required_unless_present = "path")]
    files: Vec<PathBuf>,
    /// What to leave out
    #[command(flatten)]
    exclude: Exclude,
    /// One more path, with its mount: `secret/platform-data/postgres/shop`
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// The mount of stores whose manifests are not among the files
    #[arg(long, default_value = "secret", value_parser = super::mount, value_name = "MOUNT")]
    store_path: String,
    /// The server
    #[command(flatten)]
    server: Server,
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let work = async {
        match &args.command {
            Command::List(args) => list::run(args).await,
            Command::Transfer(args) => transfer::run(args).await,
        }
    };
    server::ask(work).unwrap_or_else(|problem| failed(&problem))
}

/// The paths and the client of a command; prints what is wrong if there are none.
fn begin(places: &Places) -> Result<(BTreeSet<RemotePath>, VaultClient), ExitCode> {
    let paths = paths::paths(places).map_err(|problems| {
        problems.iter().for_each(|problem| terminal::say(format_args!("waypost claims: {problem}")));
        ExitCode::from(2)
    })?;
    let client = places.server.client().map_err(|problem| failed(&places.server.in_its_words(&problem)))?;
    Ok((paths, client))
}

fn failed(problem: &dyn std::fmt::Display) -> ExitCode {
    terminal::say(format_args!("waypost claims: {problem}"));
    ExitCode::from(2)
}
