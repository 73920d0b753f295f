//! Bounds the deletions that are inferred from absence in a store: a store that lost many values at once, by a restore or a
//! slip, does not take everybody's Secrets along.
//!
//! A loss is not carried out before [`LOOK_AROUND`] is over, so that losses found together are counted together. Over the
//! bound, the store's latch closes: every loss waits until the last missing value is back, or a person lets them through.
//! Edits and deletions of our resources, and what a push of ours removed, never come here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::absence::Absence;
use super::roll::{Member, Past};
use crate::api::{StoreKind, names};
use crate::domain::object_name::Name;
use crate::store::StoreName;

/// So many targets of a store may lose values in a window, whatever their share.
pub const MOST_TARGETS: usize = 5;
/// And so many of a hundred, whatever their number.
pub const MOST_PERCENT: usize = 20;
/// Losses are counted over the longest refresh interval among the store's targets, and over no less than this.
pub const SHORTEST_WINDOW: Duration = Duration::from_secs(3600);
/// How long a loss waits for others to be found.
pub const LOOK_AROUND: Duration = Duration::from_secs(10);

/// Why a loss is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Halt {
    /// Not yet: others may be found.
    #[error("values are gone: looking for {}s whether others are", .0.as_secs())]
    LookAround(Duration),
    /// Too many.
    #[error("{0}")]
    Blocked(Blocked),
}

/// A store whose latch is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The store.
    pub store: StoreName,
    /// Targets that lost values in the window, or would.
    pub losing: usize,
    /// Targets with deletionPolicy Delete that the store has, or had when the window began.
    pub all: usize,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blocked { store, losing, all } = self;
        let place = store.namespace.as_ref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
        let kind = match store.kind {
            StoreKind::ClusterSecretStore => "clustersecretstore",
            StoreKind::SecretStore => "secretstore",
        };
        let annotation = names::ANNOTATION_ALLOW_MASS_DELETION;
        write!(
            f,
            "values of {losing} of {all} targets with deletionPolicy Delete are gone from {store}, and more than \
             {MOST_TARGETS} and {MOST_PERCENT} % do not go by themselves: the target keeps its data; restore the values, \
             or let the deletions through: kubectl annotate{place} {kind} {} {annotation}=\"$(date +%s)\" --overwrite",
            store.name
        )
    }
}

/// What is known of losses, by store.
#[derive(Default)]
pub struct Losses(Mutex<BTreeMap<StoreName, Book>>);

/// One store's losses.
#[derive(Default)]
struct Book {
    members: HashMap<Name, Member>,
    /// Found, and since when.
    found: BTreeMap<Name, Instant>,
    /// Carried out, and when.
    done: BTreeMap<Name, Instant>,
    /// Let through by a person.
    allowed: BTreeSet<Name>,
    latch: Latch,
}

#[derive(Default)]
enum Latch {
    #[default]
    Open,
    Closed {
        /// The annotation's value when it closed.
        allowance: Option<String>,
        /// Who waits for it.
        held: BTreeSet<Name>,
    },
}

impl Losses {
    /// Takes down an ExternalSecret as the watch delivers it, in place of what was known. What its status tells of an
    /// earlier process counts when it is seen for the first time. `allowance` is the value of a store's annotation.
    pub fn enrol(
        &self,
        name: &Name,
        roll: Option<(Member, BTreeSet<StoreName>)>,
        past: Past,
        allowance: impl Fn(&StoreName) -> Option<String>,
        now: Instant,
    ) {
        let mut books = self.books();
        let reads = |store: &StoreName| roll.as_ref().is_some_and(|(_, stores)| stores.contains(store));
        books.iter_mut().filter(|(store, _)| !reads(store)).for_each(|(_, book)| book.leave(name));
        books.retain(|_, book| !book.members.is_empty());
        let Some((member, stores)) = roll else { return };
        for store in stores {
            let allowance = allowance(&store);
            let book = books.entry(store).or_default();
            if book.members.insert(name.clone(), member).is_none() {
                book.recall(name, past, allowance, now);
            }
        }
    }

    /// Drops an ExternalSecret that is gone.
    pub fn forget(&self, name: &Name) {
        self.enrol(name, None, Past::Nothing, |_| None, Instant::now());
    }

    /// Whether it found a loss that nothing was decided about yet.
    pub fn awaits(&self, name: &Name) -> bool {
        self.books().values().any(|book| book.found.contains_key(name))
    }

    /// Judges what a target is about to lose.
    ///
    /// # Errors
    /// [`Halt`]: it loses nothing now.
    pub fn judge(
        &self,
        name: &Name,
        absences: &BTreeMap<StoreName, Absence>,
        allowance: impl Fn(&StoreName) -> Option<String>,
        now: Instant,
    ) -> Result<(), Halt> {
        let mut books = self.books();
        let mut halts = Vec::new();
        for (store, absence) in absences {
            let book = books.entry(store.clone()).or_default();
            book.heed(store, allowance(store));
            match absence {
                Absence::Nothing => book.leave_losses(name),
                Absence::Harmless => book.release(name),
                Absence::Loss => halts.extend(book.judge(name, store, allowance(store), now).err()),
            }
        }
        halts.into_iter().max_by_key(|halt| matches!(halt, Halt::Blocked(_))).map_or(Ok(()), Err)
    }

    /// Notes that a target lost what it was allowed to.
    pub fn carried_out(&self, name: &Name, now: Instant) {
        for book in self.books().values_mut() {
            let counts = !book.allowed.remove(name);
            if book.found.remove(name).is_some() && counts {
                book.done.insert(name.clone(), now);
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<StoreName, Book>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// What an earlier process left in status.
    fn recall(&mut self, name: &Name, past: Past, allowance: Option<String>, now: Instant) {
        match past {
            Past::Nothing => {}
            Past::Held => match &mut self.latch {
                Latch::Closed { held, .. } => drop(held.insert(name.clone())),
                Latch::Open => self.latch = Latch::Closed { allowance, held: BTreeSet::from([name.clone()]) },
            },
            Past::Lost { ago } => drop(self.done.insert(name.clone(), now.checked_sub(ago).unwrap_or(now))),
        }
    }

    fn leave(&mut self, name: &Name) {
        self.members.remove(name);
        self.leave_losses(name);
    }

    /// Its values are back, or it asks for none any more.
    fn leave_losses(&mut self, name: &Name) {
        self.done.remove(name);
        self.release(name);
    }

    /// It has nothing left to lose.
    fn release(&mut self, name: &Name) {
        self.found.remove(name);
        self.allowed.remove(name);
        if let Latch::Closed { held, .. } = &mut self.latch {
            held.remove(name);
            if held.is_empty() {
                self.latch = Latch::Open;
            }
        }
    }

    /// A new value of the annotation opens the latch once, for those who wait for it, and the count begins anew.
    fn heed(&mut self, store: &StoreName, present: Option<String>) {
        let Latch::Closed { allowance, held } = &mut self.latch else { return };
        if present.is_none() || present == *allowance {
            // Without the annotation, even the former value is a new one.
            *allowance = present;
            return;
        }
        let held = std::mem::take(held);
        tracing::warn!(%store, targets = held.len(), "a person let the deletions through");
        self.allowed.extend(held);
        self.found.clear();
        self.done.clear();
        self.latch = Latch::Open;
    }

    fn judge(&mut self, name: &Name, store: &StoreName, allowance: Option<String>, now: Instant) -> Result<(), Halt> {
        let since = *self.found.entry(name.clone()).or_insert(now);
        if self.allowed.contains(name) {
            return Ok(());
        }
        let window = self.members.values().map(|member| member.interval).max().unwrap_or_default().max(SHORTEST_WINDOW);
        let (losing, all) = self.count(window, now);
        let blocked = || Halt::Blocked(Blocked { store: store.clone(), losing, all });
        match &mut self.latch {
            Latch::Closed { held, .. } => {
                held.insert(name.clone());
                Err(blocked())
            }
            Latch::Open if losing > MOST_TARGETS && losing * 100 > all * MOST_PERCENT => {
                tracing::warn!(%store, losing, all, "too many targets would lose values: held back");
                self.latch = Latch::Closed { allowance, held: self.found.keys().cloned().collect() };
                Err(blocked())
            }
            Latch::Open => match LOOK_AROUND.checked_sub(now.duration_since(since)) {
                Some(rest) if !rest.is_zero() => Err(Halt::LookAround(rest)),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// How many targets lose values in the window that ends now, and of how many.
    fn count(&mut self, window: Duration, now: Instant) -> (usize, usize) {
        self.done.retain(|_, at| now.duration_since(*at) < window);
        let mut losing: BTreeSet<&Name> = self.found.keys().chain(self.done.keys()).collect();
        if let Latch::Closed { held, .. } = &self.latch {
            losing.extend(held);
        }
        let standing = self.members.iter().filter(|(_, member)| member.has_target).map(|(name, _)| name);
        let unknown = losing.iter().filter(|name| !self.members.get(**name).is_some_and(|member| member.has_target));
        let all = standing.count() + unknown.count();
        (losing.len(), all)
    }
}
