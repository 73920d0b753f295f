//! What a store is asked for.

use crate::domain::folder::RemoteFolder;
use crate::domain::path::{Mount, RemotePath};
use crate::store::Identity;

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub operation: Operation,
    /// `mount/path`.
    pub path: String,
    /// The identity that sent it.
    pub identity: Identity,
}

/// What a request is about.
pub(super) trait Asked: ToString + Sync {
    fn mount(&self) -> &Mount;
}

impl Asked for RemotePath {
    fn mount(&self) -> &Mount {
        &self.mount
    }
}

impl Asked for RemoteFolder {
    fn mount(&self) -> &Mount {
        &self.mount
    }
}

/// Which method of `StoreClient` was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `path_key`; on a real server it needs no request once the mount is known.
    PathKey,
    /// `read`.
    Read,
    /// `head`.
    Head,
    /// `heads`; its request's path is the folder.
    Heads,
    /// `list`; its request's path is the folder.
    List,
    /// `create_entry`.
    CreateEntry,
    /// `patch_metadata`.
    PatchMetadata,
    /// `exchange_metadata`, if available.
    ExchangeMetadata,
    /// `write`.
    Write,
    /// `delete_versions`.
    DeleteVersions,
    /// `destroy_versions`.
    DestroyVersions,
    /// `metadata`.
    Metadata,
    /// `describe`.
    Describe,
    /// `purge`.
    Purge,
}

impl Operation {
    /// Whether the request can change the store.
    pub fn mutates(self) -> bool {
        match self {
            Operation::PathKey
            | Operation::Read
            | Operation::Head
            | Operation::Heads
            | Operation::List
            | Operation::Metadata
            | Operation::Describe => false,
            Operation::CreateEntry
            | Operation::PatchMetadata
            | Operation::ExchangeMetadata
            | Operation::Write
            | Operation::DeleteVersions
            | Operation::DestroyVersions
            | Operation::Purge => true,
        }
    }
}
