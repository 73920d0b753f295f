//! Which key of a source is pushed to which property of an entry, and the resulting values.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use thiserror::Error;
use zeroize::Zeroizing;

use super::push_options::Encoding;
use super::remote::{RemoteData, RemoteValue};
use super::secret::{SecretBytes, SecretMap};

/// How the keys of a source are converted before a mapping refers to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyConversion {
    /// As they are.
    #[default]
    None,
    /// `_U002f_` and the like become the character with that code point.
    ReverseUnicode,
}

/// One key of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceKey {
    /// The key, as in the mapping.
    pub key: String,
    /// How the source's keys are converted.
    pub conversion: KeyConversion,
    /// How its bytes become text.
    pub encoding: Encoding,
}

/// The origin of a property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOf {
    /// One key.
    Key(SourceKey),
    /// One field of the JSON object in a key; a number keeps all its digits.
    Field { key: SourceKey, field: String },
    /// All keys, as the text of a JSON object.
    All {
        /// How the keys are converted.
        conversion: KeyConversion,
        /// How their bytes become text.
        encoding: Encoding,
    },
}

/// The properties of one entry, and the origin of each value.
pub type Mapping = BTreeMap<String, ValueOf>;

/// The fields of a JSON object, as they are written.
type Fields = BTreeMap<String, Box<RawValue>>;

/// Why a source has no value for a property. It names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// The key is not there.
    #[error("the source has no key {key:?} (for property {property:?}): add it, or change the mapping")]
    KeyMissing {
        key: String,
        /// Where it would go.
        property: String,
    },
    /// The value is not text.
    #[error(
        "key {key:?} of the source is not UTF-8 text (for property {property:?}): declare metadata.spec.encoding: Base64, or store it as text"
    )]
    NotText {
        key: String,
        /// Where it would go.
        property: String,
    },
    /// The value must be an object, whose fields are the properties.
    #[error(
        "key {key:?} of the source is missing, or is not a JSON object with a name for each field: make it one, or set remoteRef.property"
    )]
    NoObject { key: String },
}

/// The values of all properties of one entry, or the first error: an entry is written whole or not
/// at all.
pub fn values(mapping: &Mapping, source: &SecretMap) -> Result<RemoteData, SourceError> {
    let mut objects: BTreeMap<&str, Fields> = BTreeMap::new();
    let mut data = RemoteData::new();
    for (property, value) in mapping {
        let value = match value {
            ValueOf::Key(key) => key.value(source, property)?,
            ValueOf::Field { key, field } => {
                let fields = match objects.remove(key.key.as_str()) {
                    Some(known) => known,
                    None => fields(key, source)?,
                };
                let value = fields.get(field).map(|raw| RemoteValue::exact(raw));
                objects.insert(&key.key, fields);
                value.ok_or_else(|| SourceError::NoObject { key: key.key.clone() })?
            }
            ValueOf::All { conversion, encoding } => all(*conversion, *encoding, source, property)?,
        };
        data.insert(property.clone(), value);
    }
    Ok(data)
}

/// The field names of the JSON object in a key, and whether each field is an empty text.
///
/// # Errors
/// [`SourceError::NoObject`].
pub fn field_names(key: &SourceKey, source: &SecretMap) -> Result<Vec<(String, bool)>, SourceError> {
    let is_empty = |raw: &RawValue| raw.get() == r#""""#;
    fields(key, source).map(|fields| fields.into_iter().map(|(name, raw)| (name, is_empty(&raw))).collect())
}

/// Whether the source has the key, without a value.
pub fn is_empty(key: &SourceKey, source: &SecretMap) -> bool {
    find(source, key).is_some_and(SecretBytes::is_empty)
}

fn fields(key: &SourceKey, source: &SecretMap) -> Result<Fields, SourceError> {
    let text = find(source, key).and_then(SecretBytes::expose_utf8);
    let fields = text.and_then(|text| serde_json::from_str::<Fields>(text).ok());
    let named = fields.filter(|fields| !fields.contains_key(""));
    named.ok_or_else(|| SourceError::NoObject { key: key.key.clone() })
}

fn all(
    conversion: KeyConversion,
    encoding: Encoding,
    source: &SecretMap,
    property: &str,
) -> Result<RemoteValue, SourceError> {
    let mut object: BTreeMap<String, Zeroizing<String>> = BTreeMap::new();
    for key in source.keys() {
        let key = SourceKey { key: conversion.read(key), conversion, encoding };
        let value = key.value(source, property)?.rendered();
        object.insert(key.key, Zeroizing::new(value.expose_utf8().unwrap_or_default().to_owned()));
    }
    let shown: BTreeMap<&str, &str> = object.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let text = Zeroizing::new(serde_json::to_string(&shown).expect("a map of strings always serialises"));
    Ok(RemoteValue::text(&text))
}

impl SourceKey {
    fn value(&self, source: &SecretMap, property: &str) -> Result<RemoteValue, SourceError> {
        let named = || (self.key.clone(), property.to_owned());
        let bytes = find(source, self).ok_or_else(|| {
            let (key, property) = named();
            SourceError::KeyMissing { key, property }
        })?;
        text(bytes, self.encoding).ok_or_else(|| {
            let (key, property) = named();
            SourceError::NotText { key, property }
        })
    }
}

impl KeyConversion {
    /// The converted key.
    pub fn read(self, key: &str) -> String {
        match self {
            KeyConversion::None => key.to_owned(),
            KeyConversion::ReverseUnicode => reverse_unicode(key),
        }
    }
}

fn text(bytes: &SecretBytes, encoding: Encoding) -> Option<RemoteValue> {
    match encoding {
        Encoding::Text => bytes.expose_utf8().map(RemoteValue::text),
        Encoding::Base64 => {
            let encoded = Zeroizing::new(STANDARD.encode(bytes.expose()));
            Some(RemoteValue::text(&encoded))
        }
    }
}

fn find<'a>(source: &'a SecretMap, wanted: &SourceKey) -> Option<&'a SecretBytes> {
    match wanted.conversion {
        KeyConversion::None => source.get(&wanted.key),
        KeyConversion::ReverseUnicode => {
            source.iter().find(|(key, _)| reverse_unicode(key) == wanted.key).map(|(_, value)| value)
        }
    }
}

/// Replaces `_U<hex>_` by the character.
fn reverse_unicode(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    let mut rest = key;
    while let Some(start) = rest.find("_U") {
        let (before, escape) = rest.split_at(start);
        text.push_str(before);
        match decode_escape(escape) {
            Some((character, after)) => {
                text.push(character);
                rest = after;
            }
            None => {
                text.push_str("_U");
                rest = &escape[2..];
            }
        }
    }
    text.push_str(rest);
    text
}

fn decode_escape(escape: &str) -> Option<(char, &str)> {
    let (digits, after) = escape.strip_prefix("_U")?.split_once('_')?;
    let hex = (4..=6).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    hex.then_some((character, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(property: &str, key: &str, conversion: KeyConversion) -> Mapping {
        Mapping::from([(
            property.into(),
            ValueOf::Key(SourceKey { key: key.into(), conversion, encoding: Encoding::Text }),
        )])
    }

    #[test]
    fn an_entry_is_whole_or_an_error_that_names_the_key() {
        let source = SecretMap::from([
            ("text".into(), SecretBytes::from("ü")),
            ("binary".into(), SecretBytes::new(vec![0xff, 0xfe])),
        ]);
        let text = mapping("p", "text", KeyConversion::None);
        assert!(values(&text, &source).is_ok_and(|data| data["p"] == RemoteValue::text("ü")));
        let mut both = text;
        both.extend(mapping("q", "binary", KeyConversion::None));
        let named = |key: &str, property: &str| (key.to_owned(), property.to_owned());
        let (key, property) = named("binary", "q");
        assert_eq!(values(&both, &source).err(), Some(SourceError::NotText { key, property }));
        let (key, property) = named("none", "p");
        let missing = mapping("p", "none", KeyConversion::None);
        assert_eq!(values(&missing, &source).err(), Some(SourceError::KeyMissing { key, property }));
    }

    #[test]
    fn declared_base64_carries_any_bytes() {
        let source = SecretMap::from([("binary".into(), SecretBytes::new(vec![0xff, 0x00, 0xfe]))]);
        let key = SourceKey { key: "binary".into(), conversion: KeyConversion::None, encoding: Encoding::Base64 };
        let data = values(&Mapping::from([("p".into(), ValueOf::Key(key))]), &source);
        assert!(data.is_ok_and(|data| data["p"] == RemoteValue::text("/wD+")));
    }

    #[test]
    fn converted_keys_are_found_by_what_they_mean() {
        let source = SecretMap::from([("a_U002f_b".into(), SecretBytes::from("v"))]);
        assert!(values(&mapping("p", "a/b", KeyConversion::ReverseUnicode), &source).is_ok());
        assert!(values(&mapping("p", "a/b", KeyConversion::None), &source).is_err());
        for (key, meaning) in [("x_U_y", "x_U_y"), ("_Uzzzz_", "_Uzzzz_"), ("_U00e4_U", "äU"), ("_U_U0041_", "_UA")] {
            assert_eq!(reverse_unicode(key), meaning);
        }
    }

    #[test]
    fn fields_of_an_object_keep_every_digit() {
        let json = r#"{"port": 9007199254740993, "rate": 1.50, "nested": {"b": [1e3], "a": null}}"#;
        let source = SecretMap::from([("config".into(), SecretBytes::from(json))]);
        let key = SourceKey { key: "config".into(), conversion: KeyConversion::None, encoding: Encoding::Text };
        let names = ["nested", "port", "rate"].map(|name| (name.to_owned(), false));
        assert_eq!(field_names(&key, &source).unwrap(), names);
        let field = |field: &str| (field.to_owned(), ValueOf::Field { key: key.clone(), field: field.to_owned() });
        let data = values(&Mapping::from([field("port"), field("rate"), field("nested")]), &source).unwrap();
        let shown = |field: &str| data[field].expose_json();
        assert_eq!((shown("port"), shown("rate")), (r#""9007199254740993""#, "1.50"));
        assert_eq!(shown("nested"), r#"{"b": [1e3], "a": null}"#);
        for odd in ["", "7", "[1]", "plain", r#"{"":1}"#] {
            let source = SecretMap::from([("config".into(), SecretBytes::from(odd))]);
            assert_eq!(field_names(&key, &source), Err(SourceError::NoObject { key: "config".into() }), "{odd}");
        }
    }

    #[test]
    fn a_whole_source_is_one_text() {
        let all = ValueOf::All { conversion: KeyConversion::None, encoding: Encoding::Text };
        let source = SecretMap::from([("b".into(), SecretBytes::from("<\"")), ("a".into(), SecretBytes::from("1"))]);
        let data = values(&Mapping::from([("p".into(), all.clone())]), &source).unwrap();
        assert_eq!(data["p"].rendered().expose_utf8(), Some(r#"{"a":"1","b":"<\""}"#));
        let binary = SecretMap::from([("a".into(), SecretBytes::new(vec![0xff]))]);
        let refused = values(&Mapping::from([("p".into(), all)]), &binary);
        assert_eq!(refused.err(), Some(SourceError::NotText { key: "a".into(), property: "p".into() }));
    }
}
