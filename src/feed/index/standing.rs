//! What the consumers of a path have in their targets, and what prevents an update.

use std::collections::{BTreeMap, BTreeSet};

use super::Index;
use crate::domain::object_name::Name;
use crate::feed::{Published, Reader, Standing};
use crate::store::Site;

impl Index {
    /// Ends a reconcile, and returns the paths for which this consumer's state changed.
    pub fn stands(&mut self, name: &Name, standing: Standing) -> BTreeSet<Site> {
        let Some(consumer) = self.consumers.get_mut(name) else { return BTreeSet::new() };
        let mut moved = BTreeSet::new();
        let trouble = match standing {
            Standing::InPlace => {
                for (read, held) in &mut consumer.sources {
                    // An outdated read is still what the target was rendered from.
                    if let Some(taken) =
                        held.taken.map(|taken| taken.seen.version).filter(|taken| held.stands != Some(*taken))
                    {
                        held.stands = Some(taken);
                        moved.insert(read.site.clone());
                    }
                }
                None
            }
            Standing::Failing(trouble) => Some(trouble),
        };
        if consumer.trouble != trouble {
            consumer.trouble = trouble;
            moved.extend(consumer.sources.iter().map(|(read, _)| read.site.clone()));
        }
        moved
    }

    /// The followers of a published place that count, by name.
    pub fn readers(&self, published: &Published) -> Vec<Reader> {
        let mut readers: BTreeMap<&Name, Reader> = BTreeMap::new();
        let followers = self.sites_of(&published.site.place).flat_map(|(site, path)| self.following(path, site));
        for (name, held) in followers.filter(|(_, held)| published.is_read_by(&held.source)) {
            let trouble = self.consumers.get(name).and_then(|consumer| consumer.trouble.clone());
            readers
                .entry(name)
                // With several logins, the oldest version counts.
                .and_modify(|reader| reader.version = reader.version.min(held.stands))
                .or_insert(Reader { name: name.clone(), version: held.stands, trouble });
        }
        readers.into_values().collect()
    }
}
