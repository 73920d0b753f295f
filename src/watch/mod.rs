//! Every watch of the Kubernetes API: one way to open it, and one account of what it shows to exist.
//!
//! [`open`] gives the events of a kind and begins anew with a list where a watch cannot be started again. [`Known`] turns events
//! and lists into what matters to everybody else: which objects are gone. It is told by names and UIDs alone, so that other
//! sources of events, such as one watch for each namespace, can feed the same account.

pub mod known;
pub mod restart;

pub use known::{Known, Listing, Sighting};
pub use restart::{WATCH_SECONDS, config, open};

use kube::runtime::watcher;

/// How a watch failed, without the texts that may quote an object.
pub fn failure(error: &watcher::Error) -> &'static str {
    match error {
        watcher::Error::InitialListFailed(_) => "the list failed",
        watcher::Error::WatchStartFailed(_) => "the watch could not be started",
        watcher::Error::WatchError(_) => "the watch was ended by the API server",
        watcher::Error::WatchFailed(_) => "the connection broke off",
        watcher::Error::NoResourceVersion => "the list has no resourceVersion",
    }
}
