//! What is reconciled for events of a watch, and when.

use futures::FutureExt;
use futures::channel::mpsc;
use futures::stream::BoxStream;
use kube::client::Body;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::api::SecretStore;
use crate::cluster::{Cluster, ClusterError};

type Watched = Guarded<SecretStore>;

fn object(name: &str, generation: u64) -> Watched {
    let metadata = json!({
        "name": name, "namespace": "team", "uid": name,
        "generation": generation, "resourceVersion": generation.to_string(),
    });
    serde_json::from_value(json!({ "metadata": metadata, "spec": { "provider": {} } })).unwrap()
}

/// A watch, and what comes of it.
struct Bench {
    context: Arc<Context>,
    watch: mpsc::UnboundedSender<Event<Watched>>,
    edits: BoxStream<'static, watcher::Result<Watched>>,
    cached: Store<Watched>,
    heard: UnboundedReceiver<Heard>,
}

impl Bench {
    fn new() -> Self {
        let (service, _server) = tower_test::mock::pair::<axum::http::Request<Body>, axum::http::Response<Body>>();
        let context = Context::on(Cluster::new(kube::Client::new(service, "ns")));
        let (listener, heard) = unbounded_channel();
        let (cache, (watch, events)) = (Cache::heard_by(vec![listener]), mpsc::unbounded());
        let cached = cache.reader.clone();
        let edits = cache.edits(context.clone(), events.map(Ok)).boxed();
        Bench { context, watch, edits, cached, heard }
    }

    /// The objects that are to be reconciled after these events, each as the cache has it then: its
    /// name and generation.
    fn due(&mut self, events: impl IntoIterator<Item = Event<Watched>>) -> Vec<(String, Option<i64>)> {
        events.into_iter().for_each(|event| self.watch.unbounded_send(event).unwrap());
        let mut due = Vec::new();
        while let Some(Some(edit)) = self.edits.next().now_or_never() {
            let name = edit.unwrap().name_any();
            let cached = self.cached.get(&ObjectRef::new(&name).within("team"));
            due.push((name, cached.and_then(|object| object.meta().generation)));
        }
        due.sort();
        due
    }

    fn list(&mut self, objects: impl IntoIterator<Item = Watched>) -> Vec<(String, Option<i64>)> {
        let listed = objects.into_iter().map(Event::InitApply);
        self.due([Event::Init].into_iter().chain(listed).chain([Event::InitDone]))
    }
}

fn due(name: &str, generation: i64) -> (String, Option<i64>) {
    (name.to_owned(), Some(generation))
}

#[tokio::test]
async fn what_the_first_page_of_a_list_shows_is_due_once_the_cache_shows_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.list([object("a", 1), object("b", 1)]), [due("a", 1), due("b", 1)]);
    // The second page is pending.
    let page = [object("a", 2), object("new", 1)].map(Event::InitApply);
    assert_eq!(bench.due([Event::Init].into_iter().chain(page)), []);
    let rest = [Event::InitApply(object("b", 1)), Event::InitDone];
    assert_eq!(bench.due(rest), [due("a", 2), due("new", 1)]);
    assert_eq!(bench.due([Event::Apply(object("b", 2))]), [due("b", 2)]);
}

#[tokio::test]
async fn what_a_list_shows_that_is_cut_off_is_due_after_the_next() {
    let mut bench = Bench::new();
    assert_eq!(bench.due([Event::Init, Event::InitApply(object("a", 1))]), []);
    assert_eq!(bench.list([object("a", 1)]), [due("a", 1)]);
    assert_eq!(bench.list([object("a", 1)]), [], "nothing moved");
}

#[tokio::test]
async fn our_own_status_counts_until_the_list_that_has_it_is_complete() {
    let mut bench = Bench::new();
    bench.list([object("a", 1)]);
    let (cached, written) = (object("a", 1).0.unwrap(), object("a", 2).0.unwrap());
    bench.context.written.begin("a", &json!(null));
    assert!(bench.context.written.note("a", &written));
    bench.due([Event::Init, Event::InitApply(object("a", 2))]);
    assert!(bench.context.written.newer(&cached).is_some(), "the cache shows the one before");
    bench.due([Event::InitDone]);
    assert!(bench.context.written.is_empty());
}

#[tokio::test]
async fn listeners_hear_of_what_the_cache_shows() {
    let mut bench = Bench::new();
    bench.due([Event::Init, Event::InitApply(object("a", 1))]);
    assert!(bench.heard.try_recv().is_err());
    bench.due([Event::InitDone, Event::Apply(object("a", 2)), Event::Delete(object("a", 2))]);
    let one = || Heard::One { name: Name::new("team", "a"), owner: None };
    let heard: Vec<Heard> = std::iter::from_fn(|| bench.heard.try_recv().ok()).collect();
    assert_eq!(heard, [Heard::All, one(), one()]);
}

/// The object at a version, with a status.
fn at(version: u64, status: &str) -> Watched {
    let metadata = json!({
        "name": "a", "namespace": "team", "uid": "a", "generation": 1, "resourceVersion": version.to_string(),
    });
    let conditions = json!([{ "type": status, "status": "True" }]);
    let object = json!({ "metadata": metadata, "spec": { "provider": {} }, "status": { "conditions": conditions } });
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn a_status_that_somebody_else_wrote_is_due_only_while_a_write_of_ours_may_arrive() {
    let mut bench = Bench::new();
    bench.list([at(1, "right")]);
    assert_eq!(bench.due([Event::Apply(at(2, "another"))]), [], "every write was answered");
    let written = bench.context.clone();
    let written = &written.written;
    written.begin("a", &json!(null));
    written.failed("a", &ClusterError::Timeout { verb: "update the status of", object: "a".into() });
    written.found(&at(3, "right"));
    assert_eq!(bench.due([Event::Apply(at(3, "right"))]), []);
    assert_eq!(bench.due([Event::Apply(at(4, "late"))]), [due("a", 1)]);
    written.found(&at(4, "late"));
    assert_eq!(bench.due([Event::Apply(at(5, "right"))]), [], "it arrives once");
    // While nobody watched.
    written.begin("a", &json!(null));
    written.failed("a", &ClusterError::Timeout { verb: "update the status of", object: "a".into() });
    written.found(&at(5, "right"));
    assert_eq!(bench.list([at(6, "late")]), [due("a", 1)]);
}
