//! Check-and-set on labels: OpenBao counts the changes of an entry's metadata and takes the count as a condition. Vault knows
//! neither, and ignores a condition that it does not know. So none is sent to a mount that has not shown its count.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::StatusCode;

use super::mounts::Certainty;
use super::{VaultClient, kv};
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState};
use crate::store::{Exchange, StoreClient, StoreError};

/// The mounts, by accessor, of which it is known.
#[derive(Default)]
pub struct Counting(Mutex<HashMap<Arc<str>, Counted>>);

/// Whether a mount tells how often metadata changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// A reply had the count.
    Shown,
    /// A reply lacked it, or this login may not see it.
    Hidden,
}

impl Counting {
    fn of(&self, accessor: &Arc<str>) -> Option<Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(accessor).copied()
    }

    fn note(&self, accessor: &Arc<str>, counted: Counted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(accessor.clone(), counted);
    }
}

impl VaultClient {
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
                let labels = changes.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)));
                let request = kv::create_labelled(path, &labels.collect());
                return crossed(self.demand(request, "create", path).await.map(drop));
            }
            // An entry shows whether changes are counted. Where none is, one without labels is made, which no server takes
            // as a reason to change another's.
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
            // It was removed meanwhile.
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
        let request = kv::exchange_labels(path, changes, count);
        crossed(self.demand(request, "patch the metadata of", path).await.map(drop))
    }
}

/// Somebody changed, or removed, the entry in between.
fn crossed(outcome: Result<(), StoreError>) -> Result<Exchange, StoreError> {
    match outcome {
        Ok(()) => Ok(Exchange::Done),
        Err(StoreError::CasMismatch { .. } | StoreError::Rejected { status: 404, .. }) => Ok(Exchange::Crossed),
        Err(error) => Err(error),
    }
}
