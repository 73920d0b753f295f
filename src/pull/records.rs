//! What this process remembers of each ExternalSecret: the inputs and the outcome of its last
//! reconcile, and what was written. It is lost at a restart, and then read again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::apply::Applied;
use super::desired::{Deletion, Desired};
use super::inputs::{Identities, Inputs, Paths, Resource, Sessions, Texts};
use super::plan::Written;
use super::report::{Failure, Permission};
use super::settle::Rendered;
use super::versions::PathVersion;
use crate::controller::watch::OwnWrites;
use crate::domain::object_name::Name;

/// See the module.
#[derive(Default)]
pub struct Records(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_object: HashMap<Name, Arc<Record>>,
    /// The object that wrote or found each target last: its record has that target.
    by_target: HashMap<Name, Name>,
    /// Targets that somebody else wrote or deleted, or may have, since we read them.
    moved: HashSet<Name>,
}

/// One ExternalSecret's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The inputs of the last reconcile. After one that could read nothing, also because the spec
    /// cannot be used, the resource is that of the one before, so that a person's request that could
    /// not be served still counts.
    pub inputs: Inputs,
    pub outcome: Outcome,
    /// What is known of the producers' consent. It is asked for again until they have answered.
    pub permission: Permission,
    /// The target, if it was written or found as desired.
    pub target: Option<(Name, Written)>,
    /// When the target was last read or written.
    pub looked: Instant,
    /// What the target was rendered from, if this process rendered it.
    pub rendered_from: Option<Rendering>,
}

/// What a target was rendered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendering {
    pub stores: Identities,
    /// Each property that had an owner when it was last there, with its store and path; none for a
    /// target that keeps what is gone.
    owned: Box<[(String, String, String)]>,
}

impl Rendering {
    fn of(desired: &Desired, stores: Identities, versions: &[PathVersion]) -> Self {
        let versions = versions.iter().filter(|_| desired.deletion == Deletion::Delete);
        let owned = versions.flat_map(|from| {
            from.owned.iter().map(|property| (from.store.clone(), from.path.clone(), property.clone()))
        });
        Rendering { stores, owned: owned.collect() }
    }

    /// The properties of a path that had an owner when they were last there.
    pub fn owned<'a>(&'a self, store: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
        self.owned.iter().filter(move |(of, at, _)| of == store && at == path).map(|(_, _, property)| property.as_str())
    }
}

/// The outcome of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target is as desired.
    Good,
    /// It may not be.
    Failed,
}

impl Record {
    /// What is remembered after a full reconcile with the inputs of `today`.
    pub(super) fn after(
        desired: &Desired,
        before: Option<Arc<Record>>,
        today: Inputs,
        attempt: Result<&Rendered, &Failure>,
    ) -> Self {
        match attempt {
            Ok(Rendered { applied, versions, .. }) => {
                let target = match applied {
                    Applied::Kept(written) | Applied::Wrote(written) => {
                        Some((Name::new(&desired.namespace, &desired.target), written.clone()))
                    }
                    Applied::Deleted | Applied::Absent => None,
                };
                let stamp = target.as_ref().map(|(_, written)| written.stamp.clone());
                Record {
                    rendered_from: Some(Rendering::of(desired, today.stores.identities(), versions)),
                    inputs: Inputs { paths: Paths::AsRead, texts: Texts::AsRead, target: stamp, ..today },
                    outcome: Outcome::Good,
                    permission: Permission::Given,
                    target,
                    looked: Instant::now(),
                }
            }
            Err(failure) => {
                let same = before.filter(|before| before.inputs.resource.uid == today.resource.uid);
                let (resource, rendered_from) = match (failure, &same) {
                    // A person's request that could not be served yet still counts.
                    (Failure::Observe(_), Some(before)) => {
                        (before.inputs.resource.clone(), before.rendered_from.clone())
                    }
                    (_, Some(before)) => (today.resource.clone(), before.rendered_from.clone()),
                    (_, None) => (today.resource.clone(), None),
                };
                // A target written for another state of the resource does not count for this one.
                let target = same.filter(|before| before.inputs.resource == today.resource);
                Record {
                    inputs: Inputs { resource, ..today },
                    outcome: Outcome::Failed,
                    permission: Permission::Unknown,
                    target: target.and_then(|before| before.target.clone()),
                    looked: Instant::now(),
                    rendered_from,
                }
            }
        }
    }
}

impl Records {
    /// The record of an object.
    pub fn of(&self, object: &Name) -> Option<Arc<Record>> {
        self.lock().by_object.get(object).cloned()
    }

    /// Remembers a reconcile.
    pub fn note(&self, object: &Name, record: Record) {
        let mut inner = self.lock();
        let former = inner.drop_target(object);
        if let Some((target, _)) = &record.target {
            let was_known = former.as_ref() == Some(target) || inner.by_target.contains_key(target);
            inner.by_target.insert(target.clone(), object.clone());
            if !was_known {
                // An event since it was read or written concerned nobody's target, and was ignored.
                inner.moved.insert(target.clone());
            }
        }
        if let Some(former) = former.filter(|former| !inner.by_target.contains_key(former)) {
            inner.moved.remove(&former);
        }
        inner.by_object.insert(object.clone(), Arc::new(record));
    }

    /// Records that the last reconcile failed.
    pub fn failed(&self, object: &Name) {
        if let Some(record) = self.lock().by_object.get_mut(object) {
            Arc::make_mut(record).outcome = Outcome::Failed;
        }
    }

    /// Records that the target was found as recorded.
    pub fn looked(&self, object: &Name) {
        if let Some(record) = self.lock().by_object.get_mut(object) {
            Arc::make_mut(record).looked = Instant::now();
        }
    }

    /// Whether the target must be read: somebody changed it, or it was not read for `most`. Call it
    /// once per reconcile, before the read: later changes are for the next reconcile.
    pub fn take_doubt(&self, object: &Name, target: &Name, most: Duration) -> bool {
        let mut inner = self.lock();
        let moved = inner.moved.remove(target);
        moved || inner.by_object.get(object).is_none_or(|record| record.looked.elapsed() >= most)
    }

    /// Call this when an object cannot be reconciled until its spec is corrected. What it was before
    /// stays known, or what it is if nothing was: a confirmation that comes with the correction is a
    /// new one.
    pub fn bar(&self, object: &Name, resource: Resource) {
        let mut inner = self.lock();
        if let Some(target) = inner.drop_target(object) {
            inner.moved.remove(&target);
        }
        let before = inner.by_object.get(object).filter(|before| before.inputs.resource.uid == resource.uid);
        let resource = before.map_or(resource, |before| before.inputs.resource.clone());
        let rendered_from = before.and_then(|before| before.rendered_from.clone());
        let (paths, texts) = (Paths::Moved, Texts::Moved);
        let inputs = Inputs { resource, stores: Sessions::default(), paths, texts, target: None };
        let record = Record {
            inputs,
            outcome: Outcome::Failed,
            permission: Permission::Unknown,
            target: None,
            looked: Instant::now(),
            rendered_from,
        };
        inner.by_object.insert(object.clone(), Arc::new(record));
    }

    /// Drops a deleted object.
    pub fn forget(&self, object: &Name) {
        let mut inner = self.lock();
        if let Some(target) = inner.drop_target(object) {
            inner.moved.remove(&target);
        }
        inner.by_object.remove(object);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl OwnWrites for Records {
    fn is_own_write(&self, secret: &Name, uid: &str, resource_version: &str) -> bool {
        let mut inner = self.lock();
        let ours = inner
            .written(secret)
            .is_some_and(|written| *written.stamp.uid == *uid && *written.stamp.resource_version == *resource_version);
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
    /// What was last written to this target, or found in it.
    fn written(&self, target: &Name) -> Option<&Written> {
        let record = self.by_object.get(self.by_target.get(target)?)?;
        record.target.as_ref().map(|(_, written)| written)
    }

    /// Ignores Secrets that are not our targets.
    fn moved(&mut self, secret: &Name) {
        if self.by_target.contains_key(secret) {
            self.moved.insert(secret.clone());
        }
    }

    /// Another object may have taken the target over meanwhile; then it stays.
    fn drop_target(&mut self, object: &Name) -> Option<Name> {
        let (target, _) = self.by_object.get(object)?.target.as_ref()?;
        self.by_target.get(target).filter(|owner| *owner == object)?;
        let target = target.clone();
        self.by_target.remove(&target);
        Some(target)
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

#[cfg(test)]
mod tests;
