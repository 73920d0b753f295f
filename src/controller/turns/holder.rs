//! What turns are counted by, and how many turns each holder may have.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::store::{Load, StoreName};

/// The stores that an object uses, each with its server. Objects that use the same wait in one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uses(Vec<(StoreName, String)>);

impl Uses {
    /// The stores of these loads, in an order that is the same for all objects.
    pub fn of(loads: &[Load]) -> Self {
        let mut uses: Vec<_> = loads.iter().map(|load| (load.store.clone(), load.server.clone())).collect();
        uses.sort();
        uses.dedup();
        Uses(uses)
    }
}

/// What turns are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder<'a> {
    /// All stores of one server: they fail together.
    Server(&'a str),
    /// One store: its login or its role may be slow although the server is not.
    Store(&'a StoreName),
    /// The SecretStores of one namespace, whatever servers a tenant brings.
    Namespace(&'a str),
    /// All slow stores: each holds a few turns, but there may be many of them.
    Slow,
    /// All stores that are slow or may be: no turn of theirs has ended yet.
    Unproven,
    /// No store at all.
    Nothing,
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Server(server) => write!(f, "server {server}"),
            Holder::Store(store) => write!(f, "{store}"),
            Holder::Namespace(namespace) => write!(f, "the SecretStores of {namespace}"),
            Holder::Slow => f.write_str("all slow stores"),
            Holder::Unproven => f.write_str("all stores that are slow or new"),
            Holder::Nothing => f.write_str("all objects without a store"),
        }
    }
}

/// The share of each holder, by what is known of the stores.
pub struct Shares {
    half: usize,
    stores: HashMap<StoreName, Known>,
}

/// What is known of a store that leads to a server.
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

    /// Learns how the stores are now. True if there may be more room.
    pub fn heed(&mut self, loads: &[Load]) -> bool {
        let mut more = false;
        for Load { store, server, slow } in loads {
            let before = self.stores.remove(store);
            let (was_slow, might_be) = before.as_ref().map_or((false, false), |was| (was.slow, was.may_be_slow()));
            // No request goes to a server that is not known, so that it cannot be slow.
            let now = (!server.is_empty()).then(|| Known {
                server: server.clone(),
                slow: *slow,
                proven: before.is_some_and(|was| was.proven && was.server == *server),
            });
            let (is_slow, may_be) = now.as_ref().map_or((false, false), |now| (now.slow, now.may_be_slow()));
            more |= was_slow && !is_slow || might_be && !may_be;
            self.stores.extend(now.map(|now| (store.clone(), now)));
        }
        more
    }

    /// Call this when a turn ends.
    pub fn prove(&mut self, uses: &Uses) {
        for (store, server) in &uses.0 {
            if let Some(known) = self.stores.get_mut(store).filter(|known| known.server == *server) {
                known.proven = true;
            }
        }
    }

    /// The holders of an object, each with its share.
    pub fn of<'u>(&self, uses: &'u Uses) -> BTreeMap<Holder<'u>, usize> {
        let few = (self.half / 4).max(1);
        let mut shares = BTreeMap::new();
        for (store, server) in &uses.0 {
            let known = self.stores.get(store);
            let (slow, may_be_slow) = (known.is_some_and(|known| known.slow), known.is_some_and(Known::may_be_slow));
            shares.insert(Holder::Server(server), self.half);
            shares.insert(Holder::Store(store), if may_be_slow { few } else { self.half });
            if let Some(namespace) = &store.namespace {
                shares.insert(Holder::Namespace(namespace), self.half);
            }
            if slow {
                // What is left is for new stores, which would otherwise wait behind slow ones.
                shares.insert(Holder::Slow, (self.half - few).max(1));
            }
            if may_be_slow {
                shares.insert(Holder::Unproven, self.half);
            }
        }
        if shares.is_empty() { BTreeMap::from([(Holder::Nothing, self.half)]) } else { shares }
    }
}
