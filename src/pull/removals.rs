//! What is removed from a target.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::is_carried;
use crate::domain::target::{Live, Removals, Target};

/// What the target has of ours and should not.
pub fn removals(target: &Target, live: &Live) -> Removals {
    let stale = |ours: &BTreeSet<String>, have: &BTreeMap<String, String>, want: &BTreeMap<String, String>| {
        ours.iter().filter(|key| have.contains_key(*key) && !want.contains_key(*key)).cloned().collect()
    };
    Removals {
        keys: live.data.keys().filter(|key| !target.data.contains_key(*key)).cloned().collect(),
        labels: stale(&live.our_labels, &live.labels, &target.labels),
        annotations: stale(&live.our_annotations, &live.annotations, &target.annotations),
        finalizers: (live.our_finalizers.iter())
            .filter(|finalizer| live.finalizers.contains(*finalizer) && !target.finalizers.contains(*finalizer))
            .cloned()
            .collect(),
    }
}

/// Metadata that ESO copies from the resource and we do not: it is removed with the next change of
/// data (F58).
pub fn only_left_over(removals: &Removals) -> bool {
    let of_metadata = removals.keys.is_empty() && removals.finalizers.is_empty();
    of_metadata && removals.labels.iter().chain(&removals.annotations).all(|key| !is_carried(key))
}
