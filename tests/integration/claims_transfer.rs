//! `waypost claims`: a cluster was rebuilt under another name, and the claims of the former one are
//! transferred to it.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, ensure};
use futures::future::try_join;
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::Lab;

use crate::as_vault;
use crate::stage::{STORE, Stage, mapping};

/// Who the former cluster's claims name.
const FORMER_UID: &str = "11111111-0000-4000-8000-000000000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_cluster_gets_what_the_lost_one_owned_and_nothing_of_others() -> anyhow::Result<()> {
    let lab = Lab::shared().await?;
    let hidden = as_vault::serve(lab).await?;
    try_join(transferred("counted", lab.vault_addr()), transferred("announced", &hidden)).await.map(drop)
}

/// By a server that counts changes of custom metadata, or by one that does not.
async fn transferred(test: &str, server: &str) -> anyhow::Result<()> {
    let stage = Stage::new(test).await?;
    let cli = Cli::new(&stage, server).await?;
    stage.left_by_the_lost_cluster().await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("token", "ours")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "PathConflict").await?;
    assert!(said.contains("of cluster lost"), "{said}");
    let before = stage.metadata().await?;
    let manifest = json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": { "name": "push", "namespace": stage.producer },
        "spec": { "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
            "data": [mapping("password", &stage.path(), "password")] },
    });

    let (code, said) = cli.run(&["list", "-"], Some(&manifest))?;
    let (path, lost) = (format!("secret/{}", stage.path()), "of cluster lost");
    assert_eq!((code, said.matches(lost).count(), said.matches(&path).count()), (0, 1, 2), "{said}");
    // A dry run writes nothing, and neither does a transfer from a cluster that owns nothing here.
    let (code, said) = cli.run(&["transfer", "--from=lost", "-"], Some(&manifest))?;
    assert!(
        code == 0 && said.contains("password: ") && said.contains("would be transferred to cluster"),
        "{code} {said}"
    );
    let (code, said) = cli.run(&["transfer", "--from=other", "--apply", "-"], Some(&manifest))?;
    assert!(code == 0 && said.contains("stays, it does not belong to cluster other"), "{code} {said}");
    assert_eq!(stage.metadata().await?, before);

    let (code, said) = cli.run(&["transfer", "--from=lost", "--apply", "--path", &path], None)?;
    assert!(code == 0 && said.contains("belongs to the new cluster"), "{code} {said}");
    let metadata = stage.metadata().await?;
    assert_eq!(metadata["claim.waypost.io/token"], before["claim.waypost.io/token"], "the other cluster's stays");
    ensure!(!metadata.to_string().contains("intent."), "{metadata}");
    // The controller looks again by itself, and takes the property over: its value was there, so
    // there is no version.
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "one", "token": "west" })));
    let claim = stage.metadata().await?["claim.waypost.io/password"].as_str().unwrap_or_default().to_owned();
    ensure!(!claim.contains(FORMER_UID) && claim.contains(&cli.cluster), "{claim}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_of_a_transfer_is_told() -> anyhow::Result<()> {
    let stage = Stage::new("hindered").await?;
    let cli = Cli::new(&stage, Lab::shared().await?.vault_addr()).await?;
    stage.left_by_the_lost_cluster().await?;
    let path = format!("secret/{}", stage.path());
    // Somebody of a third cluster is about to claim the property.
    let by = format!("cluster=east namespace=db name=push uid={FORMER_UID}");
    let mut metadata = stage.metadata().await?;
    metadata[format!("intent.waypost.io/{FORMER_UID}/password")] = json!(by);
    stage.vault.write_custom_metadata("secret", &stage.path(), &metadata).await?;
    let (code, said) = cli.run(&["transfer", "--from=lost", "--apply", "--path", &path], None)?;
    assert!(code == 1 && said.contains("of cluster east is about to claim the property"), "{code} {said}");
    assert_eq!(stage.metadata().await?, metadata);

    let reading = stage.vault.create_token(&["waypost-consumer"], "10m").await?;
    let reader = Cli { token: reading, ..cli.clone() };
    metadata.as_object_mut().context("custom metadata")?.retain(|key, _| !key.starts_with("intent."));
    stage.vault.write_custom_metadata("secret", &stage.path(), &metadata).await?;
    let (code, said) = reader.run(&["transfer", "--from=lost", "--apply", "--path", &path], None)?;
    assert!(code == 2 && said.contains("permission denied to patch the metadata of"), "{code} {said}");
    assert_eq!(reader.run(&["list", "--path", &path], None)?.0, 0, "whoever may read may list");

    for (args, words) in [
        (vec!["transfer", "--from", &cli.cluster, "--path", &path], "both clusters have the same name"),
        (vec!["transfer", "--from=lost", "--path", "secret/../sys"], "could leave the mount"),
        (vec!["transfer", "--from=lost", "--to=two words", "--path", &path], "must be 1 to 63"),
    ] {
        let (code, said) = cli.run(&args, None)?;
        assert!(code == 2 && said.contains(words), "{args:?}: {code} {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_token_and_cluster_are_found_where_the_usual_tools_find_them() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("found").await?, Lab::shared().await?);
    let cli = Cli::new(&stage, lab.vault_addr()).await?;
    stage.left_by_the_lost_cluster().await?;
    let path = format!("--path=secret/{}", stage.path());
    let home = Home::new(lab, &stage.word)?;
    // A login left the token; the address is in the variable of either tool.
    home.write(".vault-token", &format!("{}\n", cli.token))?;
    for address in ["VAULT_ADDR", "BAO_ADDR"] {
        let (code, said) = home.run(&["list", &path], &[(address, &cli.server)])?;
        ensure!(code == Some(0) && said.contains("password: PushSecret"), "{address}: {code:?} {said}");
    }
    let wrong = [("BAO_ADDR", cli.server.as_str()), ("VAULT_TOKEN", "s.wrong")];
    ensure!(home.run(&["list", &path], &wrong)?.0 == Some(2), "a variable goes before the file");
    let (code, said) = home.run(&["list", &path], &[])?;
    ensure!(code == Some(2) && said.contains("BAO_ADDR"), "{said}");

    // The clusters have one name: then the one of the kubeconfig was found.
    let from = format!("--from={}", cli.cluster);
    let found = |more: &[&str], kubeconfig: &str| {
        let arguments = [&["transfer", &from, &path][..], more].concat();
        home.run(&arguments, &[("BAO_ADDR", &cli.server), ("KUBECONFIG", kubeconfig)]).map(|(_, said)| said)
    };
    let one_name = "both clusters have the same name";
    let said = found(&[], "")?;
    ensure!(said.contains("there is no ~/.kube/config"), "{said}");
    let admin = std::fs::read_to_string(lab.kubeconfig_admin())?;
    home.write(".kube/config", &admin)?;
    let said = found(&[], "")?;
    ensure!(said.contains(one_name), "{said}");
    let nowhere = "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\ncontexts: []\nclusters: []\nusers: []\n";
    home.write("first", nowhere)?;
    let several = format!("{}:{}", home.0.join("first").display(), home.0.join(".kube/config").display());
    let said = found(&[], &several)?;
    ensure!(said.contains("cannot use the kubeconfig of KUBECONFIG"), "the first file says the context: {said}");
    let config: serde_json::Value = serde_json::to_value(kube::config::Kubeconfig::from_yaml(&admin)?)?;
    let context = config["contexts"][0]["name"].as_str().context("a context")?.to_owned();
    let said = found(&["--context", &context], &several)?;
    ensure!(said.contains(one_name), "{said}");
    let said = found(&["--context=unknown"], "")?;
    ensure!(said.contains("unknown"), "{said}");
    Ok(())
}

/// A home folder, and nothing else that says where anything is.
struct Home(std::path::PathBuf);

impl Home {
    fn new(lab: &Lab, word: &str) -> anyhow::Result<Self> {
        let home = Home(lab.folder().join(format!("home-{word}")));
        std::fs::create_dir_all(home.0.join(".kube"))?;
        if let Some(pem) = lab.vault_ca_pem() {
            home.write("ca.pem", pem)?;
        }
        Ok(home)
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.0.join(file), text)?)
    }

    /// The exit code, and what was printed.
    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<(Option<i32>, String)> {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_waypost"));
        command.arg("claims").args(args).env_clear().env("HOME", &self.0).envs(variables.iter().copied());
        let ca = self.0.join("ca.pem");
        if ca.exists() {
            command.env("BAO_CACERT", ca);
        }
        let output = command.stdin(Stdio::null()).output()?;
        Ok((output.status.code(), String::from_utf8([output.stdout, output.stderr].concat())?))
    }
}

/// The command line, as a person with a token uses it.
#[derive(Clone)]
struct Cli {
    lab: &'static Lab,
    server: String,
    token: String,
    /// The name of the lab's cluster in claims.
    cluster: String,
}

impl Cli {
    async fn new(stage: &Stage, server: &str) -> anyhow::Result<Self> {
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(stage.client.clone());
        Ok(Cli {
            lab: Lab::shared().await?,
            server: server.to_owned(),
            // What a publisher may do is enough.
            token: stage.vault.create_token(&["waypost-publisher"], "10m").await?,
            cluster: namespaces.get("kube-system").await?.metadata.uid.unwrap_or_default(),
        })
    }

    /// The exit code, and what was printed.
    fn run(&self, args: &[&str], manifest: Option<&Value>) -> anyhow::Result<(i32, String)> {
        let mut command = self.lab.shell()?;
        command.args(["-c", r#"exec "$0" claims "$@""#, env!("CARGO_BIN_EXE_waypost")]).args(args);
        command.env("BAO_ADDR", &self.server).env("BAO_TOKEN", &self.token);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("a pipe")?;
        if let Some(manifest) = manifest {
            stdin.write_all(manifest.to_string().as_bytes())?;
        }
        drop(stdin);
        let output = child.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code().context("an exit code")?, String::from_utf8(said)?))
    }
}

impl Stage {
    /// A value of the lost cluster and one of another, with their claims.
    async fn left_by_the_lost_cluster(&self) -> anyhow::Result<()> {
        self.vault.write("secret", &self.path(), &json!({ "password": "one", "token": "west" })).await?;
        let claim = |cluster: &str| format!("cluster={cluster} namespace={} name=push uid={FORMER_UID}", self.producer);
        let metadata = json!({
            "managed-by": "external-secrets",
            "claim.waypost.io/password": claim("lost"), "claim.waypost.io/token": claim("west"),
        });
        self.vault.write_custom_metadata("secret", &self.path(), &metadata).await
    }

    async fn metadata(&self) -> anyhow::Result<Value> {
        let metadata = self.vault.metadata("secret", &self.path()).await?.unwrap_or_default();
        Ok(metadata["custom_metadata"].clone())
    }
}
