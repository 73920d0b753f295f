//! The versions of the paths that a target is made of.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::absence;
use super::desired::Desired;
use super::found;
use super::plan::{Observed, PathVersion, Presence, snapshot_of, store_name};

/// Each path of the spec, and of what it found, that the target is made of.
pub fn versions(desired: &Desired, observed: &Observed) -> Vec<PathVersion> {
    type Key = (String, String, u64, Option<Timestamp>, Presence);
    let mut versions: BTreeMap<Key, (Option<BTreeSet<String>>, BTreeSet<String>)> = BTreeMap::new();
    for wanted in &desired.entries {
        let Some(snapshot) = snapshot_of(&observed.snapshots, wanted) else { continue };
        if !found::is_used(desired, wanted, snapshot, &observed.consumer) {
            continue;
        }
        let (entry, presence) = (&snapshot.entry, snapshot.presence);
        let key = (store_name(&wanted.from), snapshot.path.clone(), entry.cas(), entry.created, presence);
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
        .map(|((store, path, version, created, presence), (properties, owned))| PathVersion {
            store,
            path,
            version,
            created,
            presence,
            properties: properties.unwrap_or_default(),
            owned,
        })
        .collect()
}
