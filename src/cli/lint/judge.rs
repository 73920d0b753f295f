//! Judges the documents of a set of files: their shape, their facts, and the path convention.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::ops::Range;

use super::document::{self, Node, Value};
use super::modes::{self, Labels, Modes};
use super::problem::{Located, Problem};
use super::{convention, facts, fan_out, schema, stores};
use crate::api;
use crate::domain::convention::Convention;

/// A file as it was read.
pub struct Source {
    /// The name that findings carry.
    pub name: String,
    pub text: String,
}

/// One object of a kind that lint knows.
pub struct Object<'s> {
    pub source: &'s Source,
    pub kind: &'static schema::Kind,
    pub node: Node,
}

impl Object<'_> {
    /// The text of a field of `metadata`.
    pub fn metadata(&self, field: &str) -> &str {
        self.node.get("metadata").and_then(|metadata| metadata.text_at(field)).unwrap_or_default()
    }
}

/// What a set of files holds for us.
#[derive(Default)]
pub struct Bundle<'s> {
    /// The objects of our API.
    pub objects: Vec<Object<'s>>,
    /// What namespaces ask for.
    pub modes: Labels,
    /// What could not be read, or is wrong whatever it holds.
    pub broken: Vec<Located>,
}

/// Every problem of every file, in the order of files and lines. What stands in a namespace is judged in the mode that the
/// namespace asks for, where it is among the files.
pub fn judge(sources: &[Source], convention: &Convention, store_path: &str) -> Vec<Located> {
    let mut bundle = bundle(sources);
    let modes = Modes::new(convention, mem::take(&mut bundle.modes));
    judge_by(sources, bundle, &modes, store_path)
}

/// The same in the convention's own mode, whatever namespaces ask for.
pub fn judge_in_one_mode(sources: &[Source], convention: &Convention, store_path: &str) -> Vec<Located> {
    judge_by(sources, bundle(sources), &Modes::new(convention, Labels::new()), store_path)
}

fn judge_by(sources: &[Source], bundle: Bundle<'_>, modes: &Modes<'_>, store_path: &str) -> Vec<Located> {
    let Bundle { objects, broken: mut found, .. } = bundle;
    let stores = stores::stores(&objects, store_path);
    for object in &objects {
        let mut problems = duplicates(&object.node);
        problems.extend(schema::check(object.kind, &object.node));
        problems.extend(facts::check(object));
        let convention = modes.of(object);
        problems.extend(convention::check(object, &convention, &stores));
        problems.extend(fan_out::check(object, &convention));
        found.extend(problems.into_iter().map(|p| locate(object.source, p)));
    }
    found.extend(
        convention::one_producer(&objects, modes, &stores)
            .into_iter()
            .map(|(index, problem)| locate(objects[index].source, problem)),
    );
    in_order(sources, found)
}

/// Reads files for what is ours in them.
pub fn bundle(sources: &[Source]) -> Bundle<'_> {
    let mut bundle = Bundle::default();
    for source in sources {
        let (documents, broken) = document::parse(&source.text);
        for node in documents.into_iter().flat_map(listed) {
            if is_secret(&node) {
                continue;
            }
            if modes::is_namespace(&node) {
                bundle.broken.extend(modes::note(&node, &mut bundle.modes).map(|problem| locate(source, problem)));
                continue;
            }
            match recognised(&node) {
                Recognised::Known(kind) => bundle.objects.push(Object { source, kind, node }),
                Recognised::Wrong(problem) => bundle.broken.push(locate(source, problem)),
                Recognised::Foreign => {}
            }
        }
        bundle.broken.extend(broken.map(|error| locate(source, syntax(source, error))));
    }
    bundle
}

enum Recognised {
    Known(&'static schema::Kind),
    Wrong(Problem),
    /// Of another API: none of lint's business.
    Foreign,
}

fn recognised(node: &Node) -> Recognised {
    let (Some(version), Some(kind)) = (node.get("apiVersion"), node.get("kind")) else {
        return Recognised::Foreign;
    };
    let Some((group, served)) = version.text().and_then(|text| text.split_once('/')) else {
        return Recognised::Foreign;
    };
    if ![api::GROUP, api::OWN_GROUP].contains(&group) {
        return Recognised::Foreign;
    }
    let name = kind.text().unwrap_or_default();
    match schema::kind_named(group, name) {
        Some(known) if known.version == served => Recognised::Known(known),
        Some(known) => Recognised::Wrong(Problem::error(
            "unserved-version",
            version.span.clone(),
            format!("{name} is not served as `{group}/{served}`"),
            Some(format!("use `{group}/{}`", known.version)),
        )),
        None => Recognised::Wrong(Problem::error(
            "unknown-kind",
            kind.span.clone(),
            format!("`{name}` is no kind of {group} that this version knows"),
            None,
        )),
    }
}

/// The objects of a document: the items of a `List`, else itself.
fn listed(node: Node) -> Vec<Node> {
    let is_list = node.text_at("kind").is_some_and(|kind| kind.ends_with("List"));
    match node.get("items") {
        Some(items) if is_list => items.items().iter().cloned().flat_map(listed).collect(),
        Some(_) | None => vec![node],
    }
}

fn is_secret(node: &Node) -> bool {
    node.text_at("kind") == Some("Secret")
}

/// What a parser says can quote what it read, so a text that may hold a Secret gets the bare fact.
fn syntax(source: &Source, error: document::SyntaxError) -> Problem {
    let quiet = source.text.contains("Secret");
    let message = match quiet {
        true => "this is not valid YAML".to_owned(),
        false => format!("this is not valid YAML: {}", error.message),
    };
    Problem::error(
        "syntax",
        error.offset..error.offset,
        message,
        Some(
            "look for indentation, a missing colon or an open quote here or just above; what follows was not read"
                .into(),
        ),
    )
}

fn duplicates(node: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    match &node.value {
        Value::Map(entries) => {
            let mut seen = HashSet::new();
            for entry in entries {
                if !seen.insert(entry.name.as_str()) {
                    problems.push(Problem::error(
                        "duplicate-key",
                        entry.name_span.clone(),
                        format!("`{}` is written twice here, and only one of them counts", entry.name),
                        Some("remove one".into()),
                    ));
                }
                problems.extend(duplicates(&entry.node));
            }
        }
        Value::List(items) => problems.extend(items.iter().flat_map(duplicates)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
    problems
}

fn locate(source: &Source, problem: Problem) -> Located {
    Located::new(&source.name, &source.text, problem)
}

fn in_order(sources: &[Source], mut found: Vec<Located>) -> Vec<Located> {
    let order: HashMap<&str, usize> =
        sources.iter().enumerate().map(|(index, source)| (source.name.as_str(), index)).collect();
    found.sort_by_key(|located| {
        let file = order.get(located.file.as_str()).copied();
        (file, located.line, located.column)
    });
    found
}

/// Where to point for a field: the field itself, or the nearest thing above it that was written.
pub fn span_of(node: &Node, path: &str) -> Range<usize> {
    let mut path = path;
    loop {
        if let Some(found) = node.at(path) {
            return pointed(found);
        }
        match path.rfind(['.', '[']) {
            Some(end) => path = &path[..end],
            None => return pointed(node),
        }
    }
}

/// A map or a list of several lines is pointed at by its first field.
fn pointed(node: &Node) -> Range<usize> {
    match &node.value {
        Value::Map(entries) => entries.first().map_or_else(|| node.span.clone(), |entry| entry.name_span.clone()),
        Value::List(items) => items.first().map_or_else(|| node.span.clone(), pointed),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => node.span.clone(),
    }
}
