//! Bounds the deletions that follow from values that are gone from a store: if a store loses many
//! values at once, by a restore or a mistake, not all Secrets are deleted with them.
//!
//! A loss is carried out only after [`LOOK_AROUND`], so that losses found together are counted
//! together. Over the bound, the store's latch closes: every loss waits until the last missing
//! value is back, or a person allows them. Edits and deletions of our resources, and what a push of
//! ours removed, are not bounded.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;

use super::absence::Absence;
use super::roll::{Member, Past};
use crate::api::{StoreKind, names};
use crate::domain::object_name::Name;
use crate::store::StoreName;

/// This many targets of a store may lose values in a window, whatever their share.
pub const MOST_TARGETS: usize = 5;
/// This percentage of them may, whatever their number.
pub const MOST_PERCENT: usize = 20;
/// Losses are counted over the longest refresh interval of the store's targets, and at least over
/// this.
pub const SHORTEST_WINDOW: Duration = Duration::from_secs(3600);
/// How long a loss waits for others to be found.
pub const LOOK_AROUND: Duration = Duration::from_secs(10);

/// Why a loss is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Halt {
    /// Not yet: more losses may be found.
    #[error("values are gone: waiting {}s to see whether others are", .0.as_secs())]
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
    /// The store's targets with deletionPolicy Delete, including those at the beginning of the
    /// window.
    pub all: usize,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blocked { store, losing, all } = self;
        let namespace = store.namespace.as_ref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
        let kind = match store.kind {
            StoreKind::ClusterSecretStore => "clustersecretstore",
            StoreKind::SecretStore => "secretstore",
        };
        let annotation = names::ANNOTATION_ALLOW_MASS_DELETION;
        write!(
            f,
            "values of {losing} of {all} targets with deletionPolicy Delete are gone from {store}, and losses of more than \
             {MOST_TARGETS} targets and {MOST_PERCENT} % of them wait for a person: the target keeps its data; restore the values, \
             or allow the deletions: kubectl annotate{namespace} {kind} {} {annotation}=\"$(date +%s)\" --overwrite",
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
    /// Losses that were found, and when.
    found: BTreeMap<Name, Instant>,
    /// Losses that were carried out, and when.
    done: BTreeMap<Name, Instant>,
    /// Losses that a person allowed.
    allowed: BTreeSet<Name>,
    latch: Latch,
}

#[derive(Default)]
enum Latch {
    #[default]
    Open,
    Closed {
        /// The annotation's value when the latch closed.
        allowance: Option<String>,
        /// Targets that wait for the latch.
        held: BTreeSet<Name>,
    },
}

impl Losses {
    /// Records an ExternalSecret from the watch, and replaces what was known of it. When it is seen
    /// for the first time, its status shows what an earlier process did. `allowance` is the value
    /// of a store's annotation.
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

    /// Drops a deleted ExternalSecret.
    pub fn forget(&self, name: &Name) {
        self.enrol(name, None, Past::Nothing, |_| None, Instant::now());
    }

    /// Drops the losses of an ExternalSecret that another one of its name has replaced, which stays.
    pub fn forget_judged(&self, name: &Name) {
        self.books().values_mut().for_each(|book| book.leave_losses(name));
    }

    /// Whether it has a loss that is not decided yet.
    pub fn awaits(&self, name: &Name) -> bool {
        self.books().values().any(|book| book.found.contains_key(name))
    }

    /// Judges what a target would lose.
    ///
    /// # Errors
    /// [`Halt`]: it must not lose anything now.
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

    /// Records that a target lost what it was allowed to.
    pub fn carried_out(&self, name: &Name, now: Instant) {
        for book in self.books().values_mut() {
            let counts = !book.allowed.remove(name);
            if book.found.remove(name).is_some() && counts {
                book.done.insert(name.clone(), now);
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<StoreName, Book>> {
        self.0.lock()
    }
}

#[cfg(test)]
impl Losses {
    /// Whether anything is recorded of an ExternalSecret.
    pub fn knows(&self, name: &Name) -> bool {
        self.books().values().any(|book| {
            let held = match &book.latch {
                Latch::Open => false,
                Latch::Closed { held, .. } => held.contains(name),
            };
            let lists = book.members.contains_key(name) || book.found.contains_key(name);
            lists || book.done.contains_key(name) || book.allowed.contains(name) || held
        })
    }

    /// Lets all losses be so much older.
    pub fn pass(&self, time: Duration) {
        for at in self.books().values_mut().flat_map(|book| book.found.values_mut().chain(book.done.values_mut())) {
            *at = at.checked_sub(time).unwrap_or(*at);
        }
    }
}

impl Book {
    /// Restores what an earlier process recorded in the status.
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

    /// Call this when its values are back, or it does not use them any more.
    fn leave_losses(&mut self, name: &Name) {
        self.done.remove(name);
        self.release(name);
    }

    /// Call this when it has nothing left to lose.
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

    /// A new value of the annotation opens the latch once, for those that wait for it, and the
    /// count begins again.
    fn heed(&mut self, store: &StoreName, present: Option<String>) {
        let Latch::Closed { allowance, held } = &mut self.latch else { return };
        if present.is_none() || present == *allowance {
            // If the annotation was removed, even the former value is a new one.
            *allowance = present;
            return;
        }
        let held = std::mem::take(held);
        tracing::warn!(%store, targets = held.len(), "a person allowed the deletions");
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
                tracing::warn!(%store, losing, all, "too many targets would lose values: blocked");
                self.latch = Latch::Closed { allowance, held: self.found.keys().cloned().collect() };
                Err(blocked())
            }
            Latch::Open => match LOOK_AROUND.checked_sub(now.duration_since(since)) {
                Some(rest) if !rest.is_zero() => Err(Halt::LookAround(rest)),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// How many targets lose values in the window that ends now, and how many there are.
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
