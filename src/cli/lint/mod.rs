//! `waypost lint`: judges manifests before a cluster sees them, by the reconcilers' own rules.

mod convention;
mod convention_file;
mod facts;
mod fan_out;
mod judge;
mod modes;
mod output;
mod push_spec;
mod schema;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::domain::convention::{Mode, Severity};
use crate::manifest;

pub use convention_file::{NoConvention, convention};
pub use judge::{judge, judge_in_one_mode};
pub use output::{Colour, Format, render};

/// What `waypost lint` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Files of YAML or JSON, folders of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The manifest of the installation's PathConvention [default: the built-in convention]
    #[arg(long, value_name = "FILE")]
    pub convention: Option<PathBuf>,
    /// How strictly to apply the path convention, whatever anything else says: enforce, warn or off [default: as the label of a Namespace among the files says, else the PathConvention, else enforce]
    #[arg(long, value_name = "MODE")]
    pub path_convention: Option<Mode>,
    /// The mount of stores whose manifests are not among the files
    #[arg(long, default_value = "secret", value_name = "MOUNT")]
    pub store_path: String,
}

/// Reads, judges and prints.
pub fn run(args: &Args) -> ExitCode {
    let (sources, unread) = manifest::read(&args.files);
    for refused in &unread {
        eprintln!("waypost lint: {refused}");
    }
    let mut convention = match convention(args.convention.as_deref()) {
        Ok(convention) => convention,
        Err(refused) => {
            eprintln!("waypost lint: {refused}");
            return ExitCode::from(2);
        }
    };
    let found = match args.path_convention {
        Some(mode) => {
            convention.mode = mode;
            judge_in_one_mode(&sources, &convention, &args.store_path)
        }
        None => judge(&sources, &convention, &args.store_path),
    };
    let mut out = std::io::stdout();
    let colour = match out.is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => Colour::Terminal,
        false => Colour::None,
    };
    if let Err(error) = out.write_all(render(&found, args.format, colour).as_bytes()) {
        eprintln!("waypost lint: cannot write to standard output: {error}");
        return ExitCode::from(2);
    }
    let errors = output::count(&found, Severity::Error);
    let (warnings, files) = (output::count(&found, Severity::Warning), sources.len());
    eprintln!("{}, {}, {}", counted(errors, "error"), counted(warnings, "warning"), counted(files, "file"));
    match (unread.is_empty(), errors) {
        (false, _) => ExitCode::from(2),
        (true, 0) => ExitCode::SUCCESS,
        (true, _) => ExitCode::from(1),
    }
}

/// `1 error`, `2 errors`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
