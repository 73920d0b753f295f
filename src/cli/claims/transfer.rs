//! `waypost claims transfer`: claims of a lost cluster become those of the one that took its place, by the protocol that the controllers
//! keep among themselves.

use std::process::ExitCode;

use thiserror::Error;

use super::{Places, begin, failed};
use crate::cli::terminal;
use crate::cluster::client::{ConnectError, connect};
use crate::cluster::{Cluster, ClusterError};
use crate::config::{ClusterChoice, parse_cluster_name};
use crate::domain::claim::{Labels, Owner};
use crate::domain::handover::{Claimed, Fate, Handover};
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState};
use crate::store::{Exchange, StoreClient, StoreError};

/// How often a path is looked at again that somebody changed meanwhile.
const MOST_TRIES: usize = 10;

/// What `waypost claims transfer` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The cluster that is gone for good, as its claims name it
    #[arg(long, value_name = "NAME")]
    from: String,
    /// The cluster that took its place, as its controller names it in claims [default: the UID of namespace kube-system]
    #[arg(long, value_name = "NAME", value_parser = parse_cluster_name)]
    to: Option<String>,
    /// The cluster where the UID of namespace kube-system is read, without --to
    #[command(flatten)]
    cluster: ClusterChoice,
    /// Move the claims; without it, only say what would move
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    places: Places,
}

/// Why nothing is moved.
#[derive(Debug, Error)]
enum NoTransfer {
    #[error("the clusters have one name: a controller with --cluster-name={0} takes its paths over by itself")]
    OneCluster(String),
    #[error("{0}; or name the new cluster with --to")]
    Connect(ConnectError),
    #[error("{0}; or name the new cluster with --to")]
    Cluster(ClusterError),
}

/// What became of the claims of all paths.
#[derive(Default)]
struct Tally {
    /// A line a claim.
    text: String,
    moved: usize,
    stay: usize,
    /// Of those that stay, the ones that should have moved.
    hindered: usize,
}

/// Says what moves, and moves it when told to.
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
            false => look(&client, &path).await.map(|labels| handover.fates(&labels)),
        };
        match fates {
            Ok(fates) => fates.iter().for_each(|(claimed, fate)| tally.tell(&path, claimed, fate, args, &to)),
            Err(error) => {
                terminal::print("claims", &tally.text, ExitCode::SUCCESS);
                return failed(&error);
            }
        }
    }
    tally.sum_up(args.apply)
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

/// It belongs to no cluster, so that every controller waits for it like for another cluster's claimant.
fn mover() -> Owner {
    Owner {
        uid: format!("transfer-{:016x}", rand::random::<u64>()),
        cluster: "none".to_owned(),
        namespace: "none".to_owned(),
        name: "waypost-claims-transfer".to_owned(),
    }
}

async fn look(client: &dyn StoreClient, path: &RemotePath) -> Result<Labels, StoreError> {
    Ok(client.metadata(path).await?.map(|metadata| metadata.custom_metadata).unwrap_or_default())
}

/// Moves the claims of one entry. Where the server counts changes of labels that is one step; elsewhere it is announced, looked at
/// again, and looked at once more.
async fn transfer(
    client: &dyn StoreClient,
    path: &RemotePath,
    handover: &Handover<'_>,
) -> Result<Vec<(Claimed, Fate)>, StoreError> {
    for _ in 0..MOST_TRIES {
        let labels = look(client, path).await?;
        let changes = handover.changes(&labels);
        if changes.is_empty() {
            return Ok(handover.fates(&labels));
        }
        let seen = Entry { state: EntryState::Empty, custom_metadata: labels.clone() };
        match client.exchange_labels(path, &seen, &changes).await? {
            Exchange::Done | Exchange::Crossed => {}
            Exchange::Unavailable => announced(client, path, handover, &labels).await?,
        }
    }
    Err(StoreError::CasMismatch { path: path.to_string() })
}

/// Whoever comes after the announcement waits for it; whoever came before is seen by the look that follows it.
async fn announced(
    client: &dyn StoreClient,
    path: &RemotePath,
    handover: &Handover<'_>,
    labels: &Labels,
) -> Result<(), StoreError> {
    client.patch_metadata(path, &handover.announcement(labels)).await?;
    let changes = handover.changes(&look(client, path).await?);
    client.patch_metadata(path, &changes).await
}

impl Tally {
    fn tell(&mut self, path: &RemotePath, claimed: &Claimed, fate: &Fate, args: &Args, to: &str) {
        let owner = claimed.owner.as_ref().map(ToString::to_string).unwrap_or_default();
        let property = &claimed.property;
        let line = match fate {
            Fate::Moves => format!("{owner}: would be of cluster {to}"),
            Fate::Moved => format!("{owner}: it is that cluster's"),
            Fate::Others => format!("{owner}: stays, it is not of cluster {}", args.from),
            Fate::Unreadable => "stays, the claim cannot be read".to_owned(),
            Fate::Announced(by) => format!("{owner}: stays, {by} is about to claim the property"),
        };
        self.text.push_str(&format!("{path} {property}: {line}\n"));
        match fate {
            Fate::Moves | Fate::Moved => self.moved += 1,
            Fate::Others | Fate::Unreadable => self.stay += 1,
            Fate::Announced(_) => {
                self.stay += 1;
                self.hindered += 1;
            }
        }
    }

    fn sum_up(self, applied: bool) -> ExitCode {
        let Tally { text, moved, stay, hindered } = self;
        let code = if hindered == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) };
        let code = terminal::print("claims", &text, code);
        terminal::say(match applied {
            true => format!("{moved} of the new cluster, {stay} of others"),
            false => format!(
                "{moved} of the new cluster then, {stay} of others; nothing was written: move them with --apply"
            ),
        });
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::claim::{self, LabelChanges};
    use crate::store::fake::{Counting, FakeStore, Operation};

    fn owner(uid: &str, cluster: &str) -> Owner {
        Owner { uid: uid.into(), cluster: cluster.into(), namespace: "db".into(), name: format!("push-{uid}") }
    }

    fn set(changes: LabelChanges) -> Labels {
        changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn path() -> RemotePath {
        RemotePath::parse(Some("secret"), "platform-data/postgres/shop").unwrap()
    }

    /// Somebody takes the property, or announces it, before request `k`, for every `k`: what others have is never written over.
    #[tokio::test]
    async fn a_claim_that_somebody_else_takes_or_announces_meanwhile_is_left_to_them() {
        let west = owner("2", "west");
        let theirs = [
            claim::confirm(["password"], &west),
            claim::intend(&Labels::new(), ["password"], &west, &Default::default()),
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
                    // Whoever keeps the protocol takes nothing that somebody else announced.
                    if seen == crossing && request.operation != Operation::Metadata && !announced {
                        let mut labels = store.peek(&path()).custom_metadata;
                        labels.extend(set(changes.clone()));
                        store.put_metadata(&path(), labels);
                    }
                    seen += 1;
                    None
                });
                let mover = mover();
                let handover = Handover { from: "lost", to: "new", mover: &mover };
                let fates = transfer(&store, &path(), &handover).await.unwrap();
                store.before_each(|_, _| None);
                let labels = store.peek(&path()).custom_metadata;
                assert_eq!(handover.fates(&labels), fates);
                assert_eq!(fates[1].1, Fate::Moved, "nobody wanted the other one");
                let intact = set(theirs.clone()).iter().all(|(key, value)| labels.get(key) == Some(value));
                let met = labels.values().any(|text| text.contains("cluster=west"));
                assert!(intact || !met, "{counting:?}, crossed at {crossing}: {labels:?}");
                assert!(!labels.keys().any(|key| key.contains("transfer-")), "nothing is left announced");
            }
        }
    }
}
