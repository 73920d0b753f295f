//! What a target holds, judged through standbys that lag.

use super::{CAUGHT_UP, FAILING, POLICIES, Says, World, remote};
use crate::domain::claim::CustomMetadata;
use crate::feed::Pushed;
use crate::store::fake::FakeStore;

/// A server whose standby answers each request as if a path had this custom metadata.
fn shows(server: &FakeStore, metadata: &CustomMetadata) {
    let metadata = metadata.clone();
    server.before_each(move |server, _| {
        server.put_metadata(&remote(0), metadata.clone());
        None
    });
}

/// A consent is given back, and a standby still shows that it was withdrawn. It is believed once it
/// cannot lag any more.
#[tokio::test(start_paused = true)]
async fn rf2_a_standby_that_lags_takes_no_target_whose_consent_was_given_back() {
    for (policy, is_so) in POLICIES.into_iter().flat_map(|policy| [(policy, false), (policy, true)]) {
        let case = format!("{policy}, {is_so}");
        let mut world = World::synced(policy).await;
        world.say((0, 0), Says::TakenBack).await;
        world.turn().await;
        assert_eq!(world.held(), None, "{case}");
        let withdrawn = world.server.peek(&remote(0)).custom_metadata;
        world.say((0, 0), Says::Permitted).await;
        world.turn().await;
        assert_eq!(world.held(), Some((0, 0)), "{case}");
        shows(&world.server, &withdrawn);
        world.context.feed.announce(&world.site(0).await, Pushed::Release);
        assert!(world.woken(), "{case}");
        world.turn().await;
        assert_eq!((world.held(), world.is_due), (Some((0, 0)), true), "{case}: {}", world.ready());
        if !is_so {
            shows(&world.server, &CustomMetadata::new());
        }
        world.context.feed.pass(CAUGHT_UP);
        world.turn().await;
        assert_eq!(world.held().is_none(), is_so, "{case}: {}", world.ready());
    }
}

/// It asks until the standby lags no longer, although nothing is checked for it.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_behind_a_standby_that_lags_takes_what_is_held_of_an_earlier_spec() {
    for (spec, why) in FAILING {
        let mut world = World::synced("Periodic").await;
        world.edit(spec);
        world.turn().await;
        world.say((0, 0), Says::TakenBack).await;
        let withdrawn = world.server.peek(&remote(0)).custom_metadata;
        shows(&world.server, &CustomMetadata::new());
        world.turn().await;
        assert_eq!((world.held(), world.is_due), (Some((0, 0)), true), "{why}: {}", world.ready());
        shows(&world.server, &withdrawn);
        world.turn().await;
        assert_eq!(world.held(), None, "{why}: {}", world.ready());
    }
}
