//! What makes a child, as it stands there now, into what is wanted; or why nothing may.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::desired::{Desired, controller};
use crate::api::PushSecret;
use crate::api::push_secret::PushSecretSpec;
use crate::cluster::ClusterError;
use crate::cluster::children::LiveChild;
use crate::cluster::status::difference;

/// Why a namespace has no child as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// Somebody else's PushSecret has the name.
    #[error(
        "a PushSecret of that name is there already and {owner}, so it is left alone: delete it, or set spec.pushSecretName to another name"
    )]
    Taken {
        /// Whose it is.
        owner: String,
    },
    /// The child is being deleted.
    #[error("its PushSecret is being deleted, and is made again once it is gone")]
    Leaving,
    /// What we write is not what comes to stand there.
    #[error(
        "what is written to its PushSecret is changed on the way: exempt it from the admission policy or webhook that does, or write in the ClusterPushSecret what that one wants"
    )]
    ChangedBack,
    /// Something changed each time it was looked at, several times in a row.
    #[error("{}", unsettled(.0.as_ref()))]
    Unsettled(Option<ClusterError>),
    /// The API server refused, or did not answer.
    #[error("{0}{advice}", advice = advice(.0))]
    Cluster(ClusterError),
}

impl Problem {
    /// What is in the way of making a PushSecret that is there into what is wanted.
    pub fn with(desired: &Desired, found: &ObjectMeta) -> Option<Self> {
        if !desired.owns(found) {
            let owner = match controller(found) {
                Some(owner) => format!("belongs to {} {:?}", owner.kind, owner.name),
                None => "is not ours".to_owned(),
            };
            return Some(Problem::Taken { owner });
        }
        found.deletion_timestamp.as_ref().map(|_| Problem::Leaving)
    }
}

/// What did not hold still, and who to look for.
fn unsettled(last: Option<&ClusterError>) -> String {
    match last {
        Some(error @ ClusterError::NotFound { .. }) => {
            format!("{error}, again and again: check that the definition of PushSecret is installed (kubectl get crd pushsecrets.external-secrets.io)")
        }
        Some(error) => {
            format!("{error}, again and again: see who keeps writing its PushSecret (kubectl get pushsecret --show-managed-fields)")
        }
        None => "the namespace, its PushSecret or the ClusterPushSecret changed each time it was looked at: see who keeps writing them (kubectl get --show-managed-fields)".to_owned(),
    }
}

/// What to do where trying again does not help by itself.
fn advice(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::Invalid { .. } => {
            ": correct spec.pushSecretSpec or spec.pushSecretMetadata, or ask whoever guards this namespace by an admission policy"
        }
        ClusterError::NotFound { .. }
        | ClusterError::AlreadyExists { .. }
        | ClusterError::Conflict { .. }
        | ClusterError::Forbidden { .. }
        | ClusterError::NamespaceTerminating { .. }
        | ClusterError::Api { .. }
        | ClusterError::Timeout { .. }
        | ClusterError::Transport { .. } => "",
    }
}

/// The merge patch that makes a child what is wanted, if it is still as it was seen; nothing where it is so already. Its spec
/// becomes exactly that of the ClusterPushSecret. Of its labels and annotations only what we set goes.
pub fn change(desired: &Desired, live: &LiveChild) -> Option<Value> {
    let wanted = &desired.child;
    let mut metadata = Map::new();
    let labels = entries(&wanted.labels, live.metadata.labels.as_ref(), &live.our_labels);
    let annotations = entries(&wanted.annotations, live.metadata.annotations.as_ref(), &live.our_annotations);
    for (field, changes) in [("labels", labels), ("annotations", annotations)] {
        if !changes.is_empty() {
            metadata.insert(field.to_owned(), json!(changes));
        }
    }
    // As we read it, so that another spelling of the same is no difference.
    let found =
        serde_json::from_value::<PushSecretSpec>(live.spec.clone()).map_or(live.spec.clone(), |spec| json!(spec));
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
pub fn child(desired: &Desired, namespace: &str) -> PushSecret {
    let wanted = &desired.child;
    let mut child = PushSecret::new(&wanted.name, wanted.spec.clone());
    child.metadata = ObjectMeta {
        name: Some(wanted.name.clone()),
        namespace: Some(namespace.to_owned()),
        labels: Some(wanted.labels.clone()),
        annotations: Some(wanted.annotations.clone()),
        owner_references: Some(vec![owner_reference(desired)]),
        ..ObjectMeta::default()
    };
    child
}

/// It blocks a foreground deletion of the ClusterPushSecret, which then waits for what children remove from their stores.
fn owner_reference(desired: &Desired) -> OwnerReference {
    OwnerReference {
        api_version: "external-secrets.io/v1alpha1".to_owned(),
        kind: "ClusterPushSecret".to_owned(),
        name: desired.name.clone(),
        uid: desired.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
