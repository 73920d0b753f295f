//! `waypost lint`: checks manifests before a cluster sees them, by the reconcilers' own rules.

mod convention;
mod convention_file;
mod facts;
mod fan_out;
mod judge;
mod metadata;
mod modes;
mod output;
mod permitted;
mod pull_spec;
mod push_spec;
mod rules;
mod schema;
mod served;
mod store_spec;
mod templates;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgAction;

use super::terminal;
use crate::config::CONTROLLER_CLASS;
use crate::domain::convention::{Mode, Severity};
use crate::manifest::{self, Exclude, Found};
use crate::store::admit::Class;

pub use convention_file::{NoConvention, convention};
pub use judge::{Installation, Judged, alone, judge, judge_bundle};
pub use modes::ModeBy;
pub use output::{Colour, Format, render};
pub use permitted::closed;

/// Said of files that have nothing to judge: they may be the wrong ones.
const NOTHING: &str =
    "waypost lint: the files have no object of the External Secrets API: check that these are your manifests";

/// Arguments of `waypost lint`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Files of YAML or JSON, folders, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What to leave out
    #[command(flatten)]
    pub exclude: Exclude,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The manifest of the installation's PathConvention [default: the built-in convention]
    #[arg(long, value_name = "FILE")]
    pub convention: Option<PathBuf>,
    /// How strictly to apply the path convention: enforce, warn or off. Overrides everything else
    /// [default: the label of a Namespace among the files, else the PathConvention, else enforce]
    #[arg(long, value_name = "MODE")]
    pub path_convention: Option<Mode>,
    /// The mount of stores whose manifests are not among the files
    #[arg(long, default_value = "secret", value_parser = super::mount, value_name = "MOUNT")]
    pub store_path: String,
    /// Judge for the controller that serves stores with this spec.controller. Stores of another
    /// class, and objects that name them, are skipped
    #[arg(long, default_value = CONTROLLER_CLASS, value_name = "CLASS")]
    pub controller_class: String,
    /// Whether that controller also serves stores without spec.controller
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub serve_unclassified: bool,
}

/// Reads, judges and prints.
pub fn run(args: &Args) -> ExitCode {
    let Found { sources, refused: unread, skipped } = manifest::read(&args.files, &args.exclude);
    unread.iter().for_each(|refused| terminal::say(format_args!("waypost lint: {refused}")));
    skipped.iter().for_each(|skipped| terminal::say(format_args!("waypost lint: skipped: {skipped}")));
    let mut convention = match convention(args.convention.as_deref()) {
        Ok(convention) => convention,
        Err(refused) => {
            terminal::say(format_args!("waypost lint: {refused}"));
            return ExitCode::from(2);
        }
    };
    let bundle = manifest::bundle(&sources);
    if bundle.objects.is_empty() && unread.is_empty() {
        terminal::say(NOTHING);
    }
    let mode_by = args.path_convention.map_or(ModeBy::Label, |_mode| ModeBy::Flag);
    convention.mode = args.path_convention.unwrap_or(convention.mode);
    let class = Class::new(&args.controller_class, args.serve_unclassified);
    let installation = Installation { convention: &convention, mode_by, store_path: &args.store_path, class };
    let Judged { found, left_alone } = judge_bundle(&sources, bundle, &installation);
    let colour = if terminal::is_coloured() { Colour::Terminal } else { Colour::None };
    let errors = output::count(&found, Severity::Error);
    let (warnings, files) = (output::count(&found, Severity::Warning), sources.len());
    let code = match (unread.is_empty(), errors) {
        (false, _) => ExitCode::from(2),
        (true, 0) => ExitCode::SUCCESS,
        (true, _) => ExitCode::from(1),
    };
    let code = terminal::print("lint", &render(&found, args.format, colour), code);
    let mut counts = vec![counted(errors, "error"), counted(warnings, "warning"), counted(files, "file")];
    if left_alone > 0 {
        counts.push(format!("{} of another controller skipped", counted(left_alone, "object")));
    }
    terminal::say(counts.join(", "));
    code
}

/// `1 error`, `2 errors`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
