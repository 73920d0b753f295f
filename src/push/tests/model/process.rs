//! A process that leads, or that led and does not know yet that another one does: what it remembers,
//! and whom it reconciles next. All of this ends with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::moves::NAMES;
use crate::api::push_secret::PushSecretStatus;
use crate::cluster::in_memory::ApiServer;
use crate::controller::backoff::{self, Backoff};
use crate::controller::referrers::{Referrer, Referrers};
use crate::controller::report::{Report, Requeue};
use crate::domain::object_name::Name;
use crate::push::deletions::Deletions;
use crate::push::intents::Intents;
use crate::push::offers::Offers;
use crate::push::patience::Leeway;

pub struct Process {
    pub offers: Offers,
    pub intents: Intents,
    pub deletions: Deletions,
    pub leeway: Leeway,
    pub referrers: Referrers,
    pub config_maps: Referrers,
    /// Where stores led when its watch last showed them, where it is behind.
    pub shown: [Option<usize>; NAMES.len()],
    /// By the stores' numbers, the places with which it has sessions from before a store was edited.
    pub sessions: BTreeSet<(usize, usize)>,
    backoff: Backoff,
    woken: Arc<Mutex<BTreeSet<Name>>>,
    /// When it reconciles whom again, unless something wakes it earlier.
    due: Mutex<BTreeMap<Name, Instant>>,
}

impl Process {
    /// It remembers nothing, and is about to reconcile everything that its watch lists: `all`.
    pub fn new(server: &ApiServer, all: impl Iterator<Item = Name>) -> Self {
        let woken = Arc::new(Mutex::new(all.collect::<BTreeSet<Name>>()));
        let wakes = woken.clone();
        Process {
            offers: Offers::new(Box::new(server.clone()), Box::new(move |name| wakes.lock().extend([name]))),
            intents: Intents::default(),
            deletions: Deletions::default(),
            leeway: Leeway::default(),
            referrers: Referrers::default(),
            config_maps: Referrers::default(),
            shown: [None; NAMES.len()],
            sessions: BTreeSet::new(),
            backoff: Backoff::default(),
            woken,
            due: Mutex::default(),
        }
    }

    pub fn wake(&self, names: impl IntoIterator<Item = Name>) {
        self.woken.lock().extend(names);
    }

    pub fn is_woken(&self, name: &Name) -> bool {
        self.woken.lock().contains(name)
    }

    /// Its watch shows another version of a Secret.
    pub fn sees_source(&self, source: &Name, labels: &BTreeMap<String, String>) {
        let of = self.referrers.concerned(source, labels).into_iter();
        self.wake(of.filter_map(|referrer| match referrer {
            Referrer::PushSecret(name) | Referrer::PushTemplate(name) => Some(name),
            Referrer::ExternalSecret(_) | Referrer::PullTemplate(_) => None,
        }));
    }

    /// Its watch shows that the PushSecret is gone.
    pub fn forget(&self, name: &Name) {
        self.woken.lock().remove(name);
        self.due.lock().remove(name);
        self.backoff.reset(name);
        self.deletions.forget(&name.to_string());
        self.deletions.keep_only(&name.to_string(), |_| false);
        self.offers.forget(name);
    }

    /// Whoever is woken, or else is due first, and not later than `latest`. Time passes until then.
    pub async fn next(&self, latest: Instant) -> Option<Name> {
        let woken = self.woken.lock().first().cloned();
        if woken.is_some() {
            return woken;
        }
        let first = self.due.lock().iter().map(|(name, at)| (*at, name.clone())).min();
        let (at, name) = first.filter(|(at, _)| *at <= latest)?;
        tokio::time::advance(at.saturating_duration_since(Instant::now())).await;
        Some(name)
    }

    /// It begins to reconcile it. Whatever wakes it from now on is not answered by this reconcile.
    pub fn begins(&self, name: &Name) {
        self.woken.lock().remove(name);
        self.due.lock().remove(name);
    }

    /// It has reconciled a generation of it, and its status was written or not.
    pub fn ends(&self, name: &Name, generation: i64, report: &Report<PushSecretStatus>, is_written: bool) {
        let requeue = if is_written { report.requeue() } else { Some(Requeue::BackOff) };
        let pause = match requeue {
            Some(Requeue::BackOff | Requeue::AskAgain) => return self.fails(name, generation),
            Some(Requeue::Throttled) => Some(backoff::steady()),
            Some(Requeue::After(pause)) => Some(pause.max(Duration::from_millis(1))),
            Some(Requeue::AwaitChange) | None => None,
        };
        self.backoff.reset(name);
        self.due.lock().extend(pause.map(|pause| (name.clone(), Instant::now() + pause)));
    }

    /// A reconcile failed, or did not come to its end.
    pub fn fails(&self, name: &Name, generation: i64) {
        let pause = self.backoff.failed(name, generation.unsigned_abs());
        self.due.lock().insert(name.clone(), Instant::now() + pause);
    }
}
