//! JSON as Go's encoder writes it: compact, objects sorted by their keys, and every number with the
//! digits that it came with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::remote::RemoteValue;
use super::secret::SecretBytes;

/// The maximum nesting of a value; a store's own parser allows little more.
const DEEPEST: usize = 64;

/// Whether `<`, `>` and `&` are escaped, as Go's encoder does unless it is told not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Html {
    /// They are.
    Escaped,
    /// They are not.
    Plain,
}

/// An object of these members, each a name with its JSON. `None` if it is nested too deep.
pub fn object<'m>(members: impl Iterator<Item = (&'m str, &'m str)>, html: Html) -> Option<Zeroizing<String>> {
    let mut writer = Writer { text: Zeroizing::new(String::new()), html };
    writer.members(members, DEEPEST)?;
    Some(writer.text)
}

/// What a consumer gets of a value: the text of a string, nothing of null, JSON of an object or list,
/// and anything else as it is. `None` if it is nested too deep.
pub fn rendered(json: &str, html: Html) -> Option<SecretBytes> {
    match json.trim_start().as_bytes().first()? {
        b'{' | b'[' => {
            let mut writer = Writer { text: Zeroizing::new(String::new()), html };
            writer.value(json.trim(), DEEPEST)?;
            Some(SecretBytes::new(std::mem::take(&mut *writer.text).into_bytes()))
        }
        _scalar => Some(RemoteValue::raw(serde_json::from_str(json).ok()?).rendered()),
    }
}

struct Writer {
    text: Zeroizing<String>,
    html: Html,
}

impl Writer {
    fn members<'m>(&mut self, members: impl Iterator<Item = (&'m str, &'m str)>, depth: usize) -> Option<()> {
        self.text.push('{');
        for (index, (name, json)) in members.enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            push_string(&mut self.text, name, self.html);
            self.text.push(':');
            self.value(json, depth)?;
        }
        self.text.push('}');
        Some(())
    }

    fn value(&mut self, json: &str, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match json.as_bytes().first()? {
            b'{' => {
                let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(json).ok()?;
                self.members(members.iter().map(|(name, value)| (name.as_ref(), value.get())), depth)?;
            }
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
                self.text.push('[');
                for (index, element) in elements.into_iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.value(element.get(), depth)?;
                }
                self.text.push(']');
            }
            b'"' => {
                let plain: Zeroizing<String> = Zeroizing::new(serde_json::from_str(json).ok()?);
                push_string(&mut self.text, &plain, self.html);
            }
            _scalar => self.text.push_str(json),
        }
        Some(())
    }
}

/// Adds a string, with its quotes.
pub fn push_string(text: &mut String, plain: &str, html: Html) {
    text.push('"');
    for character in plain.chars() {
        match waypost_template::json_escaped(character, html == Html::Escaped) {
            Some(escape) => text.push_str(&escape),
            None => text.push(character),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_sorted_and_compact_and_numbers_keep_their_digits() {
        let json = r#"{ "b" : [ 1.50, 9007199254740993 , {"z":null, "a": true} ], "a": "<\u00fc>" }"#;
        let written = |html| object([("x", json), ("&", "1e3")].into_iter(), html).unwrap().to_string();
        let inside = r#"[1.50,9007199254740993,{"a":true,"z":null}]"#;
        assert_eq!(written(Html::Escaped), format!(r#"{{"x":{{"a":"\u003cü\u003e","b":{inside}}},"\u0026":1e3}}"#));
        assert_eq!(written(Html::Plain), format!(r#"{{"x":{{"a":"<ü>","b":{inside}}},"&":1e3}}"#));
    }
}
