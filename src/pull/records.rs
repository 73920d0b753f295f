//! What this process remembers of each ExternalSecret: the state of the resource it last tried, and what it last wrote. A
//! reconcile whose inputs are all the same ends here. Lost at a restart, and then found out again by reading.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::plan::Written;
use crate::controller::referrers::Name;

/// See the module.
#[derive(Default)]
pub struct Records(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_object: HashMap<Name, Record>,
    by_target: HashMap<Name, Written>,
}

/// One ExternalSecret's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The state of the resource (`syncedResourceVersion`) that was tried last.
    pub tried: String,
    /// The target, where that succeeded.
    pub target: Option<(Name, Written)>,
    /// When it last succeeded; `None` after a failure. The cached status may lag behind that for a moment.
    pub synced: Option<Instant>,
}

impl Records {
    /// What is remembered.
    pub fn of(&self, object: &Name) -> Option<Record> {
        self.lock().by_object.get(object).cloned()
    }

    /// Remembers a reconcile.
    pub fn note(&self, object: &Name, record: Record) {
        let mut inner = self.lock();
        inner.drop_target(object);
        if let Some((target, written)) = &record.target {
            inner.by_target.insert(target.clone(), written.clone());
        }
        inner.by_object.insert(object.clone(), record);
    }

    /// Drops an object that is gone.
    pub fn forget(&self, object: &Name) {
        let mut inner = self.lock();
        inner.drop_target(object);
        inner.by_object.remove(object);
    }

    /// Whether a Secret's event only tells of our own last write, so that nobody needs to look.
    pub fn is_own_write(&self, secret: &Name, uid: &str, resource_version: &str) -> bool {
        self.lock()
            .by_target
            .get(secret)
            .is_some_and(|written| written.stamp.uid == uid && written.stamp.resource_version == resource_version)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn drop_target(&mut self, object: &Name) {
        if let Some((target, _)) = self.by_object.get(object).and_then(|record| record.target.as_ref()) {
            self.by_target.remove(target);
        }
    }
}
