//! Which key of a source goes to which property of which entry, and the values that follow from it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::push_options::Encoding;
use super::remote::{RemoteData, RemoteValue};
use super::secret::{SecretBytes, SecretMap};

/// How the keys of a source are read before a mapping names one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyConversion {
    /// As they are.
    #[default]
    None,
    /// `_U002f_` and the like stand for the character with that code point.
    ReverseUnicode,
}

/// One key of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceKey {
    /// The key as the mapping names it.
    pub key: String,
    /// How the source's keys are read.
    pub conversion: KeyConversion,
    /// How its bytes become text.
    pub encoding: Encoding,
}

/// What one entry gets: property by property, from which key.
pub type Mapping = BTreeMap<String, SourceKey>;

/// Why a source gives no value for a property. Names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// The key is not there.
    #[error("the source has no key {key:?} (for property {property:?}): add it, or change the mapping")]
    KeyMissing {
        /// The key.
        key: String,
        /// Where it would go.
        property: String,
    },
    /// The value is not text.
    #[error(
        "key {key:?} of the source is not UTF-8 text (for property {property:?}): declare metadata.spec.encoding: Base64, or store it as text"
    )]
    NotText {
        /// The key.
        key: String,
        /// Where it would go.
        property: String,
    },
}

/// The values of all properties of one entry, or the first key that gives none: an entry is written whole or not at all.
pub fn values(mapping: &Mapping, source: &SecretMap) -> Result<RemoteData, SourceError> {
    mapping
        .iter()
        .map(|(property, source_key)| {
            let key = source_key.key.clone();
            let Some(bytes) = find(source, source_key) else {
                return Err(SourceError::KeyMissing { key, property: property.clone() });
            };
            match text(bytes, source_key.encoding) {
                Some(value) => Ok((property.clone(), value)),
                None => Err(SourceError::NotText { key, property: property.clone() }),
            }
        })
        .collect()
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

/// Puts characters in the place of `_U<hex>_`.
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
        Mapping::from([(property.into(), SourceKey { key: key.into(), conversion, encoding: Encoding::Text })])
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
        let data = values(&Mapping::from([("p".into(), key)]), &source);
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
}
