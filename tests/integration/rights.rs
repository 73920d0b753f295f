//! S6: the controller uses all its rights. The shipped rights are compared with what the API server
//! recorded.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;

use anyhow::{Context, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waypost::api::{ClusterExternalSecret, ExternalSecret, PushSecret, SecretStore, names};
use waypost_e2e::lab::{ApiRequest, CONTROLLER_ACCOUNT, Lab, LabOptions, ca_bundle, repository};
use waypost_e2e::turns::heavy;
use waypost_e2e::wait;

use crate::bad_pull::told_that_it_does_not_decode;
use crate::bad_store::edit_store;
use crate::fan_out::{self, in_place, label};
use crate::stage::{LATER, SOON, STORE, Stage, condition, mapping, own_lab};
use crate::status_denied::told_later;

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

/// One right: a verb on a resource, perhaps in one namespace and of one name only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    group: String,
    /// With its subresource, as RBAC writes it.
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Right {
    fn is_used_by(&self, request: &ApiRequest) -> bool {
        let Some(object) = &request.object else { return false };
        let resource = match object.subresource.as_str() {
            "" => object.resource.clone(),
            subresource => format!("{}/{subresource}", object.resource),
        };
        self.verb == request.verb
            && (&self.group, &self.resource) == (&object.api_group, &resource)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace)
            && self.name.as_ref().is_none_or(|name| *name == object.name)
    }

    /// Asked for within the admission of another request, and so never in an audit log:
    /// [`a_blocking_owner_needs_it`] shows that it is needed.
    fn is_asked_for_in_admission(&self) -> bool {
        let blocking = ["externalsecrets/finalizers", "clusterpushsecrets/finalizers"];
        self.verb == "update" && blocking.contains(&self.resource.as_str())
    }
}

#[tokio::test]
async fn s6_every_right_that_we_ship_is_used_and_nothing_is_refused() -> anyhow::Result<()> {
    let granted = granted()?;
    let permit = heavy().await?;
    let lab = own_lab(&permit, LabOptions::default(), &[]).await?;
    let stage = Stage::on(&lab, &lab.controller, "rights").await?;
    publish(&lab, &stage).await?;
    consume(&lab, &stage).await?;
    told_that_it_does_not_decode(&stage, "odd").await?;
    fan_out(&lab, &stage).await?;
    unserved(&stage).await?;
    told_later(&lab, &stage).await?;

    let audit = lab.api_audit()?;
    wait::until("every right to be used", SOON, async || {
        let requests = audit.requests()?;
        let unused: Vec<_> = (granted.iter())
            .filter(|right| !right.is_asked_for_in_admission() && !requests.iter().any(|one| right.is_used_by(one)))
            .collect();
        ensure!(unused.is_empty(), "granted and never used: {unused:#?}");
        Ok(Some(()))
    })
    .await?;
    for request in audit.requests()? {
        ensure!(request.allowed && ![401, 403].contains(&request.code), "refused: {request:?}");
        ensure!(
            granted.iter().any(|right| right.is_used_by(&request)),
            "allowed by a rule that is not ours: {request:?}"
        );
    }
    Ok(())
}

/// The rights that `deploy/kustomize/rbac` gives the controller, one by one.
fn granted() -> anyhow::Result<BTreeSet<Right>> {
    let (mut rules, mut bindings) = (Vec::new(), Vec::new());
    for file in fs::read_dir(repository().join("deploy/kustomize/rbac"))? {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(file?.path())?)?;
        for document in documents {
            match document["kind"].as_str() {
                Some("ClusterRole" | "Role") => rules.push(document),
                Some("ClusterRoleBinding" | "RoleBinding") => bindings.push(document),
                Some(_) | None => {}
            }
        }
    }
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let controller = json!({ "kind": "ServiceAccount", "name": account, "namespace": namespace });
    let mut rights = BTreeSet::new();
    for binding in bindings {
        ensure!(binding["subjects"] == json!([controller]), "somebody else is given rights: {binding}");
        let given = |role: &&Value| {
            role["kind"] == binding["roleRef"]["kind"] && role["metadata"]["name"] == binding["roleRef"]["name"]
        };
        let role = rules.iter().find(given).with_context(|| format!("no role for {binding}"))?;
        let namespace = binding["metadata"]["namespace"].as_str();
        for rule in role["rules"].as_array().into_iter().flatten() {
            rights.extend(expanded(rule, namespace)?);
        }
    }
    ensure!(rights.len() > 20, "only {rights:?}");
    Ok(rights)
}

fn expanded(rule: &Value, namespace: Option<&str>) -> anyhow::Result<Vec<Right>> {
    let words = |field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let [verbs, groups, resources, names] = ["verbs", "apiGroups", "resources", "resourceNames"].map(words);
    let mut all = verbs.iter().chain(&groups).chain(&resources);
    ensure!(!all.any(|word| word.contains('*')) && rule.get("nonResourceURLs").is_none(), "a wildcard: {rule}");
    let names: Vec<Option<String>> = match names.is_empty() {
        true => vec![None],
        false => names.into_iter().map(Some).collect(),
    };
    let mut rights = Vec::new();
    for (group, resource) in groups.iter().flat_map(|group| resources.iter().map(move |resource| (group, resource))) {
        for (verb, name) in verbs.iter().flat_map(|verb| names.iter().map(move |name| (verb, name))) {
            rights.push(Right {
                verb: verb.clone(),
                group: group.clone(),
                resource: resource.clone(),
                namespace: namespace.map(str::to_owned),
                name: name.clone(),
            });
        }
    }
    Ok(rights)
}

/// A store that a ConfigMap vouches for and that chooses namespaces by label; what is published
/// through it, withdrawn and fought for.
async fn publish(lab: &Lab, stage: &Stage) -> anyhow::Result<()> {
    let map = json!({ "metadata": { "name": "ca" }, "data": { "ca.crt": lab.vault_ca_pem() } });
    stage.api::<ConfigMap>(&stage.producer).create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    let by_label =
        json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": stage.producer } } }]);
    stage.admit(STORE, by_label).await?;
    let vouched = json!({ "caBundle": null, "caProvider": {
        "type": "ConfigMap", "name": "ca", "namespace": stage.producer, "key": "ca.crt",
    } });
    edit_store(stage, STORE, vouched).await?;

    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.push("rival", "source", PASSWORD, json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "rival", "False", "PathConflict").await?;
    stage.delete::<PushSecret>(&stage.producer, "rival").await?;
    // An Event that was told before is counted up.
    stage.delete::<Secret>(&stage.producer, "source").await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceDeleted").await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;

    let doomed = json!({ "deletionPolicy": "Delete", "data": [mapping("password", &format!("{}-doomed", stage.path()), "password")] });
    stage.push("doomed", "source", &[], doomed).await?;
    stage.ready::<PushSecret>(&stage.producer, "doomed", "True", "Synced").await?;
    stage.delete::<PushSecret>(&stage.producer, "doomed").await?;
    gone::<PushSecret>(stage, &stage.producer, "doomed").await
}

/// A store of the namespace's own with a token in a Secret; what is read through it, changed,
/// repaired, renamed and let go.
async fn consume(lab: &Lab, stage: &Stage) -> anyhow::Result<()> {
    let token = stage.vault.create_token(&["waypost-consumer"], "1h").await?;
    stage.secret(&stage.consumer, "token", &[("token", &token)]).await?;
    let vault = json!({
        "server": lab.vault_addr(), "path": "secret", "version": "v2",
        "caBundle": ca_bundle(lab.vault_ca_pem().unwrap_or_default()),
        "auth": { "tokenSecretRef": { "name": "token", "key": "token" } },
    });
    stage.apply::<SecretStore>(&stage.consumer, "own", json!({ "provider": { "vault": vault } })).await?;
    let own = |more: Value| {
        let mut spec = json!({ "secretStoreRef": { "kind": "SecretStore", "name": "own" }, "refreshInterval": "1s" });
        spec["target"] = more;
        spec
    };
    stage.pull("pull", PASSWORD, own(json!({}))).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("password", "two")]).await?;
    stage.secret(&stage.producer, "source", &[("password", "three")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "three")]).await?;
    stage.delete::<Secret>(&stage.consumer, "pull").await?;
    stage.holds(&stage.consumer, "pull", &[("password", "three")]).await?;
    stage.pull("pull", PASSWORD, own(json!({ "name": "renamed" }))).await?;
    stage.holds(&stage.consumer, "renamed", &[("password", "three")]).await?;
    gone::<Secret>(stage, &stage.consumer, "pull").await?;

    stage.pull("migrated", PASSWORD, own(json!({}))).await?;
    stage.holds(&stage.consumer, "migrated", &[("password", "three")]).await?;
    let held = json!({ "metadata": { "finalizers": [names::FINALIZER_EXTERNAL_SECRET] } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("migrated", &PatchParams::default(), &Patch::Merge(held)).await?;
    stage.delete::<ExternalSecret>(&stage.consumer, "migrated").await?;
    gone::<ExternalSecret>(stage, &stage.consumer, "migrated").await
}

/// A target and a child block the deletion of what they were made for; the child goes when its
/// namespace no longer matches.
async fn fan_out(lab: &Lab, stage: &Stage) -> anyhow::Result<()> {
    let target = stage.api::<Secret>(&stage.consumer).get("renamed").await?;
    a_blocking_owner_needs_it(lab, stage, "target", target.metadata.owner_references).await?;
    label(stage, &stage.consumer, json!(stage.word)).await?;
    fan_out::fan_out(stage, json!({})).await?;
    in_place(stage, LATER, &[&stage.consumer]).await?;
    let child = stage.api::<PushSecret>(&stage.consumer).get(&stage.word).await?;
    a_blocking_owner_needs_it(lab, stage, "child", child.metadata.owner_references).await?;
    label(stage, &stage.consumer, Value::Null).await?;
    in_place(stage, SOON, &[]).await
}

/// The cluster-wide kind that is told that it is not served.
async fn unserved(stage: &Stage) -> anyhow::Result<()> {
    let selectors = json!([{ "matchLabels": { "nobody": stage.word } }]);
    let spec = json!({ "namespaceSelectors": selectors, "externalSecretSpec": {
        "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
        "data": [{ "secretKey": "a", "remoteRef": { "key": stage.path(), "property": "password" } }],
    } });
    let all: Api<ClusterExternalSecret> = Api::all(stage.client.clone());
    let object = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ClusterExternalSecret",
        "metadata": { "name": stage.word }, "spec": spec,
    });
    all.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    wait::until("a cluster-wide resource is told that it is not served", LATER, async || {
        let found = serde_json::to_value(all.get(&stage.word).await?)?;
        Ok(condition(&found).filter(|ready| ready["reason"] == "Unsupported").map(drop))
    })
    .await
}

/// These owners are blocked from going, and without the right to say so nobody may create what
/// blocks them.
async fn a_blocking_owner_needs_it(
    lab: &Lab,
    stage: &Stage,
    account: &str,
    owners: Option<Vec<OwnerReference>>,
) -> anyhow::Result<()> {
    let owners = owners.unwrap_or_default();
    ensure!(owners.iter().any(|owner| owner.block_owner_deletion == Some(true)), "nothing blocks: {owners:?}");
    let object = |more: Value| {
        let mut object = json!({ "metadata": { "name": account } });
        object
            .as_object_mut()
            .into_iter()
            .for_each(|object| object.extend(more.as_object().cloned().unwrap_or_default()));
        object
    };
    let accounts = stage.api::<ServiceAccount>(&stage.consumer);
    accounts.create(&PostParams::default(), &serde_json::from_value(object(json!({})))?).await?;
    let secrets = json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] });
    let role = serde_json::from_value(object(json!({ "rules": [secrets] })))?;
    stage.api::<Role>(&stage.consumer).create(&PostParams::default(), &role).await?;
    let binding = serde_json::from_value(object(json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": stage.consumer }],
    })))?;
    stage.api::<RoleBinding>(&stage.consumer).create(&PostParams::default(), &binding).await?;

    let creator: Api<Secret> = Api::namespaced(lab.kube_as(&stage.consumer, account).await?, &stage.consumer);
    let mut blocking = Secret::default();
    blocking.metadata.name = Some(format!("blocking-{account}"));
    blocking.metadata.owner_references = Some(owners);
    let refused = creator.create(&PostParams::default(), &blocking).await.err().context("nobody asks for the right")?;
    ensure!(refused.to_string().contains("blockOwnerDeletion"), "{refused}");
    Ok(())
}

async fn gone<K>(stage: &Stage, namespace: &str, name: &str) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = stage.api::<K>(namespace);
    let what = format!("{} {name} to go", K::kind(&()));
    wait::until(&what, SOON, async || Ok(api.get_opt(name).await?.is_none().then_some(()))).await
}
