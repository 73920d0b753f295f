//! Waiting for a condition with a deadline: the only way tests and the lab wait.
//!
//! A deadline is stated for a usual machine. It is stretched by what this one was measured to be
//! slower at the start ([`pace::factor`]), or by what else has run on it since the wait began,
//! whichever is more, and at most [`pace::MOST`] times.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::pace;

/// How often a condition is looked at: often at first, and less often when it takes long, since
/// looking costs the servers time that they need for what is waited for.
const PERIODS: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(150)];

/// Asks `condition` until it answers `Ok(Some(value))`, and returns the value.
///
/// An `Err` is kept as the reason and asked again, since servers that are starting fail in many
/// ways.
///
/// # Errors
/// After `deadline`, in units of a usual machine: what was waited for, and the last error of the
/// condition, if any.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut patience = Patience::new(deadline);
    loop {
        let last = match condition().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if patience.is_over() {
            let waited = patience.waited(what);
            match last {
                Some(error) => return Err(error.context(waited)),
                None => bail!(waited),
            }
        }
        tokio::time::sleep(patience.pause()).await;
    }
}

/// The same for conditions that need no runtime.
///
/// # Errors
/// After `deadline`, in units of a usual machine: what was waited for.
pub fn until_blocking<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let mut patience = Patience::new(deadline);
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if patience.is_over() {
            bail!(patience.waited(what));
        }
        std::thread::sleep(patience.pause());
    }
}

/// Waits for a future's end.
///
/// # Errors
/// After `deadline`, in units of a usual machine: what was waited for.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut patience = Patience::new(deadline);
    let mut future = std::pin::pin!(future);
    loop {
        match tokio::time::timeout(patience.pause(), &mut future).await {
            Ok(value) => return Ok(value),
            Err(_) if patience.is_over() => bail!(patience.waited(what)),
            Err(_) => {}
        }
    }
}

/// A deadline as this machine needs it at this moment, for programs that do their own waiting.
pub fn stretched(deadline: Duration) -> Duration {
    limit(deadline, pace::factor(), pace::crowd())
}

/// A deadline as kubectl takes it, in whole seconds.
pub fn kubectl_timeout(deadline: Duration) -> String {
    format!("--timeout={:.0}s", stretched(deadline).as_secs_f64().ceil())
}

/// One wait.
struct Patience {
    began: Instant,
    stated: Duration,
    looks: u32,
    /// The sum of what [`pace::crowd`] said at each look.
    crowds: f64,
}

impl Patience {
    fn new(stated: Duration) -> Self {
        Patience { began: Instant::now(), stated, looks: 0, crowds: 0.0 }
    }

    /// To be asked after each look.
    fn is_over(&mut self) -> bool {
        (self.looks, self.crowds) = (self.looks + 1, self.crowds + pace::crowd());
        self.began.elapsed() >= limit(self.stated, pace::factor(), self.crowds / f64::from(self.looks))
    }

    fn pause(&self) -> Duration {
        let [first, last] = PERIODS;
        (self.began.elapsed() / 16).clamp(first, last)
    }

    fn waited(&self, what: &str) -> String {
        format!("waited {:.1?} (stated: {:?}) for {what}", self.began.elapsed(), self.stated)
    }
}

fn limit(stated: Duration, pace: f64, crowd: f64) -> Duration {
    stated.mul_f64(pace.max(crowd).clamp(1.0, pace::MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_is_stretched_by_the_slower_of_machine_and_moment_within_bounds() {
        assert_eq!(limit(SECOND, 1.0, 0.2), SECOND);
        assert_eq!(limit(SECOND, 3.0, 1.0), 3 * SECOND);
        assert_eq!(limit(SECOND, 2.0, 5.0), 5 * SECOND);
        assert_eq!(limit(SECOND, 2.0, 100.0), SECOND.mul_f64(pace::MOST));
    }

    #[test]
    fn kubectl_gets_whole_seconds_and_never_less_than_stated() {
        let argument = kubectl_timeout(SECOND * 3 / 2);
        let seconds: u64 = argument.trim_start_matches("--timeout=").trim_end_matches('s').parse().unwrap();
        assert!((2..=18).contains(&seconds), "{argument}");
    }

    #[tokio::test]
    async fn a_wait_gives_what_came_and_else_says_what_for_and_why() {
        let mut looks = 0;
        let third = until("the third look", 60 * SECOND, async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(third.await.unwrap(), 3);
        let never = until("a miracle", Duration::ZERO, async || -> anyhow::Result<Option<()>> { bail!("none yet") });
        let error = format!("{:#}", never.await.unwrap_err());
        assert!(error.contains("for a miracle") && error.ends_with("none yet"), "{error}");
        assert!(until_blocking("a miracle", Duration::ZERO, || None::<()>).is_err());
        assert_eq!(within("a value", 60 * SECOND, async { 1 }).await.unwrap(), 1);
        let error = within("a miracle", Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
        assert!(error.to_string().contains("for a miracle"), "{error}");
    }
}
