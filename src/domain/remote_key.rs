//! Remote keys in manifests: paths, optionally with placeholders for metadata of the source.
//!
//! The placeholders are read by the engine of templates, and are a closed set:
//! `{{ .metadata.name }}`, `{{ .metadata.namespace }}`, `{{ .metadata.labels.team }}` or
//! `{{ index .metadata.labels "app.kubernetes.io/name" }}`, and the same with `annotations`.
//! Nothing else of that language is supported.
//!
//! A value fills part of one segment and never contains a slash, so a key has as many segments as
//! its manifest shows. A value that does not fit is not quoted: an annotation may contain the
//! Secret's own data.

use std::fmt;

use thiserror::Error;
use waypost_template::{Fault, Piece, Template};

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
    /// It is no template.
    #[error("key {key:?}: {fault}; only {ALLOWED} are supported between braces")]
    Syntax {
        key: String,
        /// Where, and what.
        fault: Box<Fault>,
    },
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
        let syntax = |fault| RemoteKeyError::Syntax { key: key(), fault: Box::new(fault) };
        let unknown = |text: &str| RemoteKeyError::Unknown { key: key(), text: text.to_owned() };
        let template = Template::parse(text).map_err(syntax)?;
        let pieces = template.pieces().map_err(|at| unknown(between_braces(text, at.offset)))?;
        let part = |piece| match piece {
            Piece::Plain(plain) => Ok(Part::Fixed(String::from_utf8_lossy(&plain).into_owned())),
            Piece::Field { path, offset } => {
                Placeholder::of_field(&path).map(Part::Placeholder).ok_or_else(|| unknown(between_braces(text, offset)))
            }
            Piece::Entry { path, name, offset } => Placeholder::of_entry(&path, &name)
                .map(Part::Placeholder)
                .ok_or_else(|| unknown(between_braces(text, offset))),
        };
        let key = pieces.into_iter().map(part).collect::<Result<_, _>>().map(RemoteKey)?;
        // A comment, or a template that is defined and not used, leaves no piece.
        match text.matches("{{").count() == key.placeholders().count() {
            true => Ok(key),
            false => Err(unknown(text)),
        }
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

/// The text of the action at this offset.
fn between_braces(text: &str, offset: usize) -> &str {
    let begin = text[..offset].rfind("{{").map_or(0, |at| at + 2);
    let end = text[offset..].find("}}").map_or(text.len(), |at| offset + at);
    text[begin..end].trim()
}

fn too_long(key: &str) -> RemoteKeyError {
    RemoteKeyError::TooLong { key: key.chars().take(40).collect() }
}

impl Placeholder {
    fn of_field(path: &[String]) -> Option<Self> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["metadata", "name"] => Some(Self::Name),
            ["metadata", "namespace"] => Some(Self::Namespace),
            ["metadata", list, name] => Self::of(list, name),
            _other => None,
        }
    }

    fn of_entry(path: &[String], name: &[u8]) -> Option<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.chars().all(legal))?;
        match path {
            [metadata, list] if metadata == "metadata" => Self::of(list, name),
            _other => None,
        }
    }

    fn of(list: &str, name: &str) -> Option<Self> {
        match list {
            "labels" => Some(Self::Label(name.to_owned())),
            "annotations" => Some(Self::Annotation(name.to_owned())),
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
