//! Two clusters on one OpenBao, each with its own controller: the first one owns a property.

use std::sync::Arc;

use anyhow::Context;
use futures::future::try_join;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use waypost::api::{PushSecret, names};
use waypost_e2e::lab::{Controller, Lab, LabOptions, MOUNT, Storage};
use waypost_e2e::turns::{Group, Permit, Turn};
use waypost_e2e::wait;

use crate::stage::{LATER, STORE, Stage, start_controller_with, store_by_login};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

/// A cluster, and the controller that works in it.
pub struct Cluster {
    controller: Arc<Controller>,
    pub lab: Lab,
}

/// Two clusters that log in to one OpenBao, which is the east's.
pub struct Clusters {
    pub east: Cluster,
    pub west: Cluster,
}

impl Clusters {
    /// For the tests of two clusters, in turn.
    pub async fn turn() -> anyhow::Result<Turn<Self>> {
        static SHARED: Group<Clusters> = Group::empty();
        SHARED.turn(Clusters::start).await
    }

    async fn start(permit: &Permit) -> anyhow::Result<Self> {
        // No time is measured here.
        let options = || LabOptions { storage: Storage::fastest(), ..LabOptions::default() };
        let (east, west) = try_join(permit.start_lab(options()), permit.start_lab(options())).await?;
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
            east: Cluster { controller: Arc::new(eastern), lab: east },
            west: Cluster { controller: Arc::new(western), lab: west },
        })
    }

    /// A stage in each cluster; both stand for one path in the one OpenBao.
    pub async fn stages(&self, test: &str) -> anyhow::Result<(Stage, Stage)> {
        let east = Stage::on(&self.east.lab, &self.east.controller, test).await?;
        let west = Stage::on(&self.west.lab, &self.west.controller, test).await?;
        let west = Stage { vault: self.east.lab.vault_admin()?, word: east.word.clone(), ..west };
        Ok((east, west))
    }
}

#[tokio::test]
async fn kg3_of_two_clusters_the_first_wins_until_it_goes() -> anyhow::Result<()> {
    let clusters = Clusters::turn().await?;
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

/// Everything that the store says of a path: its data, and when which version and which label came
/// to be.
pub async fn entry(stage: &Stage, path: &str) -> anyhow::Result<Value> {
    let data = stage.vault.read(MOUNT, path).await?.and_then(|entry| entry.data);
    let mut entry = stage.vault.metadata(MOUNT, path).await?.context("there is no such entry")?;
    entry["data"] = data.unwrap_or_default();
    Ok(entry)
}
