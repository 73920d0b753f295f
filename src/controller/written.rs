//! Our own last written statuses. Each counts until the cache shows it, so that a lagging cache is
//! not taken for the truth.
//!
//! A write that was not answered may have been made, and it may still arrive, long after its object
//! was decided anew. Its precondition may hold even then. So as long as an object has unanswered
//! writes, a status that the cache shows, and that we neither found nor wrote, is looked at live.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::{Resource, ResourceExt};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde_json::Value;

use super::guarded::{Guarded, status_of, status_shown};
use super::pruned::fingerprint;
use crate::cluster::ClusterError;

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
    /// Objects with writes that failed without an answer.
    unanswered: HashMap<String, Unanswered>,
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
    /// Digests of the statuses that are being written, if others failed without an answer.
    sent: Vec<u64>,
}

/// The writes of one object that failed without an answer.
#[derive(Default)]
struct Unanswered {
    /// How many. Each arrives at most once, so a look for each is enough. More looks could make two
    /// processes undo each other's writes for ever.
    count: u32,
    /// The status that we last found or wrote; `None` until the object is read live.
    ours: Option<Seen>,
    /// Whether a cache has shown another one since, and nobody has looked.
    is_overtaken: bool,
}

/// A status, by its digest, at a version of its object.
struct Seen {
    version: Option<u64>,
    status: u64,
}

impl Written {
    /// Call this before a status is written, and [`Written::note`], [`Written::ended`] or
    /// [`Written::failed`] afterwards.
    pub fn begin(&self, uid: &str, status: &Value) {
        let mut inner = self.lock();
        let sent = inner.unanswered.contains_key(uid).then(|| fingerprint(status));
        let writing = inner.writing.entry(uid.to_owned()).or_default();
        writing.count += 1;
        writing.sent.extend(sent);
    }

    /// Keeps an object as the server stored it with our status, unless a cache shows it already.
    /// False if the object was forgotten meanwhile: then nothing of it may be kept.
    pub fn note<K>(&self, uid: &str, stored: &K) -> bool
    where
        K: Resource + Clone + Serialize + Send + Sync + 'static,
    {
        let mut inner = self.lock();
        let Some(shown) = inner.end_write(uid) else { return false };
        inner.owed.remove(uid);
        let version = version_of(stored);
        if let Some(unanswered) = inner.unanswered.get_mut(uid) {
            unanswered.ours = Some(Seen { version, status: fingerprint(&status_of(stored)) });
        }
        match (shown, version) {
            (Some(shown), Some(written)) if shown >= written => drop(inner.ahead.remove(uid)),
            (_, _) => drop(inner.ahead.insert(uid.to_owned(), Ahead { version, object: Arc::new(stored.clone()) })),
        }
        true
    }

    /// Call this when a status was written, and the object as stored does not decode.
    pub fn ended(&self, uid: &str) {
        self.lock().end_write(uid);
    }

    /// Call this when a write failed.
    pub fn failed(&self, uid: &str, error: &ClusterError) {
        let mut inner = self.lock();
        if inner.end_write(uid).is_some() && error.leaves_open() {
            inner.unanswered.entry(uid.to_owned()).or_default().count += 1;
        }
    }

    /// Whether a write may still arrive.
    pub fn has_unanswered(&self, uid: &str) -> bool {
        self.lock().unanswered.contains_key(uid)
    }

    /// Whether a cache has shown a status that we neither found nor wrote, and that may be a write of
    /// ours which arrived late.
    pub fn is_overtaken(&self, uid: &str) -> bool {
        self.lock().unanswered.get(uid).is_some_and(|unanswered| unanswered.is_overtaken)
    }

    /// Call this with an object whose status is owed, as it was read live.
    pub fn found<K: Resource + Serialize>(&self, live: &Guarded<K>) {
        let (mut inner, uid) = (self.lock(), live.uid().unwrap_or_default());
        let Some(mut unanswered) = inner.unanswered.remove(&uid) else { return };
        if std::mem::take(&mut unanswered.is_overtaken) {
            inner.owed.insert(uid.clone());
        }
        if unanswered.count > 0 {
            unanswered.ours = Some(Seen { version: version_of(live), status: fingerprint(&status_shown(live)) });
            inner.unanswered.insert(uid, unanswered);
        }
    }

    /// Call this when the status is as desired.
    pub fn settle(&self, uid: &str) {
        self.lock().owed.remove(uid);
    }

    /// Call this when the status could not be written.
    pub fn owe(&self, uid: &str) {
        self.lock().owed.insert(uid.to_owned());
    }

    /// Whether the status must be decided from a live read.
    pub fn is_owed(&self, uid: &str) -> bool {
        let inner = self.lock();
        inner.owed.contains(uid) || inner.unanswered.get(uid).is_some_and(|unanswered| unanswered.is_overtaken)
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

    /// Call this when a cache shows the object.
    pub fn shown<K: Resource + Serialize>(&self, object: &Guarded<K>) {
        let uid = &object.uid().unwrap_or_default();
        let (mut inner, shown) = (self.lock(), version_of(object));
        inner.compare(uid, shown, || fingerprint(&status_shown(object)));
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
        inner.unanswered.remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Inner {
    /// Compares a status that a cache shows with what we found and wrote. A write of the ledger is
    /// ours and not known here: it costs a look.
    fn compare(&mut self, uid: &str, shown: Option<u64>, status: impl FnOnce() -> u64) {
        let Some(unanswered) = self.unanswered.get_mut(uid).filter(|unanswered| unanswered.count > 0) else { return };
        let Some(ours) = &unanswered.ours else { return };
        if shown.zip(ours.version).is_some_and(|(shown, ours)| shown <= ours) {
            return;
        }
        let (status, writing) = (status(), self.writing.get(uid));
        if status != ours.status && !writing.is_some_and(|writing| writing.sent.contains(&status)) {
            unanswered.count -= 1;
            unanswered.is_overtaken = true;
        }
    }

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
        inner.ahead.is_empty() && inner.owed.is_empty() && inner.writing.is_empty() && inner.unanswered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;
    use crate::api::SecretStore;

    fn object(version: &str, word: &str) -> ConfigMap {
        let metadata = json!({ "name": "a", "uid": "u", "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": metadata, "data": { "word": word } })).unwrap()
    }

    fn cached(version: &str) -> ConfigMap {
        object(version, "cached")
    }

    fn show(written: &Written, version: &str) {
        written.shown(&DeserializeGuard(Ok(cached(version))));
    }

    fn note(written: &Written, version: &str) {
        written.begin("u", &Value::Null);
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
        show(&written, "6");
        assert!(written.newer(&cached("6")).is_some());
        show(&written, "7");
        assert!(written.newer(&cached("6")).is_none() && written.is_empty());
    }

    #[test]
    fn what_a_cache_shows_before_the_reply_to_its_write_is_not_kept() {
        let written = Written::default();
        for (shown, kept) in [(None, true), (Some("6"), true), (Some("7"), false), (Some("8"), false)] {
            written.begin("u", &Value::Null);
            shown.into_iter().for_each(|version| show(&written, version));
            assert!(written.note("u", &object("7", "written")));
            assert_eq!(written.newer(&cached("5")).is_some(), kept, "shown at {shown:?}");
            written.forget("u");
        }
        written.begin("u", &Value::Null);
        written.ended("u");
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
        written.begin("u", &Value::Null);
        written.forget("u");
        assert!(!written.note("u", &object("7", "written")) && written.is_empty());
        written.begin("u", &Value::Null);
        written.forget("u");
        written.failed("u", &timeout());
        assert!(written.is_empty());
    }

    #[test]
    fn what_a_cache_shows_counts_for_each_of_two_writers() {
        let written = Written::default();
        written.begin("u", &Value::Null);
        written.begin("u", &Value::Null);
        show(&written, "8");
        assert!(written.note("u", &object("7", "written")) && written.note("u", &object("8", "written")));
        assert!(written.is_empty());
    }

    fn timeout() -> ClusterError {
        ClusterError::Timeout { verb: "update the status of", object: "u".into() }
    }

    /// A store with this status.
    fn store(version: &str, status: &str) -> Guarded<SecretStore> {
        let metadata = json!({ "name": "a", "uid": "u", "resourceVersion": version });
        let conditions = json!([{ "type": status, "status": "True" }]);
        let store = json!({ "metadata": metadata, "spec": { "provider": {} }, "status": { "conditions": conditions } });
        serde_json::from_value(store).unwrap()
    }

    /// One that is owed, after a write that was not answered.
    fn unanswered_write() -> Written {
        let written = Written::default();
        written.begin("u", &Value::Null);
        written.failed("u", &timeout());
        written.owe("u");
        written
    }

    #[test]
    fn a_status_of_somebody_else_is_looked_at_once_for_each_write_that_may_arrive() {
        let written = unanswered_write();
        assert!(written.has_unanswered("u"));
        let is_overtaken_by = |version: &str, status: &str| {
            written.shown(&store(version, status));
            written.is_overtaken("u")
        };
        assert!(!is_overtaken_by("2", "before"), "it is read live anyway");
        written.found(&store("3", "right"));
        written.settle("u");
        assert!(!is_overtaken_by("2", "before"), "the cache lags");
        assert!(!is_overtaken_by("4", "right"), "something else of the object changed");
        assert!(is_overtaken_by("5", "late") && written.is_owed("u"));
        written.found(&store("5", "late"));
        assert!(!written.is_overtaken("u") && written.is_owed("u"), "it is written anew");
        written.settle("u");
        assert!(!is_overtaken_by("6", "right") && !is_overtaken_by("7", "another"), "nothing more can arrive");
        assert!(written.is_empty());
    }

    #[test]
    fn what_is_written_anew_is_not_taken_for_a_write_that_arrives() {
        let (written, anew) = (unanswered_write(), store("4", "anew"));
        written.found(&store("3", "found"));
        written.begin("u", &status_shown(&anew));
        written.shown(&anew);
        assert!(!written.is_overtaken("u"), "its event came before its reply");
        assert!(written.note("u", anew.0.as_ref().unwrap()));
        written.shown(&store("5", "anew"));
        assert!(!written.is_overtaken("u"));
        written.shown(&store("6", "late"));
        assert!(written.is_overtaken("u"));
    }

    #[test]
    fn a_write_that_was_refused_does_not_arrive() {
        let written = Written::default();
        written.begin("u", &Value::Null);
        written.failed("u", &ClusterError::Conflict { verb: "update the status of", object: "u".into() });
        assert!(written.is_empty());
    }
}
