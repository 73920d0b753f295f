//! Checks templates beyond their syntax: keys that the data cannot have, wrong numbers of arguments,
//! and braces that Helm would have removed.

use std::collections::BTreeSet;

use waypost_template::Template;
use waypost_template::check::{Cause, Flaw};

use crate::domain::convention::Severity;
use crate::manifest::{Node, Object, Problem, Value, in_template};

/// The only key of a template that rewrites keys.
const KEY: &str = "value";

/// The templates of an ExternalSecret with the spec at `root`.
pub fn of_pull(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let Some(spec) = object.node.at(root) else { return Vec::new() };
    let keys = keys(spec);
    let mut problems = of_secret(object, &format!("{root}.target.template"), keys.as_ref());
    problems.extend(of_rewrites(object, &format!("{root}.dataFrom")));
    problems
}

/// The templates of a push with the spec at `root`. The keys of its sources are not in the manifest.
pub fn of_push(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let mut problems = of_secret(object, &format!("{root}.template"), None);
    problems.extend(of_rewrites(object, &format!("{root}.dataTo")));
    problems
}

/// The keys of the data, if the spec names them all.
fn keys(spec: &Node) -> Option<BTreeSet<String>> {
    let list = |name: &str| spec.get(name).map(Node::items).unwrap_or_default();
    let keys = list("data").iter().map(|entry| entry.text_at("secretKey").map(str::to_owned));
    if list("dataFrom").is_empty() { keys.collect() } else { None }
}

fn of_secret(object: &Object<'_>, field: &str, keys: Option<&BTreeSet<String>>) -> Vec<Problem> {
    let Some(template) = object.node.at(field) else { return Vec::new() };
    let maps = ["data", "metadata.labels", "metadata.annotations"].into_iter().flat_map(|map| {
        let entries = match template.at(map).map(|map| &map.value) {
            Some(Value::Map(entries)) => entries.as_slice(),
            Some(_) | None => &[],
        };
        entries.iter().map(move |entry| format!("{map}.{}", entry.name))
    });
    let sources = template.get("templateFrom").map(Node::items).unwrap_or_default();
    let literals = (0..sources.len()).map(|index| format!("templateFrom[{index}].literal"));
    let fields = maps.chain(literals).map(|part| format!("{field}.{part}"));
    fields.flat_map(|field| of_text(object, &field, keys)).collect()
}

fn of_rewrites(object: &Object<'_>, field: &str) -> Vec<Problem> {
    let keys = BTreeSet::from([KEY.to_owned()]);
    let lists = object.node.at(field).map(Node::items).unwrap_or_default();
    let rewrites = lists.iter().enumerate().flat_map(|(index, entry)| {
        let rewrites = entry.get("rewrite").map(Node::items).unwrap_or_default().len();
        (0..rewrites).map(move |at| format!("{field}[{index}].rewrite[{at}].transform.template"))
    });
    rewrites.flat_map(|field| of_text(object, &field, Some(&keys))).collect()
}

/// What does not parse is reported beside this.
fn of_text(object: &Object<'_>, field: &str, keys: Option<&BTreeSet<String>>) -> Vec<Problem> {
    let text = object.node.at(field).and_then(Node::text);
    let template = text.and_then(|text| Template::parse(text).ok());
    let flaws = template.map(|template| template.flaws(keys)).unwrap_or_default();
    flaws.into_iter().map(|flaw| problem(object, field, flaw)).collect()
}

/// What fails always is an error, what fails on some ways through the template a warning.
fn problem(object: &Object<'_>, field: &str, flaw: Flaw) -> Problem {
    let meant = |nearest: Option<String>| nearest.map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
    let (rule, severity, cause, fix) = match flaw.cause {
        Cause::Fault(problem) => {
            let rule = if matches!(problem, waypost_template::error::Problem::NoKey { .. }) {
                "template-key"
            } else {
                "template"
            };
            let severity = if flaw.is_certain { Severity::Error } else { Severity::Warning };
            (rule, severity, problem.to_string(), None)
        }
        Cause::EmptyKey { key, nearest } => {
            let cause = format!("there is no key {key:?}, so this is empty{}", meant(nearest));
            ("template-key", Severity::Warning, cause, None)
        }
        Cause::Braces(text) => {
            let cause = format!("this writes the text {text} and no value");
            let fix = "if these are Helm's braces, lint what helm template prints; else remove the outer braces";
            ("template-braces", Severity::Warning, cause, Some(fix.to_owned()))
        }
    };
    let at = in_template(object, rule, field, (flaw.position, flaw.width), &cause);
    Problem { severity, fix, ..at }
}
