//! Watches one kind and runs its reconciler: on edits, on wake-ups, and when a requeue is due.

mod cache;

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{FutureExt, Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::runtime::{Controller, WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, warn};

use super::backoff::{self, Backoff};
use super::context::Context;
use super::guarded::{ApiObject, Guarded, trim};
use super::publish::{Published, Subject};
use super::report::{Report, Requeue};
use super::turns::Turns;
use super::undecodable::{self, Advice, Fate};
use crate::api::kind::Kind;
use crate::cluster::ClusterError;
use crate::domain::object_name::Name;
use crate::store::serving::serving;
use crate::store::{StoreChange, StoreName};
use crate::telemetry::trail::{self, Cause};
use crate::watch::{self, Known, Sighting};

pub use cache::{Cache, Heard};

/// The reconciler of one kind.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// The kind's Rust type.
    type Object: ApiObject;
    /// Its status.
    type Status: Serialize + Send + Sync;

    /// The kind.
    const KIND: Kind;

    /// The API of the kind in a namespace, or of the cluster-scoped kind.
    fn api(&self, namespace: &str) -> Api<Guarded<Self::Object>>;

    /// Called when the watch delivers the object, before it is reconciled.
    fn seen(&self, _object: &Self::Object) {}

    /// Called when the watch delivers the object in a state that does not decode.
    fn seen_undecodable(&self, _name: &Name) {}

    /// The stores that a reconcile of the object uses. A slow store must not delay other objects.
    fn stores(&self, _object: &Self::Object) -> Vec<StoreName> {
        Vec::new()
    }

    /// The span that caused the reconcile, if known: the reconcile belongs to the same trace.
    fn cause(&self, _name: &Name) -> Option<Cause> {
        None
    }

    /// Reconciles the object, and returns the report.
    async fn reconcile(&self, object: Arc<Self::Object>, name: &Name) -> Report<Self::Status>;

    /// Judges an object that does not decode, after a live read.
    ///
    /// # Errors
    /// [`ClusterError`] if it cannot be read.
    async fn undecodable(&self, _name: &Name) -> Result<Fate<Self::Object>, ClusterError> {
        Ok(Fate::Told(Advice::correct()))
    }

    /// Call this when the object is deleted.
    fn forget(&self, name: &Name);

    /// Call this when a reconcile has ended whose object was replaced meanwhile by another one of
    /// its name: what the reconcile recorded is forgotten, and what [`Reconciler::seen`] and
    /// [`Reconciler::seen_undecodable`] recorded of the other one stays.
    fn forget_reconcile(&self, name: &Name) {
        self.forget(name);
    }
}

/// The watch and the queue of one kind.
pub struct Driven<R: Reconciler> {
    reconciler: Arc<R>,
    context: Arc<Context>,
    backoff: Backoff,
    /// Held while a deleted object is forgotten, so that a new one with its name is not.
    known: Mutex<Known>,
    turns: Turns,
}

impl<R: Reconciler> Driven<R> {
    /// Nothing is known of any object yet.
    pub fn new(reconciler: Arc<R>, context: Arc<Context>, concurrent: u16) -> Arc<Self> {
        let (backoff, known, turns) = (Backoff::default(), Mutex::default(), Turns::new(R::KIND.as_str(), concurrent));
        Arc::new(Driven { reconciler, context, backoff, known, turns })
    }

    /// Runs until `stop` is cancelled and the running reconciles have ended. `ready` is called once
    /// with the cache, which fills while this runs. `wakeups` has objects to reconcile now.
    pub async fn run(
        self: Arc<Self>,
        api: Api<Guarded<R::Object>>,
        cache: Cache<R::Object>,
        wakeups: impl Stream<Item = Name> + Send + 'static,
        stop: CancellationToken,
    ) {
        let forgetful = self.clone();
        let events = watch::open(api, watch::config()).modify(trim).inspect(move |event| forgetful.on_event(event));
        let reader = cache.reader.clone();
        let edits = cache.edits(self.context.clone(), events);
        let slots = self.turns.slots();
        let wakeups = futures::stream::select(wakeups, self.turns.woken()).map(|name| object_ref::<R::Object>(&name));
        let (turns, changes) = (self.clone(), self.context.stores.changes());
        let queue = Controller::for_stream(edits, reader)
            .with_config(Config::default().concurrency(slots))
            .reconcile_on(wakeups)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(|object, driven| driven.reconcile(object), |_, never, _| match *never {}, self)
            .for_each(|_| std::future::ready(()));
        tokio::select! { () = queue => {}, () = turns.heed(changes) => {} }
    }

    /// Tells the turns which stores change. Does not end.
    async fn heed(&self, mut changes: Receiver<StoreChange>) {
        loop {
            let changed = match changes.recv().await {
                Ok(StoreChange::Use(store)) => vec![store],
                Ok(StoreChange::Labels(_) | StoreChange::Allowance(_)) => continue,
                Err(RecvError::Lagged(_)) => self.turns.stores(),
                Err(RecvError::Closed) => return std::future::pending().await,
            };
            self.context.stores.loads(changed).iter().for_each(|load| self.turns.heed(load));
        }
    }

    async fn reconcile(self: Arc<Self>, object: Arc<Guarded<R::Object>>) -> Result<Action, Infallible> {
        Ok(self.run_once(&object).await.map_or_else(Action::await_change, Action::requeue))
    }

    /// Reconciles an object, and returns after which pause to do it again.
    pub(crate) async fn run_once(&self, object: &Guarded<R::Object>) -> Option<Duration> {
        let name = Name::new(object.namespace().unwrap_or_default(), object.name_any());
        let uid = object.uid().unwrap_or_default();
        let stores = object.0.as_ref().map(|object| self.reconciler.stores(object)).unwrap_or_default();
        let Some(_turn) = self.turns.take(&name, &self.context.stores.loads(stores.clone())) else {
            // An object that was deleted on its way here must not wait for a turn.
            self.drop_remains(&name, &uid, Published::Told(Requeue::Throttled));
            // It is woken when it has a turn; this is for a wake-up that was lost.
            return Some(backoff::steady());
        };
        let tried = self.tried(object, &stores);
        let began = Instant::now();
        let span = trail::reconcile(R::KIND.as_str(), &name, self.reconciler.cause(&name));
        let published = match AssertUnwindSafe(self.attempt(object, &name).instrument(span)).catch_unwind().await {
            Ok(published) => published,
            Err(_panic) => {
                error!(kind = R::KIND.as_str(), object = %name, "the reconcile panicked: please report this");
                Published::Told(Requeue::BackOff)
            }
        };
        let pause = self.pause(&name, tried, self.count(&name, published, began.elapsed()));
        self.drop_remains(&name, &uid, published);
        pause
    }

    /// Counts a reconcile, and says when to reconcile again.
    fn count(&self, name: &Name, published: Published, took: Duration) -> Requeue {
        let requeue = match published {
            Published::Told(requeue) => requeue,
            Published::Left | Published::Gone => Requeue::AwaitChange,
        };
        self.context.metrics.reconciled(R::KIND, name, !requeue.is_failure(), took);
        requeue
    }

    /// Drops what a reconcile left of an object that is not ours, or is gone: one that was deleted
    /// meanwhile was forgotten then, but the end of the reconcile recorded it again.
    fn drop_remains(&self, name: &Name, uid: &str, published: Published) {
        let known = self.known();
        match published {
            Published::Told(_) if known.has(name, uid) => {}
            Published::Left if known.has(name, uid) => self.forget_outcome(name, uid),
            // What was seen of the other one stays: the cache may not show it yet.
            Published::Told(_) | Published::Left | Published::Gone if known.has_another(name, uid) => {
                self.forget_reconcile(name, uid);
                self.reconciler.forget_reconcile(name);
            }
            Published::Told(_) | Published::Left | Published::Gone => self.forget(name, uid),
        }
    }

    /// Forgets an object that is gone: nothing is kept by its name or its UID.
    fn forget(&self, name: &Name, uid: &str) {
        self.forget_reconcile(name, uid);
        self.reconciler.forget(name);
    }

    fn forget_reconcile(&self, name: &Name, uid: &str) {
        self.forget_outcome(name, uid);
        self.backoff.reset(name);
        self.turns.forget(name);
    }

    fn forget_outcome(&self, name: &Name, uid: &str) {
        self.context.metrics.forget(R::KIND, name);
        self.context.forget_status(uid);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// A fingerprint of what a reconcile tries: the object and its stores, as their specs are now.
    fn tried(&self, object: &Guarded<R::Object>, stores: &[StoreName]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (object.uid(), object.meta().generation).hash(&mut hasher);
        for store in stores {
            let store = self.context.stores.store(store);
            store.map(|store| (store.uid().to_owned(), store.generation())).hash(&mut hasher);
        }
        hasher.finish()
    }

    async fn attempt(&self, cached: &Guarded<R::Object>, name: &Name) -> Published {
        match self.present(cached, name).await {
            Ok(Some(DeserializeGuard(Ok(object)))) => self.decide(Arc::new(object), name).await,
            Ok(Some(DeserializeGuard(Err(invalid)))) => self.judge(&invalid, name).await,
            Ok(None) => Published::Gone,
            Err(error) => {
                warn!(kind = R::KIND.as_str(), object = %name, %error, "an object whose status is owed cannot be read");
                Published::Told(Requeue::BackOff)
            }
        }
    }

    /// The object to reconcile; `None` if it is gone. A status that we wrote counts, even if the
    /// cache does not show it yet. If a write failed, only the server knows what it has.
    async fn present(
        &self,
        cached: &Guarded<R::Object>,
        name: &Name,
    ) -> Result<Option<Guarded<R::Object>>, ClusterError> {
        let uid = cached.uid().unwrap_or_default();
        if self.context.written.is_owed(&uid) {
            let (api, subject) = (self.reconciler.api(&name.namespace), format!("{} {name}", R::KIND.as_str()));
            let live = match self.context.cluster.get(&subject, api.get(&name.name)).await {
                // Its status is written over what the cache shows, or not at all.
                Err(denied @ ClusterError::Forbidden { .. }) => {
                    warn!(kind = R::KIND.as_str(), object = %name, %denied, "the object cannot be read live: the cached one is reconciled");
                    Some(cached.clone())
                }
                other => other?,
            };
            return Ok(live.filter(|live| live.uid().as_deref() == Some(&uid)).map(|mut live| {
                trim(&mut live);
                self.context.written.found(&live);
                live
            }));
        }
        let newer = cached.0.as_ref().ok().and_then(|object| self.context.written.newer(object));
        Ok(Some(newer.map_or_else(|| cached.clone(), |newer| DeserializeGuard(Ok(newer)))))
    }

    async fn decide(&self, object: Arc<R::Object>, name: &Name) -> Published {
        let api = self.reconciler.api(&name.namespace);
        let resource = format!("{}/{name}", R::KIND.as_str());
        let report = serving(&resource, self.reconciler.reconcile(object.clone(), name)).await;
        (Subject { kind: R::KIND, name, object: &*object, api }).publish(&self.context, report).await
    }

    async fn judge(&self, invalid: &InvalidObject, name: &Name) -> Published {
        match self.reconciler.undecodable(name).await {
            Ok(Fate::Left) => Published::Left,
            Ok(Fate::Ends(object)) => self.decide(Arc::from(object), name).await,
            Ok(Fate::Told(advice)) => {
                let api = self.reconciler.api(&name.namespace);
                undecodable::publish(&self.context, R::KIND, name, &api, invalid, &advice).await
            }
            Err(error) => {
                warn!(kind = R::KIND.as_str(), object = %name, %error, "an object that does not decode cannot be read");
                Published::Told(Requeue::BackOff)
            }
        }
    }

    /// A wake-up is not delayed by the pause after a failure: kube runs the earlier of two requests.
    fn pause(&self, name: &Name, tried: u64, requeue: Requeue) -> Option<Duration> {
        match requeue {
            Requeue::BackOff | Requeue::AskAgain => Some(self.backoff.failed(name, tried)),
            Requeue::Throttled => Some(backoff::steady()),
            Requeue::After(pause) => {
                self.backoff.reset(name);
                Some(pause.max(Duration::from_millis(1)))
            }
            Requeue::AwaitChange => {
                self.backoff.reset(name);
                None
            }
        }
    }

    pub(crate) fn on_event(&self, event: &Result<Event<Guarded<R::Object>>, watcher::Error>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                return warn!(
                    kind = R::KIND.as_str(),
                    error = watch::failure(error),
                    "the watch failed and is retried"
                );
            }
        };
        let mut known = self.known();
        for (gone, uid) in known.learn(Sighting::of(event)) {
            self.forget(&gone, &uid);
        }
        match event {
            Event::Apply(object) | Event::InitApply(object) => match &object.0 {
                Ok(object) => self.reconciler.seen(object),
                Err(_) => {
                    let name = Name::new(object.namespace().unwrap_or_default(), object.name_any());
                    self.reconciler.seen_undecodable(&name);
                }
            },
            Event::Delete(_) | Event::Init | Event::InitDone => {}
        }
    }
}

fn object_ref<K: Resource<DynamicType = ()>>(name: &Name) -> ObjectRef<Guarded<K>> {
    let reference = ObjectRef::new(&name.name);
    if name.namespace.is_empty() { reference } else { reference.within(&name.namespace) }
}

#[cfg(test)]
mod tests;
