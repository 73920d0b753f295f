//! What a set of files holds for us: the objects of our API, what namespaces ask for, and what could not be read.

use std::ops::Range;

use super::document::{self, Node, Value};
use super::kinds::{self, Kind};
use super::namespaces::{self, Labels};
use super::problem::{Located, Problem};
use super::source::Source;
use crate::api;

/// One object of a kind of our API.
pub struct Object<'s> {
    pub source: &'s Source,
    pub kind: &'static Kind,
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

/// Reads files for what is ours in them.
pub fn bundle(sources: &[Source]) -> Bundle<'_> {
    let mut bundle = Bundle::default();
    for source in sources {
        let (documents, broken) = document::parse(&source.text);
        for node in documents.into_iter().flat_map(listed) {
            if is_secret(&node) {
                continue;
            }
            if namespaces::is_namespace(&node) {
                bundle
                    .broken
                    .extend(namespaces::note(&node, &mut bundle.modes).map(|problem| Located::of(source, problem)));
                continue;
            }
            match recognised(&node) {
                Recognised::Known(kind) => bundle.objects.push(Object { source, kind, node }),
                Recognised::Wrong(problem) => bundle.broken.push(Located::of(source, problem)),
                Recognised::Foreign => {}
            }
        }
        bundle.broken.extend(broken.map(|error| Located::of(source, syntax(source, error))));
    }
    bundle
}

enum Recognised {
    Known(&'static Kind),
    Wrong(Problem),
    /// Of another API: not ours to read.
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
    match kinds::kind_named(group, name) {
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
