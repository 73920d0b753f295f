//! Bundles files: the objects of our API, the Namespaces, the Secrets and ConfigMaps, and what could
//! not be read.

use std::ops::Range;

use super::document::{self, Node, Value};
use super::kinds::{self, Kind};
use super::namespaces::{self, Namespaces};
use super::problem::{Located, Problem};
use super::source::Source;
use crate::api;

/// The fields of stores that may have a secret: the values of headers, and a key where its author
/// meant a certificate.
const MAY_BE_SECRET: [&str; 3] =
    ["spec.provider.vault.headers", "spec.provider.vault.caBundle", "spec.provider.openBao.caBundle"];

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

    /// A problem of the object with its position. A line that may have a secret is not shown.
    pub fn located(&self, problem: Problem) -> Located {
        let secret = MAY_BE_SECRET.iter().filter_map(|field| self.node.at(field)).map(|node| {
            // The span of a map ends where the next field begins.
            let text = self.source.text.get(node.span.clone()).map(str::trim_end);
            node.span.start..text.map_or(node.span.end, |text| node.span.start + text.len())
        });
        Located::beside(&secret.collect::<Vec<_>>(), self.source, problem)
    }
}

/// A Secret or a ConfigMap. It has no `Debug`: it has values.
pub struct Holder<'s> {
    pub source: &'s Source,
    pub node: Node,
}

/// The content of a set of files.
#[derive(Default)]
pub struct Bundle<'s> {
    /// The objects of our API.
    pub objects: Vec<Object<'s>>,
    /// The Secrets and ConfigMaps, of which only `waypost render` looks at the values.
    pub holders: Vec<Holder<'s>>,
    /// The Namespaces.
    pub namespaces: Namespaces,
    /// What could not be parsed, or is not an object of the API.
    pub broken: Vec<Located>,
}

/// Finds the objects of our API in files.
pub fn bundle(sources: &[Source]) -> Bundle<'_> {
    let mut bundle = Bundle::default();
    for source in sources {
        let (documents, broken) = document::parse(&source.text);
        for node in documents.into_iter().flat_map(listed) {
            if is_holder(&node) {
                bundle.holders.push(Holder { source, node });
                continue;
            }
            if namespaces::is_namespace(&node) {
                namespaces::record(&node, &mut bundle.namespaces);
                bundle.broken.extend(namespaces::unknown_mode(&node).map(|problem| Located::of(source, problem)));
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
    /// An object of another API.
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
            format!("`{name}` is not a kind of {group} that this version knows"),
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

fn is_holder(node: &Node) -> bool {
    matches!(node.text_at("kind"), Some("Secret" | "ConfigMap"))
}

/// The documents of a file with values, and a syntax error, which quotes none.
pub fn documents(source: &Source) -> (Vec<Node>, Option<Located>) {
    let (documents, broken) = document::parse(&source.text);
    (documents, broken.map(|error| Located::of(source, unquoted_syntax(error.offset))))
}

/// A parser's error can quote the text, so it is omitted for a text that may have a Secret.
fn syntax(source: &Source, error: document::SyntaxError) -> Problem {
    let unquoted = unquoted_syntax(error.offset);
    match source.text.contains("Secret") {
        true => unquoted,
        false => Problem { message: format!("{}: {}", unquoted.message, error.message), ..unquoted },
    }
}

fn unquoted_syntax(offset: usize) -> Problem {
    let fix =
        "check indentation, a missing colon or an open quote here or just above; the rest of the file was not read";
    Problem::error("syntax", offset..offset, "this is not valid YAML".to_owned(), Some(fix.to_owned()))
}

/// The span to report for a field: that of the field, or of its nearest existing parent.
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

/// For a map or a list of several lines, the span of its first field.
fn pointed(node: &Node) -> Range<usize> {
    match &node.value {
        Value::Map(entries) => entries.first().map_or_else(|| node.span.clone(), |entry| entry.name_span.clone()),
        Value::List(items) => items.first().map_or_else(|| node.span.clone(), pointed),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => node.span.clone(),
    }
}
