//! Runs every benchmark scenario in small, so that none breaks unnoticed. No figure is judged here.

use std::path::PathBuf;
use std::time::Duration;

use waypost_e2e::bench::{self, Sizes, Verdict};
use waypost_e2e::lab::Storage;

#[tokio::test]
async fn every_scenario_gives_its_figures() -> anyhow::Result<()> {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_waypost"));
    let storage = Storage::fastest();
    let window = Duration::from_secs(5);
    let sizes = Sizes {
        only: None,
        binary,
        storage,
        changes: 3,
        objects: 40,
        window,
        sources: 10,
        pushes: 5,
        intervals: 2,
        renders: 3,
    };
    let figures = bench::run(&sizes).await?;
    let table = bench::table(&figures);
    for name in [
        "propagation p50",
        "propagation p99",
        "20 properties changed: versions",
        "20 properties changed: requests to the path",
        "a look without a change: requests to the path",
        "looks without a change: versions",
        "changes at once, to the last target",
        "unchanged intervals: versions",
        "unchanged intervals: writes to Kubernetes",
        "unchanged intervals: requests a path and interval",
        "cold start to the last target",
        "silence: requests to the store a window",
        "silence: writes to Kubernetes",
        "silence: RSS",
        "render of 2 KiB, beside Go's engine",
        "render of 2 KiB, of Go's time",
    ] {
        let figure = figures.iter().find(|figure| figure.name == name);
        assert!(figure.is_some_and(|figure| figure.verdict.is_some()), "{name} is not judged in\n{table}");
    }
    let reads = figures.iter().find(|figure| figure.name == "cold start reads of data");
    assert!(reads.is_some_and(|reads| reads.value >= 4.0), "four paths were not read in\n{table}");
    assert!(bench::json(&figures)?.contains("\"verdict\""));
    assert!(figures.iter().any(|figure| figure.verdict == Some(Verdict::Pass)), "everything is over in\n{table}");
    Ok(())
}
