//! A controller that is killed between any two of its requests while one PushSecret takes over what
//! another one leaves: the path has its value at every version, and the next controller ends the
//! hand-over.
//!
//! As in [crash](crate::crash), several pairs are handed over side by side, each is [cut](crate::cut)
//! off at its own change, and the controller is killed when all of them stand still.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use kube::ResourceExt;
use serde_json::json;
use waypost::api::PushSecret;
use waypost::domain::claim;
use waypost_e2e::lab::MOUNT;
use waypost_e2e::turns::heavy;
use waypost_e2e::wait;

use crate::bad_store::store_ref;
use crate::crash::{Case, Ground, ledger};
use crate::cut::{Last, subject};
use crate::renames::history;
use crate::stage::{LATER, condition, mapping};

/// Stores of the ground: the first two on a server that counts changes of labels.
const COURSES: [(usize, Last); 4] =
    [(0, Last::Unsent), (1, Last::Unanswered), (3, Last::Unsent), (4, Last::Unanswered)];

/// One PushSecret that goes, and one that waits for what it has.
struct Pair<'a> {
    ground: &'a Ground,
    store: usize,
    last: Last,
    /// Both names begin with the subject's, so that both are cut off at once.
    old: String,
    new: String,
    /// The number of its last change.
    at: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_f2_a_crash_between_any_two_requests_of_a_rename_leaves_the_path_its_value() -> anyhow::Result<()> {
    let _turn = heavy().await?;
    let ground = Ground::new("crashname").await?;
    let pair = |ground, (store, last), at, number| Pair::new(ground, store, last, at, number);
    ground.crash_at_each_change(COURSES.to_vec(), pair).await?;
    ground.clear().await
}

impl Case for Pair<'_> {
    async fn prepare(&self) -> anyhow::Result<()> {
        let stage = &self.ground.stage;
        stage.secret(&stage.producer, &self.old, &[("password", "one")]).await?;
        self.push(&self.old).await?;
        stage.ready::<PushSecret>(&stage.producer, &self.old, "True", "Synced").await?;
        self.push(&self.new).await?;
        stage.ready::<PushSecret>(&stage.producer, &self.new, "False", "PathConflict").await.map(drop)
    }

    async fn begin(&self) -> anyhow::Result<()> {
        self.ground.cut.arm(self.subject(), self.at, self.last);
        self.ground.stage.delete::<PushSecret>(&self.ground.stage.producer, &self.old).await
    }

    async fn stands_still(&self) -> anyhow::Result<()> {
        let end = async || {
            if !self.is_cut() {
                self.is_handed_over().await?;
            }
            Ok(Some(()))
        };
        wait::until(&self.what("the crash, or the end"), LATER, end).await
    }

    fn is_cut(&self) -> bool {
        self.ground.cut.is_off(self.subject())
    }

    /// What the dead controller left: the value stands, and whoever claims it lists it.
    async fn is_whole(&self) -> anyhow::Result<()> {
        self.stands().await?;
        let (owner, line) = (self.owner().await?, format!("{}/password", self.path()));
        let mut listing = BTreeSet::new();
        for push in [self.push_secret(&self.old).await?, self.push_secret(&self.new).await?].into_iter().flatten() {
            listing.extend(ledger(&push).contains(&line).then(|| push.name_any()));
        }
        ensure!(listing.contains(&owner), self.what(&format!("{owner} claims it, and {listing:?} list it")));
        Ok(())
    }

    /// What the next controller makes of it; and that nothing is left when the new one goes.
    async fn ends_well(&self) -> anyhow::Result<()> {
        let stage = &self.ground.stage;
        let done = async || self.is_handed_over().await.map(Some);
        wait::until(&self.what("the next controller to end it"), LATER, done).await?;
        stage.delete::<PushSecret>(&stage.producer, &self.new).await?;
        wait::until(&self.what("nothing to be left"), LATER, async || {
            let gone = self.push_secret(&self.new).await?.is_none();
            let data = stage.vault.read(MOUNT, &self.path()).await?.and_then(|entry| entry.data);
            ensure!(gone && data.is_none(), "gone: {gone}, data: {data:?}");
            Ok(Some(()))
        })
        .await
    }
}

impl<'a> Pair<'a> {
    fn new(ground: &'a Ground, store: usize, last: Last, at: usize, number: usize) -> Self {
        let subject = subject(number);
        Pair { ground, store, last, old: format!("{subject}-old"), new: format!("{subject}-new"), at }
    }

    fn path(&self) -> String {
        format!("platform-data/postgres/{}-{}", self.ground.stage.word, self.subject())
    }

    fn subject(&self) -> &str {
        self.old.trim_end_matches("-old")
    }

    fn what(&self, what: &str) -> String {
        format!("{what}: {} by store {}, {:?} at change {}", self.subject(), self.store, self.last, self.at)
    }

    async fn push(&self, name: &str) -> anyhow::Result<()> {
        let store = store_ref(&self.ground.stores[self.store]);
        let data = [mapping("password", &self.path(), "password")];
        let more = json!({ "secretStoreRefs": [store], "deletionPolicy": "Delete", "data": data });
        self.ground.stage.push(name, &self.old, &[], more).await.map(drop)
    }

    async fn is_handed_over(&self) -> anyhow::Result<()> {
        ensure!(self.push_secret(&self.old).await?.is_none(), "{} is there", self.old);
        let push = self.push_secret(&self.new).await?.context("the new one is gone")?;
        let object = serde_json::to_value(&push)?;
        let ready = condition(&object).context("it has no condition yet")?;
        ensure!(ready["status"] == "True", "its condition is {ready}");
        ensure!(ledger(&push) == BTreeSet::from([format!("{}/password", self.path())]), "it lists {:?}", ledger(&push));
        ensure!(self.owner().await? == self.new, "{} claims it", self.owner().await?);
        self.stands().await
    }

    /// Whether every version that there ever was has the value; a hand-over makes none.
    async fn stands(&self) -> anyhow::Result<()> {
        let seen = history(&self.ground.stage, &self.path()).await.with_context(|| self.what("a version"))?;
        ensure!(seen == [json!({ "password": "one" })], self.what(&format!("the versions are {seen:?}")));
        Ok(())
    }

    /// The name in the claim of the value.
    async fn owner(&self) -> anyhow::Result<String> {
        let metadata = self.ground.stage.vault.metadata(MOUNT, &self.path()).await?.unwrap_or_default();
        let labels: BTreeMap<String, String> = serde_json::from_value(metadata["custom_metadata"].clone())?;
        let owner = claim::owner(&labels, "password").with_context(|| self.what("nobody claims it"))?;
        Ok(owner.name)
    }

    async fn push_secret(&self, name: &str) -> anyhow::Result<Option<PushSecret>> {
        Ok(self.ground.stage.api(&self.ground.stage.producer).get_opt(name).await?)
    }
}
