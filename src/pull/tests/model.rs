//! Random stories over the real reconcile: versions, consents, edits of the resource and of its
//! store, writes that fail or whose reply is lost, a cache that lags, lists made anew, a deletion
//! in the middle of a reconcile. After each reconcile the status must be honest; when it is calm
//! the target must be right, and nobody may ask for anything any more; and of what is deleted
//! nothing may be remembered.
//!
//! In the end only what was woken, or asked to be tried again soon, is reconciled: no wake-up is
//! missing. They come as in the running controller: from the feed, from the watch of Secrets with
//! its referrers and our own writes, and from what of an ExternalSecret triggers a reconcile. Of
//! stores only the outcome is played, that an edit wakes who refers to it: `run::dependants` reads
//! caches that only watches fill.
//!
//! `WAYPOST_MODEL_CASES` sets how many stories are told.

mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::*;
use crate::api::kind::Kind;
use crate::cluster::in_memory::{ApiServer, Fault};
use crate::controller::drive::Reconciler;
use crate::controller::publish::{Published, Subject};
use crate::domain::consent;
use crate::feed::Pushed;
use world::{PLACES, World, spec_of};

const OBJECT: &str = "/namespaces/team/externalsecrets/db";
const TARGET: &str = "/namespaces/team/secrets/db";
const CASES: u32 = 120;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A push writes the next version, in the place that the store means.
    Push,
    /// A person writes it, and nobody says so.
    WriteByHand,
    /// The producer takes its consent back, or gives it.
    Consent(bool),
    /// The store means another server, or another mount.
    EditStore(usize),
    /// The store is not there, does not serve the namespace, or serves again.
    Store(Serves),
    /// Its credential is rotated.
    RotateCredential,
    /// Another spec: the other property.
    EditSpec,
    /// An annotation, as a person sets it who wants a refresh.
    Touch,
    /// Somebody writes to the target, or deletes it.
    EditTarget,
    DeleteTarget,
    /// The next write of the target, or of the status, runs into this.
    FailTarget(Fault),
    FailStatus(Fault),
    /// The cache lags from now on, or has caught up.
    Lag(bool),
    /// The watch lists anew.
    Relist,
    /// Every path is checked.
    Check,
    /// The object is reconciled, as its cache has it, whether something woke it or not.
    Reconcile,
    /// It is reconciled if something woke it.
    Woken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    Yes,
    NotThere,
    NotThisNamespace,
}

fn event() -> impl Strategy<Value = Event> {
    let fault = || prop_oneof![Just(Fault::Refuse), Just(Fault::LoseReply)];
    let serves = prop_oneof![Just(Serves::Yes), Just(Serves::NotThere), Just(Serves::NotThisNamespace)];
    prop_oneof![
        3 => Just(Event::Push),
        1 => Just(Event::WriteByHand),
        2 => any::<bool>().prop_map(Event::Consent),
        2 => (0..PLACES.len()).prop_map(Event::EditStore),
        2 => serves.prop_map(Event::Store),
        1 => Just(Event::RotateCredential),
        2 => Just(Event::EditSpec),
        1 => Just(Event::Touch),
        1 => Just(Event::EditTarget),
        1 => Just(Event::DeleteTarget),
        2 => fault().prop_map(Event::FailTarget),
        2 => fault().prop_map(Event::FailStatus),
        2 => any::<bool>().prop_map(Event::Lag),
        1 => Just(Event::Relist),
        1 => Just(Event::Check),
        4 => Just(Event::Reconcile),
        7 => Just(Event::Woken),
    ]
}

const POLICIES: [&str; 3] = ["Periodic", "OnChange", "CreatedOnce"];
/// How often it is reconciled at most until it is calm.
const CALM_TURNS: usize = 8;

impl World {
    /// I7. Who does not follow has what it had, as long as its stores and producers let it.
    fn is_honest(&self) -> Result<(), TestCaseError> {
        let ready = self.ready();
        if ready["status"] != "True" || ready["current"] != true || self.context.written.is_owed("es-uid") {
            return Ok(());
        }
        prop_assert!(self.held().is_some(), "ready without a target: {ready}");
        prop_assert_eq!(self.store.serves(), Serves::Yes, "ready by a store that does not serve: {}", ready);
        prop_assert!(self.consents || self.wanted().is_none() || self.unheard, "ready without a permission: {ready}");
        if self.policy == "Periodic" && !self.untold {
            prop_assert_eq!(self.held(), self.wanted(), "ready with another value: {}", ready);
        }
        Ok(())
    }

    /// Once nothing fails any more, what is woken is reconciled, and nothing else.
    async fn calms_down(&mut self) -> Result<(), TestCaseError> {
        self.heal().await;
        for _turn in 0..CALM_TURNS {
            if !self.queue.take() {
                break;
            }
            self.reconcile().await;
            self.deliver();
        }
        let ready = self.ready();
        let exists = self.wanted().is_some();
        // Where nothing is, nobody says who may read it.
        let may = (self.consents || !exists) && self.store.serves() == Serves::Yes;
        prop_assert_eq!(&ready["current"], &json!(true), "an old verdict: {}", ready);
        match (may, exists) {
            _ if self.unheard => {}
            (true, true) => {
                prop_assert_eq!(&ready["status"], "True", "it is {}", ready);
                if self.policy == "Periodic" {
                    prop_assert_eq!(self.held(), self.wanted(), "it says {}", ready);
                }
            }
            // Who has a value that is not read again is well without it, and whoever reads says
            // what is missing.
            (true, false) => {
                let is_held = self.policy != "Periodic" && ready["status"] == "True" && self.held().is_some();
                prop_assert!(is_held || ready["reason"] == "PathNotFound", "it is {}", ready);
            }
            (false, _) => prop_assert_eq!(&ready["status"], "False", "it is {}", ready),
        }
        if !self.consents && self.store.serves() == Serves::Yes && exists && !self.unheard {
            prop_assert_eq!(self.held(), None, "a permission was withdrawn: {}", ready);
            prop_assert_eq!(self.bound(), None, "its target was deleted: {}", ready);
        }
        if ready["status"] == "True" {
            prop_assert_eq!(self.bound().is_some(), self.held().is_some(), "it is {}", ready);
        }
        if self.unheard {
            // Its next try, which may be an hour away.
            self.reconcile().await;
            self.deliver();
        }
        let writes = self.api.writes();
        let asks = self.queue.take();
        let published = self.reconcile().await;
        prop_assert_eq!(self.api.writes(), writes, "calm, and it writes: {:?}", published);
        self.deliver();
        prop_assert_eq!(self.queue.take(), asks, "calm, and it wakes itself");
        Ok(())
    }

    /// It is deleted while it is reconciled: the event comes first, and then the reconcile goes on
    /// with what the cache had.
    async fn goes(&mut self) -> Result<(), TestCaseError> {
        self.happens(Event::EditSpec).await?;
        self.api.remove(OBJECT);
        self.pull.forget(&self.name);
        self.context.written.forget("es-uid");
        prop_assert_eq!(self.reconcile().await, Published::Gone);
        let metrics = self.context.metrics.encode();
        prop_assert!(!metrics.contains("name=\"db\""), "a series is left: {}", metrics);
        prop_assert!(self.records.is_empty() && self.context.written.is_empty(), "something is remembered");
        prop_assert_eq!(self.context.feed.consumers(), 0);
        Ok(())
    }
}

/// The usual run tells the same stories each time; who asks for a number of them gets others.
fn config() -> Config {
    let usual = Config { failure_persistence: None, ..Config::default() };
    match std::env::var("WAYPOST_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()) {
        Some(cases) => Config { cases, ..usual },
        None => Config { cases: CASES, rng_seed: RngSeed::Fixed(11), ..usual },
    }
}

/// Tells stories of this many events, and shrinks the first that goes wrong.
fn told(policy: &'static str) {
    let story = proptest::collection::vec(event(), 1..24);
    let outcome = TestRunner::new(config()).run(&story, |events| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(policy);
            for event in events {
                world.happens(event).await?;
            }
            world.calms_down().await?;
            world.goes().await
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn the_model_of_a_pull_that_follows_holds() {
    told(POLICIES[0]);
}

fn told_so(policy: &'static str, events: &[Event]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(policy);
        for event in events {
            world.happens(*event).await.unwrap();
        }
        world.calms_down().await.unwrap();
    });
}

/// A status is written and its reply is lost, and the cache shows the one before: to write that again changes nothing there.
#[test]
fn a_status_that_may_have_been_written_is_not_taken_for_the_one_before() {
    use Event::{EditStore, FailStatus, Lag, Reconcile, Relist, Store, Woken};
    for policy in POLICIES {
        let lost = FailStatus(Fault::LoseReply);
        let serves = [Store(Serves::NotThere), Reconcile, Store(Serves::Yes), Reconcile, Woken];
        told_so(policy, &[&[Reconcile, Lag(true), Relist, lost], &serves[..]].concat());
        // It says whether there is a target, which the cache did not know.
        told_so(policy, &[Lag(true), lost, Reconcile, EditStore(1), Reconcile]);
    }
}

/// A target is deleted while the cache does not show the status that names it: no status names it afterwards.
#[test]
fn a_target_that_was_deleted_is_bound_no_longer_whatever_the_cache_showed() {
    use Event::{Consent, FailStatus, Lag, Reconcile};
    for policy in POLICIES {
        told_so(policy, &[Reconcile, Consent(false), Reconcile]);
        let lost = FailStatus(Fault::LoseReply);
        told_so(policy, &[Lag(true), lost, Reconcile, Consent(false), Reconcile]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_values_are_gone_is_bound_no_longer_whatever_the_cache_showed() {
    let mut spec = spec_of(POLICIES[0], 0);
    spec["target"] = json!({ "deletionPolicy": "Delete" });
    let mut world = World::with(POLICIES[0], spec);
    for event in [Event::Lag(true), Event::FailStatus(Fault::LoseReply), Event::Reconcile] {
        world.happens(event).await.unwrap();
    }
    assert_eq!(world.bound().as_deref(), Some("db"), "the status was written, and nobody knows");
    let (server, path) = world.store.place();
    server.soft_delete(&path);
    let site = crate::store::Site::of(&server, server.path_key(&path).await.unwrap());
    world.context.feed.announce(&site, Pushed::Removal(1));
    world.reconcile().await;
    assert_eq!((world.held(), world.bound()), (None, None), "{}", world.ready());
}

#[test]
fn what_somebody_does_to_a_target_is_undone_at_once() {
    for policy in POLICIES {
        for event in [Event::EditTarget, Event::DeleteTarget] {
            told_so(policy, &[Event::Reconcile, event]);
        }
    }
}

/// Nothing has moved since it was found, and it is not forgotten.
#[tokio::test]
async fn a_loss_that_waits_for_others_is_judged_again() {
    let mut spec = spec_of(POLICIES[0], 0);
    spec["target"] = json!({ "deletionPolicy": "Delete" });
    let mut world = World::with(POLICIES[0], spec);
    world.happens(Event::Reconcile).await.unwrap();
    let (server, path) = world.store.place();
    server.soft_delete(&path);
    world.happens(Event::Check).await.unwrap();
    for _ in 0..2 {
        assert!(world.queue.take(), "nobody looks again");
        let published = world.reconcile().await;
        let soon = |pause| pause <= crate::pull::bound::LOOK_AROUND;
        assert!(matches!(published, Published::Told(Requeue::After(pause)) if soon(pause)), "{published:?}");
        world.deliver();
    }
}

#[test]
fn the_model_of_a_pull_on_change_holds() {
    told(POLICIES[1]);
}

#[test]
fn the_model_of_a_pull_that_is_read_once_holds() {
    told(POLICIES[2]);
}
