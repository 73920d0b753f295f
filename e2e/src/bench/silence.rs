//! What a fleet costs while nothing changes: requests to the store, writes to the cluster, memory.

use std::time::{Duration, Instant};

use super::{
    cold_start::{MOST_MEMORY, mebibytes},
    figure::Figure,
    fleet::Fleet,
    ground::Ground,
};
use crate::{
    lab::{Controller, MOUNT, Mark, Request},
    wait,
};

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
        // One listing tells every version.
        Figure::new("silence: requests to the store a window", a_window, "requests")
            .beside(1.0)
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
    wait::until("every path to be checked once a window", window * 6, async || {
        let requests = ground.audit.since(mark)?;
        let checks = |path: &String| requests.iter().filter(|request| is_check_of(request, path)).count();
        if fleet.paths.iter().all(|path| checks(path) >= WINDOWS) {
            return Ok(Some(requests));
        }
        tokio::time::sleep(LOOK).await;
        Ok(None)
    })
    .await
}

/// Whether a request told the path's version: by itself, or by a listing of a folder that it lies
/// in.
fn is_check_of(request: &Request, path: &str) -> bool {
    if request.refused {
        return false;
    }
    let below = request.path.strip_prefix(MOUNT).and_then(|path| path.strip_prefix('/'));
    match below.and_then(|below| below.split_once('/')) {
        Some(("metadata" | "data", entry)) => entry == path,
        Some(("detailed-metadata", folder)) => path.starts_with(folder),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_checked_by_itself_or_with_its_folder() {
        let path = "platform-data/postgres/fleet-1";
        let request = |at: &str| Request { operation: "read".to_owned(), path: at.to_owned(), ..Request::default() };
        let is_check = |at: &str| is_check_of(&request(at), path);
        assert!(is_check("secret/metadata/platform-data/postgres/fleet-1"));
        assert!(is_check("secret/detailed-metadata/platform-data/postgres/"));
        assert!(!is_check("secret/metadata/platform-data/postgres/fleet-10"));
        assert!(!is_check("secret/detailed-metadata/platform-data/redis/"));
        assert!(!is_check("auth/token/renew-self"));
        let refused = Request { refused: true, ..request("secret/detailed-metadata/platform-data/") };
        assert!(!is_check_of(&refused, path));
    }
}
