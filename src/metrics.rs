//! Metrics. Names and labels are External Secrets Operator's where it has them, so that dashboards
//! keep working. No metric has a remote key or a target's key.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::api::kind::Kind;
use crate::domain::object_name::Name;
use crate::store::meter::{Call, RequestMeter};

/// A stage of the path from a source to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Stage {
    /// From the event of a source to the version in the store.
    Push,
    /// From the version in the store to the target in Kubernetes.
    Pull,
}

/// Why something that was pushed is left where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum LetGo {
    /// A person said so.
    Abandoned,
    /// Its store went first.
    StoreGone,
    /// Its store does not serve the namespace any more, is not valid, or is another controller's.
    StoreRefused,
    /// Its namespace is being deleted.
    NamespaceGone,
    /// Its spec or ledger does not decode, or says too little.
    Unreadable,
    /// Nothing shows that it is still ours: its custom metadata was replaced, or somebody else
    /// claims it.
    Declined,
    /// Its store was edited to lead elsewhere, and its former location cannot be reached.
    StoreMoved,
}

impl LetGo {
    const ALL: [Self; 7] = [
        Self::Abandoned,
        Self::StoreGone,
        Self::StoreRefused,
        Self::NamespaceGone,
        Self::Unreadable,
        Self::Declined,
        Self::StoreMoved,
    ];
}

/// The series of one object that are made together share their texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    namespace: Arc<str>,
    name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    namespace: Arc<str>,
    name: Arc<str>,
    condition: ConditionType,
    status: ConditionStatus,
}

/// A word of its own for each value would be most of the memory of these series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum ConditionType {
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum ConditionStatus {
    True,
    False,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderCallLabels {
    provider: &'static str,
    call: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreCallLabels {
    store: String,
    call: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LetGoLabels {
    reason: LetGo,
}

/// The families that exist once per kind.
#[derive(Default)]
struct KindFamilies {
    condition: Family<ConditionLabels, Gauge>,
    duration: Family<ObjectLabels, Gauge>,
    synced: Family<ObjectLabels, Gauge<f64, AtomicU64>>,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    kinds: [KindFamilies; Kind::ALL.len()],
    sync_calls: Family<ObjectLabels, Counter>,
    sync_errors: Family<ObjectLabels, Gauge>,
    provider_calls: Family<ProviderCallLabels, Gauge>,
    store_seconds: Family<StoreCallLabels, Histogram>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<ControllerLabels, Histogram>,
    propagation: Family<StageLabels, Histogram>,
    let_go: Family<LetGoLabels, Counter>,
    leading: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Metrics {
            registry: Registry::default(),
            kinds: std::array::from_fn(|_| KindFamilies::default()),
            sync_calls: Family::default(),
            sync_errors: Family::default(),
            provider_calls: Family::default(),
            store_seconds: Family::new_with_constructor(latencies),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(latencies),
            propagation: Family::new_with_constructor(latencies),
            let_go: Family::default(),
            leading: Gauge::default(),
        };
        metrics.register();
        // The first rise of a series that was absent is no increase.
        for reason in LetGo::ALL {
            drop(metrics.let_go.get_or_create(&LetGoLabels { reason }));
        }
        metrics
    }
}

/// From half a millisecond to a minute.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 18))
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        for (kind, families) in Kind::ALL.iter().zip(&self.kinds) {
            let prefix = kind.metric_prefix();
            registry.register(
                format!("{prefix}_status_condition"),
                "1 for the status the condition has",
                families.condition.clone(),
            );
            registry.register(
                format!("{prefix}_reconcile_duration"),
                "Duration of the last reconcile in nanoseconds",
                families.duration.clone(),
            );
            registry.register(
                format!("{prefix}_last_ready_timestamp_seconds"),
                "When Ready was last reported True (Unix time)",
                families.synced.clone(),
            );
        }
        registry.register("externalsecret_sync_calls", "Reconciles of ExternalSecrets", self.sync_calls.clone());
        registry.register("externalsecret_sync_calls_error", "Failed reconciles", self.sync_errors.clone());
        registry.register(
            "externalsecret_provider_api_calls_count",
            "Requests to stores by call and outcome",
            self.provider_calls.clone(),
        );
        registry.register("controller_runtime_reconcile", "Reconciles by outcome", self.reconciles.clone());
        registry.register_with_unit(
            "controller_runtime_reconcile_time",
            "Duration of a reconcile",
            Unit::Seconds,
            self.reconcile_seconds.clone(),
        );
        registry.register_with_unit(
            "waypost_store_request",
            "Duration of a request to a store",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        registry.register_with_unit(
            "waypost_propagation",
            "Duration of each stage from a source's change to its targets",
            Unit::Seconds,
            self.propagation.clone(),
        );
        registry.register(
            "waypost_push_let_go",
            "Times that a PushSecret let go of what it pushed and is still in a store, by reason; an Event and the log name the paths",
            self.let_go.clone(),
        );
        registry.register(
            "waypost_leading",
            "1 in the active replica, 0 in a standby; if none is 1, nothing is distributed",
            self.leading.clone(),
        );
    }

    /// The page for a scraper, in OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    /// Records the end of a reconcile.
    pub fn reconciled(&self, kind: Kind, name: &Name, ok: bool, took: Duration) {
        let object = object_labels(name);
        let nanos = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        self.kinds[kind.index()].duration.get_or_create(&object).set(nanos);
        if kind == Kind::ExternalSecret {
            self.sync_calls.get_or_create(&object).inc();
            if !ok {
                self.sync_errors.get_or_create(&object).inc();
            }
        }
        let controller = kind.metric_prefix();
        let result = if ok { "success" } else { "error" };
        self.reconciles.get_or_create(&ReconcileLabels { controller, result }).inc();
        self.reconcile_seconds.get_or_create(&ControllerLabels { controller }).observe(took.as_secs_f64());
    }

    /// Records the `Ready` condition.
    pub fn condition(&self, kind: Kind, name: &Name, ready: bool) {
        let (object, families) = (object_labels(name), &self.kinds[kind.index()]);
        for (status, value) in [(ConditionStatus::True, ready), (ConditionStatus::False, !ready)] {
            families.condition.get_or_create(&condition_labels(&object, status)).set(i64::from(value));
        }
        if ready {
            let now = Timestamp::now().as_duration().as_secs_f64();
            families.synced.get_or_create(&object).set(now);
        }
    }

    /// Removes the series of a deleted object.
    pub fn forget(&self, kind: Kind, name: &Name) {
        let (object, families) = (object_labels(name), &self.kinds[kind.index()]);
        families.duration.remove(&object);
        families.synced.remove(&object);
        for status in [ConditionStatus::True, ConditionStatus::False] {
            families.condition.remove(&condition_labels(&object, status));
        }
        if kind == Kind::ExternalSecret {
            self.sync_calls.remove(&object);
            self.sync_errors.remove(&object);
        }
    }

    /// Records whether this replica leads.
    pub fn leading(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// Records a PushSecret that was released although what it pushed is left.
    pub fn let_go(&self, why: LetGo) {
        self.let_go.get_or_create(&LetGoLabels { reason: why }).inc();
    }

    /// Records that a change passed a stage.
    pub fn propagated(&self, stage: Stage, took: Duration) {
        self.propagation.get_or_create(&StageLabels { stage }).observe(took.as_secs_f64());
    }
}

impl RequestMeter for Metrics {
    fn record(&self, store: &str, call: Call, ok: bool, took: Duration) {
        let (call, status) = (call.as_str(), if ok { "success" } else { "error" });
        self.provider_calls.get_or_create(&ProviderCallLabels { provider: "HashiCorp/Vault", call, status }).inc();
        self.store_seconds
            .get_or_create(&StoreCallLabels { store: store.to_owned(), call, status })
            .observe(took.as_secs_f64());
    }

    fn forget(&self, store: &str) {
        for call in Call::ALL.map(Call::as_str) {
            for status in ["success", "error"] {
                self.store_seconds.remove(&StoreCallLabels { store: store.to_owned(), call, status });
            }
        }
    }
}

fn object_labels(name: &Name) -> ObjectLabels {
    ObjectLabels { namespace: name.namespace.clone(), name: name.name.clone() }
}

fn condition_labels(object: &ObjectLabels, status: ConditionStatus) -> ConditionLabels {
    let ObjectLabels { namespace, name } = object.clone();
    ConditionLabels { namespace, name, condition: ConditionType::Ready, status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_find_the_names_they_know() {
        let (metrics, name) = (Metrics::default(), Name::new("ns", "app"));
        metrics.reconciled(Kind::ExternalSecret, &name, false, Duration::from_millis(3));
        metrics.condition(Kind::ExternalSecret, &name, true);
        metrics.let_go(LetGo::NamespaceGone);
        metrics.record("ClusterSecretStore/vault", Call::ReadSecretData, true, Duration::from_millis(1));
        assert!(metrics.encode().contains("\nwaypost_leading 0\n"), "a standby says so");
        metrics.leading(true);
        let page = metrics.encode();
        for line in [
            "\nwaypost_leading 1\n",
            r#"waypost_push_let_go_total{reason="Declined"} 0"#,
            r#"externalsecret_sync_calls_total{namespace="ns",name="app"} 1"#,
            r#"externalsecret_sync_calls_error{namespace="ns",name="app"} 1"#,
            r#"externalsecret_status_condition{namespace="ns",name="app",condition="Ready",status="True"} 1"#,
            r#"externalsecret_provider_api_calls_count{provider="HashiCorp/Vault",call="ReadSecretData",status="success"} 1"#,
            r#"waypost_push_let_go_total{reason="NamespaceGone"} 1"#,
            r#"controller_runtime_reconcile_total{controller="externalsecret",result="error"} 1"#,
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn a_forgotten_store_leaves_no_series() {
        let (metrics, store) = (Metrics::default(), "SecretStore/vault");
        for (call, ok) in Call::ALL.into_iter().flat_map(|call| [(call, true), (call, false)]) {
            metrics.record(store, call, ok, Duration::ZERO);
        }
        assert!(metrics.encode().contains(store));
        RequestMeter::forget(&metrics, store);
        assert!(!metrics.encode().contains(store));
    }

    #[test]
    fn a_forgotten_object_leaves_no_series() {
        let (metrics, name) = (Metrics::default(), Name::new("ns", "app"));
        metrics.reconciled(Kind::PushSecret, &name, true, Duration::ZERO);
        metrics.condition(Kind::PushSecret, &name, false);
        metrics.forget(Kind::PushSecret, &name);
        assert!(!metrics.encode().contains(r#"name="app""#));
    }
}
