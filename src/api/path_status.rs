//! The status of each path: which version, which properties, since when, and what is wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::description::What;

/// The maximum number of paths in a status. A resource with more shows the first ones, ordered by
/// store and path.
pub const MAX_PATHS: usize = 100;

/// The maximum number of lagging consumers that a path names.
pub const MAX_LAGGING: usize = 10;

/// The state of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum PathState {
    /// It is as the spec says.
    Synced,
    /// Something else must happen first.
    Pending,
    /// Waypost does not touch it; the message says why.
    Refused,
    /// It does not exist.
    Missing,
    /// A request failed; it is tried again.
    Failed,
}

impl PathState {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::Pending => "Pending",
            Self::Refused => "Refused",
            Self::Missing => "Missing",
            Self::Failed => "Failed",
        }
    }
}

/// A state that a newer version of Waypost wrote decodes as none, so that a downgrade works.
fn known_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathState>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.and_then(|word| serde_json::from_value(serde_json::Value::String(word)).ok()))
}

/// A path that a PushSecret writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PushedPath {
    /// The store, as `<kind>/<name>`.
    #[schemars(length(max = 512))]
    pub store: String,
    /// Mount and path, as one would read it with `vault kv get`.
    #[schemars(length(max = 2048))]
    pub path: String,
    /// The version that has the properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The properties of the path that this PushSecret owns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 1024)))]
    pub properties: Vec<String>,
    /// When Waypost last wrote the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_at: Option<Time>,
    /// The consumers in this cluster. Not set until they are counted, which takes a moment after
    /// each write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,
    /// The owner of a property that this PushSecret may not write, as
    /// `<cluster>/<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub owner: Option<String>,
    /// The state of the path.
    #[serde(default, deserialize_with = "known_state", skip_serializing_if = "Option::is_none")]
    pub state: Option<PathState>,
    /// What is in the way and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// The ExternalSecrets of this cluster that follow a path. Those with a fixed version, or that are
/// read once, do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consumers {
    /// Their number.
    pub total: i64,
    /// How many have the path's version, or a later one, in their target.
    pub current: i64,
    /// The consumers that lack it, in the order of their names; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LAGGING))]
    pub lagging: Vec<Lagging>,
}

/// A consumer that does not have what was pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lagging {
    /// The ExternalSecret, as `<namespace>/<name>`.
    #[schemars(length(max = 512))]
    pub consumer: String,
    /// The version that its target was rendered from, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Why it lags.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// A path that an ExternalSecret reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PulledPath {
    /// The store, as `<kind>/<name>`.
    #[schemars(length(max = 512))]
    pub store: String,
    /// Mount and path, as one would read it with `vault kv get`.
    #[schemars(length(max = 2048))]
    pub path: String,
    /// The version that the target was rendered from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// When the store created that version, by the store's clock. Numbers begin again after a purge,
    /// so a lower number that was created later is no older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<MicroTime>,
    /// Whether the target has metadata of the path, and none of its properties.
    #[serde(default, skip_serializing_if = "is_false")]
    pub metadata: bool,
    /// The properties that the target has from the path; empty means all, unless it has metadata. As
    /// many as a spec may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 1024)))]
    pub properties: Vec<String>,
    /// Those of the properties that had an owner when they were last there. What goes of another one
    /// was not removed by its owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 1024)))]
    pub owned: Vec<String>,
    /// When the version was first read for this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Time>,
    /// The state of the path.
    #[serde(default, deserialize_with = "known_state", skip_serializing_if = "Option::is_none")]
    pub state: Option<PathState>,
    /// What is wrong and what to do about it, or who removed a value that does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

impl PulledPath {
    /// What of the path the target has.
    pub fn what(&self) -> What {
        if self.metadata { What::Metadata } else { What::Data }
    }

    /// Whether it is about this part of this path.
    pub fn is(&self, store: &str, path: &str, what: What) -> bool {
        self.store == store && self.path == path && self.what() == what
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::json;

    use crate::api::ExternalSecret;

    /// A status that the API server refuses would be written again and again.
    #[test]
    fn a_status_has_room_for_every_property_that_a_spec_may_name() {
        let schema = json!(ExternalSecret::crd()).pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone();
        let most = |pointer: &str| schema.pointer(&format!("{pointer}/maxItems")).unwrap().as_u64().unwrap();
        let named = most("/properties/spec/properties/data");
        let path = "/properties/status/properties/paths/items/properties";
        for field in ["properties", "owned"] {
            assert!(most(&format!("{path}/{field}")) >= named, "{field}");
        }
    }
}
