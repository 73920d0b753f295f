//! The few requests to an API server that a pull makes, answered from memory: Secrets, the status
//! of one ExternalSecret, and the labels of its namespace. Values of Secrets stay as they were
//! sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// What a request runs into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    writes: usize,
    requests: usize,
    /// The next writes of URLs that contain a word run into a fault.
    faults: Vec<(&'static str, Fault)>,
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
        content.objects.insert(url.to_owned(), object);
    }

    /// Changes an object by a merge patch, as a person does.
    pub fn edit(&self, url: &str, patch: &Value) {
        let mut object = self.get(url).unwrap();
        merge(&mut object, patch);
        self.put(url, object);
    }

    /// An object as it is now.
    pub fn get(&self, url: &str) -> Option<Value> {
        self.content().objects.get(url).cloned()
    }

    /// Deletes an object.
    pub fn remove(&self, url: &str) {
        self.content().objects.remove(url);
    }

    /// Lets the next write of a URL that contains this word run into a fault.
    pub fn fail_next_write(&self, word: &'static str, fault: Fault) {
        self.content().faults.push((word, fault));
    }

    /// Lets nothing fail any more.
    pub fn heal(&self) {
        self.content().faults.clear();
    }

    /// How many requests there were so far, Events apart: of all kinds, and of those that can
    /// change something.
    pub fn requests(&self) -> (usize, usize) {
        let content = self.content();
        (content.requests, content.writes)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock()
    }
}

impl Content {
    fn answer(&mut self, method: &Method, url: &str, body: &[u8]) -> Response {
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

    fn create(&mut self, collection: &str, body: &[u8]) -> Response {
        let mut object: Value = serde_json::from_slice(body).unwrap();
        let url = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&url) {
            return failure(StatusCode::CONFLICT, "AlreadyExists");
        }
        self.version += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(url, object.clone());
        reply(&object)
    }

    fn delete(&mut self, url: &str, body: &[u8]) -> Response {
        let Some(object) = self.objects.get(url) else { return not_found() };
        let options: Value = serde_json::from_slice(body).unwrap();
        for field in ["uid", "resourceVersion"] {
            if options["preconditions"].get(field).is_some_and(|wanted| *wanted != object["metadata"][field]) {
                return failure(StatusCode::CONFLICT, "Conflict");
            }
        }
        self.objects.remove(url).as_ref().map_or_else(not_found, reply)
    }

    fn patch(&mut self, url: &str, subresource: bool, body: &[u8]) -> Response {
        let Some(object) = self.objects.get(url).cloned() else { return not_found() };
        let patch: Value = serde_json::from_slice(body).unwrap();
        for field in ["uid", "resourceVersion"] {
            if patch["metadata"].get(field).is_some_and(|wanted| *wanted != object["metadata"][field]) {
                return failure(StatusCode::CONFLICT, "Conflict");
            }
        }
        let mut patched = object.clone();
        merge(&mut patched, &patch);
        if subresource {
            patched = json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": object["metadata"],
                "spec": object["spec"], "status": patched["status"] });
        }
        if patched == object {
            return reply(&object);
        }
        self.version += 1;
        patched["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(url.to_owned(), patched.clone());
        reply(&patched)
    }
}

async fn serve(State(server): State<ApiServer>, method: Method, uri: Uri, body: Bytes) -> Response {
    let url = uri.path().trim_start_matches("/apis/external-secrets.io/v1").trim_start_matches("/api/v1").to_owned();
    if url.starts_with("/apis/events.k8s.io") {
        return reply(&serde_json::from_slice(&body).unwrap());
    }
    let mut content = server.content();
    content.requests += 1;
    if method == Method::GET {
        return content.answer(&method, &url, &body);
    }
    content.writes += 1;
    let fault = content.faults.iter().position(|(word, _)| url.contains(word)).map(|at| content.faults.remove(at).1);
    match fault {
        Some(Fault::Refuse) => failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Some(Fault::LoseReply) => {
            content.answer(&method, &url, &body);
            failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
        None => content.answer(&method, &url, &body),
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

fn not_found() -> Response {
    failure(StatusCode::NOT_FOUND, "NotFound")
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason,
        "code": code.as_u16() });
    (code, body.to_string()).into_response()
}
