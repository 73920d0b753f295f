//! Merges values that are JSON objects: the rewrite `merge` of an ExternalSecret.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use thiserror::Error;

use super::go_json::{self, Html};
use super::secret::{SecretBytes, SecretMap};

/// How values are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Keys that are merged last, each over those before it.
    pub priority: Vec<String>,
    /// Whether a key of these may be missing.
    pub may_lack_priority: bool,
    /// Whether of two values with one name the later one wins. Otherwise that is an error.
    pub later_wins: bool,
    /// The key that gets the merged object, beside the others; `None` if its names become the keys.
    pub into: Option<String>,
}

/// Why values cannot be merged. It names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeFault {
    /// A priority key is missing.
    #[error("merge.priority names key {key:?}, which is not there: remove it, or set priorityPolicy: IgnoreNotFound")]
    NoPriorityKey { key: String },
    /// A value is no JSON object.
    #[error("merge needs JSON objects, and the value of key {key:?} is none: select the keys with objects first")]
    NotAnObject { key: String },
    /// Two objects have one name.
    #[error(
        "keys {first:?} and {second:?} both have {name:?}: rename one, or set conflictPolicy: Ignore, and the later one wins"
    )]
    Conflict {
        name: String,
        /// The key of the earlier object.
        first: String,
        /// The key of the later object.
        second: String,
    },
    /// The merged object is nested too deep.
    #[error("the merged object is nested too deep")]
    TooDeep,
}

impl Merge {
    /// The values with what is merged of them.
    ///
    /// # Errors
    /// [`MergeFault`].
    pub fn apply(&self, mut values: SecretMap) -> Result<SecretMap, MergeFault> {
        let merged = self.merged(&values)?;
        match &self.into {
            None => {
                let rendered = |(name, (_, value)): (String, (&str, Box<RawValue>))| {
                    Some((name, go_json::rendered(value.get(), Html::Escaped)?))
                };
                merged.into_iter().map(rendered).collect::<Option<_>>().ok_or(MergeFault::TooDeep)
            }
            Some(into) => {
                let members = merged.iter().map(|(name, (_, value))| (name.as_str(), value.get()));
                let mut text = go_json::object(members, Html::Plain).ok_or(MergeFault::TooDeep)?;
                values.insert(into.clone(), SecretBytes::new(std::mem::take(&mut *text).into_bytes()));
                Ok(values)
            }
        }
    }

    /// Each name with the key whose object it is from.
    fn merged<'v>(&'v self, values: &'v SecretMap) -> Result<BTreeMap<String, (&'v str, Box<RawValue>)>, MergeFault> {
        let mut merged: BTreeMap<String, (&str, Box<RawValue>)> = BTreeMap::new();
        let others = values.keys().filter(|key| !self.priority.contains(key));
        for key in others.chain(&self.priority) {
            let Some(value) = values.get(key) else {
                match self.may_lack_priority {
                    true => continue,
                    false => return Err(MergeFault::NoPriorityKey { key: key.clone() }),
                }
            };
            for (name, value) in members(value).ok_or_else(|| MergeFault::NotAnObject { key: key.clone() })? {
                if let Some((first, _)) = merged.get(&name)
                    && !self.later_wins
                {
                    return Err(MergeFault::Conflict { name, first: (*first).to_owned(), second: key.clone() });
                }
                merged.insert(name, (key, value));
            }
        }
        Ok(merged)
    }
}

/// The members of a JSON object; none of null.
fn members(value: &SecretBytes) -> Option<BTreeMap<String, Box<RawValue>>> {
    let members: Option<_> = serde_json::from_str(value.expose_utf8()?).ok()?;
    Some(members.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: &[(&str, &str)]) -> SecretMap {
        of.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect()
    }

    fn shown(values: SecretMap) -> Vec<(String, String)> {
        let text = |value: SecretBytes| value.expose_utf8().unwrap().to_owned();
        values.into_iter().map(|(key, value)| (key, text(value))).collect()
    }

    fn told(merge: &Merge, of: &[(&str, &str)]) -> String {
        merge.apply(values(of)).err().unwrap().to_string()
    }

    #[test]
    fn names_become_keys_and_numbers_keep_their_digits() {
        let of =
            [("a", r#"{"host": "db", "port": 9007199254740993}"#), ("b", r#"{"tls": {"on": true}, "none": null}"#)];
        let merged = shown(Merge::default().apply(values(&of)).unwrap());
        let expected = [("host", "db"), ("none", ""), ("port", "9007199254740993"), ("tls", r#"{"on":true}"#)];
        assert_eq!(merged, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn priority_keys_come_last_in_their_order_and_win() {
        let of = [("a", r#"{"x": "a"}"#), ("b", r#"{"x": "b"}"#), ("c", r#"{"x": "c"}"#)];
        for (priority, winner) in [(&[][..], "c"), (&["a"], "a"), (&["a", "b"], "b"), (&["b", "a"], "a")] {
            let priority = priority.iter().map(|key| (*key).to_owned()).collect();
            let merge = Merge { priority, later_wins: true, ..Merge::default() };
            assert_eq!(shown(merge.apply(values(&of)).unwrap()), [("x".to_owned(), winner.to_owned())], "{merge:?}");
        }
    }

    #[test]
    fn the_merged_object_is_one_more_key_if_it_is_asked_for() {
        let merge = Merge { into: Some("all".to_owned()), ..Merge::default() };
        let merged = shown(merge.apply(values(&[("a", r#"{"y": 1, "x": "<&>"}"#), ("b", "null")])).unwrap());
        assert_eq!(merged.len(), 3);
        assert_eq!(merged[1], ("all".to_owned(), r#"{"x":"<&>","y":1}"#.to_owned()));
    }

    #[test]
    fn what_stands_in_the_way_is_named_without_a_value() {
        let two = [("a", r#"{"x": "s3cret"}"#), ("b", r#"{"x": "s3cret"}"#)];
        let conflict = told(&Merge::default(), &two);
        assert!(
            conflict.contains(r#"keys "a" and "b" both have "x""#) && conflict.contains("conflictPolicy"),
            "{conflict}"
        );
        let none = told(&Merge::default(), &[("a", "s3cret")]);
        assert!(none.contains(r#"key "a" is none"#) && !none.contains("s3cret"), "{none}");
        let strict = Merge { priority: vec!["c".to_owned()], later_wins: true, ..Merge::default() };
        assert!(told(&strict, &two).contains(r#""c", which is not there"#));
        assert!(Merge { may_lack_priority: true, ..strict }.apply(values(&two)).is_ok());
    }
}
