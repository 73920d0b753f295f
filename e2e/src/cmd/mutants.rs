//! `mutants`: brings known faults back and says whether the tests notice.

use std::path::PathBuf;

use anyhow::ensure;

use crate::{lab::repository, mutants};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only faults whose description or file contains this
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Where the copy and its build are kept
    #[arg(long, value_name = "FOLDER", default_value = "target/mutants")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (repository, wanted) = (repository(), args.only.as_deref().unwrap_or_default());
    let mut listed = mutants::read(&repository)?;
    listed.retain(|mutant| mutant.fault.contains(wanted) || mutant.file.to_string_lossy().contains(wanted));
    ensure!(!listed.is_empty(), "no fault in tests/mutants has \"{wanted}\" in its description or file");
    let report = mutants::run(&repository, &repository.join(&args.folder), listed)?;
    println!("{report}");
    ensure!(report.is_clean(), "some faults were not caught");
    Ok(())
}
