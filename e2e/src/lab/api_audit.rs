//! The controller's requests that kube-apiserver recorded: verb, object and verdict, without
//! content. Others' requests are not recorded.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::Deserialize;
use serde_json::json;

use super::{CONTROLLER_ACCOUNT, folder::write_private, json_lines::JsonLines};

/// The audit file of an API server.
#[derive(Debug, Clone)]
pub struct ApiAudit(JsonLines);

/// One request of the controller that the API server answered, or a watch that it began or ended to
/// answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`
    pub verb: String,
    /// Its object; `None` for a path that is not a resource, such as `/version`.
    pub object: Option<ApiObject>,
    /// The HTTP status.
    pub code: u16,
    /// Whether RBAC let it pass.
    pub allowed: bool,
    /// When it came to the API server, by its clock.
    pub received: Timestamp,
}

/// The object of a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiObject {
    /// Empty for the core group.
    #[serde(default)]
    pub api_group: String,
    /// The resource in the plural.
    pub resource: String,
    /// Empty for the resource itself.
    #[serde(default)]
    pub subresource: String,
    /// Empty for a cluster-wide resource, and for all namespaces.
    #[serde(default)]
    pub namespace: String,
    /// Empty for a list, and for a new object.
    #[serde(default)]
    pub name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    object_ref: Option<ApiObject>,
    response_status: Status,
    request_received_timestamp: MicroTime,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "authorization.k8s.io/decision", default)]
    decision: String,
}

impl ApiAudit {
    /// The log that an API server in this folder writes by [`write_policy`].
    pub(super) fn in_folder(folder: &Path) -> Self {
        ApiAudit(JsonLines::at(log_file(folder)))
    }

    /// Every request of the controller since the API server was first started, in the order of the
    /// answers.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn requests(&self) -> anyhow::Result<Vec<ApiRequest>> {
        let events: Vec<Event> = self.0.since(Default::default())?;
        let request = |event: Event| ApiRequest {
            verb: event.verb,
            object: event.object_ref,
            code: event.response_status.code,
            allowed: event.annotations.decision == "allow",
            received: event.request_received_timestamp.0,
        };
        Ok(events.into_iter().map(request).collect())
    }
}

/// Where the API server in this folder records.
pub(super) fn log_file(folder: &Path) -> PathBuf {
    folder.join("kube-apiserver-audit.log")
}

/// Writes the policy: metadata of the controller's requests, nothing of anybody else's.
pub(super) fn write_policy(folder: &Path) -> anyhow::Result<PathBuf> {
    let [namespace, name] = CONTROLLER_ACCOUNT;
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        // Every other stage has the answer's status. A watch is recorded as it begins: it may
        // outlive the lab.
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "Metadata", "users": [format!("system:serviceaccount:{namespace}:{name}")] },
            { "level": "None" },
        ],
    });
    let file = folder.join("audit-policy.json");
    write_private(&file, &policy.to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn requests_are_read_with_their_verdict() {
        let folder = std::env::temp_dir().join(format!("waypost-api-audit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let received = "2026-01-02T03:04:05.678901Z";
        let event = |verb: &str, object: serde_json::Value, code: u16, decision: &str| {
            json!({
                "kind": "Event", "stage": "ResponseComplete", "verb": verb, "objectRef": object,
                "requestReceivedTimestamp": received,
                "responseStatus": { "metadata": {}, "code": code },
                "annotations": { "authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": "x" },
            })
            .to_string()
        };
        let status = json!({ "resource": "pushsecrets", "subresource": "status", "apiGroup": "external-secrets.io",
            "namespace": "team", "name": "push" });
        let lines = [event("patch", status, 200, "allow"), event("list", json!({ "resource": "pods" }), 403, "forbid")];
        fs::write(log_file(&folder), lines.join("\n") + "\n{\"kind\":\"Ev").unwrap();
        let requests = ApiAudit::in_folder(&folder).requests().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let [patch, list] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!(patch.received, received.parse().unwrap());
        assert!(patch.allowed && patch.object.as_ref().is_some_and(|object| object.subresource == "status"));
        assert!(
            !list.allowed && list.code == 403 && list.object.as_ref().is_some_and(|object| object.api_group.is_empty())
        );
    }
}
