//! Random stories over the real reconcile: versions, removals and purges, consents, losses by hand,
//! edits of the resource, of its template's text and of its store, writes that fail or whose reply is
//! lost, a cache that lags, lists made anew, a process that starts anew, deletions and creations; each
//! of them also in the middle of a reconcile. After each reconcile the status must be honest, and no
//! target may be gone without a reason; when it is calm the target must be right, and nobody may ask
//! for anything any more; and of what is deleted nothing may be remembered.
//!
//! In the end only what was woken, or asked to be tried again soon, is reconciled: no wake-up is
//! missing. They come as in the running controller: from the feed, from the watch of Secrets with
//! its referrers and our own writes, and from what of an ExternalSecret triggers a reconcile. Of
//! stores only the outcome is played, that an edit wakes who refers to it: `run::dependants` reads
//! caches that only watches fill.
//!
//! What a story that failed taught is below by name, event by event.

pub(super) mod events;
mod laws;
pub(super) mod one_store;
pub(super) mod process;
mod state;
mod texts;
pub(super) mod world;

use std::time::Duration;

use proptest::prelude::*;

use crate::api::ExternalSecret;
use crate::api::condition::{self, READY};
use crate::cluster::in_memory::Fault;
use crate::model_cases::config;
use crate::pull::bound::LOOK_AROUND;
use events::{Event, Serves, Setting, story};
use world::World;

pub(super) const OBJECT: &str = "/namespaces/team/externalsecrets/db";
pub(super) const TARGET: &str = "/namespaces/team/secrets/db";
const TEXTS: &str = "/namespaces/team/configmaps/texts";
const POLICIES: [&str; 3] = ["Periodic", "OnChange", "CreatedOnce"];

fn told(policy: &'static str, setting: Setting, events: &[Event]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(policy, setting);
        for event in events {
            world.tells(event).await?;
        }
        world.calms_down().await?;
        world.goes().await
    })
}

proptest! {
    #![proptest_config(config(120, 11))]

    #[test]
    fn the_model_of_a_pull_that_follows_holds((setting, events) in story()) {
        told(POLICIES[0], setting, &events)?;
    }

    #[test]
    fn the_model_of_a_pull_on_change_holds((setting, events) in story()) {
        told(POLICIES[1], setting, &events)?;
    }

    #[test]
    fn the_model_of_a_pull_that_is_read_once_holds((setting, events) in story()) {
        told(POLICIES[2], setting, &events)?;
    }
}

fn setting(deletes: bool, crowded: bool) -> Setting {
    Setting { deletes, crowded, pushed: true, templated: false }
}

fn told_so(policy: &'static str, setting: Setting, events: &[Event]) {
    if let Err(broken) = told(policy, setting, events) {
        panic!("{policy}, {setting:?}: {broken}\n{events:#?}");
    }
}

/// A status is written and its reply is lost, and the cache shows the one before: to write that
/// again changes nothing there.
#[test]
fn a_status_that_may_have_been_written_is_not_taken_for_the_one_before() {
    use Event::{EditStore, FailStatus, Lag, Reconcile, Relist, Store, Woken};
    for policy in POLICIES {
        let lost = FailStatus(Fault::LoseReply);
        let serves = [Store(Serves::NotThere), Reconcile, Store(Serves::Yes), Reconcile, Woken];
        told_so(policy, setting(false, false), &[&[Reconcile, Lag(true), Relist, lost.clone()], &serves[..]].concat());
        // It says whether there is a target, which the cache did not know.
        told_so(policy, setting(false, false), &[Lag(true), lost, Reconcile, EditStore(1), Reconcile]);
    }
}

/// A status is written and its reply is lost, and the next one says less of what the cache does not
/// show: that stays, and what is read once is not rendered again.
#[tokio::test(start_paused = true)]
async fn what_only_the_server_knows_of_a_status_stays_there() {
    use Event::{FailStatus, Lag, Push, Reconcile, Store, Woken};
    for policy in POLICIES {
        let mut world = World::new(policy, setting(false, false));
        for event in [Lag(true), FailStatus(Fault::LoseReply), Reconcile] {
            world.happens(&event).await;
        }
        let first = world.held();
        for event in [Store(Serves::NotThere), Reconcile, Push] {
            world.happens(&event).await;
        }
        assert_eq!(world.bound().as_deref(), Some("db"), "{policy}: {}", world.ready());
        for event in [Lag(false), Store(Serves::Yes), Reconcile, Woken] {
            world.happens(&event).await;
        }
        let expected = if policy == POLICIES[0] { world.wanted() } else { first };
        assert_eq!(world.held(), expected, "{policy}: {}", world.ready());
    }
}

/// What is not read again is found in place, and the status before says that there is nothing.
#[test]
fn a_target_whose_creation_was_not_answered_is_bound() {
    use Event::{DropAll, FailTarget, Push, Reconcile};
    for policy in &POLICIES[1..] {
        for before in [&[DropAll, Reconcile][..], &[Reconcile, DropAll, Reconcile]] {
            let lost = [Push, FailTarget(Fault::LoseReply), Reconcile, Reconcile];
            told_so(policy, setting(true, false), &[before, &lost].concat());
        }
    }
}

/// A write arrives after its object was decided anew, whatever was written over it or not. It is
/// noticed at once, and what it brought is undone.
#[test]
fn what_arrives_late_is_undone() {
    use Event::{Amid, Arrive, FailStatus, FailTarget, Lag, Push, Reconcile, Relist, Store, Woken, WriteByHand};
    let (delayed, gone, back) = (FailStatus(Fault::Delay), Store(Serves::NotThere), Store(Serves::Yes));
    for policy in POLICIES {
        let first = [Reconcile, delayed.clone(), gone.clone(), Woken, back.clone(), Woken];
        told_so(policy, setting(false, false), &[&first[..], &[Woken, Arrive, Woken]].concat());
        told_so(policy, setting(false, false), &[&first[..], &[Lag(true), Arrive, Relist, Woken]].concat());
        told_so(policy, setting(false, false), &[&first[..], &[gone.clone(), Woken, Arrive, Woken]].concat());
        for polls in 0..20 {
            let amid = Amid { polls, event: Box::new(Arrive) };
            told_so(policy, setting(false, false), &[&first[..], &[Push, amid, Woken]].concat());
        }
        let target = [Reconcile, FailTarget(Fault::Delay), Push, Woken, Push, Woken];
        told_so(policy, setting(false, false), &[&target[..], &[Arrive, Woken]].concat());
        let target = [Reconcile, FailTarget(Fault::Delay), WriteByHand, Reconcile, Arrive];
        told_so(policy, setting(false, false), &target);
    }
}

/// Nobody is told to delete it then, and the next reconcile says the same.
#[test]
fn a_target_that_goes_with_its_consent_after_an_edit_is_not_spoken_of_as_if_it_were_there() {
    use Event::{Consent, DeleteTarget, EditSpec, LoseByHand, Reconcile, WriteByHand};
    for policy in POLICIES {
        let story = [Reconcile, DeleteTarget, LoseByHand, WriteByHand, EditSpec, Consent(false)];
        told_so(policy, setting(false, false), &story);
    }
}

/// The creation of a target arrives after its values were removed, and the status says that it is gone.
#[test]
fn a_target_that_is_created_late_goes_as_its_values_did() {
    use Event::{Arrive, DropAll, EditStore, FailTarget, LoseByHand, Reconcile, Woken};
    for policy in POLICIES {
        for gone in [DropAll, LoseByHand, EditStore(1)] {
            let story = [FailTarget(Fault::Delay), Reconcile, gone, Reconcile, Arrive, Woken];
            told_so(policy, setting(true, false), &story);
        }
    }
}

/// A target is deleted while the cache does not show the status that names it: no status names it
/// afterwards.
#[test]
fn a_target_that_was_deleted_is_bound_no_longer_whatever_the_cache_showed() {
    use Event::{Consent, FailStatus, Lag, Reconcile};
    for policy in POLICIES {
        told_so(policy, setting(false, false), &[Reconcile, Consent(false), Reconcile]);
        let lost = FailStatus(Fault::LoseReply);
        told_so(policy, setting(false, false), &[Lag(true), lost, Reconcile, Consent(false), Reconcile]);
    }
}

#[test]
fn a_target_whose_values_are_gone_is_bound_no_longer_whatever_the_cache_showed() {
    use Event::{DropAll, FailStatus, Lag, Reconcile};
    let lost = FailStatus(Fault::LoseReply);
    told_so(POLICIES[0], setting(true, false), &[Lag(true), lost, Reconcile, DropAll, Reconcile]);
}

/// Its producer may be late, and so may the controller.
#[test]
fn what_is_pushed_after_its_consumer_was_created_reaches_it() {
    use Event::{DeleteTarget, LoseByHand, Push, Reconcile, Restart, Woken};
    for policy in POLICIES {
        for deletes in [false, true] {
            let late = Setting { pushed: false, ..setting(deletes, false) };
            told_so(policy, late, &[Reconcile, Push]);
            told_so(policy, late, &[Reconcile, Restart, Woken, Push, Woken, Push]);
            let lost = [Reconcile, LoseByHand, DeleteTarget, Woken, Push];
            told_so(policy, setting(deletes, false), &lost);
        }
    }
}

#[test]
fn what_a_first_page_shows_is_reconciled_when_the_last_one_is_there() {
    use Event::{Amid, Create, Delete, EditSpec, FirstPage, Lag, Reconcile, Relist, Woken};
    let setting = setting(true, false);
    for policy in POLICIES {
        told_so(policy, setting, &[Reconcile, Lag(true), EditSpec, FirstPage, Woken, Relist]);
        told_so(policy, setting, &[Reconcile, Lag(true), EditSpec, FirstPage, Reconcile, Relist, Woken]);
        told_so(policy, setting, &[Delete, Lag(true), Create, FirstPage, Woken, Relist]);
        told_so(policy, setting, &[Lag(true), Reconcile, FirstPage, Reconcile, Relist]);
        for polls in 0..40 {
            let amid = Amid { polls, event: Box::new(FirstPage) };
            told_so(policy, setting, &[Reconcile, Lag(true), Delete, Create, amid, Relist, Woken]);
        }
    }
}

/// Also before the reconcile that reads it has ended.
#[test]
fn an_edit_of_a_text_at_any_point_of_a_reconcile_reaches_the_target() {
    use Event::{Amid, DeleteText, EditText, Push, Reconcile, Relist, Restart, Woken};
    let templated = |deletes| Setting { templated: true, ..setting(deletes, false) };
    for (policy, deletes) in POLICIES.iter().flat_map(|policy| [(policy, false), (policy, true)]) {
        told_so(policy, templated(deletes), &[Reconcile, EditText]);
        told_so(policy, templated(deletes), &[Reconcile, DeleteText, Woken, EditText, Relist]);
        told_so(policy, templated(deletes), &[DeleteText, Reconcile, EditText]);
        told_so(policy, templated(deletes), &[Reconcile, DeleteText, Restart, Woken, Push, Woken]);
        for polls in 0..30 {
            let amid = |event| Amid { polls, event: Box::new(event) };
            told_so(policy, templated(deletes), &[amid(EditText), Woken]);
            told_so(policy, templated(deletes), &[Reconcile, Push, amid(DeleteText), Woken, amid(EditText)]);
        }
    }
}

#[test]
fn what_somebody_does_to_a_target_is_undone_at_once() {
    for policy in POLICIES {
        for event in [Event::EditTarget, Event::DeleteTarget] {
            told_so(policy, setting(false, false), &[Event::Reconcile, event]);
        }
    }
}

/// Also before the reconcile that writes the target has ended.
#[test]
fn what_somebody_does_to_a_target_at_any_point_of_a_reconcile_is_undone() {
    use Event::{Amid, DeleteTarget, EditTarget, Push, Reconcile, Woken};
    for polls in 0..40 {
        let amid = |event| Amid { polls, event: Box::new(event) };
        for event in [EditTarget, DeleteTarget] {
            told_so(POLICIES[0], setting(false, false), &[amid(event.clone()), Woken]);
            told_so(POLICIES[0], setting(false, false), &[Reconcile, Push, amid(event), Woken]);
        }
    }
}

/// RP4, whatever others lost; what a person takes away waits for a person if others lost much.
#[test]
fn what_a_push_drops_leaves_the_target_and_what_a_person_takes_does_not_if_many_lose() {
    use Event::{Drop, DropAll, LoseByHand, Purge, PurgeByHand, Reconcile, Restart, SlipByHand, Wait, Woken};
    for crowded in [false, true] {
        for taken in [Drop(0), DropAll, Purge, LoseByHand, PurgeByHand, SlipByHand(0)] {
            told_so(POLICIES[0], setting(true, crowded), &[Reconcile, taken.clone()]);
            told_so(POLICIES[0], setting(true, crowded), &[Reconcile, taken, Restart, Woken, Wait, Woken]);
        }
    }
}

/// It is beside what a push owns, and nobody ever claimed it.
#[test]
fn what_nobody_ever_claimed_waits_for_a_person_if_many_lose() {
    use Event::{Drop, Reconcile, Restart, SlipByHand, Wait, Woken, WriteByHand};
    for crowded in [false, true] {
        let theirs = [Drop(0), WriteByHand, Reconcile];
        let goes = [SlipByHand(0), Wait, Reconcile];
        told_so(POLICIES[0], setting(true, crowded), &[&theirs[..], &goes].concat());
        told_so(POLICIES[0], setting(true, crowded), &[&theirs[..], &[Restart, Woken], &goes].concat());
        told_so(POLICIES[0], setting(true, crowded), &[&theirs[..], &[SlipByHand(0), Restart, Woken, Wait]].concat());
    }
}

/// That a push once removed a value says nothing of who removes the next one.
#[test]
fn what_a_push_dropped_once_and_wrote_again_a_person_takes_as_if_for_the_first_time() {
    use Event::{DropAll, LoseByHand, Purge, PurgeByHand, Push, Reconcile, Wait, Woken};
    for dropped in [DropAll, Purge] {
        for taken in [LoseByHand, PurgeByHand] {
            let story = [Reconcile, dropped.clone(), Woken, Push, Woken, taken.clone(), Wait, Reconcile];
            told_so(POLICIES[0], setting(true, true), &story);
            // Nobody says that it was written again, as from another cluster.
            let unsaid = [Reconcile, dropped.clone(), Woken, Event::WriteByHand, Reconcile, taken, Wait, Reconcile];
            told_so(POLICIES[0], setting(true, true), &unsaid);
        }
    }
}

#[test]
fn a_purge_and_what_is_created_after_it_are_followed() {
    use Event::{Drop, DropAll, Purge, Push, Reconcile, Woken};
    for policy in POLICIES {
        for deletes in [false, true] {
            let pushed = [Push, Push, Reconcile, Purge];
            told_so(policy, setting(deletes, true), &[&pushed[..], &[Push]].concat());
            told_so(policy, setting(deletes, true), &[&pushed[..], &[Woken, Push, Woken, Drop(0)]].concat());
            told_so(policy, setting(deletes, true), &[&pushed[..], &[Push, DropAll, Push, Woken]].concat());
        }
    }
}

#[test]
fn what_was_read_before_a_purge_counts_for_nothing_after_it() {
    use Event::{Amid, Purge, Push, Reconcile, Woken};
    for polls in 0..40 {
        let amid = Amid { polls, event: Box::new(Purge) };
        told_so(POLICIES[0], setting(false, false), &[Reconcile, Push, Push, amid, Push, Woken]);
    }
}

#[test]
fn what_goes_at_any_point_of_a_reconcile_is_forgotten_and_made_anew() {
    use Event::{Amid, Create, Delete, FailStatus, Lag, Reconcile, Relist, Woken};
    for polls in 0..40 {
        let amid = |event| Amid { polls, event: Box::new(event) };
        told_so(POLICIES[0], setting(true, true), &[amid(Delete), Create, Woken]);
        told_so(POLICIES[0], setting(true, false), &[FailStatus(Fault::LoseReply), amid(Delete)]);
        told_so(POLICIES[0], setting(true, false), &[FailStatus(Fault::Refuse), amid(Delete)]);
        told_so(POLICIES[2], setting(true, true), &[Reconcile, Lag(true), Delete, Create, amid(Relist), Woken]);
    }
}

/// A consent that is withdrawn while there is no value is heard by who does not follow.
#[test]
fn a_consent_that_is_withdrawn_from_what_is_gone_is_heard() {
    use Event::{Consent, LoseByHand, Push, Reconcile, Woken};
    for policy in POLICIES {
        told_so(policy, setting(false, false), &[Reconcile, LoseByHand, Consent(false), Woken, Push]);
    }
}

/// The cache shows the object of before while a page has shown the other one of its name.
#[tokio::test]
async fn the_end_of_a_reconcile_leaves_the_share_of_an_object_that_has_replaced_it() {
    use Event::{Create, Delete, FirstPage, Lag, Reconcile};
    let mut world = World::new(POLICIES[0], setting(true, false));
    for event in [Reconcile, Lag(true), Delete, Create, FirstPage, Reconcile] {
        world.happens(&event).await;
    }
    assert!(world.process.pull.losses.knows(&process::Process::name()));
}

/// Nothing has moved since it was found, and it is not forgotten.
#[tokio::test]
async fn a_loss_that_waits_for_others_is_judged_again() {
    let mut world = World::new(POLICIES[0], setting(true, false));
    for event in [Event::Reconcile, Event::LoseByHand, Event::Check] {
        world.happens(&event).await;
    }
    for _ in 0..2 {
        assert!(world.process.queue.take(), "nobody looks again");
        let pause = world.reconcile().await;
        assert!(pause.is_some_and(|pause| Duration::ZERO < pause && pause <= LOOK_AROUND), "{pause:?}");
        world.deliver();
    }
}

/// Who could not write a version is not counted as having it, and writes it although the cache shows
/// the success before.
#[tokio::test(start_paused = true)]
async fn a_write_that_failed_is_not_counted_and_is_tried_again_though_the_cache_lags() {
    use Event::{FailTarget, Lag, Push, Reconcile, Woken};
    for fault in [Fault::Refuse, Fault::LoseReply] {
        let mut world = World::new(POLICIES[0], setting(false, false));
        world.happens(&Reconcile).await;
        world.deliver();
        assert_eq!(world.has_without_trouble().await, Some(1));
        for event in [Lag(true), FailTarget(fault), Push, Woken] {
            world.happens(&event).await;
        }
        assert_eq!(world.has_without_trouble().await, None, "{fault:?}");
        world.happens(&Woken).await;
        assert_eq!(world.has_without_trouble().await, Some(2), "{fault:?}");
        assert_eq!(world.held(), world.wanted());
    }
}

/// Stories that failed by what an earlier model took for the law: a Secret that an object of the same
/// name left, consents that cannot be read after a purge, and a target that no watch had shown.
#[test]
fn what_failed_in_earlier_models_holds_in_every_setting() {
    use Event::{
        Amid, Consent, Create, Delete, DeleteTarget, DeletionPolicy, Drop, DropAll, PurgeByHand, Push, Reconcile,
        Touch, Woken,
    };
    let amid = |polls, event: Event| Amid { polls, event: Box::new(event) };
    let stories = [
        vec![Reconcile, Delete, DropAll, Create, DeletionPolicy(true), Reconcile],
        vec![amid(0, Push), PurgeByHand, Consent(false), Reconcile, amid(0, Push), Reconcile],
        vec![Reconcile, PurgeByHand, Consent(false), Reconcile, Push, Reconcile],
        vec![Reconcile, Touch, Drop(0), Reconcile, amid(0, Drop(0)), Drop(1)],
        vec![amid(8, DeleteTarget), Woken],
    ];
    for (policy, story) in POLICIES.iter().flat_map(|policy| stories.iter().map(move |story| (policy, story))) {
        for at in 0..16 {
            let [deletes, crowded, pushed, templated] = [1, 2, 4, 8].map(|bit| at & bit > 0);
            told_so(policy, Setting { deletes, crowded, pushed, templated }, story);
        }
    }
}

/// The message of the consumer's condition names its own stores and paths.
#[tokio::test(start_paused = true)]
async fn a_producer_is_told_the_reason_alone_why_its_consumer_lags() {
    use Event::{FailTarget, Push, Reconcile, Woken};
    let mut world = World::new(POLICIES[0], setting(false, false));
    for event in [Reconcile, FailTarget(Fault::Refuse), Push, Woken] {
        world.happens(&event).await;
    }
    let consumer: ExternalSecret = world.api.get(OBJECT).unwrap();
    let status = consumer.status.unwrap();
    let reason = condition::find(&status.conditions, READY).unwrap().reason.as_deref();
    let told: Vec<_> = world.followers().await.into_iter().map(|follower| follower.trouble.unwrap().reason).collect();
    assert_eq!(told, [reason.unwrap()]);
}
