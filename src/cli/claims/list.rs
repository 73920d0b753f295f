//! `waypost claims list`: lists the owners of properties.

use std::process::ExitCode;

use super::{Places, begin, failed};
use crate::cli::terminal;
use crate::config::parse_cluster_name;
use crate::domain::handover::claims;
use crate::domain::path::RemotePath;
use crate::store::{StoreClient, StoreError};

/// Arguments of `waypost claims list`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    places: Places,
    /// Only claims of this cluster, by its name in claims
    #[arg(long, value_name = "NAME", value_parser = parse_cluster_name)]
    cluster: Option<String>,
}

/// Prints one line per claim, in the order of the paths.
pub async fn run(args: &Args) -> ExitCode {
    let (paths, client) = match begin(&args.places) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let mut text = String::new();
    for path in paths {
        match lines(&client, &path, args.cluster.as_deref()).await {
            Ok(lines) => text.extend(lines),
            // Prints what is known so far first.
            Err(error) => {
                terminal::print("claims", &text, ExitCode::SUCCESS);
                return failed(&args.places.server.in_its_words(&error));
            }
        }
    }
    if text.is_empty() {
        terminal::say(match &args.cluster {
            Some(cluster) => format!("no property of these paths has an owner in cluster {cluster}"),
            None => "no property of these paths has an owner".to_owned(),
        });
    }
    terminal::print("claims", &text, ExitCode::SUCCESS)
}

async fn lines(client: &dyn StoreClient, path: &RemotePath, cluster: Option<&str>) -> Result<Vec<String>, StoreError> {
    let Some(metadata) = client.metadata(path).await? else { return Ok(Vec::new()) };
    let claims = claims(&metadata.custom_metadata).into_iter();
    let wanted = claims.filter(|claim| match (&claim.owner, cluster) {
        (_, None) => true,
        (Some(owner), Some(cluster)) => owner.cluster == cluster,
        (None, Some(_)) => false,
    });
    let line = |claim: crate::domain::handover::Claimed| match claim.owner {
        Some(owner) => format!("{path} {}: {owner}\n", claim.property),
        None => format!("{path} {}: a claim that cannot be read\n", claim.property),
    };
    Ok(wanted.map(line).collect())
}
