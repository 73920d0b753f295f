//! The outcome of a reconcile: one value from which status, Event, metrics and requeue are
//! published.

use std::time::Duration;

use crate::api::condition::Reason;
use crate::metrics::LetGo;

/// When the object is reconciled again, unless it, or what it refers to, changes earlier, or the
/// feed wakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Only when something changes: the resource itself is wrong, or is synced only once.
    AwaitChange,
    /// After this time.
    After(Duration),
    /// After a pause that doubles with each failure in a row (1 s to 7 min, with jitter).
    BackOff,
    /// After such a pause, although nothing failed: all is as the status says, and something else is
    /// still to be found out.
    AskAgain,
    /// After a constant pause (15 to 25 s): a store limits the rate of requests, and it is not
    /// known for how long.
    Throttled,
}

impl Requeue {
    /// Whether the reconcile failed, and is tried again for that.
    pub fn is_failure(self) -> bool {
        match self {
            Requeue::BackOff | Requeue::Throttled => true,
            Requeue::AwaitChange | Requeue::After(_) | Requeue::AskAgain => false,
        }
    }
}

/// The `Ready` condition of a reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True, or False with the cause in `message`.
    pub ready: bool,
    /// From the closed set that users and dashboards see.
    pub reason: Reason,
    /// What is wrong and what to do, or what exists: names, paths and versions, never a value.
    pub message: String,
}

/// The end of a reconcile.
#[derive(Clone, Debug, PartialEq)]
pub enum Report<S> {
    /// The object belongs to another controller: Waypost does not touch it.
    NotOurs,
    /// The object was deleted or released: there is nothing to report.
    Gone,
    /// The object is about to be released although something is left in a store. This is published
    /// first, so that it outlives the object, and the next reconcile releases the object.
    LetGo {
        /// Why it is released.
        why: LetGo,
        /// What is left in which store: names and paths, never a value.
        left: String,
        /// Everything else.
        rest: Box<Report<S>>,
    },
    /// The object exists, but something that it pushed is left in a store although it should have
    /// been removed.
    Orphaned {
        /// Why it is left.
        why: LetGo,
        /// What is left in which store: names and paths, never a value.
        left: String,
        /// Everything else.
        rest: Box<Report<S>>,
    },
    /// Nothing changed: there is nothing to write.
    Unchanged {
        /// Whether it is ready, as its status already says.
        ready: bool,
        /// When to look again.
        requeue: Requeue,
    },
    /// Nothing was decided, so there is nothing to say.
    Undecided {
        /// When to look again.
        requeue: Requeue,
    },
    /// A verdict and a status.
    Verdict {
        /// The condition, which `status` has too.
        verdict: Verdict,
        /// The status to write if it differs from the one found.
        status: Box<StatusChange<S>>,
        /// When to look again.
        requeue: Requeue,
    },
}

impl<S> Report<S> {
    /// When the object is reconciled again, if it is.
    pub fn requeue(&self) -> Option<Requeue> {
        match self {
            Report::Verdict { requeue, .. } | Report::Unchanged { requeue, .. } | Report::Undecided { requeue } => {
                Some(*requeue)
            }
            Report::LetGo { rest, .. } | Report::Orphaned { rest, .. } => rest.requeue(),
            Report::NotOurs | Report::Gone => None,
        }
    }
}

/// The status before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusChange<S> {
    /// As found, or as our own last write in this reconcile left it.
    pub before: Option<S>,
    /// The desired status.
    pub after: S,
    /// The required resourceVersion, for a status that others must not overwrite (a ledger).
    /// Without it, only the UID must match.
    pub resource_version: Option<String>,
}
