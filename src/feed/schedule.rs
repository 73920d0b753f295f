//! The feed's own task: checks each followed path once per interval, and drops expired bytes.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::index::{Check, Due};
use super::listing::{Folder, Listing, Plan};
use super::{Feed, Seen, Source};
use crate::domain::consent;
use crate::domain::path::{LogicalPath, RemotePath};
use crate::store::error::Family;
use crate::store::{Heads, Identity, Latest, Site, StoreError};

/// The maximum number of concurrent checks of one login.
const CONCURRENT_CHECKS: usize = 8;
/// How often held bytes are checked for expiry.
const EXPIRY: Duration = Duration::from_secs(1);

/// The running checks, one task per login: a slow login delays no other's paths.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) running: JoinSet<(Identity, Vec<Listed>)>,
    /// What became due for a login whose checks are running.
    busy: BTreeMap<Identity, BTreeMap<Site, Due>>,
}

/// A folder that was listed, and when that began.
pub(super) struct Listed {
    folder: Folder,
    begun: Instant,
}

impl Listed {
    /// Whether the listing is a check of the path. It does not show what happened after it began.
    fn serves(&self, path: &Due) -> bool {
        self.folder.serves(path) && path.asked.is_none_or(|asked| asked <= self.begun)
    }
}

impl Checks {
    /// Starts the checks of one login, or queues them until the running ones have ended.
    pub(super) fn start(&mut self, feed: &Arc<Feed>, identity: Identity, plan: Plan, now: Instant) {
        if let Some(waiting) = self.busy.get_mut(&identity) {
            // What becomes due again while it is queued is checked once.
            for path in plan.into_due() {
                let asked = waiting.get(&path.site).and_then(|queued| queued.asked).max(path.asked);
                waiting.insert(path.site.clone(), Due { asked, ..path });
            }
            return;
        }
        self.busy.insert(identity.clone(), BTreeMap::new());
        let feed = feed.clone();
        self.running.spawn(async move {
            let listed = feed.carry_out(plan, now, jittered).await;
            (identity, listed)
        });
    }

    pub(super) fn ended(&mut self, feed: &Arc<Feed>, ended: Result<(Identity, Vec<Listed>), JoinError>) {
        let (identity, listed) = match ended {
            Ok(ended) => ended,
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // A check is cancelled only when the whole feed ends.
                Err(_cancelled) => return,
            },
        };
        // A listing serves what became due in its folder meanwhile; its result decides about the
        // rest.
        let waiting = self.busy.remove(&identity).unwrap_or_default().into_values();
        let due = waiting.filter(|path| !listed.iter().any(|listed| listed.serves(path))).collect();
        let now = Instant::now();
        for (identity, plan) in feed.arrange(due, now) {
            self.start(feed, identity, plan, now);
        }
    }
}

/// Varies an interval.
type Jitter = fn(Duration) -> Duration;

/// The result of checking one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Every login could read the path.
    Given,
    /// One login could not.
    Failed,
}

/// Waits for a moment; for none, without end.
pub(super) async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => pending().await,
    }
}

impl Feed {
    /// Runs until cancelled. Start it together with reconciling: both begin the initial phase in
    /// which everything is read once.
    ///
    /// # Panics
    /// When a check does.
    pub async fn run(self: Arc<Self>, token: CancellationToken) {
        self.index().started(Timestamp::now(), Instant::now());
        let mut checks = Checks::default();
        let mut expires = None;
        loop {
            // A deadline, which whatever else happens does not postpone.
            expires = match self.shelf.is_empty() {
                true => None,
                false => expires.or_else(|| Some(Instant::now() + EXPIRY)),
            };
            tokio::select! {
                () = token.cancelled() => return,
                () = self.due() => {
                    let now = Instant::now();
                    for (identity, plan) in self.plan(now, jittered) {
                        checks.start(&self, identity, plan, now);
                    }
                }
                Some(ended) = checks.running.join_next() => checks.ended(&self, ended),
                () = reached(expires) => {
                    expires = None;
                    let now = Instant::now();
                    self.index().expire(now);
                    self.shelf.expire(&self.index, now);
                }
            }
        }
    }

    async fn due(&self) {
        let next = self.index().next_due();
        tokio::select! {
            () = reached(next) => {}
            () = self.rescheduled.notified() => {}
        }
    }

    /// Takes what is due.
    pub(super) fn plan(&self, now: Instant, jitter: Jitter) -> BTreeMap<Identity, Plan> {
        let due = self.index().take_due(now, jitter);
        self.arrange(due, now)
    }

    /// What each login lists, and what it checks one by one.
    fn arrange(&self, due: Vec<Due>, now: Instant) -> BTreeMap<Identity, Plan> {
        let Plan { listings, alone } = {
            let index = self.index();
            self.listings().plan(due, now, |tree| index.followed(tree))
        };
        let mut plans: BTreeMap<Identity, Plan> = BTreeMap::new();
        for listing in listings {
            plans.entry(listing.folder.tree.identity.clone()).or_default().listings.push(listing);
        }
        for path in alone.into_iter().flat_map(Due::apart) {
            if let Some(login) = path.logins.first() {
                plans.entry(login.source.client.identity().clone()).or_default().alone.push(path);
            }
        }
        plans
    }

    /// Checks what is due, with all logins in parallel.
    #[cfg(test)]
    pub(super) async fn check_due(self: Arc<Self>, now: Instant, jitter: Jitter) {
        let plans = self.plan(now, jitter).into_values();
        futures::future::join_all(plans.map(|plan| self.clone().carry_out(plan, now, jitter))).await;
    }

    /// Runs the checks of one login, by listings where possible. Returns the listed folders.
    async fn carry_out(self: Arc<Self>, plan: Plan, now: Instant, jitter: Jitter) -> Vec<Listed> {
        let Plan { listings, alone } = plan;
        let listed = stream::iter(listings)
            .map(|listing| self.clone().check_listed(listing, now, jitter))
            .buffer_unordered(CONCURRENT_CHECKS)
            .filter_map(std::future::ready)
            .collect();
        futures::join!(listed, self.clone().check_each(alone)).0
    }

    /// If a listing fails in any way, each due path is checked separately, and that answer counts.
    async fn check_listed(self: Arc<Self>, listing: Listing, now: Instant, jitter: Jitter) -> Option<Listed> {
        let Listing { folder, limit, source, sample, others } = listing;
        let asked = sample.site.clone();
        let mut begun = Instant::now();
        let entries = match self.check(sample).await {
            Answer::Given => {
                begun = Instant::now();
                self.list(&source, &folder, limit, now).await
            }
            Answer::Failed => None,
        };
        let was_listed = entries.is_some();
        let alone = match entries {
            Some(entries) => {
                let (woken, mut unlisted) = self.index().listed(&folder, others, &entries, begun, now, jitter);
                self.wake(woken);
                unlisted.retain(|path| path.site != asked);
                unlisted
            }
            None => others,
        };
        self.check_each(alone).await;
        was_listed.then_some(Listed { folder, begun })
    }

    /// The entries below the folder, or `None`, which is recorded for later listings.
    async fn list(
        &self,
        source: &Source,
        folder: &Folder,
        limit: usize,
        now: Instant,
    ) -> Option<HashMap<String, Latest>> {
        let path = LogicalPath::parse(&folder.path).ok()?;
        let at = RemotePath { mount: source.path.mount.clone(), path };
        match source.client.heads(&at, limit).await {
            Ok(Heads::Listed(entries)) => {
                tracing::debug!(folder = %at, entries = entries.len(), "listed");
                return Some(entries);
            }
            Ok(Heads::TooLarge) => {
                tracing::debug!(folder = %at, limit, "a listing would be too large");
                self.listings().too_large(folder, limit, now);
            }
            Ok(Heads::Unavailable) => {
                tracing::debug!(folder = %at, "listing is not available here: each path is checked separately");
                self.listings().refused(folder, now);
            }
            Err(error) => {
                tracing::debug!(folder = %at, %error, "listing failed");
                self.listings().failed(folder, now);
            }
        }
        None
    }

    async fn check_each(self: Arc<Self>, paths: Vec<Due>) {
        stream::iter(paths)
            .for_each_concurrent(CONCURRENT_CHECKS, |due| {
                let feed = self.clone();
                async move {
                    feed.check(due).await;
                }
            })
            .await;
    }

    /// Requests the version with the first login that may read it. All logins of a site are at its
    /// address: if the server is down, it is so for all.
    async fn check(&self, due: Due) -> Answer {
        let Due { site, logins, .. } = due;
        let (mut is_answered, mut is_decided, mut answer) = (false, false, Answer::Given);
        // A login may see data alone.
        let shows_metadata = self.index().shows_metadata(&site);
        for Check { source, .. } in logins {
            if is_decided {
                break;
            }
            let (identity, begun) = (source.client.identity(), Instant::now());
            match source.client.head(&source.path).await {
                Ok(head) => {
                    (is_answered, is_decided) = (true, !shows_metadata || head.metadata.is_some());
                    let consents = head.custom_metadata.as_ref().map(consent::digest);
                    let seen = Seen { version: head.version, live: head.live, consents, created: head.created };
                    let woken = self.index().checked(&site, identity, seen, head.metadata, begun, Instant::now());
                    self.wake(woken);
                }
                Err(error) => {
                    tracing::debug!(path = %source.path, %error, "check failed");
                    let woken = self.index().check_failed(&site, identity, Instant::now());
                    self.wake(woken);
                    is_decided |= fails_for_all(&error);
                    answer = Answer::Failed;
                }
            }
        }
        if !is_answered {
            self.index().retry(&site, Instant::now());
            self.rescheduled.notify_one();
        }
        answer
    }
}

/// Whether another login at the same address would fail as well: the server is down, but a denied
/// request or an ended session concerns one login.
fn fails_for_all(error: &StoreError) -> bool {
    match error.family() {
        Family::Failed => !matches!(error, StoreError::SessionClosed { .. } | StoreError::CredentialUnread { .. }),
        Family::Throttled => true,
        Family::Invalid | Family::Refused => false,
    }
}

/// Varies an interval by up to 5 %, so that paths that became due together do not stay together.
pub(super) fn jittered(window: Duration) -> Duration {
    window.mul_f64(rand::random_range(0.95..=1.05))
}
