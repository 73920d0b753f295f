//! The stores of the model: where each leads, and what is wrong with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::moves::{NAMES, SERVERS, SITES, Standing};
use crate::api::selector::StoreKind;
use crate::api::store_location::StoreLocation;
use crate::cluster::ClusterError;
use crate::domain::label_query::LabelQuery;
use crate::store::fake::FakeStore;
use crate::store::{StoreClient, StoreError, StoreName, StoreRefusal, Stores};

/// A store that nobody can use, whatever happens.
pub const BROKEN: &str = "broken";

/// A store of a server that only calls itself like the first one.
pub const FORGED: &str = "forged";

/// The stores during one reconcile, as its process has them.
pub struct Shelf {
    pub servers: [FakeStore; SERVERS.len()],
    pub forged: FakeStore,
    pub standing: [Standing; SERVERS.len()],
    /// Where the stores lead, by their numbers.
    pub leads: [usize; NAMES.len()],
    /// Where they lead by the watch.
    pub shown: [usize; NAMES.len()],
    /// The places with which there are sessions from before a store was edited.
    pub sessions: BTreeSet<(usize, usize)>,
}

impl Shelf {
    fn at(&self, name: usize, site: usize) -> Arc<dyn StoreClient> {
        let (server, mount) = SITES[site];
        Arc::new(self.servers[server].with_identity(NAMES[name].0).with_mount(mount))
    }
}

fn number(store: &StoreName) -> Option<usize> {
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
    async fn client(&self, namespace: &str, store: &StoreName) -> Result<Arc<dyn StoreClient>, StoreRefusal> {
        let unusable = || StoreRefusal::Failed(StoreError::Sealed { server: "fake".into() });
        if store.name == BROKEN {
            return Err(unusable());
        }
        if store.name == FORGED {
            return Ok(Arc::new(self.forged.clone()));
        }
        let known = number(store).map(|name| (name, self.shown[name]));
        let standing = known.map_or(Standing::Absent, |(_, site)| self.standing[SITES[site].0]);
        let (store, namespace) = (store.clone(), namespace.to_owned());
        match (known, standing) {
            (None, _) | (_, Standing::Absent) => Err(StoreRefusal::NotFound { store }),
            (_, Standing::Refused) => Err(StoreRefusal::NotAllowed { store, namespace }),
            (_, Standing::Broken) => Err(unusable()),
            (
                Some((name, site)),
                Standing::Up | Standing::Hanging | Standing::Down | Standing::Lossy | Standing::Slow,
            ) => Ok(self.at(name, site)),
        }
    }

    async fn still_leads_to(&self, store: &StoreName, location: &StoreLocation) -> Result<bool, ClusterError> {
        let leads = number(store).map(|name| self.leads[name]);
        Ok(leads.is_some_and(|leads| site(location) == Some(leads)))
    }

    async fn is_labelled_as_shown(&self, _store: &StoreName) -> Result<bool, ClusterError> {
        Ok(true)
    }

    fn departing(&self, _store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn former(&self, _namespace: &str, store: &StoreName, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        let (name, site) = (number(store)?, site(location)?);
        self.sessions.contains(&(name, site)).then(|| self.at(name, site))
    }

    fn labelled(&self, _namespace: &str, _kind: StoreKind, _query: &LabelQuery) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn serves_unclassified(&self) -> bool {
        true
    }
}
