//! Writes a status by merge patch, which works with any schema: the server drops undeclared fields,
//! where server-side apply would fail.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Cluster, ClusterError};

/// The precondition of a patch: the object, and its state.
pub struct Precondition<'a> {
    /// The object's UID, so that a new object of the same name is not changed.
    pub uid: &'a str,
    /// The required resourceVersion, if another write must not be overwritten.
    pub resource_version: Option<&'a str>,
}

impl Cluster {
    /// Applies a change (from [`difference`]) to the status of an object, and returns the object as
    /// stored.
    pub async fn patch_status<K>(
        &self,
        api: &Api<K>,
        subject: &str,
        name: &str,
        precondition: &Precondition<'_>,
        change: Value,
    ) -> Result<K, ClusterError>
    where
        K: Resource + Clone + Debug + DeserializeOwned,
    {
        let mut metadata = json!({ "uid": precondition.uid });
        if let Some(version) = precondition.resource_version {
            metadata["resourceVersion"] = json!(version);
        }
        let patch = Patch::Merge(json!({ "metadata": metadata, "status": change }));
        let params = PatchParams::default();
        let patched = api.patch_status(name, &params, &patch);
        self.request("update the status of", subject, patched).await
    }
}

/// The merge patch (RFC 7386) that turns `before` into `after`; `None` if they are equal. Lists are
/// replaced as a whole.
pub fn difference(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for (key, value) in after {
        let change = match before.get(key) {
            Some(old) => difference(old, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_only_what_changes() {
        let before = json!({ "a": 1, "gone": 2, "map": { "x": 1, "y": 2 }, "list": [1] });
        let after = json!({ "a": 1, "map": { "x": 3 }, "list": [1, 2], "new": {} });
        let patch = json!({ "gone": null, "map": { "x": 3, "y": null }, "list": [1, 2], "new": {} });
        assert_eq!(difference(&before, &after), Some(patch));
        assert_eq!(difference(&after, &after), None);
    }
}
