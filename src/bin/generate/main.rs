//! Writes the files that are generated from code: CRDs, the API reference, the files of the path
//! convention, and a Vault policy that is derived from another.

mod crds;
mod drift;
mod reference;
mod vault_policies;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Writes every generated file of the repository, or lists those that differ.
#[derive(Parser)]
#[command(name = "waypost-generate", version)]
struct Arguments {
    /// Write nothing: list the files that differ and fail if there is one.
    #[arg(long, conflicts_with = "stripped")]
    check: bool,
    /// The repository's root.
    #[arg(long, default_value = env!("CARGO_MANIFEST_DIR"))]
    root: PathBuf,
    /// Write only the CustomResourceDefinitions, into this folder, without what Waypost adds to
    /// them: for tests that want the fields as another installation of the External Secrets API
    /// declares them.
    #[arg(long, value_name = "DIR")]
    stripped: Option<PathBuf>,
}

/// A generated file: its path below the repository's root, and its text.
type Output = (PathBuf, String);

/// Every generated file.
fn outputs() -> Vec<Output> {
    let mut outputs = crds::outputs();
    outputs.push(reference::output());
    outputs.push(vault_policies::output());
    outputs.extend(waypost::domain::convention::generated_files());
    outputs
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.stripped {
        Some(folder) => drift::write(folder, crds::stripped()),
        None if arguments.check => drift::check(&arguments.root, &outputs()),
        None => drift::write(&arguments.root, outputs()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waypost-generate: {error}");
            ExitCode::FAILURE
        }
    }
}
