//! What a PushSecret does to the store.

use serde_json::json;
use waypost::api::PushSecret;

use crate::stage::Stage;

#[tokio::test]
async fn es2_a_change_is_one_version_with_all_mapped_keys() -> anyhow::Result<()> {
    let stage = Stage::new("es2").await?;
    stage.secret(&stage.producer, "source", &[("user", "one"), ("pass", "two"), ("unmapped", "three")]).await?;
    stage.push("push", "source", &[("user", "username"), ("pass", "password")], json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "username": "one", "password": "two" }));
    assert_eq!(stage.version().await?, 1);
    Ok(())
}
