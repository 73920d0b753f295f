//! The store as the rest of the program sees it: a port with two implementations, Vault/OpenBao and an in-memory fake.

pub mod admit;
mod announcements;
pub mod auth;
pub mod connection;
mod credentials;
pub mod error;
pub mod fake;
mod fields;
mod former;
mod keys;
pub mod name;
pub mod object;
pub mod observer;
mod pace;
mod pool;
mod readers;
pub mod referred;
pub mod refusal;
pub mod registry;
mod renewal;
pub mod serving;
pub mod vault;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;

use crate::api::store_location::StoreLocation;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, RemoteData};
pub use error::StoreError;
pub use name::StoreName;
pub use object::StoreObject;
pub use refusal::StoreRefusal;
pub use registry::{Foreign, Load, Registry, RegistrySettings};

/// One place in one server, however stores spell it: what wake-ups and shared version checks are keyed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey {
    /// The server (`cluster_id` of its health reply, else its address) and the Vault namespace where that matters.
    pub server: Arc<str>,
    /// The mount's accessor, else the mount as spelled.
    pub mount: Arc<str>,
    /// The path below the mount.
    pub path: Arc<str>,
}

/// Who reads: reads are shared only between consumers whose own login would see the same (spec S12).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub Arc<str>);

/// What a check-and-set write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The new version's number.
    pub version: u64,
    /// The entry's labels at the moment of the write, from the same reply.
    pub custom_metadata: BTreeMap<String, String>,
}

/// What metadata alone says about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whether there is an entry at all.
    pub exists: bool,
    /// The latest version's number; 0 when there is none or no entry.
    pub version: u64,
    /// Whether that version still has data.
    pub live: bool,
    /// The entry's own labels.
    pub custom_metadata: BTreeMap<String, String>,
}

/// What metadata tells of all versions of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The latest version's number; 0 when there is none.
    pub latest: u64,
    /// The versions that are not destroyed, in their order: also those that are deleted, which can be undeleted.
    pub kept: Vec<u64>,
    /// The entry's own labels.
    pub custom_metadata: BTreeMap<String, String>,
}

/// The latest version of an entry, as a listing tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Its number; 0 when the entry has no version.
    pub version: u64,
    /// Whether it still has data.
    pub live: bool,
    /// A digest of who may read what ([`crate::domain::consent::digest`]).
    pub consents: u64,
}

/// How an exchange of labels ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The labels are changed, and nobody came between.
    Done,
    /// They are not what they were any more: nothing was changed.
    Crossed,
    /// This server does not count changes of labels, or this login may not see the count: nothing was changed.
    Unavailable,
}

/// What one listing of a folder gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heads {
    /// The latest versions of the entries below the folder, by path below the mount. An entry that is not among them need
    /// not be gone: servers leave out what a login may not see, so it has to be asked for by itself.
    Listed(HashMap<String, Latest>),
    /// The reply would have more bytes than were allowed.
    TooLarge,
    /// This server has no such listing, or this login no right to it.
    Unavailable,
}

/// An authenticated client of one store identity. Implementations log in, renew, limit and retry as needed; each method is
/// one logical request. All are safe to repeat. Paths name their own mount, because a store without `path` serves many.
#[async_trait]
pub trait StoreClient: Send + Sync {
    /// Who reads through this client.
    fn identity(&self) -> &Identity;

    /// The store's `path`, which remote keys are spelled relative to (see [`RemotePath::parse`]); none when keys name their
    /// own mount.
    fn mount(&self) -> Option<&str>;

    /// Where the store leads, as its spec spells it; what the server calls itself and its mount is left out.
    fn location(&self) -> StoreLocation;

    /// A client with the login of this one for another mount or Vault namespace of the same server; `None` where that is another
    /// server, which must not get this login. Nobody logs in anew for it, so that no credential reaches the logins of a Vault
    /// namespace that the store does not name.
    fn elsewhere(&self, location: &StoreLocation) -> Option<Arc<dyn StoreClient>>;

    /// Where this path is, so that two stores that mean one place agree.
    async fn path_key(&self, path: &RemotePath) -> Result<PathKey, StoreError>;

    /// Reads data, version and labels in one request (a second one tells an absent entry from one without versions).
    /// `version` asks for an old one (an entry without that version is `Deleted` at that number; its labels are the entry's). A
    /// missing or wrong mount is an error, never [`Entry::absent`].
    async fn read(&self, path: &RemotePath, version: Option<u64>) -> Result<Entry, StoreError>;

    /// Reads the latest version of an entry that is to be written. A login that may not see labels takes an entry without versions for
    /// none, which is right for whoever reads values; a writer would claim it again and again, so here it is
    /// [`StoreError::Forbidden`].
    async fn read_to_write(&self, path: &RemotePath) -> Result<Entry, StoreError>;

    /// Reads the latest version's number and the labels, no data. Falls back on a data read where metadata is forbidden.
    async fn head(&self, path: &RemotePath) -> Result<Head, StoreError>;

    /// Lists the latest versions of all entries below a folder, however deep, reading no more than `limit` bytes. Whether
    /// the server lets this login do so is in [`Heads`]; errors are those of any request, and say nothing about an entry.
    async fn heads(&self, folder: &RemotePath, limit: usize) -> Result<Heads, StoreError>;

    /// Makes sure the entry exists, without a version, leaving labels that are there as they are.
    async fn create_entry(&self, path: &RemotePath) -> Result<(), StoreError>;

    /// Changes single labels: `Some` sets, `None` removes, others stay. Without an entry: [`StoreError::EntryMissing`].
    async fn patch_metadata(
        &self,
        path: &RemotePath,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError>;

    /// Changes single labels, as [`StoreClient::patch_metadata`] does, if they are still those of `seen`; where that is absent,
    /// creates the entry with them. Only a server that counts changes of labels can do so, which is found out and never
    /// assumed: elsewhere nothing is sent that changes a label.
    async fn exchange_labels(
        &self,
        path: &RemotePath,
        seen: &Entry,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Exchange, StoreError>;

    /// Writes a whole version if the latest one is still `cas` (0: there is none), else [`StoreError::CasMismatch`].
    async fn write(&self, path: &RemotePath, data: &RemoteData, cas: u64) -> Result<Written, StoreError>;

    /// Soft-deletes exactly these versions.
    async fn delete_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError>;

    /// Destroys the data of exactly these versions.
    async fn destroy_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError>;

    /// Reads the metadata alone; `None` where there is no entry. [`StoreError::Forbidden`] where the login may not see it.
    async fn metadata(&self, path: &RemotePath) -> Result<Option<Metadata>, StoreError>;

    /// Removes the whole entry, with every version and label, whatever is there at that moment: no server takes a condition.
    async fn purge(&self, path: &RemotePath) -> Result<(), StoreError>;
}
