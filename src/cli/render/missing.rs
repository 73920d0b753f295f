//! Sample values that are missing: which, who asks for them, and what to write.

use std::collections::{BTreeMap, BTreeSet};

use super::samples::{self, Samples};
use crate::manifest::{Located, Object, Problem, span_of};
use crate::pull::desired::Desired;

/// Stands for a value that is to be written.
const VALUE: &str = "…";

/// Keys without sample values, each with the field that names it. The first problem has all that is
/// to be written.
pub fn paths(object: &Object<'_>, desired: &Desired, samples: &Samples, lacking: &[(String, String)]) -> Vec<Located> {
    let mut advice = Some(advice(desired, samples, lacking));
    let problem = |(field, key): &(String, String)| {
        let meant = samples.nearest(key).map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
        let message = format!("{field}: there are no sample values for {key:?}{meant}");
        object.located(Problem::error("sample", span_of(&object.node, field), message, advice.take()))
    };
    lacking.iter().map(problem).collect()
}

fn advice(desired: &Desired, samples: &Samples, lacking: &[(String, String)]) -> String {
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, key) in lacking {
        let of_key = desired.entries.iter().filter(|wanted| samples::key_of(&wanted.from) == *key);
        let names = of_key.map(|wanted| wanted.property.as_deref().unwrap_or("some-property"));
        wanted.entry(key).or_default().extend(names);
    }
    let entry = |(key, properties): (&str, BTreeSet<&str>)| {
        let lines: Vec<String> = properties.iter().map(|name| format!("    {}: {VALUE}", spelled(name))).collect();
        format!("  {}:\n{}", spelled(key), lines.join("\n"))
    };
    let entries: Vec<String> = wanted.into_iter().map(entry).collect();
    let begin = match samples.file() {
        Some(file) => format!("add to {file}:"),
        None => "write a file with sample values, and name it with --values:".to_owned(),
    };
    format!("{begin}\n{}", entries.join("\n"))
}

/// As a key of YAML.
fn spelled(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/');
    if name.chars().all(is_plain) { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

/// A property that the sample values of its path lack, which has these.
pub fn property(object: &Object<'_>, field: &str, path: &str, property: &str, names: &[String]) -> Problem {
    let meant = waypost_template::error::nearest(property, names.iter().map(String::as_str));
    let meant = meant.map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
    let message = format!("{field}: the sample values of {path} have no property {property:?}{meant}");
    let fix = format!("correct it, or add {property:?} to the sample values");
    Problem::error("sample", span_of(&object.node, field), message, Some(fix))
}
