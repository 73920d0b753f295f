//! Targets that hold something else than their status says, because it could not be written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Fault, OTHER_MOUNT, PATHS, POLICIES, Says, Spec, TARGET, World, name, remote};
use crate::controller::drive::Reconciler;
use crate::domain::consent;
use crate::domain::path::RemotePath;
use crate::feed::Pushed;
use crate::store::{Site, StoreClient, StoreError};

/// The target was made anew from the second path, the status says the first one, and the store does not
/// show the second one now.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_takes_no_target_that_was_rendered_from_elsewhere_since() {
    for (policy, restarted) in POLICIES.into_iter().flat_map(|policy| [(policy, false), (policy, true)]) {
        let case = format!("{policy}, {restarted}");
        let mut world = World::synced(policy).await;
        world.edit(Spec::Reads { spot: (1, 1), store: 0 });
        world.api.remove(TARGET);
        if policy == "CreatedOnce" {
            world.restart();
        }
        // Its status is lost.
        world.pull.reconcile(Arc::new(world.object.clone()), &name()).await;
        assert_eq!(world.held(), Some((1, 1)), "{case}");
        if restarted {
            world.restart();
        }
        world.say((0, 0), Says::TakenBack).await;
        world.server.before_each(|_, request| {
            let down = StoreError::Standby { server: "fake".into() };
            request.path.ends_with("/b").then_some(Fault::Refuse(down))
        });
        for _again in 0..2 {
            world.turn().await;
            assert_eq!(world.held(), Some((1, 1)), "{case}: {}", world.ready());
        }
        world.server.before_each(|_, _| None);
        assert!(world.turn().await.is_some_and(|verdict| verdict.ready), "{case}: {}", world.ready());
        world.say((1, 1), Says::TakenBack).await;
        world.turn().await;
        assert_eq!(world.held(), None, "{case}: {}", world.ready());
    }
}

/// The same value at another path: the target says where it has it from, or that could not be taken
/// back.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_takes_a_value_that_was_the_same_elsewhere_before() {
    let mut world = World::synced("Periodic").await;
    world.server.put(&remote(1), world.server.peek_version(&remote(0), 1).unwrap());
    world.edit(Spec::Reads { spot: (1, 0), store: 0 });
    assert!(world.turn().await.unwrap().ready);
    world.edit(Spec::Nothing);
    world.turn().await;
    world.say((0, 0), Says::TakenBack).await;
    world.turn().await;
    assert!(world.held().is_some(), "nothing is from there: {}", world.ready());
    world.say((1, 0), Says::TakenBack).await;
    world.turn().await;
    assert_eq!(world.held(), None, "{}", world.ready());
}

/// The same, and not the spec was edited, but its store.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_takes_a_value_that_was_the_same_where_the_store_led_before() {
    let mut world = World::synced("Periodic").await;
    let there = RemotePath::parse(Some(OTHER_MOUNT), PATHS[0]).unwrap();
    world.server.add_mount(OTHER_MOUNT);
    world.server.put(&there, world.server.peek_version(&remote(0), 1).unwrap());
    world.edited[0].store(true, Ordering::Relaxed);
    world.turn().await;
    world.edit(Spec::Nothing);
    world.turn().await;
    assert!(world.held().is_some(), "{}", world.ready());
    let taken_back = Says::TakenBack.text().unwrap().to_owned();
    world.server.put_metadata(&there, BTreeMap::from([(consent::key("one"), taken_back)]));
    let client = world.server.with_mount(OTHER_MOUNT);
    let site = Site::of(&client, client.path_key(&there).await.unwrap());
    world.context.feed.announce(&site, Pushed::Consent);
    world.turn().await;
    assert_eq!(world.held(), None, "{}", world.ready());
}

/// The status shows two paths, and the target was made of the second one alone since: the withdrawal
/// of the first one hides that of the second.
#[tokio::test(start_paused = true)]
async fn rf2_of_two_withdrawals_the_one_that_concerns_the_target_takes_it() {
    let mut world = World::synced("Periodic").await;
    world.edit(Spec::ReadsBoth { stores: [0, 0] });
    assert!(world.turn().await.unwrap().ready);
    world.edit(Spec::Reads { spot: (1, 1), store: 0 });
    // Its status is lost.
    world.pull.reconcile(Arc::new(world.object.clone()), &name()).await;
    assert_eq!(world.held(), Some((1, 1)));
    world.edit(Spec::Nothing);
    world.turn().await;
    world.say((0, 0), Says::TakenBack).await;
    world.turn().await;
    assert_eq!(world.held(), Some((1, 1)), "{}", world.ready());
    world.say((1, 1), Says::TakenBack).await;
    world.turn().await;
    assert_eq!(world.held(), None, "{}", world.ready());
}
