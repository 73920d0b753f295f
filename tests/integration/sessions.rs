//! Sessions: a revoked token costs one login, and a forbidding policy costs none.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, VaultAdmin};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref, store_says};
use crate::logins::{AppRole, Login};
use crate::stage::{LATER, Stage};

/// More consumers of one session.
const CONSUMERS: usize = 12;

/// Lets a session look after itself and find its mount, and what it may do there is nothing.
const NO_DATA: &str = r#"
path "auth/token/lookup-self" { capabilities = ["read"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }
path "secret/data/elsewhere/*" { capabilities = ["read"] }
"#;

/// A store with one session that many use all the time, and may do what a policy of its own lets
/// it.
struct Session {
    login: Login,
    role: AppRole,
    admin: VaultAdmin,
    rules: String,
}

impl Session {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        let admin = Lab::shared().await?.vault_admin()?;
        let rules = admin.get("sys/policies/acl/waypost-combined").await?.unwrap_or_default();
        let rules = rules["data"]["policy"].as_str().unwrap_or_default().to_owned();
        admin.put_policy(&stage.word, &rules).await?;
        let role = AppRole::enable(Lab::shared().await?.vault_admin()?, &stage.word, &[&stage.word]).await?;
        stage.secret(&stage.producer, "approle", &[("secret-id", &role.new_secret_id().await?)]).await?;
        let auth = role.auth(&stage.producer);
        let login = Login::by(stage, "vault", auth, json!({})).await?;
        login.carries("good").await?;
        let more = json!({ "secretStoreRef": store_ref(&login.store), "refreshInterval": "1s" });
        for number in 0..CONSUMERS {
            login.stage.pull(&format!("pull{number}"), &[("PASSWORD", "password")], more.clone()).await?;
        }
        let session = Session { login, role, admin, rules };
        session.all_hold("good").await?;
        Ok(session)
    }

    async fn all_hold(&self, value: &str) -> anyhow::Result<Vec<Secret>> {
        let (stage, mut targets) = (&self.login.stage, Vec::new());
        for number in 0..CONSUMERS {
            let name = format!("pull{number}");
            targets.push(stage.holds_within(LATER, &stage.consumer, &name, &[("PASSWORD", value)]).await?);
        }
        Ok(targets)
    }

    async fn push(&self, value: &str) -> anyhow::Result<()> {
        let stage = &self.login.stage;
        stage.secret(&stage.producer, "source", &[("password", value)]).await.map(drop)
    }

    /// Revokes the tokens of this session's login by their accessors, as an administrator does.
    async fn revoke(&self) -> anyhow::Result<usize> {
        let listed = self.admin.get("auth/token/accessors?list=true").await?.unwrap_or_default();
        let (path, mut revoked) = (format!("auth/{}/login", self.login.stage.word), 0);
        for accessor in listed["data"]["keys"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let accessor = json!({ "accessor": accessor });
            // Tokens of other tests end while we look.
            let (_, token) = self.admin.request("POST", "auth/token/lookup-accessor", Some(&accessor)).await?;
            if token["data"]["path"] == path {
                self.admin.post("auth/token/revoke-accessor", &accessor).await?;
                revoked += 1;
            }
        }
        Ok(revoked)
    }
}

#[tokio::test]
async fn a_revoked_token_costs_one_login_and_no_data() -> anyhow::Result<()> {
    let session = Session::begin("revoked").await?;
    let before = session.all_hold("good").await?;
    let mark = session.login.audit.mark()?;
    assert_eq!(session.revoke().await?, 1, "all consumers share one session");
    wait::until("the session to be replaced", LATER, async || {
        Ok((session.role.logins(&session.login.audit, mark)? > 0).then_some(()))
    })
    .await?;
    let after = session.all_hold("good").await?;
    let versions = |targets: &[Secret]| targets.iter().map(ResourceExt::resource_version).collect::<Vec<_>>();
    assert_eq!(versions(&after), versions(&before), "nothing was written for it");

    session.push("better").await?;
    session.all_hold("better").await?;
    let stage = &session.login.stage;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull0", "True", "SecretSynced").await?;
    assert_eq!(session.role.logins(&session.login.audit, mark)?, 1, "one login for all");
    remove_store(stage, &session.login.store).await
}

#[tokio::test]
async fn a_policy_that_forbids_causes_no_login() -> anyhow::Result<()> {
    let session = Session::begin("forbidden").await?;
    let before = session.all_hold("good").await?;
    let (stage, audit) = (&session.login.stage, &session.login.audit);
    let mark = audit.mark()?;
    session.admin.put_policy(&stage.word, NO_DATA).await?;
    session.push("meanwhile").await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "NotPermitted").await?;
    assert!(said.contains("permission denied to read secret/data/") && said.contains("policy"), "{said}");
    for number in 0..CONSUMERS {
        let name = format!("pull{number}");
        let said = stage.ready::<ExternalSecret>(&stage.consumer, &name, "False", "SecretSyncedError").await?;
        assert!(said.contains("permission denied"), "{said}");
    }
    // Each looks again on its own, and the token is asked about once for each request that was
    // refused.
    wait::until("twenty requests to be refused", LATER, async || {
        let requests = audit.since_under(mark, "secret/")?;
        Ok((requests.iter().filter(|request| request.path.ends_with(&stage.path())).count() >= 20).then_some(()))
    })
    .await?;
    assert_eq!(session.role.logins(audit, mark)?, 0);
    let after = session.all_hold("good").await?;
    assert_eq!(after[0].resource_version(), before[0].resource_version());

    session.admin.put_policy(&stage.word, &session.rules).await?;
    session.all_hold("meanwhile").await?;
    assert_eq!(session.role.logins(audit, mark)?, 0);
    remove_store(stage, &session.login.store).await
}

#[tokio::test]
async fn a_push_that_may_not_see_metadata_names_the_right_and_claims_nothing() -> anyhow::Result<()> {
    let (stage, admin) = (Stage::new("unseen").await?, Lab::shared().await?.vault_admin()?);
    let shipped = admin.get("sys/policies/acl/waypost-combined").await?.unwrap_or_default();
    let shipped = shipped["data"]["policy"].as_str().unwrap_or_default().to_owned();
    let (seeing, blind) =
        (r#"["create", "read", "update", "patch", "list"]"#, r#"["create", "update", "patch", "list"]"#);
    assert!(shipped.contains(seeing), "the rules of metadata are spelled so: {shipped}");
    admin.put_policy(&stage.word, &shipped.replace(seeing, blind)).await?;
    let role = AppRole::enable(Lab::shared().await?.vault_admin()?, &stage.word, &[&stage.word]).await?;
    stage.secret(&stage.producer, "approle", &[("secret-id", &role.new_secret_id().await?)]).await?;
    let auth = role.auth(&stage.producer);
    let login = Login::by(stage, "vault", auth, json!({})).await?;
    let stage = &login.stage;
    store_says(stage, &login.store, "True", "Valid", &["its policies lack `read` at secret/metadata/"]).await?;
    // An entry without versions answers like none, until its metadata is asked for.
    let metadata = format!("secret/metadata/{}", stage.path());
    admin.post(&metadata, &json!({ "max_versions": 0 })).await?;
    let mark = login.audit.mark()?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage
        .push("push", "source", &[("password", "password")], json!({ "secretStoreRefs": [store_ref(&login.store)] }))
        .await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "NotPermitted").await?;
    assert!(
        said.contains(&format!("permission denied to read {metadata}")) && said.contains("policies/vault"),
        "{said}"
    );
    touch(stage, "again").await?;
    wait::until("a second look", LATER, async || {
        let looks = login.requests(mark)?;
        Ok((looks.iter().filter(|request| request.path == metadata).count() >= 2).then_some(()))
    })
    .await?;
    let requests = login.requests(mark)?;
    assert!(requests.iter().all(|request| !request.is_write()) && requests.len() <= 8, "{requests:?}");
    assert_eq!((stage.version().await?, stage.stored().await?), (0, Value::Null));

    admin.put_policy(&stage.word, &shipped).await?;
    touch(stage, "permitted").await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "one" })));
    remove_store(stage, &login.store).await
}

/// An annotation, which lets the PushSecret be looked at again.
async fn touch(stage: &Stage, word: &str) -> anyhow::Result<()> {
    let touched = json!({ "metadata": { "annotations": { "touched": word } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(touched)).await?;
    Ok(())
}
