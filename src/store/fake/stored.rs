//! One entry of the store in memory, with all its versions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use crate::domain::consent;
use crate::domain::description::{self, Settings};
use crate::domain::remote::RemoteData;
use crate::store::{Latest, Metadata};

/// The server's clock, which moves whenever it is read.
static CLOCK: AtomicI64 = AtomicI64::new(1);

/// One entry.
#[derive(Default)]
pub(super) struct Stored {
    /// When each version was created.
    created_versions: Vec<Timestamp>,
    /// The data of version `n` is at `n - 1`; `None` once deleted or destroyed.
    pub(super) versions: Vec<Option<RemoteData>>,
    /// The destroyed versions.
    pub(super) destroyed: BTreeSet<u64>,
    pub(super) custom_metadata: BTreeMap<String, String>,
    pub(super) delete_version_after: Option<String>,
}

impl Stored {
    pub(super) fn latest(&self) -> u64 {
        self.versions.len() as u64
    }

    pub(super) fn head(&self) -> Latest {
        let version = self.latest();
        let (live, created) = (self.at(version).is_some(), self.created_at(version));
        let consents = consent::digest(&self.custom_metadata);
        let Settings { created_time, delete_version_after } = self.settings();
        let metadata = description::digest(&self.custom_metadata, &created_time, &delete_version_after);
        Latest { version, live, created, consents, metadata }
    }

    pub(super) fn metadata(&self) -> Metadata {
        let kept = (1..=self.latest()).filter(|version| !self.destroyed.contains(version)).collect();
        let custom_metadata = self.custom_metadata.clone();
        Metadata { latest: self.latest(), kept, custom_metadata }
    }

    pub(super) fn settings(&self) -> Settings {
        let created_time = self.created_at(1).unwrap_or_default().to_string();
        let delete_version_after = self.delete_version_after.clone().unwrap_or_else(|| "0s".to_owned());
        Settings { created_time, delete_version_after }
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
        self.created_versions.push(now());
        self.latest()
    }

    pub(super) fn created_at(&self, version: u64) -> Option<Timestamp> {
        self.created_versions.get(index(version)?).copied()
    }

    /// Forgets all later versions.
    pub(super) fn cut(&mut self, version: u64) {
        let kept = index(version).map_or(0, |last| last + 1);
        self.versions.truncate(kept);
        self.created_versions.truncate(kept);
    }
}

fn now() -> Timestamp {
    Timestamp::constant(CLOCK.fetch_add(1, Ordering::Relaxed), 0)
}

pub(super) fn index(version: u64) -> Option<usize> {
    usize::try_from(version).ok()?.checked_sub(1)
}

pub(super) fn duplicate(data: &RemoteData) -> RemoteData {
    data.iter().map(|(property, value)| (property.clone(), value.duplicate())).collect()
}
