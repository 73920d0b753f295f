//! Every watch of the Kubernetes API: one way to open it, and one account of which objects exist.
//!
//! [`open`] returns the events of a kind, and lists again where a watch cannot be restarted.
//! [`Known`] derives from events and lists which objects are gone. It uses only names and UIDs, so
//! that other sources of events, such as one watch per namespace, can use it too. Each source needs
//! a `Known` of its own: a list ends by saying that what it lacks is gone.

pub mod known;
pub mod restart;

pub use known::{Known, Listing, Sighting};
pub use restart::{WATCH_SECONDS, config, open};

use kube::runtime::watcher;

/// How a watch failed, without texts that may quote an object.
pub fn failure(error: &watcher::Error) -> &'static str {
    match error {
        watcher::Error::InitialListFailed(_) => "the list failed",
        watcher::Error::WatchStartFailed(_) => "the watch could not be started",
        watcher::Error::WatchError(_) => "the watch was ended by the API server",
        watcher::Error::WatchFailed(_) => "the connection broke off",
        watcher::Error::NoResourceVersion => "the list has no resourceVersion",
    }
}
