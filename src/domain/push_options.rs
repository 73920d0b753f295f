//! The `metadata` of a mapping (`PushSecretMetadata`), parsed once.
//!
//! The form is External Secrets Operator's, so that a manifest stays portable. `encoding` and
//! `consumers` are ours.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

use super::claim;
use super::consent::{Consent, ConsentError};
use super::custom_metadata::{self, MetadataFault};

/// The required `apiVersion`.
const API_VERSION: &str = "kubernetes.external-secrets.io/v1alpha1";
/// The required `kind`.
const KIND: &str = "PushSecretMetadata";
/// The maximum number of keys of custom metadata in a mapping: the path needs room for the mark and
/// for the mapping's own claim.
const MAX_CUSTOM_METADATA: usize = claim::MAX_KEYS - 2;
/// How many characters of a key a message shows.
const SHOWN: usize = 40;

/// The options of a mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// How the bytes of the source become text.
    pub encoding: Encoding,
    /// The custom metadata to set on the path.
    pub custom_metadata: BTreeMap<String, String>,
    /// What happens to custom metadata that no mapping names; `None` if the mapping does not say.
    pub other_metadata: Option<OtherMetadata>,
    /// Who may read the property; `None` if the mapping does not say.
    pub consumers: Option<Consent>,
}

/// How the bytes of a source become the text of a property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// They are UTF-8 text.
    #[default]
    Text,
    /// Standard base64 of any bytes; the consumer sets `decodingStrategy: Base64`.
    Base64,
}

/// What happens to custom metadata of a path that no mapping names. The mark and all claims always
/// stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherMetadata {
    /// They stay.
    #[default]
    Keep,
    /// It is removed.
    Remove,
}

/// Why the `metadata` of a mapping is refused. Only names are quoted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PushOptionsError {
    /// It is not an object.
    #[error("it is not an object: write apiVersion {API_VERSION}, kind {KIND} and a spec")]
    NoObject,
    /// `apiVersion` or `kind` is wrong.
    #[error("{field} must be {wanted}")]
    Head {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// An unknown field.
    #[error("{field} is not a field of {KIND}: the spec may have encoding, customMetadata, mergePolicy and consumers")]
    Unknown { field: String },
    /// A value that is not allowed.
    #[error("{field} must be {wanted}")]
    Value {
        field: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The consent is wrong.
    #[error("spec.consumers {0}")]
    Consumers(ConsentError),
    /// A key that Waypost sets itself.
    #[error("only Waypost sets spec.customMetadata.{key}, which records ownership of the path: choose another key")]
    Protected { key: String },
    /// Custom metadata that no store accepts.
    #[error(
        "spec.customMetadata[{key:?}] {fault}: a store accepts keys of 1 to {} bytes and values of 1 to {}, of printable characters",
        custom_metadata::MAX_KEY,
        custom_metadata::MAX_VALUE
    )]
    CustomMetadata {
        /// The key, or its beginning.
        key: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// More custom metadata than an entry has room for.
    #[error("spec.customMetadata has {keys} keys, and a path has room for {MAX_CUSTOM_METADATA}: remove some")]
    TooMany {
        /// Their number.
        keys: usize,
    },
}

impl PushOptions {
    /// Parses the `metadata` of a mapping.
    ///
    /// # Errors
    /// [`PushOptionsError`] for the first thing that is wrong.
    pub fn parse(metadata: &Value) -> Result<Self, PushOptionsError> {
        let envelope = metadata.as_object().ok_or(PushOptionsError::NoObject)?;
        for (field, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            if envelope.get(field).and_then(Value::as_str) != Some(wanted) {
                return Err(PushOptionsError::Head { field, wanted });
            }
        }
        let mut options = PushOptions::default();
        for (field, value) in envelope {
            match field.as_str() {
                "apiVersion" | "kind" => {}
                "spec" => options.take_spec(object("spec", value)?)?,
                _unknown => return Err(PushOptionsError::Unknown { field: field.clone() }),
            }
        }
        Ok(options)
    }

    fn take_spec(&mut self, spec: &Map<String, Value>) -> Result<(), PushOptionsError> {
        for (field, value) in spec {
            let wrong = |wanted| PushOptionsError::Value { field: format!("spec.{field}"), wanted };
            match (field.as_str(), value.as_str()) {
                ("encoding", Some("None")) => self.encoding = Encoding::Text,
                ("encoding", Some("Base64")) => self.encoding = Encoding::Base64,
                ("encoding", _) => return Err(wrong("None or Base64")),
                ("mergePolicy", Some("Merge")) => self.other_metadata = Some(OtherMetadata::Keep),
                ("mergePolicy", Some("Replace")) => self.other_metadata = Some(OtherMetadata::Remove),
                ("mergePolicy", _) => return Err(wrong("Merge or Replace")),
                ("consumers", _) => {
                    self.consumers = Some(Consent::parse(value).map_err(PushOptionsError::Consumers)?);
                }
                ("customMetadata", _) => self.custom_metadata = custom_metadata(object("spec.customMetadata", value)?)?,
                _unknown => return Err(PushOptionsError::Unknown { field: format!("spec.{field}") }),
            }
        }
        Ok(())
    }
}

fn custom_metadata(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>, PushOptionsError> {
    let pair = |(key, value): (&String, &Value)| {
        let Some(text) = value.as_str() else {
            return Err(PushOptionsError::Value {
                field: format!("spec.customMetadata.{key}"),
                wanted: "a text: put it in quotes",
            });
        };
        if claim::is_ours(key) {
            return Err(PushOptionsError::Protected { key: key.clone() });
        }
        if let Some(fault) = fault(key, text) {
            return Err(PushOptionsError::CustomMetadata { key: key.chars().take(SHOWN).collect(), fault });
        }
        Ok((key.clone(), text.to_owned()))
    };
    if fields.len() > MAX_CUSTOM_METADATA {
        return Err(PushOptionsError::TooMany { keys: fields.len() });
    }
    fields.iter().map(pair).collect()
}

fn fault(key: &str, value: &str) -> Option<&'static str> {
    let of_key = |fault| match fault {
        MetadataFault::Empty => "is an empty key",
        MetadataFault::TooLong => "is too long a key",
        MetadataFault::Unprintable => "is a key with a character that cannot be printed",
    };
    let of_value = |fault| match fault {
        MetadataFault::Empty => "is empty",
        MetadataFault::TooLong => "is too long",
        MetadataFault::Unprintable => "has a character that cannot be printed",
    };
    custom_metadata::check_key(key)
        .map_err(of_key)
        .and_then(|()| custom_metadata::check_value(value).map_err(of_value))
        .err()
}

fn object<'a>(field: &str, value: &'a Value) -> Result<&'a Map<String, Value>, PushOptionsError> {
    value.as_object().ok_or_else(|| PushOptionsError::Value { field: field.to_owned(), wanted: "an object" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(spec: Value) -> Result<PushOptions, PushOptionsError> {
        PushOptions::parse(&json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": spec }))
    }

    #[test]
    fn an_envelope_says_encoding_metadata_and_what_becomes_of_other_metadata() {
        let options = parse(json!({
            "encoding": "Base64", "mergePolicy": "Replace", "customMetadata": { "team": "payments" },
            "consumers": { "namespaces": ["shop"] },
        }));
        assert_eq!(
            options,
            Ok(PushOptions {
                encoding: Encoding::Base64,
                custom_metadata: BTreeMap::from([("team".into(), "payments".into())]),
                other_metadata: Some(OtherMetadata::Remove),
                consumers: Some(Consent { namespaces: vec!["shop".into()], ..Consent::default() }),
            })
        );
        assert_eq!(parse(json!({})), Ok(PushOptions::default()));
    }

    fn many(count: usize) -> Value {
        (0..count).map(|n| (format!("k{n}"), json!("v"))).collect::<Map<_, _>>().into()
    }

    #[test]
    fn as_many_keys_as_fit_beside_the_marker_and_a_claim_are_taken() {
        assert_eq!(parse(json!({ "customMetadata": many(62) })).map(|options| options.custom_metadata.len()), Ok(62));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name_and_no_value_is_quoted() {
        for (spec, named) in [
            (json!({ "secretPushFormat": "x" }), "spec.secretPushFormat"),
            (json!({ "encoding": "hunter2" }), "spec.encoding"),
            (json!({ "mergePolicy": 3 }), "spec.mergePolicy"),
            (json!({ "customMetadata": { "team": 3 } }), "spec.customMetadata.team"),
            (json!({ "customMetadata": { "managed-by": "me" } }), "spec.customMetadata.managed-by"),
            (json!({ "customMetadata": { "claim.waypost.io/password": "me" } }), "claim.waypost.io/password"),
            (json!({ "consumers": "hunter2" }), "spec.consumers"),
            (json!({ "customMetadata": { "consent.waypost.io/password": "me" } }), "consent.waypost.io/password"),
            (
                json!({ "customMetadata": { "team": "hunter2".repeat(100) } }),
                "spec.customMetadata[\"team\"] is too long",
            ),
            (json!({ "customMetadata": { "team": "" } }), "spec.customMetadata[\"team\"] is empty"),
            (json!({ "customMetadata": { "team": "hunter2\n" } }), "[\"team\"] has a character that cannot be printed"),
            (json!({ "customMetadata": { "": "hunter2" } }), "spec.customMetadata[\"\"] is an empty key"),
            (json!({ "customMetadata": { "a\tb": "hunter2" } }), "[\"a\\tb\"] is a key with a character"),
            (json!({ "customMetadata": { "k".repeat(129): "hunter2" } }), "kk\"] is too long a key"),
            (json!({ "customMetadata": many(63) }), "has 63 keys"),
            (json!({ "consumers": { "namespaces": ["a\u{200b}"] } }), "spec.consumers has a character"),
            (json!("hunter2"), "spec"),
        ] {
            let text = parse(spec.clone()).map_err(|error| error.to_string()).unwrap_err();
            assert!(text.contains(named) && !text.contains("hunter2"), "{spec}: {text}");
        }
        for envelope in [json!("hunter2"), json!({ "kind": KIND }), json!({ "apiVersion": API_VERSION, "kind": "x" })] {
            assert!(PushOptions::parse(&envelope).is_err(), "{envelope}");
        }
    }
}
