//! Limits requests: their number at once and per second, the server's pauses, and a circuit
//! breaker.
//!
//! **Our own rate.** A token bucket bounds what one client sends on average (ADR 0016).
//!
//! **Rate limits.** A server that limits the rate of requests denies requests that come too early.
//! So a 429 stops all requests for as long as the server asks, at most a minute. Then one at a time
//! may try, and each answer allows one more in parallel, up to the usual number. While a limit
//! lasts, the server denies only one or two requests per pause.

use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::bucket::{Bucket, Empty};
use crate::store::StoreError;

/// The maximum number of requests of one client in flight.
const CONCURRENT: usize = 16;
/// Failures in a row that open the circuit.
const THRESHOLD: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a request waits while the server or our own bucket limits the rate. After that, it
/// fails with that reason.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How many requests may wait for a turn while the server limits the rate. Each takes a slot from
/// objects of other stores. Further requests fail at once.
const MOST_WAITING: usize = 2;
/// How long a request waits behind unanswered requests of its own store.
const LONGEST_TURN: Duration = Duration::from_secs(15);
/// The pause after a 429 without `Retry-After`, and the shortest pause: `Retry-After: 0` would be
/// none.
const USUAL_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause we accept from a server.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The limits of one client.
pub struct Guard {
    server: String,
    bucket: Bucket,
    slots: Semaphore,
    state: Mutex<State>,
}

struct State {
    failures: u32,
    circuit: Circuit,
    /// How long the circuit will stay open next time.
    wait: Duration,
    paused_until: Option<Instant>,
    /// How many requests may be in flight now.
    window: usize,
    /// The number of slots, taken or free. It exceeds the window only until enough of them are
    /// returned.
    slots: usize,
    /// How many requests wait for a slot.
    waiting: usize,
    /// The last failure, which an open circuit repeats.
    cause: Option<StoreError>,
}

/// A request that waits for a slot, until it is dropped.
struct Waiting<'a>(&'a Guard);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl State {
    fn is_throttled(&self) -> bool {
        self.window < CONCURRENT
    }

    fn answered(&mut self) {
        self.failures = 0;
        // A late answer from before the failures does not close an open circuit; only the health
        // probe does.
        if !matches!(self.circuit, Circuit::Open) {
            self.circuit = Circuit::Closed;
            self.wait = FIRST_WAIT;
        }
    }
}

#[derive(Clone, Copy)]
enum Circuit {
    /// Requests pass.
    Closed,
    /// Requests fail at once, until the server reports that it is healthy.
    Open,
    /// The server reports that it is healthy; the next real request decides.
    HalfOpen,
}

/// The effect of one more failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was counted.
    Counted,
    /// It opened the circuit: ask for the server's health after this wait.
    Opened(Duration),
}

/// The right to have one request in flight, returned when dropped.
pub struct Slot<'a> {
    guard: &'a Guard,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.guard.state();
        if state.slots > state.window
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            state.slots -= 1;
        }
    }
}

impl Guard {
    /// A closed circuit with no request in flight, for `rate` requests a second.
    pub fn new(server: &str, rate: NonZeroU32) -> Self {
        let state = State {
            failures: 0,
            circuit: Circuit::Closed,
            wait: FIRST_WAIT,
            paused_until: None,
            window: CONCURRENT,
            slots: CONCURRENT,
            waiting: 0,
            cause: None,
        };
        Guard {
            server: server.to_owned(),
            bucket: Bucket::new(rate),
            slots: Semaphore::new(CONCURRENT),
            state: Mutex::new(state),
        }
    }

    /// Waits for a free slot, for a pause to end, and for a token of the bucket. Fails at once if
    /// the circuit is open or the pause lasts beyond `deadline`. While the rate is limited, no
    /// request waits longer than that.
    pub async fn admit(&self, deadline: Instant) -> Result<Slot<'_>, StoreError> {
        self.check_circuit()?;
        let slot = self.slot(deadline).await?;
        while let Some(left) = self.pause_left() {
            self.check_pause(deadline)?;
            tokio::time::sleep(left).await;
        }
        let held_back = |Empty { rate }| StoreError::HeldBack { server: self.server.clone(), rate };
        self.bucket.take(patience(deadline)).await.map_err(held_back)?;
        // The server may have failed while this request waited.
        self.check_circuit()?;
        Ok(slot)
    }

    async fn slot(&self, deadline: Instant) -> Result<Slot<'_>, StoreError> {
        self.check_pause(deadline)?;
        if let Ok(permit) = self.slots.try_acquire() {
            return Ok(Slot { guard: self, permit: Some(permit) });
        }
        let _waiting = self.wait()?;
        let give_up = Instant::now() + LONGEST_TURN;
        loop {
            self.check_pause(deadline)?;
            match timeout_at(patience(deadline).min(give_up), self.slots.acquire()).await {
                Ok(permit) => {
                    let permit = permit.expect("the semaphore is never closed");
                    return Ok(Slot { guard: self, permit: Some(permit) });
                }
                Err(_elapsed) if self.is_throttled() => return Err(self.rate_limited()),
                Err(_elapsed) if Instant::now() >= give_up => {
                    let (under_way, seconds) = (CONCURRENT, LONGEST_TURN.as_secs());
                    return Err(StoreError::Slow { server: self.server.clone(), under_way, seconds });
                }
                // The server is slow but does not limit: the requests in flight have their own time
                // limit.
                Err(_elapsed) => {}
            }
        }
    }

    fn wait(&self) -> Result<Waiting<'_>, StoreError> {
        let mut state = self.state();
        if state.is_throttled() && state.waiting >= MOST_WAITING {
            drop(state);
            return Err(self.rate_limited());
        }
        state.waiting += 1;
        Ok(Waiting(self))
    }

    /// Call this after a 429: pauses all requests for as long as the server asked, within limits,
    /// and then lets one try.
    pub fn throttled(&self, asked: Option<Duration>) {
        let pause = asked.unwrap_or(USUAL_PAUSE).clamp(USUAL_PAUSE, LONGEST_PAUSE);
        let until = Instant::now() + pause;
        let mut state = self.state();
        state.paused_until = Some(state.paused_until.map_or(until, |old| old.max(until)));
        state.window = 1;
        // Requests in flight return their slots when they end.
        state.slots -= self.slots.forget_permits(state.slots - 1);
        state.answered();
    }

    /// Call this when a request was answered.
    pub fn succeeded(&self) {
        let mut state = self.state();
        state.answered();
        if state.window < CONCURRENT {
            state.window += 1;
            if state.slots < state.window {
                state.slots += 1;
                self.slots.add_permits(1);
            }
        }
    }

    /// Call this when a request failed in a way that blames the server.
    pub fn failed(&self, cause: StoreError) -> Failure {
        let mut state = self.state();
        state.cause = Some(cause);
        state.failures = state.failures.saturating_add(1);
        let opens = match state.circuit {
            Circuit::Closed => state.failures >= THRESHOLD,
            Circuit::HalfOpen => true,
            Circuit::Open => false,
        };
        if !opens {
            return Failure::Counted;
        }
        let wait = state.wait;
        state.circuit = Circuit::Open;
        state.wait = (wait * 2).min(LONGEST_WAIT);
        Failure::Opened(wait)
    }

    /// Call this when the server reports that it is healthy again.
    pub fn half_open(&self) {
        self.state().circuit = Circuit::HalfOpen;
    }

    /// Fails while the circuit is open.
    pub fn check_circuit(&self) -> Result<(), StoreError> {
        let state = self.state();
        match (&state.circuit, &state.cause) {
            (Circuit::Open, Some(cause)) => {
                Err(StoreError::CircuitOpen { server: self.server.clone(), cause: Box::new(cause.clone()) })
            }
            (Circuit::Open, None) | (Circuit::Closed | Circuit::HalfOpen, _) => Ok(()),
        }
    }

    /// Waits for a pause that ends in time; returns an error for a longer one.
    fn check_pause(&self, deadline: Instant) -> Result<(), StoreError> {
        match self.state().paused_until.is_some_and(|until| until > deadline && until > Instant::now()) {
            true => Err(self.rate_limited()),
            false => Ok(()),
        }
    }

    fn rate_limited(&self) -> StoreError {
        StoreError::RateLimited { server: self.server.clone() }
    }

    fn is_throttled(&self) -> bool {
        self.state().is_throttled()
    }

    fn pause_left(&self) -> Option<Duration> {
        let left = self.state().paused_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// A request that waited for a pause gets a little more time, because its deadline is so near.
fn patience(deadline: Instant) -> Instant {
    let now = Instant::now();
    if deadline > now { deadline } else { now + USUAL_PAUSE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new("s", NonZeroU32::MAX)
    }

    fn sealed() -> StoreError {
        StoreError::Sealed { server: "s".into() }
    }

    #[test]
    fn five_failures_in_a_row_open_and_waits_double() {
        let guard = guard();
        for _ in 0..4 {
            assert_eq!(guard.failed(sealed()), Failure::Counted);
        }
        guard.succeeded();
        for _ in 0..4 {
            assert_eq!(guard.failed(sealed()), Failure::Counted);
        }
        assert!(guard.check_circuit().is_ok());
        assert_eq!(guard.failed(sealed()), Failure::Opened(Duration::from_secs(1)));
        let open = guard.check_circuit().unwrap_err();
        assert_eq!(open, StoreError::CircuitOpen { server: "s".into(), cause: Box::new(sealed()) });
        guard.succeeded();
        assert!(guard.check_circuit().is_err(), "a late answer does not close it");
        for seconds in [2, 4, 8, 16, 30, 30] {
            guard.half_open();
            assert!(guard.check_circuit().is_ok());
            assert_eq!(guard.failed(sealed()), Failure::Opened(Duration::from_secs(seconds)));
        }
        guard.half_open();
        guard.succeeded();
        assert_eq!(guard.failed(sealed()), Failure::Counted);
    }

    fn within(patience: Duration) -> Instant {
        Instant::now() + patience
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_within_patience_is_waited_out_even_where_the_server_asks_for_none() {
        let guard = guard();
        let began = Instant::now();
        guard.throttled(Some(Duration::ZERO));
        assert!(guard.admit(within(PATIENCE)).await.is_ok());
        assert!(began.elapsed() >= USUAL_PAUSE && began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_reported_at_once_and_never_longer_than_a_minute() {
        let guard = guard();
        let began = Instant::now();
        guard.throttled(Some(Duration::from_secs(1000)));
        guard.throttled(Some(Duration::from_secs(1)));
        let refused = guard.admit(within(PATIENCE)).await.err();
        assert_eq!(refused, Some(StoreError::RateLimited { server: "s".into() }));
        assert!(began.elapsed() < USUAL_PAUSE, "{:?}", began.elapsed());
        let left = guard.pause_left().unwrap();
        assert!(left > PATIENCE && left <= LONGEST_PAUSE, "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_rate_is_kept_and_said_to_be_ours() {
        let guard = Guard::new("s", NonZeroU32::MIN);
        assert!(guard.admit(within(PATIENCE)).await.is_ok());
        let refused = guard.admit(within(Duration::from_millis(50))).await.err();
        assert_eq!(refused, Some(StoreError::HeldBack { server: "s".into(), rate: NonZeroU32::MIN }));
        assert!(!guard.is_throttled(), "the server said nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_rate_is_limited_few_wait_and_the_others_are_told_at_once() {
        let guard = guard();
        guard.throttled(None);
        let deadline = within(PATIENCE);
        let under_way = guard.admit(deadline).await.ok();
        let waiting = futures::future::join_all((0..MOST_WAITING).map(|_| guard.admit(deadline)));
        let one_more = async {
            let began = Instant::now();
            (guard.admit(deadline).await.err(), began.elapsed())
        };
        let (waited, (told, after)) = futures::join!(waiting, one_more);
        assert!(waited.iter().all(Result::is_err), "nobody gave a slot back");
        assert_eq!(told, Some(StoreError::RateLimited { server: "s".into() }));
        assert!(after < Duration::from_millis(500), "{after:?}");
        drop(under_way);
        assert_eq!(guard.state().waiting, 0);
        assert!(guard.admit(within(PATIENCE)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_429_one_may_try_and_each_answer_lets_one_more_go() {
        const SOON: Duration = Duration::from_millis(50);
        let guard = guard();
        let mut under_way = Vec::new();
        for _ in 0..CONCURRENT {
            under_way.push(guard.admit(within(SOON)).await.ok());
        }
        guard.throttled(None);
        under_way.clear();
        let first = guard.admit(within(PATIENCE)).await;
        assert!(first.is_ok() && guard.admit(within(SOON)).await.is_err(), "one at a time");
        guard.succeeded();
        let second = guard.admit(within(SOON)).await;
        assert!(second.is_ok() && guard.admit(within(SOON)).await.is_err(), "two at a time");
        drop((first, second));
        for _ in 0..2 * CONCURRENT {
            guard.succeeded();
        }
        let all = futures::future::join_all((0..CONCURRENT).map(|_| guard.admit(within(SOON)))).await;
        assert!(all.iter().all(Result::is_ok));
        assert!(guard.slots.try_acquire().is_err(), "no slot was made up");
    }
}
