//! Our own last written statuses. Each counts until the cache shows it, so that a lagging cache is
//! not taken for the truth.

use std::collections::{HashMap, HashSet};

use kube::{Resource, ResourceExt};
use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// See the module. Objects are identified by UID.
#[derive(Default)]
pub struct Written(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Objects as the server stored them with our status, as long as caches may show older ones.
    ahead: HashMap<String, Value>,
    /// Objects whose status could not be written.
    owed: HashSet<String>,
    /// Objects whose status is being written, and the latest version of each that a cache has shown
    /// meanwhile: the event of a write may arrive before its reply.
    writing: HashMap<String, Option<u64>>,
}

impl Written {
    /// Call this before a status is written, and [`Written::note`] or [`Written::failed`]
    /// afterwards.
    pub fn begin(&self, uid: &str) {
        self.lock().writing.insert(uid.to_owned(), None);
    }

    /// Keeps an object as the server stored it with our status, unless a cache shows it already.
    pub fn note(&self, uid: &str, stored: Value) {
        let mut inner = self.lock();
        inner.owed.remove(uid);
        let shown = inner.writing.remove(uid).flatten();
        match (shown, number(version_of(&stored))) {
            (Some(shown), Some(written)) if shown >= written => drop(inner.ahead.remove(uid)),
            (_, _) => drop(inner.ahead.insert(uid.to_owned(), stored)),
        }
    }

    /// Call this when nothing was written.
    pub fn failed(&self, uid: &str) {
        self.lock().writing.remove(uid);
    }

    /// Call this when the status is as desired.
    pub fn settle(&self, uid: &str) {
        self.lock().owed.remove(uid);
    }

    /// Call this when the status could not be written.
    pub fn owe(&self, uid: &str) {
        self.lock().owed.insert(uid.to_owned());
    }

    /// Whether a status write is pending.
    pub fn is_owed(&self, uid: &str) -> bool {
        self.lock().owed.contains(uid)
    }

    /// The object with our last status, if a cache shows an older one.
    pub fn newer<K: Resource + DeserializeOwned>(&self, cached: &K) -> Option<K> {
        let stored = self.lock().ahead.get(&cached.uid()?).cloned()?;
        match number(cached.meta().resource_version.as_deref())? < number(version_of(&stored))? {
            true => serde_json::from_value(stored).ok(),
            false => None,
        }
    }

    /// Call this when a cache shows the object at this version.
    pub fn shown(&self, uid: &str, resource_version: &str) {
        let mut inner = self.lock();
        if let Some(latest) = inner.writing.get_mut(uid) {
            *latest = (*latest).max(number(Some(resource_version)));
        }
        let Some(stored) = inner.ahead.get(uid) else { return };
        let lags = match (number(Some(resource_version)), number(version_of(stored))) {
            (Some(shown), Some(written)) => shown < written,
            // The versions cannot be compared: the cache's counts.
            (_, _) => false,
        };
        if !lags {
            inner.ahead.remove(uid);
        }
    }

    /// Drops a deleted object.
    pub fn forget(&self, uid: &str) {
        let mut inner = self.lock();
        inner.ahead.remove(uid);
        inner.owed.remove(uid);
        inner.writing.remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

fn version_of(object: &Value) -> Option<&str> {
    object.pointer("/metadata/resourceVersion")?.as_str()
}

/// Of two states of one object, the one with the higher number is later.
fn number(resource_version: Option<&str>) -> Option<u64> {
    resource_version?.parse().ok()
}

#[cfg(test)]
impl Written {
    /// Whether nothing at all is kept.
    pub fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.ahead.is_empty() && inner.owed.is_empty() && inner.writing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn object(version: &str, word: &str) -> Value {
        json!({ "metadata": { "name": "a", "uid": "u", "resourceVersion": version }, "data": { "word": word } })
    }

    fn cached(version: &str) -> ConfigMap {
        serde_json::from_value(object(version, "cached")).unwrap()
    }

    #[test]
    fn what_was_written_counts_until_the_cache_shows_it() {
        let written = Written::default();
        written.note("u", object("7", "written"));
        for (version, counts) in [("5", true), ("6", true), ("7", false), ("12", false)] {
            assert_eq!(written.newer(&cached(version)).is_some(), counts, "at {version}");
        }
        written.shown("u", "6");
        assert!(written.newer(&cached("6")).is_some());
        written.shown("u", "7");
        assert!(written.newer(&cached("6")).is_none() && written.is_empty());
    }

    #[test]
    fn what_a_cache_shows_before_the_reply_to_its_write_is_not_kept() {
        let written = Written::default();
        for (shown, kept) in [(None, true), (Some("6"), true), (Some("7"), false), (Some("8"), false)] {
            written.begin("u");
            shown.into_iter().for_each(|version| written.shown("u", version));
            written.note("u", object("7", "written"));
            assert_eq!(written.newer(&cached("5")).is_some(), kept, "shown at {shown:?}");
            written.forget("u");
        }
        written.begin("u");
        written.failed("u");
        assert!(written.is_empty());
    }

    #[test]
    fn a_status_is_owed_until_it_is_written() {
        let written = Written::default();
        written.owe("u");
        assert!(written.is_owed("u"));
        written.note("u", object("7", "written"));
        assert!(!written.is_owed("u"));
        written.owe("u");
        written.forget("u");
        assert!(written.is_empty());
    }
}
