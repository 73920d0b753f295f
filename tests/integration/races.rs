//! A thousand paths that two clusters on one OpenBao want at the same moment: each gets one owner,
//! and nothing is lost, whether the server has check-and-set for metadata (a claim is one request)
//! or not (an intent comes first).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use futures::future::{try_join, try_join_all};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::{AuditLog, MOUNT, Mark};
use waypost_e2e::wait;

use crate::as_vault;
use crate::bad_store::store_ref;
use crate::stage::{LATER, STORE, Stage, condition, mapping, store_by_login};
use crate::two_clusters::{Clusters, entry};

const RACES: usize = 1000;
/// Paths of one PushSecret.
const PATHS: usize = 10;
/// PushSecrets that start at the same moment: as many as a controller works on at once.
const BURST: usize = 8;
/// Races that are looked at at once.
const LOOKS: usize = 16;

/// What the east and the west want of a path, in turn: the same, some of the same, and nothing of
/// the same.
const WANTS: [[&[&str]; 2]; 3] = [
    [&["password"], &["password"]],
    [&["password", "username"], &["password", "token"]],
    [&["username"], &["password"]],
];

#[tokio::test]
async fn kg3_a_path_that_two_clusters_race_for_gets_one_owner_and_one_version() -> anyhow::Result<()> {
    let clusters = Clusters::turn().await?;
    Contest::new(&clusters, "race", STORE).await?.run().await
}

#[tokio::test]
async fn kg3_a_race_has_one_owner_also_where_changes_of_metadata_are_not_counted() -> anyhow::Result<()> {
    let clusters = Clusters::turn().await?;
    let server = as_vault::serve(&clusters.east.lab).await?;
    for (cluster, auth_mount) in [(&clusters.east, "kubernetes"), (&clusters.west, "kubernetes-west")] {
        store_by_login(&cluster.lab, "as-vault", &server, None, auth_mount).await?;
    }
    Contest::new(&clusters, "uncounted", "as-vault").await?.run().await
}

#[tokio::test]
async fn a_first_push_takes_half_the_requests_where_changes_of_metadata_are_counted() -> anyhow::Result<()> {
    let clusters = Clusters::turn().await?;
    let (east, audit) = (&clusters.east.lab, clusters.east.lab.bao()?.audit());
    let server = as_vault::serve(east).await?;
    store_by_login(east, "uncounted-first", &server, None, "kubernetes").await?;
    let (stage, _) = clusters.stages("firstpush").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    for (store, requests) in [(STORE, 4), ("uncounted-first", 8)] {
        // The first push of all finds out what the server counts.
        for name in ["warm", "first"] {
            let (name, mark) = (format!("{name}-{store}"), audit.mark()?);
            let path = format!("{}-{name}", stage.path());
            let data = json!([mapping("password", &path, "password")]);
            let more = json!({ "secretStoreRefs": [store_ref(store)], "data": data });
            stage.push(&name, "source", &[], more).await?;
            stage.ready::<PushSecret>(&stage.producer, &name, "True", "Synced").await?;
            let seen: Vec<_> = audit.since(mark)?.into_iter().filter(|request| request.path.ends_with(&path)).collect();
            assert!(name.starts_with("warm") || seen.len() == requests, "{} of {store}: {seen:?}", seen.len());
        }
    }
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    Ok(())
}

/// Two stages for the same paths, through stores of the same name.
struct Contest {
    sides: [(Stage, &'static str); 2],
    store: &'static str,
    audit: AuditLog,
    mark: Mark,
}

impl Contest {
    async fn new(clusters: &Clusters, test: &str, store: &'static str) -> anyhow::Result<Self> {
        let (east, west) = clusters.stages(test).await?;
        let audit = clusters.east.lab.bao()?.audit();
        Ok(Contest { sides: [(east, "east"), (west, "west")], store, mark: audit.mark()?, audit })
    }

    async fn run(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        let groups: Vec<usize> = (0..RACES / PATHS).collect();
        for burst in groups.chunks(BURST) {
            try_join_all(burst.iter().flat_map(|group| [self.enter(*group, 0), self.enter(*group, 1)])).await?;
            // One source wakes a whole burst, in both clusters in the same order.
            try_join_all((0..2).map(|side| self.source(burst[0], side))).await?;
            try_join_all(burst.iter().map(|group| self.judge(*group))).await?;
        }
        let (met, path) = (self.met()?, self.sides[0].0.path());
        let requests = self.audit.since(self.mark)?.iter().filter(|request| request.path.contains(&path)).count();
        println!(
            "{met} of {RACES} paths were claimed from both sides at once; there were {requests} requests in {:?}",
            began.elapsed()
        );
        for (stage, _) in &self.sides {
            let pushes = stage.api::<PushSecret>(&stage.producer);
            pushes.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        }
        ensure!(met > 0, "no two ever met: this was no race");
        Ok(())
    }

    /// The first of the burst that a group is in gives the source its name.
    async fn source(&self, first: usize, side: usize) -> anyhow::Result<()> {
        let (stage, value) = &self.sides[side];
        let keys = ["password", "username", "token"].map(|key| (key, *value));
        stage.secret(&stage.producer, &format!("source-{first}"), &keys).await.map(drop)
    }

    /// Applies one side's PushSecret of a group, and waits until it waits for its source.
    async fn enter(&self, group: usize, side: usize) -> anyhow::Result<()> {
        let (stage, _) = &self.sides[side];
        let wanted = races(group).flat_map(|race| race.wants()[side].iter().map(move |property| (race, *property)));
        let data: Vec<Value> = wanted.map(|(race, property)| mapping(property, &race.path(stage), property)).collect();
        let (name, source) = (format!("race-{group}"), format!("source-{}", group - group % BURST));
        let more = json!({ "secretStoreRefs": [store_ref(self.store)], "data": data });
        stage.push(&name, &source, &[], more).await?;
        stage.ready::<PushSecret>(&stage.producer, &name, "False", "SourceNotFound").await.map(drop)
    }

    /// Waits for both sides and checks that who won a path has all it wanted of it, and who lost
    /// knows to whom.
    async fn judge(&self, group: usize) -> anyhow::Result<()> {
        let (east, west) = try_join(self.settled(group, 0), self.settled(group, 1)).await?;
        stream::iter(races(group))
            .map(Ok)
            .try_for_each_concurrent(LOOKS / BURST, |race| {
                let beaten_by =
                    [&east, &west].map(|owners| owners.get(&format!("{MOUNT}/{}", race.path(&self.sides[0].0))));
                self.check(race, beaten_by.map(|owner| owner.cloned().flatten()))
            })
            .await
    }

    async fn check(&self, race: Race, beaten_by: [Option<String>; 2]) -> anyhow::Result<()> {
        let at = race.path(&self.sides[0].0);
        let winners: Vec<usize> = (0..2).filter(|side| beaten_by[*side].is_none()).collect();
        ensure!(winners.len() == if race.is_contested() { 1 } else { 2 }, "{at}: {beaten_by:?}");
        for owner in beaten_by.iter().flatten() {
            let (stage, cluster) = &self.sides[winners[0]];
            ensure!(*owner == format!("{cluster}/{}/race-{}", stage.producer, race.0 / PATHS), "{at}: {owner}");
        }
        let entry = entry(&self.sides[0].0, &at).await?;
        let won = |side: usize| race.wants()[side].iter().map(move |property| (*property, self.sides[side].1));
        let pushed: BTreeMap<&str, &str> = winners.iter().copied().flat_map(won).collect();
        ensure!(entry["data"] == json!(pushed), "{at}: {entry}");
        let versions = entry["versions"].as_object().map(|versions| versions.len());
        ensure!(versions == Some(winners.len()), "{at}: {entry}");
        let keys = entry["custom_metadata"].as_object().context("no custom metadata")?;
        let claims: BTreeMap<&str, &str> = keys.iter().filter_map(|(key, value)| claim(key, value)).collect();
        ensure!(claims == pushed && keys.len() == claims.len() + 1, "{at}: {entry}");
        Ok(())
    }

    /// Waits until a PushSecret has each of its paths (`None`) or says whose it is.
    async fn settled(&self, group: usize, side: usize) -> anyhow::Result<HashMap<String, Option<String>>> {
        let (stage, _) = &self.sides[side];
        let (pushes, name) = (stage.api::<PushSecret>(&stage.producer), format!("race-{group}"));
        wait::until(&format!("{name} to have its paths or to know who has"), LATER, async || {
            let push = serde_json::to_value(pushes.get(&name).await?)?;
            let ready = condition(&push).context("no condition yet")?;
            let mut owners = HashMap::new();
            for path in push["status"]["paths"].as_array().context("no paths yet")? {
                let owner = path["owner"].as_str().map(str::to_owned);
                match (path["state"].as_str(), &owner) {
                    (Some("Synced"), None) | (Some("Refused"), Some(_)) => {}
                    (_, _) => bail!("a path is {path}, and the condition {ready}"),
                }
                owners.insert(path["path"].as_str().unwrap_or_default().to_owned(), owner);
            }
            let lost = owners.values().flatten().next();
            let reason = if lost.is_some() { "PathConflict" } else { "Synced" };
            ensure!(owners.len() == PATHS && ready["reason"] == reason, "its condition is {ready}");
            Ok(Some(owners))
        })
        .await
    }

    /// Contested paths whose custom metadata both sides tried to change.
    fn met(&self) -> anyhow::Result<usize> {
        let prefix = format!("{MOUNT}/metadata/{}", self.sides[0].0.path());
        let mut sides: HashMap<String, BTreeSet<String>> = HashMap::new();
        for request in self.audit.since_under(self.mark, &prefix)?.into_iter().filter(|request| request.is_write()) {
            sides.entry(request.path).or_default().insert(request.caller.display_name);
        }
        let both = |race: &Race| {
            sides
                .get(&format!("{MOUNT}/metadata/{}", race.path(&self.sides[0].0)))
                .is_some_and(|sides| sides.len() == 2)
        };
        Ok((0..RACES).map(Race).filter(|race| race.is_contested() && both(race)).count())
    }
}

/// The paths of one PushSecret.
fn races(group: usize) -> impl Iterator<Item = Race> {
    (group * PATHS..(group + 1) * PATHS).map(Race)
}

/// A path that both clusters want, by its number.
#[derive(Clone, Copy)]
struct Race(usize);

impl Race {
    fn wants(self) -> [&'static [&'static str]; 2] {
        WANTS[self.0 % WANTS.len()]
    }

    fn is_contested(self) -> bool {
        let [east, west] = self.wants();
        east.iter().any(|property| west.contains(property))
    }

    fn path(self, stage: &Stage) -> String {
        format!("{}-{}", stage.path(), self.0)
    }
}

/// The property and the cluster that a label's claim names.
fn claim<'a>(key: &'a str, value: &'a Value) -> Option<(&'a str, &'a str)> {
    let cluster = value.as_str()?.strip_prefix("cluster=")?.split(' ').next()?;
    Some((key.strip_prefix("claim.waypost.io/")?, cluster))
}
