//! Applies one mapping to one source: which property is made from what.

use std::collections::BTreeSet;

use thiserror::Error;

use super::desired::{Keys, PushMapping, Shape};
use crate::domain::key_rewrite::RewriteFault;
use crate::domain::mapping::{self, SourceError, SourceKey, ValueOf};
use crate::domain::path::PathError;
use crate::domain::push_options::Encoding;
use crate::domain::remote_key::RemoteKeyError;
use crate::domain::secret_template::Problem;
use crate::domain::source::Source;

/// The property for a value that has a path of its own and is not a JSON object.
pub const LONE_PROPERTY: &str = "value";

/// One property of one path, and its value.
pub struct Piece {
    pub remote_key: String,
    pub property: String,
    /// The key of the source, if the value is made from one key.
    pub secret_key: Option<String>,
    pub value: ValueOf,
    /// Whether the source has an empty value for it.
    pub is_empty: bool,
}

/// Why a mapping has no path or no properties.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoPath {
    /// A placeholder of the remote key has no value in the source.
    #[error("{0}")]
    Unfilled(RemoteKeyError),
    /// The path is not valid.
    #[error("{0}")]
    Path(PathError),
    /// A key of the source cannot be rewritten to a path.
    #[error("{0}")]
    Rewrite(RewriteFault),
    /// The source does not determine the properties.
    #[error("{0}")]
    Shapeless(SourceError),
    /// The template does not render the source.
    #[error("{0}")]
    Unrendered(Problem),
}

/// The piece of a mapping that is the same for every source.
pub fn fixed(mapping: &PushMapping) -> Option<Piece> {
    let remote = mapping.shape.remote().filter(|remote| remote.is_plain())?;
    mapping.one(remote.specimen(), |_| false)
}

/// The pieces of a mapping for one source.
///
/// # Errors
/// The mapping has no path, or its properties cannot be determined.
pub fn pieces(mapping: &PushMapping, source: &Source) -> Result<Vec<Piece>, NoPath> {
    let remote_key = match mapping.shape.remote() {
        Some(remote) => remote.resolve(source).map_err(NoPath::Unfilled)?,
        None => String::new(),
    };
    let is_empty = |key: &SourceKey| mapping::is_empty(key, &source.data);
    match &mapping.shape {
        Shape::Value { .. } | Shape::Text { .. } => Ok(mapping.one(remote_key, is_empty).into_iter().collect()),
        Shape::Fields { key, .. } => mapping.fields(&mapping.key(key), source, &remote_key),
        Shape::Bundle { keys, .. } => {
            let piece = |key: String| Piece {
                remote_key: remote_key.clone(),
                property: key.clone(),
                is_empty: is_empty(&mapping.key(&key)),
                value: ValueOf::Key(mapping.key(&key)),
                secret_key: Some(key),
            };
            Ok(keys.of(mapping, source).into_iter().map(piece).collect())
        }
        Shape::Each { keys, rewrite } => {
            let mut pieces = Vec::new();
            for key in keys.of(mapping, source) {
                let remote_key = rewrite.apply(&key).map_err(NoPath::Rewrite)?;
                pieces.extend(mapping.alone(key, source, remote_key));
            }
            Ok(pieces)
        }
    }
}

impl PushMapping {
    fn key(&self, key: &str) -> SourceKey {
        SourceKey { key: key.to_owned(), conversion: self.conversion, encoding: self.options.encoding }
    }

    /// The piece of a mapping with one property, whatever the source.
    fn one(&self, remote_key: String, is_empty: impl Fn(&SourceKey) -> bool) -> Option<Piece> {
        match &self.shape {
            Shape::Value { key, property, .. } => Some(Piece {
                remote_key,
                property: property.clone(),
                secret_key: Some(key.clone()),
                is_empty: is_empty(&self.key(key)),
                value: ValueOf::Key(self.key(key)),
            }),
            Shape::Text { property, .. } => Some(Piece {
                remote_key,
                property: property.clone(),
                secret_key: None,
                value: ValueOf::All { conversion: self.conversion, encoding: self.options.encoding },
                is_empty: false,
            }),
            Shape::Fields { .. } | Shape::Bundle { .. } | Shape::Each { .. } => None,
        }
    }

    fn fields(&self, key: &SourceKey, source: &Source, remote_key: &str) -> Result<Vec<Piece>, NoPath> {
        let names = mapping::field_names(key, &source.data).map_err(NoPath::Shapeless)?;
        let piece = |(field, is_empty): (String, bool)| Piece {
            remote_key: remote_key.to_owned(),
            property: field.clone(),
            secret_key: Some(key.key.clone()),
            value: ValueOf::Field { key: key.clone(), field },
            is_empty,
        };
        Ok(names.into_iter().map(piece).collect())
    }

    /// The pieces of a key with a path of its own: the fields of a JSON object, else
    /// [`LONE_PROPERTY`].
    fn alone(&self, key: String, source: &Source, remote_key: String) -> Vec<Piece> {
        let source_key = self.key(&key);
        let fields = match self.options.encoding {
            Encoding::Text => self.fields(&source_key, source, &remote_key).ok(),
            Encoding::Base64 => None,
        };
        fields.unwrap_or_else(|| {
            let (property, is_empty) = (LONE_PROPERTY.to_owned(), mapping::is_empty(&source_key, &source.data));
            vec![Piece { remote_key, property, secret_key: Some(key), value: ValueOf::Key(source_key), is_empty }]
        })
    }
}

impl Keys {
    fn of(&self, mapping: &PushMapping, source: &Source) -> BTreeSet<String> {
        let names = source.data.keys().map(|key| mapping.conversion.read(key));
        names.filter(|key| self.matching.is_match(key) && !self.except.contains(key)).collect()
    }
}
