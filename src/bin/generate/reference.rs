//! `docs/reference/api.md`: every field of every kind, from the schemas.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Map, Value};
use waypost::api::crd;

use super::Output;

const INTRODUCTION: &str = "\
# API reference

<!-- Generated from src/api by waypost-generate: edit the types, then run `make generate`. -->

All kinds are of the group `external-secrets.io`, except PathConvention, which is of `waypost.io`.
Fields marked with * are required. A field without a default in this table has none in the cluster
either; its description says how the controller treats it if it is not set.
";

/// Fields whose own fields are listed under the kind that they are the spec of.
const SHARED_SPECS: [&str; 2] = ["externalSecretSpec", "pushSecretSpec"];

/// The page.
pub fn output() -> Output {
    let mut page = INTRODUCTION.to_owned();
    for definition in crd::definitions().iter().chain([&crd::path_convention()]) {
        write_kind(&mut page, definition);
    }
    (PathBuf::from("docs/reference/api.md"), page)
}

fn write_kind(page: &mut String, definition: &Value) {
    let spec = &definition["spec"];
    let version = &spec["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let names = &spec["names"];
    let mut line = |text: String| page.push_str(&(text + "\n"));
    line(format!("\n## {}\n", text(&names["kind"])));
    line(format!("{}\n", text(&schema["description"])));
    line(format!("- Version: `{}`, {}", text(&version["name"]), text(&spec["scope"])));
    line(format!("- Names: `{}`{}", text(&names["plural"]), short_names(names)));
    line(format!("- Columns: {}", columns(version)));
    if let Some(fields) = version["selectableFields"].as_array() {
        let paths: Vec<String> = fields.iter().map(|field| format!("`{}`", text(&field["jsonPath"]))).collect();
        line(format!("- Field selectors: {}", paths.join(", ")));
    }
    for part in ["spec", "status"].into_iter().filter(|part| schema["properties"].get(part).is_some()) {
        line(format!("\n### {} {part}\n", text(&names["kind"])));
        line("| Field | Type | Default, constraint | Meaning |".to_owned());
        line("|---|---|---|---|".to_owned());
        let mut rows = Vec::new();
        collect_rows("", &schema["properties"][part], &mut rows);
        rows.into_iter().for_each(&mut line);
        for rule in rules(part, &schema["properties"][part]) {
            line(rule);
        }
    }
}

fn short_names(names: &Value) -> String {
    match names["shortNames"].as_array() {
        Some(short) if !short.is_empty() => {
            let short: Vec<String> = short.iter().map(|name| format!("`{}`", text(name))).collect();
            format!(", short {}", short.join(", "))
        }
        Some(_) | None => String::new(),
    }
}

fn columns(version: &Value) -> String {
    let columns = version["additionalPrinterColumns"].as_array();
    let columns = columns.map(Vec::as_slice).unwrap_or_default();
    let columns: Vec<String> = columns
        .iter()
        .map(|column| match column["priority"].as_i64() {
            None | Some(0) => text(&column["name"]).to_owned(),
            Some(_) => format!("{} (with `-o wide`)", text(&column["name"])),
        })
        .collect();
    columns.join(", ")
}

/// One row for each field below `schema`, parents before children.
fn collect_rows(prefix: &str, schema: &Value, rows: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let required = schema["required"].as_array();
    for (name, field) in properties {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let star = required.is_some_and(|required| required.iter().any(|field| field == name));
        let star = if star { "*" } else { "" };
        rows.push(format!(
            "| `{path}`{star} | {} | {} | {} |",
            type_name(field),
            constraints(field),
            cell(text(&field["description"])),
        ));
        if !SHARED_SPECS.contains(&name.as_str()) {
            let (suffix, below) = element(field);
            collect_rows(&format!("{path}{suffix}"), below, rows);
        }
    }
}

/// The schema below a field: the items of a list, the values of a map, or the fields of an object.
fn element(field: &Value) -> (&'static str, &Value) {
    if field["items"].is_object() {
        let (suffix, below) = element(&field["items"]);
        return (if suffix.is_empty() { "[]" } else { "[]{}" }, below);
    }
    if field["additionalProperties"].is_object() {
        let (suffix, below) = element(&field["additionalProperties"]);
        return (if suffix.is_empty() { ".{}" } else { ".{}.{}" }, below);
    }
    ("", field)
}

fn type_name(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "integer or string".to_owned();
    }
    if field["items"].is_object() {
        return format!("list of {}", type_name(&field["items"]));
    }
    if field["additionalProperties"].is_object() {
        return format!("map of {}", type_name(&field["additionalProperties"]));
    }
    match (field["type"].as_str(), field["format"].as_str()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some("string"), Some("byte")) => "base64".to_owned(),
        (Some(name), _) => name.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

fn constraints(field: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(default) = field.get("default") {
        parts.push(format!("default `{}`", default.to_string().trim_matches('"')));
    }
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|value| format!("`{}`", text(value))).collect();
        parts.push(values.join(", "));
    }
    let bounds = [
        ("minLength", "at least", "characters"),
        ("maxLength", "at most", "characters"),
        ("minItems", "at least", "entries"),
        ("maxItems", "at most", "entries"),
        ("maxProperties", "at most", "entries"),
        ("minimum", "at least", ""),
        ("maximum", "at most", ""),
    ];
    for (key, words, unit) in bounds {
        if let Some(bound) = field[key].as_f64() {
            parts.push(format!("{words} {bound} {unit}").trim_end().to_owned());
        }
    }
    if let Some(pattern) = field["pattern"].as_str() {
        parts.push(format!("matches `{}`", cell(pattern)));
    }
    parts.join("; ")
}

/// The CEL rules below `schema`, each with its field.
fn rules(part: &str, schema: &Value) -> Vec<String> {
    let mut found = Map::new();
    collect_rules(part, schema, &mut found);
    let mut lines = Vec::new();
    if !found.is_empty() {
        lines.push("\nRules that the API server checks:\n".to_owned());
    }
    for (message, path) in found {
        let mut row = String::new();
        write!(row, "- `{}`: {message}", text(&path)).expect("a string takes any text");
        lines.push(row);
    }
    lines
}

/// Lists each rule once, under the first field that has it; shared structs would repeat theirs.
fn collect_rules(path: &str, schema: &Value, found: &mut Map<String, Value>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = text(&rule["message"]).to_owned();
        found.entry(message).or_insert_with(|| Value::String(path.to_owned()));
    }
    let (suffix, below) = element(schema);
    for (name, field) in below["properties"].as_object().into_iter().flatten() {
        collect_rules(&format!("{path}{suffix}.{name}"), field, found);
    }
    if !suffix.is_empty() {
        let items = if schema["items"].is_object() { &schema["items"] } else { &schema["additionalProperties"] };
        for rule in items["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = text(&rule["message"]).to_owned();
            found.entry(message).or_insert_with(|| Value::String(format!("{path}{suffix}")));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Text that fits into a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
