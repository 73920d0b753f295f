//! The patch that turns a child into the desired one, or the problem that prevents it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::desired::{Desired, controller};
use super::kind::{Child, Parent, Words};
use crate::cluster::ClusterError;
use crate::cluster::children::LiveChild;
use crate::cluster::status::difference;

/// Why a namespace does not have its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An object that is not ours has the name.
    Taken {
        /// Whose it is.
        owner: String,
    },
    /// The child is being deleted.
    Leaving,
    /// A webhook or policy changes what we write.
    ChangedBack,
    /// Something changed at each read, several times in a row; with the last error.
    Unsettled(Option<ClusterError>),
    /// The API server denied a request, or did not answer.
    Cluster(ClusterError),
}

impl Problem {
    /// What prevents an existing object from being the child.
    pub fn with<S>(desired: &Desired<S>, found: &ObjectMeta) -> Option<Self> {
        if !desired.owns(found) {
            let owner = match controller(found) {
                Some(owner) => format!("belongs to {} {:?}", owner.kind, owner.name),
                None => "is not ours".to_owned(),
            };
            return Some(Problem::Taken { owner });
        }
        found.deletion_timestamp.as_ref().map(|_| Problem::Leaving)
    }

    /// What is wrong and what to do.
    pub fn text(&self, words: &Words) -> String {
        let Words { parent, child, a_child, definition, name, .. } = words;
        match self {
            Problem::Taken { owner } => format!(
                "{a_child} of that name already exists and {owner}, so Waypost does not touch it: delete it, or set {name} to another name"
            ),
            Problem::Leaving => format!("its {child} is being deleted, and is created again once it is gone"),
            Problem::ChangedBack => format!(
                "an admission policy or webhook changes what is written to its {child}: exempt the {child} from it, or write in the {parent} what it wants"
            ),
            Problem::Unsettled(Some(error @ ClusterError::NotFound { .. })) => format!(
                "{error}, again and again: check that the CRD of {child} is installed (kubectl get crd {definition})"
            ),
            Problem::Unsettled(Some(error)) => format!(
                "{error}, again and again: see who keeps writing its {child} (kubectl get {definition} --show-managed-fields)"
            ),
            Problem::Unsettled(None) => format!(
                "the namespace, its {child} or the {parent} changed each time it was read: see who keeps writing them (kubectl get --show-managed-fields)"
            ),
            Problem::Cluster(error) => format!("{error}{}", advice(error, words)),
        }
    }
}

/// What to do if a retry alone does not help.
fn advice(error: &ClusterError, words: &Words) -> String {
    let Words { child, definition, content, .. } = words;
    match error {
        ClusterError::Invalid { .. } => {
            format!(": correct {content}, or ask who guards this namespace with an admission policy")
        }
        // The 404 is not about an object: the API server does not serve the kind.
        ClusterError::Api { code: 404, .. } => {
            format!(": check that the CRD of {child} is installed (kubectl get crd {definition})")
        }
        ClusterError::NotFound { .. }
        | ClusterError::AlreadyExists { .. }
        | ClusterError::Conflict { .. }
        | ClusterError::Forbidden { .. }
        | ClusterError::NamespaceTerminating { .. }
        | ClusterError::Held { .. }
        | ClusterError::Api { .. }
        | ClusterError::Timeout { .. }
        | ClusterError::Transport { .. } => String::new(),
    }
}

/// The merge patch that turns a child into the desired one, with the UID and resourceVersion that
/// were read; `None` if nothing differs. The spec becomes exactly the parent's. Only labels and
/// annotations that we set are removed.
pub fn change<S: Serialize + DeserializeOwned>(desired: &Desired<S>, live: &LiveChild) -> Option<Value> {
    let wanted = &desired.child;
    let mut metadata = Map::new();
    let labels = entries(&wanted.labels, live.metadata.labels.as_ref(), &live.our_labels);
    let annotations = entries(&wanted.annotations, live.metadata.annotations.as_ref(), &live.our_annotations);
    for (field, changes) in [("labels", labels), ("annotations", annotations)] {
        if !changes.is_empty() {
            metadata.insert(field.to_owned(), json!(changes));
        }
    }
    // Parsed and serialised again, so that another spelling of the same value is not a difference.
    let found = serde_json::from_value::<S>(live.spec.clone()).map_or(live.spec.clone(), |spec| json!(spec));
    let spec = difference(&found, &json!(wanted.spec));
    if metadata.is_empty() && spec.is_none() {
        return None;
    }
    metadata.insert("uid".to_owned(), json!(live.metadata.uid));
    metadata.insert("resourceVersion".to_owned(), json!(live.metadata.resource_version));
    let mut patch = json!({ "metadata": metadata });
    if let Some(spec) = spec {
        patch["spec"] = spec;
    }
    Some(patch)
}

fn entries<'a>(
    wanted: &'a BTreeMap<String, String>,
    found: Option<&'a BTreeMap<String, String>>,
    ours: &'a BTreeSet<String>,
) -> BTreeMap<&'a str, Option<&'a str>> {
    let none = BTreeMap::new();
    let found = found.unwrap_or(&none);
    let set = wanted.iter().filter(|(key, value)| found.get(*key) != Some(*value));
    let set = set.map(|(key, value)| (key.as_str(), Some(value.as_str())));
    let gone = ours.iter().filter(|key| found.contains_key(*key) && !wanted.contains_key(*key));
    set.chain(gone.map(|key| (key.as_str(), None))).collect()
}

/// The child that a namespace gets.
pub fn child<P: Parent>(desired: &Desired<<P::Child as Child>::Spec>, namespace: &str) -> P::Child {
    let wanted = &desired.child;
    let metadata = ObjectMeta {
        name: Some(wanted.name.clone()),
        namespace: Some(namespace.to_owned()),
        labels: Some(wanted.labels.clone()),
        annotations: Some(wanted.annotations.clone()),
        owner_references: Some(vec![owner_reference::<P>(&desired.name, &desired.uid)]),
        ..ObjectMeta::default()
    };
    P::Child::new(metadata, wanted.spec.clone())
}

/// It blocks a foreground deletion of the parent, so that it waits for the children's clean-up.
fn owner_reference<P: Parent>(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: P::api_version(&()).into_owned(),
        kind: P::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
