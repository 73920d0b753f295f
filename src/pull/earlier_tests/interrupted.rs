//! Something happens in the middle of a reconcile.

use std::sync::Arc;

use axum::http::Method;
use parking_lot::Mutex;

use super::{FAILING, Says, Spec, World, remote};
use crate::domain::claim::CustomMetadata;
use crate::feed::Pushed;

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
