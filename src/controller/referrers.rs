//! Which of our objects refer to which Secret or ConfigMap. Events of other names are ignored.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use parking_lot::{Mutex, MutexGuard};

use crate::domain::label_query::LabelQuery;
use crate::domain::object_name::Name;
use crate::domain::source::SourceKind;
use crate::domain::template_spec::TemplateSpec;

/// An object of ours that refers to a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Referrer {
    /// It publishes the Secret.
    PushSecret(Name),
    /// It creates the Secret.
    ExternalSecret(Name),
    /// An ExternalSecret whose template has texts there.
    PullTemplate(Name),
    /// A PushSecret whose template has texts there.
    PushTemplate(Name),
}

/// What an object refers to.
#[derive(Default)]
pub struct Interest {
    /// Secrets by name, whether they exist or not.
    pub secrets: BTreeSet<Name>,
    /// Secrets of a namespace by their labels. A Secret that loses them only matches by its name.
    pub labelled: Option<(String, LabelQuery)>,
}

impl Interest {
    /// Refers only to these Secrets.
    pub fn named(secrets: BTreeSet<Name>) -> Self {
        Interest { secrets, labelled: None }
    }
}

/// Replaces the objects that the template of an object of a namespace refers to, in the indexes of
/// Secrets and of ConfigMaps.
pub fn declare_texts(
    secrets: &Referrers,
    config_maps: &Referrers,
    referrer: &Referrer,
    namespace: &str,
    template: Option<&TemplateSpec>,
) {
    let objects = template.into_iter().flat_map(TemplateSpec::objects).map(|(object, _)| object);
    let (of_secrets, of_maps): (Vec<_>, Vec<_>) = objects.partition(|object| object.kind == SourceKind::Secret);
    for (referrers, objects) in [(secrets, of_secrets), (config_maps, of_maps)] {
        let names = objects.into_iter().map(|object| Name::new(namespace, &object.name)).collect();
        referrers.declare(referrer.clone(), Interest::named(names));
    }
}

/// The index in both directions. A reconcile declares names before it reads them, so that no event
/// is missed.
#[derive(Default)]
pub struct Referrers(Mutex<Index>);

/// Most of these lists have one entry, for which a tree would allocate room for eleven.
#[derive(Default)]
struct Index {
    by_secret: HashMap<Name, Vec<Referrer>>,
    by_referrer: HashMap<Referrer, Vec<Name>>,
    /// By namespace.
    queries: HashMap<String, Vec<(Referrer, LabelQuery)>>,
    /// The namespace in which a referrer selects by labels.
    asks_in: HashMap<Referrer, String>,
}

impl Referrers {
    /// Replaces what `referrer` refers to; an empty interest removes it.
    pub fn declare(&self, referrer: Referrer, interest: Interest) {
        let mut index = self.lock();
        if let Some(namespace) = index.asks_in.remove(&referrer)
            && let Some(queries) = index.queries.get_mut(&namespace)
        {
            queries.retain(|(known, _)| *known != referrer);
            if queries.is_empty() {
                index.queries.remove(&namespace);
            }
        }
        let Interest { secrets, labelled } = interest;
        if let Some((namespace, query)) = labelled {
            index.asks_in.insert(referrer.clone(), namespace.clone());
            index.queries.entry(namespace).or_default().push((referrer.clone(), query));
        }
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
            match index.by_secret.entry(secret.clone()) {
                Entry::Occupied(mut known) => known.get_mut().push(referrer.clone()),
                // A first push would allocate room for four.
                Entry::Vacant(unknown) => drop(unknown.insert(vec![referrer.clone()])),
            }
        }
        if !secrets.is_empty() {
            index.by_referrer.insert(referrer, secrets.into_iter().collect());
        }
    }

    /// The objects that refer to this Secret by name.
    pub fn of(&self, secret: &Name) -> Vec<Referrer> {
        self.lock().by_secret.get(secret).cloned().unwrap_or_default()
    }

    /// The objects that refer to this Secret, by name or by its current labels.
    pub fn concerned(&self, secret: &Name, labels: &BTreeMap<String, String>) -> Vec<Referrer> {
        let index = self.lock();
        let mut concerned = index.by_secret.get(secret).cloned().unwrap_or_default();
        for (referrer, query) in index.queries.get(&*secret.namespace).into_iter().flatten() {
            if query.matches(labels) && !concerned.contains(referrer) {
                concerned.push(referrer.clone());
            }
        }
        concerned
    }

    /// The Secrets that this object refers to by name.
    pub fn secrets_of(&self, referrer: &Referrer) -> BTreeSet<Name> {
        self.lock().by_referrer.get(referrer).into_iter().flatten().cloned().collect()
    }

    /// Every Secret that an object refers to by name.
    pub fn secrets(&self) -> Vec<Name> {
        self.lock().by_secret.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::label_query::Selector;

    #[test]
    fn a_new_declaration_replaces_the_old_one() {
        let referrers = Referrers::default();
        let push = Referrer::PushSecret(Name::new("db", "push"));
        let named = |name: &str| Interest::named(BTreeSet::from([Name::new("db", name)]));
        referrers.declare(push.clone(), named("a"));
        referrers.declare(push.clone(), named("b"));
        assert!(referrers.of(&Name::new("db", "a")).is_empty());
        assert_eq!(referrers.of(&Name::new("db", "b")), std::slice::from_ref(&push));
        assert_eq!(referrers.secrets_of(&push), BTreeSet::from([Name::new("db", "b")]));
        referrers.declare(push, Interest::default());
        assert!(referrers.of(&Name::new("db", "b")).is_empty());
    }

    #[test]
    fn a_secret_concerns_who_asked_for_its_labels_and_who_knew_its_name() {
        let referrers = Referrers::default();
        let (by_name, by_labels) =
            (Referrer::PushSecret(Name::new("db", "one")), Referrer::PushSecret(Name::new("db", "two")));
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let query = LabelQuery::parse(&Selector { match_labels: labels.clone(), ..Selector::default() }).unwrap();
        let secret = Name::new("db", "a");
        referrers.declare(by_name.clone(), Interest::named(BTreeSet::from([secret.clone()])));
        let labelled = || Some(("db".to_owned(), query.clone()));
        referrers.declare(by_labels.clone(), Interest { labelled: labelled(), ..Interest::default() });
        assert_eq!(referrers.concerned(&secret, &labels), [by_name.clone(), by_labels.clone()]);
        assert_eq!(referrers.concerned(&secret, &BTreeMap::new()), std::slice::from_ref(&by_name));
        assert!(referrers.concerned(&Name::new("elsewhere", "a"), &labels).is_empty());
        let both = Interest { secrets: BTreeSet::from([secret.clone()]), labelled: labelled() };
        referrers.declare(by_labels.clone(), both);
        assert_eq!(referrers.concerned(&secret, &BTreeMap::new()), [by_name.clone(), by_labels.clone()]);
        referrers.declare(by_labels, Interest::default());
        assert_eq!(referrers.concerned(&secret, &labels), [by_name]);
        assert!(referrers.lock().queries.is_empty() && referrers.lock().asks_in.is_empty());
    }

    /// An entry under a wrong key stays, because nobody looks there.
    #[test]
    fn a_declaration_visits_only_what_its_referrer_had_declared() {
        let (referrers, plain) = (Referrers::default(), Referrer::ExternalSecret(Name::new("db", "plain")));
        let query = LabelQuery::parse(&Selector::default()).unwrap();
        let secrets = |names: &[&str]| names.iter().map(|name| Name::new("db", *name)).collect();
        referrers.lock().queries.insert("db".to_owned(), vec![(plain.clone(), query.clone())]);
        referrers.lock().by_secret.insert(Name::new("db", "strange"), vec![plain.clone()]);
        for names in [&["a", "b"][..], &["b", "c"], &[]] {
            referrers.declare(plain.clone(), Interest::named(secrets(names)));
            assert_eq!(referrers.secrets_of(&plain), secrets(names));
            assert_eq!(referrers.lock().queries["db"].len(), 1, "it looked through the queries of others");
            assert_eq!(referrers.of(&Name::new("db", "strange")).len(), 1, "it looked through the Secrets of others");
        }
        // Who selects by labels looks through the queries of its namespace alone.
        let asking = Referrer::PushSecret(Name::new("shop", "asking"));
        referrers.lock().queries.insert("elsewhere".to_owned(), vec![(asking.clone(), query.clone())]);
        for namespace in ["shop", "team"] {
            let labelled = Some((namespace.to_owned(), query.clone()));
            referrers.declare(asking.clone(), Interest { labelled, ..Interest::default() });
        }
        let index = referrers.lock();
        let asked: BTreeSet<&str> = index.queries.keys().map(String::as_str).collect();
        assert_eq!(asked, BTreeSet::from(["db", "elsewhere", "team"]));
    }
}
