//! Connects the reconcile of PushSecrets to the shared parts of the controller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::deletions::Deletions;
use super::intents::Intents;
use super::offers::Offers;
use super::patience::Leeway;
use super::reconcile::{World, reconcile};
use super::remains;
use crate::api::PushSecret;
use crate::api::kind::Kind;
use crate::api::push_secret::PushSecretStatus;
use crate::cluster::ClusterError;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::referrers::{Interest, Referrer};
use crate::controller::report::{Report, Requeue};
use crate::controller::undecodable::Fate;
use crate::domain::object_name::Name;
use crate::feed::{News, Pushed};
use crate::metrics::LetGo;
use crate::metrics::Stage;
use crate::store::{Foreign, Site, StoreName, Stores};
use crate::telemetry::trail::{self, Cause};

/// The reconciler of PushSecrets.
pub struct Pusher {
    context: Arc<Context>,
    stores: Arc<dyn Stores>,
    intents: Intents,
    pub(super) deletions: Deletions,
    pub(super) offers: Offers,
    leeway: Leeway,
}

impl Pusher {
    /// Starts without known intents, deletions and late stores.
    pub fn new(context: Arc<Context>, stores: Arc<dyn Stores>, offers: Offers) -> Self {
        let (intents, deletions, leeway) = (Intents::default(), Deletions::default(), Leeway::default());
        Pusher { context, stores, intents, deletions, offers, leeway }
    }

    /// Whether every store that it names, selects or lists belongs to another controller, or may. A
    /// store that does not exist holds no PushSecret that is being deleted, nor does having none if
    /// the status is ours and lists nothing.
    fn is_foreign(&self, push: &PushSecret) -> bool {
        let (stores, registry) = (self.stores(push), &self.context.stores);
        let goes = push.metadata.deletion_timestamp.is_some();
        let lists_nothing = push.status.as_ref().is_some_and(|status| status.is_ours() && status.lists_nothing());
        let is_missing = |store: &StoreName| registry.store(store).is_none();
        let is_held_by_nobody = goes && (stores.is_empty() && lists_nothing || stores.iter().any(is_missing));
        !is_held_by_nobody && registry.foreign(stores) == Foreign::All
    }

    /// Deregisters the PushSecret from the feed and from the watches of its sources.
    fn follow_nothing(&self, name: &Name) {
        self.context.moves.take(name);
        self.context.feed.publishes(name, BTreeMap::new());
        for referrers in [&self.context.referrers, &self.context.config_maps] {
            referrers.declare(Referrer::PushSecret(name.clone()), Interest::default());
            referrers.declare(Referrer::PushTemplate(name.clone()), Interest::default());
        }
    }
}

#[async_trait]
impl Reconciler for Pusher {
    type Object = PushSecret;
    type Status = PushSecretStatus;

    const KIND: Kind = Kind::PushSecret;

    fn api(&self, namespace: &str) -> Api<Guarded<PushSecret>> {
        Api::namespaced(self.context.cluster.client(), namespace)
    }

    fn stores(&self, push: &PushSecret) -> Vec<StoreName> {
        let namespace = push.namespace().unwrap_or_default();
        self.context.stores.stores_of_push(push, &namespace).into_iter().collect()
    }

    fn cause(&self, name: &Name) -> Option<Cause> {
        self.context.moves.cause(name)
    }

    async fn reconcile(&self, object: Arc<PushSecret>, name: &Name) -> Report<PushSecretStatus> {
        let context = &self.context;
        let moved = context.moves.take(name);
        let announce = |site: &Site, news| {
            // What is as wanted, or uncertain, belongs to no change, and to no trace.
            let News::Pushed(pushed) = news else { return context.feed.announce(site, news) };
            trail::announced(&site.place.path, &pushed).in_scope(|| context.feed.announce(site, pushed));
            if let (Pushed::Version(..) | Pushed::Removal(_) | Pushed::Purge, Some(moved)) = (pushed, &moved) {
                context.metrics.propagated(Stage::Push, moved.at.elapsed());
            }
        };
        let convention = context.conventions.in_namespace(&name.namespace);
        let world = World {
            cluster: &context.cluster,
            stores: self.stores.as_ref(),
            announce: &announce,
            publishes: &|places| context.feed.publishes(name, places),
            beyond: &|| context.feed.beyond(name).unwrap_or_default(),
            tells_beyond: &|paths| context.feed.tell_beyond(name, paths),
            referrers: &context.referrers,
            config_maps: &context.config_maps,
            convention: &convention,
            heartbeat: context.settings.status_heartbeat,
            cleanup_deadline: context.settings.cleanup_deadline,
            cluster_name: &context.settings.cluster,
            intents: &self.intents,
            deletions: &self.deletions,
            offers: &self.offers,
            leeway: &self.leeway,
            instant: Instant::now(),
            now: Timestamp::now(),
        };
        let report = reconcile(object, &world).await;
        if let Report::NotOurs = report {
            // Its status is another controller's, and nobody waits for what it offers.
            self.follow_nothing(name);
            self.offers.leave(name);
        }
        if let Some(moved) = moved.filter(|_| report.requeue().is_some_and(Requeue::is_failure)) {
            // The change is not pushed yet.
            context.moves.note(name.clone(), moved);
        }
        report
    }

    async fn undecodable(&self, name: &Name) -> Result<Fate<PushSecret>, ClusterError> {
        self.follow_nothing(name);
        let Some(object) = self.context.cluster.raw::<PushSecret>(&name.namespace, &name.name).await? else {
            self.offers.forget(name);
            return Ok(Fate::Left);
        };
        let remains = remains::of(object);
        if self.is_foreign(&remains.push) {
            self.offers.forget(name);
            return Ok(Fate::Left);
        }
        let uid = remains.push.uid().unwrap_or_default();
        let known_for = match remains.push.metadata.deletion_timestamp.is_some() {
            true => self.deletions.known_for(&name.to_string(), &uid, Instant::now()),
            false => Duration::ZERO,
        };
        let fate = remains.fate(known_for, self.context.settings.cleanup_deadline);
        if let (Fate::Ends(_), Some(field)) = (&fate, remains.illegible)
            && remains.is_held()
            && self.deletions.tell(&name.to_string(), &uid, Instant::now())
        {
            tracing::warn!(
                push_secret = %name, left = remains.pushed(), undecodable = field,
                "released without removing what was pushed"
            );
            self.context.metrics.let_go(LetGo::Unreadable);
        }
        // One that ends still offers its properties, and needs to know who declined them.
        if !matches!(fate, Fate::Ends(_)) {
            self.offers.forget(name);
        }
        Ok(fate)
    }

    fn forget(&self, name: &Name) {
        self.deletions.forget(&name.to_string());
        self.deletions.keep_only(&name.to_string(), |_| false);
        self.offers.forget(name);
        self.follow_nothing(name);
    }
}
