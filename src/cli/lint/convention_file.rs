//! `--convention FILE`: the path convention of an installation, from the manifest of its
//! PathConvention.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::judge;
use super::output::{Colour, Format, render};
use crate::api::PathConvention;
use crate::domain::convention::Convention;
use crate::manifest::{self, Bundle, Located, Node, Object, Problem, Source};

/// Why a file has no valid convention.
#[derive(Debug, Error)]
pub enum NoConvention {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It has no PathConvention, or several.
    #[error("{} has {count} objects of the kind PathConvention: it must have one", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// Their number.
        count: usize,
    },
    /// Its PathConvention is invalid.
    #[error("{} has no valid path convention:\n{problems}", path.display())]
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
    let text = fs::read_to_string(path).map_err(|source| NoConvention::Unreadable { path: path.to_owned(), source })?;
    let sources = [Source { name: path.display().to_string(), text }];
    let Bundle { objects, broken: mut problems, .. } = manifest::bundle(&sources);
    let objects: Vec<Object<'_>> = objects.into_iter().filter(|object| object.kind.name == "PathConvention").collect();
    let [object] = objects.as_slice() else {
        return Err(NoConvention::Count { path: path.to_owned(), count: objects.len() });
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
