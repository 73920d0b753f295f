//! The few requests to an API server that a push makes, answered from memory: get, list by one label, and merge patch with its
//! preconditions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use crate::api::PushSecret;
use crate::cluster::Cluster;
use crate::push::offers::{Others, Waiter};

/// What an [`ApiServer`] does with a request, asked before it is served.
pub type Hook = Box<dyn FnMut(&Method, &str) -> Option<Fault> + Send>;

/// What happens to a request.
#[derive(Clone, Copy)]
pub enum Fault {
    /// It is refused with 500.
    Refuse,
    /// It is carried out, and answered with 500.
    LoseReply,
}

/// Objects by URL, without the API's root.
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<String>,
    hook: Option<Hook>,
    /// Every state that an object ever had.
    history: BTreeMap<String, Vec<Value>>,
    yields: bool,
}

impl ApiServer {
    /// A client of it.
    pub fn cluster(&self) -> Cluster {
        let router = axum::Router::new().fallback(serve).with_state(self.clone());
        Cluster::new(kube::Client::new(router, "default"))
    }

    /// Creates or replaces an object.
    pub fn put(&self, url: &str, mut object: Value) {
        let mut content = self.content();
        content.version += 1;
        object["metadata"]["resourceVersion"] = json!(content.version.to_string());
        content.store(url, object);
    }

    /// Deletes an object.
    pub fn remove(&self, url: &str) {
        self.content().objects.remove(url);
    }

    /// A PushSecret as it is now.
    pub fn push_secret(&self, url: &str) -> Option<PushSecret> {
        let object = self.content().objects.get(url).cloned()?;
        Some(serde_json::from_value(object).unwrap())
    }

    /// A PushSecret as a cache has it that is so many versions behind.
    pub fn push_secret_before(&self, url: &str, behind: usize) -> Option<PushSecret> {
        let content = self.content();
        let is_there = content.objects.contains_key(url);
        if behind == 0 && !is_there {
            return None;
        }
        let history = content.history.get(url)?;
        let back = behind + usize::from(is_there);
        let object = history.get(history.len().saturating_sub(back))?;
        Some(serde_json::from_value(object.clone()).unwrap())
    }

    fn push_secrets(&self) -> Vec<PushSecret> {
        let content = self.content();
        let is_push = |(url, _): &(&String, &Value)| url.contains("/pushsecrets/");
        content.objects.iter().filter(is_push).map(|(_, push)| serde_json::from_value(push.clone()).unwrap()).collect()
    }

    /// Lets others run before and after each request, so that whoever waits for it can be stopped at either side of it.
    pub fn yield_at_each_request(&self) {
        self.content().yields = true;
    }

    /// Method and URL of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.content().requests.clone()
    }

    /// Runs `hook` before each request.
    pub fn before_each(&self, hook: Hook) {
        self.content().hook = Some(hook);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock()
    }
}

impl Content {
    fn store(&mut self, url: &str, object: Value) {
        self.history.entry(url.to_owned()).or_default().push(object.clone());
        self.objects.insert(url.to_owned(), object);
    }

    /// The objects below a URL that have the label `key=value`.
    fn list(&self, url: &str, selector: &str) -> Response {
        let (key, value) = selector.split_once('=').unwrap();
        let below = format!("{url}/");
        let items = self.objects.iter().filter(|(url, object)| {
            url.strip_prefix(&below).is_some_and(|name| !name.contains('/'))
                && object["metadata"]["labels"][key] == value
        });
        let items: Vec<&Value> = items.map(|(_, object)| object).collect();
        reply(&json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }))
    }

    fn answer(&mut self, method: &Method, url: &str, body: &[u8]) -> Response {
        let (target, subresource) = match url.strip_suffix("/status") {
            Some(target) => (target, true),
            None => (url, false),
        };
        let Some(object) = self.objects.get(target).cloned() else { return status(StatusCode::NOT_FOUND, "NotFound") };
        if method == Method::GET {
            return reply(&object);
        }
        let patch: Value = serde_json::from_slice(body).unwrap();
        let required = |field: &str| patch["metadata"].get(field).filter(|value| !value.is_null());
        for field in ["uid", "resourceVersion"] {
            if required(field).is_some_and(|wanted| *wanted != object["metadata"][field]) {
                return status(StatusCode::CONFLICT, "Conflict");
            }
        }
        let mut patched = object.clone();
        merge(&mut patched, &patch);
        if subresource {
            patched = json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": object["metadata"],
                "spec": object["spec"], "status": patched["status"] });
        }
        self.version += 1;
        patched["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let finalizers = patched["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        if finalizers == 0 && patched["metadata"].get("deletionTimestamp").is_some() {
            self.objects.remove(target);
        } else {
            self.store(target, patched.clone());
        }
        reply(&patched)
    }
}

impl Others for ApiServer {
    fn find(&self, is_meant: &dyn Fn(&PushSecret) -> bool) -> Vec<Waiter> {
        self.push_secrets().iter().filter(|push| is_meant(push)).map(Waiter::of).collect()
    }
}

async fn serve(State(server): State<ApiServer>, method: Method, uri: Uri, body: Bytes) -> Response {
    server.take_turns().await;
    let reply = server.reply(&method, &uri, &body);
    server.take_turns().await;
    reply
}

impl ApiServer {
    async fn take_turns(&self) {
        let yields = self.content().yields;
        if yields {
            tokio::task::yield_now().await;
        }
    }

    fn reply(&self, method: &Method, uri: &Uri, body: &Bytes) -> Response {
        let mut content = self.content();
        let url = uri
            .path()
            .trim_start_matches("/apis/external-secrets.io/v1alpha1")
            .trim_start_matches("/api/v1")
            .to_owned();
        content.requests.push(format!("{method} {url}"));
        let mut hook = content.hook.take();
        let fault = hook.as_mut().and_then(|hook| hook(method, &url));
        content.hook = hook;
        if let Some(selector) =
            uri.query().and_then(|query| query.split('&').find_map(|part| part.strip_prefix("labelSelector=")))
        {
            return content.list(&url, &selector.replace("%3D", "="));
        }
        match fault {
            Some(Fault::Refuse) => status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Some(Fault::LoseReply) => {
                content.answer(method, &url, body);
                status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
            None => content.answer(method, &url, body),
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().unwrap();
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

fn reply(object: &Value) -> Response {
    object.to_string().into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason,
        "code": code.as_u16() });
    (code, body.to_string()).into_response()
}
