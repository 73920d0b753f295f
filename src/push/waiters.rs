//! Decides which PushSecrets may want a property that another one offers, and which list it, by
//! specs, conditions and ledgers. Pure.
//!
//! The answer errs on the side of yes: a PushSecret that wants nothing declines within one
//! reconcile.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::PushSecret;
use crate::api::condition::{self, ConditionStatus};
use crate::api::push_ledger::PushLedger;
use crate::api::push_secret::{DataTo, PushSecretData, UpdatePolicy};
use crate::api::selector::StoreKind;
use crate::domain::path::RemotePath;
use crate::domain::remote_key::{RemoteKey, STAND_IN};
use crate::store::referred;

/// Whether a PushSecret that is not being deleted may be waiting for a property. One that is Ready
/// waits for nothing, with two exceptions. With `IfNotExists` it may be Ready because of another's
/// property, and would miss it. And if what it wants follows from labels or from sources, it may
/// have been Ready before they changed.
pub fn may_wait(push: &PushSecret) -> bool {
    let is_satisfied = push.status.as_ref().is_some_and(|status| {
        let ready = condition::find(&status.conditions, condition::READY);
        status.observed_generation == push.metadata.generation
            && ready.is_some_and(|ready| ready.status == ConditionStatus::True)
    });
    !is_satisfied || push.spec.update_policy() == UpdatePolicy::IfNotExists || wants_change_without_an_edit(push)
}

/// Whether what it wants follows from more than its spec: it selects sources or stores by labels, or
/// a mapping's path or properties depend on the source.
fn wants_change_without_an_edit(push: &PushSecret) -> bool {
    let spec = &push.spec;
    let named = |data: &PushSecretData| {
        let remote = &data.match_.remote_ref;
        let is_plain = RemoteKey::parse(&remote.remote_key).is_ok_and(|key| key.is_plain());
        is_plain && remote.property.as_deref().is_some_and(|property| !property.is_empty())
    };
    let selects_sources = spec.selector.secret.as_ref().is_some_and(|secret| secret.selector.is_some());
    let selects_stores = referred::selected_by_push(push).next().is_some();
    selects_sources || selects_stores || !spec.data_to.is_empty() || !spec.data.iter().all(named)
}

/// Whether a spec maps something to a property of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Maps {
    /// No.
    No,
    /// It depends on the sources: a key has placeholders, or a mapping names no path or no
    /// property.
    Perhaps,
    /// Yes: it names the path and the property.
    Yes,
}

/// Whether a spec maps something to this property of this path, however its stores spell the mount.
pub fn maps(push: &PushSecret, path: &RemotePath, property: &str) -> Maps {
    let one = |data: &PushSecretData| {
        let remote = &data.match_.remote_ref;
        let leads = leads_to(&remote.remote_key, path);
        match remote.property.as_deref().filter(|named| !named.is_empty()) {
            Some(named) if named == property => leads,
            Some(_) => Maps::No,
            None => leads.min(Maps::Perhaps),
        }
    };
    let many = |many: &DataTo| match many.remote_key.as_deref().filter(|key| !key.is_empty()) {
        Some(key) => leads_to(key, path).min(Maps::Perhaps),
        None => Maps::Perhaps,
    };
    let all = push.spec.data.iter().map(one).chain(push.spec.data_to.iter().map(many));
    all.max().unwrap_or(Maps::No)
}

/// Whether it pushes to a ClusterSecretStore: a SecretStore of another namespace may lead anywhere.
pub fn uses_a_store_of_the_cluster(push: &PushSecret) -> bool {
    push.spec.secret_store_refs.iter().any(|store| store.kind() == StoreKind::ClusterSecretStore)
}

/// The properties that a ledger lists at this path, however its stores spell the mount, and also at
/// former locations.
pub fn listed(ledger: &PushLedger, path: &RemotePath) -> BTreeSet<String> {
    let former = ledger.former.iter().map(|former| &former.pushed);
    let lines = ledger.synced.values().chain(former).flat_map(BTreeMap::values).map(|line| &line.match_.remote_ref);
    let there = lines.filter(|remote| leads_to(&remote.remote_key, path) != Maps::No);
    there.filter_map(|remote| remote.property.clone()).collect()
}

/// Compares segments from the right: what a key has before the path is a spelling of its mount.
fn leads_to(key: &str, path: &RemotePath) -> Maps {
    let Ok(key) = RemoteKey::parse(key) else { return Maps::No };
    let specimen = key.specimen();
    let segments: Vec<&str> = specimen.split('/').filter(|segment| !segment.is_empty()).collect();
    let wanted: Vec<&str> = path.path.segments().collect();
    if segments.len() < wanted.len() {
        return Maps::No;
    }
    let one = |(own, wanted): (&&str, &&str)| match (own.contains(STAND_IN), own == wanted) {
        (true, _) => Maps::Perhaps,
        (false, true) => Maps::Yes,
        (false, false) => Maps::No,
    };
    segments.iter().rev().zip(wanted.iter().rev()).map(one).min().unwrap_or(Maps::No)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn push(spec: Value, status: Value) -> PushSecret {
        let object = json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": spec,
            "metadata": { "name": "push", "namespace": "db", "generation": 2 }, "status": status });
        serde_json::from_value(object).unwrap()
    }

    fn mapped(key: &str, property: Option<&str>) -> Maps {
        let remote = json!({ "remoteKey": key, "property": property });
        let data = json!([{ "match": { "secretKey": "k", "remoteRef": remote } }]);
        let spec = json!({ "secretStoreRefs": [], "selector": {}, "data": data });
        maps(&push(spec, json!({})), &RemotePath::parse(Some("secret"), "team/db").unwrap(), "password")
    }

    #[test]
    fn every_spelling_that_may_lead_to_the_property_counts() {
        for key in ["team/db", "/team/db", "secret/team/db", "secret/data/team/db"] {
            assert_eq!(mapped(key, Some("password")), Maps::Yes, "{key}");
            assert_eq!(mapped(key, None), Maps::Perhaps, "{key}");
        }
        assert_eq!(mapped("{{ .metadata.namespace }}/db", Some("password")), Maps::Perhaps);
        assert_eq!(mapped("team/{{ index .metadata.labels \"a/b\" }}", None), Maps::Perhaps);
        for (key, property) in
            [("team/db", "other"), ("team/other", "password"), ("db", "password"), ("{{", "password")]
        {
            assert_eq!(mapped(key, Some(property)), Maps::No, "{key} {property}");
        }
        let many = |key: Value| {
            let spec = json!({ "secretStoreRefs": [], "selector": {}, "dataTo": [{ "remoteKey": key }] });
            maps(&push(spec, json!({})), &RemotePath::parse(Some("secret"), "team/db").unwrap(), "password")
        };
        assert_eq!((many(json!("team/db")), many(Value::Null)), (Maps::Perhaps, Maps::Perhaps));
        assert_eq!(many(json!("team/other")), Maps::No);
    }

    #[test]
    fn who_has_everything_waits_for_nothing() {
        let status = |generation: i64, word: &str| json!({ "observedGeneration": generation, "conditions": [{ "type": "Ready", "status": word }] });
        let spec = |update: &str| json!({ "secretStoreRefs": [], "selector": {}, "updatePolicy": update });
        assert!(may_wait(&push(spec("Replace"), Value::Null)), "nobody has looked at it yet");
        assert!(may_wait(&push(spec("Replace"), json!({}))));
        assert!(may_wait(&push(spec("Replace"), status(2, "False"))));
        assert!(may_wait(&push(spec("Replace"), status(1, "True"))));
        assert!(!may_wait(&push(spec("Replace"), status(2, "True"))));
        assert!(may_wait(&push(spec("IfNotExists"), status(2, "True"))));
    }

    #[test]
    fn who_wants_what_labels_or_sources_say_may_wait_although_it_is_ready() {
        let ready = json!({ "observedGeneration": 2, "conditions": [{ "type": "Ready", "status": "True" }] });
        let mapped = |key: &str, property: Option<&str>| {
            let remote = json!({ "remoteKey": key, "property": property });
            json!([{ "match": { "secretKey": "k", "remoteRef": remote } }])
        };
        let plain = json!({ "secretStoreRefs": [{ "name": "s" }], "selector": { "secret": { "name": "source" } },
            "data": mapped("team/db", Some("password")) });
        let waits = |field: &str, value: Value| {
            let mut spec = plain.clone();
            spec[field] = value;
            may_wait(&push(spec, ready.clone()))
        };
        assert!(!waits("data", mapped("team/db", Some("password"))));
        let labels = json!({ "matchLabels": { "team": "a" } });
        assert!(waits("selector", json!({ "secret": { "selector": labels } })));
        assert!(waits("secretStoreRefs", json!([{ "labelSelector": labels }])));
        assert!(waits("dataTo", json!([{ "remoteKey": "team/db" }])));
        assert!(waits("data", mapped("{{ .metadata.name }}/db", Some("password"))));
        assert!(waits("data", mapped("team/db", None)) && waits("data", mapped("team/db", Some(""))));
    }
}
