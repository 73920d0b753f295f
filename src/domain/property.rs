//! What a consumer reads from an entry: one property, or the whole secret as JSON; and how the
//! bytes are decoded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::remote::{RemoteData, RemoteValue};
use super::secret::SecretBytes;

/// The maximum nesting of a whole secret; the store's own parser allows little more.
const DEEPEST: usize = 64;

/// How the bytes of a value are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// As base64, else as URL-safe base64, else not at all.
    Auto,
    /// As base64.
    Base64,
    /// As URL-safe base64.
    Base64Url,
    /// Not at all.
    Plain,
}

/// The value of a property: the one with exactly that name, else the one at a dotted path such as
/// `a.b.0`.
pub fn pick(data: &RemoteData, property: &str) -> Option<SecretBytes> {
    match data.get(property) {
        Some(value) => Some(value.rendered()),
        None => walk(data, property),
    }
}

/// The property that a dotted path leads into.
pub fn top(path: &str) -> String {
    segments(path).into_iter().next().unwrap_or_default()
}

/// All properties as one compact JSON object with sorted keys, escaped as Go's encoder does; `None`
/// when nested too deep.
pub fn whole(data: &RemoteData) -> Option<SecretBytes> {
    let mut text = Zeroizing::new(String::new());
    text.push('{');
    for (index, (property, value)) in data.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_text(&mut text, property);
        text.push(':');
        push_json(&mut text, value.expose_json(), DEEPEST)?;
    }
    text.push('}');
    Some(SecretBytes::new(std::mem::take(&mut *text).into_bytes()))
}

/// The decoded bytes; `None` if they are not in the declared encoding.
pub fn decode(value: SecretBytes, decoding: Decoding) -> Option<SecretBytes> {
    match decoding {
        Decoding::Plain => Some(value),
        Decoding::Base64 => base64(&value, &STANDARD),
        Decoding::Base64Url => base64(&value, &URL_SAFE),
        Decoding::Auto => Some(base64(&value, &STANDARD).or_else(|| base64(&value, &URL_SAFE)).unwrap_or(value)),
    }
}

fn base64(value: &SecretBytes, engine: &impl Engine) -> Option<SecretBytes> {
    // Line breaks are allowed anywhere, as in PEM-like values.
    let line: Zeroizing<Vec<u8>> =
        Zeroizing::new(value.expose().iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect());
    engine.decode(&*line).ok().map(SecretBytes::new)
}

fn walk(data: &RemoteData, property: &str) -> Option<SecretBytes> {
    let mut segments = segments(property).into_iter();
    let mut json = data.get(&segments.next()?)?.expose_json();
    for segment in segments {
        json = child(json, &segment)?;
    }
    let value: Box<RawValue> = serde_json::from_str(json).ok()?;
    Some(RemoteValue::raw(value).rendered())
}

fn child<'j>(json: &'j str, segment: &str) -> Option<&'j str> {
    match json.as_bytes().first()? {
        b'{' => object(json)?.remove(segment).map(RawValue::get),
        b'[' => array(json)?.get(segment.parse::<usize>().ok()?).map(|value| value.get()),
        _scalar => None,
    }
}

/// Splits at dots; `\.` is a dot in a name.
fn segments(property: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut characters = property.chars();
    while let Some(character) = characters.next() {
        match (character, segments.last_mut()) {
            ('.', _) => segments.push(String::new()),
            ('\\', Some(last)) => last.extend(characters.next()),
            (other, Some(last)) => last.push(other),
            (_, None) => {}
        }
    }
    segments
}

fn object(json: &str) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(json).ok()
}

fn array(json: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json).ok()
}

fn push_json(text: &mut String, json: &str, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match json.as_bytes().first()? {
        b'{' => {
            text.push('{');
            for (index, (key, value)) in object(json)?.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_text(text, &key);
                text.push(':');
                push_json(text, value.get(), depth)?;
            }
            text.push('}');
        }
        b'[' => {
            text.push('[');
            for (index, value) in array(json)?.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_json(text, value.get(), depth)?;
            }
            text.push(']');
        }
        b'"' => {
            let plain: Zeroizing<String> = Zeroizing::new(serde_json::from_str(json).ok()?);
            push_text(text, &plain);
        }
        _scalar => text.push_str(json),
    }
    Some(())
}

/// A JSON string with the escapes of Go's encoder.
fn push_text(text: &mut String, plain: &str) {
    text.push('"');
    for character in plain.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &str) -> RemoteData {
        let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap();
        values.into_iter().map(|(property, value)| (property, RemoteValue::raw(value))).collect()
    }

    fn picked(json: &str, property: &str) -> Option<String> {
        pick(&data(json), property).map(|value| value.expose_utf8().unwrap().to_owned())
    }

    #[test]
    fn a_literal_name_wins_over_a_path() {
        let json = r#"{"a.b": "literal", "a": {"b": ["x", {"c": 9007199254740993}], "d.e": true}, "tls.crt": "pem"}"#;
        for (property, value) in [
            ("a.b", Some("literal")),
            ("a.b.0", Some("x")),
            ("a.b.1.c", Some("9007199254740993")),
            (r"a.d\.e", Some("true")),
            ("tls.crt", Some("pem")),
            ("a.b.2", None),
            ("a.x", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(picked(json, property).as_deref(), value, "{property}");
        }
    }

    #[test]
    fn a_path_leads_into_the_property_before_its_first_dot_that_is_not_part_of_a_name() {
        for (path, into) in [("a", "a"), ("a.b.0", "a"), (r"a\.b.c", "a.b"), (r"a.b\.c", "a"), ("", "")] {
            assert_eq!(top(path), into, "{path}");
        }
    }

    #[test]
    fn a_whole_secret_is_the_json_that_go_writes() {
        let secret = data(r#"{"b": {"y": 1.50, "x": [ true , null ]}, "a": "<p&w>ü\u2028\u0001"}"#);
        assert_eq!(
            whole(&secret).unwrap().expose_utf8(),
            Some(r#"{"a":"\u003cp\u0026w\u003eü\u2028\u0001","b":{"x":[true,null],"y":1.50}}"#)
        );
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100), "]".repeat(100));
        assert!(whole(&data(&deep)).is_none());
    }

    #[test]
    fn decoding_is_as_declared() {
        let decoded = |text: &str, decoding| decode(text.into(), decoding).map(|value| value.expose().to_vec());
        assert_eq!(decoded("/w==", Decoding::Base64), Some(vec![0xff]));
        assert_eq!(decoded("_w==", Decoding::Base64), None);
        assert_eq!(decoded("_w==", Decoding::Base64Url), Some(vec![0xff]));
        assert_eq!(decoded("_w==", Decoding::Auto), Some(vec![0xff]));
        assert_eq!(decoded("p@ss", Decoding::Auto), Some(b"p@ss".to_vec()));
        assert_eq!(decoded("Y\nQ==", Decoding::Base64), Some(b"a".to_vec()));
        assert_eq!(decoded("YQ==", Decoding::Plain), Some(b"YQ==".to_vec()));
    }
}
