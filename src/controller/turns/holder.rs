//! What turns are counted by, and how many turns each holder may have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::store::{Load, StoreName};

/// The stores that an object uses, each with its server. Objects that use the same wait in one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uses(Vec<Use>);

/// A store, and the server that it leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Use {
    store: Arc<StoreName>,
    /// The namespace of a SecretStore.
    namespace: Option<Arc<str>>,
    server: Arc<str>,
}

impl Uses {
    /// The stores of these loads, in an order that is the same for all objects.
    pub fn of(loads: &[Load]) -> Self {
        let one = |load: &Load| Use {
            store: Arc::new(load.store.clone()),
            namespace: load.store.namespace.as_deref().map(Arc::from),
            server: Arc::from(load.server.as_str()),
        };
        let uses: BTreeSet<Use> = loads.iter().map(one).collect();
        Uses(uses.into_iter().collect())
    }

    /// The stores alone.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<StoreName>> {
        self.0.iter().map(|one| &one.store)
    }
}

/// What turns are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// All stores of one server: they fail together.
    Server(Arc<str>),
    /// One store: its login or its role may be slow although the server is not.
    Store(Arc<StoreName>),
    /// The SecretStores of one namespace, whatever servers a tenant brings.
    Namespace(Arc<str>),
    /// All slow stores: each holds a few turns, but there may be many of them.
    Slow,
    /// All stores that are slow or may be: no turn of theirs has ended yet.
    Unproven,
    /// Those of one server: what they leave is for the new stores of others.
    UnprovenAt(Arc<str>),
    /// Those of one namespace, which may lead to any number of servers.
    UnprovenIn(Arc<str>),
    /// No store at all.
    Nothing,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Server(server) => write!(f, "server {server}"),
            Holder::Store(store) => write!(f, "{store}"),
            Holder::Namespace(namespace) => write!(f, "the SecretStores of {namespace}"),
            Holder::Slow => f.write_str("all slow stores"),
            Holder::Unproven => f.write_str("all stores that are slow or new"),
            Holder::UnprovenAt(server) => write!(f, "the stores of server {server} that are slow or new"),
            Holder::UnprovenIn(namespace) => write!(f, "the SecretStores of {namespace} that are slow or new"),
            Holder::Nothing => f.write_str("all objects without a store"),
        }
    }
}

/// Holders that are needed together.
pub type Holders = Arc<[Holder]>;

/// The holders of an object, from those that many objects share to those that few do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Needs(pub [Holders; 4]);

impl Needs {
    /// All of them.
    pub fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.0.iter().flat_map(|holders| holders.iter())
    }
}

/// The share of each holder, by what is known of the stores.
pub struct Shares {
    half: usize,
    stores: HashMap<Arc<StoreName>, Known>,
}

/// What is known of a store that leads to a server.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    server: String,
    slow: bool,
    /// A turn of it has ended since it leads there: had it not answered, it would now be slow.
    proven: bool,
}

impl Known {
    fn may_be_slow(&self) -> bool {
        self.slow || !self.proven
    }
}

impl Shares {
    /// No store is known; `half` is half of the queue's slots.
    pub fn new(half: usize) -> Self {
        Shares { half, stores: HashMap::new() }
    }

    /// Learns how a store is now. True if objects that use it may have other needs, or other shares.
    pub fn heed(&mut self, load: &Load) -> bool {
        let before = self.stores.remove(&load.store);
        // No request goes to a server that is not known, so that it cannot be slow.
        let now = (!load.server.is_empty()).then(|| Known {
            server: load.server.clone(),
            slow: load.slow,
            proven: before.as_ref().is_some_and(|was| was.proven && was.server == load.server),
        });
        let differs = before != now;
        self.stores.extend(now.map(|now| (Arc::new(load.store.clone()), now)));
        differs
    }

    /// Call this when a turn ends. Returns the stores that objects wait for with other needs, or
    /// other shares, from now on.
    pub fn prove<'u>(&mut self, uses: &'u Uses) -> Vec<&'u StoreName> {
        let mut proven = Vec::new();
        for Use { store, server, .. } in &uses.0 {
            let known = self.stores.get_mut(store).filter(|known| *known.server == **server && !known.proven);
            if let Some(known) = known {
                known.proven = true;
                proven.push(&**store);
            }
        }
        proven
    }

    /// Whether anything is known of the store.
    pub fn knows(&self, store: &StoreName) -> bool {
        self.stores.contains_key(store)
    }

    /// The stores of which anything is known.
    pub fn stores(&self) -> impl Iterator<Item = &StoreName> {
        self.stores.keys().map(|store| &**store)
    }

    /// The holders of an object.
    pub fn needs(&self, uses: &Uses) -> Needs {
        let mut levels: [BTreeSet<Holder>; 4] = Default::default();
        let [all, servers, namespaces, stores] = &mut levels;
        for Use { store, namespace, server } in &uses.0 {
            servers.insert(Holder::Server(server.clone()));
            namespaces.extend(namespace.clone().map(Holder::Namespace));
            stores.insert(Holder::Store(store.clone()));
            let Some(known) = self.stores.get(store).filter(|known| known.may_be_slow()) else { continue };
            all.insert(Holder::Unproven);
            servers.insert(Holder::UnprovenAt(server.clone()));
            namespaces.extend(namespace.clone().map(Holder::UnprovenIn));
            if known.slow {
                all.insert(Holder::Slow);
            }
        }
        if uses.0.is_empty() {
            all.insert(Holder::Nothing);
        }
        Needs(levels.map(|holders| holders.into_iter().collect()))
    }

    /// How many turns the holder may have.
    pub fn of(&self, holder: &Holder) -> usize {
        let few = (self.half / 4).max(1);
        let may_be_slow = |store: &StoreName| self.stores.get(store).is_some_and(Known::may_be_slow);
        match holder {
            Holder::Store(store) if may_be_slow(store) => few,
            Holder::UnprovenIn(_) => few,
            // What is left is for new stores, and for those of other servers.
            Holder::Slow | Holder::UnprovenAt(_) => (self.half - few).max(1),
            Holder::Server(_) | Holder::Store(_) | Holder::Namespace(_) | Holder::Unproven | Holder::Nothing => {
                self.half
            }
        }
    }

    /// The holders that may not have one more, given what each has.
    pub fn full<'h>(&self, held: &'h BTreeMap<Holder, usize>) -> impl Iterator<Item = &'h Holder> {
        held.iter().filter(move |(holder, held)| **held >= self.of(holder)).map(|(holder, _)| holder)
    }
}
