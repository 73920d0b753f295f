//! Check-and-set for custom metadata. OpenBao has a version of an entry's metadata and accepts it
//! as a condition. Vault has neither, and ignores unknown conditions. So a condition is sent only
//! to a mount that has shown a metadata version.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::StatusCode;

use super::answers::Certainty;
use super::{VaultClient, kv};
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState};
use crate::store::{Exchange, StoreClient, StoreError};

/// How often a change of custom metadata is tried while others change theirs.
const MOST_TRIES: usize = 8;
/// The name of a change of custom metadata in errors.
pub const PATCH: &str = "patch the metadata of";

/// Mounts, by accessor, of which the support for check-and-set is known.
#[derive(Default)]
pub struct Counting {
    counted: Mutex<HashMap<Arc<str>, Counted>>,
    /// Those with an entry that requires check-and-set.
    required: Mutex<HashSet<Arc<str>>>,
}

/// Whether a mount shows a version of metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// A reply had the version.
    Shown,
    /// A reply lacked it, or this login may not see it.
    Hidden,
}

impl Counting {
    fn of(&self, accessor: &Arc<str>) -> Option<Counted> {
        self.counted.lock().get(accessor).copied()
    }

    fn note(&self, accessor: &Arc<str>, counted: Counted) {
        self.counted.lock().insert(accessor.clone(), counted);
    }
}

impl Counting {
    fn is_required(&self, accessor: &Arc<str>) -> bool {
        self.required.lock().contains(accessor)
    }

    fn note_required(&self, accessor: Arc<str>) {
        self.required.lock().insert(accessor);
    }
}

impl VaultClient {
    /// Changes single keys of custom metadata. Check-and-set is used only where the mount or the
    /// entry requires it (`metadata_cas_required`), because it costs a read first.
    pub(super) async fn change_metadata(
        &self,
        path: &RemotePath,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError> {
        let accessor = self.confirm(&path.mount, Certainty::Known).await?.accessor;
        if !self.counting.is_required(&accessor) {
            match self.demand(kv::patch_metadata(path, changes), PATCH, path).await.map(drop) {
                Err(StoreError::MetadataNeedsCas { .. }) => self.counting.note_required(accessor),
                outcome => return self.missing(path, outcome).await,
            }
        }
        for _ in 0..MOST_TRIES {
            let count = self.count(path).await?;
            match self.demand(kv::exchange_metadata(path, changes, count), PATCH, path).await.map(drop) {
                // Somebody changed other keys, which stay as they are.
                Err(StoreError::CasMismatch { .. }) => {}
                outcome => return self.missing(path, outcome).await,
            }
        }
        Err(StoreError::CasMismatch { path: path.to_string() })
    }

    /// The version of the entry's metadata.
    async fn count(&self, path: &RemotePath) -> Result<u64, StoreError> {
        let url = path.metadata_url();
        let reply = self.authed(kv::read_metadata(path)?).await?;
        let count = match reply.status {
            status if status.is_success() => kv::metadata(&reply, path)?.current_metadata_version,
            StatusCode::FORBIDDEN => None,
            _ => {
                let error = self.judge(&reply, "read", &url, &path.mount, 0);
                return self.missing(path, Err(error)).await;
            }
        };
        count.ok_or(StoreError::MetadataNeedsCas { path: url })
    }

    /// Distinguishes a missing entry from a missing mount.
    async fn missing<T>(&self, path: &RemotePath, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        match outcome {
            Err(StoreError::Rejected { status: 404, .. }) => {
                self.confirm(&path.mount, Certainty::Fresh).await?;
                Err(StoreError::EntryMissing { path: path.to_string() })
            }
            other => other,
        }
    }

    pub(super) async fn exchange(
        &self,
        path: &RemotePath,
        seen: &Entry,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Exchange, StoreError> {
        let accessor = self.confirm(&path.mount, Certainty::Known).await?.accessor;
        let absent = matches!(seen.state, EntryState::Absent);
        match (self.counting.of(&accessor), absent) {
            (Some(Counted::Hidden), _) => return Ok(Exchange::Unavailable),
            (Some(Counted::Shown), true) => {
                let metadata = changes.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)));
                let request = kv::create_with_metadata(path, &metadata.collect());
                return crossed(self.demand(request, "create", path).await.map(drop));
            }
            // An entry shows whether the mount has metadata versions. If it does not exist, one
            // without custom metadata is created, which changes nothing on any server.
            (None, true) => self.create_entry(path).await?,
            (Some(Counted::Shown) | None, _) => {}
        }
        let reply = self.authed(kv::read_metadata(path)?).await?;
        let metadata = match reply.status {
            status if status.is_success() => kv::metadata(&reply, path)?,
            StatusCode::FORBIDDEN => {
                self.counting.note(&accessor, Counted::Hidden);
                return Ok(Exchange::Unavailable);
            }
            // Somebody removed the entry meanwhile.
            StatusCode::NOT_FOUND => return Ok(Exchange::Crossed),
            _ => return Err(self.judge(&reply, "read", &path.metadata_url(), &path.mount, 0)),
        };
        let Some(count) = metadata.current_metadata_version else {
            self.counting.note(&accessor, Counted::Hidden);
            return Ok(Exchange::Unavailable);
        };
        self.counting.note(&accessor, Counted::Shown);
        if metadata.custom_metadata.unwrap_or_default() != seen.custom_metadata {
            return Ok(Exchange::Crossed);
        }
        let request = kv::exchange_metadata(path, changes, count);
        crossed(self.demand(request, PATCH, path).await.map(drop))
    }
}

/// Maps a change or removal by somebody else to [`Exchange::Crossed`].
fn crossed(outcome: Result<(), StoreError>) -> Result<Exchange, StoreError> {
    match outcome {
        Ok(()) => Ok(Exchange::Done),
        Err(StoreError::CasMismatch { .. } | StoreError::Rejected { status: 404, .. }) => Ok(Exchange::Crossed),
        Err(error) => Err(error),
    }
}
