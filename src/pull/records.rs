//! What this process remembers of each ExternalSecret: what its last reconcile was made of, how that ended, and what was
//! written. Lost at a restart, and then found out again by reading.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::inputs::Inputs;
use super::plan::Written;
use crate::controller::watch::OwnWrites;
use crate::domain::object_name::Name;
use crate::store::{Identity, StoreName};

/// See the module.
#[derive(Default)]
pub struct Records(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_object: HashMap<Name, Record>,
    by_target: HashMap<Name, Written>,
    /// Targets that somebody else wrote or deleted since they were looked at.
    moved: HashSet<Name>,
}

/// One ExternalSecret's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the last reconcile was made of. After one that could read nothing, the resource is that of the one before: a
    /// person's word that nothing could be read for still counts.
    pub inputs: Inputs,
    /// How it ended.
    pub outcome: Outcome,
    /// The target, where one was written or found as it should be.
    pub target: Option<(Name, Written)>,
    /// When the target was last looked at or written.
    pub looked: Instant,
    /// The stores that the target was rendered from, where this process rendered it.
    pub rendered_from: Option<BTreeMap<StoreName, Identity>>,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target is as it should be.
    Good,
    /// It may not be.
    Failed,
}

impl Records {
    /// What is remembered.
    pub fn of(&self, object: &Name) -> Option<Record> {
        self.lock().by_object.get(object).cloned()
    }

    /// Remembers a reconcile.
    pub fn note(&self, object: &Name, record: Record) {
        let mut inner = self.lock();
        let former = inner.drop_target(object);
        if let Some((target, written)) = &record.target {
            inner.by_target.insert(target.clone(), written.clone());
        }
        if let Some(former) = former.filter(|former| !inner.by_target.contains_key(former)) {
            inner.moved.remove(&former);
        }
        inner.by_object.insert(object.clone(), record);
    }

    /// Remembers that the last reconcile went wrong.
    pub fn failed(&self, object: &Name) {
        if let Some(record) = self.lock().by_object.get_mut(object) {
            record.outcome = Outcome::Failed;
        }
    }

    /// Remembers that the target was found as it is recorded.
    pub fn looked(&self, object: &Name) {
        if let Some(record) = self.lock().by_object.get_mut(object) {
            record.looked = Instant::now();
        }
    }

    /// Whether the target has to be looked at: somebody moved it, or nobody looked for `most`. To be asked once a reconcile,
    /// before the look: what moves later is for the next one.
    pub fn take_doubt(&self, object: &Name, target: &Name, most: Duration) -> bool {
        let mut inner = self.lock();
        let moved = inner.moved.remove(target);
        moved || inner.by_object.get(object).is_none_or(|record| record.looked.elapsed() >= most)
    }

    /// Drops an object that is gone.
    pub fn forget(&self, object: &Name) {
        let mut inner = self.lock();
        if let Some(target) = inner.drop_target(object) {
            inner.moved.remove(&target);
        }
        inner.by_object.remove(object);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnWrites for Records {
    fn is_own_write(&self, secret: &Name, uid: &str, resource_version: &str) -> bool {
        let mut inner = self.lock();
        let ours = inner
            .by_target
            .get(secret)
            .is_some_and(|written| written.stamp.uid == uid && written.stamp.resource_version == resource_version);
        if !ours {
            inner.moved(secret);
        }
        ours
    }

    fn deleted(&self, secret: &Name) {
        self.lock().moved(secret);
    }
}

impl Inner {
    /// Of what is no target of ours nothing is kept.
    fn moved(&mut self, secret: &Name) {
        if self.by_target.contains_key(secret) {
            self.moved.insert(secret.clone());
        }
    }

    fn drop_target(&mut self, object: &Name) -> Option<Name> {
        let (target, _) = self.by_object.get(object)?.target.as_ref()?;
        self.by_target.remove(target);
        Some(target.clone())
    }
}

#[cfg(test)]
impl Records {
    /// Whether nothing at all is remembered.
    pub fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.by_object.is_empty() && inner.by_target.is_empty() && inner.moved.is_empty()
    }
}
