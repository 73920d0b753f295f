//! Reads YAML as Go's library does: a parser's events, with the meaning of YAML 1.1.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::yaml_scalar::{Scalar, resolve};
use crate::budget::Purse;
use crate::error::Problem;
use crate::format;
use crate::value::{Text, Value};

/// The first document as JSON has it; `None` if the text is no YAML, or JSON has no such value.
pub fn read(text: &[u8], purse: &mut Purse) -> Result<Option<Value>, Problem> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(None) };
    let (events, is_cut) = first_document(text);
    let mut reader = Reader { events: &events, at: 0, anchors: BTreeMap::new(), purse };
    while let Some(Event::StreamStart | Event::DocumentStart(..)) = reader.peek() {
        reader.at += 1;
    }
    match reader.peek() {
        None if is_cut => Ok(None),
        None | Some(Event::StreamEnd | Event::DocumentEnd) => Ok(Some(Value::Nil)),
        Some(_) => reader.node().map(|node| node.map(|node| node.value)),
    }
}

/// The events of the first document, and whether they end because the text is no YAML. What is wrong
/// after the document is not looked at.
fn first_document(text: &str) -> (Vec<Event<'_>>, bool) {
    let mut events = Vec::new();
    for next in Parser::new_from_str(text) {
        match next {
            Err(_names_the_text) => return (events, true),
            Ok((Event::Comment(..) | Event::Anchor(..), _)) => {}
            Ok((Event::DocumentEnd, _)) => break,
            Ok((event, _)) => events.push(event),
        }
    }
    (events, false)
}

/// A value, and the text that it is as a key.
#[derive(Clone)]
struct Node {
    value: Value,
    key: Option<String>,
    is_merge: bool,
}

struct Reader<'e, 'p> {
    events: &'e [Event<'e>],
    at: usize,
    anchors: BTreeMap<usize, Node>,
    purse: &'p mut Purse,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<&Event<'_>> {
        self.events.get(self.at)
    }

    fn node(&mut self) -> Result<Option<Node>, Problem> {
        self.purse.step(1)?;
        let events = self.events;
        let Some(event) = events.get(self.at) else { return Ok(None) };
        self.at += 1;
        let (anchor, node) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(anchor).cloned() else { return Ok(None) };
                self.spend(&node.value)?;
                return Ok(Some(node));
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.purse.make(text.len())?;
                (*anchor, scalar(text, *style, tag.as_deref()))
            }
            Event::SequenceStart(_, anchor, _) => (*anchor, self.sequence()?),
            Event::MappingStart(_, anchor, _) => (*anchor, self.mapping()?),
            _ => return Ok(None),
        };
        let Some(node) = node else { return Ok(None) };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(Some(node))
    }

    /// What an alias repeats costs what it repeats.
    fn spend(&mut self, value: &Value) -> Result<(), Problem> {
        self.purse.step(1)?;
        match value {
            Value::Text(text) => self.purse.make(text.len()),
            Value::List(list) => list.iter().try_for_each(|item| self.spend(item)),
            Value::Map(map) => map.entries().values().try_for_each(|item| self.spend(item)),
            _ => Ok(()),
        }
    }

    fn sequence(&mut self) -> Result<Option<Node>, Problem> {
        self.purse.descend()?;
        let mut items = Vec::new();
        while !matches!(self.peek(), Some(Event::SequenceEnd)) {
            let Some(item) = self.node()? else { return Ok(None) };
            items.push(item.value);
        }
        self.at += 1;
        self.purse.ascend();
        Ok(Some(Node { value: Value::list(items), key: None, is_merge: false }))
    }

    fn mapping(&mut self) -> Result<Option<Node>, Problem> {
        self.purse.descend()?;
        let (mut entries, mut merged) = (BTreeMap::new(), BTreeMap::new());
        while !matches!(self.peek(), Some(Event::MappingEnd)) {
            let Some(key) = self.node()? else { return Ok(None) };
            let Some(value) = self.node()? else { return Ok(None) };
            if key.is_merge {
                if !merge(&mut merged, &value.value) {
                    return Ok(None);
                }
                continue;
            }
            let Some(key) = key.key else { return Ok(None) };
            entries.insert(Text::from(key.as_str()), value.value);
        }
        self.at += 1;
        self.purse.ascend();
        for (key, value) in merged {
            entries.entry(key).or_insert(value);
        }
        Ok(Some(Node { value: Value::dict(entries), key: None, is_merge: false }))
    }
}

/// `<<: *map` or `<<: [*one, *other]`, of which the first counts.
fn merge(into: &mut BTreeMap<Text, Value>, from: &Value) -> bool {
    match from {
        Value::Map(map) => {
            for (key, value) in map.entries() {
                into.entry(key).or_insert(value);
            }
            true
        }
        Value::List(list) => list.iter().all(|item| matches!(item, Value::Map(_)) && merge(into, item)),
        _ => false,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Option<Node> {
    let tag = tag.map(|tag| (tag.handle(), tag.suffix()));
    let meaning = match (tag, style) {
        (Some(("tag:yaml.org,2002:", "str")), _) => Scalar::Text,
        (Some(("tag:yaml.org,2002:", "binary")), _) => return binary(text),
        (Some(("tag:yaml.org,2002:", kind)), _) => tagged(text, kind)?,
        (Some(_), _) => Scalar::Text,
        (None, ScalarStyle::Plain) => resolve(text),
        (None, _) => Scalar::Text,
    };
    let (value, key) = match meaning {
        Scalar::Null => (Value::Nil, None),
        Scalar::Bool(truth) => (Value::Bool(truth), Some(truth.to_string())),
        Scalar::Int(number) => (Value::Float(number as f64), Some(number.to_string())),
        Scalar::Uint(number) => (Value::Float(number as f64), Some(number.to_string())),
        Scalar::Float(number) if !number.is_finite() => return None,
        Scalar::Float(number) => {
            let key = String::from_utf8_lossy(&format::float_general(number)).into_owned();
            (Value::Float(number), Some(key))
        }
        Scalar::Text | Scalar::Timestamp => (Value::text(text), Some(text.to_owned())),
        Scalar::Merge => return Some(Node { value: Value::text(text), key: Some(text.to_owned()), is_merge: true }),
    };
    Some(Node { value, key, is_merge: false })
}

/// With one of YAML's own tags, a scalar must be of that kind.
fn tagged(text: &str, kind: &str) -> Option<Scalar> {
    let meaning = resolve(text);
    match (kind, &meaning) {
        ("null", Scalar::Null) | ("bool", Scalar::Bool(_)) | ("int", Scalar::Int(_) | Scalar::Uint(_)) => Some(meaning),
        ("float", Scalar::Float(_)) | ("timestamp", Scalar::Timestamp) => Some(meaning),
        ("float", Scalar::Int(number)) => Some(Scalar::Float(*number as f64)),
        ("null" | "bool" | "int" | "float" | "timestamp", _) => None,
        _ => Some(Scalar::Text),
    }
}

fn binary(text: &str) -> Option<Node> {
    let bytes = super::encoding::base64(text.as_bytes())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Some(Node { value: Value::text(text.clone()), key: Some(text), is_merge: false })
}
