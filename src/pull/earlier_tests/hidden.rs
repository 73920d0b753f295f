//! Producers who are heard although something else of the same resource cannot be read.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::{POLICIES, STORES, Says, Spec, World};
use crate::cluster::in_memory::Fault::LoseReply;
use crate::store::StoreError;
use crate::store::fake::{Fault, Request};

/// A store gives no answer, or fails at one path of two: the producers of the rest are heard by whoever
/// follows, and by whoever is not read again, also if its spec was edited since.
#[tokio::test(start_paused = true)]
async fn rf2_what_cannot_be_read_hides_no_withdrawal_of_the_rest() {
    type Hit = fn(&Request) -> Option<StoreError>;
    let store_down: Hit =
        |request| (*request.identity.0 == *STORES[1]).then(|| StoreError::Standby { server: "fake".into() });
    let path_fails: Hit = |request| {
        let path = request.path.clone();
        path.ends_with("/b").then_some(StoreError::Server { operation: "read", path, status: 500 })
    };
    for (policy, is_edited) in POLICIES.into_iter().flat_map(|policy| [(policy, false), (policy, true)]) {
        for (stores, hit) in [([0, 1], store_down), ([0, 0], path_fails)] {
            for (says, left) in [(Says::TakenBack, None), (Says::Withdrawn, Some((0, 0)))] {
                let mut world = World::synced("Periodic").await;
                world.edit(Spec::ReadsBoth { stores });
                world.turn().await;
                world.policy = policy;
                world.object.spec.refresh_policy = serde_json::from_value(json!(policy)).unwrap();
                if is_edited {
                    world.edit(Spec::ReadsBoth { stores });
                }
                world.server.before_each(move |_, request| hit(request).map(Fault::Refuse));
                world.say((0, 0), says).await;
                let verdict = world.turn().await.unwrap();
                let at = format!("{policy}, {is_edited}, {stores:?}, {says:?}: {}", verdict.message);
                assert_eq!((verdict.ready, world.held()), (false, left), "{at}");
            }
        }
    }
}

/// A store of what it was rendered from does not exist any more.
#[tokio::test(start_paused = true)]
async fn rf2_a_store_that_is_gone_hides_no_withdrawal_in_another() {
    for policy in POLICIES {
        let mut world = World::synced("Periodic").await;
        world.edit(Spec::ReadsBoth { stores: [0, 1] });
        world.turn().await;
        world.policy = policy;
        world.edit(Spec::ReadsBoth { stores: [0, 1] });
        world.edited[1].store(true, Ordering::Relaxed);
        world.say((0, 0), Says::TakenBack).await;
        let verdict = world.turn().await.unwrap();
        assert_eq!((verdict.ready, world.held()), (false, None), "{policy}: {}", verdict.message);
    }
}

/// What was taken back is permitted again, and nobody hears that it was created.
#[tokio::test(start_paused = true)]
async fn a_target_whose_creation_was_not_answered_is_bound() {
    for policy in ["OnChange", "CreatedOnce"] {
        let mut world = World::synced(policy).await;
        world.say((0, 0), Says::TakenBack).await;
        world.turn().await;
        assert_eq!(world.held(), None);
        world.say((0, 0), Says::Permitted).await;
        world.api.fail_next_write("/secrets", LoseReply);
        world.turn().await;
        assert_eq!((world.held(), world.ready()["status"].as_str()), (Some((0, 0)), Some("False")), "{policy}");
        world.turn().await;
        assert_eq!(world.ready()["status"], "True", "{policy}: {}", world.ready());
        assert_eq!(json!(world.object.status)["binding"]["name"], "db", "{policy}");
    }
}
