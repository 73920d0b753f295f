//! The misplaced mark of External Secrets Operator. If a key repeats the mount, that operator
//! removes the mount from the path of the data, but not from that of the metadata. So the data is
//! at one path and `managed-by` at another, which never has data.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::claim::{self, Elsewhere};
use crate::domain::path::RemotePath;
use crate::store::{Metadata, StoreClient, StoreError};

/// Looks for the mark of this entry at the paths that follow from the spellings of its key in
/// manifests and the ledger. If no spelling repeats the mount, it looks where the plainest one that
/// does would have put the mark; then a denied request is no finding.
///
/// # Errors
/// Those of any request. A path that the login may not read is an answer, not an error.
pub async fn look(
    client: &dyn StoreClient,
    path: &RemotePath,
    spellings: &BTreeSet<String>,
) -> Result<Elsewhere, StoreError> {
    let mut seen = Elsewhere::Nowhere;
    let (paths, certainty) = candidates(client.mount(), path, spellings);
    for path in paths {
        match (client.metadata(&path).await, certainty) {
            (Ok(Some(metadata)), _) if is_misplaced(&metadata) => return Ok(Elsewhere::At(path)),
            (Ok(Some(_) | None), _) | (Err(StoreError::Forbidden { .. }), Certainty::Guessed) => {}
            (Err(StoreError::Forbidden { .. }), Certainty::Spelled) => seen = Elsewhere::Hidden(path),
            (Err(error), _) => return Err(error),
        }
    }
    Ok(seen)
}

/// Removes a misplaced mark once the right path has one, if the entry there has no other custom
/// metadata. The entry itself stays, empty: somebody may just be writing its first version. A
/// failure is only logged, with `push_secret`, which does it.
pub async fn tidy(client: &dyn StoreClient, path: &RemotePath, push_secret: &str) {
    let outcome = match client.metadata(path).await {
        Ok(Some(metadata)) if is_misplaced(&metadata) && metadata.custom_metadata.len() == 1 => {
            client.patch_metadata(path, &BTreeMap::from([(claim::MARKER.to_owned(), None)])).await
        }
        Ok(Some(_) | None) => return,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => {
            tracing::info!(push_secret, %path, "misplaced mark of External Secrets Operator removed")
        }
        Err(error) => {
            tracing::info!(push_secret, %path, %error, "misplaced mark of External Secrets Operator not removed")
        }
    }
}

/// Where the paths come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    /// From a spelling in a manifest or the ledger.
    Spelled,
    /// From a possible spelling.
    Guessed,
}

fn candidates(
    mount: Option<&str>,
    path: &RemotePath,
    spellings: &BTreeSet<String>,
) -> (BTreeSet<RemotePath>, Certainty) {
    let misplaced = |key: &str| RemotePath::with_misplaced_metadata(mount?, key);
    let spelled: BTreeSet<RemotePath> = spellings.iter().filter_map(|key| misplaced(key)).collect();
    match spelled.is_empty() {
        true => (misplaced(&path.to_string()).into_iter().collect(), Certainty::Guessed),
        false => (spelled, Certainty::Spelled),
    }
}

/// The mark of an entry that never had a version marks no data of its own. An entry with claims
/// belongs to somebody.
fn is_misplaced(metadata: &Metadata) -> bool {
    let custom = &metadata.custom_metadata;
    let claimed = custom.keys().any(|key| key != claim::MARKER && claim::is_ours(key));
    metadata.latest == 0 && claim::is_marked(custom) && !claimed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_looked_for_where_the_spelling_puts_it() {
        let path = RemotePath::parse(Some("secret"), "platform-data/pg/shop").unwrap();
        let found = |mount, spellings: &[&str]| -> Vec<String> {
            let spellings = spellings.iter().map(|key| (*key).to_owned()).collect();
            candidates(mount, &path, &spellings).0.iter().map(RemotePath::metadata_url).collect()
        };
        let (short, long) = ("secret/platform-data/pg/shop", "secret/data/platform-data/pg/shop");
        assert_eq!(found(Some("secret"), &[long]), ["secret/metadata/secret/data/platform-data/pg/shop"]);
        assert_eq!(found(Some("secret"), &[long, short]).len(), 2);
        assert_eq!(
            found(Some("secret/"), &["platform-data/pg/shop"]),
            ["secret/metadata/secret/platform-data/pg/shop"]
        );
        // If the store has no `path`, a key names its own mount, and that operator misplaces no
        // mark.
        assert_eq!(found(None, &[short]), Vec::<String>::new());
    }
}
