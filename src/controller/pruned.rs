//! Remembers statuses that a server prunes, so that an unchanged one is not sent again and again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;
use serde_json::Value;

/// If a server keeps less of a status than we send (External Secrets Operator's own CRDs declare
/// fewer fields): what was sent, and what was kept.
#[derive(Default)]
pub struct Pruned(Mutex<HashMap<String, Kept>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    sent: u64,
    stored: u64,
}

impl Pruned {
    /// Whether exactly this status was sent before, and what was kept of it equals what was found
    /// now.
    pub fn is_known(&self, uid: &str, sent: &Value, found: &Value) -> bool {
        let kept = Kept { sent: fingerprint(sent), stored: fingerprint(found) };
        self.0.lock().get(uid) == Some(&kept)
    }

    /// Records what the server kept, if that is less than was sent.
    pub fn note(&self, uid: &str, sent: &Value, stored: &Value) {
        let mut notes = self.0.lock();
        if sent == stored {
            notes.remove(uid);
        } else {
            notes.insert(uid.to_owned(), Kept { sent: fingerprint(sent), stored: fingerprint(stored) });
        }
    }

    /// Call this when the object is deleted.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

fn fingerprint(value: &Value) -> u64 {
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
        assert!(!pruned.is_known("uid", &sent, &stored));
        pruned.note("uid", &sent, &stored);
        assert!(pruned.is_known("uid", &sent, &stored));
        assert!(!pruned.is_known("uid", &json!({ "a": 2, "b": 2 }), &stored));
        pruned.note("uid", &sent, &sent);
        assert!(!pruned.is_known("uid", &sent, &stored));
    }
}
