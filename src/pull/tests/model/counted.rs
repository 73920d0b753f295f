//! What a producer counts of a consumer whose target cannot be written.

use super::*;
use crate::feed::{Follower, Spelled};

impl World {
    /// The consumer, as the producer of its path counts it.
    async fn counted(&self) -> Follower {
        let (server, path) = self.store.place();
        let key = server.path_key(&path).await.unwrap();
        let (push, spelled) = (Name::new("db", "push"), Spelled { store: "vault".into(), path: path.to_string() });
        self.context.feed.publishes(&push, BTreeMap::from([(spelled.clone(), Some(key))]));
        self.context.feed.followers(&push, &spelled).unwrap().remove(0)
    }

    /// Who has a version, and no trouble, has its value in the target.
    async fn is_counted_as_it_is(&self) -> Option<u64> {
        let Follower { version, trouble, .. } = self.counted().await;
        if trouble.is_none() {
            assert_eq!(self.held(), version.map(|version| format!("one {version}")));
        }
        version.filter(|_| trouble.is_none())
    }
}

#[tokio::test]
async fn a_write_that_failed_is_not_counted_and_is_tried_again_though_the_cache_lags() {
    for fault in [Fault::Refuse, Fault::LoseReply] {
        let mut world = World::new("Periodic");
        world.reconcile().await;
        world.deliver();
        assert_eq!(world.is_counted_as_it_is().await, Some(1));
        for event in [Event::Lag(true), Event::FailTarget(fault), Event::Push, Event::Woken] {
            world.happens(event).await.unwrap();
            world.is_counted_as_it_is().await;
        }
        assert_eq!(world.is_counted_as_it_is().await, None, "{fault:?}");
        // The cache still shows the success before.
        world.happens(Event::Woken).await.unwrap();
        assert_eq!(world.is_counted_as_it_is().await, Some(2), "{fault:?}");
        assert_eq!(world.held().as_deref(), Some("one 2"));
    }
}
