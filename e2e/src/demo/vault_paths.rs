//! The published paths with their versions and the names of their properties.

use anyhow::Context;

use super::{Narrator, Place};
use crate::lab::MOUNT;

const PATHS: [&str; 3] =
    ["platform-data/postgres/temporal", "platform-data/redis/temporal", "platform-config/postgres/platform-postgres"];

/// Prints one line a path. `subkeys/` answers the structure of an entry without its values.
pub(super) async fn show(place: &Place, narrator: &Narrator) -> anyhow::Result<()> {
    let vault = place.lab().vault_admin()?;
    for path in PATHS {
        let entry =
            vault.get(&format!("{MOUNT}/subkeys/{path}")).await?.with_context(|| format!("{path} is missing"))?;
        let names = entry["data"]["subkeys"].as_object().context("an entry has properties")?;
        let names: Vec<_> = names.keys().map(String::as_str).collect();
        let version = &entry["data"]["metadata"]["version"];
        narrator.say(&format!("{:<57} version {version}   {}", format!("{MOUNT}/{path}"), names.join(", ")));
    }
    Ok(())
}
