//! Reads what it can of a PushSecret that does not decode: enough to tell whether it is ours, and
//! mostly enough to remove what it pushed.

use std::time::Duration;

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ledger;
use crate::api::PushSecret;
use crate::api::condition::Reason;
use crate::api::names::FINALIZER_PUSH_SECRET;
use crate::api::push_secret::{PushDeletionPolicy, PushSecretSpec, PushSecretStatus};
use crate::controller::report::Requeue;
use crate::controller::undecodable::{Advice, Fate};

/// A PushSecret as far as it decodes.
pub struct Remains {
    /// What a clean-up needs: its policies, its stores and its ledger. It is good for nothing else.
    pub push: PushSecret,
    /// A field that does not decode and that determines what happens to what was pushed.
    pub illegible: Option<&'static str>,
}

/// Reads each part by itself.
pub fn of(object: DynamicObject) -> Remains {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let (deletion, update) = (field(spec, "deletionPolicy"), field(spec, "updatePolicy"));
    let ledger = field(status, "syncedPushSecrets");
    let (locations, former) = (field(status, "storeLocations"), field(status, "formerLocations"));
    let illegible = match (&deletion, &update, &ledger, &locations, &former) {
        (Err(Illegible), ..) => Some("spec.deletionPolicy"),
        (_, Err(Illegible), ..) => Some("spec.updatePolicy"),
        (_, _, Err(Illegible), ..) => Some("status.syncedPushSecrets"),
        (_, _, _, Err(Illegible), _) => Some("status.storeLocations"),
        (.., Err(Illegible)) => Some("status.formerLocations"),
        (Ok(_), Ok(_), Ok(_), Ok(_), Ok(_)) => None,
    };
    let stores = spec["secretStoreRefs"].as_array().into_iter().flatten();
    let spec = PushSecretSpec {
        secret_store_refs: stores.filter_map(|store| serde_json::from_value(store.clone()).ok()).collect(),
        deletion_policy: deletion.ok().flatten(),
        update_policy: update.ok().flatten(),
        ..PushSecretSpec::default()
    };
    let status = PushSecretStatus {
        synced_push_secrets: ledger.ok().flatten().unwrap_or_default(),
        store_locations: locations.ok().flatten().unwrap_or_default(),
        former_locations: former.ok().flatten().unwrap_or_default(),
        conditions: field(status, "conditions").ok().flatten().unwrap_or_default(),
        ..PushSecretStatus::default()
    };
    Remains { push: PushSecret { metadata: object.metadata, spec, status: Some(status) }, illegible }
}

/// A field that does not decode.
#[derive(Debug)]
struct Illegible;

fn field<T: DeserializeOwned>(value: &Value, name: &str) -> Result<Option<T>, Illegible> {
    value.get(name).map(|value| serde_json::from_value(value.clone()).map_err(|_quotes_it| Illegible)).transpose()
}

impl Remains {
    /// What happens to it, given how long its deletion has been known. If it does not say whether
    /// to remove what it pushed, that stays, and the PushSecret is released after the deadline of
    /// any clean-up.
    pub fn fate(&self, known_for: Duration, deadline: Duration) -> Fate<PushSecret> {
        if self.push.metadata.deletion_timestamp.is_none() {
            return Fate::Told(Advice::correct());
        }
        let left = deadline.saturating_sub(known_for);
        match self.illegible {
            Some(field) if self.is_held() && !left.is_zero() => Fate::Told(pending(field, left, deadline)),
            Some(_) => {
                let mut push = self.push.clone();
                push.spec.deletion_policy = Some(PushDeletionPolicy::None);
                Fate::Ends(Box::new(push))
            }
            None => Fate::Ends(Box::new(self.push.clone())),
        }
    }

    /// Whether it waits for us to release it.
    pub fn is_held(&self) -> bool {
        self.push.finalizers().iter().any(|finalizer| finalizer == FINALIZER_PUSH_SECRET)
    }

    /// The lines of the ledger, as far as they decode.
    pub fn pushed(&self) -> String {
        self.push.status.as_ref().map(|status| ledger::text(&status.ledger())).unwrap_or_default()
    }
}

fn pending(field: &str, left: Duration, deadline: Duration) -> Advice {
    let text = format!(
        "it is being deleted, and its {field}, which determines what happens to what it pushed, does not decode: correct that field, or remove the finalizer {FINALIZER_PUSH_SECRET} to leave what it pushed in the store, as Waypost does {} after it saw the deletion",
        humantime::format_duration(deadline)
    );
    Advice { reason: Reason::CleanupPending, text, requeue: Requeue::After(left) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: Value, status: Value) -> Remains {
        let object = serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": spec, "status": status,
            "metadata": { "name": "odd", "deletionTimestamp": "1970-01-01T00:00:00Z", "finalizers": [FINALIZER_PUSH_SECRET] },
        }));
        of(object.unwrap())
    }

    fn ledger() -> Value {
        let line = json!({ "match": { "secretKey": "a", "remoteRef": { "remoteKey": "x/y", "property": "a" } } });
        json!({ "ClusterSecretStore/vault": { "x/y/a": line } })
    }

    const DEADLINE: Duration = Duration::from_secs(600);

    #[test]
    fn one_whose_policies_and_ledger_can_be_read_ends_like_any_other() {
        let stores = json!([{ "name": "vault", "kind": "ClusterSecretStore" }, { "kind": "Odd" }]);
        let spec = json!({ "deletionPolicy": "Delete", "secretStoreRefs": stores, "selector": 7, "data": "odd" });
        let status = json!({ "syncedPushSecrets": ledger(), "paths": "odd" });
        let Fate::Ends(push) = read(spec, status).fate(Duration::ZERO, DEADLINE) else { panic!("it does not end") };
        assert_eq!(push.spec.deletion_policy(), PushDeletionPolicy::Delete);
        assert_eq!(push.spec.secret_store_refs.len(), 1);
        assert_eq!(json!(push.status.unwrap().synced_push_secrets), ledger());
    }

    #[test]
    fn one_that_does_not_say_what_becomes_of_its_values_waits_and_then_goes_without_them() {
        let odd = [
            (json!({ "deletionPolicy": "Sometimes" }), json!({}), "spec.deletionPolicy"),
            (json!({ "deletionPolicy": "Delete", "updatePolicy": 7 }), json!({}), "spec.updatePolicy"),
            (json!({ "deletionPolicy": "Delete" }), json!({ "syncedPushSecrets": [] }), "status.syncedPushSecrets"),
        ];
        for (spec, status, field) in odd {
            let minute = Duration::from_secs(60);
            let Fate::Told(advice) = read(spec.clone(), status.clone()).fate(minute, DEADLINE) else {
                panic!("{field}")
            };
            assert_eq!((advice.reason, advice.requeue), (Reason::CleanupPending, Requeue::After(9 * minute)));
            assert!(advice.text.contains(field) && advice.text.contains(FINALIZER_PUSH_SECRET), "{}", advice.text);
            let Fate::Ends(push) = read(spec, status).fate(DEADLINE, DEADLINE) else {
                panic!("{field}: it is held for good")
            };
            assert_eq!(push.spec.deletion_policy(), PushDeletionPolicy::None);
        }
    }

    #[test]
    fn one_that_is_not_being_deleted_only_has_to_be_corrected() {
        let mut remains = read(json!({ "deletionPolicy": "Sometimes" }), json!({}));
        remains.push.metadata.deletion_timestamp = None;
        assert_eq!(remains.fate(Duration::ZERO, DEADLINE), Fate::Told(Advice::correct()));
    }
}
