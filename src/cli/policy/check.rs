//! Compares the rights of a live token with those that manifests need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use super::hcl::{Rule, Section};
use crate::cli::server::{NoServer, Server};
use crate::store::vault::capabilities::{CapabilitiesError, capabilities};

/// Why the token cannot be checked.
#[derive(Debug, Error)]
pub enum CheckError {
    #[error(transparent)]
    Server(NoServer),
    #[error("cannot start: {0}")]
    Runtime(std::io::ErrorKind),
    #[error(transparent)]
    Asked(CapabilitiesError),
}

/// How the token's rights differ from the needed ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Needed rights that it lacks, by path.
    pub lacking: BTreeMap<String, BTreeSet<String>>,
    /// Rights that are not needed, by path.
    pub beside: BTreeMap<String, BTreeSet<String>>,
}

/// Requests the rights from the server.
///
/// # Errors
/// [`CheckError`], without any part of the token.
pub fn check(server: &Server, sections: &[Section]) -> Result<Difference, CheckError> {
    let rules: Vec<&Rule> = sections.iter().flat_map(|section| &section.rules).collect();
    let paths: Vec<&str> = rules.iter().map(|rule| rule.path.as_str()).collect();
    let access = server.access().map_err(CheckError::Server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CheckError::Runtime(error.kind()))?;
    let held = runtime.block_on(capabilities(&access, &paths)).map_err(CheckError::Asked)?;
    Ok(compare(&rules, &held))
}

fn compare(rules: &[&Rule], held: &BTreeMap<String, BTreeSet<String>>) -> Difference {
    let (mut difference, nothing) = (Difference::default(), BTreeSet::new());
    for rule in rules {
        let held = held.get(&rule.path).unwrap_or(&nothing);
        let is_root = held.contains("root");
        let lacking: BTreeSet<String> = rule
            .rights
            .iter()
            .filter(|right| !is_root && !held.contains(**right))
            .map(|right| (*right).into())
            .collect();
        let is_beside = |right: &&String| right.as_str() != "deny" && !rule.rights.contains(&right.as_str());
        let beside: BTreeSet<String> = held.iter().filter(is_beside).cloned().collect();
        for (found, all) in [(lacking, &mut difference.lacking), (beside, &mut difference.beside)] {
            if !found.is_empty() {
                all.insert(rule.path.clone(), found);
            }
        }
    }
    difference
}

/// One line per path; empty without a difference.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (words, paths) in [("lacks", &self.lacking), ("has in addition to what is needed", &self.beside)] {
            for (path, rights) in paths {
                let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
                writeln!(f, "the token {words} {} at {path}", rights.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_and_what_is_beside_are_told_apart() {
        let rule = |path: &str, rights| Rule { path: path.to_owned(), rights };
        let rules =
            [rule("a", &["read"]), rule("b", &["create", "update"]), rule("c", &["read"]), rule("d", &["read"])];
        let held = [("a", "read"), ("b", "update delete"), ("c", "root"), ("d", "deny")];
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
        let held = held.iter().map(|(path, rights)| ((*path).to_owned(), words(rights))).collect();
        let difference = compare(&rules.iter().collect::<Vec<_>>(), &held);
        let lacking = BTreeMap::from([("b".to_owned(), words("create")), ("d".to_owned(), words("read"))]);
        let beside = BTreeMap::from([("b".to_owned(), words("delete")), ("c".to_owned(), words("root"))]);
        assert_eq!(difference, Difference { lacking, beside });
        assert!(difference.to_string().starts_with("the token lacks create at b\n"), "{difference}");
    }
}
