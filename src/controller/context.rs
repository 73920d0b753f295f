//! What every reconcile may use.

use std::sync::Arc;
use std::time::Duration;

use super::conventions::Conventions;
use super::moves::Moves;
use super::pruned::Pruned;
use super::referrers::Referrers;
use super::written::Written;
use crate::cluster::Cluster;
use crate::cluster::events::Events;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::pull::consent::Silence;
use crate::pull::desired::Strangers;
use crate::store::registry::Registry;

/// Settings that reconcilers decide by.
pub struct Settings {
    /// How often `status.refreshTime` moves although nothing changed; zero means at every refresh.
    pub status_heartbeat: Duration,
    /// How long a deleted PushSecret waits for what may never be.
    pub cleanup_deadline: Duration,
    /// This cluster's name in claims.
    pub cluster: String,
    /// What happens to a Secret of a target's name that is nobody's, where the resource does not say.
    pub strangers: Strangers,
    /// What it means that a producer did not say who may read its properties.
    pub silence: Silence,
}

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
    /// The rules of paths, as they hold now.
    pub conventions: Conventions,
    /// Who refers to which Secret.
    pub referrers: Referrers,
    /// Who refers to which ConfigMap.
    pub config_maps: Referrers,
    /// Sources that moved.
    pub moves: Moves,
    /// Statuses that the server cuts.
    pub pruned: Pruned,
    /// Statuses that caches may not show yet.
    pub written: Written,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}
