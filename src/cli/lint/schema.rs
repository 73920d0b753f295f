//! Checks a document against the schema of its kind, the generated CRD's, field by field.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::api::{GoDuration, duration};
use crate::domain::expression;
use crate::manifest::{Entry, Kind, Node, Problem, Value};

/// Checks the whole document.
pub fn check(kind: &Kind, document: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_node(document, &kind.schema, "", &mut problems);
    problems
}

fn check_node(node: &Node, schema: &JSONSchemaProps, at: &str, problems: &mut Vec<Problem>) {
    if matches!(node.value, Value::Null) {
        // The API server drops a null that the schema does not allow, so it counts as not set.
        return;
    }
    if let Some(problem) = wrong_type(node, schema, at) {
        problems.push(problem);
        return;
    }
    match &node.value {
        Value::Map(entries) => check_map(node, entries, schema, at, problems),
        Value::List(items) => check_list(node, items, schema, at, problems),
        Value::Text(text) => problems.extend(wrong_text(node, text, schema, at)),
        Value::Number(digits) => problems.extend(wrong_number(node, digits, schema, at)),
        Value::Bool(_) | Value::Null => {}
    }
}

fn wrong_type(node: &Node, schema: &JSONSchemaProps, at: &str) -> Option<Problem> {
    let found = match &node.value {
        Value::Null => return None,
        Value::Bool(_) => "boolean",
        Value::Number(text) if text.parse::<i64>().is_ok() => "integer",
        Value::Number(_) => "number",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    };
    let int_or_string = schema.x_kubernetes_int_or_string == Some(true);
    let fits = match schema.type_.as_deref() {
        None if int_or_string => matches!(found, "integer" | "string"),
        None => true,
        Some("number") => matches!(found, "integer" | "number"),
        Some(wanted) => wanted == found,
    };
    if fits {
        return None;
    }
    let wanted = schema.type_.as_deref().unwrap_or("integer or string");
    let fix = match (wanted, &node.value) {
        ("string", Value::Number(text)) => Some(format!("quote it: \"{text}\"")),
        ("string", Value::Bool(_)) => Some("quote it".to_owned()),
        ("array", _) => Some("write a list: begin each item with `- `".to_owned()),
        (_, _) => None,
    };
    Some(Problem::error(
        "wrong-type",
        node.span.clone(),
        format!("`{at}` is {}, but must be {}", with_article(found), with_article(wanted)),
        fix,
    ))
}

fn with_article(kind: &str) -> String {
    match kind.starts_with(['a', 'i', 'o']) {
        true => format!("an {kind}"),
        false => format!("a {kind}"),
    }
}

fn check_map(node: &Node, entries: &[Entry], schema: &JSONSchemaProps, at: &str, problems: &mut Vec<Problem>) {
    for name in schema.required.iter().flatten() {
        if node.get(name).is_none_or(|n| matches!(n.value, Value::Null)) {
            problems.push(Problem::error(
                "missing-field",
                first_line_of(node, entries),
                format!("`{}` is missing", join(at, name)),
                Some(format!("add `{name}`")),
            ));
        }
    }
    for entry in entries {
        let at = join(at, &entry.name);
        match field_schema(schema, &entry.name) {
            Field::Known(schema) => check_node(&entry.node, schema, &at, problems),
            Field::Open => {}
            Field::Unknown(known) => problems.push(Problem::error(
                "unknown-field",
                entry.name_span.clone(),
                format!("`{at}` is not a field of the API"),
                nearest(&entry.name, known).map(|name| format!("did you mean `{name}`?")),
            )),
        }
    }
    problems.extend(wrong_count(node, at, "fields", entries.len(), (schema.min_properties, schema.max_properties)));
}

enum Field<'s> {
    Known(&'s JSONSchemaProps),
    /// Any field is allowed.
    Open,
    /// The field is unknown; with the known names.
    Unknown(Vec<&'s str>),
}

fn field_schema<'s>(schema: &'s JSONSchemaProps, name: &str) -> Field<'s> {
    if let Some(known) = schema.properties.iter().flatten().find(|(n, _)| *n == name) {
        return Field::Known(known.1);
    }
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => return Field::Known(values),
        Some(JSONSchemaPropsOrBool::Bool(true)) => return Field::Open,
        Some(JSONSchemaPropsOrBool::Bool(false)) | None => {}
    }
    let open = schema.x_kubernetes_preserve_unknown_fields == Some(true);
    match &schema.properties {
        Some(known) if !open => Field::Unknown(known.keys().map(String::as_str).collect()),
        Some(_) | None => Field::Open,
    }
}

fn check_list(node: &Node, items: &[Node], schema: &JSONSchemaProps, at: &str, problems: &mut Vec<Problem>) {
    problems.extend(wrong_count(node, at, "items", items.len(), (schema.min_items, schema.max_items)));
    if let Some(JSONSchemaPropsOrArray::Schema(item_schema)) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            check_node(item, item_schema, &format!("{at}[{index}]"), problems);
        }
    }
}

fn wrong_count(
    node: &Node,
    at: &str,
    what: &str,
    count: usize,
    (least, most): (Option<i64>, Option<i64>),
) -> Option<Problem> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let limit = match (least, most) {
        (Some(least), _) if count < least => format!("at least {least}"),
        (_, Some(most)) if count > most => format!("at most {most}"),
        (_, _) => return None,
    };
    Some(Problem::error(
        "invalid-value",
        node.span.clone(),
        format!("`{at}` has {count} {what}: {limit} are allowed"),
        None,
    ))
}

fn wrong_number(node: &Node, digits: &str, schema: &JSONSchemaProps, at: &str) -> Option<Problem> {
    let number: f64 = digits.parse().ok()?;
    let (least, most) = match schema.format.as_deref() {
        Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _any => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let least = schema.minimum.map_or(least, |minimum| minimum.max(least));
    let most = schema.maximum.map_or(most, |maximum| maximum.min(most));
    let limit = match number {
        small if small < least => format!("at least {least}"),
        large if large > most => format!("at most {most}"),
        _within => return None,
    };
    let message = format!("`{at}` is {digits}: {limit} is allowed");
    Some(Problem::error("invalid-value", node.span.clone(), message, None))
}

fn wrong_text(node: &Node, text: &str, schema: &JSONSchemaProps, at: &str) -> Option<Problem> {
    let wrong =
        |message: String, fix: Option<String>| Some(Problem::error("invalid-value", node.span.clone(), message, fix));
    if let Some(allowed) = &schema.enum_ {
        let allowed: Vec<&str> = allowed.iter().filter_map(|JSON(value)| value.as_str()).collect();
        if !allowed.contains(&text) {
            return wrong(
                format!("`{at}` is one of {}", allowed.join(", ")),
                nearest(text, allowed).map(|name| format!("did you mean `{name}`?")),
            );
        }
    }
    if schema.format.as_deref() == Some("byte") && STANDARD.decode(text).is_err() {
        return wrong(format!("`{at}` is not base64"), Some("encode it: base64 -w0 FILE".to_owned()));
    }
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if schema.min_length.is_some_and(|least| length < least) {
        return wrong(format!("`{at}` is empty or too short"), None);
    }
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        return wrong(format!("`{at}` has {length} characters: at most {most} are allowed"), None);
    }
    if is_duration(schema)
        && let Err(refused) = text.parse::<GoDuration>()
    {
        return Some(Problem::error("duration", node.span.clone(), format!("`{at}`: {refused}"), None));
    }
    let pattern = schema.pattern.as_deref()?;
    match expression::compile(pattern) {
        Ok(regex) if !regex.is_match(text) => wrong(format!("`{at}` does not match `{pattern}`"), None),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a field is a duration, recognised by the rule of every such field.
fn is_duration(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_validations.iter().flatten().any(|rule| rule.rule == duration::RULE)
}

/// The name that was probably meant, if one is similar enough.
pub fn nearest<'n>(word: &str, names: Vec<&'n str>) -> Option<&'n str> {
    let lower = word.to_ascii_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn join(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        at => format!("{at}.{name}"),
    }
}

/// Points at the first field of a map, because a whole map is too long.
fn first_line_of(node: &Node, entries: &[Entry]) -> Range<usize> {
    entries.first().map_or_else(|| node.span.clone(), |entry| entry.name_span.clone())
}
