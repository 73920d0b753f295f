//! What the consumers of a path have in their targets, and what prevents an update.

use std::collections::{BTreeMap, BTreeSet};

use super::Index;
use crate::domain::object_name::Name;
use crate::feed::{Reader, Standing};
use crate::store::PathKey;

impl Index {
    /// Ends a reconcile, and returns the paths for which this consumer's state changed.
    pub fn stands(&mut self, name: &Name, standing: Standing) -> BTreeSet<PathKey> {
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
                        moved.insert(read.key.clone());
                    }
                }
                None
            }
            Standing::Failing(trouble) => Some(trouble),
        };
        if consumer.trouble != trouble {
            consumer.trouble = trouble;
            moved.extend(consumer.sources.iter().map(|(read, _)| read.key.clone()));
        }
        moved
    }

    /// The followers of a path, by name.
    pub fn readers(&self, key: &PathKey) -> Vec<Reader> {
        let Some(path) = self.paths.get(key) else { return Vec::new() };
        let mut readers: BTreeMap<&Name, Reader> = BTreeMap::new();
        for (name, held) in self.following(path, key) {
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
