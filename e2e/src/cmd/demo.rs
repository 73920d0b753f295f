//! `waypost-e2e demo`: a secret on its way, on real servers.

use anyhow::{Context, bail};
use clap::builder::FalseyValueParser;

use crate::demo::{self, Ending};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Leave the servers and the controller running, and print the lines to explore them.
    #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
    keep: bool,
    /// Begins each generated password, so that a test can look for it in the output.
    #[arg(long, hide = true, default_value = "")]
    canary: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let ending = if args.keep { Ending::Keep } else { Ending::Stop };
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            shown = demo::show(ending, &args.canary) => shown,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing is left running"),
        }
    })
}
