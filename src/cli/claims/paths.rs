//! The paths of a command: those of PushSecrets among the manifests, and those of --path.

use std::collections::BTreeSet;

use super::Places;
use crate::cli::policy::Role;
use crate::cli::policy::needs::needs;
use crate::cli::terminal;
use crate::domain::path::{PathError, RemotePath};
use crate::manifest::{self, Found};

/// The paths; or everything that could not be parsed, because an omitted path would be taken for
/// done.
pub fn paths(places: &Places) -> Result<BTreeSet<RemotePath>, Vec<String>> {
    let Found { sources, refused: unread, skipped } = manifest::read(&places.files, &places.exclude);
    skipped.iter().for_each(|skipped| terminal::say(format_args!("waypost claims: skipped: {skipped}")));
    let (needs, refused) = needs(&sources, Role::Publisher, None, &places.store_path);
    let mut problems: Vec<String> = unread.iter().map(ToString::to_string).collect();
    problems.extend(refused);
    let mut paths: BTreeSet<RemotePath> = needs.into_keys().collect();
    for text in &places.path {
        match RemotePath::parse(None, text) {
            Ok(path) => drop(paths.insert(path)),
            Err(PathError::NoMount { .. }) => {
                problems.push(format!("--path {text:?} has no mount: write it first, as in `secret/{text}`"));
            }
            Err(error) => problems.push(format!("--path: {error}")),
        }
    }
    if paths.is_empty() && problems.is_empty() {
        problems
            .push("no PushSecret among the files names a path: check the files, or name one with --path".to_owned());
    }
    match problems.is_empty() {
        true => Ok(paths),
        false => Err(problems),
    }
}
