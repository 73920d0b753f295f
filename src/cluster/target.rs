//! The target Secret: created by POST; updated by forced server-side apply or, if something must be
//! removed, by one merge patch; deleted with the UID and resourceVersion that were read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ObjectMeta, PartialObjectMeta, Request};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use zeroize::Zeroizing;

use super::error::Cut;
use super::{Cluster, ClusterError};
use crate::domain::secret::{SecretBytes, SecretMap};
use crate::domain::target::{Live, OwnerRef, Removals, Stamp, Target};

/// The reply has no data, because we know what we wrote.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

impl Cluster {
    /// The live Secret; `manager` is the field manager whose labels and annotations count as ours.
    pub async fn target(&self, namespace: &str, name: &str, manager: &str) -> Result<Option<Live>, ClusterError> {
        let object = object(namespace, name);
        let secret = self.get(&object, self.secrets(namespace).get(name)).await?;
        secret.map(|secret| live(secret, manager).ok_or_else(|| no_stamp("get", object))).transpose()
    }

    /// The live Secret's UID and resourceVersion, without its data.
    pub async fn target_stamp(&self, namespace: &str, name: &str) -> Result<Option<Stamp>, ClusterError> {
        let object = object(namespace, name);
        let meta = self.get(&object, self.secrets(namespace).get_metadata(name)).await?;
        meta.map(|meta| stamp(&meta.metadata)).transpose().map_err(|()| no_stamp("get", object))
    }

    /// Creates the Secret. An existing Secret is an error: it belongs to somebody else.
    pub async fn create_target(&self, target: &Target, manager: &str) -> Result<Stamp, ClusterError> {
        self.post_target(target, manager, false).await
    }

    /// Whether the API server would take the Secret, if there were none of its name.
    pub async fn check_target(&self, target: &Target, manager: &str) -> Result<(), ClusterError> {
        match self.post_target(target, manager, true).await {
            Ok(_) | Err(ClusterError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn post_target(&self, target: &Target, manager: &str, dry_run: bool) -> Result<Stamp, ClusterError> {
        let object = object(&target.namespace, &target.name);
        let body = Body::of(target, None);
        let bytes = serde_json::to_vec(&body).expect("strings and maps of strings always serialise");
        let parameters = PostParams { field_manager: Some(manager.to_owned()), dry_run };
        let call = async {
            let url = Secret::url_path(&(), Some(&target.namespace));
            let mut request = Request::new(url).create(&parameters, bytes).map_err(kube::Error::BuildRequest)?;
            request.headers_mut().insert("accept", METADATA_ONLY.parse().expect("a constant in ASCII"));
            self.client().request::<PartialObjectMeta<Secret>>(request).await
        };
        let created = self.request("create", &object, call).await?;
        stamp(&created.metadata).map_err(|()| no_stamp("create", object))
    }

    /// Sets our fields to those of the target, if the Secret is still in the state `at`. Removes
    /// nothing.
    pub async fn apply_target(&self, target: &Target, at: &Stamp, manager: &str) -> Result<Stamp, ClusterError> {
        let body = Body::of(target, Some(at));
        self.patch_target(target, Patch::Apply(body), PatchParams::apply(manager).force(), "apply").await
    }

    /// Sets our fields to those of the target and removes the others, in one write, if the Secret
    /// is still in the state of `live`.
    pub async fn replace_target(
        &self,
        target: &Target,
        live: &Live,
        removals: &Removals,
        manager: &str,
    ) -> Result<Stamp, ClusterError> {
        // A merge patch replaces the list of owner references, so it includes those of others.
        let others = live.owners.iter().filter(|owner| owner.uid != target.owner.uid);
        // The same is true of finalizers.
        let kept = live.finalizers.iter().filter(|finalizer| !removals.finalizers.contains(*finalizer));
        let body = Body {
            at: Some(&live.stamp),
            removals: Some(removals),
            owners: others.chain([&target.owner]).collect(),
            finalizers: target.finalizers.iter().chain(kept).map(String::as_str).collect(),
            ..Body::of(target, None)
        };
        let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        self.patch_target(target, Patch::Merge(body), parameters, "update").await
    }

    /// Deletes exactly this object in exactly this state.
    ///
    /// # Errors
    /// [`ClusterError::Held`] if it stays as long as it has finalizers.
    pub async fn delete_target(&self, namespace: &str, name: &str, at: &Stamp) -> Result<(), ClusterError> {
        let object = object(namespace, name);
        let preconditions =
            Preconditions { uid: Some(at.uid.to_string()), resource_version: Some(at.resource_version.to_string()) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = self.request("delete", &object, self.secrets(namespace).delete(name, &parameters)).await?;
        let left = deleted.left().filter(|left| left.metadata.deletion_timestamp.is_some());
        match left.and_then(|left| left.metadata.finalizers).filter(|finalizers| !finalizers.is_empty()) {
            Some(finalizers) => Err(ClusterError::Held { verb: "delete", object, finalizers: finalizers.join(", ") }),
            None => Ok(()),
        }
    }

    async fn patch_target(
        &self,
        target: &Target,
        patch: Patch<Body<'_>>,
        parameters: PatchParams,
        verb: &'static str,
    ) -> Result<Stamp, ClusterError> {
        let object = object(&target.namespace, &target.name);
        let api = self.secrets(&target.namespace);
        let patched = self.request(verb, &object, api.patch_metadata(&target.name, &parameters, &patch)).await?;
        stamp(&patched.metadata).map_err(|()| no_stamp(verb, object))
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client(), namespace)
    }
}

/// The body of a request. It borrows the values; each is encoded while it is written.
struct Body<'a> {
    target: &'a Target,
    at: Option<&'a Stamp>,
    removals: Option<&'a Removals>,
    owners: Vec<&'a OwnerRef>,
    finalizers: BTreeSet<&'a str>,
}

/// kube requires it; it omits the data.
impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{}", self.target.namespace, self.target.name)
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("apiVersion", "v1")?;
        body.serialize_entry("kind", "Secret")?;
        body.serialize_entry("metadata", &self.metadata())?;
        body.serialize_entry("type", &self.target.kind)?;
        if self.target.immutable {
            body.serialize_entry("immutable", &true)?;
        }
        body.serialize_entry("data", &Data(self))?;
        body.end()
    }
}

impl<'a> Body<'a> {
    /// All of the target and nothing else.
    fn of(target: &'a Target, at: Option<&'a Stamp>) -> Self {
        let finalizers = target.finalizers.iter().map(String::as_str).collect();
        Body { target, at, removals: None, owners: vec![&target.owner], finalizers }
    }

    fn metadata(&self) -> serde_json::Value {
        let mut metadata = json!({
            "name": self.target.name,
            "namespace": self.target.namespace,
            "labels": self.with_removals(&self.target.labels, |removals| &removals.labels),
            "annotations": self.with_removals(&self.target.annotations, |removals| &removals.annotations),
            "ownerReferences": self.owners.iter().map(|owner| reference(owner)).collect::<Vec<_>>(),
        });
        if !self.finalizers.is_empty() || self.removals.is_some() {
            metadata["finalizers"] = json!(self.finalizers);
        }
        if let Some(at) = self.at {
            metadata["uid"] = json!(&*at.uid);
            metadata["resourceVersion"] = json!(&*at.resource_version);
        }
        metadata
    }

    fn with_removals<'b>(
        &'b self,
        kept: &'b BTreeMap<String, String>,
        removed: fn(&Removals) -> &BTreeSet<String>,
    ) -> BTreeMap<&'b str, Option<&'b str>> {
        let removed = self.removals.into_iter().flat_map(removed).map(|key| (key.as_str(), None));
        removed.chain(kept.iter().map(|(key, value)| (key.as_str(), Some(value.as_str())))).collect()
    }
}

struct Data<'a>(&'a Body<'a>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut data = serializer.serialize_map(None)?;
        for key in self.0.removals.into_iter().flat_map(|removals| &removals.keys) {
            data.serialize_entry(key, &None::<&str>)?;
        }
        for (key, value) in &self.0.target.data {
            let encoded = Zeroizing::new(STANDARD.encode(value.expose()));
            data.serialize_entry(key, encoded.as_str())?;
        }
        data.end()
    }
}

/// A Secret as a target, if it has a UID and a resourceVersion.
pub fn live(secret: Secret, manager: &str) -> Option<Live> {
    let stamp = stamp(&secret.metadata).ok()?;
    let data: SecretMap =
        secret.data.into_iter().flatten().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
    let metadata = secret.metadata;
    Some(Live {
        stamp,
        kind: secret.type_.unwrap_or_else(|| "Opaque".to_owned()),
        immutable: secret.immutable.unwrap_or(false),
        terminating: metadata.deletion_timestamp.is_some(),
        our_labels: managed(&metadata, manager, "f:labels"),
        our_annotations: managed(&metadata, manager, "f:annotations"),
        our_finalizers: ours_alone(&metadata, manager),
        owners: metadata.owner_references.into_iter().flatten().map(owner).collect(),
        finalizers: metadata.finalizers.into_iter().flatten().collect(),
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        data,
    })
}

/// The finalizers that this manager set and no other one.
fn ours_alone(metadata: &ObjectMeta, manager: &str) -> BTreeSet<String> {
    let managers = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref());
    let others: BTreeSet<String> =
        managers.filter(|other| *other != manager).flat_map(|other| managed(metadata, other, "f:finalizers")).collect();
    managed(metadata, manager, "f:finalizers").difference(&others).cloned().collect()
}

/// The keys, or the members of a set, below `metadata.<field>` that this manager set, by apply or by
/// update.
pub(super) fn managed(metadata: &ObjectMeta, manager: &str, field: &str) -> BTreeSet<String> {
    metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.manager.as_deref() == Some(manager))
        .filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:metadata")?.get(field)?.as_object())
        .flat_map(|fields| fields.keys())
        .filter_map(|key| match key.strip_prefix("v:") {
            Some(member) => serde_json::from_str(member).ok(),
            None => key.strip_prefix("f:").map(str::to_owned),
        })
        .collect()
}

fn owner(reference: OwnerReference) -> OwnerRef {
    OwnerRef {
        api_version: reference.api_version,
        kind: reference.kind,
        name: reference.name,
        uid: reference.uid,
        controller: reference.controller.unwrap_or(false),
        blocks_deletion: reference.block_owner_deletion.unwrap_or(false),
    }
}

fn reference(owner: &OwnerRef) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(owner.controller),
        block_owner_deletion: Some(owner.blocks_deletion),
    }
}

fn stamp(metadata: &ObjectMeta) -> Result<Stamp, ()> {
    match (&metadata.uid, &metadata.resource_version) {
        (Some(uid), Some(resource_version)) => {
            Ok(Stamp { uid: uid.as_str().into(), resource_version: resource_version.as_str().into() })
        }
        (_, _) => Err(()),
    }
}

fn no_stamp(verb: &'static str, object: String) -> ClusterError {
    ClusterError::Transport { verb, object, cause: Cut::Reply }
}

fn object(namespace: &str, name: &str) -> String {
    format!("Secret {namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            namespace: "team".into(),
            name: "t".into(),
            kind: "Opaque".into(),
            immutable: false,
            labels: BTreeMap::from([("l".into(), "1".into())]),
            annotations: BTreeMap::new(),
            finalizers: BTreeSet::from(["example.com/ours".into()]),
            owner: OwnerRef {
                api_version: "external-secrets.io/v1".into(),
                kind: "ExternalSecret".into(),
                name: "es".into(),
                uid: "u".into(),
                controller: true,
                blocks_deletion: true,
            },
            data: BTreeMap::from([("password".into(), SecretBytes::from("canary"))]),
        }
    }

    #[test]
    fn what_is_removed_is_null_and_what_is_kept_is_not() {
        let target = target();
        let at = Stamp { uid: "s".into(), resource_version: "7".into() };
        let removals = Removals {
            keys: BTreeSet::from(["old".into()]),
            labels: BTreeSet::from(["gone".into()]),
            ..Removals::default()
        };
        let body = Body { removals: Some(&removals), ..Body::of(&target, Some(&at)) };
        let sent = serde_json::to_value(&body).unwrap();
        assert_eq!(sent["data"], json!({"old": null, "password": "Y2FuYXJ5"}));
        assert_eq!(sent["metadata"]["labels"], json!({"gone": null, "l": "1"}));
        assert_eq!(sent["metadata"]["resourceVersion"], "7");
        assert_eq!(sent["metadata"]["finalizers"], json!(["example.com/ours"]));
        assert!(!format!("{body:?}").contains("canary"));
    }

    #[test]
    fn our_fields_are_those_of_both_operations_of_our_manager() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "t", "uid": "s", "resourceVersion": "7", "managedFields": [
                {"manager": "us", "operation": "Apply", "fieldsV1": {"f:metadata": {
                    "f:labels": {".": {}, "f:a": {}},
                    "f:finalizers": {".": {}, "v:\"example.com/ours\"": {}, "v:\"example.com/both\"": {}},
                }}},
                {"manager": "us", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:b/c": {}}}}},
                {"manager": "them", "operation": "Update", "fieldsV1": {"f:metadata": {
                    "f:labels": {"f:d": {}}, "f:finalizers": {"v:\"example.com/both\"": {}},
                }}},
            ]},
        }))
        .unwrap();
        let live = live(secret, "us").unwrap();
        assert_eq!(live.our_labels, BTreeSet::from(["a".into(), "b/c".into()]));
        assert_eq!(live.our_finalizers, BTreeSet::from(["example.com/ours".into()]));
    }
}
