//! K3: a valid Secret that is too large for the server is refused with what to do, and nothing is
//! changed.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{AuditLog, BaoOptions, Lab, VaultAdmin};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref};
use crate::stage::{LATER, STORE, Stage, store};

/// A path that holds a small value, its consumer, and another writer's property beside it.
struct Place<'a> {
    stage: &'a Stage,
    store: String,
    admin: VaultAdmin,
    audit: AuditLog,
}

impl Place<'_> {
    async fn fill(&self) -> anyhow::Result<Secret> {
        let stage = self.stage;
        let refs = json!({ "secretStoreRefs": [store_ref(&self.store)], "refreshInterval": "1s" });
        stage.secret(&stage.producer, "source", &[("password", "small")]).await?;
        stage.push("push", "source", &[("password", "password")], refs).await?;
        let reference = json!({ "secretStoreRef": store_ref(&self.store), "refreshInterval": "1s" });
        stage.pull("pull", &[("password", "password")], reference).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        stage.holds_within(LATER, &stage.consumer, "pull", &[("password", "small")]).await
    }

    /// The server refuses this value; the condition says so, and nothing else happens, also not
    /// again and again.
    async fn refuses(&self, value: &str, target: &Secret) -> anyhow::Result<()> {
        let (stage, mark) = (self.stage, self.audit.mark()?);
        stage.secret(&stage.producer, "source", &[("password", value)]).await?;
        let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "TooLarge").await?;
        for word in [
            &stage.path(),
            "the server does not accept an entry as large as",
            "make its values smaller",
            "max_entry_size",
        ] {
            assert!(said.contains(word), "{said}");
        }
        let data = format!("secret/data/{}", stage.path());
        // The consumer looks every second, and so would the push, if it were tried at its refresh
        // interval.
        wait::until("the path to be looked at five times", LATER, async || {
            let looks = self.audit.since_under(mark, &format!("secret/metadata/{}", stage.path()))?;
            Ok((looks.len() >= 5).then_some(()))
        })
        .await?;
        let writes = self.audit.since_under(mark, &data)?.into_iter().filter(|request| request.is_write()).count();
        assert_eq!(writes, 1, "it is sent once");
        let entry = self.admin.read("secret", &stage.path()).await?;
        assert_eq!(entry.map(|entry| (entry.version(), entry.data)), Some((1, Some(json!({ "password": "small" })))));
        let now = stage.holds(&stage.consumer, "pull", &[("password", "small")]).await?;
        assert_eq!(now.resource_version(), target.resource_version());
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
        Ok(())
    }

    async fn takes(&self, value: &str) -> anyhow::Result<()> {
        let stage = self.stage;
        stage.secret(&stage.producer, "source", &[("password", value)]).await?;
        stage.holds_within(LATER, &stage.consumer, "pull", &[("password", value)]).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
    }
}

#[tokio::test]
async fn k3_a_mebibyte_that_the_server_does_not_take_keeps_the_version_before() -> anyhow::Result<()> {
    let stage = Stage::new("kthree").await?;
    let lab = Lab::shared().await?;
    let place = Place { store: STORE.to_owned(), admin: lab.vault_admin()?, audit: lab.bao()?.audit(), stage: &stage };
    let target = place.fill().await?;
    // A legal Secret and within our own limit; what the server adds to it makes it too large for
    // its storage.
    place.refuses(&"x".repeat(1_048_400), &target).await?;
    place.takes("small again").await?;
    // What is half as large is taken.
    place.takes(&"x".repeat(500_000)).await
}

#[tokio::test]
async fn k3_a_smaller_limit_of_the_server_is_named_too() -> anyhow::Result<()> {
    let stage = Stage::new("kthreesmall").await?;
    let lab = Lab::shared().await?;
    let options = BaoOptions { max_entry_size: Some(64 * 1024), ..BaoOptions::default() };
    let bao = lab.extra_bao(options).await?;
    let name = format!("{}-store", stage.word);
    store(lab, &name, bao.address(), bao.ca_pem()).await?;
    let place = Place { store: name, admin: bao.admin()?, audit: bao.audit(), stage: &stage };
    let target = place.fill().await?;
    place.refuses(&"x".repeat(64 * 1024), &target).await?;
    place.takes(&"x".repeat(60 * 1024)).await?;
    remove_store(&stage, &place.store).await
}

#[tokio::test]
async fn k3_a_first_value_that_is_too_large_claims_nothing_and_arrives_once_it_is_smaller() -> anyhow::Result<()> {
    let stage = Stage::new("kthreefirst").await?;
    let mark = Lab::shared().await?.bao()?.audit().mark()?;
    // A control character takes six bytes in JSON: too large before anything is sent.
    stage.secret(&stage.producer, "source", &[("password", &"\u{1}".repeat(300_000))]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "TooLarge").await?;
    assert!(said.contains("1048576 is the limit"), "{said}");
    let audit = Lab::shared().await?.bao()?.audit();
    let writes = audit.since_under(mark, "secret/")?;
    assert!(!writes.iter().any(|request| request.is_write() && request.path.ends_with(&stage.path())));

    stage.secret(&stage.producer, "source", &[("password", "small")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "small" })));
    Ok(())
}
