//! The composition root: clients, watches, Lease, controllers, admin server, and orderly shutdown.

mod conventions;
mod dependants;
mod fanout;
mod leading;
mod propagation;
mod readers;
mod store;
mod tasks;
mod unserved;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource};
use serde::Serialize;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::admin::{self, Health, ListenError, Listeners};
use crate::api::{ClusterExternalSecret, ClusterPushSecret, PathConvention};
use crate::cli::terminal;
use crate::cluster::client::{ConnectError, connect};
use crate::cluster::events::Events;
use crate::cluster::liveness::Liveness;
use crate::cluster::{Cluster, ClusterError};
use crate::config::{Config, Settings};
use crate::controller::context::Context;
use crate::controller::conventions::{self as path_conventions, ConventionChanged, Conventions};
use crate::controller::drive::{Cache, Driven, Heard, Reconciler};
use crate::controller::guarded::Guarded;
use crate::controller::lease::Elector;
use crate::controller::moves::Moves;
use crate::controller::namespaces::{NamespaceMoved, Namespaces, Watched};
use crate::controller::pruned::Pruned;
use crate::controller::referrers::Referrers;
use crate::controller::watch::{Wakeups, Watching};
use crate::controller::written::Written;
use crate::domain::consent::Silence;
use crate::domain::convention::Convention;
use crate::domain::object_name::Name;
use crate::domain::target::Strangers;
use crate::fanout::FanOut;
use crate::fanout::kind::Parent;
use crate::fanout::observe::Caches;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::pull::Pull;
use crate::pull::records::Records;
use crate::push::offers::Offers;
use crate::push::pusher::Pusher;
use crate::store::admit::Class;
use crate::store::registry::{Registry, RegistrySettings};
use crate::telemetry::{self, TelemetryError};
use dependants::Dependants;
use leading::{Term, until_lost};
use propagation::Propagation;
use tasks::{Ended, Halt, Tasks};
use unserved::{Unserved, UnservedKind};

/// Two workers are enough for a program that mostly waits, and each costs memory.
const WORKERS: usize = 2;
/// How long running reconciles may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the controller cannot run, or stopped.
#[derive(Debug, Error)]
enum RunError {
    #[error(transparent)]
    Telemetry(TelemetryError),
    #[error(transparent)]
    Connect(ConnectError),
    #[error(transparent)]
    Listen(ListenError),
    #[error("cannot read this cluster's UID: {0}; set --cluster-name")]
    ClusterName(ClusterError),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("the Lease was lost: another replica may lead now")]
    LeaseLost,
    #[error("{0}, and the controller cannot work without it: restarting is safe; please report this with the log")]
    TaskEnded(Ended),
}

/// `waypost controller`: runs until a signal, or until the lease is lost (exit code 1).
pub fn controller(config: Config) -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        terminal::say("waypost: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(&config));
            // What still computes is not waited for.
            runtime.shutdown_background();
            ended
        }
        Err(failure) => {
            terminal::say(format_args!("waypost: cannot start: {failure}"));
            return ExitCode::FAILURE;
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::say(format_args!("waypost: {failure}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(config: &Config) -> Result<(), RunError> {
    let telemetry = telemetry::install(config).map_err(RunError::Telemetry)?;
    let stop = CancellationToken::new();
    let (tasks, ends) = Tasks::new(Halt::on(stop.clone()));
    stop_on_signals(&tasks, &stop)?;
    let health = Health::default();
    let client = connect(&config.cluster, health.liveness.clone()).await.map_err(RunError::Connect)?;
    let metrics = Arc::new(Metrics::default());
    let listening = admin::listen(config.metrics_addr, config.health_addr, metrics.clone(), health.clone(), &stop);
    let Listeners { metrics: for_metrics, probes } = listening.await.map_err(RunError::Listen)?;
    tasks.spawn("the metrics", for_metrics);
    tasks.spawn("the probes", probes);
    let leading = lead(config, Cluster::new(client), metrics, health, stop.clone());
    let ended = ends.attend(leading, &stop).await.map_err(RunError::TaskEnded).flatten();
    telemetry.shutdown();
    ended
}

/// Waits for leadership if it is enabled, works, and hands over.
async fn lead(
    config: &Config,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let halt = Halt::on(stop.clone());
    if !config.leader_elect {
        return work(config, cluster, metrics, health, halt).await;
    }
    let mut elector = Elector::new(cluster.clone(), &config.lease_namespace(), &config.leader_election_id);
    if !elector.look(&stop).await {
        return Ok(());
    }
    // A standby replica is ready too: a rollout must not wait for it to lead.
    health.set_ready(true);
    if !elector.acquire(&stop).await {
        return Ok(());
    }
    health.set_ready(false);
    let working = work(config, cluster, metrics, health, halt.clone());
    match until_lost(working, elector.hold(), &halt).await {
        Term::Over(ended) => {
            elector.release().await;
            ended
        }
        Term::Lost => Err(RunError::LeaseLost),
    }
}

async fn work(
    config: &Config,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    health: Health,
    halt: Halt,
) -> Result<(), RunError> {
    let namespaces = Namespaces::default();
    metrics.leading(true);
    let context = context(config, cluster, metrics.clone(), &namespaces).await?;
    let stop = halt.stop.clone();
    let (tasks, ends) = Tasks::new(halt);
    let starter =
        Starter { config, context: context.clone(), tasks, liveness: health.liveness.clone(), stop: stop.clone() };
    let started = async {
        starter.start(namespaces).await;
        health.set_ready(true);
        info!("all caches are filled: working");
    };
    let ended = ends.until_stopped(started, &stop).await.map_err(RunError::TaskEnded);
    info!("stopping");
    stop.cancel();
    health.set_ready(false);
    if !starter.tasks.end_within(DRAIN).await {
        error!("some reconciles did not finish in time; the next start continues from there");
    }
    context.stores.shutdown().await;
    metrics.leading(false);
    ended
}

async fn context(
    config: &Config,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    namespaces: &Namespaces,
) -> Result<Arc<Context>, RunError> {
    let cluster_name = match &config.cluster_name {
        Some(name) => name.clone(),
        None => cluster.uid().await.map_err(RunError::ClusterName)?,
    };
    let class = Class::new(&config.controller_class, config.serve_unclassified);
    Ok(Arc::new(Context {
        stores: Registry::new(
            cluster.clone(),
            RegistrySettings { class, rate: config.store_request_rate },
            metrics.clone(),
        ),
        feed: Feed::new(),
        settings: Settings {
            status_heartbeat: config.status_heartbeat,
            cleanup_deadline: config.cleanup_deadline,
            cluster: cluster_name,
            strangers: if config.adopt_unowned_targets { Strangers::Adopt } else { Strangers::Leave },
            silence: if config.require_consent { Silence::Forbids } else { Silence::Permits },
        },
        conventions: Conventions::new(Convention::with_mode(config.path_convention), namespaces.reader.clone()),
        referrers: Referrers::default(),
        config_maps: Referrers::default(),
        moves: Moves::default(),
        template_moves: Moves::default(),
        pruned: Pruned::default(),
        written: Written::default(),
        events: Events::new(&cluster),
        metrics,
        cluster,
    }))
}

fn stop_on_signals(tasks: &Tasks, stop: &CancellationToken) -> Result<(), RunError> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(RunError::Signals)?;
        let stop = stop.clone();
        tasks.spawn("the signals", async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}

/// The listeners for changes of the convention and of namespaces.
struct Judgement {
    conventions: mpsc::UnboundedReceiver<ConventionChanged>,
    namespaces: mpsc::UnboundedReceiver<NamespaceMoved>,
    parents: mpsc::UnboundedReceiver<NamespaceMoved>,
    dependants: mpsc::UnboundedReceiver<NamespaceMoved>,
}

/// Starts all tasks, in the order of their dependencies.
struct Starter<'a> {
    config: &'a Config,
    context: Arc<Context>,
    tasks: Tasks,
    liveness: Arc<Liveness>,
    stop: CancellationToken,
}

impl Starter<'_> {
    /// Returns when all caches are filled.
    async fn start(&self, namespaces: Namespaces) {
        let all_namespaces = namespaces.reader.clone();
        let Judgement { conventions, namespaces, parents, dependants: moved_namespaces } =
            self.start_judgement(namespaces).await;
        let stores = self.start_stores().await;
        let (push_wakeups, push_wakes) = mpsc::unbounded_channel();
        let (pull_wakeups, pull_wakes) = mpsc::unbounded_channel();
        let records = Arc::new(Records::default());
        let wakeups = Wakeups { push: push_wakeups, pull: pull_wakeups };
        // Before the pulls: it begins the initial phase in which everything is read once.
        self.tasks.spawn("the feed", self.context.feed.clone().run(self.stop.clone()));
        self.tasks.spawn("the feed's folders", self.context.feed.clone().run_folders(self.stop.clone()));
        self.forward_feed(wakeups.pull.clone());
        let [(to_parents, for_parents), (to_count, for_count)] = [(); 2].map(|()| mpsc::unbounded_channel());
        let cache = Cache::heard_by(vec![to_parents, to_count]);
        let wake = wakeups.push.clone();
        // A closed channel means that we are shutting down.
        let wake = move |name| drop(wake.send(name));
        let offers = Offers::new(Box::new(cache.reader.clone()), Box::new(wake));
        let registry = Arc::new(self.context.stores.clone());
        let pusher = Arc::new(Pusher::new(self.context.clone(), registry, offers));
        let (pushes, pushes_filled) = self.drive_into(cache, pusher, self.scoped(), push_wakes);
        let (pulls, pulls_filled) = self.drive(
            Arc::new(Pull::new(self.context.clone(), self.context.stores.clone(), records.clone())),
            self.scoped(),
            pull_wakes,
        );
        self.refuse::<ClusterExternalSecret>();
        let publishers = conventions::Publishers::new(pushes.clone(), wakeups.push.clone(), all_namespaces.clone());
        self.tasks.spawn("the wake-ups of conventions", publishers.follow(conventions, namespaces, self.stop.clone()));
        let registry = self.context.stores.clone();
        self.tasks.spawn("the clients of stores", registry.clone().sweep(self.stop.clone()));
        let (changes, troubles) = (registry.changes(), registry.troubles());
        let dependants = Dependants { pushes: pushes.clone(), pulls, registry, stores, wakeups: wakeups.clone() };
        let following = dependants.follow(changes, troubles, moved_namespaces, self.stop.clone());
        self.tasks.spawn("the wake-ups of stores", following);
        let watching = Watching { context: self.context.clone(), own_writes: records, wakeups };
        self.expect::<Secret>();
        self.expect::<ConfigMap>();
        self.tasks.spawn("the watch of Secrets", watching.clone().secrets(self.scoped(), self.stop.clone()));
        self.tasks.spawn("the watch of ConfigMaps", watching.config_maps(self.scoped(), self.stop.clone()));
        pushes_filled.cancelled().await;
        pulls_filled.cancelled().await;
        if let Some(recounts) = self.context.feed.recounts() {
            let propagation = Propagation::new(self.context.clone(), pushes.clone());
            self.tasks.spawn("the count of consumers", propagation.follow(recounts, for_count, self.stop.clone()));
        }
        match self.config.namespace {
            None => {
                let caches = Caches { namespaces: all_namespaces, children: pushes };
                self.start_fan_out::<ClusterPushSecret>(caches, parents, for_parents);
            }
            Some(_) => self.refuse::<ClusterPushSecret>(),
        }
    }

    /// Before anything is published, because it provides the convention and the namespaces' modes.
    async fn start_judgement(&self, namespaces: Namespaces) -> Judgement {
        let (to_publishers, for_publishers) = mpsc::unbounded_channel();
        let (to_parents, for_parents) = mpsc::unbounded_channel();
        let (to_readers, for_readers) = mpsc::unbounded_channel();
        let (to_dependants, for_dependants) = mpsc::unbounded_channel();
        let (changed, changes) = mpsc::unbounded_channel();
        let [namespaces_filled, convention_filled] = [(); 2].map(|()| CancellationToken::new());
        let (watched, filled, stop) = (self.config.namespace.clone(), namespaces_filled.clone(), self.stop.clone());
        let api = Api::all(self.client());
        self.expect::<Namespace>();
        self.tasks.spawn("the watch of Namespaces", async move {
            let watched = watched.as_deref().map_or(Watched::All, Watched::One);
            namespaces
                .follow(api, watched, filled, vec![to_publishers, to_parents, to_readers, to_dependants], stop)
                .await;
        });
        self.tasks.spawn(
            "the wake-ups of namespaces",
            readers::follow(self.context.feed.clone(), for_readers, self.stop.clone()),
        );
        self.expect::<PathConvention>();
        let conventions = path_conventions::follow(
            Api::all(self.client()),
            self.context.clone(),
            changed,
            convention_filled.clone(),
            self.stop.clone(),
        );
        self.tasks.spawn("the watch of PathConventions", conventions);
        namespaces_filled.cancelled().await;
        convention_filled.cancelled().await;
        Judgement { conventions: changes, namespaces: for_publishers, parents: for_parents, dependants: for_dependants }
    }

    /// Last, because a child or a namespace that is not in the caches counts as not existing.
    fn start_fan_out<P: Parent>(
        &self,
        caches: Caches<P::Child>,
        moved_namespaces: mpsc::UnboundedReceiver<NamespaceMoved>,
        moved_children: mpsc::UnboundedReceiver<Heard>,
    ) {
        let (wakeups, wakes) = mpsc::unbounded_channel();
        let fan_out = Arc::new(FanOut::<P>::new(self.context.clone(), caches));
        let (parents, _) = self.drive(fan_out, Api::all(self.client()), wakes);
        let parents = fanout::Parents { parents, wakeups };
        self.tasks
            .spawn("the wake-ups of fan-outs", parents.follow(moved_namespaces, moved_children, self.stop.clone()));
    }

    /// Reports to the objects of a kind that they are not served.
    fn refuse<K>(&self)
    where
        K: UnservedKind<Status: Serialize + Clone + Default + Send + Sync> + Send + Sync + 'static,
    {
        self.drive(Unserved::<K>::new(&self.context), Api::all(self.client()), mpsc::unbounded_channel().1);
    }

    /// Stores first, so that an object does not miss its store only because the watch has not shown
    /// it yet.
    async fn start_stores(&self) -> dependants::StoreWakeups {
        let (cluster_wakeups, cluster_wakes) = mpsc::unbounded_channel();
        let (namespaced_wakeups, namespaced_wakes) = mpsc::unbounded_channel();
        let (_, cluster) = self.drive(store::ClusterStores::new(&self.context), Api::all(self.client()), cluster_wakes);
        let (_, namespaced) = self.drive(store::NamespacedStores::new(&self.context), self.scoped(), namespaced_wakes);
        cluster.cancelled().await;
        namespaced.cancelled().await;
        dependants::StoreWakeups { cluster: cluster_wakeups, namespaced: namespaced_wakeups }
    }

    /// Returns the cache, and a token that is cancelled once the cache is filled.
    fn drive<R: Reconciler>(
        &self,
        reconciler: Arc<R>,
        api: Api<Guarded<R::Object>>,
        wakes: mpsc::UnboundedReceiver<Name>,
    ) -> (Store<Guarded<R::Object>>, CancellationToken) {
        self.drive_into(Cache::default(), reconciler, api, wakes)
    }

    fn drive_into<R: Reconciler>(
        &self,
        cache: Cache<R::Object>,
        reconciler: Arc<R>,
        api: Api<Guarded<R::Object>>,
        wakes: mpsc::UnboundedReceiver<Name>,
    ) -> (Store<Guarded<R::Object>>, CancellationToken) {
        let (reader, filled) = (cache.reader.clone(), cache.filled.clone());
        let wakeups =
            futures::stream::unfold(wakes, |mut wakes| async { wakes.recv().await.map(|name| (name, wakes)) });
        // The stream of wake-ups must not end before the controller, which would end with it.
        let wakeups = wakeups.chain(futures::stream::pending());
        let driven = Driven::new(reconciler, self.context.clone(), self.config.concurrent);
        self.expect::<R::Object>();
        self.tasks.spawn(R::KIND.as_str(), driven.run(api, cache, wakeups, self.stop.clone()));
        (reader, filled)
    }

    fn forward_feed(&self, pull: mpsc::UnboundedSender<Name>) {
        let Some(mut woken) = self.context.feed.wakeups() else { return };
        let stop = self.stop.clone();
        self.tasks.spawn("the wake-ups of the feed", async move {
            loop {
                let name = tokio::select! { name = woken.recv() => name, () = stop.cancelled() => None };
                let Some(name) = name else { return };
                if pull.send(name).is_err() {
                    return;
                }
            }
        });
    }

    /// Makes the liveness probe fail if the watch of this kind is silent.
    fn expect<K: Resource<DynamicType = ()>>(&self) {
        self.liveness.expect(&K::plural(&()));
    }

    /// A namespaced kind in the configured namespace, else in all.
    fn scoped<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.config.namespace {
            Some(namespace) => Api::namespaced(self.client(), namespace),
            None => Api::all(self.client()),
        }
    }

    fn client(&self) -> Client {
        self.context.cluster.client()
    }
}
