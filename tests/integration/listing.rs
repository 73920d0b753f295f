//! Many paths that do not change: one listing per interval if the login has the right, else one
//! request per path, and no change is missed either way.

use std::time::{Duration, Instant};

use anyhow::bail;
use futures::future::try_join_all;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use waypost::api::{ClusterSecretStore, ExternalSecret};
use waypost_e2e::lab::{AuditLog, Bao, Mark, Request, VaultAdmin};
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};

const PATHS: usize = 40;
const WINDOW: Duration = Duration::from_secs(2);
/// Windows differ by this much from each other.
const JITTER: f64 = 0.95;
const SCAN: &str = "waypost-scan";
/// What is said of a value that is gone.
const GONE: &str = "PathNotFound";

#[tokio::test]
async fn i2_a_window_of_forty_unchanged_paths_costs_two_requests_and_no_write() -> anyhow::Result<()> {
    const WINDOWS: usize = 5;
    let fleet = Fleet::synced("forty").await?;
    let (began, mark) = fleet.between_windows().await?;
    let seen = wait::until("five listings", WINDOW * 6 * u32::try_from(WINDOWS)?, async || {
        let seen = fleet.requests(mark)?;
        if listings(&seen) < WINDOWS {
            bail!("it saw {seen:?}");
        }
        Ok(Some(seen))
    })
    .await?;
    let took = began.elapsed();
    assert!(!seen.iter().any(|request| request.is_write() || request.path.contains("/data/")), "{seen:?}");
    // The check on its own precedes its listing.
    assert!(seen.len() <= 2 * listings(&seen) + 1, "{seen:?}");
    let most = took.as_secs_f64() / (WINDOW.as_secs_f64() * JITTER) + 1.0;
    assert!(listings(&seen) as f64 <= most, "{} listings in {took:?}", listings(&seen));

    fleet.a_change_is_found(7, "two").await?;
    fleet.admin.delete_latest("secret", &fleet.path(3)).await?;
    let message = fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, "pull-3", "False", GONE).await?;
    assert!(message.contains(&fleet.path(3)), "{message}");
    fleet.admin.delete_metadata("secret", &fleet.path(4)).await?;
    let message = fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, "pull-4", "False", GONE).await?;
    assert!(message.contains(&fleet.path(4)), "{message}");
    fleet.a_change_is_found(3, "three").await?;
    fleet.disband().await
}

#[tokio::test]
async fn without_the_right_to_scan_each_path_is_checked_until_the_right_comes_with_a_new_login() -> anyhow::Result<()> {
    let fleet = Fleet::synced("noscan").await?;
    fleet.between_windows().await?;
    let rules = fleet.policy(SCAN).await?;
    fleet.admin.delete(&format!("sys/policies/acl/{SCAN}")).await?;
    let mark = fleet.audit.mark()?;
    wait::until("each path to be checked by itself", LATER, async || {
        let seen = fleet.requests(mark)?;
        let checked = (0..PATHS).filter(|number| seen.iter().any(|one| one.path.ends_with(&fleet.path(*number))));
        let checked = checked.count();
        if checked < PATHS {
            bail!("{checked} are");
        }
        Ok(Some(()))
    })
    .await?;
    fleet.a_change_is_found(9, "two").await?;
    let tried = listings(&fleet.requests(mark)?);
    assert_eq!(tried, 1, "a refusal is remembered");

    fleet.admin.put_policy(SCAN, &rules).await?;
    fleet.log_in_anew().await?;
    let mark = fleet.audit.mark()?;
    wait::until("listings again", LATER, async || Ok((listings(&fleet.requests(mark)?) >= 2).then_some(()))).await?;
    fleet.a_change_is_found(9, "three").await?;
    fleet.disband().await
}

#[tokio::test]
async fn a_login_that_may_only_scan_is_told_so_although_nothing_changed() -> anyhow::Result<()> {
    let fleet = Fleet::synced("onlyscan").await?;
    let rules = fleet.policy("waypost-combined").await?;
    let session = r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#;
    fleet.admin.put_policy("waypost-combined", session).await?;
    let consumer = &fleet.stage.consumer;
    for number in [0, PATHS - 1] {
        let name = format!("pull-{number}");
        let message = fleet.stage.ready::<ExternalSecret>(consumer, &name, "False", "SecretSyncedError").await?;
        assert!(message.contains("permission denied"), "{message}");
    }
    fleet.admin.put_policy("waypost-combined", &rules).await?;
    for number in [0, PATHS - 1] {
        fleet.stage.ready::<ExternalSecret>(consumer, &format!("pull-{number}"), "True", "SecretSynced").await?;
    }
    fleet.disband().await
}

/// Paths with one consumer each, on a server of their own that nobody else asks.
struct Fleet {
    stage: Stage,
    _bao: Bao,
    admin: VaultAdmin,
    audit: AuditLog,
    store: String,
}

impl Fleet {
    async fn synced(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        let (bao, name) = stage.own_store().await?;
        let (admin, audit) = (bao.admin()?, bao.audit());
        let fleet = Fleet { stage, _bao: bao, admin, audit, store: name };
        try_join_all((0..PATHS).map(|number| fleet.pull(number))).await?;
        for number in 0..PATHS {
            let name = format!("pull-{number}");
            fleet.stage.ready::<ExternalSecret>(&fleet.stage.consumer, &name, "True", "SecretSynced").await?;
        }
        Ok(fleet)
    }

    /// Before its server goes, which would keep the controller busy to the end of all tests.
    async fn disband(self) -> anyhow::Result<()> {
        let pulls = self.stage.api::<ExternalSecret>(&self.stage.consumer);
        pulls.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        wait::until("every pull to go", LATER, async || {
            Ok(pulls.list(&ListParams::default()).await?.items.is_empty().then_some(()))
        })
        .await
    }

    fn path(&self, number: usize) -> String {
        format!("platform-data/postgres/{}-{number}", self.stage.word)
    }

    async fn pull(&self, number: usize) -> anyhow::Result<()> {
        self.admin.write("secret", &self.path(number), &json!({ "password": "one" })).await?;
        let spec = json!({
            "refreshInterval": format!("{}s", WINDOW.as_secs()),
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": self.store },
            "data": [{ "secretKey": "password", "remoteRef": { "key": self.path(number), "property": "password" } }],
        });
        let name = format!("pull-{number}");
        self.stage.apply::<ExternalSecret>(&self.stage.consumer, &name, spec).await.map(drop)
    }

    /// An edit made straight in the store reaches its target.
    async fn a_change_is_found(&self, number: usize, password: &str) -> anyhow::Result<()> {
        self.admin.write("secret", &self.path(number), &json!({ "password": password })).await?;
        let name = format!("pull-{number}");
        self.stage.holds(&self.stage.consumer, &name, &[("password", password)]).await.map(drop)
    }

    /// Just after a listing, when all windows have begun anew.
    async fn between_windows(&self) -> anyhow::Result<(Instant, Mark)> {
        let mark = self.audit.mark()?;
        wait::until("a listing", LATER, async || Ok((listings(&self.requests(mark)?) > 0).then_some(()))).await?;
        Ok((Instant::now(), self.audit.mark()?))
    }

    /// The requests for entries and listings.
    fn requests(&self, mark: Mark) -> anyhow::Result<Vec<Request>> {
        self.audit.since_under(mark, "secret/")
    }

    async fn policy(&self, name: &str) -> anyhow::Result<String> {
        let found = self.admin.get(&format!("sys/policies/acl/{name}")).await?.unwrap_or_default();
        Ok(found["data"]["policy"].as_str().unwrap_or_default().to_owned())
    }

    /// An edit of the store ends its session and begins another.
    async fn log_in_anew(&self) -> anyhow::Result<()> {
        let stores: Api<ClusterSecretStore> = Api::all(self.stage.client.clone());
        let edit = json!({ "spec": { "refreshInterval": 600 } });
        stores.patch(&self.store, &PatchParams::default(), &Patch::Merge(edit)).await?;
        Ok(())
    }
}

fn listings(requests: &[Request]) -> usize {
    requests.iter().filter(|request| request.operation == "scan").count()
}
