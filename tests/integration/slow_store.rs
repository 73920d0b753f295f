//! A store that hangs, or answers late and never fails: only its own objects wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};
use waypost_e2e::lab::Lab;

use crate::bad_store::{remove_store, store_ref};
use crate::stage::{LATER, SOON, Stage, mapping};

/// As many pushes and pulls use the bad store; more than the slots of a queue.
const PAIRS: usize = 16;
/// How late the slow server answers.
const LATE: Duration = Duration::from_secs(10);
/// So short that the neighbour's path is due again and again.
const INTERVAL: &str = "1s";
/// So many pieces of a connection belong to the handshake, which is not late.
const HANDSHAKE: usize = 2;

#[tokio::test]
async fn a_store_that_swallows_connections_from_the_first_delays_no_other() -> anyhow::Result<()> {
    let neighbour = Neighbour::begin("swallownext").await?;
    let stage = Stage::new("swallow").await?;
    // Nobody accepts: the kernel takes the connections, and no byte ever comes back.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let store = format!("{}-swallows", stage.word);
    let server = format!("http://{}", listener.local_addr()?);
    crate::stage::store(Lab::shared().await?, &store, &server, None).await?;
    pairs(&stage, &store).await?;
    neighbour.is_prompt().await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn a_store_that_answers_after_ten_seconds_delays_no_other() -> anyhow::Result<()> {
    let neighbour = Neighbour::begin("latenext").await?;
    let stage = Stage::new("late").await?;
    let (bao, _) = stage.own_store().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (store, late) = (format!("{}-late", stage.word), listener.local_addr()?);
    let server = bao.address().trim_start_matches("https://").to_owned();
    let is_late = Arc::new(AtomicBool::new(true));
    tokio::spawn(relay(listener, server, is_late.clone()));
    crate::stage::store(Lab::shared().await?, &store, &format!("https://{late}"), bao.ca_pem()).await?;
    pairs(&stage, &store).await?;
    neighbour.is_prompt().await?;

    // Its paths are followed, and their check is as slow as the server.
    is_late.store(false, Ordering::Relaxed);
    for number in 0..PAIRS {
        let pull = format!("pull{number}");
        stage.holds_within(LATER, &stage.consumer, &pull, &[("password", "theirs")]).await?;
    }
    is_late.store(true, Ordering::Relaxed);
    neighbour.is_prompt().await?;
    remove_store(&stage, &store).await
}

/// Passes bytes on. While it is late, what comes to the server after the handshake is late, each by
/// as much.
async fn relay(listener: TcpListener, server: String, is_late: Arc<AtomicBool>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, is_late) = (server.clone(), is_late.clone());
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(&server).await?.into_split();
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            let (late, mut due) = unbounded_channel::<(Instant, Vec<u8>)>();
            tokio::spawn(async move {
                while let Some((at, bytes)) = due.recv().await {
                    // Not a wait for anything: the lateness is what is tried.
                    sleep_until(at).await;
                    to_server.write_all(&bytes).await?;
                }
                Ok::<(), std::io::Error>(())
            });
            let mut bytes = vec![0; 64 * 1024];
            for chunk in 0.. {
                let read = from_client.read(&mut bytes).await?;
                let is_late = chunk >= HANDSHAKE && is_late.load(Ordering::Relaxed);
                let at = Instant::now() + if is_late { LATE } else { Duration::ZERO };
                if read == 0 || late.send((at, bytes[..read].to_vec())).is_err() {
                    break;
                }
            }
            Ok::<(), std::io::Error>(())
        });
    }
}

async fn pairs(stage: &Stage, store: &str) -> anyhow::Result<()> {
    for number in 0..PAIRS {
        let path = format!("{}-{number}", stage.path());
        let data = json!([mapping("password", &path, "password")]);
        let push = json!({ "secretStoreRefs": [store_ref(store)], "data": data });
        stage.secret(&stage.producer, &format!("source{number}"), &[("password", "theirs")]).await?;
        stage.push(&format!("push{number}"), &format!("source{number}"), &[], push).await?;
        let entry = json!({ "secretKey": "password", "remoteRef": { "key": path, "property": "password" } });
        let pull: Value = json!({ "refreshInterval": INTERVAL, "secretStoreRef": store_ref(store), "data": [entry] });
        stage.pull(&format!("pull{number}"), &[], pull).await?;
    }
    Ok(())
}

/// A push and a pull through the store that everybody else uses, and a pull that only the interval
/// check tells of changes.
struct Neighbour(Stage);

impl Neighbour {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
        stage.push("push", "source", &[("password", "password")], json!({})).await?;
        stage.pull("pull", &[("PASSWORD", "password")], json!({})).await?;
        stage.holds(&stage.consumer, "pull", &[("PASSWORD", "first")]).await?;
        let neighbour = Neighbour(stage);
        neighbour.write_by_hand("first").await?;
        let stage = &neighbour.0;
        let entry =
            json!({ "secretKey": "PASSWORD", "remoteRef": { "key": neighbour.checked(), "property": "password" } });
        stage.pull("checked", &[], json!({ "refreshInterval": INTERVAL, "data": [entry] })).await?;
        stage.holds(&stage.consumer, "checked", &[("PASSWORD", "first")]).await?;
        Ok(neighbour)
    }

    /// The path that nobody announces.
    fn checked(&self) -> String {
        format!("{}-checked", self.0.path())
    }

    async fn write_by_hand(&self, value: &str) -> anyhow::Result<()> {
        self.0.vault.write("secret", &self.checked(), &json!({ "password": value })).await.map(drop)
    }

    /// What changes arrives in its time, again and again, and so does what is new.
    async fn is_prompt(&self) -> anyhow::Result<()> {
        let stage = &self.0;
        for value in ["second", "third", "fourth"] {
            self.write_by_hand(value).await?;
            stage.secret(&stage.producer, "source", &[("password", value)]).await?;
            stage.holds_within(SOON, &stage.consumer, "pull", &[("PASSWORD", value)]).await?;
            stage.holds_within(SOON, &stage.consumer, "checked", &[("PASSWORD", value)]).await?;
        }
        let new = format!("new{:04x}", rand::random::<u16>());
        stage.pull(&new, &[("PASSWORD", "password")], json!({})).await?;
        stage.holds_within(SOON, &stage.consumer, &new, &[("PASSWORD", "fourth")]).await.map(drop)
    }
}
