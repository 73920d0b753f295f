//! PathConvention: the mode and the words of the path convention, as data.

use std::collections::{BTreeMap, BTreeSet};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::convention::{Convention, Mode, PROPERTY_PATTERN, SEGMENT_PATTERN, WORD_PATTERN, WordError};

/// The API group of what is not part of the External Secrets API.
pub const OWN_GROUP: &str = "waypost.io";
/// The name of the one object that counts.
pub const DEFAULT_NAME: &str = "default";

/// Mode and words. What is left out is as built in; a list that is given replaces the built-in one.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "waypost.io",
    version = "v1alpha1",
    kind = "PathConvention",
    plural = "pathconventions",
    derive = "PartialEq",
    doc = "Says which paths PushSecrets may write: read by the admission policies, the controller and waypost lint. One object counts, and it is called default.",
    validation = ("self.metadata.name == 'default'", "the one PathConvention is called default"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Secrets", type_ = "string", json_path = ".spec.secretPrefix"),
    printcolumn(name = "Configuration", type_ = "string", json_path = ".spec.configurationPrefix"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.secretPrefix) ? self.secretPrefix : 'platform-data') != (has(self.configurationPrefix) ? self.configurationPrefix : 'platform-config')")
        .message("secretPrefix and configurationPrefix are one: give each its own"),
)]
pub struct PathConventionSpec {
    /// How strictly it is applied: enforce (the default), warn or off. The label waypost.io/path-convention on a Namespace says
    /// otherwise for what is written from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ConventionMode>,
    /// First segment of the paths of secrets; absent means platform-data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = format!("^{SEGMENT_PATTERN}$")))]
    pub secret_prefix: Option<String>,
    /// First segment of the paths of configuration; absent means platform-config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = format!("^{SEGMENT_PATTERN}$")))]
    pub configuration_prefix: Option<String>,
    /// The systems that generate values, which are the second segment of a path (V3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500), inner(length(min = 1, max = 63), regex(pattern = format!("^{SEGMENT_PATTERN}$"))))]
    pub datasources: Option<BTreeSet<String>>,
    /// Words that name an environment, which no segment may contain (V5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), inner(length(min = 1, max = 63), regex(pattern = format!("^{WORD_PATTERN}$"))))]
    pub environments: Option<BTreeSet<String>>,
    /// What properties are called (V2, V7, V8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<Vocabulary>,
}

/// What properties are called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.credentials) || !has(self.endpoints) || !self.credentials.exists(property, property in self.endpoints)")
        .message("a property is a credential or an endpoint, not both"),
)]
pub struct Vocabulary {
    /// Properties that are credentials, which never go under configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253), regex(pattern = format!("^{PROPERTY_PATTERN}$"))))]
    pub credentials: Option<BTreeSet<String>>,
    /// Properties that say where a system is, which belong under configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253), regex(pattern = format!("^{PROPERTY_PATTERN}$"))))]
    pub endpoints: Option<BTreeSet<String>>,
    /// Other words for a property, each with the word to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 200, "additionalProperties" = {
        "type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[a-z][a-z0-9_.-]*$",
    }))]
    pub aliases: Option<BTreeMap<String, String>>,
}

/// How strictly the convention is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum ConventionMode {
    /// Errors stop a push.
    Enforce,
    /// Errors are warnings.
    Warn,
    /// Nothing is judged.
    Off,
}

/// Why an object does not say which convention holds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConventionError {
    /// Another object than the one that counts.
    #[error("metadata.name is {name:?}: the one PathConvention is called {DEFAULT_NAME}")]
    Name {
        /// What it is called.
        name: String,
    },
    /// A word that cannot be what it is for.
    #[error("spec.{0}")]
    Word(WordError),
}

impl PathConvention {
    /// The convention that it asks for.
    ///
    /// # Errors
    /// [`ConventionError`] with what to write instead.
    pub fn convention(&self) -> Result<Convention, ConventionError> {
        let name = self.metadata.name.clone().unwrap_or_default();
        if name != DEFAULT_NAME {
            return Err(ConventionError::Name { name });
        }
        let (spec, built_in) = (self.spec.clone(), Convention::default());
        let vocabulary = spec.vocabulary.unwrap_or_default();
        let convention = Convention {
            mode: spec.mode.map_or(built_in.mode, Mode::from),
            secret_prefix: spec.secret_prefix.unwrap_or(built_in.secret_prefix),
            configuration_prefix: spec.configuration_prefix.unwrap_or(built_in.configuration_prefix),
            datasources: spec.datasources.unwrap_or(built_in.datasources),
            environments: spec.environments.unwrap_or(built_in.environments),
            credentials: vocabulary.credentials.unwrap_or(built_in.credentials),
            endpoints: vocabulary.endpoints.unwrap_or(built_in.endpoints),
            aliases: vocabulary.aliases.unwrap_or(built_in.aliases),
        };
        convention.check_words().map_err(ConventionError::Word)?;
        Ok(convention)
    }
}

impl From<ConventionMode> for Mode {
    fn from(mode: ConventionMode) -> Self {
        match mode {
            ConventionMode::Enforce => Mode::Enforce,
            ConventionMode::Warn => Mode::Warn,
            ConventionMode::Off => Mode::Off,
        }
    }
}
