//! Whose servers the programs of the lab use: those that `LAB=existing` names, else their own, and
//! never the ambient ones.

mod processes;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use waypost_e2e::{
    lab::{Lab, MOUNT},
    turns::heavy,
    wait,
};

use processes::{Owner, running, servers_in};

const DEADLINE: Duration = Duration::from_secs(120);

/// `waypost-e2e` with somebody's production around it, which nothing may look at.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost-e2e"));
    command.args(arguments).stdin(Stdio::null());
    command.env("KUBECONFIG", "/nowhere").env("VAULT_ADDR", "https://nowhere").env("BAO_ADDR", "https://nowhere");
    for variable in ["LAB", "LAB_KUBECONFIG", "LAB_VAULT_ADDR", "LAB_VAULT_TOKEN", "LAB_VAULT_CACERT", "KEEP"] {
        command.env_remove(variable);
    }
    command
}

/// The same, told by name to use a lab that is there.
async fn told_to_use(lab: &Lab, arguments: &[&str]) -> Command {
    let token = lab.vault_admin().unwrap().create_token(&["root"], "1h").await.unwrap();
    let ca = lab.folder().join("existing-ca.crt");
    fs::write(&ca, lab.vault_ca_pem().unwrap()).unwrap();
    let mut command = program(arguments);
    command.env("LAB", "existing").env("LAB_KUBECONFIG", lab.kubeconfig_admin());
    command.env("LAB_VAULT_ADDR", lab.vault_addr()).env("LAB_VAULT_TOKEN", token).env("LAB_VAULT_CACERT", ca);
    command
}

/// A folder of this test, for a lab.
fn folder(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("waypost-lab-{test}-{}", std::process::id()))
}

/// What `lab serve` says about itself once it is ready.
async fn described(user: &mut Owner, folder: &Path) -> String {
    wait::until("the other process to be ready", DEADLINE, async || {
        assert!(user.0.try_wait().unwrap().is_none(), "it ended early");
        Ok(fs::read_to_string(folder.join("lab.json")).ok())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn an_existing_cluster_is_used_and_no_server_started() {
    let existing = Lab::shared().await.unwrap();
    let folder = folder("existing");
    let mut command = told_to_use(existing, &["lab", "serve", "--folder"]).await;
    let mut user = Owner(command.arg(&folder).spawn().unwrap());
    let described = described(&mut user, &folder).await;
    assert!(described.contains(existing.vault_addr()), "{described}");
    assert!(servers_in(&folder).is_empty());
    drop(user);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(existing.vault_admin().unwrap().health().await.unwrap(), 200);
}

#[tokio::test]
async fn the_demo_plays_in_an_existing_cluster_and_starts_its_controller_alone() {
    let existing = Lab::shared().await.unwrap();
    let mut command = told_to_use(existing, &["demo"]).await;
    let mut demo = Owner(command.stdout(Stdio::piped()).spawn().unwrap());
    let stdout = demo.0.stdout.take().unwrap();
    let printed = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
    // Its state is gone when it ends, so it is looked at while it runs.
    let state = existing.folder().parent().unwrap().join(format!("{}-0", demo.0.id()));
    let mut started = BTreeSet::new();
    let ended = wait::until("the demo to end", DEADLINE, async || {
        started.extend(servers_in(&state).into_iter().map(|(name, _)| name));
        Ok(demo.0.try_wait()?)
    })
    .await
    .unwrap();
    let printed = printed.join().unwrap();
    assert!(ended.success(), "{printed}");
    assert_eq!(started, BTreeSet::from(["waypost".to_owned()]));

    assert!(printed.contains(existing.vault_addr()), "{printed}");
    let path = "platform-data/postgres/temporal";
    let version = existing.vault_admin().unwrap().read(MOUNT, path).await.unwrap().unwrap().version();
    assert_eq!(version, 6, "the first and five rotations are in the existing server");
    let namespaces: Api<Namespace> = Api::all(existing.kube_admin().await.unwrap());
    assert!(namespaces.get_opt("backstage").await.unwrap().is_some());
    assert_eq!(existing.vault_admin().unwrap().health().await.unwrap(), 200);
}

#[tokio::test]
async fn without_being_told_by_name_a_lab_has_its_own_servers_whatever_the_environment_says() {
    let _turn = heavy().await.unwrap();
    let other = Lab::shared().await.unwrap();
    let folder = folder("ambient");
    let mut command = program(&["lab", "serve", "--folder"]);
    command.arg(&folder).env("KUBECONFIG", other.kubeconfig_admin());
    for variable in ["VAULT_ADDR", "BAO_ADDR", "LAB_VAULT_ADDR"] {
        command.env(variable, other.vault_addr());
    }
    command.env("LAB_KUBECONFIG", other.kubeconfig_admin());
    let mut user = Owner(command.spawn().unwrap());
    let described = described(&mut user, &folder).await;
    let theirs = other.kubeconfig_admin().display().to_string();
    assert!(!described.contains(other.vault_addr()) && !described.contains(&theirs), "{described}");
    let servers = servers_in(&folder);
    assert_eq!(running(&servers), 4, "{servers:?}");
    drop(user);
    wait::until("its servers to end", DEADLINE, async || Ok((running(&servers) == 0).then_some(()))).await.unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_name_that_is_incomplete_or_unknown_is_refused() {
    for (lab, missing) in [("existing", "LAB_KUBECONFIG"), ("production", "`existing` uses a cluster that is there")] {
        let folder = folder(lab);
        let mut command = program(&["lab", "serve", "--folder"]);
        let output = command.arg(&folder).env("LAB", lab).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(missing), "{said}");
        assert!(servers_in(&folder).is_empty());
    }
}
