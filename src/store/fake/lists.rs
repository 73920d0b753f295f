//! What the store in memory lists.

use std::collections::{BTreeMap, HashMap};

use super::Content;
use super::stored::Stored;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::RemotePath;
use crate::store::{Detail, Entries, Heads};

/// The size of an entry in a real server's listing, in bytes: one version, no custom metadata.
const LISTED_BYTES: usize = 400;

/// Whether listing is available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// As on OpenBao, for a login with the right.
    #[default]
    Offered,
    /// As on OpenBao without the right, and on Vault.
    Refused,
}

impl Content {
    pub(super) fn heads(&self, folder: &RemotePath, limit: usize) -> Heads {
        match self.listing {
            Listing::Offered => {}
            Listing::Refused => return Heads::Unavailable,
        }
        let prefix = format!("{}/", folder.path);
        let below = |path: &RemotePath| path.mount == folder.mount && path.path.as_str().starts_with(&prefix);
        let seen = self.entries.iter().filter(|(path, _)| below(path) && !self.hidden.contains(*path));
        let entries: HashMap<_, _> = seen.map(|(path, stored)| (path.path.to_string(), stored.head())).collect();
        match entries.len() * LISTED_BYTES <= limit {
            true => Heads::Listed(entries),
            false => Heads::TooLarge,
        }
    }

    pub(super) fn list(&self, folder: &RemoteFolder, detail: Detail) -> Entries {
        let below = self.entries.iter().filter(|(path, _)| folder.has(path) && !self.hidden.contains(*path));
        let metadata = |stored: &Stored| match detail {
            Detail::Names => BTreeMap::new(),
            Detail::CustomMetadata => stored.custom_metadata.clone(),
        };
        below.map(|(path, stored)| (path.path.to_string(), metadata(stored))).collect()
    }
}
