//! Bounds the deletions that follow from values that are gone from a store: if a store loses many
//! values at once, by a restore or a mistake, not all Secrets are deleted with them.
//!
//! A loss is carried out only after [`LOOK_AROUND`], so that losses found together are counted
//! together. Over the bound, the store's latch closes: every loss waits until the last missing
//! value is back, or a person allows them. Edits and deletions of our resources, and what a push of
//! ours removed, are not bounded.
//!
//! A spec may name any store. So an ExternalSecret counts for a store only once the store was opened
//! for its namespace. Until then it can at most restrict, by what an earlier process recorded of that
//! very store.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;

use super::absence::Absence;
use super::roll::{Member, Past};
use super::unjudged::Unjudged;
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
/// They are counted over this at most, so that no interval of one namespace blocks the others for
/// years.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a loss waits for others to be found.
pub const LOOK_AROUND: Duration = Duration::from_secs(10);

/// Why a loss is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Halt {
    /// Not yet: more losses may be found.
    #[error("values are gone: before anything is deleted, Waypost looks {}s for more that are", .0.as_secs())]
    LookAround(Duration),
    /// Too many, by each of these stores.
    #[error("{}", .0.iter().map(Blocked::to_string).collect::<Vec<_>>().join("; "))]
    Blocked(Vec<Blocked>),
}

/// A store whose latch is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub store: StoreName,
    /// Targets that lost values in the window, or would.
    pub losing: usize,
    /// The store's targets with deletionPolicy Delete or dataFrom.find, including those at the
    /// beginning of the window.
    pub all: usize,
}

impl Blocked {
    /// Whether a message of [`Halt::Blocked`] names this store. The status has no other record of it.
    pub fn is_named(message: &str, store: &StoreName) -> bool {
        message.contains(&format!("{}{store}, ", Blocked::GONE_FROM))
    }

    const GONE_FROM: &str = "are gone from ";
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
        let gone_from = Blocked::GONE_FROM;
        write!(
            f,
            "values of {losing} of {all} targets with deletionPolicy Delete or dataFrom.find {gone_from}{store}, and \
             losses of more than {MOST_TARGETS} targets and {MOST_PERCENT} % of them wait for a person: the target keeps its data; restore the values, \
             or allow the deletions: kubectl annotate{namespace} {kind} {} {annotation}=\"$(date +%s)\" --overwrite",
            store.name
        )
    }
}

/// Whether an ExternalSecret reads a store that its spec names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The store was opened for its namespace.
    Yes,
    /// No entry uses the store, or the store does not serve the namespace.
    No,
    /// The store cannot be opened now, by nobody.
    Unknown,
}

/// What is known of losses.
#[derive(Default)]
pub struct Losses(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    books: BTreeMap<StoreName, Book>,
    /// All ExternalSecrets that this process has seen.
    seen: HashSet<Name>,
}

/// One store's losses.
#[derive(Default)]
struct Book {
    members: HashMap<Name, (Member, Standing)>,
    /// Losses that were found, and when.
    found: BTreeMap<Name, Instant>,
    /// Losses that were carried out, and when.
    done: BTreeMap<Name, Instant>,
    /// Losses that a person allowed.
    allowed: BTreeSet<Name>,
    latch: Latch,
}

/// What an ExternalSecret is to a store that its spec names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not known: no reconcile of it has ended since this process started.
    New,
    /// Not known, because the store could not be opened when it was reconciled.
    Unopened,
    /// The store was opened for its namespace.
    Admitted,
    /// It does not read the store, or may not.
    Outside,
}

/// How many targets of a store lose values, and how many there are.
struct Count {
    losing: usize,
    all: usize,
    /// Those of `losing` that surely count.
    surely_losing: usize,
    /// `all`, with those that may turn out to count.
    most: usize,
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
    /// Records an ExternalSecret from the watch, and replaces what was known of it. When this process
    /// sees it for the first time, its status shows what an earlier process did. `allowance` is the
    /// value of a store's annotation.
    pub fn enrol(
        &self,
        name: &Name,
        roll: Option<(Member, BTreeSet<StoreName>)>,
        past: impl Fn(&StoreName) -> Past,
        allowance: impl Fn(&StoreName) -> Option<String>,
        now: Instant,
    ) {
        let mut inner = self.inner();
        let is_new = inner.seen.insert(name.clone());
        inner.leave(name, |store| !roll.as_ref().is_some_and(|(_, stores)| stores.contains(store)));
        let Some((member, stores)) = roll else { return };
        for store in stores {
            let (past, allowance) = (past(&store), allowance(&store));
            let book = inner.books.entry(store).or_default();
            let standing = book.members.get(name).map(|(_, standing)| *standing);
            let first = if is_new { Standing::New } else { Standing::Outside };
            book.members.insert(name.clone(), (member, standing.unwrap_or(first)));
            if is_new {
                book.recall(name, past, allowance, now);
            }
        }
    }

    /// Drops a deleted ExternalSecret.
    pub fn forget(&self, name: &Name) {
        let mut inner = self.inner();
        inner.leave(name, |_| true);
        inner.seen.remove(name);
    }

    /// Drops the losses of an ExternalSecret that another one of its name has replaced, which stays.
    pub fn forget_judged(&self, name: &Name) {
        self.inner().books.values_mut().for_each(|book| book.leave_losses(name));
    }

    /// Records which of the stores that an ExternalSecret names it reads.
    pub fn opened(&self, name: &Name, reads: impl Fn(&StoreName) -> Reads) {
        for (store, book) in &mut self.inner().books {
            let Some((_, standing)) = book.members.get_mut(name) else { continue };
            match (reads(store), *standing) {
                (Reads::Yes, _) => *standing = Standing::Admitted,
                (Reads::No, _) => book.bar(name),
                (Reads::Unknown, Standing::New) => *standing = Standing::Unopened,
                (Reads::Unknown, Standing::Unopened | Standing::Admitted | Standing::Outside) => {}
            }
        }
    }

    /// Records that a reconcile ended whose losses were not judged. What was found before must hold
    /// nobody else up for ever.
    pub fn unjudged(&self, name: &Name, unjudged: Unjudged) {
        for book in self.inner().books.values_mut() {
            match unjudged {
                Unjudged::Barred => book.bar(name),
                Unjudged::Decided => book.release(name),
            }
        }
    }

    /// Whether it has a loss that is not decided yet.
    pub fn awaits(&self, name: &Name) -> bool {
        self.inner().books.values().any(|book| book.found.contains_key(name))
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
        let mut inner = self.inner();
        let (mut blocked, mut pause) = (Vec::new(), None);
        for (store, absence) in absences {
            let book = inner.books.entry(store.clone()).or_default();
            book.heed(store, allowance(store));
            match absence {
                Absence::Nothing => book.leave_losses(name),
                Absence::Harmless => book.release(name),
                Absence::Loss => match book.judge(name, store, allowance(store), now) {
                    Ok(()) => {}
                    Err(Halt::Blocked(by)) => blocked.extend(by),
                    Err(Halt::LookAround(rest)) => pause = pause.max(Some(rest)),
                },
            }
        }
        match pause {
            _ if !blocked.is_empty() => Err(Halt::Blocked(blocked)),
            Some(pause) => Err(Halt::LookAround(pause)),
            None => Ok(()),
        }
    }

    /// Records that a target lost what it was allowed to.
    pub fn carried_out(&self, name: &Name, now: Instant) {
        for book in self.inner().books.values_mut() {
            let counts = !book.allowed.remove(name);
            if book.found.remove(name).is_some() && counts {
                book.done.insert(name.clone(), now);
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Inner {
    /// It does not name these stores any more.
    fn leave(&mut self, name: &Name, which: impl Fn(&StoreName) -> bool) {
        self.books.iter_mut().filter(|(store, _)| which(store)).for_each(|(_, book)| book.leave(name));
        self.books.retain(|_, book| !book.members.is_empty());
    }
}

#[cfg(test)]
impl Losses {
    /// Whether anything is recorded of an ExternalSecret.
    pub fn knows(&self, name: &Name) -> bool {
        let inner = self.inner();
        inner.seen.contains(name)
            || inner.books.values().any(|book| {
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
        for at in self.inner().books.values_mut().flat_map(|book| book.found.values_mut().chain(book.done.values_mut()))
        {
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

    /// Call this when it does not read the store. What an earlier process recorded counts for nothing
    /// if the store was never opened for it, but what this one saw happened.
    fn bar(&mut self, name: &Name) {
        let Some((_, standing)) = self.members.get_mut(name) else { return };
        match std::mem::replace(standing, Standing::Outside) {
            Standing::New | Standing::Unopened => self.leave_losses(name),
            Standing::Admitted | Standing::Outside => self.release(name),
        }
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
        let Count { losing, all, surely_losing, most } = self.count(self.window(), now);
        let blocked = || Halt::Blocked(vec![Blocked { store: store.clone(), losing, all: most }]);
        let is_recalled = |held: &Name| matches!(self.members.get(held), Some((_, Standing::New)));
        match &mut self.latch {
            // Those that an earlier process held may not read the store any more.
            Latch::Closed { held, .. } if held.iter().all(is_recalled) => Err(Halt::LookAround(LOOK_AROUND)),
            Latch::Closed { held, .. } => {
                held.insert(name.clone());
                Err(blocked())
            }
            Latch::Open if is_over_the_bound(surely_losing, most) => {
                tracing::warn!(%store, losing, all = most, "too many targets would lose values: blocked");
                self.latch = Latch::Closed { allowance, held: self.found.keys().cloned().collect() };
                Err(blocked())
            }
            // It depends on those that are not reconciled yet.
            Latch::Open if is_over_the_bound(losing, all) => Err(Halt::LookAround(LOOK_AROUND)),
            Latch::Open => match LOOK_AROUND.checked_sub(now.duration_since(since)) {
                Some(rest) if !rest.is_zero() => Err(Halt::LookAround(rest)),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Over how long losses are counted.
    fn window(&self) -> Duration {
        let counts = self.members.values().filter(|(_, standing)| *standing != Standing::Outside);
        let longest = counts.map(|(member, _)| member.interval).max().unwrap_or_default();
        longest.clamp(SHORTEST_WINDOW, LONGEST_WINDOW)
    }

    /// How many targets lose values in the window that ends now, and how many there are.
    fn count(&mut self, window: Duration, now: Instant) -> Count {
        self.done.retain(|_, at| now.duration_since(*at) < window);
        let mut losing: BTreeSet<&Name> = self.found.keys().chain(self.done.keys()).collect();
        if let Latch::Closed { held, .. } = &self.latch {
            losing.extend(held);
        }
        let with_target = self.members.iter().filter(|(name, (member, _))| member.has_target && !losing.contains(name));
        let (mut admitted, mut unknown) = (0, 0);
        for (_, (_, standing)) in with_target {
            match standing {
                Standing::Admitted => admitted += 1,
                Standing::New => unknown += 1,
                Standing::Unopened | Standing::Outside => {}
            }
        }
        let is_sure = |name: &&&Name| !matches!(self.members.get(**name), Some((_, Standing::New)));
        let (surely_losing, losing) = (losing.iter().filter(is_sure).count(), losing.len());
        let all = losing + admitted;
        Count { losing, all, surely_losing, most: all + unknown }
    }
}

fn is_over_the_bound(losing: usize, all: usize) -> bool {
    losing > MOST_TARGETS && losing * 100 > all * MOST_PERCENT
}
