//! `waypost claims transfer`: transfers the claims of a lost cluster to its successor, by the
//! protocol of the controllers.

use std::process::ExitCode;

use thiserror::Error;

use super::{Places, begin, failed};
use crate::cli::terminal;
use crate::cluster::client::{ConnectError, connect};
use crate::cluster::{Cluster, ClusterError};
use crate::config::{ClusterChoice, parse_cluster_name};
use crate::domain::claim::{CustomMetadata, Owner};
use crate::domain::handover::{Claimed, Fate, Handover};
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState};
use crate::store::{Exchange, StoreClient, StoreError};

/// How often a path that somebody changed meanwhile is tried again.
const MOST_TRIES: usize = 10;

/// Arguments of `waypost claims transfer`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The cluster that is gone for good, by its name in claims
    #[arg(long, value_name = "NAME", value_parser = parse_cluster_name)]
    from: String,
    /// Its successor, by its name in claims [default: the UID of namespace kube-system]
    #[arg(long, value_name = "NAME", value_parser = parse_cluster_name)]
    to: Option<String>,
    /// The cluster whose UID of namespace kube-system is read, without --to
    #[command(flatten)]
    cluster: ClusterChoice,
    /// Transfer the claims; without it, only show what would be transferred
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    places: Places,
}

/// Why nothing is transferred.
#[derive(Debug, Error)]
enum NoTransfer {
    #[error("both clusters have the same name: a controller with --cluster-name={0} takes its paths over by itself")]
    OneCluster(String),
    #[error("{0}; or name the new cluster with --to")]
    Connect(ConnectError),
    #[error("{0}; {advice}or name the new cluster with --to", advice = advice(.0))]
    Cluster(ClusterError),
}

fn advice(error: &ClusterError) -> String {
    error.advice().map(|advice| format!("{advice}, ")).unwrap_or_default()
}

/// The results for all paths.
#[derive(Default)]
struct Tally {
    /// One line per claim.
    text: String,
    /// How many claims would be transferred.
    moving: usize,
    /// How many belong to the new cluster.
    moved: usize,
    stay: usize,
    /// How many claims should have been transferred but could not be.
    hindered: usize,
}

/// Shows what would be transferred, and transfers it with --apply.
pub async fn run(args: &Args) -> ExitCode {
    let (paths, client) = match begin(&args.places) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let to = match heir(args).await {
        Ok(to) => to,
        Err(problem) => return failed(&problem),
    };
    let mover = mover();
    let (handover, mut tally) = (Handover { from: &args.from, to: &to, mover: &mover }, Tally::default());
    for path in paths {
        let fates = match args.apply {
            true => transfer(&client, &path, &handover).await,
            false => look(&client, &path).await.map(|metadata| handover.fates(&metadata)),
        };
        match fates {
            Ok(fates) => fates.iter().for_each(|(claimed, fate)| tally.tell(&path, claimed, fate, args, &to)),
            Err(error) => {
                terminal::print("claims", &tally.text, ExitCode::SUCCESS);
                return failed(&args.places.server.in_its_words(&error));
            }
        }
    }
    tally.sum_up(args)
}

/// The new cluster's name.
async fn heir(args: &Args) -> Result<String, NoTransfer> {
    let to = match &args.to {
        Some(to) => to.clone(),
        None => {
            let client = connect(&args.cluster, Default::default()).await.map_err(NoTransfer::Connect)?;
            Cluster::new(client).uid().await.map_err(NoTransfer::Cluster)?
        }
    };
    match to == args.from {
        true => Err(NoTransfer::OneCluster(to)),
        false => Ok(to),
    }
}

/// It belongs to no cluster, so that every controller waits for it as for another cluster's
/// claimant.
fn mover() -> Owner {
    Owner {
        uid: format!("transfer-{:016x}", rand::random::<u64>()),
        cluster: "none".to_owned(),
        namespace: "none".to_owned(),
        name: "waypost-claims-transfer".to_owned(),
    }
}

async fn look(client: &dyn StoreClient, path: &RemotePath) -> Result<CustomMetadata, StoreError> {
    Ok(client.metadata(path).await?.map(|metadata| metadata.custom_metadata).unwrap_or_default())
}

/// Transfers the claims of one entry. With check-and-set for metadata this is one request;
/// otherwise it is announced, read again, and changed.
async fn transfer(
    client: &dyn StoreClient,
    path: &RemotePath,
    handover: &Handover<'_>,
) -> Result<Vec<(Claimed, Fate)>, StoreError> {
    for _ in 0..MOST_TRIES {
        let metadata = look(client, path).await?;
        let changes = handover.changes(&metadata);
        if changes.is_empty() {
            return Ok(handover.fates(&metadata));
        }
        let seen = Entry { state: EntryState::Empty, custom_metadata: metadata.clone(), ..Entry::absent() };
        match client.exchange_metadata(path, &seen, &changes).await? {
            Exchange::Done | Exchange::Crossed => {}
            Exchange::Unavailable => announced(client, path, handover, &metadata).await?,
        }
    }
    Err(StoreError::CasMismatch { path: path.to_string() })
}

/// Claimants after the announcement wait for it; those before it are seen by the read that follows.
async fn announced(
    client: &dyn StoreClient,
    path: &RemotePath,
    handover: &Handover<'_>,
    metadata: &CustomMetadata,
) -> Result<(), StoreError> {
    client.patch_metadata(path, &handover.announcement(metadata)).await?;
    let changes = handover.changes(&look(client, path).await?);
    client.patch_metadata(path, &changes).await
}

impl Tally {
    fn tell(&mut self, path: &RemotePath, claimed: &Claimed, fate: &Fate, args: &Args, to: &str) {
        let owner = claimed.owner.as_ref().map(ToString::to_string).unwrap_or_default();
        let property = &claimed.property;
        let line = match fate {
            Fate::Moves => format!("{owner}: would be transferred to cluster {to}"),
            Fate::Moved => format!("{owner}: belongs to the new cluster"),
            Fate::Others => format!("{owner}: stays, it does not belong to cluster {}", args.from),
            Fate::Unreadable => "stays, the claim cannot be read".to_owned(),
            Fate::Announced(by) => format!("{owner}: stays, {by} is about to claim the property"),
        };
        self.text.push_str(&format!("{path} {property}: {line}\n"));
        match fate {
            Fate::Moves => self.moving += 1,
            Fate::Moved => self.moved += 1,
            Fate::Others | Fate::Unreadable => self.stay += 1,
            Fate::Announced(_) => {
                self.stay += 1;
                self.hindered += 1;
            }
        }
    }

    fn sum_up(self, args: &Args) -> ExitCode {
        let Tally { text, moving, moved, stay, hindered } = self;
        let code = if hindered == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) };
        let code = terminal::print("claims", &text, code);
        let counts = format!("{} claims belong to the new cluster, {stay} to others", moving + moved);
        terminal::say(match (args.apply, moving) {
            (true, _) => counts,
            (false, 0) => format!("{counts}; none can be transferred from cluster {}", args.from),
            (false, _) => format!(
                "{moving} claims would be transferred, {moved} belong to the new cluster, {stay} to others; nothing \
                 was written: transfer them with --apply"
            ),
        });
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::claim::{self, MetadataChanges};
    use crate::store::fake::{Counting, FakeStore, Operation};

    fn owner(uid: &str, cluster: &str) -> Owner {
        Owner { uid: uid.into(), cluster: cluster.into(), namespace: "db".into(), name: format!("push-{uid}") }
    }

    fn set(changes: MetadataChanges) -> CustomMetadata {
        changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn path() -> RemotePath {
        RemotePath::parse(Some("secret"), "platform-data/postgres/shop").unwrap()
    }

    /// Somebody takes the property, or announces it, before request `k`, for every `k`: others'
    /// claims are never overwritten.
    #[tokio::test]
    async fn a_claim_that_somebody_else_takes_or_announces_meanwhile_is_left_to_them() {
        let west = owner("2", "west");
        let theirs = [
            claim::confirm(["password"], &west),
            claim::intend(&CustomMetadata::new(), ["password"], &west, &Default::default()),
        ];
        for (counting, theirs) in
            [Counting::Refused, Counting::Offered].into_iter().flat_map(|c| theirs.clone().map(|t| (c, t)))
        {
            for crossing in 0..6 {
                let store = FakeStore::new().with_counting(counting);
                store.put_metadata(&path(), set(claim::confirm(["password", "username"], &owner("1", "lost"))));
                let (mut seen, changes) = (0, theirs.clone());
                store.before_each(move |store, request| {
                    let announced = store.peek(&path()).custom_metadata.keys().any(|key| key.contains("transfer-"));
                    // A claimant that follows the protocol takes nothing that somebody else
                    // announced.
                    if seen == crossing && request.operation != Operation::Metadata && !announced {
                        let mut metadata = store.peek(&path()).custom_metadata;
                        metadata.extend(set(changes.clone()));
                        store.put_metadata(&path(), metadata);
                    }
                    seen += 1;
                    None
                });
                let mover = mover();
                let handover = Handover { from: "lost", to: "new", mover: &mover };
                let fates = transfer(&store, &path(), &handover).await.unwrap();
                store.before_each(|_, _| None);
                let metadata = store.peek(&path()).custom_metadata;
                assert_eq!(handover.fates(&metadata), fates);
                assert_eq!(fates[1].1, Fate::Moved, "nobody wanted the other one");
                let intact = set(theirs.clone()).iter().all(|(key, value)| metadata.get(key) == Some(value));
                let met = metadata.values().any(|text| text.contains("cluster=west"));
                assert!(intact || !met, "{counting:?}, crossed at {crossing}: {metadata:?}");
                assert!(!metadata.keys().any(|key| key.contains("transfer-")), "nothing is left announced");
            }
        }
    }
}
