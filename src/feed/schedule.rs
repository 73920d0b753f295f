//! The feed's own task: checks each followed path once a window, and drops held bytes whose time is over.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::index::Check;
use super::{Feed, Seen};
use crate::store::error::Family;
use crate::store::{Head, PathKey};

/// Checks under way at once, so that a slow server delays no other's paths for long.
const CONCURRENT_CHECKS: usize = 8;
/// How often held bytes are looked through.
const EXPIRY: Duration = Duration::from_secs(1);

impl Feed {
    /// Runs until cancelled. To be started when reconciling starts: both begin the wave in which everything is read once.
    pub async fn run(self: Arc<Self>, token: CancellationToken) {
        self.index().started(Timestamp::now(), Instant::now());
        while token.run_until_cancelled(self.due()).await.is_some() {
            let now = Instant::now();
            self.index().expire(now);
            self.shelf.expire(&self.index, now);
            let due = self.index().take_due(now, jittered);
            let checks = futures::stream::iter(due).for_each_concurrent(CONCURRENT_CHECKS, |(key, logins)| {
                let feed = self.clone();
                async move { feed.check(key, logins).await }
            });
            if token.run_until_cancelled(checks).await.is_none() {
                return;
            }
        }
    }

    async fn due(&self) {
        let next = self.index().next_due();
        let check = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        let expiry = async {
            match !self.shelf.is_empty() {
                true => tokio::time::sleep(EXPIRY).await,
                false => pending().await,
            }
        };
        tokio::select! {
            () = check => {}
            () = expiry => {}
            () = self.rescheduled.notified() => {}
        }
    }

    /// Asks for the version by the first login that may see it, and by each whose last check failed.
    pub(super) async fn check(&self, key: PathKey, logins: Vec<Check>) {
        let mut answered = false;
        for Check { source, failing } in logins {
            if answered && !failing {
                continue;
            }
            let identity = source.client.identity();
            match source.client.head(&source.path).await {
                Ok(Head { version, live, .. }) => {
                    answered = true;
                    let woken = self.index().checked(&key, identity, Seen { version, live }, Instant::now());
                    self.wake(woken);
                }
                Err(error) => {
                    tracing::debug!(path = %source.path, %error, "check failed");
                    let woken = self.index().check_failed(&key, identity, Instant::now());
                    self.wake(woken);
                    // A server that is down is down for every login; a refusal is one login's own.
                    answered |= error.family() == Family::Failed;
                }
            }
        }
    }
}

/// A window within 5 % of what was asked, so that paths that came together do not stay together.
pub(super) fn jittered(window: Duration) -> Duration {
    window.mul_f64(rand::random_range(0.95..=1.05))
}
