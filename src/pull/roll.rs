//! What the bound of deletions needs of an ExternalSecret: whether missing values would delete its
//! target, and what an earlier process wrote to its status.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::bound::Blocked;
use super::desired::{self, stores};
use super::report::REMOVED_BY_PUSH;
use crate::api::ExternalSecret;
use crate::api::condition::{self, ConditionStatus, READY, Reason};
use crate::api::external_secret::DeletionPolicy;
use crate::api::path_status::PathState;
use crate::store::StoreName;

/// An ExternalSecret whose target loses what is gone: with deletionPolicy Delete, or with what it found
/// below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its refresh interval; zero if it has none.
    pub interval: Duration,
    /// Whether its target exists, according to its status.
    pub has_target: bool,
}

/// What the status shows of an earlier process and one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// No loss.
    Nothing,
    /// A loss was blocked.
    Held,
    /// Values were lost that no push of ours removed.
    Lost {
        /// How long ago.
        ago: Duration,
    },
}

/// The stores that it reads, if its target loses what is gone from them.
pub fn member(object: &ExternalSecret) -> Option<(Member, BTreeSet<StoreName>)> {
    let loses = desired::finds(&object.spec)
        || object.spec.target.deletion_policy == DeletionPolicy::Delete && !desired::reads_metadata_alone(&object.spec);
    if !loses || object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let interval = object.spec.refresh_interval.parse().ok().and_then(|interval| interval.positive());
    let binding = object.status.as_ref().and_then(|status| status.binding.as_ref());
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let member = Member {
        interval: interval.unwrap_or_default(),
        has_target: binding.is_some_and(|binding| !binding.name.is_empty()),
    };
    Some((member, stores(&object.spec, namespace).collect()))
}

/// Reads the status. What it says of another store counts for nothing here: the spec may have been
/// edited since, to name any store.
pub fn past(object: &ExternalSecret, store: &StoreName, now: Timestamp) -> Past {
    let Some(status) = &object.status else { return Past::Nothing };
    let ready = condition::find(&status.conditions, READY);
    let is = |word, reason: Reason| {
        ready.is_some_and(|ready| ready.status == word && ready.reason.as_deref() == Some(reason.as_str()))
    };
    let says = ready.and_then(|ready| ready.message.as_deref()).unwrap_or_default();
    if is(ConditionStatus::False, Reason::MassDeletionBlocked) && Blocked::is_named(says, store) {
        return Past::Held;
    }
    let spelled = format!("{}/{}", store.kind, store.name);
    let missing = status.paths.iter().filter(|path| {
        let is_lost = path.state == Some(PathState::Missing) && path.message.as_deref() != Some(REMOVED_BY_PUSH);
        is_lost && path.store == spelled
    });
    let since = missing.filter_map(|path| path.read_at.as_ref()).max();
    // With the CRDs of External Secrets Operator there are no paths.
    let refreshed = status.refresh_time.as_ref().filter(|_| status.paths.is_empty());
    let since = since.or_else(|| refreshed.filter(|_| is(ConditionStatus::True, Reason::SecretDeleted)));
    match since {
        Some(since) => Past::Lost { ago: Duration::try_from(now.duration_since(since.0)).unwrap_or_default() },
        None => Past::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pull::bound::Halt;

    fn object(status: Value) -> ExternalSecret {
        let store = json!({ "kind": "ClusterSecretStore", "name": "vault" });
        let target = json!({ "deletionPolicy": "Delete" });
        let spec = json!({ "secretStoreRef": store, "target": target, "refreshInterval": "2h" });
        serde_json::from_value(
            json!({ "metadata": { "name": "db", "namespace": "team" }, "spec": spec, "status": status }),
        )
        .unwrap()
    }

    fn past_of(status: Value) -> Past {
        past_with("vault", status)
    }

    fn past_with(store: &str, status: Value) -> Past {
        past(&object(status), &StoreName::cluster(store), "2026-01-01T12:00:00Z".parse().unwrap())
    }

    fn ready(status: &str, reason: &str) -> Value {
        json!([{ "type": "Ready", "status": status, "reason": reason }])
    }

    #[test]
    fn a_member_reads_from_its_stores_and_has_what_its_status_names() {
        let (member, stores) = member(&object(json!({ "binding": { "name": "db" } }))).unwrap();
        assert_eq!(member, Member { interval: Duration::from_secs(7200), has_target: true });
        assert_eq!(stores, BTreeSet::from([StoreName::cluster("vault")]));
        assert!(!super::member(&object(json!({}))).unwrap().0.has_target);
        let mut retained = object(json!({}));
        retained.spec.target.deletion_policy = DeletionPolicy::Retain;
        assert_eq!(super::member(&retained), None);
        retained.spec.data_from = serde_json::from_value(json!([{ "find": { "path": "apps" } }])).unwrap();
        assert!(super::member(&retained).is_some(), "what is found goes in any case");
    }

    #[test]
    fn status_tells_what_was_held_and_what_was_lost_but_not_to_a_push_of_ours() {
        let missing = |message: Value| {
            let path = json!({
                "store": "ClusterSecretStore/vault", "path": "secret/db", "state": "Missing",
                "readAt": "2026-01-01T11:30:00Z", "message": message,
            });
            json!({ "conditions": ready("True", "SecretDeleted"), "refreshTime": "2026-01-01T11:59:00Z", "paths": [path] })
        };
        let half_an_hour = Past::Lost { ago: Duration::from_secs(1800) };
        let mut held = json!({ "conditions": ready("False", "MassDeletionBlocked") });
        let by = vec![Blocked { store: StoreName::cluster("vault"), losing: 6, all: 10 }];
        held["conditions"][0]["message"] = json!(Halt::Blocked(by).to_string());
        assert_eq!(past_of(held.clone()), Past::Held);
        assert_eq!(past_of(missing(Value::Null)), half_an_hour);
        // What the spec names since is another matter.
        assert_eq!([past_with("other", held), past_with("other", missing(Value::Null))], [Past::Nothing; 2]);
        assert_eq!(past_of(missing(json!(REMOVED_BY_PUSH))), Past::Nothing);
        let without_paths =
            |reason| json!({ "conditions": ready("True", reason), "refreshTime": "2026-01-01T11:30:00Z" });
        assert_eq!(past_of(without_paths("SecretDeleted")), half_an_hour);
        assert_eq!(past_of(without_paths("SecretSynced")), Past::Nothing);
    }
}
