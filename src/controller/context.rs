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
    /// Changes of sources.
    pub moves: Moves,
    /// Statuses that the server prunes.
    pub pruned: Pruned,
    /// Our own written statuses that caches may not show yet.
    pub written: Written,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}
