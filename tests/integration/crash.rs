//! A controller that is killed between any two of its requests to the API server or the store: what
//! it pushed is in the ledger before it is in the store, nothing is lost, and the next controller
//! reaches the same state as an undisturbed one.
//!
//! Many PushSecrets are pushed side by side, and each is [cut](crate::cut) off at its own change.
//! The controller is killed when all of them stand still, so one life of it shows many crashes.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, PushSecret, names};
use waypost_e2e::lab::{Controller, ControllerOptions, Lab, MOUNT, cluster_secret_store};
use waypost_e2e::turns::heavy;
use waypost_e2e::wait;

use crate::as_vault;
use crate::bad_store::store_ref;
use crate::cut::{Cut, Last, subject};
use crate::stage::{LATER, Stage, condition, mapping};

/// A kind of path and a property there.
type Spot = (&'static str, &'static str);
const KINDS: [&str; 2] = ["postgres", "mysql"];
const PAIR: &[Spot] = &[("postgres", "username"), ("postgres", "password")];
const ALL: &[Spot] = &[("postgres", "username"), ("postgres", "password"), ("mysql", "password")];
/// Whatever is done has fewer changes than this.
const MOST: usize = 40;

/// What the controller is doing when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    First,
    Rename,
    Rotation,
    Unmapping,
    Deletion,
}

/// What a person does before a controller runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Deletes,
}

/// One sequence of changes, to be stopped at each.
#[derive(Clone, Copy, Debug)]
struct Course {
    scenario: Scenario,
    last: Last,
    meanwhile: Meanwhile,
    /// The place of its store among the ground's.
    store: usize,
}

/// What all share.
pub struct Ground {
    pub stage: Stage,
    pub cut: Arc<Cut>,
    kubeconfig: PathBuf,
    pub stores: Vec<String>,
}

/// One course, played once.
pub trait Case {
    /// Brings about what is there before it begins.
    async fn prepare(&self) -> anyhow::Result<()>;
    async fn begin(&self) -> anyhow::Result<()>;
    /// Waits until it was cut off, or is at its end.
    async fn stands_still(&self) -> anyhow::Result<()>;
    fn is_cut(&self) -> bool;
    /// Whether the dead controller left nothing lost and nothing orphaned.
    async fn is_whole(&self) -> anyhow::Result<()>;
    /// Waits for what the next controller makes of it.
    async fn ends_well(&self) -> anyhow::Result<()>;
}

/// One PushSecret of a course.
struct Subject<'a> {
    ground: &'a Ground,
    course: Course,
    name: String,
    /// The number of its last change.
    at: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_f2_a_crash_between_any_two_requests_leaves_no_orphan_and_loses_nothing() -> anyhow::Result<()> {
    let _turn = heavy().await?;
    let ground = Ground::new("crash").await?;
    ground.crash_at_each_change(Course::all(), Subject::new).await?;
    ground.clear().await
}

impl Scenario {
    fn before(self) -> &'static [Spot] {
        match self {
            Scenario::First => &[],
            Scenario::Rename => PAIR,
            Scenario::Rotation | Scenario::Unmapping | Scenario::Deletion => ALL,
        }
    }

    fn after(self) -> &'static [Spot] {
        match self {
            Scenario::First | Scenario::Rotation => ALL,
            Scenario::Rename => &[("postgres", "username"), ("mysql", "password")],
            Scenario::Unmapping => &[("postgres", "username")],
            Scenario::Deletion => &[],
        }
    }

    /// The versions of both paths in the end, on a path of which another writer made the first: as
    /// many as without a crash.
    fn versions(self) -> [u64; 2] {
        match self {
            Scenario::First => [2, 1],
            Scenario::Rename => [3, 1],
            Scenario::Rotation | Scenario::Unmapping | Scenario::Deletion => [3, 2],
        }
    }

    fn value(self, property: &str) -> String {
        match self {
            Scenario::Rotation => format!("new {property}"),
            Scenario::First | Scenario::Rename | Scenario::Unmapping | Scenario::Deletion => property.to_owned(),
        }
    }
}

impl Course {
    /// On a server that counts changes of labels and on one that does not, where claiming takes
    /// more steps.
    fn all() -> Vec<Self> {
        use Scenario::{Deletion, First, Rename, Rotation, Unmapping};
        let ends = [
            (Last::Unsent, Meanwhile::Nothing),
            (Last::Unanswered, Meanwhile::Nothing),
            (Last::Unanswered, Meanwhile::Deletes),
        ];
        let mut courses = Vec::new();
        for (store, (last, meanwhile)) in ends.into_iter().cycle().take(Ground::STORES).enumerate() {
            let scenarios = [First, Rename, Rotation, Unmapping, Deletion].into_iter();
            let scenarios = scenarios.filter(|scenario| (*scenario, meanwhile) != (Deletion, Meanwhile::Deletes));
            courses.extend(scenarios.map(|scenario| Course { scenario, last, meanwhile, store }));
        }
        courses
    }
}

impl Ground {
    /// Half of them on a server that counts changes of labels. What is cut off holds the slots of
    /// its store, so there are several.
    const STORES: usize = 6;

    pub async fn new(test: &str) -> anyhow::Result<Self> {
        let (stage, lab, cut) = (Stage::new(test).await?, Lab::shared().await?, Arc::<Cut>::default());
        let counting = cut.before(lab.vault_addr(), lab.vault_ca_pem()).await?;
        let as_vault = cut.before(&as_vault::serve(lab).await?, None).await?;
        let stores: Vec<String> = (0..Self::STORES).map(|number| format!("{}-{number}", stage.word)).collect();
        for (number, name) in stores.iter().enumerate() {
            let server = if number < Self::STORES / 2 { &counting } else { &as_vault };
            let mut store = cluster_secret_store(name, server, None);
            store["spec"]["controller"] = json!(stage.word);
            let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
            stores.patch(name, &PatchParams::apply("gitops"), &Patch::Apply(store)).await?;
        }
        let kubeconfig = crate::cut::kubeconfig(lab, &cut, &stage.word).await?;
        Ok(Ground { stage, cut, kubeconfig, stores })
    }

    /// A controller of this test's stores and namespace, which leads at once.
    pub async fn start(&self) -> anyhow::Result<Controller> {
        let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), &self.kubeconfig)
            .arg("--leader-elect=false")
            .arg("--concurrent=64")
            .arg("--serve-unclassified=false")
            .arg(format!("--controller-class={}", self.stage.word))
            .arg(format!("--namespace={}", self.stage.producer));
        let controller = Lab::shared().await?.start_controller(&options)?;
        controller.wait_ready().await?;
        Ok(controller)
    }

    /// Plays all courses side by side, with a crash at the first change of each, then at the second,
    /// until none has another.
    pub async fn crash_at_each_change<'g, C: Copy + Debug, S: Case>(
        &'g self,
        mut courses: Vec<C>,
        case: impl Fn(&'g Ground, C, usize, usize) -> S,
    ) -> anyhow::Result<()> {
        let (mut controller, mut crashes) = (self.start().await?, 0);
        for at in 1..MOST {
            let cases: Vec<S> = (courses.iter().enumerate())
                .map(|(number, course)| case(self, *course, at, at * 100 + number))
                .collect();
            try_join_all(cases.iter().map(Case::prepare)).await?;
            try_join_all(cases.iter().map(Case::begin)).await?;
            try_join_all(cases.iter().map(Case::stands_still)).await?;
            controller.kill().await?;
            let cut: Vec<bool> = cases.iter().map(Case::is_cut).collect();
            self.cut.mend();
            try_join_all(cases.iter().map(Case::is_whole)).await?;
            controller = self.start().await?;
            try_join_all(cases.iter().map(Case::ends_well)).await?;
            crashes += cut.iter().filter(|cut| **cut).count();
            let mut cut = cut.into_iter();
            courses.retain(|_| cut.next().unwrap_or_default());
            if courses.is_empty() {
                println!("{crashes} crashes, and no course has more than {} changes", at - 1);
                return Ok(());
            }
        }
        bail!("{courses:?} do not come to an end in {MOST} changes")
    }

    pub async fn clear(&self) -> anyhow::Result<()> {
        let stores: Api<ClusterSecretStore> = Api::all(self.stage.client.clone());
        for name in &self.stores {
            stores.delete(name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

impl Case for Subject<'_> {
    /// Everything as it is before the controller begins, with a property of somebody else on one of
    /// the paths.
    async fn prepare(&self) -> anyhow::Result<()> {
        let (stage, path) = (&self.ground.stage, self.path("postgres"));
        stage.vault.write(MOUNT, &path, &json!({ "note": "theirs" })).await?;
        stage.vault.write_custom_metadata(MOUNT, &path, &json!({ "managed-by": "external-secrets" })).await?;
        let data = [("username", "username"), ("password", "password")];
        stage.secret(&stage.producer, &self.name, &data).await?;
        if self.course.scenario.before().is_empty() {
            return Ok(());
        }
        self.push(self.course.scenario.before()).await?;
        stage.ready::<PushSecret>(&stage.producer, &self.name, "True", "Synced").await.map(drop)
    }

    async fn begin(&self) -> anyhow::Result<()> {
        let (stage, scenario) = (&self.ground.stage, self.course.scenario);
        self.ground.cut.arm(&self.name, self.at, self.course.last);
        match scenario {
            Scenario::First | Scenario::Rename | Scenario::Unmapping => self.push(scenario.after()).await,
            Scenario::Rotation => {
                let values = ["username", "password"].map(|key| (key, scenario.value(key)));
                let data = values.each_ref().map(|(key, value)| (*key, value.as_str()));
                stage.secret(&stage.producer, &self.name, &data).await.map(drop)
            }
            Scenario::Deletion => stage.delete::<PushSecret>(&stage.producer, &self.name).await,
        }
    }

    async fn stands_still(&self) -> anyhow::Result<()> {
        let end = async || {
            if !self.is_cut() {
                self.is_done().await?;
                self.versions_are_reported().await?;
            }
            Ok(Some(()))
        };
        wait::until(&self.what("the crash, or the end"), LATER, end).await
    }

    fn is_cut(&self) -> bool {
        self.ground.cut.is_off(&self.name)
    }

    /// What the dead controller left: the ledger knows of all that stands, and what was there and
    /// is wanted is there.
    async fn is_whole(&self) -> anyhow::Result<()> {
        let (push, mut standing) = (self.push_secret().await?, BTreeSet::new());
        let mut known = BTreeSet::new();
        for kind in KINDS {
            let (properties, claims) = (self.properties(kind).await?, self.claims(kind).await?);
            known.extend(properties.iter().chain(&claims).map(|property| format!("{}/{property}", self.path(kind))));
            standing.extend(properties.into_iter().map(|property| (kind, property)));
        }
        let ledger = push.as_ref().map(ledger).unwrap_or_default();
        ensure!(known.is_subset(&ledger), self.what(&format!("{known:?} stand, and the ledger has {ledger:?}")));
        let held = push.is_some_and(|push| push.finalizers().iter().any(|held| held == names::FINALIZER_PUSH_SECRET));
        ensure!(known.is_empty() || held, self.what("nothing holds the PushSecret until it is cleaned up"));
        let (before, after) = (self.course.scenario.before(), self.course.scenario.after());
        for (kind, property) in before {
            let stands = |kind: &str| standing.iter().any(|(at, there)| *at == kind && there == property);
            let moved = after.iter().find(|(_, wanted)| wanted == property);
            let lost = !stands(kind) && moved.is_some_and(|(kind, _)| !stands(kind));
            ensure!(!lost, self.what(&format!("{property} is lost")));
        }
        if self.course.meanwhile == Meanwhile::Deletes {
            self.ground.stage.delete::<PushSecret>(&self.ground.stage.producer, &self.name).await?;
        }
        Ok(())
    }

    /// What the next controller makes of it; and that nothing is left when the PushSecret goes.
    async fn ends_well(&self) -> anyhow::Result<()> {
        if self.course.meanwhile == Meanwhile::Nothing {
            let done = async || {
                self.is_done().await?;
                self.versions_are_reported().await.map(Some)
            };
            wait::until(&self.what("the next controller to end it"), LATER, done).await?;
            let versions = self.course.scenario.versions();
            for (kind, wanted) in KINDS.iter().zip(versions) {
                let version = self.metadata(kind).await?["current_version"].as_u64().unwrap_or_default();
                ensure!(version == wanted, self.what(&format!("{kind} has version {version}, not {wanted}")));
            }
        }
        if self.push_secret().await?.is_some_and(|push| push.metadata.deletion_timestamp.is_none()) {
            self.ground.stage.delete::<PushSecret>(&self.ground.stage.producer, &self.name).await?;
        }
        let done = async || self.is_as(&[]).await.map(Some);
        wait::until(&self.what("the PushSecret to go, and nothing to be left"), LATER, done).await
    }
}

impl<'a> Subject<'a> {
    fn new(ground: &'a Ground, course: Course, at: usize, number: usize) -> Self {
        Subject { ground, course, name: subject(number), at }
    }

    fn path(&self, kind: &str) -> String {
        format!("platform-data/{kind}/{}-{}", self.ground.stage.word, self.name)
    }

    async fn push(&self, spots: &[Spot]) -> anyhow::Result<()> {
        let data: Vec<Value> =
            spots.iter().map(|(kind, property)| mapping(property, &self.path(kind), property)).collect();
        let store = store_ref(&self.ground.stores[self.course.store]);
        let more = json!({ "secretStoreRefs": [store], "deletionPolicy": "Delete", "data": data });
        self.ground.stage.push(&self.name, &self.name, &[], more).await.map(drop)
    }

    fn what(&self, what: &str) -> String {
        format!("{what}: {:?} stopped at change {}, as {}", self.course, self.at, self.name)
    }

    async fn is_done(&self) -> anyhow::Result<()> {
        self.is_as(self.course.scenario.after()).await
    }

    /// Whether exactly this stands, is claimed and is listed, and the status says so; nothing at
    /// all without a PushSecret.
    async fn is_as(&self, spots: &[Spot]) -> anyhow::Result<()> {
        let push = self.push_secret().await?;
        let mut listed = BTreeSet::new();
        for kind in KINDS {
            let wanted = spots.iter().filter(|(at, _)| *at == kind).map(|(_, property)| (*property).to_owned());
            let wanted: BTreeSet<String> = wanted.collect();
            let mut data: Vec<(&str, String)> =
                wanted.iter().map(|property| (property.as_str(), self.course.scenario.value(property))).collect();
            data.extend((kind == "postgres").then(|| ("note", "theirs".to_owned())));
            let (stands, claims) = (self.data(kind).await?, self.claims(kind).await?);
            let data: Value = data.into_iter().map(|(property, value)| (property.to_owned(), json!(value))).collect();
            ensure!(stands == data, "{kind} holds {stands}");
            ensure!(claims == wanted, "of {kind}, {claims:?} are claimed");
            listed.extend(wanted.iter().map(|property| format!("{}/{property}", self.path(kind))));
        }
        match push {
            None => ensure!(spots.is_empty(), "there is no PushSecret"),
            Some(push) => {
                ensure!(!spots.is_empty() && ledger(&push) == listed, "the ledger has {:?}", ledger(&push));
                self.is_reported(&push).await?;
            }
        }
        Ok(())
    }

    async fn is_reported(&self, push: &PushSecret) -> anyhow::Result<()> {
        let object = serde_json::to_value(push)?;
        let ready = condition(&object).context("it has no condition yet")?;
        let current = ready["observedGeneration"].as_i64() == push.metadata.generation;
        ensure!(current && ready["status"] == "True", "its condition is {ready}");
        Ok(())
    }

    /// Whether the status names the versions that stand.
    async fn versions_are_reported(&self) -> anyhow::Result<()> {
        let push = self.push_secret().await?;
        let said = push.iter().filter_map(|push| push.status.as_ref()).flat_map(|status| &status.paths);
        for said in said {
            let kind = KINDS.into_iter().find(|kind| said.path == format!("{MOUNT}/{}", self.path(kind)));
            let version = self.metadata(kind.context("a path of the subject")?).await?["current_version"].as_i64();
            ensure!(version == said.version, "{} has version {version:?}, and the status says {said:?}", said.path);
        }
        Ok(())
    }

    async fn push_secret(&self) -> anyhow::Result<Option<PushSecret>> {
        Ok(self.ground.stage.api(&self.ground.stage.producer).get_opt(&self.name).await?)
    }

    async fn data(&self, kind: &str) -> anyhow::Result<Value> {
        let entry = self.ground.stage.vault.read(MOUNT, &self.path(kind)).await?;
        Ok(entry.and_then(|entry| entry.data).unwrap_or_else(|| json!({})))
    }

    /// Our properties at a path; another's must be there, too.
    async fn properties(&self, kind: &str) -> anyhow::Result<BTreeSet<String>> {
        let data = self.data(kind).await?;
        ensure!(kind != "postgres" || data["note"] == "theirs", self.what("another's property is lost"));
        let properties = data.as_object().context("data is an object")?.keys();
        Ok(properties.filter(|property| *property != "note").cloned().collect())
    }

    /// Properties that are claimed, or about to be.
    async fn claims(&self, kind: &str) -> anyhow::Result<BTreeSet<String>> {
        let metadata = self.metadata(kind).await?;
        let labels = metadata["custom_metadata"].as_object().into_iter().flatten().map(|(label, _)| label);
        let ours = labels.filter(|label| label.contains(".waypost.io/"));
        Ok(ours.filter_map(|label| label.rsplit('/').next()).map(str::to_owned).collect())
    }

    async fn metadata(&self, kind: &str) -> anyhow::Result<Value> {
        Ok(self.ground.stage.vault.metadata(MOUNT, &self.path(kind)).await?.unwrap_or_default())
    }
}

/// What the PushSecret's status says was pushed.
pub fn ledger(push: &PushSecret) -> BTreeSet<String> {
    let stores = push.status.iter().flat_map(|status| status.synced_push_secrets.values());
    stores.flat_map(|lines| lines.keys().cloned()).collect()
}
