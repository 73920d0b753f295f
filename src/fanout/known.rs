//! What a live look, or the reply to our last write, showed of children that the cache alone cannot judge: labels that may be
//! somebody else's, and what is changed on the way to the API server. Without it they would be looked at or written again and again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::apply::{Outcome, Results};
use super::change::Problem;
use super::desired::{Desired, Template};
use super::kind::Child;
use super::plan::Children;

/// The annotation that our caches drop.
const NOT_CACHED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A namespace may move this often in a row before that counts as a failure: once for a cache that lags, once for a neighbour who
/// writes.
const MOST_MOVES: u32 = 2;

/// How a child was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it should be; what it has besides is somebody else's.
    InPlace,
    /// Other than we had just written it.
    ChangedBack,
}

/// How children were found, by their UIDs; only of those that are still as they were then.
pub type Notes = BTreeMap<String, Found>;

/// Remembers how children were found, by the names of their parents.
#[derive(Default)]
pub struct Known(Mutex<HashMap<String, Memory>>);

/// What is remembered of one parent.
#[derive(Default)]
struct Memory {
    /// By the UIDs of children.
    notes: HashMap<String, Note>,
    /// How often in a row a namespace moved, and under which generation.
    moves: BTreeMap<String, u32>,
    generation: Option<i64>,
}

struct Note {
    state: u64,
    found: Found,
}

impl Known {
    /// What holds of these children; what is known of others is dropped.
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

    /// Remembers how a child was found.
    pub fn note<S: Serialize>(&self, desired: &Desired<S>, child: &ObjectMeta, found: Found) {
        let note = Note { state: state(&desired.child, child), found };
        let uid = child.uid.clone().unwrap_or_default();
        self.lock().entry(desired.name.clone()).or_default().notes.insert(uid, note);
    }

    /// Takes a namespace that moves again and again for one that failed. Otherwise it would be tried every second for ever, and a
    /// report would wait for it.
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

    /// The parent is gone.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was wanted and what was there. A generation stands for the whole spec.
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
