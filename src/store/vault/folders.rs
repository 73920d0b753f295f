//! All entries below a folder: in one request on OpenBao, folder by folder elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use reqwest::Method;
use tokio::time::Instant;

use super::answers::Certainty;
use super::listing::{self, Scanned};
use super::reply::{self, Data, Listing, Metadata, Names};
use super::transport::{Outgoing, Reply, largest};
use super::{VaultClient, kv};
use crate::domain::claim::CustomMetadata;
use crate::domain::folder::RemoteFolder;
use crate::store::meter::Call;
use crate::store::{Detail, Entries, StoreError};

/// The most folders that one list asks for.
const MOST_FOLDERS: usize = 500;
/// The most entries that one list has.
const MOST_ENTRIES: usize = 10_000;
/// The most entries whose custom metadata is read one by one.
const MOST_READ: usize = 1000;
/// How many requests of one list are sent at a time.
const CONCURRENT: usize = 8;
/// The largest reply with all entries and their metadata, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;
/// How long nobody asks again for all entries at once where that is not available.
const UNAVAILABLE: Duration = Duration::from_secs(3600);

/// Until when this login asks for no list of all entries at once, by the folder: a policy may allow it
/// for some.
#[derive(Default)]
pub(super) struct NoScan(Mutex<HashMap<String, Instant>>);

impl NoScan {
    fn is_over(&self, folder: &str) -> bool {
        self.0.lock().get(folder).is_none_or(|until| *until <= Instant::now())
    }

    fn begin(&self, folder: String) {
        let mut refused = self.0.lock();
        refused.retain(|_, until| *until > Instant::now());
        refused.insert(folder, Instant::now() + UNAVAILABLE);
    }
}

impl VaultClient {
    pub(super) async fn list_below(&self, folder: &RemoteFolder, detail: Detail) -> Result<Entries, StoreError> {
        self.confirm(&folder.mount, Certainty::Recent).await?;
        let url = folder.scan_url();
        if self.no_scan.is_over(&url) {
            let request = listing::request(url.clone(), LARGEST);
            match self.scan(request, &folder.mount).await? {
                Scanned::Found(reply) => return scanned(&reply, folder, detail),
                Scanned::Nothing => return Ok(Entries::new()),
                Scanned::TooLarge => {}
                Scanned::Unavailable => self.no_scan.begin(url),
            }
        }
        let names = self.walk(folder).await?;
        match detail {
            Detail::Names => Ok(names.into_iter().map(|name| (name, CustomMetadata::new())).collect()),
            Detail::CustomMetadata => self.labelled(folder, names).await,
        }
    }

    /// The paths of all entries, one level of folders after the other.
    async fn walk(&self, folder: &RemoteFolder) -> Result<Vec<String>, StoreError> {
        let (mut entries, mut level, mut asked) = (Vec::new(), vec![folder.clone()], 0);
        while !level.is_empty() {
            asked += level.len();
            if asked > MOST_FOLDERS {
                return Err(too_large(folder, MOST_FOLDERS, "folders"));
            }
            let lists = level.into_iter().map(|folder| self.names_in(folder));
            let lists: Vec<_> = stream::iter(lists).buffered(CONCURRENT).try_collect().await?;
            level = Vec::new();
            for (folder, names) in lists {
                for name in names {
                    match name.strip_suffix('/') {
                        Some(name) => level.push(folder.folder(name).map_err(|_no_path| unnamed(&folder))?),
                        None => entries.push(folder.below(&name)),
                    }
                }
            }
            if entries.len() > MOST_ENTRIES {
                return Err(too_large(folder, MOST_ENTRIES, "entries"));
            }
        }
        Ok(entries)
    }

    /// What is directly in a folder; the names of folders end with a slash.
    async fn names_in(&self, folder: RemoteFolder) -> Result<(RemoteFolder, Vec<String>), StoreError> {
        let url = folder.list_url();
        let reply = self.authed(names_request(url.clone())).await?;
        let names = match reply.status {
            status if status.is_success() => names(&reply, url)?,
            _ => match self.judge(&reply, "list", &url, &folder.mount, 0) {
                // Nothing is in it.
                StoreError::Rejected { status: 404, .. } => Vec::new(),
                error => return Err(error),
            },
        };
        Ok((folder, names))
    }

    /// The custom metadata of each of these entries, read one by one.
    async fn labelled(&self, folder: &RemoteFolder, names: Vec<String>) -> Result<Entries, StoreError> {
        if names.len() > MOST_READ {
            return Err(too_large(folder, MOST_READ, "entries whose tags this server does not list"));
        }
        let reads = names.into_iter().map(|name| async move {
            let below = name.strip_prefix(&folder.below("")).unwrap_or(&name);
            let Ok(entry) = folder.entry(below) else { return Ok(None) };
            let url = entry.metadata_url();
            let reply = self.authed(kv::read_metadata(&entry)?).await?;
            match reply.status {
                status if status.is_success() => Ok(Some((name, kv::all_versions(&reply, &entry)?.custom_metadata))),
                _ => match self.judge(&reply, "read the metadata of", &url, &entry.mount, 0) {
                    // It was removed meanwhile.
                    StoreError::Rejected { status: 404, .. } => Ok(None),
                    error => Err(error),
                },
            }
        });
        let reads: Vec<_> = reads.collect();
        let read: Vec<Option<_>> = stream::iter(reads).buffered(CONCURRENT).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }
}

fn names_request(url: String) -> Outgoing {
    Outgoing {
        call: Call::ListSecrets,
        method: Method::GET,
        path: url,
        // GET is equivalent to the method LIST, which a proxy may not know.
        query: Some("list=true".to_owned()),
        body: None,
        token: None,
        namespace: None,
        largest: largest(Call::ListSecrets),
    }
}

fn names(reply: &Reply, url: String) -> Result<Vec<String>, StoreError> {
    let Data { data: Names { keys } } = reply::parse(&reply.body).ok_or(StoreError::BadReply {
        operation: "list",
        path: url,
        what: "it has no `data.keys`",
    })?;
    Ok(keys)
}

fn scanned(reply: &Reply, folder: &RemoteFolder, detail: Detail) -> Result<Entries, StoreError> {
    let Data { data: Listing { key_info } } = listing::parsed(reply, folder.scan_url())?;
    if key_info.len() > MOST_ENTRIES {
        return Err(too_large(folder, MOST_ENTRIES, "entries"));
    }
    let metadata = |entry: Metadata| match detail {
        Detail::Names => CustomMetadata::new(),
        Detail::CustomMetadata => entry.custom_metadata.unwrap_or_default(),
    };
    Ok(key_info.into_iter().map(|(name, entry)| (folder.below(&name), metadata(entry))).collect())
}

fn too_large(folder: &RemoteFolder, most: usize, what: &'static str) -> StoreError {
    StoreError::FolderTooLarge { folder: folder.to_string(), most, what }
}

fn unnamed(folder: &RemoteFolder) -> StoreError {
    StoreError::BadReply {
        operation: "list",
        path: folder.list_url(),
        what: "it has a folder whose name no request can have",
    }
}
