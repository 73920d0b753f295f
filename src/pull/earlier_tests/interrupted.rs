//! Something happens in the middle of a reconcile.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::http::Method;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret;
use parking_lot::Mutex;

use super::{FAILING, POLICIES, Says, Spec, TARGET, World, name, remote};
use crate::controller::drive::Reconciler;
use crate::domain::claim::CustomMetadata;
use crate::feed::Pushed;
use crate::store::StoreClient;
use crate::store::opening::Opening;

/// More than a reconcile makes.
const MOST_REQUESTS: usize = 16;

/// The requests of a reconcile, and what became of the consent meanwhile.
#[derive(Default)]
struct Requests {
    count: usize,
    is_given_back: bool,
    /// Whether the target was deleted before.
    is_late: bool,
}

impl World {
    /// The consents of the first path are given back at this request, before its reply arrives.
    async fn gives_back_at(&self, request: usize) -> Arc<Mutex<Requests>> {
        let requests = Arc::new(Mutex::new(Requests::default()));
        let (server, feed, site) = (self.server.clone(), self.context.feed.clone(), self.site(0).await);
        let counted = requests.clone();
        let comes = move |is_deletion: bool| {
            let mut requests = counted.lock();
            requests.is_late |= is_deletion && !requests.is_given_back;
            if requests.count == request {
                server.put_metadata(&remote(0), CustomMetadata::new());
                feed.announce(&site, Pushed::Consent);
                requests.is_given_back = true;
            }
            requests.count += 1;
        };
        let of_the_store = comes.clone();
        self.server.after_each(move |_, _| of_the_store(false));
        self.api.before_each(move |method, _| {
            comes(*method == Method::DELETE);
            None
        });
        requests
    }
}

#[tokio::test(start_paused = true)]
async fn rf2_a_consent_that_is_given_back_while_it_is_judged_takes_no_target() {
    let present = (Spec::Reads { spot: (0, 0), store: 0 }, "a present spec");
    for (spec, why) in FAILING.into_iter().chain([present]) {
        let mut in_time = 0;
        for request in 0..MOST_REQUESTS {
            let mut world = World::synced("Periodic").await;
            world.edit(spec);
            world.turn().await;
            world.say((0, 0), Says::TakenBack).await;
            let requests = world.gives_back_at(request).await;
            world.turn().await;
            let requests = requests.lock();
            assert!(world.held().is_some() || requests.is_late || !requests.is_given_back, "{why}, {request}");
            in_time += usize::from(requests.is_given_back && !requests.is_late);
        }
        assert!((2..MOST_REQUESTS).contains(&in_time), "{why}: {in_time}");
    }
}

/// It reads two paths and panics at the second one, which has not changed. What it read of the first
/// one is not taken for what the target holds.
#[tokio::test(start_paused = true)]
async fn a_panic_leaves_nothing_that_counts_as_settled() {
    for policy in POLICIES {
        for is_withdrawn in [false, true] {
            let case = format!("{policy}, {is_withdrawn}");
            let mut world = World::synced(policy).await;
            world.api.remove(TARGET);
            world.restart();
            let session: Arc<dyn StoreClient> = Arc::new(world.server.clone());
            world.pull.stores = Opening::by(move |_, _| Ok(session.clone()));
            world.edit(Spec::ReadsBoth { stores: [0, 0] });
            assert!(world.turn().await.unwrap().ready, "{case}");
            world.turn().await;
            match is_withdrawn {
                true => world.say((0, 0), Says::TakenBack).await,
                false => world.push(0).await,
            }
            world.server.before_each(|_, request| match request.path.ends_with("/b") {
                true => panic!("a fault of ours"),
                false => None,
            });
            let object = Arc::new(world.object.clone());
            let ended = AssertUnwindSafe(world.pull.reconcile(object, &name())).catch_unwind().await;
            let follows = policy == "Periodic";
            assert_eq!(ended.is_err(), follows || is_withdrawn, "{case}");
            world.server.before_each(|_, _| None);
            world.turn().await;
            let target: Option<Secret> = world.api.get(TARGET);
            match is_withdrawn {
                true => assert_eq!(target, None, "{case}: {}", world.ready()),
                false => {
                    let value = String::from_utf8(target.unwrap().data.unwrap()["password"].0.clone()).unwrap();
                    assert_eq!(value, if follows { "a one 3" } else { "a one 1" }, "{case}: {}", world.ready());
                }
            }
        }
    }
}
