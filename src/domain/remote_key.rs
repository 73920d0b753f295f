//! Remote keys in manifests: paths, optionally with placeholders for metadata of the source.
//!
//! The placeholders have the syntax of Go templates, and are a closed set:
//! `{{ .metadata.name }}`, `{{ .metadata.namespace }}`, `{{ .metadata.labels.team }}` or
//! `{{ index .metadata.labels "app.kubernetes.io/name" }}`, and the same with `annotations`.
//! Nothing else of that language is supported.
//!
//! A value fills part of one segment and never contains a slash, so a key has as many segments as
//! its manifest shows. A value that does not fit is not quoted: an annotation may contain the
//! Secret's own data.

use std::fmt;

use thiserror::Error;

use super::braces;
use super::expansion::{Expansion, OverLimit};
use super::path::MAX_BYTES;
use super::source::Source;

#[cfg(test)]
mod tests;

/// Replaces each placeholder when a key is judged before its sources are known. It is a valid
/// segment, and not a word of the convention.
pub const STAND_IN: &str = "placeholder0";
/// How a message shows a placeholder that it cannot quote.
pub const SHOWN: &str = "{{…}}";
/// The supported placeholders, for messages.
const ALLOWED: &str = "`{{ .metadata.name }}`, `{{ .metadata.namespace }}`, `{{ .metadata.labels.NAME }}`, \
     `{{ index .metadata.labels \"NAME\" }}`, and the same with `annotations`";
/// The maximum length of a placeholder's value: no Kubernetes name is longer.
const MAX_VALUE: usize = 253;
/// The maximum length of a key's text, in bytes. A placeholder is often longer than its value.
const MAX_TEXT: usize = 4 * MAX_BYTES;

/// A remote key, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteKey(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Placeholder(Placeholder),
}

/// The value of a placeholder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placeholder {
    /// The source's name.
    Name,
    Namespace,
    /// The value of one of its labels.
    Label(String),
    /// The value of one of its annotations.
    Annotation(String),
}

/// Why a key with placeholders cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoteKeyError {
    /// The braces do not close.
    #[error("key {key:?} opens a placeholder and does not close it: write `}}}}` after it")]
    Unclosed { key: String },
    /// The text between the braces is not a placeholder.
    #[error("key {key:?} has {text:?} between braces: only {ALLOWED} are supported")]
    Unknown {
        key: String,
        /// The text there.
        text: String,
    },
    /// It is longer than a path may be.
    #[error(
        "key {key:?}… is too long: at most {MAX_TEXT} bytes with its placeholders, and {MAX_BYTES} once they are filled"
    )]
    TooLong {
        /// The beginning of the key.
        key: String,
    },
    /// The source has no value for a placeholder.
    #[error("it has no {placeholder}, which the key uses: add it, or change the key")]
    Missing {
        /// The placeholder without a value.
        placeholder: Placeholder,
    },
    /// The source's value cannot be part of a path.
    #[error(
        "its {placeholder} cannot be part of a path: it needs at least one and at most {MAX_VALUE} letters, digits, `-`, `_` and `.`, and nothing else"
    )]
    NoSegment {
        /// The placeholder with that value.
        placeholder: Placeholder,
    },
}

impl RemoteKey {
    /// Parses a `remoteKey`. Whether it names an entry is judged once its placeholders are
    /// resolved.
    ///
    /// # Errors
    /// The text between double braces is not a placeholder, or the key is too long.
    pub fn parse(text: &str) -> Result<Self, RemoteKeyError> {
        if text.len() > MAX_TEXT {
            return Err(too_long(text));
        }
        let key = || text.to_owned();
        let parts = braces::parts(text).map_err(|braces::Unclosed| RemoteKeyError::Unclosed { key: key() })?;
        let part = |part| match part {
            braces::Part::Fixed(fixed) => Ok(Part::Fixed(fixed.to_owned())),
            braces::Part::Braced(inner) => Placeholder::parse(inner)
                .map(Part::Placeholder)
                .ok_or_else(|| RemoteKeyError::Unknown { key: key(), text: inner.trim().to_owned() }),
        };
        parts.into_iter().map(part).collect::<Result<_, _>>().map(RemoteKey)
    }

    /// Whether it is the same for every source.
    pub fn is_plain(&self) -> bool {
        self.placeholders().next().is_none()
    }

    /// The placeholders, from left to right.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Placeholder(placeholder) => Some(placeholder),
            Part::Fixed(_) => None,
        })
    }

    /// The key with [`STAND_IN`] for each placeholder.
    pub fn specimen(&self) -> String {
        self.filled(|_| Ok::<_, RemoteKeyError>(STAND_IN)).unwrap_or_default()
    }

    /// The key of one source.
    ///
    /// # Errors
    /// A placeholder for which the source has no value, or one that cannot be part of a path.
    pub fn resolve(&self, source: &Source) -> Result<String, RemoteKeyError> {
        self.filled(|placeholder| placeholder.value(source))
    }

    fn filled<'a>(
        &'a self,
        value: impl Fn(&'a Placeholder) -> Result<&'a str, RemoteKeyError>,
    ) -> Result<String, RemoteKeyError> {
        let mut key = Expansion::within(MAX_TEXT);
        for part in &self.0 {
            let text = match part {
                Part::Fixed(text) => text.as_str(),
                Part::Placeholder(placeholder) => value(placeholder)?,
            };
            if let Err(OverLimit) = key.push(text) {
                return Err(too_long(&key.finish()));
            }
        }
        Ok(key.finish())
    }
}

fn too_long(key: &str) -> RemoteKeyError {
    RemoteKeyError::TooLong { key: key.chars().take(40).collect() }
}

impl Placeholder {
    fn parse(text: &str) -> Option<Self> {
        match text {
            ".metadata.name" => return Some(Self::Name),
            ".metadata.namespace" => return Some(Self::Namespace),
            _field => {}
        }
        if let Some(indexed) = text.strip_prefix("index ") {
            let (list, quoted) = indexed.trim_start_matches(' ').split_once(' ')?;
            let name = quoted.trim_start_matches(' ').strip_prefix('"')?.strip_suffix('"')?;
            let legal = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            return (!name.is_empty() && name.chars().all(legal)).then(|| Self::of(list, name))?;
        }
        let (list, name) = text.rsplit_once('.')?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_identifier =
            name.chars().all(legal) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        is_identifier.then(|| Self::of(list, name))?
    }

    fn of(list: &str, name: &str) -> Option<Self> {
        match list {
            ".metadata.labels" => Some(Self::Label(name.to_owned())),
            ".metadata.annotations" => Some(Self::Annotation(name.to_owned())),
            _other => None,
        }
    }

    fn value<'a>(&'a self, source: &'a Source) -> Result<&'a str, RemoteKeyError> {
        let found = match self {
            Self::Name => Some(&source.name),
            Self::Namespace => Some(&source.namespace),
            Self::Label(name) => source.labels.get(name),
            Self::Annotation(name) => source.annotations.get(name),
        };
        let value = found.ok_or_else(|| RemoteKeyError::Missing { placeholder: self.clone() })?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match (1..=MAX_VALUE).contains(&value.len()) && value.chars().all(legal) {
            true => Ok(value),
            false => Err(RemoteKeyError::NoSegment { placeholder: self.clone() }),
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Namespace => f.write_str("namespace"),
            Self::Label(name) => write!(f, "label {name:?}"),
            Self::Annotation(name) => write!(f, "annotation {name:?}"),
        }
    }
}
