//! docs/guides/push.md, followed exactly on the real servers.

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use serde_json::json;
use waypost::api::PushSecret;
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::guide::Guide;
use crate::stage::{LATER, STORE, Stage};

#[tokio::test]
async fn the_guide_to_publishing_can_be_followed_to_the_letter() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("pushguide").await?, Lab::shared().await?);
    let guide = Guide { lab, page: "push.md", store: STORE };
    guide.follow("Publish")?;
    guide.follow("Who has the value")?;
    guide.follow("Several sources")?;
    guide.follow("A ConfigMap")?;
    guide.follow("Who owns a property")?;
    let both = stage.vault.read("secret", "platform-data/postgres/shop").await?.and_then(|entry| entry.data);
    assert_eq!(both, Some(json!({ "username": "orders", "password": "second", "token": "readonly" })));

    guide.follow("Adopting a path")?;
    guide.follow("Encoding and custom metadata")?;
    guide.follow("Who may read")?;
    guide.follow("What is deleted when")?;
    let left = stage.vault.read("secret", "platform-data/postgres/shop").await?.and_then(|entry| entry.data);
    assert_eq!(left, Some(json!({ "token": "readonly" })));
    assert_eq!(stage.api::<PushSecret>("orders-db").list(&Default::default()).await?.items.len(), 2);

    guide.follow("Earlier versions")?;
    let first = stage.vault.read_version("secret", "platform-data/postgres/shop", 1).await?.context("version 1")?;
    assert_eq!((first.data, &first.metadata["destroyed"]), (None, &json!(true)));

    guide.follow("Publishing from namespaces by label")?;
    let moved = stage.vault.read("secret", "platform-data/kafka/shop-messages").await?.and_then(|entry| entry.data);
    assert_eq!(moved, Some(json!({ "password": "other" })), "of the namespace that has the label now");

    guide.follow("Clean up")?;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    wait::until("the namespaces of the guide to go", LATER, async || {
        let left = namespaces.list_metadata(&Default::default()).await?;
        Ok(left.iter().all(|namespace| !namespace.name_any().starts_with("orders-")).then_some(()))
    })
    .await
}
