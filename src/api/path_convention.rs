//! PathConvention: the mode and the vocabulary of the path convention, as data.

use std::collections::{BTreeMap, BTreeSet};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::convention::{Convention, Mode, PROPERTY_PATTERN, SEGMENT_PATTERN, WORD_PATTERN, WordError};

/// The API group of our own kinds.
pub const OWN_GROUP: &str = "waypost.io";
/// The only valid name.
pub const DEFAULT_NAME: &str = "default";

/// Mode and vocabulary. A field that is not set has its built-in value; a list that is set replaces
/// the built-in one.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "waypost.io",
    version = "v1alpha1",
    kind = "PathConvention",
    plural = "pathconventions",
    derive = "PartialEq",
    doc = "Says which paths PushSecrets may write. The admission policies, the controller and waypost lint read it. Only the object named default is used.",
    validation = ("self.metadata.name == 'default'", "the PathConvention must be named default"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Secrets", type_ = "string", json_path = ".spec.secretPrefix"),
    printcolumn(name = "Configuration", type_ = "string", json_path = ".spec.configurationPrefix"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.secretPrefix) ? self.secretPrefix : 'platform-data') != (has(self.configurationPrefix) ? self.configurationPrefix : 'platform-config')")
        .message("secretPrefix and configurationPrefix are equal: set different ones"),
)]
pub struct PathConventionSpec {
    /// How strictly the convention is applied: enforce (the default), warn or off. The label
    /// waypost.io/path-convention on a Namespace overrides it for objects in that namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ConventionMode>,
    /// First segment of paths of secrets. Defaults to platform-data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = format!("^{SEGMENT_PATTERN}$")))]
    pub secret_prefix: Option<String>,
    /// First segment of paths of configuration. Defaults to platform-config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = format!("^{SEGMENT_PATTERN}$")))]
    pub configuration_prefix: Option<String>,
    /// The systems that generate values: the second segment of a path (V3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500), inner(length(min = 1, max = 63), regex(pattern = format!("^{SEGMENT_PATTERN}$"))))]
    pub datasources: Option<BTreeSet<String>>,
    /// Words that name an environment. No segment may contain one (V5).
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
    /// Properties that are credentials. They are not allowed under the configuration prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253), regex(pattern = format!("^{PROPERTY_PATTERN}$"))))]
    pub credentials: Option<BTreeSet<String>>,
    /// Properties that say where a system is. They belong under the configuration prefix.
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
    /// The convention is not checked.
    Off,
}

/// Why an object is not a valid path convention.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConventionError {
    /// The object's name is not [`DEFAULT_NAME`].
    #[error("metadata.name is {name:?}: the PathConvention must be named {DEFAULT_NAME}")]
    Name {
        /// Its name.
        name: String,
    },
    /// A word that is not valid for its field.
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
