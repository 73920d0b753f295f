//! docs/guides/pull.md, followed exactly on the real servers.

use waypost_e2e::lab::Lab;

use crate::guide::Guide;
use crate::stage::STORE;

#[tokio::test]
async fn the_guide_to_values_can_be_followed_to_the_letter() -> anyhow::Result<()> {
    let guide = Guide { lab: Lab::shared().await?, page: "pull.md", store: STORE };
    guide.follow("One value")?;
    guide.follow("All properties")?;
    guide.follow("All secrets of a folder")?;
    guide.follow("Rewriting keys")?;
    guide.follow("Clean up")
}
