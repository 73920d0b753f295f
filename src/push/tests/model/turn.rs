//! One reconcile of the model, by the process that leads or by one that led before, and what the
//! model learns from it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::moves::{By, NAMES, PATHS, PROPERTIES, SERVERS, SITES, Stop};
use super::process::Process;
use super::shelf::{Shelf, site};
use super::world::{Spot, World, lists, name, spots, url};
use crate::api::PushSecret;
use crate::api::push_secret::PushSecretStatus;
use crate::api::store_location::StoreLocation;
use crate::controller::report::Report;
use crate::domain::convention::Convention;
use crate::domain::object_name::Name;
use crate::metrics::LetGo;
use crate::push::reconcile::{self, reconcile};
use crate::push::tests::bench::save;

/// A reconcile that takes longer is dropped.
const LONGEST_TURN: Duration = Duration::from_secs(300);
/// A process that does not lead any more finds that within this time, and ends (ADR 0007).
const LONGEST_AFTER_LEADING: Duration = Duration::from_secs(2);
/// How long what cannot be removed holds a PushSecret that is deleted.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(600);

/// A reconcile that has ended, or was cut off.
pub struct Turn {
    push: usize,
    by: By,
    stop: Option<Stop>,
    /// What its PushSecret listed before.
    listed: Vec<Spot>,
    /// Where its copy of the status says that stores lead.
    known: BTreeMap<String, StoreLocation>,
    uid: String,
    generation: i64,
    /// What it said; `None` if it was cut off.
    report: Option<Report<PushSecretStatus>>,
}

impl World {
    /// One reconcile with its status written, as the controller does it, or as much of it as the
    /// polls allow. None if its copy of the PushSecret is of one that was never there.
    pub async fn run(&self, push: usize, by: By, behind: usize, stop: Option<Stop>) -> Option<Turn> {
        let object = self.server.get_before::<PushSecret>(&url(push), behind)?;
        let known = object.status.as_ref().map(|status| status.store_locations.clone()).unwrap_or_default();
        let (uid, generation) = (object.uid().unwrap_or_default(), object.metadata.generation.unwrap_or_default());
        let present = self.server.push_secret(&url(push));
        let listed = present.iter().flat_map(|push| spots().filter(move |spot| lists(push, *spot))).collect();
        let longest = match by {
            By::Leader => LONGEST_TURN,
            By::Former => LONGEST_AFTER_LEADING,
        };
        let convention = Convention::default();
        let run = tokio::time::timeout(longest, self.reconcile(self.process(by), object, &convention));
        let report = match stop {
            None => run.await.ok(),
            Some(Stop::Panics(polls) | Stop::Exits(polls)) => cut(run, polls).await.and_then(Result::ok),
        };
        Some(Turn { push, by, stop, listed, known, uid, generation, report })
    }

    /// Two of them at once. Of two processes, the first stands still after so many polls, and goes on
    /// when the other one is done. In one process, the second begins then.
    pub async fn run_both(&self, [(one, by), (other, by_other)]: [(usize, By); 2], after: u16) -> [Option<Turn>; 2] {
        let (mut one, other) = (pin!(self.run(one, by, 0, None)), self.run(other, by_other, 0, None));
        if let Some(one) = cut(one.as_mut(), after).await {
            return [one, other.await];
        }
        if by == by_other {
            return <[_; 2]>::from(futures::join!(one, other));
        }
        let other = other.await;
        [one.await, other]
    }

    /// Takes in what became of it.
    pub fn take(&mut self, turn: &Turn) {
        let Turn { push, by, stop, listed, known, uid, generation, report } = turn;
        let deleted = self.deleted.get(uid).copied();
        if report.is_none() {
            self.process(*by).fails(&Name::new("db", name(*push)), *generation);
            match (by, stop) {
                (By::Leader, Some(Stop::Exits(_))) => self.restart(),
                (By::Former, None | Some(Stop::Exits(_))) => self.former = None,
                (By::Leader | By::Former, None | Some(Stop::Panics(_))) => {}
            }
            // Its last word may have gone with it: that it leaves what it cannot tell its own.
            let unsaid: Vec<Spot> = listed.iter().copied().filter(|spot| self.is_foreign(*spot)).collect();
            self.orphaned.extend(unsaid);
        }
        if let Some(Report::LetGo { .. }) = report {
            self.released.insert(uid.clone());
        }
        if let Some(Report::LetGo {
            why: why @ (LetGo::StoreGone | LetGo::StoreRefused | LetGo::Unreadable), left, ..
        }) = report
            && deleted.is_none_or(|deleted| deleted.elapsed() < CLEANUP_DEADLINE)
        {
            self.let_go_early = Some(format!("{why:?}: {left}"));
        }
        let mut words = Vec::new();
        let mut report = report.as_ref();
        while let Some(Report::LetGo { left, .. } | Report::Orphaned { left, .. }) = report {
            words.extend(left.split([',', ';']).map(str::to_owned));
            report = match report {
                Some(Report::LetGo { rest, .. } | Report::Orphaned { rest, .. }) => Some(rest),
                _ => None,
            };
        }
        let named: Vec<Spot> = spots().filter(|spot| words.iter().any(|part| self.names(part, *spot, known))).collect();
        self.orphaned.extend(named);
    }

    /// Whether a message names the value there: by its former location, or by where the store leads
    /// or led by the status.
    fn names(&self, words: &str, spot: Spot, known: &BTreeMap<String, StoreLocation>) -> bool {
        let (server, mount) = SITES[spot.site];
        let mut names =
            NAMES.iter().enumerate().filter(|(_, (name, _))| words.contains(&format!("ClusterSecretStore/{name}")));
        let is_there = match words.contains("(formerly ") {
            true => words.contains(&format!("(formerly mount {mount} at {})", SERVERS[server])),
            false => names.any(|(number, (name, _))| {
                let recorded = known.get(&format!("ClusterSecretStore/{name}")).and_then(site);
                recorded.unwrap_or(self.leads[number]) == spot.site
            }),
        };
        is_there && words.contains(PATHS[spot.path]) && words.contains(PROPERTIES[spot.property])
    }

    pub async fn reconcile(
        &self,
        process: &Process,
        object: PushSecret,
        convention: &Convention,
    ) -> Report<PushSecretStatus> {
        let cluster = self.server.cluster();
        let shelf = Shelf {
            servers: self.servers.clone(),
            forged: self.forged.clone(),
            standing: self.standing,
            leads: self.leads,
            shown: std::array::from_fn(|name| process.shown[name].unwrap_or(self.leads[name])),
            sessions: process.sessions.clone(),
        };
        // The runtime's clock moves only when we let it.
        let passed = Duration::from_millis(
            u64::try_from(tokio::time::Instant::now().into_std().saturating_duration_since(self.began).as_millis())
                .unwrap_or_default(),
        );
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + passed;
        let world = reconcile::World {
            cluster: &cluster,
            stores: &shelf,
            announce: &|_key, _pushed| {},
            publishes: &|_places| {},
            beyond: &Vec::new,
            tells_beyond: &|_paths| {},
            referrers: &process.referrers,
            config_maps: &process.config_maps,
            convention,
            heartbeat: Duration::from_secs(24 * 3600),
            cleanup_deadline: CLEANUP_DEADLINE,
            cluster_name: "here",
            intents: &process.intents,
            deletions: &process.deletions,
            leeway: &process.leeway,
            offers: &process.offers,
            instant: self.began + passed,
            now: now + SignedDuration::from_mins(self.clock),
        };
        let (uid, generation) = (object.uid().unwrap_or_default(), object.metadata.generation.unwrap_or_default());
        let name = Name::new(object.namespace().unwrap_or_default(), object.name_any());
        process.begins(&name);
        let report = reconcile(Arc::new(object), &world).await;
        let is_written = save(&cluster, [&uid, &name.namespace, &name.name], &report).await;
        process.ends(&name, generation, &report, is_written);
        report
    }
}

/// Polls so often, and drops what is not done by then.
async fn cut<F: Future>(future: F, polls: u16) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(done) = futures::poll!(&mut future) {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}
