//! What stores lose in a reconcile, by the owner's own request, and what happens to sources meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::moves::{PROPERTIES, SERVERS, SITES, SOURCES};
use super::objects::secret;
use super::world::{Spot, at, spots};
use crate::cluster::in_memory::ApiServer;
use crate::domain::claim;
use crate::store::fake::FakeStore;

#[derive(Clone, Default)]
pub struct Losses(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whose reconcile runs.
    of: Option<String>,
    /// Since when each source exists.
    since: [Option<Instant>; SOURCES],
    /// After how many more requests which source changes.
    next: Option<(usize, Change, ApiServer)>,
    /// By spot with a value, its owner.
    held: BTreeMap<Spot, Option<String>>,
    all: Vec<Loss>,
}

/// A value that its owner removed.
#[derive(Debug)]
pub struct Loss {
    pub spot: Spot,
    pub owner: String,
    /// For how long each source had existed.
    pub existed: [Option<Duration>; SOURCES],
}

/// A source gets a value, or is deleted.
pub struct Change {
    pub source: usize,
    pub value: Option<String>,
}

impl Change {
    pub fn make(&self, server: &ApiServer) {
        let name = format!("source{}", self.source);
        let url = format!("/namespaces/db/secrets/{name}");
        match &self.value {
            Some(value) => server.put(&url, secret(&name, value)),
            None => server.remove(&url),
        }
    }
}

impl Losses {
    /// Looks at each server after each request.
    pub fn watch(&self, servers: &[FakeStore; SERVERS.len()]) {
        for (number, server) in servers.iter().enumerate() {
            let state = self.0.clone();
            server.after_each(move |store, _| state.lock().look(number, store));
        }
    }

    /// Whose reconcile runs; `None` if several do.
    pub fn of(&self, uid: Option<String>) {
        self.0.lock().of = uid;
    }

    pub fn source(&self, source: usize, there: bool) {
        self.0.lock().exists(source, there);
    }

    /// A source changes after so many more requests to stores.
    pub fn change_after(&self, requests: usize, change: Change, server: &ApiServer) {
        self.0.lock().next = Some((requests, change, server.clone()));
    }

    /// It changes now, if it has not yet.
    pub fn change_now(&self, server: &ApiServer) {
        if let Some((_, change, _)) = self.0.lock().next.take() {
            change.make(server);
        }
    }

    /// Everything since the last call.
    pub fn all(&self) -> Vec<Loss> {
        std::mem::take(&mut self.0.lock().all)
    }
}

impl State {
    fn look(&mut self, server: usize, store: &FakeStore) {
        let existed = self.since.map(|since| since.map(|since| since.elapsed()));
        for spot in spots().filter(|spot| SITES[spot.site].0 == server) {
            let entry = store.peek(&at(spot.site, spot.path));
            let property = PROPERTIES[spot.property];
            let owner = claim::owner(&entry.custom_metadata, property).map(|owner| owner.uid);
            let had = match entry.data().is_some_and(|data| data.contains_key(property)) {
                true => self.held.insert(spot, owner).and(None),
                false => self.held.remove(&spot),
            };
            if let Some(Some(owner)) = had
                && self.of.as_ref() == Some(&owner)
            {
                self.all.push(Loss { spot, owner, existed });
            }
        }
        self.next = match self.next.take() {
            Some((0, change, server)) => {
                change.make(&server);
                self.exists(change.source, change.value.is_some());
                None
            }
            next => next.map(|(requests, change, server)| (requests - 1, change, server)),
        };
    }

    fn exists(&mut self, source: usize, there: bool) {
        self.since[source] = if there { self.since[source].or_else(|| Some(Instant::now())) } else { None };
    }
}
