//! Our own last written statuses. Each counts until the cache shows it, so that a lagging cache is
//! not taken for the truth.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::Resource;
use parking_lot::{Mutex, MutexGuard};

/// See the module. Objects are identified by UID.
#[derive(Default)]
pub struct Written(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Objects as the server stored them with our status, as long as caches may show older ones.
    ahead: HashMap<String, Ahead>,
    /// Objects whose status could not be written.
    owed: HashSet<String>,
    /// Objects whose status is being written.
    writing: HashMap<String, Writing>,
}

/// An object as the server stored it.
struct Ahead {
    version: Option<u64>,
    object: Arc<dyn Any + Send + Sync>,
}

/// The writes of one object's status that were not answered yet.
#[derive(Default)]
struct Writing {
    /// There are two writers of some statuses.
    count: usize,
    /// The latest version that a cache has shown meanwhile: the event of a write may arrive before
    /// its reply.
    shown: Option<u64>,
}

impl Written {
    /// Call this before a status is written, and [`Written::note`] or [`Written::failed`]
    /// afterwards.
    pub fn begin(&self, uid: &str) {
        self.lock().writing.entry(uid.to_owned()).or_default().count += 1;
    }

    /// Keeps an object as the server stored it with our status, unless a cache shows it already.
    /// False if the object was forgotten meanwhile: then nothing of it may be kept.
    pub fn note<K>(&self, uid: &str, stored: &K) -> bool
    where
        K: Resource + Clone + Send + Sync + 'static,
    {
        let mut inner = self.lock();
        let Some(shown) = inner.end_write(uid) else { return false };
        inner.owed.remove(uid);
        let version = version_of(stored);
        match (shown, version) {
            (Some(shown), Some(written)) if shown >= written => drop(inner.ahead.remove(uid)),
            (_, _) => drop(inner.ahead.insert(uid.to_owned(), Ahead { version, object: Arc::new(stored.clone()) })),
        }
        true
    }

    /// Call this when nothing was written, or what was stored does not decode.
    pub fn failed(&self, uid: &str) {
        self.lock().end_write(uid);
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
    pub fn newer<K>(&self, cached: &K) -> Option<K>
    where
        K: Resource + Clone + 'static,
    {
        let inner = self.lock();
        let ahead = inner.ahead.get(cached.meta().uid.as_deref()?)?;
        (version_of(cached)? < ahead.version?).then(|| ahead.object.downcast_ref().cloned())?
    }

    /// Call this when a cache shows the object at this version.
    pub fn shown(&self, uid: &str, resource_version: &str) {
        let (mut inner, shown) = (self.lock(), number(resource_version));
        if let Some(writing) = inner.writing.get_mut(uid) {
            writing.shown = writing.shown.max(shown);
        }
        let Some(ahead) = inner.ahead.get(uid) else { return };
        // Versions that cannot be compared: the cache's counts.
        let lags = shown.zip(ahead.version).is_some_and(|(shown, written)| shown < written);
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

impl Inner {
    /// The latest version that a cache has shown since the write began; `None` if the object was
    /// forgotten.
    fn end_write(&mut self, uid: &str) -> Option<Option<u64>> {
        let writing = self.writing.get_mut(uid)?;
        let shown = writing.shown;
        writing.count -= 1;
        if writing.count == 0 {
            self.writing.remove(uid);
        }
        Some(shown)
    }
}

fn version_of<K: Resource>(object: &K) -> Option<u64> {
    number(object.meta().resource_version.as_deref()?)
}

/// Of two states of one object, the one with the higher number is later.
fn number(resource_version: &str) -> Option<u64> {
    resource_version.parse().ok()
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

    fn object(version: &str, word: &str) -> ConfigMap {
        let metadata = json!({ "name": "a", "uid": "u", "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": metadata, "data": { "word": word } })).unwrap()
    }

    fn cached(version: &str) -> ConfigMap {
        object(version, "cached")
    }

    fn note(written: &Written, version: &str) {
        written.begin("u");
        assert!(written.note("u", &object(version, "written")));
    }

    #[test]
    fn what_was_written_counts_until_the_cache_shows_it() {
        let written = Written::default();
        note(&written, "7");
        for (version, counts) in [("5", true), ("6", true), ("7", false), ("12", false)] {
            let newer = written.newer(&cached(version));
            assert_eq!(newer, counts.then(|| object("7", "written")), "at {version}");
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
            assert!(written.note("u", &object("7", "written")));
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
        note(&written, "7");
        assert!(!written.is_owed("u"));
        written.owe("u");
        written.forget("u");
        assert!(written.is_empty());
    }

    #[test]
    fn of_what_is_forgotten_while_it_is_written_nothing_is_kept() {
        let written = Written::default();
        written.begin("u");
        written.forget("u");
        assert!(!written.note("u", &object("7", "written")) && written.is_empty());
    }

    #[test]
    fn what_a_cache_shows_counts_for_each_of_two_writers() {
        let written = Written::default();
        written.begin("u");
        written.begin("u");
        written.shown("u", "8");
        assert!(written.note("u", &object("7", "written")) && written.note("u", &object("8", "written")));
        assert!(written.is_empty());
    }
}
