//! Targets that hold something else than their status says, because it could not be written.

use std::sync::Arc;

use super::{Fault, POLICIES, Says, Spec, TARGET, World, name, remote};
use crate::controller::drive::Reconciler;
use crate::store::StoreError;

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
