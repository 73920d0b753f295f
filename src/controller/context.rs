//! What every reconcile may use.

use std::sync::Arc;

use super::conventions::Conventions;
use super::moves::Moves;
use super::pruned::Pruned;
use super::referrers::Referrers;
use super::written::Written;
use crate::cluster::Cluster;
use crate::cluster::events::Events;
use crate::config::Settings;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::store::registry::Registry;

/// Shared by all reconcilers of the process.
pub struct Context {
    /// The Kubernetes API.
    pub cluster: Cluster,
    /// Authenticated clients of stores.
    pub stores: Arc<Registry>,
    /// Who reads which path.
    pub feed: Arc<Feed>,
    /// Settings.
    pub settings: Settings,
    /// The current path convention.
    pub conventions: Conventions,
    /// Who refers to which Secret.
    pub referrers: Referrers,
    /// Who refers to which ConfigMap.
    pub config_maps: Referrers,
    /// Changes of the sources of PushSecrets.
    pub moves: Moves,
    /// Changes of the objects with texts of ExternalSecrets' templates.
    pub template_moves: Moves,
    /// Statuses that the server prunes.
    pub pruned: Pruned,
    /// Our own written statuses that caches may not show yet.
    pub written: Written,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// Drops what is kept of the status of an object that was deleted, or is not ours.
    pub fn forget_status(&self, uid: &str) {
        self.written.forget(uid);
        self.pruned.forget(uid);
    }
}

#[cfg(test)]
impl Context {
    /// One without stores and objects, on this API server.
    pub fn on(cluster: Cluster) -> Arc<Self> {
        use std::time::Duration;

        use super::namespaces::Namespaces;
        use crate::domain::consent::Silence;
        use crate::domain::convention::Convention;
        use crate::domain::target::Strangers;
        use crate::store::RegistrySettings;
        use crate::store::admit::{Class, Unclassified};

        let metrics = Arc::new(Metrics::default());
        let class = Class { name: "waypost".into(), unclassified: Unclassified::Serve };
        let registry = RegistrySettings { class, rate: 100.try_into().expect("it is not zero") };
        Arc::new(Context {
            stores: Registry::new(cluster.clone(), registry, metrics.clone()),
            feed: Feed::new(),
            settings: Settings {
                status_heartbeat: Duration::from_secs(3600),
                cleanup_deadline: Duration::from_secs(60),
                cluster: "here".into(),
                strangers: Strangers::Leave,
                silence: Silence::Permits,
            },
            conventions: Conventions::new(Convention::default(), Namespaces::default().reader),
            referrers: Referrers::default(),
            config_maps: Referrers::default(),
            moves: Moves::default(),
            template_moves: Moves::default(),
            pruned: Pruned::default(),
            written: Written::default(),
            events: Events::new(&cluster),
            metrics,
            cluster,
        })
    }
}
