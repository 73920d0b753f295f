//! Paths that select one value of a JSON document, in the syntax of gjson 1.18.
//!
//! External Secrets Operator gives `remoteRef.property` to gjson. A path here answers what gjson
//! answers: dotted names and positions, `\` before a character that is meant as it stands, the
//! wildcards `*` and `?` in names, `#` for the length of a list, `#.name` for a value of each
//! element, the queries `#(name=="x")` and `#(...)#`, and `|`, which hands the result so far to the
//! rest of the path. `..` at the start reads the text as a list of JSON documents, one after the
//! other.
//!
//! A path is parsed once into steps ([`parse`]) and then walked over any number of documents
//! ([`select`]). What gjson does beyond picking values (modifiers, multipaths, literals) is refused
//! when the path is parsed.

mod components;
mod construct;
mod parse;
mod pattern;
mod query;
mod scan;
mod select;
mod steps;
mod unescape;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

pub use construct::Construct;
use steps::{Expression, Name, Step};

/// The most `#` that a path may hold. Only a `#` makes the walk recurse, so this bounds its depth.
pub const HASH_LIMIT: usize = 32;

/// The most steps that a path may have. Queries within queries can be read in many ways.
pub const STEP_LIMIT: usize = 1_024;

/// A parsed path.
///
/// It holds text of the path only, never of a document.
#[derive(Debug, Clone)]
pub struct JsonPath {
    steps: Vec<Step>,
    start: Expression,
}

impl JsonPath {
    /// The name that the path begins with: of an object's members, it sees only those of that name.
    /// `None` for a pattern, or a path over several documents.
    #[must_use]
    pub fn first_name(&self) -> Option<&str> {
        match &self.steps.get(self.start.step.0)?.object.name {
            Name::Exactly(name) if !self.start.lines => Some(name),
            Name::Exactly(_) | Name::Like(_) | Name::Nothing => None,
        }
    }

    /// Reads a path. The empty path names the property with the empty name.
    ///
    /// The time grows with the square of the path's length; the caller bounds the length.
    ///
    /// # Errors
    ///
    /// [`PathFault::Unsupported`] for a modifier, a multipath or a literal, [`PathFault::TooDeep`]
    /// for more than [`HASH_LIMIT`] `#`. Every other text is a path, as it is for gjson, however
    /// odd.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        parse::parse(text)
    }

    /// The value that the path picks from `json`, or `None` when the document has no such value.
    ///
    /// `json` is one JSON document, or any number of them one after the other for a path that
    /// starts with `..`; text that is not picks nothing. A JSON `null` is a value. Of several
    /// members with one name the first that leads to a value counts. The time is linear in the
    /// document for each step of the path.
    #[must_use]
    pub fn select<'j>(&self, json: &'j str) -> Option<Selected<'j>> {
        select::select(self, json)
    }
}

/// What a path picked: raw JSON, so strings are quoted and escaped, and numbers keep every digit.
#[derive(Clone)]
pub enum Selected<'j> {
    /// A part of the document as it stands there.
    Part(&'j str),
    /// JSON that was put together from parts of the document, or the length of a list.
    Composed(Zeroizing<String>),
}

impl Selected<'_> {
    /// The raw JSON.
    #[must_use]
    pub fn raw(&self) -> &str {
        match self {
            Self::Part(part) => part,
            Self::Composed(composed) => composed,
        }
    }

    /// The same value, free of the document.
    #[must_use]
    pub fn into_owned<'long>(self) -> Selected<'long> {
        match self {
            Self::Part(part) => Selected::Composed(Zeroizing::new(part.to_owned())),
            Self::Composed(composed) => Selected::Composed(composed),
        }
    }
}

/// Tells the size only: the value is secret.
impl fmt::Debug for Selected<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Selected({} bytes)", self.raw().len())
    }
}

/// Why a text is no path for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathFault {
    /// The path asks for more than to select a value.
    #[error("{construct} is not supported in a path")]
    Unsupported {
        /// What it asks for.
        construct: Construct,
    },
    /// The path holds more than [`HASH_LIMIT`] `#`, or more than [`STEP_LIMIT`] steps.
    #[error("a path has at most {HASH_LIMIT} '#' and {STEP_LIMIT} steps")]
    TooDeep,
}
