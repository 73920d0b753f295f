//! A clock that is years ahead of the API server's: what is being deleted is held for the cleanup
//! deadline all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use waypost::api::PushSecret;
use waypost_e2e::lab::{ControllerOptions, Lab};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref};
use crate::cut::{self, Origin};
use crate::stage::{LATER, SOON, Stage};

/// How JSON from the API server, which has no spaces, names when a deletion was asked for.
const DELETED_AT: &str = "\"deletionTimestamp\":\"";
/// What a controller is told instead, whose clock is so far ahead.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// How many deletions were told as of long ago.
#[derive(Default)]
struct Aged(AtomicUsize);

impl Aged {
    fn tell(&self, text: &str) -> String {
        let mut parts = text.split(DELETED_AT);
        let mut told = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (_, rest) = part.split_once('"').unwrap_or_default();
            told.push_str(&format!("{DELETED_AT}{LONG_AGO}\"{rest}"));
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        told
    }
}

async fn pass_on(
    State((aged, origin)): State<(Arc<Aged>, Arc<Origin>)>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let is_meant = uri.path().contains("/pushsecrets");
    headers.remove(header::ACCEPT_ENCODING);
    let Ok((status, headers, body)) = origin.pass_on(method, &uri, headers, body).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let body = match is_meant {
        true => Body::from_stream(lines(body).map(move |lines| lines.map(|lines| aged.tell(&lines)))),
        false => Body::from_stream(body),
    };
    (status, headers, body).into_response()
}

/// A body in whole lines: each event of a watch is one, and so is the answer to any other request.
fn lines(
    body: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = reqwest::Result<String>> + Send {
    let state = (body.boxed().fuse(), Vec::new());
    stream::try_unfold(state, |(mut body, mut held)| async move {
        while let Some(chunk) = body.next().await {
            held.extend_from_slice(&chunk?);
            if let Some(end) = held.iter().rposition(|byte| *byte == b'\n') {
                let rest = held.split_off(end + 1);
                return Ok::<_, reqwest::Error>(Some((String::from_utf8_lossy(&held).into_owned(), (body, rest))));
            }
        }
        let last = String::from_utf8_lossy(&held).into_owned();
        Ok((!last.is_empty()).then(|| (last, (body, Vec::new()))))
    })
}

#[tokio::test]
async fn a_clock_that_is_years_ahead_lets_no_deleted_push_secret_go_before_the_deadline() -> anyhow::Result<()> {
    let (stage, lab, aged) = (Stage::new("clocks").await?, Lab::shared().await?, Arc::new(Aged::default()));
    let store = stage.class_store().await?;
    let kubeconfig = cut::kubeconfig_through(lab, &stage.word, |origin| {
        axum::Router::new().fallback(pass_on).with_state((aged.clone(), Arc::new(origin)))
    })
    .await?;
    // In whole seconds, as it is told.
    let deadline = Duration::from_secs(wait::stretched(SOON).as_secs());
    let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), kubeconfig)
        .arg("--serve-unclassified=false")
        .arg("--leader-elect=false")
        .arg(format!("--controller-class={}", stage.word))
        .arg(format!("--cleanup-deadline={}s", deadline.as_secs()));
    let controller = lab.start_controller(&options)?;
    controller.wait_ready().await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let more = json!({ "secretStoreRefs": [store_ref(&store)], "deletionPolicy": "Delete" });
    stage.push("push", "source", &[("password", "password")], more).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    // It may not be used any more, and nobody knows whether it ever may again.
    stage.admit(&store, json!([{ "namespaces": ["elsewhere"] }])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "NotPermitted").await?;

    let since = Instant::now();
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "CleanupPending").await?;
    ensure!(aged.0.load(Ordering::SeqCst) > 0, "the controller was told the true time");
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("it to go", LATER, async || Ok(pushes.get_opt("push").await?.is_none().then_some(()))).await?;
    ensure!(since.elapsed() >= deadline, "it was let go after {:?}", since.elapsed());
    ensure!(stage.stored().await? == json!({ "password": "one" }));
    ensure!(controller.metric("waypost_push_let_go_total", &[r#"reason="StoreRefused""#]).await? == 1.0);
    remove_store(&stage, &store).await
}
