//! What an ExternalSecret makes of the store, and how a change gets there.

use serde_json::json;
use waypost::api::ExternalSecret;

use crate::stage::Stage;

#[tokio::test]
async fn es1_a_source_change_reaches_the_target_with_both_intervals_at_a_day() -> anyhow::Result<()> {
    let stage = Stage::new("es1").await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.pull("pull", &[("PGPASSWORD", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("PGPASSWORD", "first")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    stage.holds(&stage.consumer, "pull", &[("PGPASSWORD", "second")]).await?;
    Ok(())
}
