//! `waypost-e2e bench`: the figures, as a table and as JSON.

use std::{fs, path::PathBuf};

use anyhow::Context;

use crate::{
    bench::{self, Part, Sizes},
    lab::Storage,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The `waypost` program [default: the one beside this program].
    #[arg(long, env = "BENCH_BINARY", value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the servers keep their state [default: memory, where the system has it]. On a disk
    /// each of the four writes on the way from a source to a target waits for it, by hand as well.
    #[arg(long, env = "BENCH_STORAGE", value_name = "WHERE")]
    storage: Option<Storage>,
    /// The only part to measure [default: all].
    #[arg(long, env = "BENCH_ONLY", value_name = "PART")]
    only: Option<Part>,
    /// Changes of a source, one per second.
    #[arg(long, env = "BENCH_CHANGES", default_value_t = 60, value_name = "N")]
    changes: usize,
    /// ExternalSecrets of the cold start and the silence, ten to a path.
    #[arg(long, env = "BENCH_OBJECTS", default_value_t = 2000, value_name = "N")]
    objects: usize,
    /// Their refresh interval.
    #[arg(long, env = "BENCH_WINDOW", default_value = "30s", value_name = "DURATION")]
    window: humantime::Duration,
    /// Sources that change at once.
    #[arg(long, env = "BENCH_SOURCES", default_value_t = 1000, value_name = "N")]
    sources: usize,
    /// PushSecrets that do not change.
    #[arg(long, env = "BENCH_PUSHES", default_value_t = 500, value_name = "N")]
    pushes: usize,
    /// The number of their intervals, of two seconds each.
    #[arg(long, env = "BENCH_INTERVALS", default_value_t = 24, value_name = "N")]
    intervals: usize,
    /// Renders of a template in each turn of an engine.
    #[arg(long, env = "BENCH_RENDERS", default_value_t = 5000, value_name = "N")]
    renders: usize,
    /// Where the JSON goes [default: bench.json in cargo's target folder].
    #[arg(long, env = "BENCH_JSON", value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let ours = std::env::current_exe().context("find this program")?;
    let json = args.json.or_else(|| Some(ours.parent()?.parent()?.join("bench.json"))).context("choose --json FILE")?;
    let storage = args.storage.unwrap_or_else(Storage::fastest);
    let sizes = Sizes {
        only: args.only,
        storage,
        binary: args.binary.unwrap_or_else(|| ours.with_file_name("waypost")),
        changes: args.changes,
        objects: args.objects,
        window: args.window.into(),
        sources: args.sources,
        pushes: args.pushes,
        intervals: args.intervals,
        renders: args.renders,
    };
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let figures = runtime.block_on(bench::run(&sizes))?;
    println!("servers' state: {storage}");
    print!("{}", bench::table(&figures));
    fs::write(&json, bench::json(&figures)?).with_context(|| format!("write {}", json.display()))?;
    println!("written to {}", json.display());
    Ok(())
}
