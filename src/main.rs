//! Parses the command line, runs the command, and returns its exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use waypost::cli::{Cli, Command, claims, lint, policy, render};
use waypost::run;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Controller(config) => run::controller(*config),
        Command::Lint(args) => lint::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Claims(args) => claims::run(&args),
    }
}
