//! Decides what to create, change and delete in each namespace.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::change::Problem;
use super::desired::Desired;
use super::kind::Child;
use super::known::{Found, Notes};
use super::observe::Present;

/// What the caches show.
pub struct Observed<C> {
    /// All namespaces.
    pub namespaces: Namespaces,
    /// The objects that are children or have the name of one.
    pub children: Children<C>,
    /// The namespaces whose child says that another object owns what it writes.
    pub contested: BTreeSet<String>,
    /// What is known of some children from live reads.
    pub notes: Notes,
}

impl<C> Default for Observed<C> {
    fn default() -> Self {
        Observed {
            namespaces: Namespaces::new(),
            children: Children::new(),
            contested: BTreeSet::new(),
            notes: Notes::new(),
        }
    }
}

/// Namespaces by name.
pub type Namespaces = BTreeMap<String, ObjectMeta>;

/// By namespace, the objects that are children or have the name of one.
pub type Children<C> = BTreeMap<String, Vec<Present<C>>>;

/// What to do: first everything new, then everything old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The step for each matching namespace.
    pub wanted: BTreeMap<String, Step>,
    /// The children to delete.
    pub unwanted: Vec<Unwanted>,
}

/// The step for a matching namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its child is as desired.
    Keep,
    /// It has no child yet.
    Create,
    /// Read it live, and patch it if it differs.
    Settle,
    /// A problem prevents it.
    Leave(Problem),
}

/// A child to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwanted {
    pub namespace: String,
    pub name: String,
    pub why: Why,
}

/// Why a child is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its namespace no longer matches, or opts out.
    Unmatched,
    /// The spec has another name. It is deleted once the new child exists.
    Renamed,
}

/// Makes the plan. A namespace that is being deleted is omitted: its objects are deleted with it.
pub fn plan<C: Child>(desired: &Desired<C::Spec>, observed: &Observed<C>) -> Plan {
    let mut plan = Plan::default();
    for (name, namespace) in observed.namespaces.iter().filter(|(_, namespace)| !is_leaving(namespace)) {
        if desired.wants(namespace) {
            plan.wanted.insert(name.clone(), step(desired, observed, name));
        }
    }
    for (namespace, children) in &observed.children {
        if observed.namespaces.get(namespace).is_some_and(is_leaving) {
            continue;
        }
        for child in children.iter().map(Present::metadata).filter(|child| desired.owns(child) && !is_leaving(child)) {
            let name = child.name.clone().unwrap_or_default();
            let why = match plan.wanted.contains_key(namespace) {
                false => Why::Unmatched,
                true if name != desired.child.name => Why::Renamed,
                true => continue,
            };
            plan.unwanted.push(Unwanted { namespace: namespace.clone(), name, why });
        }
    }
    plan
}

fn step<C: Child>(desired: &Desired<C::Spec>, observed: &Observed<C>, namespace: &str) -> Step {
    let mut children = observed.children.get(namespace).into_iter().flatten();
    let Some(child) = children.find(|child| child.metadata().name.as_deref() == Some(&desired.child.name)) else {
        return Step::Create;
    };
    if let Some(problem) = Problem::with(desired, child.metadata()) {
        return Step::Leave(problem);
    }
    match child.metadata().uid.as_deref().and_then(|uid| observed.notes.get(uid)) {
        Some(Found::InPlace) => Step::Keep,
        Some(Found::ChangedBack) => Step::Leave(Problem::ChangedBack),
        None if is_exact(desired, child) => Step::Keep,
        None => Step::Settle,
    }
}

/// Whether a child is exactly as desired, so that no live read is needed.
fn is_exact<C: Child>(desired: &Desired<C::Spec>, child: &Present<C>) -> bool {
    let metadata = child.metadata();
    metadata.labels.as_ref().unwrap_or(&BTreeMap::new()) == &desired.child.labels
        && metadata.annotations.as_ref().unwrap_or(&BTreeMap::new()) == &desired.child.annotations
        && child.spec() == Some(&desired.child.spec)
}

fn is_leaving(object: &ObjectMeta) -> bool {
    object.deletion_timestamp.is_some()
}
