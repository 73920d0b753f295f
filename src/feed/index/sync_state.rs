//! What the consumers of a path have in their targets, and what prevents an update.

use std::collections::{BTreeMap, BTreeSet};

use super::{Held, Index};
use crate::domain::object_name::Name;
use crate::feed::{Follower, Published, SyncState};
use crate::store::Site;

impl Index {
    /// Ends a reconcile, and returns the paths for which this consumer's state changed.
    pub fn record(&mut self, name: &Name, state: SyncState) -> BTreeSet<Site> {
        let Some(consumer) = self.consumers.get_mut(name) else { return BTreeSet::new() };
        let mut moved = BTreeSet::new();
        let trouble = match state {
            SyncState::Synced => {
                for (read, held) in &mut consumer.sources {
                    // An outdated read is still what the target was rendered from.
                    if let Some(taken) = held
                        .taken
                        .map(|taken| taken.seen)
                        .filter(|taken| held.rendered.is_none_or(|rendered| rendered.differs(*taken)))
                    {
                        held.rendered = Some(taken);
                        moved.insert(read.site.clone());
                    }
                }
                None
            }
            SyncState::Kept => None,
            SyncState::Failing(trouble) => Some(trouble),
        };
        if consumer.trouble != trouble {
            consumer.trouble = trouble;
            moved.extend(consumer.sources.iter().map(|(read, _)| read.site.clone()));
        }
        moved
    }

    /// The followers of a published place that count, by name.
    pub fn followers_of(&self, published: &Published) -> Vec<Follower> {
        let version = |held: &Held| held.rendered.map(|rendered| rendered.version);
        let mut followers: BTreeMap<&Name, Follower> = BTreeMap::new();
        let all = self.sites_of(&published.site.place).flat_map(|(site, path)| self.following(path, site));
        for (name, held) in all.filter(|(_, held)| published.is_read_by(&held.source)) {
            let trouble = self.consumers.get(name).and_then(|consumer| consumer.trouble.clone());
            followers
                .entry(name)
                // With several logins, the oldest version counts.
                .and_modify(|follower| follower.version = follower.version.min(version(held)))
                .or_insert(Follower { name: name.clone(), version: version(held), trouble });
        }
        followers.into_values().collect()
    }
}
