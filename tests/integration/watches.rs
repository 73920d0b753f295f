//! Lost watches: objects that are deleted while a watch is lost are forgotten when it lists again,
//! and a watch whose start the API server keeps denying is listed again.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use waypost::api::condition::{self, PROPAGATED};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::{Controller, ControllerOptions, Lab, Signal, Transport, cluster_secret_store};
use waypost_e2e::wait;

use crate::bad_store::store_ref;
use crate::cut::{self, Origin};
use crate::stage::{LATER, Stage, apply_store};

/// What becomes of the watch of one resource.
enum Way {
    /// It works; the token ends the streams that are open.
    Open(CancellationToken),
    /// Nothing is answered.
    Lost,
    /// It goes on from no version that is known: a start is answered with this, until the resource
    /// is listed.
    Refused(Refusal),
}

#[derive(Clone, Copy)]
enum Refusal {
    /// As of a version that was compacted: told in the stream.
    Expired,
    /// As of a version that is still to come, after etcd was restored: told by status.
    TooLarge,
}

/// A way to the API server on which the watches of single resources can be lost, and single requests
/// are answered by somebody else.
#[derive(Default)]
struct Ways {
    ways: Mutex<HashMap<String, Way>>,
    changed: Notify,
    intruder: Mutex<Option<Intruder>>,
}

/// What a proxy on the way says by itself, once: no API server answers in plain text.
struct Intruder {
    method: Method,
    /// How the path ends.
    path: &'static str,
    says: StatusCode,
}

impl Ways {
    /// Ends the watch of a resource, and answers no other.
    fn lose(&self, resource: &str) {
        if let Some(Way::Open(streams)) = self.lock().insert(resource.to_owned(), Way::Lost) {
            streams.cancel();
        }
    }

    /// Answers again, but lets no watch go on from where it was.
    fn mend(&self, resource: &str, refusal: Refusal) {
        self.lock().insert(resource.to_owned(), Way::Refused(refusal));
        self.changed.notify_waiters();
    }

    /// The next such request does not reach the API server.
    fn intrude(&self, method: Method, path: &'static str, says: StatusCode) {
        *self.intruder.lock() = Some(Intruder { method, path, says });
    }

    /// The answer of the intruder, if it is its request.
    fn intruder(&self, method: &Method, uri: &Uri) -> Option<Response> {
        let mut intruder = self.intruder.lock();
        let is_meant = |one: &mut Intruder| one.method == method && uri.path().ends_with(one.path);
        let intruder = intruder.take_if(is_meant)?;
        Some((intruder.says, "a proxy on the way says this").into_response())
    }

    /// Whether the intruder has said its word.
    fn has_intruded(&self) -> bool {
        self.intruder.lock().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Way>> {
        self.ways.lock()
    }

    /// How to answer a watch (`Some` with the token that ends its stream) or a list.
    fn judge(&self, resource: &str, is_watch: bool) -> Result<CancellationToken, Option<Refusal>> {
        let mut ways = self.lock();
        let way = ways.entry(resource.to_owned()).or_insert_with(|| Way::Open(CancellationToken::new()));
        match way {
            Way::Open(streams) => Ok(streams.clone()),
            Way::Lost => Err(None),
            Way::Refused(refusal) if is_watch => Err(Some(*refusal)),
            Way::Refused(_) => {
                let streams = CancellationToken::new();
                *way = Way::Open(streams.clone());
                Ok(streams)
            }
        }
    }
}

async fn pass_on(
    State((ways, origin)): State<(Arc<Ways>, Arc<Origin>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let resource = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let is_watch = uri.query().is_some_and(|query| query.contains("watch=true"));
    let lost = loop {
        let mut changed = pin!(ways.changed.notified());
        // Before the look, so that no change falls between.
        changed.as_mut().enable();
        match ways.judge(&resource, is_watch) {
            Ok(streams) => break streams,
            Err(Some(refusal)) => return refusal.answer(),
            Err(None) => changed.await,
        }
    };
    if let Some(answer) = ways.intruder(&method, &uri) {
        return answer;
    }
    let Ok((status, headers, body)) = origin.pass_on(method, &uri, headers, body).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let body = body.take_until(lost.cancelled_owned());
    (status, headers, Body::from_stream(body)).into_response()
}

impl Refusal {
    fn answer(self) -> Response {
        let status = |code: u16, reason: &str, message: &str| {
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
                    "message": message })
        };
        match self {
            Refusal::Expired => {
                let event = json!({ "type": "ERROR", "object": status(410, "Expired", "too old resource version") });
                (StatusCode::OK, format!("{event}\n")).into_response()
            }
            Refusal::TooLarge => {
                let answer = status(504, "Timeout", "Too large resource version");
                (StatusCode::GATEWAY_TIMEOUT, answer.to_string()).into_response()
            }
        }
    }
}

/// A controller of the test's own, with ways that can be lost, one PushSecret and one
/// ExternalSecret that are in order.
struct Play {
    stage: Stage,
    store: String,
    ways: Arc<Ways>,
    controller: Controller,
}

impl Play {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let (lab, stage) = (Lab::shared().await?, Stage::new(test).await?);
        let store = stage.class_store().await?;
        let ways = Arc::new(Ways::default());
        let kubeconfig = cut::kubeconfig_through(lab, &stage.word, |origin| {
            axum::Router::new().fallback(pass_on).with_state((ways.clone(), Arc::new(origin)))
        })
        .await?;
        let class = format!("--controller-class={}", stage.word);
        let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), kubeconfig)
            .arg("--log-format=text")
            .env("NO_COLOR", "1")
            .arg("--serve-unclassified=false")
            .arg("--leader-elect=false")
            .arg(class);
        let controller = lab.start_controller(&options)?;
        controller.wait_ready().await?;
        let play = Play { stage, store, ways, controller };
        play.stage.secret(&play.stage.producer, "source", &[("password", "first")]).await?;
        let refs = json!({ "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": play.store }] });
        play.stage.push("push", "source", &[("password", "password")], refs).await?;
        play.pull().await?;
        play.consumers(1).await?;
        Ok(play)
    }

    async fn pull(&self) -> anyhow::Result<()> {
        let store = json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": self.store } });
        self.stage.pull("pull", &[("password", "password")], store).await?;
        self.stage.ready::<ExternalSecret>(&self.stage.consumer, "pull", "True", "SecretSynced").await?;
        Ok(())
    }

    /// Waits until the PushSecret counts this many consumers, and all of them are current.
    async fn consumers(&self, total: i64) -> anyhow::Result<()> {
        let pushes = self.stage.api::<PushSecret>(&self.stage.producer);
        wait::until(&format!("{total} consumers to be counted"), LATER, async || {
            let status = pushes.get("push").await?.status.unwrap_or_default();
            let said = condition::find(&status.conditions, PROPAGATED).map(|said| said.status.as_str());
            let counted = status.paths.first().and_then(|path| path.consumers.clone()).map(|counts| counts.total);
            if (said, counted) == (Some("True"), Some(total)) {
                return Ok(Some(()));
            }
            bail!("it is {said:?}, of {counted:?}")
        })
        .await
    }

    /// The labels of the ExternalSecret's series.
    fn pull_labels(&self) -> String {
        format!(r#"namespace="{}",name="pull""#, self.stage.consumer)
    }

    /// Waits until no metric has these labels.
    async fn no_series(&self, labels: &str) -> anyhow::Result<()> {
        wait::until(&format!("no series of {labels}"), LATER, async || {
            let metrics = self.controller.metrics().await?;
            match metrics.lines().find(|line| line.contains(labels)) {
                None => Ok(Some(())),
                Some(line) => bail!("{line}"),
            }
        })
        .await
    }

    async fn delete_pull(&self) -> anyhow::Result<()> {
        self.stage.delete::<ExternalSecret>(&self.stage.consumer, "pull").await?;
        let pulls = self.stage.api::<ExternalSecret>(&self.stage.consumer);
        wait::until("it to be gone", LATER, async || Ok(pulls.get_opt("pull").await?.is_none().then_some(()))).await
    }

    async fn rotate(&self, value: &str) -> anyhow::Result<()> {
        self.stage.secret(&self.stage.producer, "source", &[("password", value)]).await.map(drop)
    }
}

#[tokio::test]
async fn f11_what_is_deleted_while_its_watch_is_lost_is_forgotten_by_the_next_list() -> anyhow::Result<()> {
    let play = Play::begin("wfl").await?;
    play.ways.lose("externalsecrets");
    play.delete_pull().await?;
    play.ways.mend("externalsecrets", Refusal::Expired);
    play.consumers(0).await?;
    play.rotate("second").await?;
    play.no_series(&play.pull_labels()).await?;
    play.consumers(0).await?;

    play.pull().await?;
    play.ways.lose("clustersecretstores");
    let stores: Api<ClusterSecretStore> = Api::all(play.stage.client.clone());
    stores.delete(&play.store, &DeleteParams::default()).await?;
    play.ways.mend("clustersecretstores", Refusal::Expired);
    play.no_series(&format!(r#"name="{}""#, play.store)).await?;
    play.stage.ready::<ExternalSecret>(&play.stage.consumer, "pull", "False", "StoreNotFound").await?;
    Ok(())
}

#[tokio::test]
async fn a_write_that_fails_once_is_made_again_although_the_cache_shows_the_former_success() -> anyhow::Result<()> {
    let play = Play::begin("wlw").await?;
    play.ways.lose("externalsecrets");
    play.ways.intrude(Method::PATCH, "/secrets/pull", StatusCode::INTERNAL_SERVER_ERROR);
    play.rotate("second").await?;
    play.stage.holds_within(LATER, &play.stage.consumer, "pull", &[("password", "second")]).await?;
    assert!(play.ways.has_intruded());
    play.stage.ready::<ExternalSecret>(&play.stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

/// Only the API server knows that an object does not exist.
#[tokio::test]
async fn a_proxy_that_says_404_for_a_source_takes_nothing_from_the_store() -> anyhow::Result<()> {
    let play = Play::begin("wpx").await?;
    let stage = &play.stage;
    let refs = json!([{ "kind": "ClusterSecretStore", "name": play.store }]);
    let more = json!({ "secretStoreRefs": refs, "deletionPolicy": "Delete" });
    stage.push("push", "source", &[("password", "password")], more).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    play.ways.intrude(Method::GET, "/secrets/source", StatusCode::NOT_FOUND);
    play.rotate("second").await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("password", "second")]).await?;
    assert!(play.ways.has_intruded());
    assert_eq!(stage.version().await?, 2, "nothing was removed in between");
    Ok(())
}

/// Passes requests on, and counts the reads of entries that have come.
async fn count_reads(
    State((reads, origin)): State<(Arc<AtomicUsize>, Arc<Origin>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method == Method::GET && uri.path().starts_with("/v1/secret/data/") {
        reads.fetch_add(1, Ordering::SeqCst);
    }
    let Ok((status, headers, body)) = origin.pass_on(method, &uri, headers, body).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    (status, headers, Body::from_stream(body)).into_response()
}

#[tokio::test]
async fn what_is_deleted_while_its_store_hangs_leaves_nothing_behind() -> anyhow::Result<()> {
    let play = Play::begin("whg").await?;
    let (stage, lab) = (&play.stage, Lab::shared().await?);
    let (bao, name) = (lab.extra_bao(Transport::Tls).await?, format!("{}-hangs", play.stage.word));
    let reads = Arc::new(AtomicUsize::new(0));
    let address = cut::way_to(bao.address(), bao.ca_pem(), |origin| {
        axum::Router::new().fallback(count_reads).with_state((reads.clone(), Arc::new(origin)))
    })
    .await?;
    let mut store = cluster_secret_store(&name, &address, None);
    store["spec"]["controller"] = json!(stage.word);
    apply_store(lab, store).await?;
    bao.admin()?.write("secret", &stage.path(), &json!({ "password": "there" })).await?;
    let through = json!({ "secretStoreRef": store_ref(&name), "target": { "name": "hangs" } });
    stage.pull("hangs", &[("password", "password")], through).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "hangs", "True", "SecretSynced").await?;
    bao.signal(Signal::Stop)?;
    let before = reads.load(Ordering::SeqCst);
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    let asked = json!({ "metadata": { "annotations": { "force-sync": "now" } } });
    pulls.patch("hangs", &PatchParams::default(), &Patch::Merge(asked)).await?;
    wait::until("its read to be under way", LATER, async || Ok((reads.load(Ordering::SeqCst) > before).then_some(())))
        .await?;
    stage.delete::<ExternalSecret>(&stage.consumer, "hangs").await?;
    bao.signal(Signal::Cont)?;
    play.no_series(&format!(r#"namespace="{}",name="hangs""#, stage.consumer)).await?;
    // The one beside it is served as before.
    play.rotate("second").await?;
    play.consumers(1).await?;
    play.no_series(&format!(r#"namespace="{}",name="hangs""#, stage.consumer)).await
}

#[tokio::test]
async fn rf7_a_watch_that_the_api_server_refuses_for_ever_lists_anew() -> anyhow::Result<()> {
    let play = Play::begin("wtl").await?;
    play.ways.lose("secrets");
    play.rotate("second").await?;
    play.ways.mend("secrets", Refusal::TooLarge);
    play.stage.holds_within(LATER, &play.stage.consumer, "pull", &[("password", "second")]).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_deleted_while_the_controller_stands_still_leaves_nothing_behind() -> anyhow::Result<()> {
    let play = Play::begin("wfs").await?;
    play.controller.signal(Signal::Stop)?;
    let secrets = play.stage.api::<Secret>(&play.stage.consumer);
    secrets.delete("pull", &DeleteParams::default()).await?;
    play.delete_pull().await?;
    play.controller.signal(Signal::Cont)?;
    play.rotate("second").await?;
    play.consumers(0).await?;
    play.no_series(&play.pull_labels()).await
}
