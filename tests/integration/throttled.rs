//! A server that limits the rate of requests: fewer are sent, users are told, and everything
//! arrives.

use std::time::{Duration, Instant};

use anyhow::ensure;
use kube::api::ListParams;
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{AuditLog, Bao, VaultAdmin};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref};
use crate::stage::{LATER, Stage, condition, mapping};

/// Pushes, and as many pulls.
const PAIRS: usize = 20;
const SAYS: &str = "limits the rate of requests: raise its quota";
/// What is in nobody's way arrives in a fraction of this, on a busy machine too.
const PROMPT: Duration = Duration::from_secs(3);
/// How long a server turns everything away.
const BLOCK: Duration = Duration::from_secs(20);
/// The product accepts no longer pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// As many requests of one store may be under way when the first is turned away.
const UNDER_WAY: usize = 16;

/// Pairs of a push and a pull through a store of a server that can be throttled.
struct Throttled {
    stage: Stage,
    /// Runs as long as this.
    _bao: Bao,
    admin: VaultAdmin,
    audit: AuditLog,
    store: String,
}

impl Throttled {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        let (bao, store) = stage.own_store().await?;
        let admin = bao.admin()?;
        let settings = json!({ "enable_rate_limit_audit_logging": true, "enable_rate_limit_response_headers": true });
        admin.post("sys/quotas/config", &settings).await?;
        let throttled = Throttled { audit: bao.audit(), stage, admin, store, _bao: bao };
        throttled.write("first").await?;
        for number in 0..PAIRS {
            throttled.pair(number).await?;
        }
        throttled.all_hold("first").await?;
        Ok(throttled)
    }

    async fn pair(&self, number: usize) -> anyhow::Result<()> {
        let (stage, path) = (&self.stage, format!("{}-{number}", self.stage.path()));
        let push = json!({
            "secretStoreRefs": [store_ref(&self.store)], "data": [mapping("password", &path, "password")],
        });
        stage.push(&format!("push{number}"), &format!("source{number}"), &[], push).await?;
        let entry = json!({ "secretKey": "password", "remoteRef": { "key": path, "property": "password" } });
        let pull = json!({ "secretStoreRef": store_ref(&self.store), "data": [entry] });
        stage.pull(&format!("pull{number}"), &[], pull).await.map(drop)
    }

    /// Changes every source at once.
    async fn write(&self, value: &str) -> anyhow::Result<()> {
        for number in 0..PAIRS {
            let source = format!("source{number}");
            self.stage.secret(&self.stage.producer, &source, &[("password", value)]).await?;
        }
        Ok(())
    }

    async fn all_hold(&self, value: &str) -> anyhow::Result<()> {
        let stage = &self.stage;
        for number in 0..PAIRS {
            let (push, pull) = (format!("push{number}"), format!("pull{number}"));
            stage.holds_within(LATER, &stage.consumer, &pull, &[("password", value)]).await?;
            stage.ready::<PushSecret>(&stage.producer, &push, "True", "Synced").await?;
            stage.ready::<ExternalSecret>(&stage.consumer, &pull, "True", "SecretSynced").await?;
        }
        Ok(())
    }

    /// At most so many requests an interval to the mount, from the next on.
    async fn limit(&self, quota: Value) -> anyhow::Result<()> {
        self.admin.post("sys/quotas/rate-limit/secret", &quota).await.map(drop)
    }

    async fn lift(&self) -> anyhow::Result<()> {
        self.admin.delete("sys/quotas/rate-limit/secret").await
    }

    /// Waits until as many pushes say that the server throttles us.
    async fn is_said_by(&self, wanted: usize) -> anyhow::Result<()> {
        let pushes = self.stage.api::<PushSecret>(&self.stage.producer);
        wait::until(&format!("{wanted} pushes to say that they are throttled"), LATER, async || {
            let mut saying = 0;
            for push in pushes.list(&ListParams::default()).await? {
                let push = serde_json::to_value(&push)?;
                let ready = condition(&push).cloned().unwrap_or_default();
                let says = ready["message"].as_str().is_some_and(|message| message.contains(SAYS));
                saying += usize::from(ready["reason"] == "StoreNotReady" && says);
            }
            ensure!(saying >= wanted, "{saying} say so");
            Ok(Some(()))
        })
        .await
    }
}

#[tokio::test]
async fn a_quota_slows_pushes_and_pulls_down_and_everything_arrives_when_it_is_lifted() -> anyhow::Result<()> {
    let throttled = Throttled::begin("quota").await?;
    let (since, mark) = (Instant::now(), throttled.audit.mark()?);
    throttled.limit(json!({ "path": "secret/", "rate": 1, "interval": "1s" })).await?;
    throttled.write("second").await?;
    throttled.is_said_by(1).await?;
    // Some get through all the time: the limit is used, not waited for.
    wait::until("ten requests to be served", LATER, async || {
        Ok((throttled.audit.since_under(mark, "secret/")?.len() >= 10).then_some(()))
    })
    .await?;
    let turned_away = throttled.audit.turned_away_since(mark)?.len();
    let most = UNDER_WAY + 3 * since.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&turned_away), "{turned_away} in {:?}", since.elapsed());

    throttled.lift().await?;
    throttled.all_hold("second").await?;
    throttled.write("third").await?;
    throttled.all_hold("third").await?;
    remove_store(&throttled.stage, &throttled.store).await
}

#[tokio::test]
async fn what_goes_through_another_store_is_not_delayed() -> anyhow::Result<()> {
    let throttled = Throttled::begin("quotanext").await?;
    let neighbour = Stage::new("quotafree").await?;
    neighbour.secret(&neighbour.producer, "source", &[("password", "first")]).await?;
    neighbour.push("push", "source", &[("password", "password")], json!({})).await?;
    neighbour.pull("pull", &[("PASSWORD", "password")], json!({})).await?;
    neighbour.holds_within(LATER, &neighbour.consumer, "pull", &[("PASSWORD", "first")]).await?;

    throttled.limit(json!({ "path": "secret/", "rate": 1, "interval": "1s" })).await?;
    throttled.write("second").await?;
    throttled.is_said_by(1).await?;
    for value in ["second", "third", "fourth"] {
        neighbour.secret(&neighbour.producer, "source", &[("password", value)]).await?;
        neighbour.holds_within(PROMPT, &neighbour.consumer, "pull", &[("PASSWORD", value)]).await?;
    }
    throttled.lift().await?;
    throttled.all_hold("second").await?;
    remove_store(&throttled.stage, &throttled.store).await
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept() -> anyhow::Result<()> {
    let throttled = Throttled::begin("retryafter").await?;
    // Whoever comes too early is not served at all for so long, and told so by Retry-After.
    // All say so within this.
    let block = wait::stretched(BLOCK).min(LONGEST_PAUSE).as_secs();
    let quota = json!({ "path": "secret/", "rate": 1, "interval": "1s", "block_interval": format!("{block}s") });
    throttled.limit(quota).await?;
    let mark = throttled.audit.mark()?;
    throttled.write("second").await?;
    throttled.is_said_by(PAIRS).await?;
    let turned_away = throttled.audit.turned_away_since(mark)?.len();
    // Those that were under way together are turned away together; the others say so without
    // asking.
    assert!((1..=UNDER_WAY).contains(&turned_away), "{turned_away} of {PAIRS} pushes were turned away");
    throttled.lift().await?;
    throttled.all_hold("second").await?;
    assert_eq!(throttled.audit.turned_away_since(mark)?.len(), turned_away);
    remove_store(&throttled.stage, &throttled.store).await
}
