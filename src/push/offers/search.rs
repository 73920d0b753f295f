//! Who may want the properties that a PushSecret gives up.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use super::{At, Offers, Patience, Waiter, name};
use crate::api::PushSecret;
use crate::controller::guarded::Guarded;
use crate::domain::claim::Owner;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::push::waiters::{self, Maps};
use crate::store::Site;

/// A search for one reconcile. However many properties it asks for, it walks the PushSecrets of the
/// cluster once, and only if it asks for one.
pub struct Search<'a> {
    offers: &'a Offers,
    me: &'a Owner,
    patience: Patience,
    /// The PushSecrets that may wait for a property of this one.
    candidates: OnceCell<Vec<Arc<Guarded<PushSecret>>>>,
}

/// What is remembered of one property.
struct Remembered {
    /// The PushSecrets that were refused there.
    refused: BTreeSet<Name>,
    /// The PushSecrets that were refused at the same place of another address.
    refused_elsewhere: BTreeSet<Name>,
    declined: BTreeSet<Waiter>,
    /// Whether it was taken, or offered for too long.
    is_over: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(offers: &'a Offers, me: &'a Owner, patience: Patience) -> Self {
        Search { offers, me, patience, candidates: OnceCell::new() }
    }

    /// The PushSecrets that may want this property of an entry and have not declined it. None if it
    /// was taken, or offered for longer than `patience`: a PushSecret that fails for ever must not
    /// hold another one.
    pub fn waiters(&self, site: &Site, path: &RemotePath, property: &str) -> Vec<Waiter> {
        let remembered = self.remembered(site, property);
        if remembered.is_over {
            return Vec::new();
        }
        let candidates = self.candidates().iter().filter_map(|object| object.0.as_ref().ok());
        let meant = candidates
            .filter(|push| remembered.has_refused(push, self.is_near(push)) || self.may_want(push, path, property));
        meant.map(Waiter::of).filter(|waiter| !remembered.declined.contains(waiter)).collect()
    }

    fn remembered(&self, site: &Site, property: &str) -> Remembered {
        let state = self.offers.lock();
        let refused_at = |is_there: &dyn Fn(&Site) -> bool| {
            let there = state.refused.iter().filter(|(_, at)| at.iter().any(|(refused_at, _)| is_there(refused_at)));
            there.map(|(name, _)| name.clone()).collect()
        };
        let at = At { uid: self.me.uid.clone(), site: site.clone(), property: property.to_owned() };
        let offer = state.offers.get(&at);
        Remembered {
            refused: refused_at(&|refused_at| refused_at == site),
            refused_elsewhere: refused_at(&|refused_at| refused_at != site && refused_at.place == site.place),
            declined: offer.iter().flat_map(|offer| offer.declined.values().cloned()).collect(),
            is_over: offer.is_some_and(|offer| offer.taken_by.is_some() || self.patience.is_over(offer)),
        }
    }

    fn candidates(&self) -> &[Arc<Guarded<PushSecret>>] {
        self.candidates.get_or_init(|| {
            // One that was refused waits, also as long as the cache still shows it as Ready.
            let refused: BTreeSet<Name> = self.offers.lock().refused.keys().cloned().collect();
            let may_wait = |push: &PushSecret| {
                push.uid().as_deref() != Some(&self.me.uid)
                    && push.metadata.deletion_timestamp.is_none()
                    && (refused.contains(&name(push)) || self.is_near(push) && waiters::may_wait(push))
            };
            self.offers.others.find(&may_wait)
        })
    }

    /// Of another namespace, only a PushSecret counts that names the property and uses a
    /// ClusterSecretStore. One that maps by its sources, or uses its own store, may mean any path of
    /// any server, and would delay everybody's removals while it fails.
    fn may_want(&self, push: &PushSecret, path: &RemotePath, property: &str) -> bool {
        match waiters::maps(push, path, property) {
            Maps::Yes => self.is_near(push),
            Maps::Perhaps => self.is_neighbour(push),
            Maps::No => false,
        }
    }

    /// Whether its stores may lead to the same server: those of its own namespace or of the cluster.
    fn is_near(&self, push: &PushSecret) -> bool {
        self.is_neighbour(push) || waiters::uses_a_store_of_the_cluster(push)
    }

    fn is_neighbour(&self, push: &PushSecret) -> bool {
        push.namespace().as_ref() == Some(&self.me.namespace)
    }
}

impl Remembered {
    /// Whether it was refused there, however it spells the path. Of the same place at another
    /// address, a server of another namespace's own store may say so, and its word delays nobody.
    fn has_refused(&self, push: &PushSecret, is_near: bool) -> bool {
        let name = name(push);
        self.refused.contains(&name) || is_near && self.refused_elsewhere.contains(&name)
    }
}
