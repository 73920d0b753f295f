//! Waiting for a condition with a deadline: the only way tests and the lab wait.

use std::time::{Duration, Instant};

use anyhow::bail;

/// How often a condition is looked at.
const PERIOD: Duration = Duration::from_millis(25);

/// Asks `condition` until it answers `Ok(Some(value))`, and returns the value.
///
/// An `Err` is kept as the reason and asked again, since servers that are starting fail in many ways.
///
/// # Errors
/// After `deadline`: what was waited for, and the last error of the condition, if any.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        let last = match condition().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() >= deadline {
            match last {
                Some(error) => return Err(error.context(format!("waited {deadline:?} for {what}"))),
                None => bail!("waited {deadline:?} for {what}"),
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The same for conditions that need no runtime.
///
/// # Errors
/// After `deadline`: what was waited for.
pub fn until_blocking<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if start.elapsed() >= deadline {
            bail!("waited {deadline:?} for {what}");
        }
        std::thread::sleep(PERIOD);
    }
}
