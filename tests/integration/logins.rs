//! How stores log in: each method on the real servers, the message for a wrong credential, and that
//! a rotated one is used at once.

use std::time::Instant;

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::{AuditLog, Lab, Mark, Request, VaultAdmin, ca_bundle};
use waypost_e2e::wait;

use crate::bad_store::{edit_store, remove_store, store_ref, store_says};
use crate::stage::{LATER, Stage};

/// A ClusterSecretStore of a test's own on the lab's server.
pub struct Login {
    pub stage: Stage,
    pub store: String,
    pub audit: AuditLog,
}

impl Login {
    /// A store with this `auth`, and what else is merged into the provider.
    pub async fn by(stage: Stage, provider: &str, auth: Value, more: Value) -> anyhow::Result<Self> {
        let lab = Lab::shared().await?;
        let store = format!("{}-store", stage.word);
        let mut server = json!({
            "server": lab.vault_addr(), "path": "secret", "auth": auth,
            "caBundle": ca_bundle(lab.vault_ca_pem().unwrap_or_default()),
        });
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            server[field] = value;
        }
        if server.get("caProvider").is_some() {
            server.as_object_mut().map(|server| server.remove("caBundle"));
        }
        let object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore",
            "metadata": { "name": store }, "spec": { "provider": { provider: server } },
        });
        let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
        stores.patch(&store, &PatchParams::apply("gitops"), &Patch::Apply(object)).await?;
        Ok(Login { stage, store, audit: lab.bao()?.audit() })
    }

    /// A value that is pushed through the store arrives through it.
    pub async fn carries(&self, value: &str) -> anyhow::Result<()> {
        let stage = &self.stage;
        stage.secret(&stage.producer, "source", &[("password", value)]).await?;
        let refs = json!({ "secretStoreRefs": [store_ref(&self.store)] });
        stage.push("push", "source", &[("password", "password")], refs).await?;
        let reference = json!({ "secretStoreRef": store_ref(&self.store) });
        stage.pull("pull", &[("PASSWORD", "password")], reference).await?;
        stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", value)]).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
        Ok(())
    }

    /// The store and both its users say so, and none of them quotes a secret. Gives the value that
    /// waits in the source.
    async fn is_refused(&self, words: &[&str], secrets: &[&str]) -> anyhow::Result<String> {
        let stage = &self.stage;
        let value = format!("meanwhile {:08x}", rand::random::<u32>());
        stage.secret(&stage.producer, "source", &[("password", &value)]).await?;
        for said in [
            store_says(stage, &self.store, "False", "InvalidProviderConfig", words).await?,
            stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?,
            stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SecretSyncedError").await?,
        ] {
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            assert!(secrets.iter().all(|secret| !said.contains(secret)), "a secret is in: {said}");
        }
        Ok(value)
    }

    /// What was written meanwhile arrives, without anybody touching the resources.
    async fn recovers(&self, value: &str) -> anyhow::Result<()> {
        store_says(&self.stage, &self.store, "True", "Valid", &["store validated"]).await?;
        let stage = &self.stage;
        stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", value)]).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await.map(drop)
    }

    /// How often the controller has made such a request through this store.
    async fn calls(&self, call: &str) -> anyhow::Result<f64> {
        let labels = [format!("store=\"ClusterSecretStore/{}\"", self.store), format!("call=\"{call}\"")];
        let labels = labels.each_ref().map(String::as_str);
        self.stage.controller.metric("waypost_store_request_seconds_count", &labels).await
    }

    /// The requests to this test's path since the mark, by anybody but the administrator.
    pub fn requests(&self, mark: Mark) -> anyhow::Result<Vec<Request>> {
        let path = self.stage.path();
        let mut requests = self.audit.since_under(mark, "secret/")?;
        requests.retain(|request| request.path.ends_with(&path) && request.caller.display_name != "root");
        Ok(requests)
    }
}

/// An AppRole mount of a test's own, with one role.
pub struct AppRole {
    admin: VaultAdmin,
    mount: String,
    /// Its role id.
    pub role_id: String,
}

impl AppRole {
    /// `auth/<word>` with a role that has the rights of the shipped policies.
    pub async fn enable(admin: VaultAdmin, word: &str, policies: &[&str]) -> anyhow::Result<Self> {
        admin.enable_auth(word, "approle").await?;
        let role = format!("auth/{word}/role/waypost");
        let wanted = json!({ "token_policies": policies, "token_no_default_policy": true, "token_ttl": "1h" });
        admin.post(&role, &wanted).await?;
        let found = admin.get(&format!("{role}/role-id")).await?.unwrap_or_default();
        let role_id = found["data"]["role_id"].as_str().context("the role has an id")?.to_owned();
        Ok(AppRole { admin, mount: word.to_owned(), role_id })
    }

    pub async fn new_secret_id(&self) -> anyhow::Result<String> {
        let made = self.admin.post(&format!("auth/{}/role/waypost/secret-id", self.mount), &json!({})).await?;
        made["data"]["secret_id"].as_str().map(str::to_owned).context("a secret id")
    }

    /// `auth` of a store whose ids stand in the Secret `approle` of this namespace.
    pub fn auth(&self, namespace: &str) -> Value {
        json!({ "appRole": {
            "path": self.mount, "roleId": self.role_id,
            "secretRef": { "name": "approle", "namespace": namespace, "key": "secret-id" },
        } })
    }

    /// How often somebody logged in since the mark.
    pub fn logins(&self, audit: &AuditLog, mark: Mark) -> anyhow::Result<usize> {
        Ok(audit.since_under(mark, &format!("auth/{}/login", self.mount))?.len())
    }
}

const POLICIES: [&str; 2] = ["waypost-combined", "waypost-scan"];

#[tokio::test]
async fn approle_logs_in_once_and_a_new_secret_id_ends_the_old_session() -> anyhow::Result<()> {
    let stage = Stage::new("approle").await?;
    let role = AppRole::enable(Lab::shared().await?.vault_admin()?, &stage.word, &POLICIES).await?;
    let namespace = stage.producer.clone();
    let ids = [("role-id", role.role_id.as_str()), ("secret-id", &role.new_secret_id().await?)];
    stage.secret(&namespace, "approle", &ids).await?;
    let auth = role.auth(&namespace);
    let start = Lab::shared().await?.bao()?.audit().mark()?;
    let login = Login::by(stage, "vault", auth, json!({})).await?;
    login.carries("by the role id in the spec").await?;
    assert_eq!(role.logins(&login.audit, start)?, 1);

    let by_reference = json!({ "name": "approle", "namespace": namespace, "key": "role-id" });
    let auth = json!({ "auth": { "appRole": { "roleId": null, "roleRef": by_reference } } });
    edit_store(&login.stage, &login.store, auth).await?;
    login.carries("by the role id in a Secret").await?;
    assert_eq!(role.logins(&login.audit, start)?, 2);

    let mark = login.audit.mark()?;
    let renewed = [("role-id", role.role_id.as_str()), ("secret-id", &role.new_secret_id().await?)];
    login.stage.secret(&namespace, "approle", &renewed).await?;
    wait::until("one login with the new secret id", LATER, async || {
        Ok((role.logins(&login.audit, mark)? == 1).then_some(()))
    })
    .await?;
    wait::until("the sessions of the old one to be revoked", LATER, async || {
        let revoked = login.audit.since_under(start, "auth/token/revoke-self")?;
        let ours = |request: &&Request| request.caller.metadata.get("role_name").is_some_and(|role| role == "waypost");
        Ok((revoked.iter().filter(ours).count() >= 2).then_some(()))
    })
    .await?;
    login.carries("by the new secret id").await?;
    assert_eq!(role.logins(&login.audit, mark)?, 1, "a session lasts");
    // A Secret that is written again as it was is no reason to log in.
    login.stage.secret(&namespace, "approle", &renewed).await?;
    let annotated = json!({ "metadata": { "annotations": { "touched": "yes" } } });
    let secrets = login.stage.api::<Secret>(&namespace);
    secrets.patch("approle", &PatchParams::default(), &Patch::Merge(annotated)).await?;
    login.carries("as before").await?;
    assert_eq!(role.logins(&login.audit, mark)?, 1);
    remove_store(&login.stage, &login.store).await
}

#[tokio::test]
async fn a_wrong_secret_id_says_what_to_do_and_is_not_tried_again_and_again() -> anyhow::Result<()> {
    let stage = Stage::new("wrongid").await?;
    let role = AppRole::enable(Lab::shared().await?.vault_admin()?, &stage.word, &POLICIES).await?;
    let namespace = stage.producer.clone();
    let right = role.new_secret_id().await?;
    stage.secret(&namespace, "approle", &[("secret-id", &right)]).await?;
    let auth = role.auth(&namespace);
    let login = Login::by(stage, "vault", auth, json!({})).await?;
    login.carries("good").await?;

    let (since, mark) = (Instant::now(), login.audit.mark()?);
    let wrong = "5f1c0000-wrong-secret-id";
    login.stage.secret(&namespace, "approle", &[("secret-id", wrong)]).await?;
    let holder = format!("Secret {namespace}/approle");
    let words = [&format!("login denied by auth/{}", login.stage.word), "secret id in", &holder, "neither expired"];
    let waiting = login.is_refused(&words, &[wrong, &right, &role.role_id]).await?;
    login.stage.holds(&login.stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    // One attempt at once, and later ones after 1, 2, 4, … seconds.
    let attempts = role.logins(&login.audit, mark)?;
    let most = 2 + since.elapsed().as_secs().checked_ilog2().unwrap_or(0) as usize;
    assert!((1..=most).contains(&attempts), "{attempts} attempts in {:?}", since.elapsed());

    login.stage.secret(&namespace, "approle", &[("secret-id", &right)]).await?;
    login.recovers(&waiting).await?;
    // A credential that is withdrawn is not used any longer, and its return is noticed.
    login.stage.api::<Secret>(&namespace).delete("approle", &DeleteParams::default()).await?;
    let waiting = login.is_refused(&["the store's credential is not usable", &holder, "not found"], &[&right]).await?;
    login.stage.secret(&namespace, "approle", &[("secret-id", &right)]).await?;
    login.recovers(&waiting).await?;
    remove_store(&login.stage, &login.store).await
}

#[tokio::test]
async fn a_token_is_used_until_its_secret_holds_another_and_a_dead_one_is_said_to_be() -> anyhow::Result<()> {
    let stage = Stage::new("token").await?;
    let namespace = stage.producer.clone();
    let admin = Lab::shared().await?.vault_admin()?;
    let (first, second) = (new_token(&admin, "first").await?, new_token(&admin, "second").await?);
    stage.secret(&namespace, "token", &[("token", &first)]).await?;
    let auth = json!({ "tokenSecretRef": { "name": "token", "namespace": namespace } });
    let login = Login::by(stage, "vault", auth, json!({})).await?;
    let start = login.audit.mark()?;
    login.carries("by the first").await?;
    assert!(login.requests(start)?.iter().all(|request| request.caller.display_name == "token-first"));

    login.stage.secret(&namespace, "token", &[("token", &second)]).await?;
    wait::until("the second token to be used", LATER, async || {
        let requests = login.audit.since(start)?;
        Ok(requests.iter().any(|request| request.caller.display_name == "token-second").then_some(()))
    })
    .await?;
    let mark = login.audit.mark()?;
    login.carries("by the second").await?;
    let requests = login.requests(mark)?;
    assert!(!requests.is_empty() && requests.iter().all(|request| request.caller.display_name == "token-second"));

    // Revoked while it is in use.
    admin.post("auth/token/revoke", &json!({ "token": second })).await?;
    // No object here tells of that. Who asks the server finds out: the push by its new source, the
    // pull by a person's word.
    let asked = json!({ "metadata": { "annotations": { "waypost.io/force-sync": "now" } } });
    let pulls = login.stage.api::<ExternalSecret>(&login.stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(asked)).await?;
    let holder = format!("does not accept the token in Secret {namespace}/token");
    let waiting = login.is_refused(&[&holder, "put a valid token there"], &[&first, &second]).await?;
    login.stage.holds(&login.stage.consumer, "pull", &[("PASSWORD", "by the second")]).await?;
    let lookups = login.calls("LookupSelf").await?;
    assert!(lookups <= 4.0, "{lookups} lookups of a token that is dead");
    login.stage.secret(&namespace, "token", &[("token", &new_token(&admin, "third").await?)]).await?;
    login.recovers(&waiting).await?;

    let wrong = "s.this-token-was-never-made";
    login.stage.secret(&namespace, "token", &[("token", wrong)]).await?;
    let waiting = login.is_refused(&[&holder, "put a valid token there"], &[wrong]).await?;
    login.stage.secret(&namespace, "token", &[("token", &new_token(&admin, "fourth").await?)]).await?;
    login.recovers(&waiting).await?;
    remove_store(&login.stage, &login.store).await
}

/// A token with the rights of the shipped policies, which the audit log knows as `token-NAME`.
pub async fn new_token(admin: &VaultAdmin, name: &str) -> anyhow::Result<String> {
    let wanted = json!({ "policies": POLICIES, "no_default_policy": true, "display_name": name, "ttl": "1h" });
    let made = admin.post("auth/token/create", &wanted).await?;
    made["auth"]["client_token"].as_str().map(str::to_owned).context("a token")
}

/// Some roles give tokens that nobody can renew or revoke, or that end after a few requests.
#[tokio::test]
async fn a_role_whose_tokens_are_batch_or_count_their_uses_serves_like_any_other() -> anyhow::Result<()> {
    let account = json!({ "name": "external-secrets", "namespace": "external-secrets" });
    for (kind, tokens) in [("batch", json!({ "token_type": "batch" })), ("uses", json!({ "token_num_uses": 4 }))] {
        let stage = Stage::new(kind).await?;
        let usual = stage.vault.get("auth/kubernetes/role/external-secrets").await?.context("the usual role")?;
        let mut role = usual["data"].clone();
        for (field, value) in tokens.as_object().cloned().unwrap_or_default() {
            role[field] = value;
        }
        let name = stage.word.clone();
        stage.vault.post(&format!("auth/kubernetes/role/{name}"), &role).await?;
        let auth = json!({ "kubernetes": { "role": name, "serviceAccountRef": account } });
        let login = Login::by(stage, "vault", auth, json!({})).await?;
        for value in ["one", "two", "three"] {
            login.carries(value).await.with_context(|| format!("{kind}, {value}"))?;
        }
        store_says(&login.stage, &login.store, "True", "Valid", &["store validated"]).await?;
        remove_store(&login.stage, &login.store).await?;
    }
    Ok(())
}

#[tokio::test]
async fn openbao_is_a_provider_of_its_own_name() -> anyhow::Result<()> {
    let account = json!({ "name": "external-secrets", "namespace": "external-secrets" });
    let auth = json!({ "kubernetes": { "role": "external-secrets", "serviceAccountRef": account } });
    let login = Login::by(Stage::new("openbao").await?, "openBao", auth, json!({})).await?;
    store_says(&login.stage, &login.store, "True", "Valid", &["store validated"]).await?;
    login.carries("good").await?;
    login.carries("better").await?;
    remove_store(&login.stage, &login.store).await
}
