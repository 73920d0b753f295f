//! What a reconcile says about its object: one value from which status, Event, metric and requeue are made.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelValue;

use crate::api::condition::Reason;

/// When the object is looked at again. Changes of the object, of what it refers to, and wake-ups of the feed come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Only when something changes: the resource itself is wrong, or asked to be synced once.
    AwaitChange,
    /// After this time.
    After(Duration),
    /// After a pause that doubles with each failure in a row (1 s to 7 min, with jitter).
    BackOff,
    /// After a pause that stays the same (15 to 25 s): a store limits the rate of requests, and nobody says when it stops.
    Throttled,
}

/// The `Ready` condition that a reconcile arrived at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True, or False with the cause in `message`.
    pub ready: bool,
    /// From the closed set that users and dashboards see.
    pub reason: Reason,
    /// What is wrong and what to do, or what is in place. Names, paths and versions, never a value.
    pub message: String,
}

/// The end of a reconcile.
#[derive(Clone, Debug, PartialEq)]
pub enum Report<S> {
    /// The object belongs to another controller: nothing about it is touched.
    NotOurs,
    /// The object is gone or has been released: nothing left to say.
    Gone,
    /// The object was released although something of it is left behind, which is said where it outlives the object.
    LetGo {
        /// Why nobody waits any longer.
        why: LetGo,
        /// What is left, and where. Names and paths, never a value.
        left: String,
    },
    /// It stays, and something that it pushed stays where it was although it should have gone.
    Orphaned {
        /// Why it stays.
        why: LetGo,
        /// What is left, and where. Names and paths, never a value.
        left: String,
        /// Everything else.
        rest: Box<Report<S>>,
    },
    /// It is as it was found before: nothing to write, nothing new to say.
    Unchanged {
        /// When to look again.
        requeue: Requeue,
    },
    /// What users should see.
    Verdict {
        /// The condition, which `status` holds too.
        verdict: Verdict,
        /// The status to write where it differs from the one found.
        status: Box<StatusChange<S>>,
        /// When to look again.
        requeue: Requeue,
    },
}

impl<S> Report<S> {
    /// When the object is looked at again, where it is.
    pub fn requeue(&self) -> Option<Requeue> {
        match self {
            Report::Verdict { requeue, .. } | Report::Unchanged { requeue } => Some(*requeue),
            Report::Orphaned { rest, .. } => rest.requeue(),
            Report::NotOurs | Report::Gone | Report::LetGo { .. } => None,
        }
    }
}

/// Why something that was pushed is left where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum LetGo {
    /// A person said so.
    Abandoned,
    /// Its store went first.
    StoreGone,
    /// Its namespace is going.
    NamespaceGone,
    /// Nobody can read what is to be done.
    Unreadable,
    /// Nothing shows that it is still ours: its labels were replaced, or somebody else claims it.
    Declined,
    /// Its store was edited to lead elsewhere, and the former place cannot be reached.
    StoreMoved,
}

/// The status as found and as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusChange<S> {
    /// As found, or as our own last write in this reconcile left it.
    pub before: Option<S>,
    /// As it should be.
    pub after: S,
    /// Refuse the write when the object is no longer at this version, for a status that others must not overwrite (a
    /// ledger). Without it only the UID must match.
    pub resource_version: Option<String>,
}
