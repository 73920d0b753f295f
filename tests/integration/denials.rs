//! Messages name who denied a request, and the next step, and repeat nothing that the denial
//! quotes.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ResourceQuota, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use serde_json::{Value, json};
use waypost::api::ExternalSecret;
use waypost::cluster::ClusterError;
use waypost_e2e::lab::{Lab, ca_bundle};
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};
use crate::webhook;

/// The value in the Secrets that are denied.
const VALUE: &str = "s3cret-that-nobody-says";

fn secret(key: &str) -> Secret {
    let metadata = ObjectMeta { generate_name: Some("refused-".to_owned()), ..ObjectMeta::default() };
    let data = BTreeMap::from([(key.to_owned(), ByteString(VALUE.as_bytes().to_vec()))]);
    Secret { metadata, data: Some(data), ..Secret::default() }
}

/// What is said of a Secret that the API server refuses to create.
async fn refusal(secrets: &Api<Secret>, secret: &Secret) -> anyhow::Result<String> {
    let refused = secrets.create(&PostParams::default(), secret).await.err().context("it is created")?;
    let said = ClusterError::from_kube("create", "Secret", &refused).to_string();
    ensure!(!said.contains(VALUE), "{said}");
    Ok(said)
}

/// Whether no Secret can be created now; none is.
async fn is_refused(secrets: &Api<Secret>) -> anyhow::Result<Option<()>> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Ok(secrets.create(&dry, &secret("key")).await.is_err().then_some(()))
}

/// A quota of no Secret at all, once it is in force: the API server enforces it from a cache of its
/// own, some time after it is counted.
async fn no_secrets(stage: &Stage) -> anyhow::Result<()> {
    let quota = json!({ "metadata": { "name": "none-at-all" }, "spec": { "hard": { "count/secrets": "0" } } });
    let quotas = stage.api::<ResourceQuota>(&stage.consumer);
    quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    wait::until("the quota to be in force", LATER, async || is_refused(&secrets).await).await
}

#[tokio::test]
async fn a_quota_is_named_in_the_condition_with_how_to_look_at_it() -> anyhow::Result<()> {
    let stage = Stage::new("quota").await?;
    no_secrets(&stage).await?;
    let said = refusal(&stage.api(&stage.consumer), &secret("key")).await?;
    ensure!(said.contains("kubectl describe resourcequota none-at-all"), "{said}");
    let said = condition_of_a_denied_target(&stage).await?;
    ensure!(said.contains("the ResourceQuota none-at-all is used up"), "{said}");
    Ok(())
}

/// What an ExternalSecret says whose target the API server refuses to create.
async fn condition_of_a_denied_target(stage: &Stage) -> anyhow::Result<String> {
    stage.vault.write("secret", &stage.path(), &json!({ "password": VALUE })).await?;
    stage.pull("pull", &[("key", "password")], json!({})).await?;
    let said = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SecretSyncedError").await?;
    ensure!(!said.contains(VALUE) && !said.contains(&STANDARD.encode(VALUE)), "{said}");
    Ok(said)
}

/// The creation of Secrets, for what is asked about it.
fn new_secrets() -> Value {
    json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"] })
}

/// The consumer's namespace alone.
fn in_consumer(stage: &Stage) -> Value {
    json!({ "matchLabels": { "kubernetes.io/metadata.name": stage.consumer } })
}

/// A policy against Secrets in the consumer's namespace; it quotes what it refuses.
async fn policy(
    stage: &Stage,
) -> anyhow::Result<(Api<ValidatingAdmissionPolicy>, Api<ValidatingAdmissionPolicyBinding>)> {
    let validation = json!({ "expression": "false", "messageExpression": "'no: ' + string(object.data['key'])" });
    let policy = json!({ "metadata": { "name": stage.word }, "spec": {
        "matchConstraints": { "resourceRules": [new_secrets()] }, "validations": [validation],
    } });
    let binding = json!({ "metadata": { "name": stage.word }, "spec": {
        "policyName": stage.word, "validationActions": ["Deny"],
        "matchResources": { "namespaceSelector": in_consumer(stage) },
    } });
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(stage.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    Ok((policies, bindings))
}

#[tokio::test]
async fn an_admission_policy_is_named_and_what_it_quotes_is_not() -> anyhow::Result<()> {
    let stage = Stage::new("vap").await?;
    let (policies, bindings) = policy(&stage).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    wait::until("the policy to be in force", LATER, async || is_refused(&secrets).await).await?;
    let said = refusal(&secrets, &secret("key")).await?;
    let denies = format!("the ValidatingAdmissionPolicy {} denies it", stage.word);
    ensure!(said.contains(&denies), "{said}");
    let said = condition_of_a_denied_target(&stage).await?;
    ensure!(said.contains(&denies), "{said}");
    policies.delete(&stage.word, &DeleteParams::default()).await?;
    bindings.delete(&stage.word, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn an_admission_webhook_is_named_and_what_it_quotes_is_not() -> anyhow::Result<()> {
    let stage = Stage::new("webhook").await?;
    let (webhook, name) = (webhook::that_denies(VALUE)?, format!("{}.example.com", stage.word));
    let configuration = json!({ "metadata": { "name": stage.word }, "webhooks": [{
        "name": name, "clientConfig": { "url": webhook.url, "caBundle": ca_bundle(&webhook.ca_pem) },
        "rules": [new_secrets()], "namespaceSelector": in_consumer(&stage),
        "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
    }] });
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
    webhooks.create(&PostParams::default(), &serde_json::from_value(configuration)?).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    wait::until("the webhook to be in force", LATER, async || is_refused(&secrets).await).await?;
    let denies = format!("the admission webhook {name} denies it");
    let said = refusal(&secrets, &secret("key")).await?;
    ensure!(said.contains(&denies), "{said}");
    let said = condition_of_a_denied_target(&stage).await?;
    ensure!(said.contains(&denies), "{said}");
    webhooks.delete(&stage.word, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn a_field_that_is_not_valid_is_named() -> anyhow::Result<()> {
    let stage = Stage::new("fields").await?;
    let said = refusal(&stage.api(&stage.consumer), &secret("a b")).await?;
    ensure!(said.ends_with("not valid: `data[a b]`"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_missing_right_is_named_with_the_command_that_checks_it() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("right").await?, Lab::shared().await?);
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "nobody" } }))?;
    stage.api::<ServiceAccount>(&stage.consumer).create(&PostParams::default(), &account).await?;
    let client = lab.kube_as(&stage.consumer, "nobody").await?;
    let said = refusal(&Api::namespaced(client.clone(), &stage.consumer), &secret("key")).await?;
    ensure!(said.contains(&format!("may not create secrets in namespace {}", stage.consumer)), "{said}");
    ensure!(can_i(lab, &said).await? == "no", "{said}");

    let accounts: Api<ServiceAccount> = Api::namespaced(client, &stage.consumer);
    let refused = accounts.create_token_request("nobody", &PostParams::default(), &Default::default()).await;
    let refused = refused.err().context("a token is issued")?;
    let said = ClusterError::from_kube("request a token of", "ServiceAccount", &refused).to_string();
    ensure!(said.contains("may not create serviceaccounts/token"), "{said}");
    ensure!(can_i(lab, &said).await? == "no", "{said}");
    grant(&stage).await?;
    wait::until("the right to be there", LATER, async || Ok((can_i(lab, &said).await? == "yes").then_some(()))).await
}

/// Grants the account what it lacked.
async fn grant(stage: &Stage) -> anyhow::Result<()> {
    use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
    let rule = json!({ "apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"] });
    let role: Value = json!({ "metadata": { "name": "token" }, "rules": [rule] });
    let subject = json!({ "kind": "ServiceAccount", "name": "nobody", "namespace": stage.consumer });
    let binding = json!({
        "metadata": { "name": "token" }, "subjects": [subject],
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "token" },
    });
    let params = PostParams::default();
    stage.api::<Role>(&stage.consumer).create(&params, &serde_json::from_value(role)?).await?;
    stage.api::<RoleBinding>(&stage.consumer).create(&params, &serde_json::from_value(binding)?).await?;
    Ok(())
}

/// What the command answers that a message ends with.
async fn can_i(lab: &Lab, said: &str) -> anyhow::Result<String> {
    let (_, command) = said.split_once("check with kubectl ").context("a command")?;
    let output = lab.kubectl().args(command.split(' ')).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
