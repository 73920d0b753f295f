//! What a mapping asks for beside its value: the `metadata` envelope (`PushSecretMetadata`), parsed once.
//!
//! The envelope is External Secrets Operator's, so that a manifest stays portable; `encoding` in it is ours.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

use super::claim;
use super::consent::{Consent, ConsentError};

/// The envelope's `apiVersion`.
const API_VERSION: &str = "kubernetes.external-secrets.io/v1alpha1";
/// The envelope's `kind`.
const KIND: &str = "PushSecretMetadata";
/// What KV v2 takes as a key of `custom_metadata`, in bytes.
const MAX_LABEL_KEY: usize = 128;
/// What KV v2 takes as a value of `custom_metadata`, in bytes.
const MAX_LABEL_VALUE: usize = 512;

/// What a mapping asks for beside its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// How the bytes of the source become text.
    pub encoding: Encoding,
    /// Labels (`custom_metadata`) that the path gets.
    pub labels: BTreeMap<String, String>,
    /// What happens to labels of the path that no mapping names; `None` where the mapping does not say.
    pub other_labels: Option<OtherLabels>,
    /// Who may read the property; `None` where the mapping does not say.
    pub consumers: Option<Consent>,
}

/// How the bytes of a source become the text of a property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// They are text already (UTF-8).
    #[default]
    Text,
    /// As standard base64, whatever they are; the consumer says `decodingStrategy: Base64`.
    Base64,
}

/// What happens to labels of a path that no mapping names. The marker and claims, whoever's, always stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherLabels {
    /// They stay.
    #[default]
    Keep,
    /// They go.
    Remove,
}

/// Why an envelope is refused. Nothing of it is quoted but names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PushOptionsError {
    /// It is a list, a text, a number.
    #[error("it is no object: write apiVersion {API_VERSION}, kind {KIND} and a spec")]
    NoObject,
    /// The head of the envelope.
    #[error("{field} must be {wanted}")]
    Head {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A field that nobody knows.
    #[error("{field} is no field of {KIND}: the spec may have encoding, customMetadata, mergePolicy and consumers")]
    Unknown {
        /// The field.
        field: String,
    },
    /// A value that is none of those allowed.
    #[error("{field} must be {wanted}")]
    Value {
        /// The field.
        field: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// Who may read it.
    #[error("spec.consumers {0}")]
    Consumers(ConsentError),
    /// A label that says who owns what.
    #[error("spec.customMetadata.{key} says who owns the path, and Waypost alone sets it: choose another key")]
    Protected {
        /// The label's key.
        key: String,
    },
    /// A label that no store takes.
    #[error(
        "spec.customMetadata.{key}… is too long: a store takes keys of 1 to {MAX_LABEL_KEY} bytes and values of up to {MAX_LABEL_VALUE}"
    )]
    TooLong {
        /// The beginning of the label's key.
        key: String,
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
                ("mergePolicy", Some("Merge")) => self.other_labels = Some(OtherLabels::Keep),
                ("mergePolicy", Some("Replace")) => self.other_labels = Some(OtherLabels::Remove),
                ("mergePolicy", _) => return Err(wrong("Merge or Replace")),
                ("consumers", _) => {
                    self.consumers = Some(Consent::parse(value).map_err(PushOptionsError::Consumers)?);
                }
                ("customMetadata", _) => self.labels = labels(object("spec.customMetadata", value)?)?,
                _unknown => return Err(PushOptionsError::Unknown { field: format!("spec.{field}") }),
            }
        }
        Ok(())
    }
}

fn labels(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>, PushOptionsError> {
    let label = |(key, value): (&String, &Value)| {
        let Some(text) = value.as_str() else {
            return Err(PushOptionsError::Value {
                field: format!("spec.customMetadata.{key}"),
                wanted: "a text: put it in quotes",
            });
        };
        if claim::is_ours(key) {
            return Err(PushOptionsError::Protected { key: key.clone() });
        }
        if key.is_empty() || key.len() > MAX_LABEL_KEY || text.len() > MAX_LABEL_VALUE {
            return Err(PushOptionsError::TooLong { key: key.chars().take(40).collect() });
        }
        Ok((key.clone(), text.to_owned()))
    };
    fields.iter().map(label).collect()
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
    fn an_envelope_says_encoding_labels_and_what_becomes_of_other_labels() {
        let options = parse(json!({
            "encoding": "Base64", "mergePolicy": "Replace", "customMetadata": { "team": "payments" },
            "consumers": { "namespaces": ["shop"] },
        }));
        assert_eq!(
            options,
            Ok(PushOptions {
                encoding: Encoding::Base64,
                labels: BTreeMap::from([("team".into(), "payments".into())]),
                other_labels: Some(OtherLabels::Remove),
                consumers: Some(Consent { namespaces: vec!["shop".into()], ..Consent::default() }),
            })
        );
        assert_eq!(parse(json!({})), Ok(PushOptions::default()));
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
            (json!({ "customMetadata": { "team": "hunter2".repeat(100) } }), "spec.customMetadata.team"),
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
