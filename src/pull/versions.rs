//! The versions of the paths that a target is made of.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::absence;
use super::desired::Desired;
use super::found;
use super::plan::{Observed, Presence, snapshot_of, store_name};
use crate::domain::description::What;

/// One path that the target is rendered from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathVersion {
    /// `Kind/name` of the store.
    pub store: String,
    /// `mount/path`.
    pub path: String,
    /// What of it.
    pub what: What,
    /// The version; 0 if there is no data.
    pub version: u64,
    /// When the server created it, if that is known.
    pub created: Option<Timestamp>,
    /// Its state.
    pub presence: Presence,
    /// The properties that are used; empty means all.
    pub properties: BTreeSet<String>,
    /// Those that had an owner when they were last there.
    pub owned: BTreeSet<String>,
}

/// Each path of the spec, and of what it found, that the target is made of.
pub fn versions(desired: &Desired, observed: &Observed) -> Vec<PathVersion> {
    type Key = (String, String, What, u64, Option<Timestamp>, Presence);
    let mut versions: BTreeMap<Key, (Option<BTreeSet<String>>, BTreeSet<String>)> = BTreeMap::new();
    for wanted in &desired.entries {
        let Some(snapshot) = snapshot_of(&observed.snapshots, wanted) else { continue };
        if !found::is_used(desired, wanted, snapshot, &observed.consumer) {
            continue;
        }
        let (entry, presence) = (&snapshot.entry, snapshot.presence);
        let (store, path) = (store_name(&wanted.from), snapshot.path.clone());
        let key = (store, path, wanted.from.what, entry.cas(), entry.created, presence);
        let (properties, owned) = versions.entry(key).or_insert_with(|| (Some(BTreeSet::new()), BTreeSet::new()));
        match (wanted.of_data(), properties.as_mut()) {
            (Some(property), Some(properties)) => {
                properties.insert(property.clone());
            }
            (None, _) => *properties = None,
            (Some(_), None) => {}
        }
        owned.extend(wanted.of_data().into_iter().filter(|property| absence::is_owned(property, snapshot)).cloned());
    }
    versions
        .into_iter()
        .map(|((store, path, what, version, created, presence), (properties, owned))| PathVersion {
            store,
            path,
            what,
            version,
            created,
            presence,
            properties: properties.unwrap_or_default(),
            owned,
        })
        .collect()
}
