//! Lost watches: objects that are deleted while a watch is lost are forgotten when it lists again,
//! and a watch whose start the API server keeps denying is listed again.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use anyhow::bail;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use waypost::api::condition::{self, PROPAGATED};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::{Controller, ControllerOptions, Lab, Signal};
use waypost_e2e::wait;

use crate::cut::{self, Origin};
use crate::stage::{LATER, Stage};

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

/// A way to the API server on which the watches of single resources can be lost.
#[derive(Default)]
struct Ways {
    ways: Mutex<HashMap<String, Way>>,
    changed: Notify,
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
    play.no_series(&format!(r#"name="{}""#, play.store)).await
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
async fn f10_what_is_deleted_while_the_controller_stands_still_leaves_nothing_behind() -> anyhow::Result<()> {
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
