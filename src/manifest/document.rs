//! YAML (and so JSON) as a tree with the span of each node.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle};

/// More than any manifest has; bounds the expansion of aliases.
const MAX_NODES: usize = 200_000;

/// A value and its span.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

/// The value of a node, by kubectl's rules for YAML.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In order; a duplicate name is here twice.
    Map(Vec<Entry>),
}

/// A field of a map.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub name_span: Range<usize>,
    pub node: Node,
}

/// The position of a syntax error.
#[derive(Debug)]
pub struct SyntaxError {
    pub offset: usize,
    pub message: String,
}

impl Node {
    /// A field of a map; of a duplicate name, the last.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().rev().find(|entry| entry.name == name).map(|entry| &entry.node),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// The node at a path of names and indexes, such as `spec.data[0].match`. A name may have dots.
    pub fn at(&self, path: &str) -> Option<&Node> {
        if path.is_empty() {
            return Some(self);
        }
        if let Some(node) = self.get(path) {
            return Some(node);
        }
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (part, rest) = path.split_at(end);
        let node = match part.strip_suffix(']') {
            Some(index) => self.items().get(index.parse::<usize>().ok()?)?,
            None if part.is_empty() => self,
            None => self.get(part)?,
        };
        node.at(rest.get(1..).unwrap_or_default())
    }

    /// The text of a string; numbers and so on are not text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text of a field of a map.
    pub fn text_at(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// The node as JSON; of a duplicate name, the last.
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Number(digits) => {
                digits.parse().map_or_else(|_huge| digits.as_str().into(), serde_json::Value::Number)
            }
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::json).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.name.clone(), entry.node.json())).collect(),
        }
    }

    /// The node as the API server stores it: without nulls.
    pub fn admitted(&self) -> serde_json::Value {
        without_nulls(self.json())
    }

    /// The items of a list; empty if it is not a list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => &[],
        }
    }
}

fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// The documents of a text, up to the first syntax error.
pub fn parse(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
    let mut builder = Builder { anchors: HashMap::new(), open: Vec::new(), documents: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str(text) {
        let read = match event {
            Ok((event, span)) => {
                let span = span.byte_range().unwrap_or(0..0);
                builder.read(event, span)
            }
            Err(error) => Err(SyntaxError { offset: error.marker().byte_offset().unwrap_or(0), message: error.info() }),
        };
        if let Err(error) = read {
            return (builder.documents, Some(error));
        }
    }
    (builder.documents, None)
}

struct Builder {
    anchors: HashMap<usize, Node>,
    open: Vec<Open>,
    documents: Vec<Node>,
    nodes: usize,
}

/// A collection that is being parsed.
struct Open {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, name: Option<(String, Range<usize>)> },
}

impl Builder {
    fn read(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = match plain {
                    true => plain_value(&text),
                    false => Value::Text(text.into_owned()),
                };
                self.finish(Node { span, value }, anchor)
            }
            Event::Alias(anchor) => {
                let named = self.anchors.get(&anchor).ok_or(SyntaxError {
                    offset: span.start,
                    message: "an alias is inside the node that it names".into(),
                })?;
                // Counted before it is copied, or a few lines could exhaust memory.
                self.nodes += size(named);
                self.within_limit(span.start)?;
                let value = self.anchors[&anchor].value.clone();
                self.finish(Node { span, value }, 0)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.start(span.start, anchor, Content::List(Vec::new()));
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                let entries = Vec::new();
                self.start(span.start, anchor, Content::Map { entries, name: None });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end),
            // Boundaries, comments, and whatever a later parser adds are not nodes.
            _presentation => Ok(()),
        }
    }

    fn start(&mut self, start: usize, anchor: usize, content: Content) {
        self.open.push(Open { start, anchor, content });
    }

    fn close(&mut self, end: usize) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(merged(entries)),
        };
        let span = open.start..end;
        self.finish(Node { span, value }, open.anchor)
    }

    fn within_limit(&self, offset: usize) -> Result<(), SyntaxError> {
        match self.nodes > MAX_NODES {
            true => {
                Err(SyntaxError { offset, message: "the document is too large, or its aliases expand too far".into() })
            }
            false => Ok(()),
        }
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.nodes += 1;
        self.within_limit(node.span.start)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, name }) => match name.take() {
                Some((name, name_span)) => entries.push(Entry { name, name_span, node }),
                None => *name = Some((name_of(&node), node.span)),
            },
        }
        Ok(())
    }
}

/// The number of nodes in a copy of this one.
fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|e| size(&e.node)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 1,
    }
}

fn name_of(node: &Node) -> String {
    match &node.value {
        Value::Text(text) | Value::Number(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Null => "null".into(),
        Value::List(_) | Value::Map(_) => "(a list or a map)".into(),
    }
}

/// Resolves `<<`: adds fields of the merged maps that are not set here.
fn merged(entries: Vec<Entry>) -> Vec<Entry> {
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.name == "<<");
    for merge in merges {
        let sources = match merge.node.value {
            Value::List(items) => items,
            value => vec![Node { span: merge.node.span, value }],
        };
        for source in sources {
            if let Value::Map(inherited) = source.value {
                for entry in inherited {
                    if own.iter().all(|known| known.name != entry.name) {
                        own.push(entry);
                    }
                }
            }
        }
    }
    own
}

/// kubectl reads YAML 1.1: `y`, `yes` and `on` are booleans there.
fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        text if is_number(text) => Value::Number(text.to_owned()),
        text => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = |prefix: &str, radix: u32| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)))
    };
    radix("0x", 16)
        || radix("0o", 8)
        || radix("0b", 2)
        || (unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok())
}
