//! The lab itself, on its real servers.

mod processes;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use waypost_e2e::{
    lab::{CONTROLLER_ACCOUNT, Lab, LabOptions, MOUNT, Transport},
    turns::heavy,
    wait,
};

use processes::{Owner, running, servers_in};

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn kubectl_parses_the_versions_of_client_and_server() {
    let lab = Lab::shared().await.unwrap();
    let output = lab.kubectl().args(["version", "-o", "json"]).output().unwrap();
    let versions: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for side in ["clientVersion", "serverVersion"] {
        assert!(versions[side]["gitVersion"].as_str().unwrap().starts_with("v1."), "{versions}");
        assert_eq!(versions[side]["major"], "1");
        assert!(versions[side]["minor"].as_str().unwrap().parse::<u32>().is_ok(), "{versions}");
    }
}

#[tokio::test]
async fn deleting_a_namespace_deletes_what_is_in_it() {
    let client = Lab::shared().await.unwrap().kube_admin().await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client, "lab-deleted");
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "lab-deleted" } })).unwrap();
    let map = serde_json::from_value(json!({ "metadata": { "name": "content" } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    namespaces.delete("lab-deleted", &DeleteParams::default()).await.unwrap();
    wait::until("the namespace to go", DEADLINE, async || {
        Ok(namespaces.get_opt("lab-deleted").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    assert!(maps.get_opt("content").await.unwrap().is_none());
}

#[tokio::test]
async fn a_service_account_logs_in_to_openbao_with_exactly_its_policies() {
    let lab = Lab::shared().await.unwrap();
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let jwt = lab.token_for(namespace, account, &[]).await.unwrap();
    let admin = lab.vault_admin().unwrap();
    let token = admin.login_kubernetes("external-secrets", &jwt).await.unwrap();
    let controller = lab.vault_admin().unwrap().with_token(&token);
    let mark = lab.bao().unwrap().audit().mark().unwrap();
    let path = "platform-data/postgres/lab-login";
    assert_eq!(controller.write(MOUNT, path, &json!({ "username": "x" })).await.unwrap(), 1);
    assert_eq!(admin.read(MOUNT, path).await.unwrap().unwrap().version(), 1);
    let (status, _) = controller.request("GET", "secret/data/elsewhere", None).await.unwrap();
    assert_eq!(status, 403);
    let audited = lab.bao().unwrap().audit().since_under(mark, &format!("secret/data/{path}")).unwrap();
    assert_eq!(audited.iter().filter(|request| request.is_write()).count(), 1, "{audited:?}");

    let stranger = lab.token_for("default", "default", &[]).await.unwrap();
    let refused = admin.login_kubernetes("external-secrets", &stranger).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
}

#[tokio::test]
async fn an_extra_openbao_keeps_its_data_through_stop_seal_and_snapshot() {
    let lab = Lab::shared().await.unwrap();
    let bao = lab.extra_bao(Transport::Plain).await.unwrap();
    let admin = bao.admin().unwrap();
    admin.write(MOUNT, "kept", &json!({ "a": "1" })).await.unwrap();
    let snapshot = admin.snapshot().await.unwrap();
    bao.stop();
    assert!(admin.health().await.is_err());
    bao.start_sealed().await.unwrap();
    assert_eq!(admin.health().await.unwrap(), 503);
    bao.unseal().await.unwrap();
    admin.write(MOUNT, "kept", &json!({ "a": "2" })).await.unwrap();
    bao.seal().await.unwrap();
    assert_eq!(admin.health().await.unwrap(), 503);
    bao.unseal().await.unwrap();
    assert_eq!(admin.read(MOUNT, "kept").await.unwrap().unwrap().version(), 2);
    admin.restore(snapshot).await.unwrap();
    let restored = wait::until("the snapshot's version to be back", DEADLINE, async || {
        Ok(admin.read(MOUNT, "kept").await?.filter(|entry| entry.version() == 1))
    });
    assert_eq!(restored.await.unwrap().data, Some(json!({ "a": "1" })));
}

#[tokio::test]
async fn a_restarted_apiserver_keeps_its_objects_and_its_address() {
    let _turn = heavy().await.unwrap();
    let lab = Lab::start(LabOptions::default()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(lab.kube_admin().await.unwrap());
    let before = namespaces.get("openbao").await.unwrap().metadata.uid;
    lab.restart_apiserver().await.unwrap();
    let after = wait::until("the client to reconnect", DEADLINE, async || Ok(namespaces.get_opt("openbao").await?));
    assert_eq!(after.await.unwrap().metadata.uid, before);
}

#[tokio::test]
async fn a_dropped_lab_leaves_nothing_and_does_not_disturb_another() {
    let _turn = heavy().await.unwrap();
    let other = Lab::shared().await.unwrap();
    let lab = Lab::start(LabOptions::default()).await.unwrap();
    let folder = lab.folder().to_owned();
    let servers = servers_in(&folder);
    assert_eq!(running(&servers), 4, "{servers:?}");
    assert_ne!(lab.vault_addr(), other.vault_addr());
    drop(lab);
    assert_eq!(running(&servers), 0, "{servers:?}");
    assert!(!folder.exists());
    assert_eq!(other.vault_admin().unwrap().health().await.unwrap(), 200);
}

#[tokio::test]
async fn a_killed_owner_leaves_no_server_and_the_next_start_removes_its_state() {
    let _turn = heavy().await.unwrap();
    let folder = std::env::temp_dir().join(format!("waypost-lab-killed-{}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost-e2e"));
    command.args(["lab", "serve", "--folder"]).arg(&folder).stdin(Stdio::null()).stdout(Stdio::null());
    let mut owner = Owner(command.spawn().unwrap());
    wait::until("the other process to start its lab", DEADLINE * 4, async || {
        assert!(owner.0.try_wait().unwrap().is_none(), "it ended early");
        Ok(folder.join("lab.json").exists().then_some(()))
    })
    .await
    .unwrap();
    let servers = servers_in(&folder);
    assert_eq!(running(&servers), 4, "{servers:?}");
    for (program, arguments) in [("kubectl", &["version", "--client"][..]), ("bao", &["version"])] {
        let output = Command::new(folder.join("bin").join(program)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    }

    owner.0.kill().unwrap();
    owner.0.wait().unwrap();
    let gone = wait::until("the servers to end", DEADLINE, async || Ok((running(&servers) == 0).then_some(())));
    gone.await.unwrap();
    std::fs::write(folder.join("left-behind"), "").unwrap();
    let lab = Lab::start(LabOptions { folder: Some(folder.clone()), ..LabOptions::default() }).await.unwrap();
    assert!(!folder.join("left-behind").exists());
    drop(lab);
    assert!(!folder.exists());
}
