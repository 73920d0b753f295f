//! Who may read a property: the producer's consent, in the entry's `custom_metadata`. So it applies
//! in every cluster that reads the path, and comes with the same read as the value.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `consent.waypost.io/<property>` | a [`Consent`] as JSON | only consumers in these namespaces may read the property |

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::claim::{self, CustomMetadata};
use super::custom_metadata::{self, MetadataFault};
use super::expression::NoExpression;
use super::label_query::{LabelQuery, Malformed, Selector};
use super::whole_name::WholeName;

const PREFIX: &str = "consent.waypost.io/";

/// The namespaces whose ExternalSecrets may read a property. A namespace that any list, or the
/// selector, matches may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consent {
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// By regular expressions that match the whole name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespace_regexes: Vec<String>,
    /// By labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// What happens to a target whose namespace may no longer read.
    #[serde(default, skip_serializing_if = "OnWithdrawal::is_default")]
    pub on_withdrawal: OnWithdrawal,
}

/// What happens to a target whose namespace may no longer read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnWithdrawal {
    /// It keeps its data, and is not updated.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}

/// What a consent says about a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It may read.
    Yes,
    /// It may not.
    No,
}

/// What a property without a consent means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Silence {
    /// Anybody may read it.
    #[default]
    Permits,
    /// Nobody may read it: every producer must name its consumers.
    Forbids,
}

/// Why a consent is refused. Only what a person needs to find is quoted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConsentError {
    /// It has other fields or types.
    #[error(
        "may have namespaces, namespaceRegexes (lists of texts), namespaceSelector (matchLabels, matchExpressions) and onWithdrawal (Retain or Delete)"
    )]
    Shape,
    /// A regular expression that is invalid or too large.
    #[error("has an entry of namespaceRegexes that cannot be used: {0}")]
    Regex(NoExpression),
    /// A malformed selector.
    #[error("has a malformed namespaceSelector: {0}")]
    Selector(Malformed),
    /// A store does not accept such text as custom metadata.
    #[error("has a character that is not printable, which no store accepts: remove it")]
    Unprintable,
    /// More than a store accepts.
    #[error(
        "takes {bytes} bytes, and a store accepts {}: use a regular expression or a label selector",
        custom_metadata::MAX_VALUE
    )]
    TooLong {
        /// As JSON.
        bytes: usize,
    },
}

impl OnWithdrawal {
    fn is_default(&self) -> bool {
        *self == OnWithdrawal::default()
    }
}

impl Consent {
    /// Parses the consent of a manifest.
    ///
    /// # Errors
    /// [`ConsentError`] for the first thing that is wrong.
    pub fn parse(value: &Value) -> Result<Self, ConsentError> {
        // The library's own message would quote what it read.
        let consent: Consent = serde_json::from_value(value.clone()).map_err(|_quotes| ConsentError::Shape)?;
        consent.check()?;
        let text = consent.encode();
        match custom_metadata::check_value(&text) {
            Ok(()) => Ok(consent),
            Err(MetadataFault::TooLong) => Err(ConsentError::TooLong { bytes: text.len() }),
            Err(MetadataFault::Empty | MetadataFault::Unprintable) => Err(ConsentError::Unprintable),
        }
    }

    /// As in the store.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("lists and texts always serialise")
    }

    /// What both permit, as far as that can be told without asking for a namespace's labels: rather
    /// less than more. It takes nothing away from a target.
    fn and(&self, other: &Consent) -> Consent {
        let unlabelled = BTreeMap::new();
        let by_name = |consent: &Consent, name: &String| {
            let named = Consent { namespace_selector: None, ..consent.clone() };
            named.judge(name, &unlabelled) == Word::Yes
        };
        let ours = self.namespaces.iter().filter(|name| by_name(other, name));
        let theirs = other.namespaces.iter().filter(|name| !self.namespaces.contains(name) && by_name(self, name));
        let is_common = |pattern: &&String| other.namespace_regexes.contains(pattern);
        Consent {
            namespaces: ours.chain(theirs).cloned().collect(),
            namespace_regexes: self.namespace_regexes.iter().filter(is_common).cloned().collect(),
            namespace_selector: self
                .namespace_selector
                .clone()
                .filter(|_| self.namespace_selector == other.namespace_selector),
            on_withdrawal: OnWithdrawal::Retain,
        }
    }

    /// Judges a namespace with these labels.
    pub fn judge(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Word {
        let named = self.namespaces.iter().any(|name| name == namespace);
        // What cannot be parsed, in an entry that somebody else wrote, permits nobody.
        let matches = |pattern: &String| WholeName::parse(pattern).is_ok_and(|pattern| pattern.is_match(namespace));
        let matched = || self.namespace_regexes.iter().any(matches);
        let selects = |selector| LabelQuery::parse(selector).is_ok_and(|query| query.matches(labels));
        let selected = || self.namespace_selector.as_ref().is_some_and(selects);
        if named || matched() || selected() { Word::Yes } else { Word::No }
    }

    fn check(&self) -> Result<(), ConsentError> {
        for pattern in &self.namespace_regexes {
            WholeName::parse(pattern).map_err(ConsentError::Regex)?;
        }
        if let Some(selector) = &self.namespace_selector {
            LabelQuery::parse(selector).map_err(ConsentError::Selector)?;
        }
        Ok(())
    }
}

/// The key of a property's consent.
pub fn key(property: &str) -> String {
    format!("{PREFIX}{}", claim::token(property))
}

/// Whether a key of custom metadata is a consent.
pub fn is_consent(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// A digest of all consents of an entry, which tells one state of them from another.
pub fn digest(labels: &CustomMetadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    for consent in labels.iter().filter(|(key, _)| is_consent(key)) {
        consent.hash(&mut hasher);
    }
    hasher.finish()
}

/// The consent of `property`; `None` if there is none. One that cannot be parsed permits nobody.
pub fn of(labels: &CustomMetadata, property: &str) -> Option<Consent> {
    labels.get(&key(property)).map(|text| serde_json::from_str(text).unwrap_or_default())
}

/// What the consent of `property` is to be until a new value is written, by the metadata of now and
/// what is wanted then. It permits nobody whom the present value, which may be another's, does not
/// permit; nor anybody whom the new value will not. Whether a missing consent permits everybody or
/// nobody, only readers know: so it permits nobody meanwhile.
pub fn until_written(metadata: &CustomMetadata, property: &str, wanted: Option<&Consent>) -> Option<String> {
    match (of(metadata, property), wanted) {
        (None, None) => None,
        (Some(permits), Some(wanted)) if permits == *wanted => metadata.get(&key(property)).cloned(),
        (Some(permits), Some(wanted)) => {
            // Two lists may have more in common than a value of metadata holds.
            let common =
                Some(permits.and(wanted)).filter(|common| custom_metadata::check_value(&common.encode()).is_ok());
            Some(common.unwrap_or_default().encode())
        }
        (None, Some(_)) | (Some(_), None) => Some(Consent::default().encode()),
    }
}

/// All consents of an entry, by what their keys say of the property: its name, or a digest of a name
/// that does not fit into a key.
pub fn all(labels: &CustomMetadata) -> impl Iterator<Item = (&str, Consent)> {
    let consents = labels.iter().filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text)));
    consents.map(|(property, text)| (property, serde_json::from_str(text).unwrap_or_default()))
}

/// The claimed properties without a consent, by what the keys of their claims say of them.
pub fn unspoken(metadata: &CustomMetadata) -> impl Iterator<Item = &str> {
    let claimed = claim::claims(metadata).map(|(property, _)| property);
    claimed.filter(|property| !metadata.contains_key(&format!("{PREFIX}{property}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn lets_in(consent: Value, namespace: &str, of: &[(&str, &str)]) -> bool {
        Consent::parse(&consent).unwrap().judge(namespace, &labels(of)) == Word::Yes
    }

    #[test]
    fn rf1_names_whole_expressions_and_labels_let_in_each_by_itself() {
        let consent = json!({
            "namespaces": ["shop"], "namespaceRegexes": ["team-[a-z]+"],
            "namespaceSelector": { "matchLabels": { "tier": "web" },
                "matchExpressions": [{ "key": "stage", "operator": "NotIn", "values": ["dev"] }] },
        });
        assert!(lets_in(consent.clone(), "shop", &[]));
        assert!(lets_in(consent.clone(), "team-a", &[]));
        assert!(lets_in(consent.clone(), "any", &[("tier", "web")]));
        for (namespace, of) in [
            ("evil-team-a", vec![]),
            ("team-a2", vec![]),
            ("shops", vec![]),
            ("any", vec![("tier", "web"), ("stage", "dev")]),
            ("any", vec![("tier", "db")]),
        ] {
            assert!(!lets_in(consent.clone(), namespace, &of), "{namespace} {of:?}");
        }
        assert!(!lets_in(json!({}), "shop", &[]), "nobody is named");
    }

    #[test]
    fn what_is_wrong_is_refused_and_quotes_no_value() {
        for wrong in [
            json!("hunter2"),
            json!({ "namespace": ["hunter2"] }),
            json!({ "namespaces": "hunter2" }),
            json!({ "onWithdrawal": "hunter2" }),
            json!({ "namespaceRegexes": ["("] }),
            json!({ "namespaceRegexes": ["(a{1000}){1000}"] }),
            json!({ "namespaceSelector": { "matchExpressions": [{ "key": "team", "operator": "In" }] } }),
            json!({ "namespaceSelector": { "matchLabels": { "team": "hunter2 " } } }),
            json!({ "namespaceSelector": { "matchLabel": { "team": "hunter2" } } }),
            json!({ "namespaces": ["hunter2".repeat(80)] }),
        ] {
            let text = Consent::parse(&wrong).map_err(|error| error.to_string()).unwrap_err();
            assert!(!text.contains("hunter2"), "{wrong}: {text}");
        }
    }

    #[test]
    fn until_a_new_value_is_written_only_whom_both_permit_may_read() {
        let consent = |value: Value| Consent::parse(&value).unwrap();
        let until = |present: Option<Value>, wanted: Option<Value>| {
            let present = present.map(|present| consent(present).encode());
            let there = present.iter().map(|text| (key("password"), text.clone())).collect();
            let until = until_written(&there, "password", wanted.map(consent).as_ref());
            until.map(|text| serde_json::from_str::<Value>(&text).unwrap())
        };
        let [shop, bank] = ["shop", "bank"].map(|name| json!({ "namespaces": [name], "onWithdrawal": "Delete" }));
        assert_eq!(until(None, None), None);
        assert_eq!(until(None, Some(shop.clone())), Some(json!({})));
        assert_eq!(until(Some(shop.clone()), None), Some(json!({})));
        assert_eq!(until(Some(shop.clone()), Some(shop.clone())), Some(shop.clone()));
        assert_eq!(until(Some(shop.clone()), Some(bank)), Some(json!({})));
        let many = json!({ "namespaces": ["shop", "team-a", "other"], "namespaceRegexes": ["x.*", "y.*"],
            "namespaceSelector": { "matchLabels": { "tier": "web" } } });
        let few = json!({ "namespaces": ["shop", "xylophone"], "namespaceRegexes": ["team-.*", "y.*"],
            "namespaceSelector": { "matchLabels": { "tier": "web" } } });
        let common = json!({ "namespaces": ["shop", "team-a", "xylophone"], "namespaceRegexes": ["y.*"],
            "namespaceSelector": { "matchLabels": { "tier": "web" } } });
        assert_eq!(until(Some(many), Some(few)), Some(common));
        let garbage = BTreeMap::from([(key("password"), "garbage".to_owned())]);
        let until = until_written(&garbage, "password", Some(&consent(shop)));
        assert!(Consent::parse(&serde_json::from_str(&until.unwrap()).unwrap()).unwrap() == Consent::default());
    }

    #[test]
    fn a_consent_stands_beside_its_property_and_garbage_lets_nobody_in() {
        let consent = Consent::parse(&json!({ "namespaces": ["shop"], "onWithdrawal": "Delete" })).unwrap();
        let mut there = labels(&[(&key("password"), &consent.encode()), (&key("token"), "garbage"), ("team", "a")]);
        assert_eq!(of(&there, "password"), Some(consent));
        assert_eq!(of(&there, "token"), Some(Consent::default()));
        assert_eq!(of(&there, "username"), None);
        assert_eq!(all(&there).map(|(property, _)| property).collect::<Vec<_>>(), ["password", "token"]);
        let before = digest(&there);
        there.insert("team".to_owned(), "b".to_owned());
        assert_eq!(digest(&there), before);
        there.remove(&key("token"));
        assert_ne!(digest(&there), before);
    }
}
