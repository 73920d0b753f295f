//! What a process keeps of a PushSecret by its name. Nothing of it stays once the PushSecret is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::watcher::Event;
use serde_json::json;

use super::bench::{Bench, PUSH, TEMPORAL, both};
use super::protocol;
use crate::api::PushSecret;
use crate::api::path_status::PushedPath;
use crate::api::selector::StoreKind;
use crate::controller::context::Context;
use crate::controller::drive::Driven;
use crate::controller::guarded::Guarded;
use crate::controller::moves::Move;
use crate::controller::referrers::Referrer;
use crate::domain::claim::Owner;
use crate::domain::object_name::Name;
use crate::feed::Spelled;
use crate::push::Pusher;
use crate::push::ledger::StoreKey;
use crate::push::offers::Waiter;
use crate::telemetry::trail::{self, Cause};

const OBJECT: &str = "db/push";
const UID: &str = "a";

/// A process that has pushed, and of which everything is asked for that it may keep.
struct Process {
    context: Arc<Context>,
    pusher: Arc<Pusher>,
    driven: Arc<Driven<Pusher>>,
    push: Guarded<PushSecret>,
    began: Instant,
}

fn name() -> Name {
    Name::new("db", "push")
}

fn vault() -> StoreKey {
    StoreKey::new(StoreKind::ClusterSecretStore, "vault")
}

impl Process {
    /// `source` is the kind of what it pushes, as in a spec.
    async fn that_pushed(source: &str) -> Self {
        let bench = Bench::new();
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "source" },
            "data": { "user": "u", "pass": "p" } });
        bench.server.put("/namespaces/db/configmaps/source", map);
        let mut spec = both();
        spec["selector"] = json!({ source: { "name": "source" } });
        bench.spec(1, spec);
        let Bench { server, store, stores, offers, .. } = bench;
        let context = Context::on(server.cluster());
        let pusher = Arc::new(Pusher::new(context.clone(), Arc::new(stores), offers));
        let driven = Driven::new(pusher.clone(), context.clone(), 1);
        let push: Guarded<PushSecret> = server.get(PUSH).unwrap();
        driven.on_event(&Ok(Event::Apply(push.clone())));
        driven.run_once(&push).await;
        assert_eq!(super::bench::texts(&store, TEMPORAL).len(), 2);
        let process = Process { context, pusher, driven, push, began: Instant::now() };
        process.remember();
        process
    }

    /// What no single reconcile leaves.
    fn remember(&self) {
        let (context, pusher) = (&self.context, &self.pusher);
        trail::tests::exported(|| {
            let cause = Cause::of(&trail::source_changed("Secret", &"db/source"));
            context.moves.note(name(), Move { at: self.began, cause });
        });
        context.feed.tell_beyond(&name(), vec![PushedPath::default()]);
        pusher.deletions.known_for(OBJECT, UID, self.began);
        pusher.deletions.failing_for(OBJECT, UID, &vault(), self.began);
        let me = Owner { name: "push".into(), ..protocol::owner(UID) };
        let waiter = Waiter { name: Name::new("db", "other"), uid: "b".into(), generation: 1 };
        let asking = BTreeMap::from([((protocol::site(), "password".to_owned()), vec![waiter])]);
        pusher.offers.open(&me, asking, &|_, _| false);
    }

    /// What is kept of it, in words.
    fn kept(&self) -> Vec<&'static str> {
        let (Context { referrers, config_maps, moves, feed, .. }, Pusher { deletions, offers, .. }) =
            (&*self.context, &*self.pusher);
        let (referrer, later) = (Referrer::PushSecret(name()), self.began + Duration::from_secs(60));
        let pushed = Spelled { store: "ClusterSecretStore/vault".into(), path: format!("secret/{TEMPORAL}") };
        let kept = [
            ("a Secret", !referrers.secrets_of(&referrer).is_empty()),
            ("a ConfigMap", !config_maps.secrets_of(&referrer).is_empty()),
            ("a change", moves.cause(&name()).is_some()),
            ("a place", feed.followers(&name(), &pushed).is_some()),
            ("paths beyond its status", feed.beyond(&name()).is_some()),
            ("a deletion", !deletions.known_for(OBJECT, UID, later).is_zero()),
            ("a location", !deletions.failing_for(OBJECT, UID, &vault(), later).is_zero()),
            ("an offer", !offers.at(&protocol::site()).is_empty()),
        ];
        kept.into_iter().filter(|(_, is_kept)| *is_kept).map(|(what, _)| what).collect()
    }
}

#[tokio::test]
async fn nothing_of_a_push_secret_that_is_gone_is_kept_however_that_shows() {
    for (source, referred) in [("secret", "a Secret"), ("configMap", "a ConfigMap")] {
        let process = Process::that_pushed(source).await;
        let all = ["a change", "a place", "paths beyond its status", "a deletion", "a location", "an offer"];
        assert_eq!(process.kept(), [&[referred][..], &all[..]].concat());
        for is_listed_anew in [false, true] {
            let process = Process::that_pushed(source).await;
            let gone = match is_listed_anew {
                false => vec![Event::Delete(process.push.clone())],
                true => vec![Event::Init, Event::InitDone],
            };
            gone.into_iter().for_each(|event| process.driven.on_event(&Ok(event)));
            assert_eq!(process.kept(), [] as [&str; 0], "{source}, listed anew: {is_listed_anew}");
        }
    }
}
