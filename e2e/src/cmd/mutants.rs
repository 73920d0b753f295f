//! `mutants`: brings known faults back and says whether the tests notice.

use std::path::PathBuf;

use anyhow::ensure;

use crate::{lab::repository, mutants};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only faults whose description or file contains this
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Leaves out what the latest run found to be caught: for what survived, or when that run was
    /// cut off
    #[arg(long)]
    resume: bool,
    /// Where the copy, its build and the file `progress` are kept
    #[arg(long, value_name = "FOLDER", default_value = "target/mutants")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (repository, wanted) = (repository(), args.only.as_deref().unwrap_or_default());
    let mut listed = mutants::read(&repository)?;
    listed.retain(|mutant| mutant.fault.contains(wanted) || mutant.file.to_string_lossy().contains(wanted));
    ensure!(!listed.is_empty(), "no fault in tests/mutants has \"{wanted}\" in its description or file");
    let report = mutants::run(&repository, &repository.join(&args.folder), listed, args.resume)?;
    println!("{report}");
    ensure!(report.is_clean(), "some faults were not caught");
    Ok(())
}
