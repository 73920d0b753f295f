//! Works as long as the Lease is held.

use std::time::Duration;

use super::tasks::Halt;

/// How long the work may take to end after the Lease was lost. By then nothing writes any more;
/// sessions with stores are revoked.
const FAREWELL: Duration = Duration::from_secs(10);

/// Whether the Lease was still held at the end.
#[derive(Debug, PartialEq, Eq)]
pub enum Term<T> {
    /// It was: the work ended like this.
    Over(T),
    /// Another replica may lead now.
    Lost,
}

/// Runs `working` until it ends. If `lost` ends before, `working` is halted at once and waited for:
/// a process that is about to exit must not write beside the next leader.
pub async fn until_lost<T>(working: impl Future<Output = T>, lost: impl Future<Output = ()>, halt: &Halt) -> Term<T> {
    tokio::pin!(working);
    tokio::select! {
        ended = &mut working => return Term::Over(ended),
        () = lost => {}
    }
    tracing::warn!("the lease was lost: all running work is stopped");
    halt.lose();
    // Work that is still running then ends with the process.
    let _ended = tokio::time::timeout(FAREWELL, working).await.is_ok();
    Term::Lost
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;
    use tokio::time::Instant;

    use super::super::tasks::Tasks;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_ends_what_runs_and_then_the_sessions_before_the_process() {
        let halt = Halt::default();
        let (tasks, _ends) = Tasks::new(halt.clone());
        tasks.spawn("a reconcile that takes long", pending());
        let working = async {
            halt.stop.cancelled().await;
            tasks.end_within(FAREWELL).await;
            "revoked"
        };
        tokio::pin!(working);
        let began = Instant::now();
        assert_eq!(until_lost(working.as_mut(), ready(()), &halt).await, Term::Lost);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(tasks.end_within(FAREWELL).now_or_never(), Some(true), "a reconcile goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_delays_the_exit_by_seconds_only() {
        let (halt, began) = (Halt::default(), Instant::now());
        assert_eq!(until_lost(pending::<()>(), ready(()), &halt).await, Term::Lost);
        assert_eq!(began.elapsed(), FAREWELL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_lost_while_the_last_reconciles_end_stops_them() {
        let (halt, began) = (Halt::default(), Instant::now());
        let (tasks, _ends) = Tasks::new(halt.clone());
        tasks.spawn("a reconcile that takes long", pending());
        halt.stop.cancel();
        let lost_at = Duration::from_secs(5);
        let working = tasks.end_within(2 * lost_at);
        assert_eq!(until_lost(working, tokio::time::sleep(lost_at), &halt).await, Term::Lost);
        assert_eq!(began.elapsed(), lost_at);
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_lease_is_held_the_work_ends_by_itself() {
        let halt = Halt::default();
        let finishes = tokio::time::sleep(Duration::from_secs(60));
        assert_eq!(until_lost(finishes, pending(), &halt).await, Term::Over(()));
        assert!(!halt.stop.is_cancelled());
    }
}
