//! Checks a store: whether it is reachable, accepts the login, and grants the rights that the
//! convention needs.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::condition::{self, Upsert};
use crate::api::store_spec::{Capabilities, KvVersion, SecretStoreStatus, VaultDetail};
use crate::api::{Condition, ConditionStatus, Reason, StoreSpec};
use crate::domain::path::Mount;
use crate::store::admit;
use crate::store::connection::Connection;
use crate::store::vault::{Inspection, Lacking};
use crate::store::{Registry, StoreName, StoreRefusal};

/// The default interval between checks of a store.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
/// The minimum interval between checks of a store.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Added to the message of a store whose spec has a field without effect.
const RETRY_SETTINGS: &str =
    "; spec.retrySettings has no effect: Waypost paces retries itself, by what the server answers; remove the field";

/// The result of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOutcome {
    /// Whether the store can be used.
    pub status: ConditionStatus,
    /// The condition's reason.
    pub reason: Reason,
    /// What is wrong and what to do, or that the store is valid.
    pub message: String,
    /// What the store allows, if the server reports it.
    pub capabilities: Option<Capabilities>,
    /// What the server reports about itself.
    pub detail: Option<VaultDetail>,
}

/// Checks a store with the session that its consumers use, by its rights below the prefix of
/// secrets; only the first check logs in. `None` if the store is not ours or does not exist, so
/// that nothing is written to it.
pub async fn check(registry: &Arc<Registry>, name: &StoreName, secret_prefix: &str) -> Option<CheckOutcome> {
    let inspected = match registry.inspected(name).await {
        Ok((connection, Some(client))) => match client.inspect(secret_prefix).await {
            Ok(inspection) => Ok((connection, Some(inspection))),
            Err(error) => Err(StoreRefusal::Failed(error)),
        },
        Ok((connection, None)) => Ok((connection, None)),
        Err(refusal) => Err(refusal),
    };
    let spec = registry.store(name).map(|store| store.spec().clone()).unwrap_or_default();
    match (inspected, admit::check(&spec.conditions)) {
        (Err(refusal @ (StoreRefusal::NotFound { .. } | StoreRefusal::OtherController { .. })), _) => refused(&refusal),
        // Whatever else is wrong: it has to be corrected, and an outage would hide it.
        (_, Err(error)) => refused(&StoreRefusal::Invalid { store: name.clone(), what: error.to_string() }),
        (Err(refusal), Ok(())) => refused(&refusal),
        (Ok((connection, inspection)), Ok(())) => {
            let mut outcome = usable(&connection, inspection, secret_prefix);
            outcome.message.push_str(&without_effect(&spec, &connection));
            Some(outcome)
        }
    }
}

/// The fields of the spec that have no effect, in words.
fn without_effect(spec: &StoreSpec, connection: &Connection) -> String {
    let retries = spec.retry_settings.as_ref().map(|_| RETRY_SETTINGS.to_owned());
    let interval = spec.refresh_interval.as_ref().and_then(|interval| interval.parse().err());
    let interval = interval.map(|refused| {
        format!(
            "; spec.refreshInterval: {refused}; the store is checked every {}",
            humantime::format_duration(DEFAULT_INTERVAL)
        )
    });
    let ignored = connection.ignored.iter().map(|ignored| format!("; {ignored}"));
    retries.into_iter().chain(interval).chain(ignored).collect()
}

/// The time until the next check.
pub fn interval(spec: &StoreSpec) -> Duration {
    let asked = spec.refresh_interval.as_ref().and_then(|interval| interval.parse().ok()?.positive());
    asked.map_or(DEFAULT_INTERVAL, |asked| asked.max(SHORTEST_INTERVAL))
}

/// The status after a check; `None` if it is unchanged, so that nothing is written.
pub fn status(
    before: Option<&SecretStoreStatus>,
    outcome: &CheckOutcome,
    generation: i64,
    now: Time,
) -> Option<SecretStoreStatus> {
    let mut status = before.cloned().unwrap_or_default();
    let ready = Condition::ready(outcome.status, outcome.reason, outcome.message.clone(), Some(generation));
    let upsert = condition::upsert(&mut status.conditions, ready, now);
    // A failure keeps what was known: an outage changes neither rights nor versions.
    if outcome.detail.is_some() {
        status.capabilities = outcome.capabilities;
        status.vault.clone_from(&outcome.detail);
    }
    status.observed_generation = Some(generation);
    let unchanged = upsert == Upsert::Unchanged && before == Some(&status);
    (!unchanged).then_some(status)
}

fn usable(connection: &Connection, inspection: Option<Inspection>, secret_prefix: &str) -> CheckOutcome {
    let Some(inspection) = inspection else {
        return CheckOutcome {
            status: ConditionStatus::True,
            reason: Reason::Valid,
            message: format!(
                "store validated; its credential is read in the namespace of each resource that uses it, so each resource checks the login{}",
                plain_http(connection)
            ),
            capabilities: None,
            detail: None,
        };
    };
    let detail = VaultDetail {
        version: inspection.version,
        cluster_id: inspection.cluster_id,
        mount: connection.mount.as_deref().and_then(|mount| Mount::parse(mount).ok()).map(|mount| mount.to_string()),
        kv_version: connection.mount.as_ref().map(|_confirmed| KvVersion::V2),
    };
    let mount = detail.mount.clone().unwrap_or_default();
    // If the server does not report rights, the first request shows them.
    let lacking = inspection.lacking.as_ref();
    let (capabilities, hint) = lacking.map(|lacking| judge(lacking, &mount, secret_prefix)).unwrap_or_default();
    CheckOutcome {
        status: ConditionStatus::True,
        reason: Reason::Valid,
        message: format!("store validated{hint}{}", plain_http(connection)),
        capabilities,
        detail: Some(detail),
    }
}

fn refused(refusal: &StoreRefusal) -> Option<CheckOutcome> {
    let reason = match refusal {
        StoreRefusal::NotFound { .. } | StoreRefusal::OtherController { .. } => return None,
        // Does not occur: a store is not checked for a namespace.
        StoreRefusal::NotAllowed { .. } => Reason::NotPermitted,
        StoreRefusal::Unsupported { .. } | StoreRefusal::Invalid { .. } | StoreRefusal::Failed(_) => {
            Reason::InvalidProviderConfig
        }
    };
    Some(CheckOutcome {
        status: ConditionStatus::False,
        reason,
        message: refusal.to_string(),
        capabilities: None,
        detail: None,
    })
}

/// What can be done with these capabilities missing, and what else there is to say.
fn judge(lacking: &Lacking, mount: &str, secrets: &str) -> (Option<Capabilities>, String) {
    let Lacking { data, metadata, delete } = lacking;
    let path = |part: &str| format!("{mount}/{part}/{secrets}/*");
    let writes = ["create", "update"].map(|right| !data.contains(&right));
    let hint = |lacks: &[&'static str], part: &str, so: &str| {
        format!(
            "; its policies lack {} at {}, so {so}: add the publisher's rules (policies/vault)",
            quoted(lacks),
            path(part)
        )
    };
    match (!data.contains(&"read"), writes) {
        (true, [true, true]) if !metadata.is_empty() => {
            (Some(Capabilities::ReadOnly), hint(metadata, "metadata", "no path can be claimed and pushed"))
        }
        (true, [true, true]) if !delete.is_empty() => {
            let so = "a PushSecret with `deletionPolicy: Delete` waits when the last property of a path is to go";
            (Some(Capabilities::ReadWrite), hint(delete, "delete", so))
        }
        (true, [true, true]) => (Some(Capabilities::ReadWrite), String::new()),
        (true, [false, false]) => (Some(Capabilities::ReadOnly), String::new()),
        (true, [_, _]) => (Some(Capabilities::ReadOnly), hint(data, "data", "nothing can be pushed")),
        (false, [true, true]) => {
            let so = "nothing can be pushed, since a push merges over what is there";
            (Some(Capabilities::WriteOnly), hint(data, "data", so))
        }
        // A policy may name single paths, and only a request for them shows that.
        (false, [_, _]) => (
            None,
            format!(
                "; its policies allow neither reading nor writing {}, so it serves at most paths that they name: `waypost policy` prints the policy that manifests need, and the rule by which this check sees it",
                path("data")
            ),
        ),
    }
}

fn quoted(capabilities: &[&str]) -> String {
    capabilities.iter().map(|capability| format!("`{capability}`")).collect::<Vec<_>>().join(", ")
}

fn plain_http(connection: &Connection) -> &'static str {
    match connection.server.starts_with("http://") {
        true => "; warning: `server` is plain http, so tokens and values cross the network in the clear: use https",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use k8s_openapi::jiff::Timestamp;

    fn outcome(status: ConditionStatus) -> CheckOutcome {
        CheckOutcome {
            status,
            reason: Reason::Valid,
            message: "store validated".into(),
            capabilities: None,
            detail: None,
        }
    }

    #[test]
    fn an_unchanged_status_is_not_written() {
        let early = Time(Timestamp::UNIX_EPOCH);
        let late = Time(Timestamp::from_second(1).unwrap());
        let first = status(None, &outcome(ConditionStatus::True), 3, early.clone()).unwrap();
        assert_eq!(status(Some(&first), &outcome(ConditionStatus::True), 3, late.clone()), None);
        let second = status(Some(&first), &outcome(ConditionStatus::False), 3, late.clone()).unwrap();
        assert_eq!(second.conditions[0].last_transition_time, Some(late.clone()));
        assert!(status(Some(&first), &outcome(ConditionStatus::True), 4, late).is_some(), "another generation");
    }

    #[tokio::test]
    async fn a_malformed_condition_is_told_whether_the_server_can_be_reached_or_not() {
        use crate::api::SecretStore;
        use crate::controller::context::Context;
        use crate::store::StoreObject;
        use kube::client::Body;

        let (service, _server) = tower_test::mock::pair::<axum::http::Request<Body>, axum::http::Response<Body>>();
        let cluster = crate::cluster::Cluster::new(kube::Client::new(service, "ns"));
        let context = Context::on(cluster);
        let checked = async |name: &str, conditions: serde_json::Value| {
            // Nobody listens at this port.
            let vault = serde_json::json!({ "server": "http://127.0.0.1:1", "path": "secret" });
            let store: SecretStore = serde_json::from_value(serde_json::json!({
                "apiVersion": "external-secrets.io/v1", "kind": "SecretStore",
                "metadata": { "name": name, "namespace": "team", "uid": name, "generation": 1 },
                "spec": { "provider": { "vault": vault }, "conditions": conditions },
            }))
            .unwrap();
            let object = StoreObject::Namespaced(Arc::new(store));
            let name = object.store_name();
            context.stores.upsert(name.clone(), object);
            check(&context.stores, &name, "platform-data").await.unwrap().message
        };
        let unreachable = checked("good", serde_json::json!([])).await;
        assert!(unreachable.contains("cannot reach"), "{unreachable}");
        for (name, conditions) in [
            ("regex", serde_json::json!([{ "namespaceRegexes": ["("] }])),
            (
                "selector",
                serde_json::json!([{ "namespaceSelector": { "matchExpressions": [{ "key": "a", "operator": "Is" }] } }]),
            ),
        ] {
            let told = checked(name, conditions).await;
            assert!(told.contains("conditions") && !told.contains("cannot reach"), "{told}");
        }
    }

    #[test]
    fn what_a_store_says_in_vain_is_told() {
        let spec: StoreSpec = serde_json::from_value(serde_json::json!({
            "refreshInterval": "often", "retrySettings": { "maxRetries": 3 },
            "provider": { "vault": { "server": "https://v", "caBundle": "YQ==", "caProvider": { "type": "Secret", "name": "ca" },
                "auth": { "tokenSecretRef": { "name": "t" }, "kubernetes": { "role": "r" }, "ldap": { "username": "u", "secretRef": {} } } } },
        }))
        .unwrap();
        let connection = crate::store::connection::parse(&StoreName::cluster("s"), &spec, "consumer").unwrap();
        let told = without_effect(&spec, &connection);
        for field in [
            "spec.retrySettings has no effect",
            "spec.refreshInterval: ",
            "`caProvider` has no effect beside `caBundle`",
            "`auth.kubernetes` has no effect beside `auth.tokenSecretRef`",
            "`auth.ldap` has no effect beside `auth.tokenSecretRef`",
        ] {
            assert!(told.contains(field), "{field}: {told}");
        }
    }

    #[test]
    fn an_outage_keeps_what_was_known() {
        let now = Time(Timestamp::UNIX_EPOCH);
        let known = CheckOutcome {
            capabilities: Some(Capabilities::ReadWrite),
            detail: Some(VaultDetail::default()),
            ..outcome(ConditionStatus::True)
        };
        let before = status(None, &known, 1, now.clone()).unwrap();
        let error = StoreError::Sealed { server: "https://vault".into() };
        let failed = refused(&StoreRefusal::Failed(error)).unwrap();
        assert_eq!(failed.reason, Reason::InvalidProviderConfig);
        assert!(failed.message.contains("unseal"), "{}", failed.message);
        let after = status(Some(&before), &failed, 1, now).unwrap();
        assert_eq!(after.capabilities, Some(Capabilities::ReadWrite));
    }

    #[test]
    fn what_is_lacking_becomes_capabilities_and_is_named_with_its_path() {
        let judged = |data: &[&'static str], metadata: &[&'static str], delete: &[&'static str]| {
            let lacking = Lacking { data: data.into(), metadata: metadata.into(), delete: delete.into() };
            judge(&lacking, "secret", "platform-data")
        };
        assert_eq!(judged(&[], &[], &[]), (Some(Capabilities::ReadWrite), String::new()));
        assert_eq!(
            judged(&["create", "update"], &["create", "update", "patch"], &["update"]),
            (Some(Capabilities::ReadOnly), String::new()),
            "a consumer's store needs no more"
        );
        for (lacking, capabilities, named) in [
            (judged(&[], &[], &["update"]), Some(Capabilities::ReadWrite), "`update` at secret/delete/platform-data/*"),
            (judged(&[], &["patch"], &[]), Some(Capabilities::ReadOnly), "`patch` at secret/metadata/platform-data/*"),
            (judged(&["update"], &[], &[]), Some(Capabilities::ReadOnly), "`update` at secret/data/platform-data/*"),
            (judged(&["read"], &[], &[]), Some(Capabilities::WriteOnly), "`read` at secret/data/platform-data/*"),
            (judged(&["create", "read", "update"], &[], &[]), None, "secret/data/platform-data/*"),
        ] {
            assert_eq!(lacking.0, capabilities);
            assert!(lacking.1.contains(named), "{}", lacking.1);
        }
    }

    #[test]
    fn rights_that_were_taken_back_are_not_shown_any_more() {
        let now = Time(Timestamp::UNIX_EPOCH);
        let checked = |capabilities| CheckOutcome {
            capabilities,
            detail: Some(VaultDetail::default()),
            ..outcome(ConditionStatus::True)
        };
        let before = status(None, &checked(Some(Capabilities::ReadWrite)), 1, now.clone()).unwrap();
        let after = status(Some(&before), &checked(None), 1, now).unwrap();
        assert_eq!(after.capabilities, None);
    }

    #[test]
    fn the_interval_has_a_default_and_a_floor() {
        use crate::api::store_spec::StoreInterval;
        let spec =
            |seconds| StoreSpec { refresh_interval: Some(StoreInterval::Seconds(seconds)), ..StoreSpec::default() };
        assert_eq!(interval(&StoreSpec::default()), DEFAULT_INTERVAL);
        assert_eq!(interval(&spec(0)), DEFAULT_INTERVAL);
        assert_eq!(interval(&spec(30)), Duration::from_secs(30));
    }
}
