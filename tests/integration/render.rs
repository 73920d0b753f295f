//! `waypost render --live`: a person's own token and kubeconfig show what the controller would do, and
//! change nothing.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use waypost::api::ExternalSecret;
use waypost_e2e::lab::Lab;

use crate::stage::{STORE, Stage, mapping};

/// The command line of a person with a token.
struct Person {
    lab: &'static Lab,
    token: String,
}

impl Person {
    async fn new(stage: &Stage) -> anyhow::Result<Self> {
        let token = stage.vault.create_token(&["waypost-consumer"], "10m").await?;
        Ok(Person { lab: Lab::shared().await?, token })
    }

    /// The exit code, and what was printed.
    fn render(&self, args: &[&str], manifest: &Value) -> anyhow::Result<(i32, String)> {
        let mut command = self.lab.shell()?;
        command.args(["-c", r#"exec "$0" render --live "$@" -"#, env!("CARGO_BIN_EXE_waypost")]).args(args);
        command.env("BAO_ADDR", self.lab.vault_addr()).env("BAO_TOKEN", &self.token);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("a pipe")?;
        stdin.write_all(manifest.to_string().as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(!said.contains(&self.token), "{said}");
        Ok((output.status.code().context("an exit code")?, said))
    }
}

/// An ExternalSecret with this template for its key `url`.
fn manifest(stage: &Stage, url: &str) -> Value {
    json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": { "name": "rendered", "namespace": stage.consumer },
        "spec": {
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
            "target": { "template": { "data": { "url": url } } },
            "data": [{ "secretKey": "password", "remoteRef": { "key": stage.path(), "property": "password" } }],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rendered_live_is_what_the_controller_makes_of_it() -> anyhow::Result<()> {
    let stage = Stage::new("render").await?;
    let person = Person::new(&stage).await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "s3cret" })).await?;
    let first = manifest(&stage, "pg://{{ .password }}");

    let (code, said) = person.render(&[], &first)?;
    ensure!(code == 3 && said.contains("rendered is not there yet") && !said.contains("s3cret"), "{code} {said}");
    let spec = first["spec"].clone();
    stage.apply::<ExternalSecret>(&stage.consumer, "rendered", spec).await?;
    stage.holds(&stage.consumer, "rendered", &[("url", "pg://s3cret")]).await?;
    let (code, said) = person.render(&[], &first)?;
    ensure!(code == 0 && said.contains("compared with the cluster: equal"), "{code} {said}");

    let edited = manifest(&stage, "pg://app:{{ .password }}");
    let (code, said) = person.render(&["--show-values", "--force"], &edited)?;
    let change = "    ~ url  15 bytes, before: 11 bytes\n      - | pg://s3cret\n      + | pg://app:s3cret\n";
    ensure!(code == 3 && said.contains(change), "{code} {said}");
    stage.holds(&stage.consumer, "rendered", &[("url", "pg://s3cret")]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_by_itself_stays_as_it_is_in_the_cluster() -> anyhow::Result<()> {
    let stage = Stage::new("rendersame").await?;
    let person = Person::new(&stage).await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "s3cret" })).await?;
    let random = manifest(&stage, "{{ .password }}-{{ randAlphaNum 8 }}");
    stage.apply::<ExternalSecret>(&stage.consumer, "rendered", random["spec"].clone()).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "rendered", "True", "SecretSynced").await?;
    let (code, said) = person.render(&[], &random)?;
    ensure!(code == 0 && said.contains("compared with the cluster: equal"), "{code} {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_forbidden_or_somebody_elses_is_told_as_the_controller_tells_it() -> anyhow::Result<()> {
    let stage = Stage::new("renderbad").await?;
    let person = Person::new(&stage).await?;
    let missing = manifest(&stage, "x");
    let (code, said) = person.render(&[], &missing)?;
    ensure!(code == 1 && said.contains("does not exist: push it, or correct the key"), "{code} {said}");

    stage.vault.write("secret", &stage.path(), &json!({ "password": "s3cret" })).await?;
    let consent =
        json!({ "managed-by": "external-secrets", "consent.waypost.io/password": r#"{"namespaces":["other"]}"# });
    stage.vault.write_custom_metadata("secret", &stage.path(), &consent).await?;
    let (code, said) = person.render(&[], &missing)?;
    ensure!(code == 1 && said.contains("does not let namespace"), "{code} {said}");
    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "managed-by": "external-secrets" })).await?;

    stage.secret(&stage.consumer, "rendered", &[("url", "theirs")]).await?;
    let (code, said) = person.render(&[], &missing)?;
    ensure!(code == 1 && said.contains("exists and is not ours"), "{code} {said}");

    let stranger = Person { token: "s.wrong".to_owned(), ..person };
    let (code, said) = stranger.render(&[], &missing)?;
    ensure!(code == 1 && said.contains("BAO_TOKEN"), "{code} {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_compared_with_what_stands_at_its_path() -> anyhow::Result<()> {
    let stage = Stage::new("renderpush").await?;
    let person = Person::new(&stage).await?;
    stage.secret(&stage.producer, "source", &[("password", "s3cret")]).await?;
    let push = json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": { "name": "push", "namespace": stage.producer },
        "spec": {
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
            "selector": { "secret": { "name": "source" } },
            "data": [mapping("password", &stage.path(), "password")],
        },
    });
    let (code, said) = person.render(&[], &push)?;
    ensure!(code == 3 && said.contains("is not there yet"), "{code} {said}");
    stage.vault.write("secret", &stage.path(), &json!({ "password": "s3cret", "theirs": "stays" })).await?;
    let (code, said) = person.render(&[], &push)?;
    ensure!(code == 0 && said.contains("compared with the store: equal"), "{code} {said}");
    stage.vault.write("secret", &stage.path(), &json!({ "password": "before", "theirs": "stays" })).await?;
    let (code, said) = person.render(&[], &push)?;
    ensure!(code == 3 && said.contains("    ~ password  6 bytes, other ones\n"), "{code} {said}");
    Ok(())
}
