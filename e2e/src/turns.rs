//! Tests that load the machine more than others take turns, and servers that a few tests share end
//! with the last of them.

use std::num::NonZero;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::lab::{Controller, Lab, LabOptions};

/// Cores that one heavy test keeps busy.
const CORES: usize = 4;

/// What lets a test load the machine until it is dropped.
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] SemaphorePermit<'static>);

impl Permit {
    /// Starts servers of the test's own. Without a permit a test has none.
    ///
    /// # Errors
    /// Those of [`Lab::start`].
    pub async fn start_lab(&self, options: LabOptions) -> anyhow::Result<Lab> {
        Lab::start(options).await
    }
}

/// Waits until this test may start a cluster of its own or send thousands of requests.
///
/// # Errors
/// None: turns are never closed.
pub async fn heavy() -> anyhow::Result<Permit> {
    static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Semaphore::new((cores / CORES).max(1))
    });
    Ok(Permit(TURNS.acquire().await?))
}

/// A lab of a test's own with the controller that serves it.
pub struct OwnLab {
    /// Ends before the servers that it speaks to.
    pub controller: Arc<Controller>,
    /// The servers.
    pub lab: Lab,
}

impl Deref for OwnLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

/// What a few tests share: the first whose turn it is starts it, and it ends when none of them is
/// left that runs or waits.
pub struct Group<T>(Mutex<Weak<OnceCell<T>>>);

impl<T> Group<T> {
    /// Of no test yet.
    pub const fn empty() -> Self {
        Group(Mutex::new(Weak::new()))
    }

    /// Waits for this test's turn. All tests of a group that wait keep what the one before them
    /// used.
    ///
    /// # Errors
    /// What `start` could not do.
    pub async fn turn(&self, start: impl AsyncFnOnce(&Permit) -> anyhow::Result<T>) -> anyhow::Result<Turn<T>> {
        let shared = self.join();
        let permit = heavy().await?;
        shared.get_or_try_init(|| start(&permit)).await?;
        Ok(Turn { shared, _permit: permit })
    }

    fn join(&self) -> Arc<OnceCell<T>> {
        let mut known = self.0.lock();
        known.upgrade().unwrap_or_else(|| {
            let new = Arc::new(OnceCell::new());
            *known = Arc::downgrade(&new);
            new
        })
    }
}

/// A test's turn, with what its group shares.
pub struct Turn<T> {
    /// Ends, if this test is the last, before the next heavy test begins.
    shared: Arc<OnceCell<T>>,
    _permit: Permit,
}

impl<T> Deref for Turn<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.shared.get().expect("a turn begins when this is there")
    }
}
