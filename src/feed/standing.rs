//! How consumers stand, for those who publish what they read.

use crate::domain::object_name::Name;

/// How a consumer stands, as its last reconcile left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its target is a render of what it has read.
    InPlace,
    /// Its target is as it was before.
    Failing(Trouble),
}

/// What keeps a consumer from what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason of its Ready condition. Its message names what is the consumer's own, and is for its namespace alone.
    pub reason: &'static str,
}

/// A consumer that follows a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The ExternalSecret.
    pub name: Name,
    /// The version that its target was rendered from; `None` where it has none yet.
    pub version: Option<u64>,
    /// What is in its way.
    pub trouble: Option<Trouble>,
}

/// A path of a publisher as its status spells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spelled {
    /// The store, as `<kind>/<name>`.
    pub store: String,
    /// Mount and path.
    pub path: String,
}
