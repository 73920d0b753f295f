//! A leader whose Lease cannot be renewed any more: it writes nothing from then on, and another
//! leads.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use waypost::api::PushSecret;
use waypost_e2e::lab::{CONTROLLER_ACCOUNT, ControllerOptions, Lab};
use waypost_e2e::wait;

use crate::cut::{self, Origin};
use crate::stage::{LATER, Stage, start_controller_with};

/// A leader renews for this long before it gives up.
const RENEWS: Duration = Duration::from_secs(10);
/// A request that was under way when it gave up has come to its end by then.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// Then the process ends, though its collector of traces takes nothing.
const ENDS: Duration = Duration::from_secs(40);

/// The first leader's way to the API server.
#[derive(Default)]
struct Way {
    /// Whether requests for a Lease are answered no more.
    is_cut: AtomicBool,
    /// When it last changed anything else.
    changed: Mutex<Option<Instant>>,
}

impl Way {
    fn last_change(&self) -> Option<Instant> {
        *self.changed.lock()
    }
}

async fn pass_on(
    State((way, origin)): State<(Arc<Way>, Arc<Origin>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path().contains("/leases") {
        if way.is_cut.load(Ordering::SeqCst) {
            return pending().await;
        }
    } else if method != Method::GET {
        *way.changed.lock() = Some(Instant::now());
    }
    let Ok((status, headers, body)) = origin.pass_on(method, &uri, headers, body).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    (status, headers, Body::from_stream(body)).into_response()
}

/// Lets the controller's account elect in this test's namespace.
async fn permit(stage: &Stage) -> anyhow::Result<()> {
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "elects" },
        "rules": [{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"] }] });
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "elects" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "elects" },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }] });
    let params = PatchParams::apply("platform");
    stage.api::<Role>(&stage.producer).patch("elects", &params, &Patch::Apply(role)).await?;
    stage.api::<RoleBinding>(&stage.producer).patch("elects", &params, &Patch::Apply(binding)).await?;
    Ok(())
}

#[tokio::test]
async fn f47_a_leader_that_loses_its_lease_writes_nothing_more_and_another_goes_on() -> anyhow::Result<()> {
    let (lab, stage) = (Lab::shared().await?, Stage::new("lse").await?);
    let store = stage.class_store().await?;
    permit(&stage).await?;
    let way = Arc::new(Way::default());
    let kubeconfig = cut::kubeconfig_through(lab, &stage.word, |origin| {
        axum::Router::new().fallback(pass_on).with_state((way.clone(), Arc::new(origin)))
    })
    .await?;
    // It accepts no connection: whoever waits for it waits as long as it is willing to.
    let collector = TcpListener::bind("127.0.0.1:0").await?;
    let flags = [
        format!("--controller-class={}", stage.word),
        "--serve-unclassified=false".to_owned(),
        "--leader-elect=true".to_owned(),
        format!("--leader-election-namespace={}", stage.producer),
    ];
    let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), kubeconfig)
        .arg("--log-format=text")
        .env("NO_COLOR", "1")
        .arg(format!("--otlp-endpoint=http://{}", collector.local_addr()?));
    let first = lab.start_controller(&flags.iter().fold(options, |options, flag| options.arg(flag)))?;
    first.wait_ready().await?;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let second = start_controller_with(lab, &flags).await?;

    stage.secret(&stage.producer, "source", &[("password", "0")]).await?;
    let refs = json!({ "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": store }] });
    stage.push("push", "source", &[("password", "password")], refs).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    ensure!(way.last_change().is_some() && second.metric("waypost_leading", &[]).await? == 0.0, "the second one leads");

    let (mut value, began) = (0, Instant::now());
    way.is_cut.store(true, Ordering::SeqCst);
    // There is something to write all the time.
    let ended = first.ended(ENDS);
    tokio::pin!(ended);
    let status = loop {
        value += 1;
        stage.secret(&stage.producer, "source", &[("password", &value.to_string())]).await?;
        tokio::select! {
            status = &mut ended => break status?,
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
    };
    ensure!(status.code() == Some(1), "it ended with {status}: {}", first.log()?);
    let wrote_for = way.last_change().map(|at| at.duration_since(began)).unwrap_or_default();
    ensure!(wrote_for > Duration::from_secs(2), "it wrote nothing while it led: {wrote_for:?}");
    ensure!(wrote_for < RENEWS + wait::stretched(UNDER_WAY), "it wrote for {wrote_for:?}");
    wait::until("the second one to write", LATER, async || {
        let stored = stage.stored().await?;
        Ok((stored["password"] == json!(value.to_string())).then_some(()))
    })
    .await
}
