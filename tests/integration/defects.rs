//! Defects of other publishers that must not come back, by the letters of the compatibility notes: one test each, on the real
//! servers.

use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, PushSecret};
use waypost_e2e::lab::{Lab, cluster_secret_store};
use waypost_e2e::wait;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};

use crate::bad_store::store_ref;
use crate::stage::{LATER, Stage, mapping};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

async fn synced(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.ready::<PushSecret>(&stage.producer, name, "True", "Synced").await.map(drop)
}

async fn gone(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.delete::<PushSecret>(&stage.producer, name).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt(name).await?.is_none().then_some(()))).await
}

async fn labels(stage: &Stage) -> anyhow::Result<Value> {
    let metadata = stage.vault.metadata("secret", &stage.path()).await?;
    Ok(metadata.map(|metadata| metadata["custom_metadata"].clone()).unwrap_or_default())
}

#[tokio::test]
async fn defect_b_a_source_that_is_made_anew_is_pushed_at_once() -> anyhow::Result<()> {
    let stage = Stage::new("defectb").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    synced(&stage, "push").await?;
    let sources = stage.api::<k8s_openapi::api::core::v1::Secret>(&stage.producer);
    sources.delete("source", &DeleteParams::default()).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceDeleted").await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    synced(&stage, "push").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "two" }));
    Ok(())
}

#[tokio::test]
async fn defect_e_and_m_numbers_of_another_writer_stay_exact_and_cost_no_version() -> anyhow::Result<()> {
    let stage = Stage::new("defecte").await?;
    // Integers beyond 2^53 are rounded by the server itself when they are read.
    let theirs = json!({ "large": 9_007_199_254_740_991_u64, "float": 1.50, "nested": { "list": [1, null, true] } });
    stage.vault.write("secret", &stage.path(), &theirs).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let adopted = json!({ "metadata": { "annotations": { "waypost.io/adopt": "true" } } });
    stage.push("push", "source", PASSWORD, json!({ "refreshInterval": "1s" })).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(adopted)).await?;
    synced(&stage, "push").await?;
    let mut all = theirs;
    all["password"] = json!("one");
    assert_eq!((stage.version().await?, stage.stored().await?), (2, all.clone()));
    // Three looks later.
    let path = format!("secret/data/{}", stage.path());
    let audit = Lab::shared().await?.bao()?.audit();
    let mark = audit.mark()?;
    wait::until("three looks", LATER, async || Ok((audit.since_under(mark, &path)?.len() >= 3).then_some(()))).await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (2, all));
    Ok(())
}

#[tokio::test]
async fn defect_g_labels_that_somebody_set_survive_every_push() -> anyhow::Result<()> {
    let stage = Stage::new("defectg").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({})).await?;
    synced(&stage, "push").await?;
    let mut all = labels(&stage).await?;
    all["owner"] = json!("payments");
    stage.vault.write_custom_metadata("secret", &stage.path(), &all).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    wait::until("the second version", LATER, async || Ok((stage.version().await? == 2).then_some(()))).await?;
    synced(&stage, "push").await?;
    assert_eq!(labels(&stage).await?, all);
    Ok(())
}

#[tokio::test]
async fn defect_h_a_property_is_removed_where_the_mount_demands_check_and_set() -> anyhow::Result<()> {
    let stage = Stage::new("defecth").await?;
    let (bao, name) = stage.own_store().await?;
    let admin = bao.admin()?;
    admin.post("secret/config", &json!({ "cas_required": true })).await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "me")]).await?;
    let both = [("password", "password"), ("username", "username")];
    let through = || json!({ "secretStoreRefs": [store_ref(&name)], "deletionPolicy": "Delete" });
    stage.push("push", "source", &both, through()).await?;
    synced(&stage, "push").await?;
    let stored = async || anyhow::Ok(admin.read("secret", &stage.path()).await?.and_then(|entry| entry.data));
    assert_eq!(stored().await?, Some(json!({ "password": "one", "username": "me" })));
    stage.push("push", "source", PASSWORD, through()).await?;
    synced(&stage, "push").await?;
    assert_eq!(stored().await?, Some(json!({ "password": "one" })));
    gone(&stage, "push").await?;
    assert_eq!(stored().await?, None);
    Ok(())
}

#[tokio::test]
async fn defect_i_and_k_every_spelling_of_a_path_has_its_data_and_its_mark_in_one_place() -> anyhow::Result<()> {
    let stage = Stage::new("defecti").await?;
    let lab = Lab::shared().await?;
    let name = format!("{}-nopath", stage.word);
    let mut store = cluster_secret_store(&name, lab.vault_addr(), lab.vault_ca_pem());
    store["spec"]["provider"]["vault"].as_object_mut().map(|vault| vault.remove("path"));
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    stores.patch(&name, &PatchParams::apply("gitops"), &Patch::Apply(store)).await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "me"), ("token", "t")]).await?;
    let path = stage.path();
    let spelled = |key: &str, spelling: String| json!({ "data": [mapping(key, &spelling, key)] });
    stage.push("mount", "source", &[], spelled("password", format!("secret/{path}"))).await?;
    stage.push("infix", "source", &[], spelled("username", format!("secret/data/{path}"))).await?;
    let mut without = spelled("token", format!("secret/data/{path}"));
    without["secretStoreRefs"] = json!([store_ref(&name)]);
    stage.push("without", "source", &[], without).await?;
    for push in ["mount", "infix", "without"] {
        synced(&stage, push).await?;
    }
    assert_eq!(stage.stored().await?, json!({ "password": "one", "username": "me", "token": "t" }));
    let labels = labels(&stage).await?;
    assert_eq!(labels["managed-by"], "external-secrets");
    for property in ["password", "username", "token"] {
        assert!(labels[format!("claim.waypost.io/{property}")].is_string(), "{labels}");
    }
    for phantom in [format!("secret/{path}"), format!("data/{path}"), format!("secret/data/{path}")] {
        assert_eq!(stage.vault.metadata("secret", &phantom).await?, None, "{phantom}");
    }
    stores.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn defect_o_if_not_exists_neither_overwrites_nor_deletes_what_another_wrote() -> anyhow::Result<()> {
    let stage = Stage::new("defecto").await?;
    stage.secret(&stage.producer, "theirs", &[("password", "theirs")]).await?;
    stage.push("theirs", "theirs", PASSWORD, json!({})).await?;
    synced(&stage, "theirs").await?;
    stage.secret(&stage.producer, "source", &[("password", "ours"), ("username", "me")]).await?;
    let both = [("password", "password"), ("username", "username")];
    let careful = json!({ "updatePolicy": "IfNotExists", "deletionPolicy": "Delete" });
    stage.push("push", "source", &both, careful).await?;
    synced(&stage, "push").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "theirs", "username": "me" }));
    gone(&stage, "push").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "theirs" }));
    Ok(())
}
