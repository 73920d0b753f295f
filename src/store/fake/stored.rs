//! One entry of the store in memory, with all its versions.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::consent;
use crate::domain::remote::RemoteData;
use crate::store::{Latest, Metadata};

/// One entry.
#[derive(Default)]
pub(super) struct Stored {
    /// The data of version `n` is at `n - 1`; `None` once deleted or destroyed.
    pub(super) versions: Vec<Option<RemoteData>>,
    /// The destroyed versions.
    pub(super) destroyed: BTreeSet<u64>,
    pub(super) custom_metadata: BTreeMap<String, String>,
}

impl Stored {
    pub(super) fn latest(&self) -> u64 {
        self.versions.len() as u64
    }

    pub(super) fn head(&self) -> Latest {
        let version = self.latest();
        Latest { version, live: self.at(version).is_some(), consents: consent::digest(&self.custom_metadata) }
    }

    pub(super) fn metadata(&self) -> Metadata {
        let kept = (1..=self.latest()).filter(|version| !self.destroyed.contains(version)).collect();
        Metadata { latest: self.latest(), kept, custom_metadata: self.custom_metadata.clone() }
    }

    pub(super) fn at(&self, version: u64) -> Option<&RemoteData> {
        self.versions.get(index(version)?)?.as_ref()
    }

    pub(super) fn change_metadata(&mut self, changes: &BTreeMap<String, Option<String>>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.custom_metadata.insert(key.clone(), value.clone()),
                None => self.custom_metadata.remove(key),
            };
        }
    }

    pub(super) fn push(&mut self, data: RemoteData) -> u64 {
        self.versions.push(Some(data));
        self.latest()
    }
}

pub(super) fn index(version: u64) -> Option<usize> {
    usize::try_from(version).ok()?.checked_sub(1)
}

pub(super) fn duplicate(data: &RemoteData) -> RemoteData {
    data.iter().map(|(property, value)| (property.clone(), value.duplicate())).collect()
}
