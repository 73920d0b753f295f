//! Which of our objects refer to which Secret: the only names whose events anybody here wants to see.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A namespaced name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl Name {
    /// Puts the two together.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Name { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object of ours that wants to hear about a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Referrer {
    /// It publishes the Secret.
    PushSecret(Name),
    /// It materialises the Secret.
    ExternalSecret(Name),
}

/// The index in both directions. A reconcile declares its names before it reads them, so no event falls between.
#[derive(Default)]
pub struct Referrers(Mutex<Index>);

/// Most of these lists have one entry, for which a tree would set aside room for eleven.
#[derive(Default)]
struct Index {
    by_secret: HashMap<Name, Vec<Referrer>>,
    by_referrer: HashMap<Referrer, Vec<Name>>,
}

impl Referrers {
    /// Replaces the Secrets that `referrer` wants to hear about; an empty set forgets it.
    pub fn declare(&self, referrer: Referrer, secrets: BTreeSet<Name>) {
        let mut index = self.lock();
        let before = index.by_referrer.remove(&referrer).unwrap_or_default();
        for gone in before.iter().filter(|secret| !secrets.contains(*secret)) {
            if let Some(referrers) = index.by_secret.get_mut(gone) {
                referrers.retain(|known| *known != referrer);
                if referrers.is_empty() {
                    index.by_secret.remove(gone);
                }
            }
        }
        for secret in secrets.iter().filter(|secret| !before.contains(secret)) {
            index.by_secret.entry(secret.clone()).or_default().push(referrer.clone());
        }
        if !secrets.is_empty() {
            index.by_referrer.insert(referrer, secrets.into_iter().collect());
        }
    }

    /// Who wants to hear about this Secret.
    pub fn of(&self, secret: &Name) -> Vec<Referrer> {
        self.lock().by_secret.get(secret).cloned().unwrap_or_default()
    }

    /// Every Secret that anybody refers to.
    pub fn secrets(&self) -> Vec<Name> {
        self.lock().by_secret.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_declaration_replaces_the_old_one() {
        let referrers = Referrers::default();
        let push = Referrer::PushSecret(Name::new("db", "push"));
        referrers.declare(push.clone(), BTreeSet::from([Name::new("db", "a")]));
        referrers.declare(push.clone(), BTreeSet::from([Name::new("db", "b")]));
        assert!(referrers.of(&Name::new("db", "a")).is_empty());
        assert_eq!(referrers.of(&Name::new("db", "b")), std::slice::from_ref(&push));
        referrers.declare(push, BTreeSet::new());
        assert!(referrers.of(&Name::new("db", "b")).is_empty());
    }
}
