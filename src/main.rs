//! Parses the command line, runs the command, and turns its end into an exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use waypost::cli::{Cli, Command, lint};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Controller(_config) => ExitCode::from(2),
        Command::Lint(args) => lint::run(&args),
    }
}
