//! An API server in memory, for whole reconciles in unit tests. It answers the few requests that a
//! push and a pull make, and a test decides what happens to them. Values of Secrets stay as they
//! were sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Cluster;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with 500.
    Refuse,
    /// It is carried out, and answered with 500.
    LoseReply,
    /// It is answered with 500, and carried out when [`ApiServer::arrive`] says so.
    Delay,
}

/// What decides about a request, by its method and URL, before it is served.
type Hook = Box<dyn FnMut(&Method, &str) -> Option<Fault> + Send>;

/// Objects by URL, without the API's root.
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<String>,
    hook: Option<Hook>,
    /// The next writes of URLs that contain a word run into a fault.
    faults: Vec<(&'static str, Fault)>,
    /// The requests that are still on their way.
    delayed: Vec<(Method, Uri, Bytes)>,
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
    pub fn put(&self, url: &str, object: Value) {
        self.content().store(url, object);
    }

    /// Changes an object by a merge patch, as a person does.
    pub fn edit(&self, url: &str, patch: &Value) {
        let mut object = self.get(url).unwrap();
        merge(&mut object, patch);
        self.put(url, object);
    }

    /// Deletes an object, whatever finalizers it has.
    pub fn remove(&self, url: &str) {
        self.content().objects.remove(url);
    }

    /// An object as it is now.
    pub fn get<T: DeserializeOwned>(&self, url: &str) -> Option<T> {
        self.content().objects.get(url).map(decoded)
    }

    /// An object as a cache has it that is so many versions behind.
    pub fn get_before<T: DeserializeOwned>(&self, url: &str, behind: usize) -> Option<T> {
        let content = self.content();
        let is_there = content.objects.contains_key(url);
        if behind == 0 && !is_there {
            return None;
        }
        let history = content.history.get(url)?;
        let back = behind + usize::from(is_there);
        history.get(history.len().saturating_sub(back)).map(decoded)
    }

    /// The objects of a resource, of all namespaces.
    pub fn all<T: DeserializeOwned>(&self, resource: &str) -> Vec<T> {
        let (content, part) = (self.content(), format!("/{resource}/"));
        content.objects.iter().filter(|(url, _)| url.contains(&part)).map(|(_, object)| decoded(object)).collect()
    }

    /// Lets others run before and after each request, so that whoever waits for it can be stopped
    /// at either side of it.
    pub fn yield_at_each_request(&self) {
        self.content().yields = true;
    }

    /// Runs `hook` before each request.
    pub fn before_each(&self, hook: impl FnMut(&Method, &str) -> Option<Fault> + Send + 'static) {
        self.content().hook = Some(Box::new(hook));
    }

    /// Lets the next write of a URL that contains this word run into a fault.
    pub fn fail_next_write(&self, word: &'static str, fault: Fault) {
        self.content().faults.push((word, fault));
    }

    /// The requests that are still on their way arrive. Returns whether there were some.
    pub fn arrive(&self) -> bool {
        let mut content = self.content();
        let delayed = std::mem::take(&mut content.delayed);
        for (method, uri, body) in &delayed {
            content.answer(method, &below_the_root(uri.path()), uri.query(), body);
        }
        !delayed.is_empty()
    }

    /// Drops the faults of writes that were not made.
    pub fn heal(&self) {
        self.content().faults.clear();
    }

    /// Method and URL of all requests so far, Events apart.
    pub fn requests(&self) -> Vec<String> {
        self.content().requests.clone()
    }

    /// Those that can change something.
    pub fn writes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|request| !request.starts_with("GET ")).collect()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock()
    }

    async fn take_turns(&self) {
        let yields = self.content().yields;
        if yields {
            tokio::task::yield_now().await;
        }
    }

    fn reply(&self, method: &Method, uri: &Uri, body: &Bytes) -> Response {
        let (url, mut content) = (below_the_root(uri.path()), self.content());
        content.requests.push(format!("{method} {url}"));
        match content.fault(method, &url) {
            Some(Fault::Refuse) => failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Some(Fault::LoseReply) => {
                content.answer(method, &url, uri.query(), body);
                failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
            Some(Fault::Delay) => {
                content.delayed.push((method.clone(), uri.clone(), body.clone()));
                failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
            None => content.answer(method, &url, uri.query(), body),
        }
    }
}

impl Content {
    /// Stores an object as its next version, and says how it is then.
    fn store(&mut self, url: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.history.entry(url.to_owned()).or_default().push(object.clone());
        self.objects.insert(url.to_owned(), object.clone());
        object
    }

    fn fault(&mut self, method: &Method, url: &str) -> Option<Fault> {
        if let Some(fault) = self.hook.as_mut().and_then(|hook| hook(method, url)) {
            return Some(fault);
        }
        let meant = self.faults.iter().position(|(word, _)| method != Method::GET && url.contains(word))?;
        Some(self.faults.remove(meant).1)
    }

    fn answer(&mut self, method: &Method, url: &str, query: Option<&str>, body: &[u8]) -> Response {
        let selector = query.and_then(|query| query.split('&').find_map(|part| part.strip_prefix("labelSelector=")));
        if let Some(selector) = selector {
            return self.list(url, &selector.replace("%3D", "=").replace("%2F", "/"));
        }
        let (target, subresource) = match url.strip_suffix("/status") {
            Some(target) => (target, true),
            None => (url, false),
        };
        match *method {
            Method::GET => self.objects.get(target).map_or_else(not_found, reply),
            Method::POST => self.create(target, body),
            Method::DELETE => self.delete(target, body),
            _ => self.patch(target, subresource, body),
        }
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

    fn create(&mut self, collection: &str, body: &[u8]) -> Response {
        let mut object: Value = serde_json::from_slice(body).unwrap();
        let url = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&url) {
            return failure(StatusCode::CONFLICT, "AlreadyExists");
        }
        object["metadata"]["uid"] = json!(format!("uid-{}", self.version + 1));
        reply(&self.store(&url, object))
    }

    fn delete(&mut self, url: &str, body: &[u8]) -> Response {
        let Some(object) = self.objects.get(url) else { return not_found() };
        let options: Value = serde_json::from_slice(body).unwrap();
        if is_another(object, &options["preconditions"]) {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        self.objects.remove(url).as_ref().map_or_else(not_found, reply)
    }

    fn patch(&mut self, url: &str, subresource: bool, body: &[u8]) -> Response {
        let Some(object) = self.objects.get(url).cloned() else { return not_found() };
        let patch: Value = serde_json::from_slice(body).unwrap();
        if is_another(&object, &patch["metadata"]) {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        let mut patched = object.clone();
        merge(&mut patched, &patch);
        if subresource {
            patched = json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": object["metadata"],
                "spec": object["spec"], "status": patched["status"] });
        }
        let finalizers = patched["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        if finalizers == 0 && patched["metadata"].get("deletionTimestamp").is_some() {
            self.objects.remove(url);
            return reply(&patched);
        }
        if patched == object {
            return reply(&object);
        }
        reply(&self.store(url, patched))
    }
}

async fn serve(State(server): State<ApiServer>, method: Method, uri: Uri, body: Bytes) -> Response {
    if uri.path().starts_with("/apis/events.k8s.io") {
        return reply(&serde_json::from_slice(&body).unwrap());
    }
    server.take_turns().await;
    let reply = server.reply(&method, &uri, &body);
    server.take_turns().await;
    reply
}

/// Without the group and the version of the API.
fn below_the_root(path: &str) -> String {
    let root = if path.starts_with("/apis/") { 4 } else { 3 };
    path.split('/').skip(root).map(|segment| format!("/{segment}")).collect()
}

/// Whether it is not the object that these preconditions mean.
fn is_another(object: &Value, preconditions: &Value) -> bool {
    let required = |field: &str| preconditions.get(field).filter(|value| !value.is_null());
    ["uid", "resourceVersion"]
        .iter()
        .any(|field| required(field).is_some_and(|wanted| *wanted != object["metadata"][field]))
}

fn decoded<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap()
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

fn not_found() -> Response {
    failure(StatusCode::NOT_FOUND, "NotFound")
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason,
        "code": code.as_u16() });
    (code, body.to_string()).into_response()
}
