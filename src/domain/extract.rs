//! The keys that all properties of a secret make: select, rewrite or convert, check. Values are
//! decoded afterwards, like any other.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use thiserror::Error;

use super::go_json::{self, Html};
use super::json_path::PathFault;
use super::key_rewrite::{KeyChange, RewriteFault};
use super::merge::{Merge, MergeFault};
use super::property;
use super::remote::RemoteData;
use super::secret::{SecretBytes, SecretMap};
use super::target::is_legal_key;

/// The maximum number of keys that one secret may make.
const MOST_KEYS: usize = 10_000;

/// How keys are made. Without a rewrite, what a key must not have is converted.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Rewrites, applied in order.
    pub rewrites: Vec<Rewrite>,
    /// What happens to characters that a key must not have.
    pub conversion: Conversion,
}

/// One rewrite of all keys.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// Each key by itself.
    Each(KeyChange),
    /// The values, which are JSON objects, become one.
    Merge(Merge),
}

/// What happens to characters that a key must not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conversion {
    /// An underscore takes their place.
    #[default]
    Underscore,
    /// Their code point does, as `_U002f_`.
    Unicode,
}

/// Why a secret makes no keys. It names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExtractFault {
    /// The property is no object whose members could be keys.
    #[error("property {property:?} is no JSON object, so it has no keys: name one that is, or use spec.data")]
    NotAnObject { property: String },
    /// The property asks for more than to select a value.
    #[error("{0}")]
    Path(PathFault),
    /// A key cannot be rewritten.
    #[error("{0}")]
    Rewrite(RewriteFault),
    /// Values cannot be merged.
    #[error("rewrite[{step}]: {fault}")]
    Merge {
        /// The index of the rewrite, from 0.
        step: usize,
        /// Why not.
        fault: MergeFault,
    },
    /// Two keys become one.
    #[error("keys {first:?} and {second:?} both become {key:?}: tell them apart by a rewrite")]
    Collision {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// What they become.
        key: String,
    },
    /// More keys than a rewrite can be made of in a moment.
    #[error("the secret has {found} keys, and dataFrom makes at most {MOST_KEYS}: name the keys in spec.data")]
    TooMany {
        /// The count.
        found: usize,
    },
    /// Rule K1 for a key.
    #[error(
        "{key:?} is not a legal key of a Secret (K1): rewrite it to letters, digits, '-', '_' and '.', at most 253 characters"
    )]
    IllegalKey { key: String },
}

impl Keys {
    /// The keys of a secret or, if it is given, of the object in a property. `None` if there is no
    /// such property.
    ///
    /// # Errors
    /// [`ExtractFault`].
    pub fn of(&self, data: &RemoteData, property: Option<&str>) -> Result<Option<SecretMap>, ExtractFault> {
        selected(data, property)?.map(|values| self.made_of(values)).transpose()
    }

    /// The keys that values by name make.
    ///
    /// # Errors
    /// [`ExtractFault`].
    pub fn made_of(&self, mut values: SecretMap) -> Result<SecretMap, ExtractFault> {
        if values.len() > MOST_KEYS {
            return Err(ExtractFault::TooMany { found: values.len() });
        }
        if self.rewrites.is_empty() {
            values = renamed(values, |key| Ok(self.conversion.convert(key)))?;
        }
        for (step, rewrite) in self.rewrites.iter().enumerate() {
            values = match rewrite {
                Rewrite::Each(change) => {
                    renamed(values, |key| change.rewrite(step, key).map_err(ExtractFault::Rewrite))?
                }
                Rewrite::Merge(merge) => merge.apply(values).map_err(|fault| ExtractFault::Merge { step, fault })?,
            };
        }
        values.remove("");
        match values.keys().find(|key| !is_legal_key(key)) {
            Some(key) => Err(ExtractFault::IllegalKey { key: key.clone() }),
            None => Ok(values),
        }
    }
}

fn selected(data: &RemoteData, property: Option<&str>) -> Result<Option<SecretMap>, ExtractFault> {
    let Some(property) = property else {
        return Ok(Some(data.iter().map(|(name, value)| (name.clone(), value.rendered())).collect()));
    };
    let Some(object) = property::pick(data, property).map_err(ExtractFault::Path)? else { return Ok(None) };
    let no_object = || ExtractFault::NotAnObject { property: property.to_owned() };
    let text = object.expose_utf8().ok_or_else(no_object)?;
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_no_object| no_object())?;
    let rendered = |(name, value): (String, &RawValue)| Some((name, go_json::rendered(value.get(), Html::Escaped)?));
    members.into_iter().map(rendered).collect::<Option<_>>().map(Some).ok_or_else(no_object)
}

fn renamed(
    values: SecretMap,
    rename: impl Fn(&str) -> Result<String, ExtractFault>,
) -> Result<SecretMap, ExtractFault> {
    let mut renamed: BTreeMap<String, (String, SecretBytes)> = BTreeMap::new();
    for (second, value) in values {
        let key = rename(&second)?;
        // What has no name is dropped.
        if key.is_empty() {
            continue;
        }
        if let Some((first, _)) = renamed.get(&key) {
            return Err(ExtractFault::Collision { first: first.clone(), second, key });
        }
        renamed.insert(key, (second, value));
    }
    Ok(renamed.into_iter().map(|(key, (_, value))| (key, value)).collect())
}

impl Conversion {
    fn convert(self, key: &str) -> String {
        let is_legal = |character: char| character.is_alphanumeric() || matches!(character, '-' | '.' | '_');
        let mut converted = String::with_capacity(key.len());
        for character in key.chars() {
            match self {
                _ if is_legal(character) => converted.push(character),
                Conversion::Underscore => converted.push('_'),
                Conversion::Unicode => converted.push_str(&format!("_U{:04x}_", u32::from(character))),
            }
        }
        converted
    }
}

#[cfg(test)]
mod tests {
    use super::super::remote::RemoteValue;
    use super::*;

    fn data(json: &str) -> RemoteData {
        let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap();
        values.into_iter().map(|(property, value)| (property, RemoteValue::raw(value))).collect()
    }

    fn made(keys: &Keys, json: &str, property: Option<&str>) -> Result<Vec<(String, String)>, String> {
        let text = |value: SecretBytes| value.expose_utf8().unwrap().to_owned();
        let made = keys.of(&data(json), property).map_err(|fault| fault.to_string())?;
        Ok(made.unwrap_or_default().into_iter().map(|(key, value)| (key, text(value))).collect())
    }

    fn converting(conversion: Conversion) -> Keys {
        Keys { rewrites: Vec::new(), conversion }
    }

    fn rewriting(rewrites: Vec<Rewrite>) -> Keys {
        Keys { rewrites, conversion: Conversion::default() }
    }

    fn replace(source: &str, target: &str) -> Rewrite {
        Rewrite::Each(KeyChange::replace(source, target).unwrap())
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    const SECRET: &str =
        r#"{"db/user": "app", "id": 9007199254740993, "tls": {"on": true}, "none": null, "": "dropped"}"#;

    #[test]
    fn every_property_is_a_key_with_all_its_digits() {
        let rest = [("id", "9007199254740993"), ("none", ""), ("tls", r#"{"on": true}"#)];
        for (conversion, user) in [(Conversion::Underscore, "db_user"), (Conversion::Unicode, "db_U002f_user")] {
            let expected = pairs(&[&[(user, "app")][..], &rest].concat());
            assert_eq!(made(&converting(conversion), SECRET, None), Ok(expected));
        }
    }

    #[test]
    fn the_object_in_a_property_has_keys_also_if_it_is_written_as_text() {
        for json in [r#"{"a": {"b": {"x": 1}}}"#, r#"{"a": {"b": "{\"x\": 1}"}}"#] {
            assert_eq!(made(&converting(Conversion::default()), json, Some("a.b")), Ok(pairs(&[("x", "1")])), "{json}");
        }
        let told = made(&converting(Conversion::default()), SECRET, Some("id")).unwrap_err();
        assert!(told.contains("\"id\" is no JSON object") && !told.contains("9007"), "{told}");
        assert!(converting(Conversion::default()).of(&data(SECRET), Some("nope")).unwrap().is_none());
    }

    #[test]
    fn rewrites_follow_each_other_and_replace_the_conversion() {
        let upper = Rewrite::Each(KeyChange::template("{{ .value | upper }}").unwrap());
        let keys = rewriting(vec![replace("^db/", ""), upper]);
        let made_keys: Vec<String> = made(&keys, SECRET, None).unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(made_keys, ["ID", "NONE", "TLS", "USER"]);
        let told = made(&rewriting(vec![replace("^id$", "n")]), SECRET, None).unwrap_err();
        assert!(told.contains("\"db/user\" is not a legal key"), "{told}");
    }

    #[test]
    fn two_keys_that_become_one_are_both_named() {
        let told = made(&converting(Conversion::Underscore), r#"{"a/b": "1", "a_b": "2"}"#, None).unwrap_err();
        assert!(told.contains(r#"keys "a/b" and "a_b" both become "a_b""#), "{told}");
        let told = made(&rewriting(vec![replace("^.*$", "x")]), r#"{"a": "1", "b": "2"}"#, None).unwrap_err();
        assert!(told.contains(r#"keys "a" and "b" both become "x""#), "{told}");
    }

    #[test]
    fn a_merge_is_a_rewrite_like_others() {
        let merge = Rewrite::Merge(Merge { later_wins: true, ..Merge::default() });
        let keys = rewriting(vec![replace("^", "of-"), merge, replace("^x$", "y")]);
        let json = r#"{"a": {"x": "1"}, "b": "{\"x\": \"2\"}"}"#;
        assert_eq!(made(&keys, json, None), Ok(pairs(&[("y", "2")])));
        let told = made(&keys, r#"{"a": "s3cret"}"#, None).unwrap_err();
        assert!(told.starts_with("rewrite[1]: ") && told.contains("\"of-a\"") && !told.contains("s3cret"), "{told}");
    }
}
