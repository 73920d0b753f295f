//! The tasks that must not end before the process stops. One that does has failed, and the others
//! would continue without it as if nothing were missing.
//!
//! They stop in one of two ways: what runs may finish, or, if another replica may lead now,
//! everything is stopped at once.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the tasks are told to end.
#[derive(Clone, Default)]
pub struct Halt {
    /// Nothing new begins, and what runs may finish.
    pub stop: CancellationToken,
    /// Everything is stopped at once: another replica may lead.
    lost: CancellationToken,
}

impl Halt {
    /// By this token, or when leadership is lost.
    pub fn on(stop: CancellationToken) -> Self {
        Halt { stop, lost: CancellationToken::new() }
    }

    /// Another replica may lead: nothing more may be written.
    pub fn lose(&self) {
        self.stop.cancel();
        self.lost.cancel();
    }
}

/// Starts tasks, and waits for them.
pub struct Tasks {
    tracker: TaskTracker,
    ended: mpsc::UnboundedSender<Ended>,
    halt: Halt,
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
    /// No tasks yet. `halt` ends them.
    pub fn new(halt: Halt) -> (Self, Ends) {
        let (ended, ends) = mpsc::unbounded_channel();
        (Tasks { tracker: TaskTracker::new(), ended, halt }, Ends(ends))
    }

    /// Starts a task, which must run until it is told to stop. When leadership is lost it is
    /// dropped, and with it the reconciles that it runs.
    pub fn spawn(&self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (ended, Halt { stop, lost }) = (self.ended.clone(), self.halt.clone());
        self.tracker.spawn(async move {
            let work = async { lost.run_until_cancelled(work).await.unwrap_or_default() };
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

    /// Waits for all tasks, after they were told to stop. What runs longer than that is stopped:
    /// another replica leads soon. Returns whether all ended by themselves.
    pub async fn end_within(&self, longest: Duration) -> bool {
        let have_ended = tokio::time::timeout(longest, self.finished()).await.is_ok();
        if !have_ended {
            self.halt.lose();
            self.finished().await;
        }
        have_ended
    }

    async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Ends {
    /// Waits until the tasks are told to stop, while `started` runs.
    ///
    /// # Errors
    /// The first task that ends too early.
    pub async fn until_stopped(self, started: impl Future<Output = ()>, stop: &CancellationToken) -> Result<(), Ended> {
        let runs = async {
            started.await;
            stop.cancelled().await;
        };
        tokio::select! {
            () = runs => Ok(()),
            () = stop.cancelled() => Ok(()),
            ended = self.first() => Err(ended),
        }
    }

    async fn first(mut self) -> Ended {
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
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_time_is_stopped_before_another_replica_leads() {
        for (runs, ends) in [(1, true), (60, false)] {
            let (halt, began) = (Halt::default(), Instant::now());
            let (tasks, _ends) = Tasks::new(halt.clone());
            tasks.spawn("a reconcile", tokio::time::sleep(Duration::from_secs(runs)));
            halt.stop.cancel();
            assert_eq!(tasks.end_within(Duration::from_secs(10)).await, ends);
            assert_eq!(began.elapsed(), Duration::from_secs(runs.min(10)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_or_panics_before_it_is_told_to_is_named_and_ends_the_work() {
        for starts_slowly in [false, true] {
            let start = async || {
                if starts_slowly {
                    pending().await
                }
            };
            let ended = async |ends: Ends, halt: &Halt| {
                let ended = ends.until_stopped(start(), &halt.stop);
                tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap_err().to_string()
            };
            let (tasks, ends) = Tasks::new(Halt::default());
            tasks.spawn("the idle", pending());
            tasks.spawn("the brief", async {});
            assert_eq!(ended(ends, &tasks.halt).await, "the task of the brief ended");
            let (tasks, ends) = Tasks::new(Halt::default());
            tasks.spawn("the clumsy", async { panic!("on purpose") });
            assert_eq!(ended(ends, &tasks.halt).await, "the task of the clumsy panicked");
        }
    }

    #[tokio::test]
    async fn work_that_a_task_fails_is_stopped_in_order_and_the_task_is_the_cause() {
        let stop = CancellationToken::new();
        let (tasks, ends) = Tasks::new(Halt::on(stop.clone()));
        tasks.spawn("the idle", stop.clone().cancelled_owned());
        assert_eq!(ends.attend(async { 1 }, &stop).await, Ok(1));
        assert!(!stop.is_cancelled());

        let (tasks, ends) = Tasks::new(Halt::on(stop.clone()));
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
        let halt = Halt::default();
        let (tasks, ends) = Tasks::new(halt.clone());
        tasks.spawn("the obedient", halt.stop.clone().cancelled_owned());
        halt.stop.cancel();
        tasks.finished().await;
        assert_eq!(ends.until_stopped(pending(), &halt.stop).await, Ok(()));
    }

    /// Tells when it is dropped.
    struct Running(mpsc::UnboundedSender<()>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    #[tokio::test]
    async fn what_runs_may_finish_unless_leadership_is_lost() {
        let halt = Halt::default();
        let (tasks, Ends(mut ends)) = Tasks::new(halt.clone());
        let (dropped, mut drops) = mpsc::unbounded_channel();
        tasks.spawn("the busy", async move {
            let _running = Running(dropped);
            pending().await
        });
        halt.stop.cancel();
        assert!(tokio::time::timeout(Duration::from_millis(50), tasks.finished()).await.is_err());
        halt.lose();
        tasks.finished().await;
        assert_eq!(drops.recv().await, Some(()));
        assert!(ends.try_recv().is_err());
    }
}
