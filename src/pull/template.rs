//! The parsed template of a target.

use waypost_template::Template;

use super::desired::{SpecError, decoding, unsupported};
use crate::api::template::{self as api, TemplateFrom, TemplateMergePolicy};
use crate::domain::property::Decoding;
use crate::domain::secret_template::{Makes, Part, Rendering, SecretTemplate};
use crate::domain::target::is_legal_key;

/// Types of Secrets that are credentials of the cluster: whoever may write an ExternalSecret must not
/// get one.
const CREDENTIALS: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Parses `spec.target.template`.
///
/// # Errors
/// The first error or unsupported field.
pub fn parse(template: &api::SecretTemplate) -> Result<SecretTemplate, SpecError> {
    let field = |name: &str| format!("spec.target.template.{name}");
    let kind = template.type_.clone().filter(|kind| !kind.is_empty()).unwrap_or_else(|| "Opaque".to_owned());
    if CREDENTIALS.contains(&kind.as_str()) {
        return Err(SpecError::TargetType { field: field("type"), kind });
    }
    let metadata = template.metadata.clone().unwrap_or_default();
    if !metadata.finalizers.is_empty() {
        return Err(unsupported(&field("metadata.finalizers")));
    }
    let mut parts = Vec::new();
    for (index, from) in template.template_from.iter().enumerate() {
        parts.push(literal(&field(&format!("templateFrom[{index}]")), from)?);
    }
    for (key, text) in &template.data {
        if !is_legal_key(key) {
            return Err(SpecError::TargetKey { key: key.clone() });
        }
        parts.push(value(field(&format!("data.{key}")), Part::Data, key, text)?);
    }
    for (key, text) in &metadata.labels {
        parts.push(value(field(&format!("metadata.labels.{key}")), Part::Labels, key, text)?);
    }
    for (key, text) in &metadata.annotations {
        parts.push(value(field(&format!("metadata.annotations.{key}")), Part::Annotations, key, text)?);
    }
    Ok(SecretTemplate { kind, merges: template.merge_policy() == TemplateMergePolicy::Merge, parts })
}

fn value(field: String, part: Part, key: &str, text: &str) -> Result<Rendering, SpecError> {
    rendering(field, part, Makes::Value(key.to_owned()), Decoding::Plain, text)
}

fn literal(field: &str, from: &TemplateFrom) -> Result<Rendering, SpecError> {
    if from.config_map.is_some() || from.secret.is_some() {
        let kind = if from.config_map.is_some() { "configMap" } else { "secret" };
        return Err(unsupported(&format!("{field}.{kind}")));
    }
    let Some(text) = &from.literal else {
        let advice = "set it, or remove the entry";
        return Err(SpecError::Missing { field: format!("{field}.literal"), advice });
    };
    let word = from.target.as_deref().unwrap_or("Data");
    let part = match word.to_ascii_lowercase().as_str() {
        "data" | "" => Part::Data,
        "labels" => Part::Labels,
        "annotations" => Part::Annotations,
        _unknown => return Err(SpecError::NoPart { field: format!("{field}.target"), word: word.to_owned() }),
    };
    let decoding = decoding(from.values_decoding_strategy);
    rendering(format!("{field}.literal"), part, Makes::KeysAndValues, decoding, text)
}

fn rendering(field: String, part: Part, makes: Makes, decoding: Decoding, text: &str) -> Result<Rendering, SpecError> {
    match Template::parse(text) {
        Ok(template) => Ok(Rendering { field, part, makes, decoding, template, text: text.to_owned() }),
        Err(fault) => Err(SpecError::Template { field, fault: Box::new(fault) }),
    }
}
