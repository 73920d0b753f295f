//! Stores of tenants: each namespace logs in with its own credential, and never with another's.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, SecretStore};
use waypost_e2e::lab::{Lab, Mark, VaultAdmin, ca_bundle};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref};
use crate::logins::{Login, new_token};
use crate::stage::{LATER, Stage, condition};

#[tokio::test]
async fn each_namespace_brings_its_own_token_to_a_store_that_names_none() -> anyhow::Result<()> {
    let stage = Stage::new("referent").await?;
    let admin = Lab::shared().await?.vault_admin()?;
    let [one, other] = [stage.producer.clone(), stage.consumer.clone()];
    admin.write("secret", &stage.path(), &json!({ "password": "good" })).await?;
    stage.secret(&one, "token", &[("token", &new_token(&admin, "one").await?)]).await?;
    let auth = json!({ "tokenSecretRef": { "name": "token" } });
    let login = Login::by(stage, "vault", auth, json!({})).await?;
    let (stage, start) = (&login.stage, login.audit.mark()?);
    let entry = json!({ "secretKey": "PASSWORD", "remoteRef": { "key": stage.path(), "property": "password" } });
    let spec = json!({ "refreshInterval": "24h", "secretStoreRef": store_ref(&login.store), "data": [entry] });
    for namespace in [&one, &other] {
        stage.apply::<ExternalSecret>(namespace, "pull", spec.clone()).await?;
    }
    stage.holds(&one, "pull", &[("PASSWORD", "good")]).await?;
    let said = stage.ready::<ExternalSecret>(&other, "pull", "False", "SecretSyncedError").await?;
    assert!(said.contains(&format!("Secret {other}/token: not found")), "{said}");

    stage.secret(&other, "token", &[("token", &new_token(&admin, "other").await?)]).await?;
    stage.holds(&other, "pull", &[("PASSWORD", "good")]).await?;
    let callers = |mark: Mark| -> anyhow::Result<BTreeSet<String>> {
        Ok(login.requests(mark)?.into_iter().map(|request| request.caller.display_name).collect())
    };
    assert_eq!(callers(start)?, ["token-one", "token-other"].map(str::to_owned).into());

    // A namespace that changes its token changes no other's session.
    stage.secret(&other, "token", &[("token", &new_token(&admin, "another").await?)]).await?;
    let mark = login.audit.mark()?;
    admin.write("secret", &stage.path(), &json!({ "password": "better" })).await?;
    wait::until("both to be used, and the new one by its own namespace", LATER, async || {
        for namespace in [&one, &other] {
            let sync = json!({ "metadata": { "annotations": { "force-sync": rand::random::<u32>().to_string() } } });
            let pulls = stage.api::<ExternalSecret>(namespace);
            pulls.patch("pull", &PatchParams::default(), &Patch::Merge(sync)).await?;
        }
        let seen = callers(mark)?;
        Ok((seen.contains("token-one") && seen.contains("token-another")).then_some(()))
    })
    .await?;
    for namespace in [&one, &other] {
        stage.holds(namespace, "pull", &[("PASSWORD", "better")]).await?;
    }
    remove_store(stage, &login.store).await
}

#[tokio::test]
async fn a_tenant_logs_in_with_a_service_account_of_its_own_once_it_allows_that() -> anyhow::Result<()> {
    let tenant = Tenant::new("tenant").await?;
    let stage = &tenant.stage;
    tenant.store(json!({ "serviceAccountRef": { "name": "reader" } })).await?;
    tenant.pull().await?;
    let refused = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SecretSyncedError").await?;
    let object = format!("a token of ServiceAccount {}/reader", stage.consumer);
    let right = format!("may not create serviceaccounts/token in namespace {}", stage.consumer);
    assert!(refused.contains(&object) && refused.contains(&right), "{refused}");

    tenant.allow_token_requests().await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    let stores = stage.api::<SecretStore>(&stage.consumer);
    wait::until("the SecretStore to be valid", LATER, async || {
        let store = serde_json::to_value(stores.get("vault").await?)?;
        Ok(condition(&store).filter(|ready| ready["reason"] == "Valid").map(drop))
    })
    .await
}

#[tokio::test]
async fn r6_a_service_account_that_does_not_exist_is_no_denial() -> anyhow::Result<()> {
    let tenant = Tenant::new("noaccount").await?;
    let stage = &tenant.stage;
    allow_token_requests(stage, &stage.consumer, "nobody").await?;
    tenant.store(json!({ "serviceAccountRef": { "name": "nobody" } })).await?;
    tenant.pull().await?;
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    let missing = format!("ServiceAccount {}/nobody: not found: create it, or correct the reference", stage.consumer);
    wait::until("the next step to be named", LATER, async || {
        let pull = serde_json::to_value(pulls.get("pull").await?)?;
        let ready = condition(&pull).cloned().unwrap_or_default();
        let message = ready["message"].as_str().unwrap_or_default();
        // The right that was granted takes a moment.
        anyhow::ensure!(message.contains(&missing) && !message.contains("forbidden"), "it says {ready}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_legacy_service_account_token_in_a_secret_logs_in_too() -> anyhow::Result<()> {
    let tenant = Tenant::new("legacy").await?;
    let stage = &tenant.stage;
    let secrets = stage.api::<Secret>(&stage.consumer);
    let holder: Secret = serde_json::from_value(json!({
        "metadata": { "name": "reader-token", "annotations": { "kubernetes.io/service-account.name": "reader" } },
        "type": "kubernetes.io/service-account-token",
    }))?;
    secrets.create(&PostParams::default(), &holder).await?;
    wait::until("the token controller to fill it", LATER, async || {
        let data = secrets.get("reader-token").await?.data.unwrap_or_default();
        Ok(data.contains_key("token").then_some(()))
    })
    .await?;
    tenant.store(json!({ "secretRef": { "name": "reader-token" } })).await?;
    tenant.pull().await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "good")]).await.map(drop)
}

/// A namespace with a ServiceAccount that a role of its own lets read.
struct Tenant {
    stage: Stage,
}

impl Tenant {
    async fn new(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        stage.vault.write("secret", &stage.path(), &json!({ "password": "good" })).await?;
        account(&stage, &stage.consumer, "reader", "waypost-consumer").await?;
        Ok(Tenant { stage })
    }

    /// A SecretStore that logs in by Kubernetes auth with this.
    async fn store(&self, jwt: Value) -> anyhow::Result<()> {
        let spec = store_spec(&self.stage, jwt).await?;
        self.stage.apply::<SecretStore>(&self.stage.consumer, "vault", spec).await.map(drop)
    }

    async fn pull(&self) -> anyhow::Result<()> {
        let reference = json!({ "secretStoreRef": { "kind": "SecretStore", "name": "vault" } });
        self.stage.pull("pull", &[("PASSWORD", "password")], reference).await.map(drop)
    }

    async fn allow_token_requests(&self) -> anyhow::Result<()> {
        allow_token_requests(&self.stage, &self.stage.consumer, "reader").await
    }
}

/// A Vault role by which a ServiceAccount logs in to these policies.
pub async fn may_log_in(
    vault: &VaultAdmin,
    role: &str,
    namespace: &str,
    account: &str,
    policy: &str,
) -> anyhow::Result<()> {
    let bound = json!({
        "bound_service_account_names": [account], "bound_service_account_namespaces": [namespace],
        "token_policies": [policy], "token_no_default_policy": true,
    });
    vault.post(&format!("auth/kubernetes/role/{role}"), &bound).await.map(drop)
}

/// A ServiceAccount, and the Vault role (of the test's name) by which it logs in to these policies.
pub async fn account(stage: &Stage, namespace: &str, name: &str, policy: &str) -> anyhow::Result<()> {
    may_log_in(&stage.vault, &stage.word, namespace, name, policy).await?;
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    stage.api(namespace).create(&PostParams::default(), &account).await?;
    Ok(())
}

/// A SecretStore that logs in to that role by Kubernetes auth with this.
pub async fn store_spec(stage: &Stage, jwt: Value) -> anyhow::Result<Value> {
    let lab = Lab::shared().await?;
    let mut kubernetes = json!({ "mountPath": "kubernetes", "role": stage.word });
    for (field, value) in jwt.as_object().cloned().unwrap_or_default() {
        kubernetes[field] = value;
    }
    let vault = json!({
        "server": lab.vault_addr(), "path": "secret", "auth": { "kubernetes": kubernetes },
        "caBundle": ca_bundle(lab.vault_ca_pem().unwrap_or_default()),
    });
    Ok(json!({ "provider": { "vault": vault } }))
}

/// The Role and RoleBinding that `deploy/kustomize/rbac/token-request.yaml` tells a tenant to add.
pub async fn allow_token_requests(stage: &Stage, namespace: &str, account: &str) -> anyhow::Result<()> {
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": "waypost-token-request" },
        "rules": [{
            "apiGroups": [""], "resources": ["serviceaccounts/token"],
            "resourceNames": [account], "verbs": ["create"],
        }],
    }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "waypost-token-request" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "waypost-token-request" },
        "subjects": [{ "kind": "ServiceAccount", "name": "external-secrets", "namespace": "external-secrets" }],
    }))?;
    stage.api(namespace).create(&PostParams::default(), &role).await?;
    stage.api(namespace).create(&PostParams::default(), &binding).await?;
    Ok(())
}
