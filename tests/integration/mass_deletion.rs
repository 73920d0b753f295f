//! Values that disappear from a store: a few targets are deleted with them, many at once wait for a
//! person.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::bad_store::store_ref;
use crate::stage::{LATER, SOON, Stage, condition, mapping, store};

const TARGETS: usize = 10;
const BLOCKED: &str = "MassDeletionBlocked";
/// What a loss waits for others, with what it takes to find it and to carry it out.
const LOOKED_AROUND: Duration = Duration::from_secs(30);

#[tokio::test]
async fn i3_over_the_bound_no_target_goes_and_the_condition_says_what_to_do() -> anyhow::Result<()> {
    let fleet = Fleet::synced("massstop").await?;
    fleet.vanish(0..8).await?;
    fleet.all_are_blocked(0..8).await?;
    let message = fleet.says(0).await?["message"].as_str().unwrap_or_default().to_owned();
    let command = format!("kubectl annotate clustersecretstore {} waypost.io/allow-mass-deletion=", fleet.store);
    for part in [&format!("8 of {TARGETS} targets"), &format!("ClusterSecretStore {}", fleet.store), &command] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(fleet.standing().await?, (0..TARGETS).collect::<Vec<_>>());
    // Somebody deletes a resource: that is no absence in the store, and its target goes.
    fleet.stage.delete::<ExternalSecret>(&fleet.stage.consumer, "pull-9").await?;
    fleet.stands_only(0..9).await
}

#[tokio::test]
async fn i3_below_the_bound_targets_go() -> anyhow::Result<()> {
    let fleet = Fleet::synced("massfew").await?;
    fleet.vanish(0..5).await?;
    fleet.stands_only(5..TARGETS).await?;
    for number in 0..5 {
        let name = format!("pull-{number}");
        fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, &name, "True", "SecretDeleted").await?;
    }
    // The sixth within the hour is one too many.
    fleet.vanish(5..6).await?;
    fleet.all_are_blocked(5..6).await
}

#[tokio::test]
async fn i3_values_that_return_open_the_latch_by_themselves() -> anyhow::Result<()> {
    let fleet = Fleet::synced("massback").await?;
    fleet.vanish(0..8).await?;
    fleet.all_are_blocked(0..8).await?;
    fleet.write(0..8).await?;
    for number in 0..8 {
        let name = format!("pull-{number}");
        fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, &name, "True", "SecretSynced").await?;
    }
    assert_eq!(fleet.standing().await?, (0..TARGETS).collect::<Vec<_>>());
    fleet.vanish(9..TARGETS).await?;
    fleet.stands_only(0..9).await
}

#[tokio::test]
async fn i3_an_annotation_of_the_store_lets_what_waits_through() -> anyhow::Result<()> {
    let fleet = Fleet::synced("massallow").await?;
    fleet.vanish(0..8).await?;
    fleet.all_are_blocked(0..8).await?;
    let stores: Api<ClusterSecretStore> = Api::all(fleet.stage.client.clone());
    let allow = json!({ "metadata": { "annotations": { "waypost.io/allow-mass-deletion": "1764045000" } } });
    stores.patch(&fleet.store, &PatchParams::default(), &Patch::Merge(allow)).await?;
    fleet.stands_only(8..TARGETS).await
}

#[tokio::test]
async fn i3_what_a_push_of_ours_removes_goes_at_once_however_much_it_is() -> anyhow::Result<()> {
    let fleet = Fleet::new("masspush").await?;
    fleet.stage.secret(&fleet.stage.producer, "source", &[("password", "one")]).await?;
    let data: Vec<Value> = (0..TARGETS).map(|number| mapping("password", &fleet.path(number), "password")).collect();
    let push = json!({ "secretStoreRefs": [store_ref(&fleet.store)], "deletionPolicy": "Delete", "data": data });
    fleet.stage.push("push", "source", &[], push).await?;
    fleet.stage.ready::<PushSecret>(&fleet.stage.producer, "push", "True", "Synced").await?;
    // So long that nothing but the push's own word tells of the removal.
    fleet.pull("24h", &[]).await?;
    fleet.stage.delete::<PushSecret>(&fleet.stage.producer, "push").await?;
    fleet.stands_only(0..0).await?;
    for number in 0..TARGETS {
        let name = format!("pull-{number}");
        fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, &name, "True", "SecretDeleted").await?;
        let pull = serde_json::to_value(fleet.stage.api::<ExternalSecret>(&fleet.stage.consumer).get(&name).await?)?;
        assert_eq!(pull["status"]["paths"][0]["message"], "a PushSecret removed it", "{pull}");
    }
    Ok(())
}

#[tokio::test]
async fn i3_single_keys_are_bounded_like_whole_targets() -> anyhow::Result<()> {
    let fleet = Fleet::new("masskeys").await?;
    fleet.write(0..TARGETS).await?;
    let kept = format!("{}-kept", fleet.stage.path());
    fleet.stage.vault.write("secret", &kept, &json!({ "username": "kept" })).await?;
    let kept = json!({ "secretKey": "username", "remoteRef": { "key": kept, "property": "username" } });
    fleet.pull("2s", &[kept]).await?;
    let (consumer, keys) = (&fleet.stage.consumer, [("username", "kept"), ("password", "one")]);
    fleet.vanish(0..1).await?;
    fleet.stage.holds_within(LOOKED_AROUND, consumer, "pull-0", &keys[..1]).await?;
    fleet.vanish(1..8).await?;
    fleet.all_are_held_back(1..8, 8).await?;
    for number in 1..8 {
        fleet.stage.holds(consumer, &format!("pull-{number}"), &keys).await?;
    }
    Ok(())
}

#[tokio::test]
async fn i3_a_latch_of_one_store_is_no_other_s() -> anyhow::Result<()> {
    let (fleet, other) = tokio::try_join!(Fleet::synced("massone"), Fleet::synced("massother"))?;
    fleet.vanish(0..8).await?;
    fleet.all_are_blocked(0..8).await?;
    other.vanish(0..2).await?;
    other.stands_only(2..TARGETS).await
}

#[tokio::test]
async fn i3_a_latch_stays_closed_over_a_restart() -> anyhow::Result<()> {
    let start = async |stage: &Stage| anyhow::Ok(Arc::new(stage.class_controller(&[]).await?));
    let stage = Stage::new("massagain").await?;
    let mut fleet = Fleet { store: stage.class_store().await?, stage };
    fleet.stage.controller = start(&fleet.stage).await?;
    fleet.write(0..TARGETS).await?;
    fleet.pull("2s", &[]).await?;
    fleet.vanish(0..8).await?;
    fleet.all_are_blocked(0..8).await?;
    fleet.stage.controller.sigterm(SOON).await?;
    // So few would go by themselves, had nothing been before.
    fleet.write(0..5).await?;
    fleet.stage.controller = start(&fleet.stage).await?;
    for number in 0..5 {
        let name = format!("pull-{number}");
        fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, &name, "True", "SecretSynced").await?;
    }
    for number in 5..8 {
        wait::until(&format!("pull-{number} to wait with two others"), LATER, async || {
            let ready = fleet.says(number).await?;
            let message = ready["message"].as_str().unwrap_or_default();
            ensure!(ready["reason"] == BLOCKED && message.contains("values of 3 of 10 targets"), "it says {ready}");
            Ok(Some(()))
        })
        .await?;
    }
    assert_eq!(fleet.standing().await?, (0..TARGETS).collect::<Vec<_>>());
    fleet.write(5..8).await?;
    fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, "pull-7", "True", "SecretSynced").await?;
    fleet.stage.controller.sigterm(SOON).await.map(drop)
}

#[tokio::test]
async fn i3_what_a_push_removed_while_nobody_followed_goes_at_once_however_much_it_is() -> anyhow::Result<()> {
    let stage = Stage::new("massaway").await?;
    let fleet = Fleet { store: stage.class_store().await?, stage };
    // The shared controller pushes, and this test's own one pulls.
    let own = fleet.stage.class_controller(&[]).await?;
    fleet.stage.secret(&fleet.stage.producer, "source", &[("password", "one")]).await?;
    let data: Vec<Value> = (0..TARGETS).map(|number| mapping("password", &fleet.path(number), "password")).collect();
    fleet.stage.push("push", "source", &[], json!({ "deletionPolicy": "Delete", "data": data })).await?;
    fleet.stage.ready::<PushSecret>(&fleet.stage.producer, "push", "True", "Synced").await?;
    fleet.pull("24h", &[]).await?;
    own.sigterm(SOON).await?;

    fleet.stage.delete::<PushSecret>(&fleet.stage.producer, "push").await?;
    wait::until("the PushSecret to go, and what it pushed with it", LATER, async || {
        Ok(fleet.stage.api::<PushSecret>(&fleet.stage.producer).get_opt("push").await?.is_none().then_some(()))
    })
    .await?;
    let own = fleet.stage.class_controller(&[]).await?;
    fleet.stands_only(0..0).await?;
    for number in 0..TARGETS {
        let name = format!("pull-{number}");
        fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, &name, "True", "SecretDeleted").await?;
    }
    own.sigterm(SOON).await.map(drop)
}

/// Targets with deletionPolicy Delete, each of a path of its own, through a store of their own.
struct Fleet {
    stage: Stage,
    store: String,
}

impl Fleet {
    async fn synced(test: &str) -> anyhow::Result<Self> {
        let fleet = Fleet::new(test).await?;
        fleet.write(0..TARGETS).await?;
        fleet.pull("2s", &[]).await?;
        Ok(fleet)
    }

    /// A store of the test's own, and no targets yet.
    async fn new(test: &str) -> anyhow::Result<Self> {
        let (stage, lab) = (Stage::new(test).await?, Lab::shared().await?);
        let name = format!("store-{}", stage.word);
        store(lab, &name, lab.vault_addr(), lab.vault_ca_pem()).await?;
        Ok(Fleet { stage, store: name })
    }

    fn path(&self, number: usize) -> String {
        format!("{}-{number}", self.stage.path())
    }

    /// One target for each number, which has `more` entries besides its own.
    async fn pull(&self, interval: &str, more: &[Value]) -> anyhow::Result<()> {
        try_join_all((0..TARGETS).map(async |number| {
            let entry =
                json!({ "secretKey": "password", "remoteRef": { "key": self.path(number), "property": "password" } });
            let entries = [std::slice::from_ref(&entry), more].concat();
            let spec = json!({
                "refreshInterval": interval,
                "secretStoreRef": store_ref(&self.store),
                "target": { "deletionPolicy": "Delete" },
                "data": entries,
            });
            let name = format!("pull-{number}");
            self.stage.apply::<ExternalSecret>(&self.stage.consumer, &name, spec).await?;
            self.stage.ready::<ExternalSecret>(&self.stage.consumer, &name, "True", "SecretSynced").await
        }))
        .await
        .map(drop)
    }

    async fn write(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let value = json!({ "password": "one" });
        let writes = numbers.map(async |number| self.stage.vault.write("secret", &self.path(number), &value).await);
        try_join_all(writes).await.map(drop)
    }

    /// Somebody deletes values straight in the store.
    async fn vanish(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let deletions = numbers.map(async |number| self.stage.vault.delete_latest("secret", &self.path(number)).await);
        try_join_all(deletions).await.map(drop)
    }

    async fn says(&self, number: usize) -> anyhow::Result<Value> {
        let pulls = self.stage.api::<ExternalSecret>(&self.stage.consumer);
        let pull = serde_json::to_value(pulls.get(&format!("pull-{number}")).await?)?;
        Ok(condition(&pull).cloned().unwrap_or_default())
    }

    /// All of them say so, and how many they are with those that are gone.
    async fn all_are_blocked(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let gone = TARGETS - self.standing().await?.len();
        let losing = gone + numbers.len();
        self.all_are_held_back(numbers, losing).await
    }

    async fn all_are_held_back(&self, numbers: std::ops::Range<usize>, losing: usize) -> anyhow::Result<()> {
        let count = format!("values of {losing} of {TARGETS} targets");
        for number in numbers {
            wait::until(&format!("pull-{number} to be held back"), LATER, async || {
                let ready = self.says(number).await?;
                ensure!(ready["status"] == "False" && ready["reason"] == BLOCKED, "it says {ready}");
                let message = ready["message"].as_str().unwrap_or_default();
                Ok(message.contains(&count).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// The numbers of the targets that are there.
    async fn standing(&self) -> anyhow::Result<Vec<usize>> {
        let secrets = self.stage.api::<Secret>(&self.stage.consumer).list(&ListParams::default()).await?;
        let numbers =
            secrets.iter().filter_map(|secret| secret.metadata.name.as_deref()?.strip_prefix("pull-")?.parse().ok());
        let mut numbers: Vec<usize> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    async fn stands_only(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let wanted: Vec<usize> = numbers.collect();
        wait::until(&format!("only the targets {wanted:?} to stand"), LOOKED_AROUND, async || {
            let standing = self.standing().await?;
            ensure!(standing == wanted, "{standing:?} do");
            Ok(Some(()))
        })
        .await
    }
}
