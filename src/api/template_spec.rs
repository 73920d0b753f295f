//! Parses the template of an ExternalSecret's target, or of what a PushSecret pushes.

use thiserror::Error;
use waypost_template::{Fault, Template};

use super::external_secret::DecodingStrategy;
use super::template::{self as api, TemplateAs, TemplateFrom, TemplateMergePolicy, TemplateSource};
use crate::domain::property::Decoding;
use crate::domain::secret_template::{Makes, Part, Rendering};
use crate::domain::source::{SourceKind, SourceName};
use crate::domain::target::{IllegalKey, is_finalizer, is_legal_key, is_qualified_name};
use crate::domain::template_spec::{PartSpec, Referred, TemplateSpec};

/// Types of Secrets that are credentials of the cluster: whoever may write an ExternalSecret must not
/// get one.
const CREDENTIALS: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Why a template cannot be used. Only an edit of the manifest helps.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A text that is no template.
    #[error("{field}: {fault}")]
    Text {
        field: String,
        /// Where, and what.
        fault: Box<Fault>,
    },
    /// An entry without a text.
    #[error("{field} is not set: set it, or configMap or secret, or remove the entry")]
    Missing { field: String },
    /// A source of texts without a text.
    #[error("{field} is empty, so nothing of the object would be rendered: list its keys")]
    NoItems { field: String },
    /// A type of Secret that grants access to the cluster.
    #[error("{field} is {kind}: a target of that type would grant access to the cluster; choose another type")]
    Type {
        field: String,
        /// The type.
        kind: String,
    },
    /// Rule K1 for a key.
    #[error("{field}: {cause}")]
    Key {
        field: String,
        /// The key.
        cause: IllegalKey,
    },
    /// A finalizer that the API server would refuse, or that belongs to the garbage collector.
    #[error("{field} is {name:?}, and a finalizer is a name with a domain, such as example.com/keep: correct it")]
    Finalizer {
        field: String,
        /// The finalizer.
        name: String,
    },
    /// A name that no label or annotation may have.
    #[error(
        "{field} is no name of a label or an annotation: use at most 63 letters, digits, '-', '_' and '.', after a domain and '/', or without one"
    )]
    MetadataName { field: String },
    /// A text in the Secret that it renders.
    #[error("{field} names the target itself, which would be rendered from its own result: name another Secret")]
    OfItself { field: String },
    /// A part of a Secret that does not exist.
    #[error("{field} is {word:?}: write Data, Labels or Annotations")]
    NoPart {
        field: String,
        /// What it says.
        word: String,
    },
}

impl TemplateError {
    /// The field in the manifest.
    pub fn field(&self) -> &str {
        match self {
            TemplateError::Text { field, .. }
            | TemplateError::Missing { field }
            | TemplateError::NoItems { field }
            | TemplateError::Type { field, .. }
            | TemplateError::Key { field, .. }
            | TemplateError::Finalizer { field, .. }
            | TemplateError::MetadataName { field }
            | TemplateError::OfItself { field }
            | TemplateError::NoPart { field, .. } => field,
        }
    }
}

/// Parses the template at the field `root`. `target` is the Secret that it renders, if it is one of
/// the cluster.
///
/// # Errors
/// The first error.
pub fn parse(template: &api::SecretTemplate, root: &str, target: Option<&str>) -> Result<TemplateSpec, TemplateError> {
    let field = |name: &str| format!("{root}.{name}");
    let kind = template.type_.clone().filter(|kind| !kind.is_empty()).unwrap_or_else(|| "Opaque".to_owned());
    if CREDENTIALS.contains(&kind.as_str()) {
        return Err(TemplateError::Type { field: field("type"), kind });
    }
    let metadata = template.metadata.clone().unwrap_or_default();
    if let Some((index, name)) = metadata.finalizers.iter().enumerate().find(|(_, name)| !is_finalizer(name)) {
        let field = field(&format!("metadata.finalizers[{index}]"));
        return Err(TemplateError::Finalizer { field, name: name.clone() });
    }
    for (part, names) in [("labels", &metadata.labels), ("annotations", &metadata.annotations)] {
        if let Some(name) = names.keys().find(|name| !is_qualified_name(name)) {
            let field = field(&format!("metadata.{part}.{name}"));
            return Err(TemplateError::MetadataName { field });
        }
    }
    let mut parts = Vec::new();
    for (index, entry) in template.template_from.iter().enumerate() {
        parts.extend(from(&field(&format!("templateFrom[{index}]")), entry, target)?);
    }
    for (key, text) in &template.data {
        if !is_legal_key(key) {
            let (field, cause) = (field(&format!("data.{key}")), IllegalKey(key.clone()));
            return Err(TemplateError::Key { field, cause });
        }
        parts.push(value(field(&format!("data.{key}")), Part::Data, key, text)?);
    }
    for (key, text) in &metadata.labels {
        parts.push(value(field(&format!("metadata.labels.{key}")), Part::Labels, key, text)?);
    }
    for (key, text) in &metadata.annotations {
        parts.push(value(field(&format!("metadata.annotations.{key}")), Part::Annotations, key, text)?);
    }
    let finalizers = metadata.finalizers.into_iter().collect();
    Ok(TemplateSpec { kind, merges: template.merge_policy() == TemplateMergePolicy::Merge, finalizers, parts })
}

fn value(field: String, part: Part, key: &str, text: &str) -> Result<PartSpec, TemplateError> {
    rendering(field, part, Makes::Value(key.to_owned()), Decoding::Plain, text)
}

/// As in External Secrets Operator, an entry may have several sources at once.
fn from(field: &str, from: &TemplateFrom, target: Option<&str>) -> Result<Vec<PartSpec>, TemplateError> {
    let word = from.target.as_deref().unwrap_or("Data");
    let part = match word.to_ascii_lowercase().as_str() {
        "data" | "" => Part::Data,
        "labels" => Part::Labels,
        "annotations" => Part::Annotations,
        _unknown => return Err(TemplateError::NoPart { field: format!("{field}.target"), word: word.to_owned() }),
    };
    let decoding = decoding(from.values_decoding_strategy);
    let mut parts = Vec::new();
    if let Some(source) = &from.config_map {
        parts.push(referred(format!("{field}.configMap"), SourceKind::ConfigMap, source, part, decoding)?);
    }
    if let Some(source) = &from.secret {
        let field = format!("{field}.secret");
        if Some(source.name.as_str()) == target {
            return Err(TemplateError::OfItself { field });
        }
        parts.push(referred(field, SourceKind::Secret, source, part, decoding)?);
    }
    if let Some(text) = &from.literal {
        parts.push(rendering(format!("{field}.literal"), part, Makes::KeysAndValues, decoding, text)?);
    }
    if parts.is_empty() {
        return Err(TemplateError::Missing { field: format!("{field}.literal") });
    }
    Ok(parts)
}

fn referred(
    field: String,
    kind: SourceKind,
    source: &TemplateSource,
    part: Part,
    decoding: Decoding,
) -> Result<PartSpec, TemplateError> {
    if source.items.is_empty() {
        return Err(TemplateError::NoItems { field: format!("{field}.items") });
    }
    let items = source.items.iter().map(|item| {
        let makes = match item.template_as.unwrap_or_default() {
            TemplateAs::Values => Makes::Value(item.key.clone()),
            TemplateAs::KeysAndValues => Makes::KeysAndValues,
        };
        (item.key.clone(), makes)
    });
    let object = SourceName { kind, name: source.name.clone() };
    Ok(PartSpec::Object(Referred { field, object, items: items.collect(), part, decoding }))
}

fn rendering(
    field: String,
    part: Part,
    makes: Makes,
    decoding: Decoding,
    text: &str,
) -> Result<PartSpec, TemplateError> {
    match Template::parse(text) {
        Ok(template) => {
            let text = text.to_owned();
            Ok(PartSpec::Text(Rendering { field, part, makes, decoding, template, text, is_secret: false }))
        }
        Err(fault) => Err(TemplateError::Text { field, fault: Box::new(fault) }),
    }
}

/// How a strategy decodes.
pub fn decoding(strategy: Option<DecodingStrategy>) -> Decoding {
    match strategy.unwrap_or_default() {
        DecodingStrategy::Auto => Decoding::Auto,
        DecodingStrategy::Base64 => Decoding::Base64,
        DecodingStrategy::Base64URL => Decoding::Base64Url,
        DecodingStrategy::None => Decoding::Plain,
    }
}
