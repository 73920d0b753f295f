//! Servers whose requests are counted together, and that hear no more of a subject after its k-th
//! change: what a program has done when it is killed between two requests, wherever those go.

use std::collections::HashMap;
use std::fs;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::Stream;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use waypost_e2e::lab::{CONTROLLER_ACCOUNT, Lab};

/// With this and [`DIGITS`] digits a subject's name begins, so that requests about it are told from
/// others.
const SUBJECT: &str = "subject-";
const DIGITS: usize = 4;
/// These belong to a connection, not to a request or a reply.
const HOPS: [header::HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING];

/// What becomes of a subject's last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The server never hears of it.
    Unsent,
    /// The server makes it, and its reply is lost.
    Unanswered,
}

/// Who is cut off when.
#[derive(Default)]
pub struct Cut {
    subjects: Mutex<HashMap<String, Progress>>,
}

struct Progress {
    /// Changes that may still be made, the last included.
    left: usize,
    last: Last,
    /// Whether the last has come to its end.
    over: bool,
}

/// What becomes of a request.
enum Fate {
    Passes,
    IsHeld,
    LosesReply,
}

struct Way {
    cut: Arc<Cut>,
    origin: Origin,
}

/// The server at the other end of a way.
pub struct Origin {
    server: String,
    client: reqwest::Client,
}

impl Origin {
    fn new(server: &str, ca_pem: Option<&str>) -> anyhow::Result<Self> {
        let ca = reqwest::Certificate::from_pem_bundle(ca_pem.unwrap_or_default().as_bytes())?;
        let client = reqwest::Client::builder().tls_certs_only(ca).no_proxy().build()?;
        Ok(Origin { server: server.to_owned(), client })
    }

    /// Asks the server, and gives its reply's status, headers and body. A watch goes on for as long
    /// as it is read.
    pub async fn pass_on(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> reqwest::Result<(StatusCode, HeaderMap, impl Stream<Item = reqwest::Result<Bytes>> + use<>)> {
        HOPS.iter().for_each(|hop| drop(headers.remove(hop)));
        let request = self.client.request(method, format!("{}{uri}", self.server)).headers(headers).body(body);
        let mut reply = request.send().await?;
        let (status, mut headers) = (reply.status(), std::mem::take(reply.headers_mut()));
        HOPS.iter().for_each(|hop| drop(headers.remove(hop)));
        Ok((status, headers, reply.bytes_stream()))
    }
}

/// What `router` makes of the way to a server, as long as the test's runtime runs; gives its address.
pub async fn way_to(
    server: &str,
    ca_pem: Option<&str>,
    router: impl FnOnce(Origin) -> axum::Router,
) -> anyhow::Result<String> {
    serve(router(Origin::new(server, ca_pem)?)).await
}

/// Serves a way as long as the test's runtime runs; gives its address.
async fn serve(router: axum::Router) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// The name of the subject with this number.
pub fn subject(number: usize) -> String {
    format!("{SUBJECT}{number:0DIGITS$}")
}

impl Cut {
    /// A way to a server, as long as the test's runtime runs; gives its address.
    pub async fn before(self: &Arc<Self>, server: &str, ca_pem: Option<&str>) -> anyhow::Result<String> {
        way_to(server, ca_pem, |origin| {
            axum::Router::new().fallback(pass_on).with_state(Arc::new(Way { cut: self.clone(), origin }))
        })
        .await
    }

    /// From now on, the subject's change number `at` (from 1) is its last.
    pub fn arm(&self, subject: &str, at: usize, last: Last) {
        self.lock().insert(subject.to_owned(), Progress { left: at, last, over: false });
    }

    /// Whether the subject has come to its last change, and that is over.
    pub fn is_off(&self, subject: &str) -> bool {
        self.lock().get(subject).is_some_and(|progress| progress.over)
    }

    /// Nobody is cut off any more.
    pub fn mend(&self) {
        self.lock().clear();
    }

    fn judge(&self, subject: Option<&str>, method: &Method) -> Fate {
        let mut subjects = self.lock();
        let Some(progress) = subject.and_then(|subject| subjects.get_mut(subject)) else { return Fate::Passes };
        let changes = ![Method::GET, Method::HEAD].contains(method) && method.as_str() != "LIST";
        if progress.left == 0 {
            return Fate::IsHeld;
        }
        if !changes {
            return Fate::Passes;
        }
        progress.left -= 1;
        match (progress.left, progress.last) {
            (1.., _) => Fate::Passes,
            (0, Last::Unanswered) => Fate::LosesReply,
            (0, Last::Unsent) => {
                progress.over = true;
                Fate::IsHeld
            }
        }
    }

    /// The server has made the subject's last change.
    fn end(&self, subject: Option<&str>) {
        let mut subjects = self.lock();
        if let Some(progress) = subject.and_then(|subject| subjects.get_mut(subject)) {
            progress.over = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Progress>> {
        self.subjects.lock()
    }
}

async fn pass_on(State(way): State<Arc<Way>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    // An Event names its object in its body alone.
    let subject = subject_in(uri.path()).or_else(|| subject_in(&String::from_utf8_lossy(&body)));
    let fate = way.cut.judge(subject.as_deref(), &method);
    if let Fate::IsHeld = fate {
        return pending().await;
    }
    let sent = way.origin.pass_on(method, &uri, headers, body).await;
    if let Fate::LosesReply = fate {
        way.cut.end(subject.as_deref());
        return pending().await;
    }
    let Ok((status, headers, body)) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    (status, headers, Body::from_stream(body)).into_response()
}

fn subject_in(text: &str) -> Option<String> {
    let start = text.find(SUBJECT)?;
    let name = text.get(start..start + SUBJECT.len() + DIGITS)?;
    name[SUBJECT.len()..].bytes().all(|byte| byte.is_ascii_digit()).then(|| name.to_owned())
}

/// A kubeconfig of the controller's that leads through `cut`.
pub async fn kubeconfig(lab: &Lab, cut: &Arc<Cut>, word: &str) -> anyhow::Result<PathBuf> {
    kubeconfig_through(lab, word, |origin| {
        axum::Router::new().fallback(pass_on).with_state(Arc::new(Way { cut: cut.clone(), origin }))
    })
    .await
}

/// A kubeconfig of the controller's that leads through what `router` makes of the way to the API
/// server.
pub async fn kubeconfig_through(
    lab: &Lab,
    word: &str,
    router: impl FnOnce(Origin) -> axum::Router,
) -> anyhow::Result<PathBuf> {
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let mut config: Value = serde_json::from_slice(&fs::read(lab.kubeconfig_for(namespace, account).await?)?)?;
    let cluster = &mut config["clusters"][0]["cluster"];
    let ca = STANDARD.decode(cluster["certificate-authority-data"].as_str().context("a CA")?)?;
    let server = cluster["server"].as_str().context("a server")?;
    *cluster = json!({ "server": way_to(server, Some(std::str::from_utf8(&ca)?), router).await? });
    let path = lab.folder().join(format!("{word}.kubeconfig"));
    fs::write(&path, config.to_string())?;
    Ok(path)
}
