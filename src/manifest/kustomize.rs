//! The patches of a kustomization: files that look like manifests of ours but are only parts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::document::{self, Node};

/// The fields with patches.
const PATCHES: [&str; 3] = ["patches", "patchesStrategicMerge", "patchesJson6902"];

/// The resolved files that a kustomization names as patches, without inline patches.
pub fn patches(kustomization: &Path, text: &str) -> BTreeSet<PathBuf> {
    let folder = kustomization.parent().unwrap_or(Path::new(""));
    let (documents, _broken) = document::parse(text);
    let listed = documents.iter().flat_map(|node| PATCHES.into_iter().filter_map(|field| node.get(field)));
    let named = listed.flat_map(Node::items).filter_map(|patch| patch.text().or_else(|| patch.text_at("path")));
    named.filter_map(|file| folder.join(file).canonicalize().ok()).collect()
}
