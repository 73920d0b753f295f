//! Command line of the lab: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use waypost_e2e::cmd::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
