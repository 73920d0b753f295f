//! `waypost claims`: who owns what at paths, and what a lost cluster owned given to the one that took its place.

mod list;
mod paths;
mod transfer;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::server::{NoServer, Server};
use crate::domain::path::RemotePath;
use crate::store::vault::VaultClient;
use crate::store::vault::connect::ConnectError;

/// What `waypost claims` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Say which PushSecret of which cluster owns which property.
    ///
    /// Exit code: 0, or 2 when a file cannot be understood or the server cannot be asked.
    List(list::Args),
    /// Make claims of a cluster that is gone for good those of the cluster that took its place. Shows what it would do, and does it
    /// with --apply.
    ///
    /// Claims of any other cluster stay. Nothing but the claims' labels is written; the controllers of the new cluster then give each
    /// property to the PushSecret that publishes it. Exit code: 0; 1 when a claim could not be moved, because somebody is about to
    /// claim the property; 2 when a file cannot be understood or the server cannot be asked.
    Transfer(transfer::Args),
}

/// At which paths.
#[derive(clap::Args, Clone, Debug)]
struct Places {
    /// Manifests whose PushSecrets name the paths: files of YAML or JSON, folders of them, or `-` for standard input
    #[arg(value_name = "FILE", required_unless_present = "path")]
    files: Vec<PathBuf>,
    /// One more path, with its mount: `secret/platform-data/postgres/shop`
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// The mount of stores whose manifests are not among the files
    #[arg(long, default_value = "secret", value_name = "MOUNT")]
    store_path: String,
    /// The server
    #[command(flatten)]
    server: Server,
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return failed(&"another TLS provider is installed already");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format_args!("cannot start: {}", error.kind())),
    };
    match &args.command {
        Command::List(args) => runtime.block_on(list::run(args)),
        Command::Transfer(args) => runtime.block_on(transfer::run(args)),
    }
}

/// What every command begins with: the paths, and the client to ask with. Whatever is in the way is said.
fn begin(places: &Places) -> Result<(BTreeSet<RemotePath>, VaultClient), ExitCode> {
    let paths = paths::paths(places).map_err(|problems| {
        problems.iter().for_each(|problem| eprintln!("waypost claims: {problem}"));
        ExitCode::from(2)
    })?;
    let client = client(&places.server).map_err(|problem| failed(&problem))?;
    Ok((paths, client))
}

fn client(server: &Server) -> Result<VaultClient, NoClient> {
    server.access().map_err(NoClient::Server)?.client().map_err(NoClient::Connect)
}

#[derive(Debug, thiserror::Error)]
enum NoClient {
    #[error(transparent)]
    Server(NoServer),
    #[error(transparent)]
    Connect(ConnectError),
}

fn failed(problem: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("waypost claims: {problem}");
    ExitCode::from(2)
}
