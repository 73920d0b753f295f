//! The state of consumers, for the producers of their paths.

use crate::domain::object_name::Name;

/// The state of a consumer after its last reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// Its target is a render of what it has read.
    Synced,
    /// Its target is kept as it was rendered, whatever was read since for the consents.
    Kept,
    /// Its target was not updated.
    Failing(Trouble),
}

/// Why a consumer's target was not updated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason of its Ready condition. The message is not included, because it names the
    /// consumer's own paths and is only for its namespace.
    pub reason: &'static str,
}

/// A consumer that follows a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The ExternalSecret.
    pub name: Name,
    /// The version that its target was rendered from; `None` if there is none yet.
    pub version: Option<u64>,
    /// Why it lags, if it does.
    pub trouble: Option<Trouble>,
}

/// A path of a producer, as in its status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spelled {
    /// The store, as `<kind>/<name>`.
    pub store: String,
    /// Mount and path.
    pub path: String,
}
