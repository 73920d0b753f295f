//! Two clusters on one OpenBao, each with a controller of its own: who came first owns a property, whoever else asks for it.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use futures::future::{try_join, try_join_all};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use waypost::api::{PushSecret, names};
use waypost_e2e::lab::{Controller, Lab, LabOptions, MOUNT, Storage};
use waypost_e2e::wait;

use crate::stage::{LATER, STORE, Stage, condition, mapping, start_controller_with, store_by_login};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

/// How many paths both clusters want at the same moment: as many as a controller works on at once.
const BURST: usize = 8;
const BURSTS: usize = 12;

/// What the east and the west want of a path, in turn: the same, some of the same, and nothing of the same.
const WANTS: [[&[&str]; 2]; 3] = [
    [&["password"], &["password"]],
    [&["password", "username"], &["password", "token"]],
    [&["username"], &["password"]],
];

/// A cluster, and the controller that works in it.
struct Cluster {
    lab: Lab,
    controller: Controller,
}

/// Two clusters that log in to one OpenBao, which is the east's.
struct Clusters {
    east: Cluster,
    west: Cluster,
}

impl Clusters {
    /// They live as long as the process, like the lab that all other tests share.
    async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<Clusters> = OnceCell::const_new();
        SHARED.get_or_try_init(Clusters::start).await
    }

    async fn start() -> anyhow::Result<Self> {
        // No time is measured here.
        let options = || LabOptions { storage: Storage::fastest(), ..LabOptions::default() };
        let (east, west) = try_join(Lab::start(options()), Lab::start(options())).await?;
        east.install_product().await?;
        west.install_product().await?;
        east.admit_cluster(&west, "kubernetes-west").await?;
        for (lab, auth_mount) in [(&east, "kubernetes"), (&west, "kubernetes-west")] {
            store_by_login(lab, STORE, east.vault_addr(), east.vault_ca_pem(), auth_mount).await?;
        }
        let controllers = try_join(
            start_controller_with(&east, &["--cluster-name=east"]),
            start_controller_with(&west, &["--cluster-name=west"]),
        );
        let (eastern, western) = controllers.await?;
        Ok(Clusters {
            east: Cluster { lab: east, controller: eastern },
            west: Cluster { lab: west, controller: western },
        })
    }

    /// A stage in each cluster; both stand for one path in the one OpenBao.
    async fn stages(&'static self, test: &str) -> anyhow::Result<(Stage, Stage)> {
        let east = Stage::on(&self.east.lab, &self.east.controller, test).await?;
        let west = Stage::on(&self.west.lab, &self.west.controller, test).await?;
        let west = Stage { vault: self.east.lab.vault_admin()?, word: east.word.clone(), ..west };
        Ok((east, west))
    }
}

#[tokio::test]
async fn kg3_of_two_clusters_the_first_wins_until_it_goes() -> anyhow::Result<()> {
    let clusters = Clusters::shared().await?;
    let (east, west) = clusters.stages("kg3b").await?;
    let deleting = json!({ "deletionPolicy": "Delete" });
    east.secret(&east.producer, "source", &[("password", "eastern")]).await?;
    west.secret(&west.producer, "source", &[("password", "western")]).await?;
    east.push("push", "source", PASSWORD, deleting.clone()).await?;
    east.ready::<PushSecret>(&east.producer, "push", "True", "Synced").await?;

    let (before, audit) = (entry(&east, &east.path()).await?, clusters.east.lab.bao()?.audit());
    let mark = audit.mark()?;
    let often = json!({ "deletionPolicy": "Delete", "refreshInterval": "1s" });
    west.push("push", "source", PASSWORD, often).await?;
    let message = west.ready::<PushSecret>(&west.producer, "push", "False", "PathConflict").await?;
    let owner = format!("PushSecret {}/push of cluster east", east.producer);
    assert!(message.contains(&owner), "{message}");
    west.secret(&west.producer, "source", &[("password", "rotated")]).await?;
    let reads = format!("{MOUNT}/data/{}", west.path());
    wait::until("the second to try again and again", LATER, async || {
        Ok((audit.since_under(mark, &reads)?.len() > 4).then_some(()))
    })
    .await?;
    let writes: Vec<_> = audit.since(mark)?.into_iter().filter(|request| request.path.ends_with(&west.word)).collect();
    assert!(writes.iter().all(|request| !request.is_write()), "{writes:?}");
    assert_eq!(entry(&east, &east.path()).await?, before);
    let loser = west.api::<PushSecret>(&west.producer).get("push").await?;
    let status = loser.status.unwrap_or_default();
    assert_eq!(status.paths[0].owner, Some(format!("east/{}/push", east.producer)));
    assert!(status.synced_push_secrets.is_empty() && loser.metadata.finalizers.is_none(), "it has nothing to delete");

    let finalizers = east.api::<PushSecret>(&east.producer).get("push").await?.metadata.finalizers;
    assert_eq!(finalizers, Some(vec![names::FINALIZER_PUSH_SECRET.to_owned()]));
    east.api::<PushSecret>(&east.producer).delete("push", &DeleteParams::default()).await?;
    west.ready::<PushSecret>(&west.producer, "push", "True", "Synced").await?;
    assert_eq!(west.stored().await?, json!({ "password": "rotated" }));
    east.push("late", "source", PASSWORD, deleting).await?;
    let message = east.ready::<PushSecret>(&east.producer, "late", "False", "PathConflict").await?;
    assert!(message.contains(&format!("PushSecret {}/push of cluster west", west.producer)), "{message}");
    Ok(())
}

#[tokio::test]
async fn kg3_a_path_that_two_clusters_race_for_gets_one_owner_and_one_version() -> anyhow::Result<()> {
    let clusters = Clusters::shared().await?;
    let (east, west) = clusters.stages("race").await?;
    let audit = clusters.east.lab.bao()?.audit();
    let mark = audit.mark()?;
    let races = || (0..BURST * BURSTS).map(Race);
    try_join_all(races().flat_map(|race| [race.enter(&east, 0), race.enter(&west, 1)])).await?;
    for race in races() {
        try_join(race.waits(&east), race.waits(&west)).await?;
    }
    for burst in 0..BURSTS {
        // One source wakes a whole burst, in both clusters in the same order.
        try_join(source(&east, burst, "east"), source(&west, burst, "west")).await?;
        for race in races().filter(|race| race.burst() == burst) {
            race.judge(&east, &west).await?;
        }
    }
    let requests = audit.since_under(mark, &format!("{MOUNT}/metadata/{}", east.path()))?;
    let labelled = |race: &Race| {
        let path = format!("{MOUNT}/metadata/{}", race.path(&east));
        requests.iter().filter(|request| request.path == path && request.operation == "patch").count()
    };
    // Who is alone announces and confirms.
    let crossed = races().filter(|race| race.is_contested() && labelled(race) > 2).count();
    ensure!(crossed > 0, "no two ever met: this was no race");
    Ok(())
}

async fn source(stage: &Stage, burst: usize, value: &str) -> anyhow::Result<()> {
    let keys = ["password", "username", "token"].map(|key| (key, value));
    stage.secret(&stage.producer, &format!("source-{burst}"), &keys).await.map(drop)
}

/// A path that both clusters want, by its number.
#[derive(Clone, Copy)]
struct Race(usize);

impl Race {
    fn burst(self) -> usize {
        self.0 / BURST
    }

    fn wants(self) -> [&'static [&'static str]; 2] {
        WANTS[self.0 % WANTS.len()]
    }

    fn is_contested(self) -> bool {
        let [east, west] = self.wants();
        east.iter().any(|property| west.contains(property))
    }

    fn name(self) -> String {
        format!("race-{}", self.0)
    }

    fn path(self, stage: &Stage) -> String {
        format!("{}-{}", stage.path(), self.0)
    }

    /// Applies one side's PushSecret, which waits for its source.
    async fn enter(self, stage: &Stage, side: usize) -> anyhow::Result<()> {
        let path = self.path(stage);
        let data: Vec<Value> = self.wants()[side].iter().map(|property| mapping(property, &path, property)).collect();
        let source = format!("source-{}", self.burst());
        stage.push(&self.name(), &source, &[], json!({ "data": data })).await.map(drop)
    }

    async fn waits(self, stage: &Stage) -> anyhow::Result<()> {
        stage.ready::<PushSecret>(&stage.producer, &self.name(), "False", "SourceNotFound").await.map(drop)
    }

    /// Waits for both sides and checks that who won has everything and who lost knows to whom.
    async fn judge(self, east: &Stage, west: &Stage) -> anyhow::Result<()> {
        let sides = [(east, "east"), (west, "west")];
        let beaten_by = <[_; 2]>::from(try_join(self.settled(east), self.settled(west)).await?);
        let winners: Vec<usize> = (0..2).filter(|side| beaten_by[*side].is_none()).collect();
        let expected = if self.is_contested() { 1 } else { 2 };
        ensure!(winners.len() == expected, "{}: {beaten_by:?}", self.name());
        for owner in beaten_by.iter().flatten() {
            let (stage, cluster) = sides[winners[0]];
            ensure!(*owner == format!("{cluster}/{}/{}", stage.producer, self.name()), "{}: {owner}", self.name());
        }

        let entry = entry(east, &self.path(east)).await?;
        let won = |side: usize| self.wants()[side].iter().map(move |property| (*property, sides[side].1));
        let pushed: BTreeMap<&str, &str> = winners.iter().copied().flat_map(won).collect();
        ensure!(entry["data"] == json!(pushed), "{}: {entry}", self.name());
        let versions = entry["versions"].as_object().map(|versions| versions.len());
        ensure!(versions == Some(winners.len()), "{}: {entry}", self.name());
        let labels = entry["custom_metadata"].as_object().context("no labels")?;
        let claims: BTreeMap<&str, &str> = labels.iter().filter_map(|(key, value)| claim(key, value)).collect();
        ensure!(claims == pushed && labels.len() == claims.len() + 1, "{}: {entry}", self.name());
        Ok(())
    }

    /// Waits until the PushSecret has its path (`None`) or says whose it is.
    async fn settled(self, stage: &Stage) -> anyhow::Result<Option<String>> {
        let (pushes, name) = (stage.api::<PushSecret>(&stage.producer), self.name());
        wait::until(&format!("{name} to have its path or to know who has"), LATER, async || {
            let push = serde_json::to_value(pushes.get(&name).await?)?;
            let ready = condition(&push).context("no condition yet")?;
            let owner = push["status"]["paths"][0]["owner"].as_str().map(str::to_owned);
            match (ready["reason"].as_str(), owner) {
                (Some("Synced"), None) => Ok(Some(None)),
                (Some("PathConflict"), Some(owner)) => Ok(Some(Some(owner))),
                (_, _) => bail!("its condition is {ready}"),
            }
        })
        .await
    }
}

/// The property and the cluster that a label's claim names.
fn claim<'a>(key: &'a str, value: &'a Value) -> Option<(&'a str, &'a str)> {
    let cluster = value.as_str()?.strip_prefix("cluster=")?.split(' ').next()?;
    Some((key.strip_prefix("claim.waypost.io/")?, cluster))
}

/// Everything that the store says of a path: its data, and when which version and which label came to be.
async fn entry(stage: &Stage, path: &str) -> anyhow::Result<Value> {
    let data = stage.vault.read(MOUNT, path).await?.and_then(|entry| entry.data);
    let mut entry = stage.vault.metadata(MOUNT, path).await?.context("there is no such entry")?;
    entry["data"] = data.unwrap_or_default();
    Ok(entry)
}
