//! How stores connect to their server: trusted certificates, a client certificate, headers, and
//! Vault namespaces.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waypost::api::ClusterSecretStore;
use waypost_e2e::lab::{BaoOptions, Clients, Lab, ca_bundle};

use crate::bad_store::{edit_store, foreign_ca, remove_store, store_says};
use crate::logins::{AppRole, Login};
use crate::stage::Stage;

/// Kubernetes auth as the framework names it.
fn kubernetes() -> Value {
    let account = json!({ "name": "external-secrets", "namespace": "external-secrets" });
    json!({ "kubernetes": { "role": "external-secrets", "serviceAccountRef": account } })
}

#[tokio::test]
async fn a_ca_is_read_from_a_secret_and_from_a_config_map_until_it_is_the_right_one() -> anyhow::Result<()> {
    let stage = Stage::new("cafrom").await?;
    let right = Lab::shared().await?.vault_ca_pem().unwrap_or_default();
    let (foreign, namespace) = (foreign_ca()?, stage.producer.clone());
    stage.secret(&namespace, "ca", &[("ca.crt", &foreign)]).await?;
    let provider = |kind: &str| json!({ "type": kind, "name": "ca", "namespace": namespace });
    let more = json!({ "caProvider": provider("Secret") });
    let login = Login::by(stage, "vault", kubernetes(), more).await?;
    let untrusted = ["certificate is not trusted", "`caProvider`"];
    store_says(&login.stage, &login.store, "False", "InvalidProviderConfig", &untrusted).await?;
    login.stage.secret(&namespace, "ca", &[("ca.crt", right)]).await?;
    login.carries("by a CA in a Secret").await?;

    let maps: Api<ConfigMap> = login.stage.api(&namespace);
    let map = |pem: &str| {
        serde_json::from_value::<ConfigMap>(json!({ "metadata": { "name": "ca" }, "data": { "bundle.pem": pem } }))
    };
    maps.create(&PostParams::default(), &map("no certificate")?).await?;
    let mut from_map = provider("ConfigMap");
    from_map["key"] = json!("bundle.pem");
    edit_store(&login.stage, &login.store, json!({ "caProvider": from_map })).await?;
    let unreadable = [&format!("ConfigMap {namespace}/ca"), "no readable PEM certificate"];
    store_says(&login.stage, &login.store, "False", "InvalidProviderConfig", &unreadable).await?;
    maps.replace("ca", &PostParams::default(), &map(right)?).await?;
    login.carries("by a CA in a ConfigMap").await?;
    remove_store(&login.stage, &login.store).await
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate_gets_the_one_of_the_store() -> anyhow::Result<()> {
    let stage = Stage::new("mtls").await?;
    let certified = BaoOptions { clients: Clients::Certified, ..BaoOptions::default() };
    let bao = Lab::shared().await?.extra_bao(certified).await?;
    let (certificate, key) = bao.client_certificate().unwrap_or_default();
    let namespace = stage.producer.clone();
    let more = json!({ "server": bao.address(), "caBundle": ca_bundle(bao.ca_pem().unwrap_or_default()) });
    let login = Login::by(stage, "vault", kubernetes(), more).await?;
    // The server may have closed the connection before its reason was read; both texts say what to
    // look at.
    let wanted = ["client certificate", "`tls`"];
    store_says(&login.stage, &login.store, "False", "InvalidProviderConfig", &wanted).await?;

    let holder = json!({ "name": "client", "namespace": namespace });
    let tls = json!({ "tls": { "certSecretRef": holder, "keySecretRef": holder } });
    edit_store(&login.stage, &login.store, tls).await?;
    let missing = [&format!("Secret {namespace}/client"), "not found"];
    store_says(&login.stage, &login.store, "False", "InvalidProviderConfig", &missing).await?;
    let pair = |key: &str| [("tls.crt".to_owned(), certificate.to_owned()), ("tls.key".to_owned(), key.to_owned())];
    let write = async |key: &str| {
        let pair = pair(key).map(|(name, pem)| (name, pem.into_bytes())).into_iter().collect();
        login.stage.secret_bytes(&namespace, "client", pair).await
    };
    write(&rcgen::KeyPair::generate()?.serialize_pem()).await?;
    let mismatched = ["certificate and key", "do not belong together"];
    store_says(&login.stage, &login.store, "False", "InvalidProviderConfig", &mismatched).await?;
    write(key).await?;
    login.carries("shown a certificate").await?;
    remove_store(&login.stage, &login.store).await
}

#[tokio::test]
async fn headers_go_with_each_request_and_none_replaces_ours() -> anyhow::Result<()> {
    let stage = Stage::new("headers").await?;
    for header in ["x-team", "x-vault-inconsistent"] {
        let path = format!("sys/config/auditing/request-headers/{header}");
        stage.vault.post(&path, &json!({ "hmac": false })).await?;
    }
    let word = stage.word.clone();
    let more = json!({ "headers": { "X-Team": word }, "readYourWrites": true, "forwardInconsistent": true });
    let mark = Lab::shared().await?.bao()?.audit().mark()?;
    let login = Login::by(stage, "vault", kubernetes(), more).await?;
    login.carries("good").await?;
    let requests = login.audit.since(mark)?;
    let ours: Vec<_> = requests
        .iter()
        .filter(|request| request.headers.get("x-team").is_some_and(|values| *values == [word.as_str()]))
        .collect();
    for path in ["auth/kubernetes/login", &format!("secret/data/{}", login.stage.path())] {
        let seen = ours.iter().find(|request| request.path == path);
        let forwarded = seen.and_then(|request| request.headers.get("x-vault-inconsistent"));
        assert_eq!(forwarded.map(Vec::as_slice), Some(&["forward-active-node".to_owned()][..]), "{path}: {ours:?}");
    }

    let stores: Api<ClusterSecretStore> = Api::all(login.stage.client.clone());
    let patch = json!({ "spec": { "provider": { "vault": { "headers": { "x-VAULT-token": "s.mine" } } } } });
    let refused = stores.patch(&login.store, &PatchParams::default(), &Patch::Merge(patch)).await.err();
    let said = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("X-Vault-Token") && !said.contains("s.mine"), "{said}");
    remove_store(&login.stage, &login.store).await
}

#[tokio::test]
async fn a_vault_namespace_holds_the_data_and_the_login_unless_auth_names_another() -> anyhow::Result<()> {
    let stage = Stage::new("spaces").await?;
    let lab = Lab::shared().await?;
    let (space, namespace) = (stage.word.clone(), stage.producer.clone());
    stage.vault.post(&format!("sys/namespaces/{space}"), &json!({})).await?;
    let inside = || lab.vault_admin().map(|admin| admin.in_namespace(&space));
    inside()?.enable_mount("secret", "kv", &json!({ "version": "2" })).await?;
    let rules = stage.vault.get("sys/policies/acl/waypost-combined").await?.unwrap_or_default();
    let rules = rules["data"]["policy"].as_str().unwrap_or_default().to_owned();
    inside()?.put_policy("waypost-combined", &rules).await?;
    let role = AppRole::enable(inside()?, &space, &["waypost-combined"]).await?;
    stage.secret(&namespace, "approle", &[("secret-id", &role.new_secret_id().await?)]).await?;

    let (mark, auth) = (lab.bao()?.audit().mark()?, role.auth(&namespace));
    let login = Login::by(stage, "vault", auth, json!({ "namespace": space })).await?;
    login.carries("both inside").await?;
    let path = login.stage.path();
    let stored = inside()?.read("secret", &path).await?.and_then(|entry| entry.data);
    assert_eq!(stored, Some(json!({ "password": "both inside" })));
    assert_eq!(login.stage.vault.read("secret", &path).await?, None, "nothing of it is outside");
    let logins = login.audit.since_under(mark, &format!("auth/{space}/login"))?;
    assert!(logins.iter().all(|login| login.namespace.path == format!("{space}/")), "{logins:?}");
    assert_eq!(logins.len(), 1);

    // A login in the root namespace with rights inside: policies there name paths from the root.
    let there = rules.replace("path \"", &format!("path \"{space}/")).replace(&format!("\"{space}/auth/"), "\"auth/");
    login.stage.vault.put_policy(&space, &there).await?;
    let role = json!({
        "bound_service_account_names": ["external-secrets"], "bound_service_account_namespaces": ["external-secrets"],
        "token_policies": [space], "token_no_default_policy": true,
    });
    login.stage.vault.post(&format!("auth/kubernetes/role/{space}"), &role).await?;
    let account = json!({ "name": "external-secrets", "namespace": "external-secrets" });
    let kubernetes = json!({ "role": space, "serviceAccountRef": account });
    let auth = json!({ "auth": { "appRole": null, "namespace": "root", "kubernetes": kubernetes } });
    edit_store(&login.stage, &login.store, auth).await?;
    store_says(&login.stage, &login.store, "True", "Valid", &["store validated"]).await?;
    login.carries("login outside").await?;
    assert_eq!(inside()?.read("secret", &path).await?.map(|entry| entry.version()), Some(2));

    edit_store(&login.stage, &login.store, json!({ "namespace": format!("{space}-none") })).await?;
    let missing = ["there is no Vault namespace", &format!("{space}-none")];
    store_says(&login.stage, &login.store, "False", "InvalidProviderConfig", &missing).await?;
    edit_store(&login.stage, &login.store, json!({ "namespace": space })).await?;
    login.carries("found again").await?;
    remove_store(&login.stage, &login.store).await
}
