//! What a fleet costs while nothing changes: requests to the store, writes to the cluster, memory.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{
    cold_start::{MOST_MEMORY, mebibytes},
    figure::Figure,
    fleet::Fleet,
    ground::Ground,
};
use crate::lab::{Controller, MOUNT, Mark, Request};

const WINDOWS: usize = 3;
/// What a store may cost beside its paths in a window: its own check and its session.
const MORE_THAN_PATHS: f64 = 2.0;
const LOOK: Duration = Duration::from_millis(500);

/// `window` is the refresh interval of the fleet.
pub(super) async fn measure(
    ground: &Ground,
    fleet: &Fleet,
    controller: &Controller,
    window: Duration,
) -> anyhow::Result<Vec<Figure>> {
    let mark = pause_between_windows(ground, window).await?;
    let writes = ground.kubernetes_writes().await?;
    let requests = windows(ground, fleet, mark, window).await?;
    let writes = ground.kubernetes_writes().await? - writes;
    let a_window = requests.len() as f64 / WINDOWS as f64;
    let paths = fleet.paths.len() as f64;
    Ok(vec![
        Figure::new("silence: requests to the store a window", a_window, "requests")
            .beside(paths)
            .at_most(paths + MORE_THAN_PATHS),
        Figure::new("silence: writes to Kubernetes", writes as f64, "writes").beside(0.0).at_most(0.0),
        Figure::new("silence: RSS", mebibytes(controller)?, "MiB").at_most(MOST_MEMORY),
    ])
}

/// The paths came together and are checked together: the count begins where no check is under way.
async fn pause_between_windows(ground: &Ground, window: Duration) -> anyhow::Result<Mark> {
    let quiet = window / 6;
    let began = Instant::now();
    let mut mark = ground.audit.mark()?;
    let mut since = Instant::now();
    while since.elapsed() < quiet && began.elapsed() < 2 * window {
        tokio::time::sleep(LOOK).await;
        let now = ground.audit.mark()?;
        if now != mark {
            (mark, since) = (now, Instant::now());
        }
    }
    Ok(mark)
}

/// Every request until each path was checked as often as there are windows.
async fn windows(ground: &Ground, fleet: &Fleet, mark: Mark, window: Duration) -> anyhow::Result<Vec<Request>> {
    let began = Instant::now();
    loop {
        let requests = ground.audit.since(mark)?;
        let mut checks: HashMap<&str, usize> = HashMap::new();
        for request in &requests {
            if let Some(path) = checked_path(request) {
                *checks.entry(path).or_default() += 1;
            }
        }
        let done = fleet.paths.iter().all(|path| checks.get(path.as_str()).is_some_and(|count| *count >= WINDOWS));
        if done {
            return Ok(requests);
        }
        ensure!(began.elapsed() < window * 6, "some paths are not checked once a window");
        tokio::time::sleep(LOOK).await;
    }
}

fn checked_path(request: &Request) -> Option<&str> {
    let below = request.path.strip_prefix(MOUNT)?.strip_prefix('/')?;
    below.strip_prefix("metadata/").or_else(|| below.strip_prefix("data/"))
}
