//! The store port on its two implementations: the fake and a real OpenBao pass the same assertions,
//! and the real one meets the faults of stores.

mod exchanges;
mod folders;
mod sessions;
mod swallowed;
mod veil;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use waypost::api::store_spec::Capabilities;
use waypost::api::{ClusterSecretStore, ConditionStatus, Reason};
use waypost::check;
use waypost::cluster::Cluster;
use waypost::domain::description;
use waypost::domain::path::RemotePath;
use waypost::domain::remote::{Entry, EntryState, RemoteData, RemoteValue};
use waypost::store::admit::{Class, Unclassified};
use waypost::store::error::Transport as Cause;
use waypost::store::fake::{Counting, FakeStore};
use waypost::store::meter::NoMeter;
use waypost::store::{
    Heads, Latest, Registry, RegistrySettings, StoreChange, StoreClient, StoreError, StoreName, StoreObject,
    StoreRefusal,
};
use waypost_e2e::lab::{AuditLog, Bao, CONTROLLER_ACCOUNT, Lab, MOUNT, Mark, Transport, ca_bundle, repository};
use waypost_e2e::wait;

const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes that a listing of the contract may have.
const LISTING: usize = 64 * 1024;

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    contract(&FakeStore::new().with_counting(Counting::Offered)).await;
}

#[tokio::test]
async fn openbao_keeps_the_contract() {
    let bench = Bench::on_shared().await;
    // Beside the shipped policies that every role has, those that an administrator adds for purges.
    let admin = Lab::shared().await.unwrap().vault_admin().unwrap();
    let mut policies = vec!["waypost-combined".to_owned(), "waypost-scan".to_owned()];
    for optional in ["destroy", "purge"] {
        let text =
            std::fs::read_to_string(repository().join(format!("policies/vault/optional/{optional}.hcl"))).unwrap();
        policies.push(format!("contract-{optional}"));
        admin.put_policy(&format!("contract-{optional}"), &text.replace("{{mount}}", MOUNT)).await.unwrap();
    }
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let role = json!({
        "bound_service_account_names": account, "bound_service_account_namespaces": namespace,
        "token_policies": policies, "token_no_default_policy": true,
    });
    admin.post("auth/kubernetes/role/contract", &role).await.unwrap();
    contract(&*bench.client("contract", bench.provider(kubernetes_auth("contract"), json!({}))).await).await;
}

async fn contract(store: &dyn StoreClient) {
    let path = path("platform-data/contract/entry");

    assert!(matches!(store.read(&path, None).await.unwrap().state, EntryState::Absent));
    assert!(matches!(store.read_to_write(&path).await.unwrap().state, EntryState::Absent));
    let head = store.head(&path).await.unwrap();
    assert!(!head.exists && head.version == 0 && !head.live);
    assert_eq!(listed(store, &path).await, None);
    let key = store.path_key(&path).await.unwrap();
    assert_eq!(key, store.path_key(&path).await.unwrap());
    let nobody = store.patch_metadata(&path, &changes_of(&[("a", Some("1"))])).await.unwrap_err();
    assert!(matches!(nobody, StoreError::EntryMissing { .. }), "{nobody}");
    store.destroy_versions(&path, &[1]).await.unwrap();
    store.purge(&path).await.unwrap();
    assert_eq!(store.metadata(&path).await.unwrap(), None);
    assert!(matches!(store.describe(&path).await.unwrap().state, EntryState::Absent));

    store.create_entry(&path).await.unwrap();
    assert!(matches!(store.read(&path, None).await.unwrap().state, EntryState::Empty));
    assert!(matches!(store.read_to_write(&path).await.unwrap().state, EntryState::Empty));
    // Words that a server also uses for a missing mount say nothing where they are a value.
    store.patch_metadata(&path, &changes_of(&[("a", Some("no handler for route")), ("b", Some("2"))])).await.unwrap();
    store.create_entry(&path).await.unwrap();
    let head = store.head(&path).await.unwrap();
    assert!(head.exists && head.version == 0 && !head.live);
    assert_eq!(listed(store, &path).await, Some((0, false)));
    assert_eq!(
        head.custom_metadata.map(|metadata| metadata.len()),
        Some(2),
        "creating again keeps the custom metadata"
    );

    let data = RemoteData::from([
        ("text".to_owned(), RemoteValue::text("p\"w\u{fc}\n")),
        // What no server alters: OpenBao rounds integers beyond 2^53 and sorts the keys of objects
        // before it stores them.
        ("large".to_owned(), raw("9007199254740991")),
        ("nested".to_owned(), raw(r#"{"a":"b","z":[1.5,null,true]}"#)),
    ]);
    let written = store.write(&path, &data, 0).await.unwrap();
    assert_eq!((written.version, written.custom_metadata.len()), (1, 2));
    assert_eq!(created(store, &path).await, written.created);
    let entry = store.read(&path, None).await.unwrap();
    assert_eq!(live(&entry).0, 1);
    assert_eq!(listed(store, &path).await, Some((1, true)));
    for (property, value) in &data {
        assert!(live(&entry).1[property] == *value, "{property} comes back as it went");
    }
    let stale = store.write(&path, &data, 0).await.unwrap_err();
    assert!(matches!(stale, StoreError::CasMismatch { .. }), "{stale}");

    assert_eq!(store.write(&path, &text("second"), 1).await.unwrap().version, 2);
    let first = store.read(&path, Some(1)).await.unwrap();
    assert!(live(&first).0 == 1 && live(&first).1.contains_key("large"));
    let never = store.read(&path, Some(9)).await.unwrap();
    assert!(matches!(never.state, EntryState::Deleted { version: 9 }));

    store.delete_versions(&path, &[2]).await.unwrap();
    let deleted = store.read(&path, None).await.unwrap();
    assert!(matches!(deleted.state, EntryState::Deleted { version: 2 }) && deleted.custom_metadata.len() == 2);
    let head = store.head(&path).await.unwrap();
    assert!(head.exists && head.version == 2 && !head.live);
    assert_eq!(listed(store, &path).await, Some((2, false)));
    let stale = store.write(&path, &text("third"), 0).await.unwrap_err();
    assert!(matches!(stale, StoreError::CasMismatch { .. }), "{stale}");
    assert_eq!(store.write(&path, &text("third"), 2).await.unwrap().version, 3);

    store.patch_metadata(&path, &changes_of(&[("a", None), ("b", Some("3"))])).await.unwrap();
    store.destroy_versions(&path, &[3]).await.unwrap();
    let destroyed = store.read(&path, None).await.unwrap();
    assert!(matches!(destroyed.state, EntryState::Deleted { version: 3 }));
    assert_eq!(destroyed.custom_metadata, BTreeMap::from([("b".to_owned(), "3".to_owned())]));
    let head = store.head(&path).await.unwrap();
    assert!(head.version == 3 && !head.live);
    assert_eq!(listed(store, &path).await, Some((3, false)));
    let metadata = store.metadata(&path).await.unwrap().unwrap();
    assert_eq!((metadata.latest, metadata.kept), (3, vec![1, 2]), "a deleted version can be undeleted");
    assert_eq!(metadata.custom_metadata, destroyed.custom_metadata);
    assert!(first.created == written.created && first.created < created(store, &path).await);
    describes(store, &path).await;
    listings(store).await;
    store.purge(&path).await.unwrap();
    assert!(matches!(store.read(&path, None).await.unwrap().state, EntryState::Absent));
    let anew = store.write(&path, &text("anew"), 0).await.unwrap();
    assert!(anew.version == 1 && anew.created > destroyed.created, "an entry that is created again is new");
    assert_eq!(created(store, &path).await, anew.created);
    exchanges::contract(store).await;
    folders::contract(store).await;

    let elsewhere = RemotePath::parse(Some("nowhere"), "platform-data/contract/entry").unwrap();
    for error in [
        store.read(&elsewhere, None).await.err(),
        store.head(&elsewhere).await.err(),
        store.heads(&elsewhere, LISTING).await.err(),
        store.write(&elsewhere, &text("x"), 0).await.err(),
        store.path_key(&elsewhere).await.err(),
    ] {
        assert!(matches!(error, Some(StoreError::MountMissing { .. })), "a missing mount is no absent entry");
    }
}

/// The metadata alone, whatever became of the versions.
async fn describes(store: &dyn StoreClient, path: &RemotePath) {
    let entry = store.describe(path).await.unwrap();
    assert!(matches!(entry.state, EntryState::Deleted { version: 3 }) && entry.created.is_some());
    let head = store.head(path).await.unwrap();
    assert_eq!(head.metadata, description::digest_of(&entry), "or checks and reads would differ for ever");
    assert_eq!(listed_whole(store, path).await.map(|latest| latest.metadata), head.metadata);
    let described = description::of(&entry);
    let shown: BTreeMap<&str, String> = described
        .data()
        .unwrap()
        .iter()
        .map(|(name, text)| (name.as_str(), text.rendered().expose_utf8().unwrap().to_owned()))
        .collect();
    assert_eq!(
        shown.keys().copied().collect::<Vec<_>>(),
        ["b", "created_time", "current_version", "delete_version_after"]
    );
    assert_eq!((&*shown["b"], &*shown["current_version"], &*shown["delete_version_after"]), ("3", "3", "0s"));
    assert!(shown["created_time"].parse::<Timestamp>().unwrap() < entry.created.unwrap(), "that of the entry");
}

/// Everything below a folder is listed, an entry beside it is not, and no more is read than was
/// allowed.
async fn listings(store: &dyn StoreClient) {
    let (deep, beside) = (path("platform-data/contract/a/deep.er"), path("platform-data/contract-b/entry"));
    for path in [&deep, &beside] {
        store.write(path, &text("x"), 0).await.unwrap();
    }
    assert_eq!(listed(store, &deep).await, Some((1, true)));
    assert_eq!(listed(store, &beside).await, None);
    let folder = path("platform-data/contract");
    assert_eq!(store.heads(&folder, 100).await.unwrap(), Heads::TooLarge);
    let nothing = path("platform-data/contract-c");
    assert_eq!(store.heads(&nothing, LISTING).await.unwrap(), Heads::Listed(HashMap::new()));
}

/// When the latest version was created, of which all replies say the same.
async fn created(store: &dyn StoreClient, entry: &RemotePath) -> Option<jiff::Timestamp> {
    let read = store.read(entry, None).await.unwrap().created;
    assert!(read.is_some(), "{entry}");
    assert_eq!(store.head(entry).await.unwrap().created, read);
    if let Heads::Listed(entries) = store.heads(&path("platform-data/contract"), LISTING).await.unwrap() {
        assert_eq!(entries[entry.path.as_str()].created, read);
    }
    read
}

/// What the listing of `platform-data/contract` says of an entry.
async fn listed(store: &dyn StoreClient, entry: &RemotePath) -> Option<(u64, bool)> {
    listed_whole(store, entry).await.map(|latest| (latest.version, latest.live))
}

async fn listed_whole(store: &dyn StoreClient, entry: &RemotePath) -> Option<Latest> {
    match store.heads(&path("platform-data/contract"), LISTING).await.unwrap() {
        Heads::Listed(entries) => entries.get(entry.path.as_str()).copied(),
        Heads::TooLarge | Heads::Unavailable => panic!("the folder is not listed"),
    }
}

#[tokio::test]
async fn a_login_without_the_right_to_list_is_told_so_and_keeps_its_session() {
    let bench = Bench::on_extra().await;
    let token = bench.bao().admin().unwrap().create_token(&["waypost-combined"], "10m").await.unwrap();
    bench.secret("unlisted", "token", &token).await;
    let client = bench.client("unlisted", bench.provider(bench.token_auth("unlisted"), json!({}))).await;
    let entry = path("platform-data/unlisted/entry");
    client.write(&entry, &text("kept"), 0).await.unwrap();
    let folder = path("platform-data/unlisted");
    assert_eq!(client.heads(&folder, LISTING).await.unwrap(), Heads::Unavailable);
    assert_eq!(client.head(&entry).await.unwrap().version, 1);
}

#[tokio::test]
async fn who_may_not_see_metadata_finds_no_value_and_is_told_so_before_a_write() {
    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    let rules = r#"
        path "secret/data/*" { capabilities = ["create", "read", "update"] }
        path "secret/metadata/*" { capabilities = ["create", "update", "patch"] }
        path "auth/token/lookup-self" { capabilities = ["read"] }
    "#;
    admin.put_policy("blind", rules).await.unwrap();
    let token = admin.create_token(&["blind"], "10m").await.unwrap();
    bench.secret("blind", "token", &token).await;
    let client = bench.client("blind", bench.provider(bench.token_auth("blind"), json!({}))).await;
    let entry = path("platform-data/blind/entry");
    client.create_entry(&entry).await.unwrap();
    assert!(matches!(client.read(&entry, None).await.unwrap().state, EntryState::Unseen));
    let head = client.head(&entry).await.unwrap();
    assert_eq!((head.exists, head.custom_metadata), (false, None), "nobody knows who may read it");
    let error = client.read_to_write(&entry).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Forbidden { path, .. } if path == "secret/metadata/platform-data/blind/entry"),
        "{error}"
    );
    // With data there is nothing to ask for: the custom metadata comes along.
    client.write(&entry, &text("value"), 0).await.unwrap();
    assert!(client.read_to_write(&entry).await.unwrap().data().is_some());
}

#[tokio::test]
async fn a_sealed_server_is_said_to_be_sealed_and_its_return_is_announced() {
    let bench = Bench::on_extra().await;
    let client = bench.kubernetes("sealed", json!({})).await;
    let entry = path("platform-data/sealed/entry");
    client.write(&entry, &text("kept"), 0).await.unwrap();
    let mut changes = bench.registry.changes();
    bench.bao().seal().await.unwrap();
    let first = client.read(&entry, None).await.err().unwrap();
    assert!(matches!(first, StoreError::Sealed { .. }), "{first}");
    wait::until("the circuit to open", DEADLINE, async || {
        let error = client.read(&entry, None).await.err();
        Ok(matches!(error, Some(StoreError::CircuitOpen { .. })).then_some(()))
    })
    .await
    .unwrap();
    bench.bao().unseal().await.unwrap();
    let told = wait::within("the return to be announced", Duration::from_secs(5), changes.recv());
    let recovered = told.await.unwrap().unwrap();
    assert_eq!(recovered, StoreChange::Use(StoreName::cluster("sealed")));
    assert_eq!(live(&client.read(&entry, None).await.unwrap()).0, 1);
}

#[tokio::test]
async fn a_server_that_stops_and_returns_is_served_at_once() {
    let bench = Bench::on_extra().await;
    let client = bench.kubernetes("stopped", json!({})).await;
    let entry = path("platform-data/stopped/entry");
    client.write(&entry, &text("kept"), 0).await.unwrap();
    bench.bao().stop();
    let error = client.read(&entry, None).await.err().unwrap();
    let refused = matches!(error, StoreError::Unreachable { cause: Cause::Connect | Cause::Cut, .. });
    assert!(refused, "{error}");
    bench.bao().start().await.unwrap();
    assert_eq!(live(&client.read(&entry, None).await.unwrap()).0, 1);
}

#[tokio::test]
async fn a_ca_that_did_not_sign_the_server_is_named_as_the_cause() {
    let bench = Bench::on_shared().await;
    let other = rcgen_ca();
    let client = bench.kubernetes("wrong-ca", json!({ "caBundle": ca_bundle(&other) })).await;
    let error = client.read(&path("platform-data/ca/entry"), None).await.err().unwrap();
    assert!(matches!(error, StoreError::Unreachable { cause: Cause::Tls, .. }), "{error}");
    let outcome = bench.check("wrong-ca").await;
    assert_eq!((outcome.status, outcome.reason), (ConditionStatus::False, Reason::InvalidProviderConfig));
    assert!(outcome.message.contains("caBundle"), "{}", outcome.message);
}

#[tokio::test]
async fn a_mount_that_is_missing_or_kv_v1_is_named_and_never_written_to() {
    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    admin.enable_mount("one", "kv", &json!({ "version": "1" })).await.unwrap();
    let rules = r#"path "one/*" { capabilities = ["create", "read", "update"] }"#;
    admin.put_policy("one", rules).await.unwrap();
    let token = admin.create_token(&["one"], "10m").await.unwrap();
    bench.secret("one-token", "token", &token).await;
    let client = bench.client("kv-one", bench.provider(bench.token_auth("one-token"), json!({ "path": "one" }))).await;
    let entry = RemotePath::parse(Some("one"), "platform-data/v1/entry").unwrap();
    for error in [client.read(&entry, None).await.err(), client.write(&entry, &text("x"), 0).await.err()] {
        let error = error.unwrap();
        assert!(matches!(&error, StoreError::WrongVersion { found, .. } if found == "KV version 1"), "{error}");
    }
    assert_eq!(admin.get("one/data/platform-data/v1/entry").await.unwrap(), None, "nothing was written");

    bench.client("nowhere", bench.provider(kubernetes_auth("external-secrets"), json!({ "path": "nowhere" }))).await;
    let outcome = bench.check("nowhere").await;
    assert_eq!(outcome.status, ConditionStatus::False);
    assert!(outcome.message.contains("nowhere/"), "{}", outcome.message);
}

#[tokio::test]
async fn a_mount_made_anew_as_v1_turns_absence_into_an_error() {
    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    let client = bench.kubernetes("anew", json!({})).await;
    let entry = path("platform-data/anew/entry");
    client.write(&entry, &text("kept"), 0).await.unwrap();
    admin.delete("sys/mounts/secret").await.unwrap();
    let gone = client.read(&entry, None).await.err().unwrap();
    assert!(matches!(gone, StoreError::MountMissing { .. }), "{gone}");
    admin.enable_mount("secret", "kv", &json!({ "version": "1" })).await.unwrap();
    let error = client.read(&entry, None).await.err().unwrap();
    assert!(matches!(error, StoreError::WrongVersion { .. }), "{error}");
}

#[tokio::test]
async fn an_entry_over_the_servers_limit_is_too_large() {
    let bench = Bench::on_shared().await;
    let client = bench.kubernetes("large", json!({})).await;
    let entry = path("platform-data/large/entry");
    for size in [1_100_000, 33 * 1024 * 1024] {
        let error = client.write(&entry, &text(&"x".repeat(size)), 0).await.err().unwrap();
        assert!(matches!(error, StoreError::TooLarge { bytes, .. } if bytes > size), "{error}");
    }
    // OpenBao takes so many strings in one request, names and values together.
    let many = (0..600).map(|number| (format!("property-{number}"), RemoteValue::text("x"))).collect();
    let error = client.write(&entry, &many, 0).await.err().unwrap();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_vault_namespace_that_is_missing_is_named() {
    let bench = Bench::on_shared().await;
    let client = bench.kubernetes("namespace", json!({ "namespace": "no-such-team" })).await;
    let error = client.read(&path("platform-data/namespace/entry"), None).await.err().unwrap();
    assert!(matches!(&error, StoreError::NamespaceMissing { namespace } if namespace == "no-such-team"), "{error}");
}

#[tokio::test]
async fn the_check_tells_rights_and_logs_in_once() {
    let bench = Bench::on_extra().await;
    for (role, capabilities) in
        [("external-secrets", Capabilities::ReadWrite), ("waypost-consumer", Capabilities::ReadOnly)]
    {
        let mut auth = kubernetes_auth(role);
        if role != "external-secrets" {
            auth["kubernetes"]["serviceAccountRef"]["audiences"] = json!(["vault"]);
        }
        bench.client(role, bench.provider(auth, json!({}))).await;
        let mark = bench.audit().mark().unwrap();
        for _ in 0..3 {
            let outcome = bench.check(role).await;
            assert_eq!((outcome.status, outcome.reason), (ConditionStatus::True, Reason::Valid), "{}", outcome.message);
            assert_eq!(outcome.capabilities, Some(capabilities), "{role}");
        }
        assert_eq!(bench.logins(mark), 1, "{role}");
    }
}

#[tokio::test]
async fn a_store_serves_only_the_namespaces_of_its_conditions() {
    let bench = Bench::on_shared().await;
    let mut store = bench.object("conditions", bench.provider(kubernetes_auth("external-secrets"), json!({})));
    store.spec.0.conditions = serde_json::from_value(json!([{ "namespaceRegexes": ["team-.*"] }])).unwrap();
    bench.registry.upsert(StoreName::cluster("conditions"), StoreObject::Cluster(Arc::new(store.clone())));
    let name = StoreName::cluster("conditions");
    assert!(bench.registry.client("team-a", &name).await.is_ok());
    let refusal = bench.registry.client("other-team-a", &name).await.err().unwrap();
    assert!(matches!(refusal, StoreRefusal::NotAllowed { .. }), "{refusal}");
    let labels = json!([{ "namespaceSelector": { "matchLabels": { "te am": "a" } } }]);
    let mut malformed = store.clone();
    malformed.spec.0.conditions = serde_json::from_value(labels).unwrap();
    malformed.metadata.generation = Some(2);
    bench.registry.upsert(name.clone(), StoreObject::Cluster(Arc::new(malformed)));
    let outcome = check::check(&bench.registry, &name, "platform-data").await.unwrap();
    assert!(
        outcome.message.contains("spec.conditions[0].namespaceSelector.matchLabels: \"te am\""),
        "{}",
        outcome.message
    );
    store.spec.0.controller = Some("somebody-else".to_owned());
    store.metadata.generation = Some(3);
    bench.registry.upsert(name.clone(), StoreObject::Cluster(Arc::new(store)));
    let refusal = bench.registry.client("team-a", &name).await.err().unwrap();
    assert!(matches!(refusal, StoreRefusal::OtherController { .. }), "{refusal}");
    assert!(
        check::check(&bench.registry, &name, "platform-data").await.is_none(),
        "nothing is written on another's store"
    );
    bench.registry.remove(&name);
    let refusal = bench.registry.client("team-a", &name).await.err().unwrap();
    assert!(matches!(refusal, StoreRefusal::NotFound { .. }), "{refusal}");
}

#[tokio::test]
async fn a_redirect_to_another_host_never_gets_the_token() {
    let bench = Bench::on_shared().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let standby = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = other.local_addr().unwrap();
    let server = format!("http://{}", standby.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = standby.accept().await {
            let mut buffer = [0; 4096];
            let _ = connection.read(&mut buffer).await;
            let reply = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{target}/v1/x\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = connection.write_all(reply.as_bytes()).await;
        }
    });
    bench.secret("redirected", "token", "s.canary").await;
    let provider = json!({ "server": server, "path": "secret", "auth": bench.token_auth("redirected") });
    let client = bench.client("redirected", provider).await;
    let error = client.read(&path("platform-data/redirected/entry"), None).await.err().unwrap();
    assert!(matches!(error, StoreError::RedirectRefused { .. }), "{error}");
    let visited = tokio::time::timeout(Duration::from_millis(200), other.accept()).await;
    assert!(visited.is_err(), "nobody connects to the other host");
}

/// A registry on the lab's cluster, and the OpenBao its stores name.
struct Bench {
    lab: &'static Lab,
    extra: Option<Bao>,
    registry: Arc<Registry>,
    kube: kube::Client,
    namespace: String,
}

impl Bench {
    async fn on_shared() -> Self {
        Self::new(None).await
    }

    /// With a server of its own, for tests that disturb it or count its requests.
    async fn on_extra() -> Self {
        let lab = Lab::shared().await.unwrap();
        Self::new(Some(lab.extra_bao(Transport::Tls).await.unwrap())).await
    }

    async fn new(extra: Option<Bao>) -> Self {
        let lab = Lab::shared().await.unwrap();
        let [namespace, account] = CONTROLLER_ACCOUNT;
        let cluster = Cluster::new(lab.kube_as(namespace, account).await.unwrap());
        let class = Class { name: "waypost".to_owned(), unclassified: Unclassified::Serve };
        let registry = Registry::new(cluster, RegistrySettings { class, rate: NonZeroU32::MAX }, Arc::new(NoMeter));
        let kube = lab.kube_admin().await.unwrap();
        let created = Namespace {
            metadata: kube::api::ObjectMeta { generate_name: Some("store-".to_owned()), ..Default::default() },
            ..Namespace::default()
        };
        let created = Api::<Namespace>::all(kube.clone()).create(&PostParams::default(), &created).await.unwrap();
        Bench { lab, extra, registry, kube, namespace: created.metadata.name.unwrap() }
    }

    fn bao(&self) -> &Bao {
        self.extra.as_ref().unwrap_or_else(|| self.lab.bao().unwrap())
    }

    fn audit(&self) -> AuditLog {
        self.bao().audit()
    }

    fn logins(&self, since: Mark) -> usize {
        self.audit().since_under(since, "auth/kubernetes/login").unwrap().len()
    }

    fn provider(&self, auth: Value, more: Value) -> Value {
        let mut provider = json!({
            "server": self.bao().address(),
            "path": "secret",
            "caBundle": ca_bundle(self.bao().ca_pem().unwrap()),
            "auth": auth,
        });
        provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        provider
    }

    fn token_auth(&self, secret: &str) -> Value {
        json!({ "tokenSecretRef": { "namespace": self.namespace, "name": secret, "key": "token" } })
    }

    fn object(&self, name: &str, vault: Value) -> ClusterSecretStore {
        serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1",
            "kind": "ClusterSecretStore",
            "metadata": { "name": name, "uid": name, "generation": 1 },
            "spec": { "provider": { "vault": vault } },
        }))
        .unwrap()
    }

    async fn client(&self, name: &str, vault: Value) -> Arc<dyn StoreClient> {
        let store = StoreName::cluster(name);
        self.registry.upsert(store.clone(), StoreObject::Cluster(Arc::new(self.object(name, vault))));
        self.registry.client(&self.namespace, &store).await.unwrap()
    }

    async fn kubernetes(&self, name: &str, more: Value) -> Arc<dyn StoreClient> {
        self.client(name, self.provider(kubernetes_auth("external-secrets"), more)).await
    }

    async fn secret(&self, name: &str, key: &str, value: &str) {
        let secret: Secret =
            serde_json::from_value(json!({ "metadata": { "name": name }, "stringData": { key: value } })).unwrap();
        let api: Api<Secret> = Api::namespaced(self.kube.clone(), &self.namespace);
        api.create(&PostParams::default(), &secret).await.unwrap();
    }

    async fn check(&self, name: &str) -> check::CheckOutcome {
        check::check(&self.registry, &StoreName::cluster(name), "platform-data").await.unwrap()
    }
}

fn kubernetes_auth(role: &str) -> Value {
    let [namespace, account] = CONTROLLER_ACCOUNT;
    json!({ "kubernetes": { "role": role, "serviceAccountRef": { "namespace": namespace, "name": account } } })
}

fn path(key: &str) -> RemotePath {
    RemotePath::parse(Some("secret"), key).unwrap()
}

fn text(value: &str) -> RemoteData {
    RemoteData::from([("value".to_owned(), RemoteValue::text(value))])
}

fn raw(json: &str) -> RemoteValue {
    RemoteValue::raw(RawValue::from_string(json.to_owned()).unwrap())
}

fn live(entry: &Entry) -> (u64, &RemoteData) {
    match &entry.state {
        EntryState::Live { version, data } => (*version, data),
        EntryState::Absent | EntryState::Unseen | EntryState::Empty | EntryState::Deleted { .. } => panic!("no data"),
    }
}

fn changes_of(changes: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    changes.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

fn rcgen_ca() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["other".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
}
