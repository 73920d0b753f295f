//! The store of the model: where it leads, and whom it serves.

use std::sync::Arc;

use parking_lot::Mutex;

use super::events::Serves;
use crate::domain::path::RemotePath;
use crate::store::fake::FakeStore;
use crate::store::opening::Opening;
use crate::store::{StoreClient, StoreRefusal};

/// Server and mount.
pub const PLACES: [(usize, &str); 3] = [(0, "secret"), (1, "secret"), (0, "other")];
pub const PROPERTIES: [&str; 2] = ["one", "two"];

/// The store of the story.
#[derive(Clone)]
pub struct OneStore(Arc<Mutex<Place>>);

pub struct Place {
    servers: [FakeStore; 2],
    pub at: usize,
    pub serves: Serves,
    /// Counts the edits.
    pub generation: u32,
    session: Arc<dyn StoreClient>,
}

impl OneStore {
    pub fn new() -> Self {
        let servers = [FakeStore::on("a"), FakeStore::on("b")];
        servers[0].add_mount("other");
        servers.iter().for_each(FakeStore::yield_at_each_request);
        let session: Arc<dyn StoreClient> = Arc::new(servers[0].clone());
        OneStore(Arc::new(Mutex::new(Place { servers, at: 0, serves: Serves::Yes, generation: 0, session })))
    }

    pub fn edit(&self, edit: impl FnOnce(&mut Place)) {
        let mut place = self.0.lock();
        edit(&mut place);
        let identity = format!("vault@{}", place.generation);
        place.session =
            Arc::new(place.servers[PLACES[place.at].0].with_identity(&identity).with_mount(PLACES[place.at].1));
    }

    /// Which of [`PLACES`].
    pub fn at(&self) -> usize {
        self.0.lock().at
    }

    /// The server, and the path on it.
    pub fn place(&self) -> (FakeStore, RemotePath) {
        self.place_at(self.at())
    }

    pub fn place_at(&self, at: usize) -> (FakeStore, RemotePath) {
        let (server, mount) = PLACES[at];
        (self.0.lock().servers[server].clone(), RemotePath::parse(Some(mount), "db").unwrap())
    }

    pub fn serves(&self) -> Serves {
        self.0.lock().serves
    }

    pub fn opening(&self) -> Opening {
        let one = self.clone();
        Opening::by(move |namespace, store| {
            let (place, store) = (one.0.lock(), store.clone());
            match place.serves {
                Serves::Yes => Ok(place.session.clone()),
                Serves::NotThere => Err(StoreRefusal::NotFound { store }),
                Serves::NotThisNamespace => Err(StoreRefusal::NotAllowed { store, namespace: namespace.to_owned() }),
            }
        })
    }
}
