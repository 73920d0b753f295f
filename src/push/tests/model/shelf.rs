//! The stores of the model: where each leads, and what is wrong with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::moves::{NAMES, SERVERS, SITES, Standing};
use crate::api::selector::StoreKind;
use crate::api::store_location::StoreLocation;
use crate::domain::label_query::LabelQuery;
use crate::push::ledger::StoreKey;
use crate::push::observe::{Absence, NoStore, Stores};
use crate::store::StoreClient;
use crate::store::error::Family;
use crate::store::fake::FakeStore;

/// A store that nobody can use, whatever happens.
pub const BROKEN: &str = "broken";

/// Where the stores lead, and with which places sessions are left, by the stores' numbers.
pub struct Edited {
    pub leads: [usize; NAMES.len()],
    pub sessions: BTreeSet<(usize, usize)>,
}

pub struct Shelf {
    pub servers: [FakeStore; SERVERS.len()],
    pub standing: Arc<Mutex<[Standing; SERVERS.len()]>>,
    pub stores: Arc<Mutex<Edited>>,
}

impl Shelf {
    fn at(&self, name: usize, site: usize) -> Arc<dyn StoreClient> {
        let (server, mount) = SITES[site];
        Arc::new(self.servers[server].with_identity(NAMES[name].0).with_mount(mount))
    }
}

fn number(store: &StoreKey) -> Option<usize> {
    NAMES.iter().position(|(name, _)| *name == store.name)
}

/// Which place a status means.
pub fn site(location: &StoreLocation) -> Option<usize> {
    SITES
        .iter()
        .position(|(server, mount)| location.server == SERVERS[*server] && location.path.as_deref() == Some(mount))
}

#[async_trait]
impl Stores for Shelf {
    async fn client(&self, _namespace: &str, store: &StoreKey) -> Result<Arc<dyn StoreClient>, NoStore> {
        if store.name == BROKEN {
            let text = format!("{store} cannot be used");
            return Err(NoStore { why: Absence::Unusable, family: Family::Failed, text });
        }
        let known = number(store).map(|name| (name, self.stores.lock().leads[name]));
        let standing = known.map_or(Standing::Absent, |(_, site)| self.standing.lock()[SITES[site].0]);
        let no = |why, family| Err(NoStore { why, family, text: format!("{store} is {standing:?}") });
        match (known, standing) {
            (None, _) | (_, Standing::Absent) => no(Absence::Missing, Family::Refused),
            (_, Standing::Refused) => no(Absence::NotPermitted, Family::Refused),
            (_, Standing::Broken) => no(Absence::Unusable, Family::Failed),
            (Some((name, site)), Standing::Up | Standing::Hanging | Standing::Down | Standing::Lossy) => {
                Ok(self.at(name, site))
            }
        }
    }

    fn departing(&self, _namespace: &str, _store: &StoreKey) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn former(&self, _namespace: &str, store: &StoreKey, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        let (name, site) = (number(store)?, site(location)?);
        self.stores.lock().sessions.contains(&(name, site)).then(|| self.at(name, site))
    }

    fn labelled(&self, _namespace: &str, _kind: StoreKind, _query: &LabelQuery) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn serves_unclassified(&self) -> bool {
        true
    }
}
