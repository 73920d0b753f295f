//! Defects of other publishers that must not come back, by the letters of the compatibility notes:
//! each has a test on the real servers.
//!
//! | | defect | test |
//! |---|---|---|
//! | A | several sources: each refresh deletes what the others pushed | `push_sources::defect_a_…` |
//! | B | a source that is made anew is not pushed | `defect_b_…` |
//! | C | a SecretStore beside a ClusterSecretStore is not found now and then | `defect_c_…` |
//! | D | a nested object panics when it is pushed again | `push_whole::defects_d_e_m_…` |
//! | E | numbers cost a version each refresh | `defect_e_and_m_…`, `push_whole::defects_d_e_m_…` |
//! | F | bytes that are no text are altered | `envelope::es3_…`, `bad_push::a_source_that_gives_no_value_…` |
//! | G | a push removes others' custom metadata | `defect_g_…` |
//! | H | a property is removed without check-and-set | `defect_h_…` |
//! | I | a spelling of a path has its mark elsewhere | `defect_i_and_k_…` |
//! | K | the same for a store without a mount | `defect_i_and_k_…` |
//! | L | `dataTo` cannot push what is no JSON | `push_whole::defect_l_…` |
//! | M | integers over 2^53 are rounded | `defect_e_and_m_…`, `push_whole::defects_d_e_m_…` |
//! | N | with no source left, what was pushed is forgotten | `push_sources::defect_n_…` |
//! | O | `IfNotExists` deletes what another wrote | `defect_o_…` |
//! | P | two mappings are one line of the ledger | `defect_p_…` |
//! | Q | a broken spec stays Ready; no store at all is silent | `defect_q_…` |
//! | R | concurrent logins leave one Vault namespace's client in another | `defect_r_…` |
//! | T | a store's expressions match parts of names; keys that become one are drawn by lot | `defect_t_…` |
//!
//! J and S are of pulls alone: labels that stay on a target, and labels that are put on a Secret of
//! somebody else.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, PushSecret, SecretStore};
use waypost_e2e::lab::{Lab, cluster_secret_store};
use waypost_e2e::wait;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};

use crate::bad_store::{remove_store, store_ref};
use crate::envelope::declared;
use crate::stage::{self, LATER, STORE, Stage, mapping};
use crate::tenants::{account, allow_token_requests, store_spec};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

async fn synced(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.ready::<PushSecret>(&stage.producer, name, "True", "Synced").await.map(drop)
}

async fn gone(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.delete::<PushSecret>(&stage.producer, name).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt(name).await?.is_none().then_some(()))).await
}

async fn metadata(stage: &Stage) -> anyhow::Result<Value> {
    let metadata = stage.vault.metadata("secret", &stage.path()).await?;
    Ok(metadata.map(|metadata| metadata["custom_metadata"].clone()).unwrap_or_default())
}

/// Lets the producer push outside of the convention.
async fn unruled(stage: &Stage) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let label = json!({ "metadata": { "labels": { "waypost.io/path-convention": "off" } } });
    namespaces.patch(&stage.producer, &PatchParams::default(), &Patch::Merge(label)).await?;
    Ok(())
}

/// A policy of the test's name with the rights of the shipped one, each path of it changed.
async fn policy(stage: &Stage, change: impl Fn(&str) -> String) -> anyhow::Result<()> {
    let shipped = stage.vault.get("sys/policies/acl/waypost-combined").await?.unwrap_or_default();
    stage.vault.put_policy(&stage.word, &change(shipped["data"]["policy"].as_str().unwrap_or_default())).await
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
async fn defect_g_metadata_that_somebody_set_survives_every_push() -> anyhow::Result<()> {
    let stage = Stage::new("defectg").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({})).await?;
    synced(&stage, "push").await?;
    let mut all = metadata(&stage).await?;
    all["owner"] = json!("payments");
    stage.vault.write_custom_metadata("secret", &stage.path(), &all).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    wait::until("the second version", LATER, async || Ok((stage.version().await? == 2).then_some(()))).await?;
    synced(&stage, "push").await?;
    assert_eq!(metadata(&stage).await?, all);
    Ok(())
}

#[tokio::test]
async fn defect_h_a_property_and_metadata_change_where_the_mount_demands_check_and_set() -> anyhow::Result<()> {
    let stage = Stage::new("defecth").await?;
    let (bao, name) = stage.own_store().await?;
    let admin = bao.admin()?;
    admin.post("secret/config", &json!({ "cas_required": true, "metadata_cas_required": true })).await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "me")]).await?;
    let push = async |keys: &[&str], team: &str| {
        let metadata = json!({ "customMetadata": { "team": team } });
        let data: Vec<Value> = keys.iter().map(|key| declared(&stage, key, metadata.clone())).collect();
        let through = json!({ "secretStoreRefs": [store_ref(&name)], "deletionPolicy": "Delete", "data": data });
        stage.push("push", "source", &[], through).await?;
        synced(&stage, "push").await
    };
    let stored = async || anyhow::Ok(admin.read("secret", &stage.path()).await?.and_then(|entry| entry.data));
    let team = async || {
        let metadata = admin.metadata("secret", &stage.path()).await?.unwrap_or_default();
        anyhow::Ok((metadata["custom_metadata"]["team"].clone(), metadata["current_version"].clone()))
    };
    push(&["password", "username"], "one").await?;
    assert_eq!(stored().await?, Some(json!({ "password": "one", "username": "me" })));
    assert_eq!(team().await?, (json!("one"), json!(1)));
    push(&["password", "username"], "two").await?;
    assert_eq!(team().await?, (json!("two"), json!(1)));
    push(&["password"], "two").await?;
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
    let keys = [("password", "one"), ("username", "me"), ("token", "t"), ("api-key", "k"), ("client-id", "c")];
    stage.secret(&stage.producer, "source", &keys).await?;
    let path = stage.path();
    let spelled = |key: &str, spelling: String| json!({ "data": [mapping(key, &spelling, key)] });
    stage.push("mount", "source", &[], spelled("password", format!("secret/{path}"))).await?;
    stage.push("infix", "source", &[], spelled("username", format!("secret/data/{path}"))).await?;
    let mut without = spelled("token", format!("secret/data/{path}"));
    without["secretStoreRefs"] = json!([store_ref(&name)]);
    stage.push("without", "source", &[], without).await?;
    let mut bare = spelled("api-key", format!("secret/{path}"));
    bare["secretStoreRefs"] = json!([store_ref(&name)]);
    stage.push("bare", "source", &[], bare).await?;
    stage.push("usual", "source", &[], spelled("client-id", path.clone())).await?;
    for push in ["mount", "infix", "without", "bare", "usual"] {
        synced(&stage, push).await?;
    }
    let stored = keys.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<Value>();
    assert_eq!(stage.stored().await?, stored);
    let metadata = metadata(&stage).await?;
    assert_eq!(metadata["managed-by"], "external-secrets");
    for (property, _) in keys {
        assert!(metadata[format!("claim.waypost.io/{property}")].is_string(), "{metadata}");
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

#[tokio::test]
async fn defect_c_a_namespaced_and_a_cluster_wide_store_both_get_every_change() -> anyhow::Result<()> {
    let stage = Stage::new("defectc").await?;
    unruled(&stage).await?;
    let mount = &stage.word;
    stage.vault.enable_mount(mount, "kv", &json!({ "version": "2" })).await?;
    policy(&stage, |rules| rules.replace("\"secret/", &format!("\"{mount}/")).replace("mounts/secret", "mounts/+"))
        .await?;
    account(&stage, &stage.producer, "writer", mount).await?;
    allow_token_requests(&stage, &stage.producer, "writer").await?;
    let mut spec = store_spec(&stage, json!({ "serviceAccountRef": { "name": "writer" } })).await?;
    spec["provider"]["vault"]["path"] = json!(mount);
    stage.apply::<SecretStore>(&stage.producer, "own", spec).await?;
    let stores = json!([{ "kind": "SecretStore", "name": "own" }, store_ref(STORE)]);
    for turn in 0..10 {
        let password = format!("password {turn}");
        stage.secret(&stage.producer, "source", &[("password", &password)]).await?;
        if turn == 0 {
            stage.push("push", "source", PASSWORD, json!({ "secretStoreRefs": stores })).await?;
        }
        for mount in [mount.as_str(), "secret"] {
            wait::until(&format!("turn {turn} to reach {mount}"), LATER, async || {
                let entry = stage.vault.read(mount, &stage.path()).await?;
                Ok(entry.and_then(|entry| entry.data).filter(|data| data["password"] == password).map(drop))
            })
            .await?;
        }
        synced(&stage, "push").await?;
    }
    Ok(())
}

#[tokio::test]
async fn defect_p_two_mappings_that_read_alike_are_refused_together_and_follow_each_other_without_a_rest()
-> anyhow::Result<()> {
    let stage = Stage::new("defectp").await?;
    unruled(&stage).await?;
    stage.secret(&stage.producer, "source", &[("one", "1"), ("two", "2")]).await?;
    let (short, long) = (stage.path(), format!("{}/x", stage.path()));
    let (one, two) = (mapping("one", &short, "x/y"), mapping("two", &long, "y"));
    let data = async |path: &str| {
        anyhow::Ok(stage.vault.read("secret", path).await?.and_then(|entry| entry.data).unwrap_or_default())
    };
    let mappings = |data: &[&Value]| json!({ "deletionPolicy": "Delete", "data": data });
    stage.push("push", "source", &[], mappings(&[&one, &two])).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "InvalidSpec").await?;
    assert!(said.contains("spec.data[0] and spec.data[1]") && said.contains(&format!("{long}/y")), "{said}");

    for (mapped, stands) in [(&one, [json!({ "x/y": "1" }), Value::Null]), (&two, [Value::Null, json!({ "y": "2" })])] {
        stage.push("push", "source", &[], mappings(&[mapped])).await?;
        synced(&stage, "push").await?;
        assert_eq!([data(&short).await?, data(&long).await?], stands);
        let push = stage.api::<PushSecret>(&stage.producer).get("push").await?;
        let listed = push.status.unwrap_or_default().synced_push_secrets.into_values().flatten();
        let listed: Vec<Value> = listed.map(|(_, line)| json!(line.match_)).collect();
        assert_eq!(listed, [mapped["match"].clone()]);
    }
    gone(&stage, "push").await?;
    for path in [&short, &long] {
        assert_eq!(data(path).await?, Value::Null, "{path}");
        let metadata = stage.vault.metadata("secret", path).await?.unwrap_or_default();
        assert_eq!(metadata["custom_metadata"], json!({ "managed-by": "external-secrets" }), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn defect_q_a_spec_that_cannot_be_carried_out_is_not_ready_and_no_store_is_not_silent() -> anyhow::Result<()> {
    let stage = Stage::new("defectq").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({})).await?;
    synced(&stage, "push").await?;
    let broken = json!({ "template": { "data": { "password": "{{ .password" } } });
    stage.push("push", "source", PASSWORD, broken).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "InvalidSpec").await?;
    let nobody = json!({ "matchLabels": { "test": stage.word } });
    let stores = json!([{ "kind": "ClusterSecretStore", "labelSelector": nobody }]);
    stage.push("nowhere", "source", PASSWORD, json!({ "secretStoreRefs": stores })).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "nowhere", "False", "StoreNotFound").await?;
    assert!(said.contains(&stage.word), "{said}");
    assert_eq!(stage.stored().await?, json!({ "password": "one" }));
    Ok(())
}

#[tokio::test]
async fn defect_r_stores_in_two_vault_namespaces_that_log_in_outside_never_meet() -> anyhow::Result<()> {
    let stage = Stage::new("defectr").await?;
    let lab = Lab::shared().await?;
    let spaces = ["east", "west"].map(|side| format!("{}-{side}", stage.word));
    policy(&stage, |rules| rules.replace("path \"", "path \"+/").replace("\"+/auth/", "\"auth/")).await?;
    let role = json!({
        "bound_service_account_names": ["external-secrets"], "bound_service_account_namespaces": ["external-secrets"],
        "token_policies": [stage.word], "token_no_default_policy": true,
    });
    stage.vault.post(&format!("auth/kubernetes/role/{}", stage.word), &role).await?;
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    for space in &spaces {
        stage.vault.post(&format!("sys/namespaces/{space}"), &json!({})).await?;
        let inside = lab.vault_admin()?.in_namespace(space);
        inside.enable_mount("secret", "kv", &json!({ "version": "2" })).await?;
        let mut store = cluster_secret_store(space, lab.vault_addr(), lab.vault_ca_pem());
        let vault = &mut store["spec"]["provider"]["vault"];
        vault["namespace"] = json!(space);
        vault["auth"]["namespace"] = json!("root");
        vault["auth"]["kubernetes"]["role"] = json!(stage.word);
        stores.patch(space, &PatchParams::apply("gitops"), &Patch::Apply(store)).await?;
    }
    let key = |number: usize| format!("{}-{number}", stage.path());
    for number in 0..10 {
        let (name, space) = (format!("push-{number}"), &spaces[number % 2]);
        stage.secret(&stage.producer, &name, &[("password", space)]).await?;
        let more =
            json!({ "secretStoreRefs": [store_ref(space)], "data": [mapping("password", &key(number), "password")] });
        stage.push(&name, &name, &[], more).await?;
    }
    for number in 0..10 {
        synced(&stage, &format!("push-{number}")).await?;
        for (index, space) in spaces.iter().enumerate() {
            let entry = lab.vault_admin()?.in_namespace(space).read("secret", &key(number)).await?;
            let wanted = (number % 2 == index).then(|| json!({ "password": space }));
            assert_eq!(entry.and_then(|entry| entry.data), wanted, "{number} in {space}");
        }
        assert_eq!(stage.vault.metadata("secret", &key(number)).await?, None, "{number} outside");
    }
    for space in &spaces {
        remove_store(&stage, space).await?;
    }
    Ok(())
}

#[tokio::test]
async fn defect_t_expressions_of_stores_match_whole_names_and_keys_that_become_one_are_refused() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("defectt").await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    // A part of `<word>-producer`, from its beginning, its middle and its end.
    let parts = [format!("{}-prod", stage.word), "produce".to_owned(), "producer".to_owned()];
    stage.admit(&store, json!([{ "namespaceRegexes": parts }])).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "secretStoreRefs": [store_ref(&store)] })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "NotPermitted").await?;
    assert_eq!(stage.version().await?, 0);
    stage.admit(&store, json!([{ "namespaceRegexes": [format!("{}-prod[a-z]+", stage.word)] }])).await?;
    synced(&stage, "push").await?;

    unruled(&stage).await?;
    stage.secret(&stage.producer, "many", &[("db-key", "one"), ("web-key", "two")]).await?;
    let path = format!("{}-many", stage.path());
    let rewrite = json!([{ "regexp": { "source": "^(db|web)-key$", "target": path } }]);
    let many = json!([{ "storeRef": store_ref(&store), "rewrite": rewrite }]);
    stage
        .push("many", "many", &[], json!({ "secretStoreRefs": [store_ref(&store)], "dataTo": many, "data": [] }))
        .await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "many", "False", "SourceInvalid").await?;
    assert!(said.contains("db-key") && said.contains("web-key"), "{said}");
    assert_eq!(stage.vault.metadata("secret", &path).await?, None);
    remove_store(&stage, &store).await
}
