//! Remembers what live reads and replies showed but the cache cannot: labels of somebody else,
//! writes that a webhook changes, and namespaces that keep changing. Without it, each of them would
//! cost a request at every reconcile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use super::apply::{Outcome, Results};
use super::change::Problem;
use super::desired::{Desired, Template};
use super::kind::Child;
use super::plan::Children;

/// An annotation that our caches do not keep.
const NOT_CACHED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How often in a row a namespace may change before it has failed: once for a lagging cache, once
/// for somebody else's write.
const MOST_MOVES: u32 = 2;

/// What a live read of a child showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is as desired; anything more belongs to somebody else.
    InPlace,
    /// It differs from what we had just written.
    ChangedBack,
}

/// What was found, by UID of children that have not changed since.
pub type Notes = BTreeMap<String, Found>;

/// The memory of all parents, by name.
#[derive(Default)]
pub struct Known(Mutex<HashMap<String, Memory>>);

/// The memory of one parent.
#[derive(Default)]
struct Memory {
    /// By the UIDs of children.
    notes: HashMap<String, Note>,
    /// How often in a row each namespace changed, for this generation.
    moves: BTreeMap<String, u32>,
    generation: Option<i64>,
}

struct Note {
    state: u64,
    found: Found,
}

impl Known {
    /// What is known of these children; drops what is known of others.
    pub fn of<C: Child>(&self, desired: &Desired<C::Spec>, children: &Children<C>) -> Notes {
        let mut all = self.lock();
        let Some(Memory { notes: known, .. }) = all.get_mut(&desired.name) else { return Notes::new() };
        let mut notes = Notes::new();
        for child in children.values().flatten() {
            let uid = child.metadata().uid.as_deref().unwrap_or_default();
            let note = known.get(uid).filter(|note| note.state == state(&desired.child, child.metadata()));
            notes.extend(note.map(|note| (uid.to_owned(), note.found)));
        }
        known.retain(|uid, _| notes.contains_key(uid));
        notes
    }

    /// Remembers what was found.
    pub fn note<S: Serialize>(&self, desired: &Desired<S>, child: &ObjectMeta, found: Found) {
        let note = Note { state: state(&desired.child, child), found };
        let uid = child.uid.clone().unwrap_or_default();
        self.lock().entry(desired.name.clone()).or_default().notes.insert(uid, note);
    }

    /// Makes a namespace that changed more than [`MOST_MOVES`] times in a row a failed one.
    /// Otherwise it would be tried every second for ever.
    pub fn bound<S>(&self, desired: &Desired<S>, results: &mut Results) {
        let mut all = self.lock();
        let memory = all.entry(desired.name.clone()).or_default();
        if memory.generation != desired.generation {
            memory.generation = desired.generation;
            memory.moves.clear();
        }
        let outcomes = || results.wanted.iter().chain(&results.unwanted);
        let moved: BTreeSet<String> =
            outcomes().filter(|(_, outcome)| outcome.has_moved()).map(|(namespace, _)| namespace.clone()).collect();
        memory.moves.retain(|namespace, _| moved.contains(namespace));
        for namespace in moved {
            *memory.moves.entry(namespace).or_default() += 1;
        }
        for (namespace, outcome) in results.wanted.iter_mut().chain(&mut results.unwanted) {
            let Outcome::Moved(last) = outcome else { continue };
            if memory.moves.get(namespace).is_some_and(|moves| *moves > MOST_MOVES) {
                *outcome = Outcome::Failed(Problem::Unsettled(last.take()));
            }
        }
    }

    /// Call this when the parent is deleted.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.0.lock()
    }
}

/// A digest of the desired and the found child. The generation represents the whole spec.
fn state<S: Serialize>(wanted: &Template<S>, found: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&wanted.labels, &wanted.annotations).hash(&mut hasher);
    serde_json::to_string(&wanted.spec).unwrap_or_default().hash(&mut hasher);
    (&found.uid, found.generation, &found.labels).hash(&mut hasher);
    for annotation in found.annotations.iter().flatten().filter(|(key, _)| *key != NOT_CACHED) {
        annotation.hash(&mut hasher);
    }
    hasher.finish()
}
