//! Remembers statuses that a server prunes, so that an unchanged one is not sent again and again.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;
use serde_json::Value;

/// If a server keeps less of a status than we send (External Secrets Operator's own CRDs declare
/// fewer fields): what was sent, and what was kept.
#[derive(Default)]
pub struct Pruned(Mutex<HashMap<String, BTreeMap<Writer, Kept>>>);

/// Who writes a status. Each knows only its own writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// The reconciler.
    Reconcile,
    /// Whoever counts the consumers of a PushSecret.
    Count,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    sent: u64,
    stored: u64,
}

impl Pruned {
    /// Whether exactly this status was sent before, and what was kept of it equals what was found
    /// now.
    pub fn is_known(&self, uid: &str, writer: Writer, sent: &Value, found: &Value) -> bool {
        let kept = Kept { sent: fingerprint(sent), stored: fingerprint(found) };
        self.0.lock().get(uid).and_then(|notes| notes.get(&writer)) == Some(&kept)
    }

    /// Records what the server kept, if that is less than was sent.
    pub fn note(&self, uid: &str, writer: Writer, sent: &Value, stored: &Value) {
        let mut all = self.0.lock();
        if sent != stored {
            let kept = Kept { sent: fingerprint(sent), stored: fingerprint(stored) };
            all.entry(uid.to_owned()).or_default().insert(writer, kept);
        } else if let Some(notes) = all.get_mut(uid) {
            notes.remove(&writer);
            if notes.is_empty() {
                all.remove(uid);
            }
        }
    }

    /// Drops a deleted object.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

#[cfg(test)]
impl Pruned {
    /// Whether nothing at all is kept.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// A digest of a status, to compare it with others in this process.
pub(super) fn fingerprint(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_that_the_server_cuts_is_sent_once() {
        let (pruned, sent, stored) = (Pruned::default(), json!({ "a": 1, "b": 2 }), json!({ "a": 1 }));
        assert!(!pruned.is_known("uid", Writer::Reconcile, &sent, &stored));
        pruned.note("uid", Writer::Reconcile, &sent, &stored);
        assert!(pruned.is_known("uid", Writer::Reconcile, &sent, &stored));
        assert!(!pruned.is_known("uid", Writer::Reconcile, &json!({ "a": 2, "b": 2 }), &stored));
        assert!(!pruned.is_known("uid", Writer::Count, &sent, &stored));
        pruned.note("uid", Writer::Reconcile, &sent, &sent);
        assert!(!pruned.is_known("uid", Writer::Reconcile, &sent, &stored));
        assert!(pruned.is_empty());
    }
}
