//! The cluster, the store and the controller of the model, and how each event changes them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::controller::watch::{Sources, Wakeups, Watching};
use crate::controller::{context::Context, drive};
use crate::domain::source::SourceKind;
use crate::pull::Pull;
use crate::pull::records::Records;
use crate::store::opening::Opening;
use crate::store::{Site, StoreClient, StoreRefusal};

/// Server and mount.
pub const PLACES: [(usize, &str); 3] = [(0, "secret"), (1, "secret"), (0, "other")];
const PROPERTIES: [&str; 2] = ["one", "two"];
/// Who asks to be tried again within this time is in the queue already. Later, the refresh and the heartbeat would hide that nothing
/// woke it.
const SOON: Duration = Duration::from_secs(60);

/// The store of the story.
#[derive(Clone)]
pub struct OneStore(Arc<Mutex<Place>>);

pub struct Place {
    servers: [FakeStore; 2],
    pub at: usize,
    pub serves: Serves,
    /// Counts the edits.
    pub generation: u32,
    session: Arc<dyn StoreClient>,
}

impl OneStore {
    fn edit(&self, edit: impl FnOnce(&mut Place)) {
        let mut place = self.0.lock();
        edit(&mut place);
        let identity = format!("vault@{}", place.generation);
        place.session =
            Arc::new(place.servers[PLACES[place.at].0].with_identity(&identity).with_mount(PLACES[place.at].1));
    }

    /// The server, and the path on it.
    pub fn place(&self) -> (FakeStore, RemotePath) {
        let place = self.0.lock();
        let (server, mount) = PLACES[place.at];
        (place.servers[server].clone(), RemotePath::parse(Some(mount), "db").unwrap())
    }

    pub fn serves(&self) -> Serves {
        self.0.lock().serves
    }

    fn opening(&self) -> Opening {
        let one = self.clone();
        Opening::by(move |namespace, store| {
            let (place, store) = (one.0.lock(), store.clone());
            match place.serves {
                Serves::Yes => Ok(place.session.clone()),
                Serves::NotThere => Err(StoreRefusal::NotFound { store }),
                Serves::NotThisNamespace => Err(StoreRefusal::NotAllowed { store, namespace: namespace.to_owned() }),
            }
        })
    }
}

/// Whether the resource is to be reconciled, and what may say so.
pub struct Queue {
    feed: UnboundedReceiver<Name>,
    secrets: UnboundedReceiver<Name>,
    is_due: bool,
}

impl Queue {
    /// Takes it out of the queue, if it is there.
    pub fn take(&mut self) -> bool {
        while self.feed.try_recv().is_ok() || self.secrets.try_recv().is_ok() {
            self.is_due = true;
        }
        std::mem::take(&mut self.is_due)
    }
}

pub struct World {
    pub api: ApiServer,
    pub context: Arc<Context>,
    pub records: Arc<Records>,
    pub pull: Pull<Opening>,
    pub store: OneStore,
    pub queue: Queue,
    pub name: Name,
    /// The watch of Secrets, and the target as it showed it last.
    secrets: Sources,
    shown: Option<PartialObjectMeta<Secret>>,
    cached: Arc<ExternalSecret>,
    lags: bool,
    writes: u64,
    touches: u64,
    pub consents: bool,
    /// Something is as nobody told the controller yet.
    pub untold: bool,
    /// A person wrote where nothing was. Who is not to be read again is not told, not even by a check, before a push or an edit of the
    /// store makes it look.
    pub unheard: bool,
    pub policy: &'static str,
}

impl World {
    pub fn new(policy: &'static str) -> Self {
        World::with(policy, spec_of(policy, 0))
    }

    /// One whose resource has this spec.
    pub fn with(policy: &'static str, spec: Value) -> Self {
        let api = ApiServer::default();
        let context = Context::on(api.cluster());
        let servers = [FakeStore::on("a"), FakeStore::on("b")];
        servers[0].add_mount("other");
        let session: Arc<dyn StoreClient> = Arc::new(servers[0].clone());
        let place = Place { servers, at: 0, serves: Serves::Yes, generation: 0, session };
        let store = OneStore(Arc::new(Mutex::new(place)));
        let records = Arc::new(Records::default());
        let pull = Pull::new(context.clone(), store.opening(), records.clone());
        let ((push, _), (woken, told)) = (unbounded_channel(), unbounded_channel());
        let wakeups = Wakeups { push, pull: woken };
        let watching = Watching { context: context.clone(), own_writes: records.clone(), wakeups };
        api.put("/namespaces/team", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } }));
        let mut object = serde_json::to_value(object(spec)).unwrap();
        object["apiVersion"] = json!("external-secrets.io/v1");
        object["kind"] = json!("ExternalSecret");
        api.put(OBJECT, object);
        let mut world = World {
            cached: Arc::new(api.get(OBJECT).unwrap()),
            name: Name::new("team", "db"),
            // Every object is reconciled once it is known.
            queue: Queue { feed: context.feed.wakeups().unwrap(), secrets: told, is_due: true },
            secrets: Sources::new(SourceKind::Secret, watching),
            shown: None,
            api,
            context,
            records,
            pull,
            store,
            lags: false,
            writes: 0,
            touches: 0,
            consents: true,
            untold: false,
            unheard: false,
            policy,
        };
        world.pull.seen(&world.cached);
        world.write();
        world
    }

    fn write(&mut self) -> u64 {
        self.writes += 1;
        let (server, path) = self.store.place();
        let text = |property: &str| format!("{property} {}", self.writes);
        let data = PROPERTIES.map(|property| (property.to_owned(), RemoteValue::text(&text(property))));
        server.put(&path, data.into())
    }

    async fn announce(&mut self, pushed: Pushed) {
        self.unheard &= pushed != Pushed::Consent;
        let (server, path) = self.store.place();
        let key = server.path_key(&path).await.unwrap();
        self.context.feed.announce(&Site::of(&server, key), pushed);
    }

    /// Each place has the same consents, so that an edit of the store changes none.
    fn consent(&mut self, given: bool) {
        self.consents = given;
        let labels = match given {
            true => BTreeMap::new(),
            false => {
                let nobody = |property: &str| (consent::key(property), r#"{"onWithdrawal":"Delete"}"#.to_owned());
                PROPERTIES.map(nobody).into()
            }
        };
        let servers = self.store.0.lock().servers.clone();
        for (server, mount) in PLACES {
            servers[server].put_metadata(&RemotePath::parse(Some(mount), "db").unwrap(), labels.clone());
        }
    }

    /// Every store that is edited, created or deleted, and every new credential, wakes who refers to it.
    fn edit_store(&mut self, edit: impl FnOnce(&mut Place)) {
        self.store.edit(edit);
        self.unheard = false;
        self.queue.is_due = true;
    }

    /// The watches bring the object and the target as they are now, but the former if it lags.
    pub fn deliver(&mut self) {
        self.deliver_target();
        let Some(object) = self.api.get::<ExternalSecret>(OBJECT).filter(|_| !self.lags) else { return };
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        self.context.written.shown("es-uid", &version);
        self.pull.seen(&object);
        let before = std::mem::replace(&mut self.cached, Arc::new(object));
        let trigger = |object: &ExternalSecret| drive::trigger(&DeserializeGuard(Ok(object.clone())));
        self.queue.is_due |= trigger(&before) != trigger(&self.cached);
    }

    fn deliver_target(&mut self) {
        let present = self.api.get::<PartialObjectMeta<Secret>>(TARGET);
        let uid = |of: &PartialObjectMeta<Secret>| of.metadata.uid.clone();
        let gone = self.shown.take_if(|shown| present.as_ref().and_then(uid) != uid(shown));
        gone.into_iter().for_each(|gone| self.secrets.on_event(watcher::Event::Delete(gone)));
        let version = |of: &PartialObjectMeta<Secret>| of.metadata.resource_version.clone();
        if let Some(present) = present.filter(|present| self.shown.as_ref().and_then(version) != version(present)) {
            self.shown = Some(present.clone());
            self.secrets.on_event(watcher::Event::Apply(present));
        }
    }

    pub async fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Push => {
                let is_first = self.wanted().is_none();
                let version = self.write();
                // A claim says who may read, and that is announced.
                if is_first {
                    self.announce(Pushed::Consent).await;
                }
                self.announce(Pushed::Version(version)).await;
            }
            Event::WriteByHand => {
                self.unheard |= self.policy != "Periodic" && self.wanted().is_none();
                self.write();
                self.untold = true;
            }
            Event::Consent(given) => {
                self.consent(given);
                self.announce(Pushed::Consent).await;
            }
            Event::EditStore(at) => {
                self.edit_store(|place| {
                    place.generation += u32::from(place.at != at);
                    place.at = at;
                });
            }
            Event::Store(serves) => self.edit_store(|place| {
                // A store that was deleted comes back as another object.
                place.generation += u32::from(place.serves == Serves::NotThere && serves != Serves::NotThere);
                place.serves = serves;
            }),
            Event::RotateCredential => self.edit_store(|_| {}),
            Event::EditSpec => {
                let object: Value = self.api.get(OBJECT).unwrap();
                let generation = object["metadata"]["generation"].as_u64().unwrap() + 1;
                let spec = spec_of(self.policy, usize::try_from(generation).unwrap() % 2);
                self.api.edit(OBJECT, &json!({ "metadata": { "generation": generation }, "spec": spec }));
            }
            Event::Touch => {
                self.touches += 1;
                let touched = json!({ "touched": self.touches.to_string() });
                self.api.edit(OBJECT, &json!({ "metadata": { "annotations": touched } }));
            }
            Event::EditTarget => {
                if self.api.get::<Value>(TARGET).is_some() {
                    self.api.edit(TARGET, &json!({ "data": { "password": "eA==" } }));
                }
            }
            Event::DeleteTarget => self.api.remove(TARGET),
            Event::FailTarget(fault) => self.api.fail_next_write("/secrets", fault),
            Event::FailStatus(fault) => self.api.fail_next_write("/status", fault),
            Event::Lag(lags) => self.lags = lags,
            Event::Relist => {
                let lags = std::mem::take(&mut self.lags);
                self.deliver();
                self.lags = lags;
            }
            Event::Check => self.check().await,
            Event::Reconcile => {
                self.reconcile().await;
                self.is_honest()?;
            }
            Event::Woken => {
                if self.queue.take() {
                    self.reconcile().await;
                    self.is_honest()?;
                }
            }
        }
        self.deliver();
        Ok(())
    }

    async fn check(&mut self) {
        self.context.feed.clone().check_all().await;
        self.untold = false;
    }

    /// Nothing fails any more, and everybody hears of everything.
    pub async fn heal(&mut self) {
        self.api.heal();
        self.lags = false;
        self.deliver();
        self.check().await;
    }

    /// As a controller does it. Says when to look again.
    pub async fn reconcile(&mut self) -> Published {
        self.queue.take();
        let newer = self.context.written.newer(&*self.cached);
        let object = newer.map_or_else(|| self.cached.clone(), Arc::new);
        let report = self.pull.reconcile(object.clone(), &self.name).await;
        let api = self.pull.api(&self.name.namespace);
        let subject = Subject { kind: Kind::ExternalSecret, name: &self.name, object: &*object, api };
        let published = subject.publish(&self.context, report).await;
        match published {
            Published::Told(Requeue::BackOff | Requeue::AskAgain | Requeue::Throttled) => self.queue.is_due = true,
            Published::Told(Requeue::After(pause)) => self.queue.is_due = pause <= SOON,
            Published::Told(Requeue::AwaitChange) | Published::Left => {}
            Published::Gone => self.pull.forget(&self.name),
        }
        published
    }

    pub fn ready(&self) -> Value {
        let object: Value = self.api.get(OBJECT).unwrap();
        let ready = object["status"]["conditions"].as_array().and_then(|all| all.first()).cloned();
        let mut ready = ready.unwrap_or_default();
        ready["current"] = json!(ready["observedGeneration"] == object["metadata"]["generation"]);
        ready
    }

    /// What the target holds, if there is one.
    pub fn held(&self) -> Option<String> {
        let target: Secret = self.api.get(TARGET)?;
        Some(String::from_utf8(target.data?["password"].0.clone()).unwrap())
    }

    /// The Secret that its status names.
    pub fn bound(&self) -> Option<String> {
        let object: Value = self.api.get(OBJECT).unwrap();
        object["status"]["binding"]["name"].as_str().map(str::to_owned)
    }

    /// What it should hold now.
    pub fn wanted(&self) -> Option<String> {
        let (server, path) = self.store.place();
        let object: Value = self.api.get(OBJECT).unwrap();
        let property = object["spec"]["data"][0]["remoteRef"]["property"].as_str().unwrap().to_owned();
        let value = server.peek(&path).data()?.get(&property)?.rendered();
        Some(value.expose_utf8().unwrap().to_owned())
    }
}

pub fn spec_of(policy: &str, property: usize) -> Value {
    json!({
        "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" }, "refreshPolicy": policy,
        "refreshInterval": "1h",
        "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": PROPERTIES[property] } }],
    })
}
