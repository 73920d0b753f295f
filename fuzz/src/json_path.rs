//! Paths select JSON of the document and nothing else, and plain names lead where they say.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use waypost::domain::json_path::JsonPath;
use waypost::domain::property::{self, Reach};
use waypost::domain::remote::{RemoteData, RemoteValue};

/// The input has a path on its first line, and a document on the others.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (path, document) = text.split_once('\n').unwrap_or((text, r#"{"a":{"b":[1,{"c":"x"}]}}"#));
    // As long as a manifest may have it.
    if path.len() > 1024 {
        return;
    }
    check_selection(path, document);
    check_pick(path, document);
}

fn check_selection(path: &str, document: &str) {
    let Ok(parsed) = JsonPath::parse(path) else { return };
    let selected = parsed.select(document);
    let Ok(document) = serde_json::from_str::<&RawValue>(document) else { return };
    let selected = selected.as_ref().map(|selected| selected.raw());
    if let Some(raw) = selected {
        assert!(serde_json::from_str::<&RawValue>(raw).is_ok(), "what is selected is JSON: {raw}");
    }
    let is_plain =
        path.split('.').all(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if is_plain && let Ok(expected) = walked(document, &path.split('.').collect::<Vec<_>>()) {
        assert_eq!(selected.map(str::trim), expected, "{path}");
    }
}

/// What a walk by these names finds. An error for a text that serde does not take.
fn walked<'d>(value: &'d RawValue, names: &[&str]) -> serde_json::Result<Option<&'d str>> {
    let [name, rest @ ..] = names else { return Ok(Some(value.get())) };
    match value.get().as_bytes()[0] {
        b'{' => {
            for (member, value) in serde_json::from_str::<Members<'d>>(value.get())?.0 {
                if member == *name
                    && let Some(found) = walked(value, rest)?
                {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        b'[' => {
            let elements: Vec<&'d RawValue> = serde_json::from_str(value.get())?;
            let element = name.parse().ok().and_then(|position: usize| elements.get(position));
            element.map_or(Ok(None), |element| walked(element, rest))
        }
        _ => Ok(None),
    }
}

/// The members of an object in their order, also those of one name.
struct Members<'d>(Vec<(String, &'d RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A name selects nothing from beyond its reach: who may read a value is judged by that.
fn check_pick(name: &str, document: &str) {
    let Ok(members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(document) else {
        return;
    };
    let data: RemoteData = members.into_iter().map(|(member, value)| (member, RemoteValue::raw(value))).collect();
    let picked = |data: &RemoteData| property::pick(data, name).map(|value| value.map(|value| value.expose().to_vec()));
    let all = picked(&data);
    assert_eq!(property::is_there(&data, name), matches!(all, Ok(Some(_))));
    if let (false, Reach::One(property)) = (data.contains_key(name), property::reach(name)) {
        let alone = data.into_iter().filter(|(member, _)| *member == property).collect();
        assert_eq!(picked(&alone), all);
    }
}
