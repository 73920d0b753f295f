//! What holds requests back: at most so many at once, the server's own pauses, and a circuit breaker.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::store::StoreError;

/// Requests of one client that may be under way at once.
const CONCURRENT: usize = 16;
/// Failures in a row that open the circuit.
const THRESHOLD: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A pause the server asks for is waited out in place up to this, and reported beyond it.
const SHORT_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause we accept from a server.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The limits of one client.
pub struct Guard {
    server: String,
    slots: Semaphore,
    state: Mutex<State>,
}

struct State {
    failures: u32,
    circuit: Circuit,
    /// How long the circuit stays open the next time.
    wait: Duration,
    paused_until: Option<Instant>,
    /// The last failure, which an open circuit repeats.
    cause: Option<StoreError>,
}

#[derive(Clone, Copy)]
enum Circuit {
    /// Requests pass.
    Closed,
    /// Requests fail at once, until the server says that it is well.
    Open,
    /// The server says it is well; the next real request decides.
    HalfOpen,
}

/// What one more failure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was counted.
    Counted,
    /// It opened the circuit: ask for the server's health after this wait.
    Opened(Duration),
}

impl Guard {
    /// All closed, nothing under way.
    pub fn new(server: &str) -> Self {
        let state = State { failures: 0, circuit: Circuit::Closed, wait: FIRST_WAIT, paused_until: None, cause: None };
        Guard { server: server.to_owned(), slots: Semaphore::new(CONCURRENT), state: Mutex::new(state) }
    }

    /// Waits for a free slot, and for a short pause to end; fails at once when the circuit is open or the pause is long.
    pub async fn admit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.check_circuit()?;
        let slot = self.slots.acquire().await.expect("the semaphore is never closed");
        while let Some(left) = self.pause_left() {
            if left > SHORT_PAUSE {
                return Err(StoreError::RateLimited { server: self.server.clone(), retry_after: Some(left) });
            }
            tokio::time::sleep(left).await;
        }
        // Whoever waited may have waited for a server that failed meanwhile.
        self.check_circuit()?;
        Ok(slot)
    }

    /// Keeps requests back for as long as the server asked, within reason.
    pub fn pause(&self, asked: Duration) {
        let until = Instant::now() + asked.min(LONGEST_PAUSE);
        let mut state = self.state();
        state.paused_until = Some(state.paused_until.map_or(until, |old| old.max(until)));
    }

    /// A request was answered.
    pub fn succeeded(&self) {
        let mut state = self.state();
        state.failures = 0;
        // A late answer from before the failures does not close an open circuit: the health probe does.
        if !matches!(state.circuit, Circuit::Open) {
            state.circuit = Circuit::Closed;
            state.wait = FIRST_WAIT;
        }
    }

    /// A request failed in a way that blames the server.
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

    /// The server says it is well again.
    pub fn half_open(&self) {
        self.state().circuit = Circuit::HalfOpen;
    }

    fn check_circuit(&self) -> Result<(), StoreError> {
        let state = self.state();
        match (&state.circuit, &state.cause) {
            (Circuit::Open, Some(cause)) => {
                Err(StoreError::CircuitOpen { server: self.server.clone(), cause: Box::new(cause.clone()) })
            }
            (Circuit::Open, None) | (Circuit::Closed | Circuit::HalfOpen, _) => Ok(()),
        }
    }

    fn pause_left(&self) -> Option<Duration> {
        let left = self.state().paused_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the state")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> StoreError {
        StoreError::Sealed { server: "s".into() }
    }

    #[test]
    fn five_failures_in_a_row_open_and_waits_double() {
        let guard = Guard::new("s");
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

    #[tokio::test]
    async fn a_long_pause_is_reported_and_never_longer_than_a_minute() {
        let guard = Guard::new("s");
        guard.pause(Duration::from_secs(1000));
        guard.pause(Duration::from_secs(1));
        match guard.admit().await {
            Err(StoreError::RateLimited { retry_after: Some(left), .. }) => {
                assert!(left > SHORT_PAUSE && left <= LONGEST_PAUSE, "{left:?}");
            }
            other => panic!("{:?}", other.map(|_slot| ())),
        };
    }
}
