//! The ports of stores: [`Stores`] gives clients, and a [`StoreClient`] is Vault/OpenBao or an
//! in-memory fake.

pub mod admit;
mod announcements;
pub mod auth;
pub mod connection;
pub mod credentials;
pub mod error;
pub mod fake;
mod fields;
mod former;
mod keys;
pub mod meter;
pub mod name;
pub mod object;
#[cfg(test)]
pub mod opening;
mod pace;
mod pool;
mod readers;
pub mod referred;
pub mod refusal;
pub mod registry;
mod renewal;
pub mod serving;
mod stores;
pub mod vault;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::api::store_location::StoreLocation;
use crate::domain::claim::CustomMetadata;
use crate::domain::description;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState, RemoteData};
pub use announcements::StoreChange;
pub use error::StoreError;
pub use name::StoreName;
pub use object::StoreObject;
pub use refusal::StoreRefusal;
pub use registry::{Foreign, Load, Registry, RegistrySettings};
pub use stores::Stores;

/// The place of a path on its server, however stores spell it: the key of wake-ups and shared
/// version checks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey {
    /// The server: `cluster_id` of its health reply, else its address and the Vault namespace.
    pub server: Arc<str>,
    /// The mount's accessor, else the mount as spelled.
    pub mount: Arc<str>,
    /// The path below the mount.
    pub path: Arc<str>,
}

/// An entry by the names that its server drew for it: the mount's accessor, and the path below.
pub type EntryKey = (Arc<str>, Arc<str>);

impl PathKey {
    /// The entry there. What is removed at one address of a server is gone at every other one, also
    /// if one of them does not tell what the server calls itself: a proxy may hide it, and each
    /// cluster of a replicated server has a name of its own.
    pub fn entry(&self) -> EntryKey {
        (self.mount.clone(), self.path.clone())
    }
}

/// A place as the server at one address shows it. What a server calls itself cannot be verified, and a
/// server that was restored from another's snapshot calls itself like that one. So what is known of
/// versions, removals and consents is known of a site, and another site of the place only hints at
/// it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// The place. It comes first, so that the sites of a place are in a row.
    pub place: PathKey,
    /// The server's address, as in the store.
    pub address: Arc<str>,
}

impl Site {
    /// The place as this client sees it.
    pub fn of(client: &dyn StoreClient, place: PathKey) -> Self {
        Site { place, address: client.location().server.trim_end_matches('/').into() }
    }
}

/// The identity of a login. Only consumers with the same identity share reads (spec S12). A rotated
/// credential keeps it, so that nobody counts as another reader; a read is shared only by those who
/// have the same client, and so the same credential.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub Arc<str>);

/// The result of a check-and-set write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The new version's number.
    pub version: u64,
    /// When that version was created, by the server's clock, as far as the server says so.
    pub created: Option<Timestamp>,
    /// The entry's custom metadata at the time of the write, from the same reply.
    pub custom_metadata: BTreeMap<String, String>,
}

/// What the metadata shows of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whether the entry is known to exist.
    pub exists: bool,
    /// The latest version's number; 0 if there is no version or no entry.
    pub version: u64,
    /// Whether that version still has data.
    pub live: bool,
    /// When that version was created, by the server's clock, as far as the server says so.
    pub created: Option<Timestamp>,
    /// The entry's custom metadata; `None` if this login may not see it.
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// A digest of what consumers may read of the metadata ([`description::digest`]); `None` if this
    /// login may not see it.
    pub metadata: Option<u64>,
}

impl Head {
    /// What a read of the data shows of it: no digest of an entry that exists.
    pub fn of(entry: Entry) -> Self {
        let (version, live, created) = (entry.cas(), entry.data().is_some(), entry.created);
        let metadata = description::digest_of(&entry);
        let (exists, custom_metadata) = match entry.state {
            EntryState::Unseen => (false, None),
            EntryState::Absent => (false, Some(entry.custom_metadata)),
            EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. } => {
                (true, Some(entry.custom_metadata))
            }
        };
        Head { exists, version, live, created, custom_metadata, metadata }
    }
}

/// What the metadata shows of all versions of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The latest version's number; 0 if there is none.
    pub latest: u64,
    /// The versions that are not destroyed, in order. They include deleted ones, which can be
    /// undeleted.
    pub kept: Vec<u64>,
    /// The entry's custom metadata.
    pub custom_metadata: BTreeMap<String, String>,
}

/// The latest version of an entry, from a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Its number; 0 if the entry has no version.
    pub version: u64,
    /// Whether it still has data.
    pub live: bool,
    /// When it was created, by the server's clock, as far as the server says so.
    pub created: Option<Timestamp>,
    /// A digest of the entry's consents ([`crate::domain::consent::digest`]).
    pub consents: u64,
    /// A digest of what consumers may read of the metadata ([`description::digest`]).
    pub metadata: u64,
}

/// The result of a check-and-set change of custom metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The metadata is changed.
    Done,
    /// Somebody changed the metadata meanwhile: nothing was changed.
    Crossed,
    /// This server has no check-and-set for metadata, or this login may not see the metadata's
    /// version: nothing was changed.
    Unavailable,
}

/// The result of listing a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heads {
    /// The latest versions of the entries below the folder, by path below the mount. An entry that
    /// is not listed may still exist: servers omit what a login may not see, so it must be
    /// requested separately.
    Listed(HashMap<String, Latest>),
    /// The reply would exceed the limit.
    TooLarge,
    /// This server does not have the listing, or this login may not use it.
    Unavailable,
}

/// What a list of a folder is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Which entries there are.
    Names,
    /// Their custom metadata too. Where a server does not list it, each entry's is read.
    CustomMetadata,
}

/// The entries below a folder at any depth, by path below the mount, with their custom metadata if
/// that was asked for. A path may be one that no request can name.
pub type Entries = BTreeMap<String, CustomMetadata>;

/// An authenticated client of one store identity. Implementations log in, renew, limit and retry as
/// needed; each method is one logical request. All are safe to repeat. Paths name their own mount,
/// because a store without `path` serves many.
#[async_trait]
pub trait StoreClient: Send + Sync {
    /// The identity of this client.
    fn identity(&self) -> &Identity;

    /// The store's `path`, to which remote keys are relative (see [`RemotePath::parse`]); `None` if
    /// keys name their own mount.
    fn mount(&self) -> Option<&str>;

    /// Where the store leads, as its spec spells it; what the server calls itself and its mount is
    /// left out.
    fn location(&self) -> StoreLocation;

    /// A client with the login of this one for another mount or Vault namespace of the same server;
    /// `None` where that is another server, which must not get this login. Nobody logs in anew for
    /// it, so that no credential reaches the logins of a Vault namespace that the store does not
    /// name.
    fn elsewhere(&self, location: &StoreLocation) -> Option<Arc<dyn StoreClient>>;

    /// The place of this path: equal for two stores that mean the same one.
    async fn path_key(&self, path: &RemotePath) -> Result<PathKey, StoreError>;

    /// Reads data, version and custom metadata in one request (a second one distinguishes an entry
    /// that does not exist from one without versions). `version` selects an earlier one; an entry
    /// without that version is `Deleted` at that number, with the entry's custom metadata. A
    /// missing or wrong mount is an error, never [`Entry::absent`].
    async fn read(&self, path: &RemotePath, version: Option<u64>) -> Result<Entry, StoreError>;

    /// Reads the latest version of an entry that is to be written. For a login that may not see
    /// metadata, an entry without versions looks as if it did not exist. That is fine for reading
    /// values, but a writer would claim it again and again, so here it is
    /// [`StoreError::Forbidden`].
    async fn read_to_write(&self, path: &RemotePath) -> Result<Entry, StoreError>;

    /// Reads the latest version's number and the custom metadata, without data. Falls back to a
    /// data read if metadata is forbidden.
    async fn head(&self, path: &RemotePath) -> Result<Head, StoreError>;

    /// Lists the latest versions of all entries below a folder, at any depth, reading at most
    /// `limit` bytes. [`Heads`] says whether this login may do so. Errors are those of any request,
    /// and say nothing about an entry.
    async fn heads(&self, folder: &RemotePath, limit: usize) -> Result<Heads, StoreError>;

    /// Lists all entries below a folder, at any depth: in one request where the server and the policy
    /// offer that, else folder by folder. [`StoreError::FolderTooLarge`] beyond its bounds. What is
    /// listed is complete: if any request fails, so does the list.
    async fn list(&self, folder: &RemoteFolder, detail: Detail) -> Result<Entries, StoreError>;

    /// Makes sure that the entry exists, without a version. Existing custom metadata is not
    /// changed.
    async fn create_entry(&self, path: &RemotePath) -> Result<(), StoreError>;

    /// Changes single keys of custom metadata: `Some` sets, `None` removes, others stay. If the
    /// entry does not exist: [`StoreError::EntryMissing`].
    async fn patch_metadata(
        &self,
        path: &RemotePath,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError>;

    /// Changes single keys of custom metadata, as [`StoreClient::patch_metadata`] does, if it is
    /// still that of `seen`; if `seen` does not exist, creates the entry with them. This needs
    /// check-and-set for metadata, which the client detects and never assumes: on other servers it
    /// sends nothing that changes metadata.
    async fn exchange_metadata(
        &self,
        path: &RemotePath,
        seen: &Entry,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Exchange, StoreError>;

    /// Writes a whole version if the latest one is still `cas` (0 means none), else
    /// [`StoreError::CasMismatch`].
    async fn write(&self, path: &RemotePath, data: &RemoteData, cas: u64) -> Result<Written, StoreError>;

    /// Soft-deletes exactly these versions.
    async fn delete_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError>;

    /// Destroys the data of exactly these versions.
    async fn destroy_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError>;

    /// Reads only the metadata; `None` if the entry does not exist. [`StoreError::Forbidden`] if
    /// the login may not see it.
    async fn metadata(&self, path: &RemotePath) -> Result<Option<Metadata>, StoreError>;

    /// Reads only the metadata: the entry with its settings and without properties, as
    /// [`crate::domain::description`] needs it. [`StoreError::Forbidden`] if the login may not see it.
    async fn describe(&self, path: &RemotePath) -> Result<Entry, StoreError>;

    /// Removes the whole entry, with every version and its metadata, whatever its state: no server
    /// accepts a precondition.
    async fn purge(&self, path: &RemotePath) -> Result<(), StoreError>;
}
