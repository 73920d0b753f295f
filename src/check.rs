//! Checks a store: whether it is reachable, accepts the login, and grants the rights that the
//! convention needs.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::condition::{self, Upsert};
use crate::api::store_spec::{Capabilities, KvVersion, SecretStoreStatus, VaultDetail};
use crate::api::{Condition, ConditionStatus, Reason, StoreSpec};
use crate::store::admit;
use crate::store::connection::Connection;
use crate::store::vault::{Inspection, Rights};
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
    match inspected {
        Ok((connection, inspection)) => {
            let conditions = registry.store(name).map_or(Ok(()), |store| admit::check(&store.spec().conditions));
            if let Err(error) = conditions {
                return refused(&StoreRefusal::Invalid { store: name.clone(), what: error.to_string() });
            }
            let mut outcome = usable(&connection, inspection, secret_prefix);
            if registry.store(name).is_some_and(|store| store.spec().retry_settings.is_some()) {
                outcome.message.push_str(RETRY_SETTINGS);
            }
            Some(outcome)
        }
        Err(refusal) => refused(&refusal),
    }
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
    status.capabilities = outcome.capabilities.or(status.capabilities);
    status.vault = outcome.detail.clone().or(status.vault);
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
        mount: connection.mount.clone(),
        kv_version: connection.mount.as_ref().map(|_confirmed| KvVersion::V2),
    };
    let mount = connection.mount.as_deref().unwrap_or_default();
    let judged = inspection.rights.map(|rights| judge(rights, mount, secret_prefix));
    let (capabilities, hint) = match judged {
        Some(Judged::May(capabilities, hint)) => (Some(capabilities), hint),
        // If the server does not report rights, the first request shows them.
        None => (None, String::new()),
        Some(Judged::MayNothing(message)) => {
            return CheckOutcome {
                status: ConditionStatus::False,
                reason: Reason::InvalidProviderConfig,
                message,
                capabilities: None,
                detail: Some(detail),
            };
        }
    };
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

/// Derives capabilities with a hint from the rights, or an error with what to do.
fn judge(rights: Rights, mount: &str, secrets: &str) -> Judged {
    let Rights { read, write, claim } = rights;
    match (read, write) {
        (true, true) if claim => Judged::May(Capabilities::ReadWrite, String::new()),
        (true, true) => Judged::May(
            Capabilities::ReadOnly,
            format!(
                "; it can write data but not create, read, update and patch {mount}/metadata/{secrets}/*, so no new path can be pushed: add the publisher's rules (policies/vault)"
            ),
        ),
        (true, false) => Judged::May(Capabilities::ReadOnly, String::new()),
        (false, true) => Judged::May(
            Capabilities::WriteOnly,
            format!(
                "; it can write {mount}/data/{secrets}/* but not read it, and a push merges over the current version: add `read`"
            ),
        ),
        (false, false) => Judged::MayNothing(format!(
            "the login works, but its policies allow neither reading nor writing {mount}/data/{secrets}/*: attach the policies of policies/vault to the role"
        )),
    }
}

enum Judged {
    May(Capabilities, String),
    MayNothing(String),
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

    #[test]
    fn an_outage_keeps_what_was_known() {
        let now = Time(Timestamp::UNIX_EPOCH);
        let known = CheckOutcome { capabilities: Some(Capabilities::ReadWrite), ..outcome(ConditionStatus::True) };
        let before = status(None, &known, 1, now.clone()).unwrap();
        let error = StoreError::Sealed { server: "https://vault".into() };
        let failed = refused(&StoreRefusal::Failed(error)).unwrap();
        assert_eq!(failed.reason, Reason::InvalidProviderConfig);
        assert!(failed.message.contains("unseal"), "{}", failed.message);
        let after = status(Some(&before), &failed, 1, now).unwrap();
        assert_eq!(after.capabilities, Some(Capabilities::ReadWrite));
    }

    #[test]
    fn rights_become_capabilities() {
        let may = |read, write, claim| match judge(Rights { read, write, claim }, "secret", "platform-data") {
            Judged::May(capabilities, _hint) => Some(capabilities),
            Judged::MayNothing(_) => None,
        };
        assert_eq!(may(true, true, true), Some(Capabilities::ReadWrite));
        assert_eq!(may(true, true, false), Some(Capabilities::ReadOnly));
        assert_eq!(may(true, false, true), Some(Capabilities::ReadOnly));
        assert_eq!(may(false, true, true), Some(Capabilities::WriteOnly));
        assert_eq!(may(false, false, false), None);
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
