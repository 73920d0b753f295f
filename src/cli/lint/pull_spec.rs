//! Checks the spec of an ExternalSecret with the controller's own parser.

use super::push_spec;
use crate::api::external_secret::{
    CreationPolicy, DataFrom, DeletionPolicy, ExternalSecretData, RemoteRef, Rewrite, RewriteRegexp, SourceRef,
};
use crate::api::template::TemplateFrom;
use crate::api::template_spec::TemplateError;
use crate::api::{DurationText, ExternalSecret, ExternalSecretSpec, StoreRef};
use crate::domain::target::{IllegalKey, is_legal_key, is_legal_name};
use crate::manifest::{Node, Object, Problem, Value, span_of, template_fault};
use crate::pull::desired::{Desired, SpecError};

/// The parser returns the first error. Lint corrects it and parses again, at most this often.
const MOST_FAULTS: usize = 1_000;

const TEMPLATE: &str = "spec.target.template.";

/// A valid name for an ExternalSecret without one. An invalid name, the default of its target's, is
/// reported with the metadata.
const SOME_NAME: &str = "a-name";

/// Judges the spec at `root`.
pub fn check(object: &Object<'_>, root: &str) -> Vec<Problem> {
    // The schema reports a wrong shape.
    let spec = object.node.at(root).and_then(|node| serde_json::from_value::<ExternalSecretSpec>(node.admitted()).ok());
    let Some(spec) = spec else { return Vec::new() };
    let mut problems = rendered_keys(object, root);
    let name =
        object.node.at("metadata.name").and_then(Node::text).filter(|name| root == "spec" && is_legal_name(name));
    let mut asked = ExternalSecret::new(name.unwrap_or(SOME_NAME), spec);
    for attempt in 0..MOST_FAULTS {
        let Err(fault) = Desired::parse(&asked) else { break };
        let Some(corrected) = correct(&mut asked.spec, &fault, attempt) else { break };
        let text = match &fault {
            SpecError::Template { field, fault } | SpecError::Templates(TemplateError::Text { field, fault }) => {
                Some((field, fault))
            }
            _other => None,
        };
        if let (Some(rule), Some((field, fault))) = (corrected.rule, text) {
            problems.push(template_fault(object, rule, &field.replacen("spec", root, 1), fault));
        } else if let Some(rule) = corrected.rule {
            let message = fault.to_string().replace("spec.", &format!("{root}."));
            let field = corrected.field.replacen("spec", root, 1);
            problems.push(Problem::error(rule, span_of(&object.node, &field), message, None));
        }
        if corrected.is_last {
            break;
        }
    }
    problems
}

/// A fault that was corrected.
struct Corrected {
    /// Its rule; `None` if another check of lint reports it.
    rule: Option<&'static str>,
    /// The field, relative to an ExternalSecret.
    field: String,
    /// Nothing could be corrected, so the parser would return the same error again.
    is_last: bool,
}

/// Names the field of a fault and corrects it.
fn correct(spec: &mut ExternalSecretSpec, fault: &SpecError, attempt: usize) -> Option<Corrected> {
    let corrected = |rule: &'static str, field: String| Some(Corrected { rule: Some(rule), field, is_last: false });
    match fault {
        SpecError::Unsupported { field } => {
            let field = field.split(' ').next().unwrap_or_default().to_owned();
            let is_last = !without(spec, &field);
            Some(Corrected { rule: Some("unsupported"), field, is_last })
        }
        SpecError::NoStore { entry } => {
            match at(entry)? {
                Entry::Data(index) => spec.data.get_mut(index)?.source_ref = some_store(),
                Entry::DataFrom(index) => spec.data_from.get_mut(index)?.source_ref = some_store(),
            }
            corrected("missing-field", entry.clone())
        }
        SpecError::DuplicateKey { key } => {
            let index = spec.data.iter().rposition(|entry| entry.secret_key == *key)?;
            rename(spec.data.get_mut(index)?, attempt);
            corrected("duplicate-secret-key", format!("spec.data[{index}].secretKey"))
        }
        SpecError::Version { field } => {
            match at(field)? {
                Entry::Data(index) => spec.data.get_mut(index)?.remote_ref.version = None,
                Entry::DataFrom(index) => spec.data_from.get_mut(index)?.extract.as_mut()?.version = None,
            }
            corrected("invalid-value", field.clone())
        }
        SpecError::Templates(error) => {
            correct_template(spec, error)?;
            // The keys of a template are reported beside it.
            let rule = push_spec::rule_of_template(error).filter(|rule| *rule != "K1");
            Some(Corrected { rule, field: error.field().to_owned(), is_last: false })
        }
        SpecError::NameAndTags { field } => {
            let Entry::DataFrom(index) = at(field)? else { return None };
            spec.data_from.get_mut(index)?.find.as_mut()?.tags.clear();
            corrected("find", field.clone())
        }
        SpecError::Regexp { field, .. } if field.ends_with(".find.name.regexp") => {
            let Entry::DataFrom(index) = at(field)? else { return None };
            spec.data_from.get_mut(index)?.find.as_mut()?.name = None;
            corrected("regexp", field.clone())
        }
        SpecError::Regexp { field, .. } | SpecError::Template { field, .. } | SpecError::Missing { field, .. } => {
            let Entry::DataFrom(index) = at(field)? else { return None };
            // Each rewrite that is wrong is told.
            let rewrite = field.split_once(".rewrite[")?.1.split_once(']')?.0.parse::<usize>().ok()?;
            *spec.data_from.get_mut(index)?.rewrite.get_mut(rewrite)? = some_rewrite();
            corrected(
                match fault {
                    SpecError::Regexp { .. } => "regexp",
                    SpecError::Template { .. } => "template",
                    _ => "missing-field",
                },
                field.clone(),
            )
        }
        SpecError::TargetName { .. } => {
            spec.target.name = Some(SOME_NAME.to_owned());
            corrected("K1", "spec.target.name".to_owned())
        }
        SpecError::TargetKey(IllegalKey(key)) => {
            let index = spec.data.iter().position(|entry| entry.secret_key == *key)?;
            rename(spec.data.get_mut(index)?, attempt);
            corrected("K1", format!("spec.data[{index}].secretKey"))
        }
        SpecError::Interval { .. } => {
            spec.refresh_interval = DurationText::one_hour();
            Some(Corrected { rule: None, field: String::new(), is_last: false })
        }
        SpecError::TooManyExpressions { .. } => {
            for entry in &mut spec.data_from {
                entry.rewrite.clear();
                entry.find.iter_mut().for_each(|find| find.name = None);
            }
            corrected("regexp", "spec.dataFrom".to_owned())
        }
        // A CRD's rule reports the one, its bounds the other.
        SpecError::NoData | SpecError::Bounds(_) => None,
    }
}

/// Corrects a fault of the template.
fn correct_template(spec: &mut ExternalSecretSpec, error: &TemplateError) -> Option<()> {
    match error {
        TemplateError::Text { field, .. } | TemplateError::Missing { field } => {
            *text_of(spec, field)? = String::new();
        }
        TemplateError::Type { .. } => spec.target.template.as_mut()?.type_ = None,
        TemplateError::Key { cause: IllegalKey(key), .. } => {
            spec.target.template.as_mut()?.data.remove(key)?;
        }
        TemplateError::Finalizer { name, .. } => {
            let finalizers = &mut spec.target.template.as_mut()?.metadata.as_mut()?.finalizers;
            // The others keep their places.
            finalizers.iter_mut().filter(|known| *known == name).for_each(|known| *known = "a.b/c".to_owned());
        }
        TemplateError::MetadataName { field } => {
            let metadata = spec.target.template.as_mut()?.metadata.as_mut()?;
            let (part, name) = field.strip_prefix(TEMPLATE)?.strip_prefix("metadata.")?.split_once('.')?;
            let names = if part == "labels" { &mut metadata.labels } else { &mut metadata.annotations };
            names.remove(name)?;
        }
        TemplateError::NoItems { field } | TemplateError::OfItself { field } => {
            *from_of(spec, field)? = TemplateFrom { literal: Some(String::new()), ..TemplateFrom::default() };
        }
        TemplateError::NoPart { field, .. } => from_of(spec, field)?.target = None,
    }
    Some(())
}

/// Removes an unsupported field; returns whether it was found.
fn without(spec: &mut ExternalSecretSpec, field: &str) -> bool {
    match field {
        "spec.syncWindows" => spec.sync_windows = None,
        "spec.target.manifest" => spec.target.manifest = None,
        "spec.target.creationPolicy" => spec.target.creation_policy = CreationPolicy::Owner,
        "spec.target.deletionPolicy" => spec.target.deletion_policy = DeletionPolicy::Retain,
        of_entry => return without_in_entry(spec, of_entry).is_some(),
    }
    true
}

fn without_in_entry(spec: &mut ExternalSecretSpec, field: &str) -> Option<()> {
    let (_, name) = field.split_once("].")?;
    match at(field)? {
        Entry::Data(index) => {
            let entry = spec.data.get_mut(index)?;
            match name {
                "sourceRef.generatorRef" => entry.source_ref = some_store(),
                _unknown => return None,
            }
        }
        // What is generated is not supported.
        Entry::DataFrom(index) => {
            *spec.data_from.get_mut(index)? =
                DataFrom { extract: Some(some_secret()), source_ref: some_store(), ..DataFrom::default() };
        }
    }
    Some(())
}

/// The source of templates that has this field.
fn from_of<'s>(spec: &'s mut ExternalSecretSpec, field: &str) -> Option<&'s mut TemplateFrom> {
    let index = field.strip_prefix(TEMPLATE)?.strip_prefix("templateFrom[")?.split_once(']')?.0;
    spec.target.template.as_mut()?.template_from.get_mut(index.parse::<usize>().ok()?)
}

/// The text of the template at this field.
fn text_of<'s>(spec: &'s mut ExternalSecretSpec, field: &str) -> Option<&'s mut String> {
    let name = field.strip_prefix(TEMPLATE)?;
    if name.starts_with("templateFrom[") {
        return Some(from_of(spec, field)?.literal.get_or_insert_default());
    }
    let template = spec.target.template.as_mut()?;
    if let Some(key) = name.strip_prefix("data.") {
        return template.data.get_mut(key);
    }
    let metadata = template.metadata.as_mut()?;
    match name.strip_prefix("metadata.labels.") {
        Some(key) => metadata.labels.get_mut(key),
        None => metadata.annotations.get_mut(name.strip_prefix("metadata.annotations.")?),
    }
}

/// An entry of the spec, by its position.
enum Entry {
    Data(usize),
    DataFrom(usize),
}

/// The entry that has this field.
fn at(field: &str) -> Option<Entry> {
    let (list, rest) = field.strip_prefix("spec.")?.split_once('[')?;
    let index = rest.split_once(']')?.0.parse().ok()?;
    match list {
        "data" => Some(Entry::Data(index)),
        "dataFrom" => Some(Entry::DataFrom(index)),
        _unknown => None,
    }
}

fn some_secret() -> RemoteRef {
    RemoteRef { key: "a-secret".to_owned(), ..RemoteRef::default() }
}

fn some_rewrite() -> Rewrite {
    Rewrite { regexp: Some(RewriteRegexp::default()), ..Rewrite::default() }
}

fn some_store() -> Option<SourceRef> {
    let store = StoreRef { name: Some("a-store".to_owned()), ..StoreRef::default() };
    Some(SourceRef { store_ref: Some(store), ..SourceRef::default() })
}

/// Gives an entry a unique key.
fn rename(entry: &mut ExternalSecretData, attempt: usize) {
    entry.secret_key = format!("a-key-put-right-by-lint-{attempt}");
}

/// K1 for the keys of a template.
fn rendered_keys(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let rendered = object.node.at(root).and_then(|spec| spec.at("target.template.data")).map(|node: &Node| &node.value);
    let Some(Value::Map(entries)) = rendered else { return Vec::new() };
    let illegal = entries.iter().filter(|entry| !is_legal_key(&entry.name));
    let problem = |name: &str| IllegalKey(name.to_owned()).to_string();
    illegal.map(|entry| Problem::error("K1", entry.name_span.clone(), problem(&entry.name), None)).collect()
}
