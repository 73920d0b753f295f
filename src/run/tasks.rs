//! The tasks that must not end before the process stops. One that does has failed, and the others
//! would continue without it as if nothing were missing.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tasks, and waits for them.
pub struct Tasks {
    tracker: TaskTracker,
    ended: mpsc::UnboundedSender<Ended>,
    stop: CancellationToken,
}

/// Receives tasks that end too early.
pub struct Ends(mpsc::UnboundedReceiver<Ended>);

/// A task that ended too early.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    task: &'static str,
    how: How,
}

#[derive(Debug, PartialEq, Eq)]
enum How {
    Returned,
    Panicked,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Returned => "ended",
            How::Panicked => "panicked",
        };
        write!(f, "the task of {} {how}", self.task)
    }
}

impl Tasks {
    /// No tasks yet. `stop` ends them.
    pub fn new(stop: CancellationToken) -> (Self, Ends) {
        let (ended, ends) = mpsc::unbounded_channel();
        (Tasks { tracker: TaskTracker::new(), ended, stop }, Ends(ends))
    }

    /// Starts a task, which must run until `stop`.
    pub fn spawn(&self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (ended, stop) = (self.ended.clone(), self.stop.clone());
        self.tracker.spawn(async move {
            let how = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(()) => How::Returned,
                Err(_panic) => How::Panicked,
            };
            if !stop.is_cancelled() {
                // A closed channel means that another task ended first.
                let _closed = ended.send(Ended { task, how });
            }
        });
    }

    /// Waits for all tasks, after `stop`.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Ends {
    /// Waits for the first task that ends too early.
    pub async fn first(mut self) -> Ended {
        match self.0.recv().await {
            Some(ended) => ended,
            // All tasks have ended, and none can be started any more.
            None => std::future::pending().await,
        }
    }

    /// Does `work`, which ends in order on `stop`. A task that ends too early stops it, and is the
    /// outcome, whatever becomes of the work.
    pub async fn attend<T>(self, work: impl Future<Output = T>, stop: &CancellationToken) -> Result<T, Ended> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => Ok(done),
            ended = self.first() => {
                stop.cancel();
                work.await;
                Err(ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_before_it_is_told_to_is_named() {
        let (tasks, ends) = Tasks::new(CancellationToken::new());
        tasks.spawn("the idle", std::future::pending());
        tasks.spawn("the brief", async {});
        assert_eq!(ends.first().await.to_string(), "the task of the brief ended");
        let (tasks, ends) = Tasks::new(CancellationToken::new());
        tasks.spawn("the clumsy", async { panic!("on purpose") });
        assert_eq!(ends.first().await.to_string(), "the task of the clumsy panicked");
    }

    #[tokio::test]
    async fn work_that_a_task_fails_is_stopped_in_order_and_the_task_is_the_cause() {
        let stop = CancellationToken::new();
        let (tasks, ends) = Tasks::new(stop.clone());
        tasks.spawn("the idle", stop.clone().cancelled_owned());
        assert_eq!(ends.attend(async { 1 }, &stop).await, Ok(1));
        assert!(!stop.is_cancelled());

        let (tasks, ends) = Tasks::new(stop.clone());
        tasks.spawn("the clumsy", async { panic!("on purpose") });
        let mut is_handed_over = false;
        let work = async {
            stop.cancelled().await;
            is_handed_over = true;
        };
        let ended = ends.attend(work, &stop).await.unwrap_err();
        assert_eq!(ended.to_string(), "the task of the clumsy panicked");
        assert!(is_handed_over);
    }

    #[tokio::test]
    async fn a_task_that_ends_when_it_is_told_to_is_waited_for_and_not_named() {
        let stop = CancellationToken::new();
        let (tasks, Ends(mut ends)) = Tasks::new(stop.clone());
        tasks.spawn("the obedient", stop.clone().cancelled_owned());
        stop.cancel();
        tasks.finished().await;
        assert!(ends.try_recv().is_err());
    }
}
