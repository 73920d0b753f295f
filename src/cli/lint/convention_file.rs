//! `--convention FILE`: the path convention of an installation, from the manifest of its
//! PathConvention.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::judge;
use super::output::{Colour, Format, render};
use crate::api::PathConvention;
use crate::domain::convention::Convention;
use crate::manifest::{self, Bundle, Located, Node, Object, Problem, ReadError};

/// How to get the file.
const EXPORT: &str = "kubectl get pathconvention default -o yaml > convention.yaml";

/// Why a file has no valid convention.
#[derive(Debug, Error)]
pub enum NoConvention {
    /// It cannot be read.
    #[error("--convention: {0}; the flag takes the manifest of a PathConvention: {EXPORT}")]
    Unreadable(ReadError),
    /// It has no PathConvention.
    #[error("--convention: {} has no PathConvention: {EXPORT}", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// It has several PathConventions.
    #[error("--convention: {} has {count} PathConventions: leave one", path.display())]
    Several {
        /// The file.
        path: PathBuf,
        /// Their number.
        count: usize,
    },
    /// Its PathConvention is invalid.
    #[error("--convention: {} has no valid path convention:\n{problems}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, as lint prints it.
        problems: String,
    },
}

/// Reads the convention of a file; the built-in one without a file.
///
/// # Errors
/// [`NoConvention`], if the file does not have exactly one valid convention.
pub fn convention(path: Option<&Path>) -> Result<Convention, NoConvention> {
    let Some(path) = path else { return Ok(Convention::default()) };
    let sources = [manifest::from_file(path).map_err(NoConvention::Unreadable)?];
    let Bundle { objects, broken: mut problems, .. } = manifest::bundle(&sources);
    let objects: Vec<Object<'_>> = objects.into_iter().filter(|object| object.kind.name == "PathConvention").collect();
    let [object] = objects.as_slice() else {
        let (path, count) = (path.to_owned(), objects.len());
        return Err(if count == 0 { NoConvention::Nothing { path } } else { NoConvention::Several { path, count } });
    };
    problems.extend(judge::alone(object).into_iter().map(|problem| Located::of(&sources[0], problem)));
    match parse(&object.node) {
        Ok(convention) if problems.is_empty() => Ok(convention),
        Ok(_) | Err(_) => {
            Err(NoConvention::Wrong { path: path.to_owned(), problems: render(&problems, Format::Text, Colour::None) })
        }
    }
}

/// Why a PathConvention cannot be used, beyond its shape.
pub fn check(object: &Object<'_>) -> Option<Problem> {
    let wrong = parse(&object.node).err()??;
    Some(Problem::error("path-convention", object.node.span.clone(), wrong, None))
}

/// The convention; no problem if the shape is wrong, which the schema reports.
fn parse(node: &Node) -> Result<Convention, Option<String>> {
    let object: PathConvention = serde_json::from_value(node.admitted()).map_err(|_quotes_it| None)?;
    object.convention().map_err(|error| Some(error.to_string()))
}
