//! The token bucket of one client: how many requests a second it sends on average.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Each request takes a token. The bucket fills at a constant rate and has room for the tokens of
/// one second.
pub struct Bucket {
    rate: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// Serves requests in their order; the limiter itself does not.
    turn: Mutex<()>,
}

/// No token is available in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Empty {
    /// Requests a second.
    pub rate: NonZeroU32,
}

impl Bucket {
    /// A full bucket that gets `rate` tokens a second.
    pub fn new(rate: NonZeroU32) -> Self {
        let limiter = RateLimiter::direct(Quota::per_second(rate));
        Bucket { rate, limiter, clock: DefaultClock::default(), turn: Mutex::default() }
    }

    /// Takes a token, waiting until `deadline` at most.
    ///
    /// # Errors
    /// [`Empty`] if there is none by then; at once if that is known.
    pub async fn take(&self, deadline: Instant) -> Result<(), Empty> {
        let empty = Empty { rate: self.rate };
        let _turn = timeout_at(deadline, self.turn.lock()).await.map_err(|_elapsed| empty)?;
        while let Err(early) = self.limiter.check() {
            let next = Instant::now() + early.wait_time_from(self.clock.now());
            if next > deadline {
                return Err(empty);
            }
            sleep_until(next).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    fn bucket(rate: u32) -> Bucket {
        Bucket::new(NonZeroU32::new(rate).unwrap())
    }

    #[tokio::test]
    async fn a_burst_passes_and_what_follows_comes_at_the_rate() {
        let (bucket, began) = (bucket(20), Instant::now());
        let deadline = began + Duration::from_secs(60);
        let taken = join_all((0..30).map(|_| bucket.take(deadline))).await;
        assert!(taken.iter().all(Result::is_ok));
        // The first twenty at once, ten more at a twentieth of a second each.
        assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_past_the_deadline_is_told_so_at_once() {
        let (bucket, began) = (bucket(1), Instant::now());
        assert_eq!(bucket.take(began).await, Ok(()));
        let early = bucket.take(began + Duration::from_millis(500)).await;
        assert_eq!(early, Err(Empty { rate: NonZeroU32::MIN }));
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    }
}
