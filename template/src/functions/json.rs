//! JSON as Go's `encoding/json` reads and writes it, for bytes that need not be UTF-8. No library
//! that we know reads those, or writes Go's escapes and numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::budget::Purse;
use crate::error::Problem;
use crate::format::float_form;
use crate::go_text;
use crate::value::{Text, Value};

/// How JSON is written.
#[derive(Clone, Copy)]
pub struct Style {
    /// With line breaks.
    pub is_pretty: bool,
    /// With escapes for `<`, `>` and `&`.
    pub escapes_html: bool,
}

/// Reads a text; `None` if it is no JSON.
pub fn read(text: &[u8], purse: &mut Purse) -> Result<Option<Value>, Problem> {
    let mut reader = Reader { rest: text, purse };
    reader.skip_spaces();
    let Some(value) = reader.value()? else { return Ok(None) };
    reader.skip_spaces();
    Ok(reader.rest.is_empty().then_some(value))
}

struct Reader<'t, 'p> {
    rest: &'t [u8],
    purse: &'p mut Purse,
}

impl Reader<'_, '_> {
    fn value(&mut self) -> Result<Option<Value>, Problem> {
        self.purse.step(1)?;
        let literal = |reader: &mut Self, word: &[u8], value: Value| reader.accept(word).then_some(value);
        Ok(match self.rest.first() {
            Some(b'{') => {
                self.purse.descend()?;
                let object = self.object()?;
                self.purse.ascend();
                object
            }
            Some(b'[') => {
                self.purse.descend()?;
                let array = self.array()?;
                self.purse.ascend();
                array
            }
            Some(b'"') => self.text()?.map(Value::text),
            Some(b't') => literal(self, b"true", Value::Bool(true)),
            Some(b'f') => literal(self, b"false", Value::Bool(false)),
            Some(b'n') => literal(self, b"null", Value::Nil),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Float),
            Some(_) | None => None,
        })
    }

    fn object(&mut self) -> Result<Option<Value>, Problem> {
        let mut entries = BTreeMap::new();
        self.rest = &self.rest[1..];
        self.skip_spaces();
        if self.accept(b"}") {
            return Ok(Some(Value::dict(entries)));
        }
        loop {
            self.skip_spaces();
            if self.rest.first() != Some(&b'"') {
                return Ok(None);
            }
            let Some(key) = self.text()? else { return Ok(None) };
            self.skip_spaces();
            if !self.accept(b":") {
                return Ok(None);
            }
            self.skip_spaces();
            let Some(value) = self.value()? else { return Ok(None) };
            entries.insert(Text::new(key), value);
            self.skip_spaces();
            if self.accept(b"}") {
                return Ok(Some(Value::dict(entries)));
            }
            if !self.accept(b",") {
                return Ok(None);
            }
        }
    }

    fn array(&mut self) -> Result<Option<Value>, Problem> {
        let mut items = Vec::new();
        self.rest = &self.rest[1..];
        self.skip_spaces();
        if self.accept(b"]") {
            return Ok(Some(Value::list(items)));
        }
        loop {
            self.skip_spaces();
            let Some(value) = self.value()? else { return Ok(None) };
            items.push(value);
            self.skip_spaces();
            if self.accept(b"]") {
                return Ok(Some(Value::list(items)));
            }
            if !self.accept(b",") {
                return Ok(None);
            }
        }
    }

    fn text(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let mut text = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            let Some((character, _, length)) = go_text::first(self.rest) else { return Ok(None) };
            self.rest = &self.rest[length..];
            match character {
                '"' => {
                    self.purse.make(text.len())?;
                    return Ok(Some(text));
                }
                '\\' => match self.escaped() {
                    Some(character) => go_text::push(&mut text, character),
                    None => return Ok(None),
                },
                '\0'..='\u{1f}' => return Ok(None),
                other => go_text::push(&mut text, other),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let (letter, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(*letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hexadecimal()?;
                let is_high = (0xd800..0xdc00).contains(&first);
                if is_high && self.rest.starts_with(b"\\u") {
                    let before = self.rest;
                    self.rest = &self.rest[2..];
                    let second = self.hexadecimal()?;
                    if (0xdc00..0xe000).contains(&second) {
                        return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
                    }
                    self.rest = before;
                }
                char::from_u32(first).unwrap_or(go_text::REPLACEMENT)
            }
            _ => return None,
        })
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        let is_number = digits.iter().all(u8::is_ascii_hexdigit);
        let code = is_number.then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()?;
        self.rest = rest;
        Some(code)
    }

    fn number(&mut self) -> Option<f64> {
        let all = self.rest;
        self.accept(b"-");
        if !self.accept(b"0") && self.digits() == 0 {
            return None;
        }
        if self.accept(b".") && self.digits() == 0 {
            return None;
        }
        if self.accept(b"e") || self.accept(b"E") {
            if !self.accept(b"+") {
                self.accept(b"-");
            }
            if self.digits() == 0 {
                return None;
            }
        }
        let text = &all[..all.len() - self.rest.len()];
        std::str::from_utf8(text).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn digits(&mut self) -> usize {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
        count
    }

    fn accept(&mut self, word: &[u8]) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_spaces(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.rest.first() {
            self.rest = &self.rest[1..];
        }
    }
}

/// Writes a value; `None` if JSON cannot hold it.
pub fn write(value: &Value, style: Style, purse: &mut Purse) -> Result<Option<Vec<u8>>, Problem> {
    let mut writer = Writer { text: Vec::new(), style, level: 0, purse };
    let is_possible = writer.value(value)?;
    Ok(is_possible.then_some(writer.text))
}

struct Writer<'p> {
    text: Vec<u8>,
    style: Style,
    level: usize,
    purse: &'p mut Purse,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<bool, Problem> {
        self.purse.step(1)?;
        match value {
            Value::Nil | Value::NilInterface => self.text.extend_from_slice(b"null"),
            Value::Bool(truth) => self.text.extend_from_slice(truth.to_string().as_bytes()),
            Value::Int(number, _) => self.text.extend_from_slice(number.to_string().as_bytes()),
            Value::Uint(number, _) => self.text.extend_from_slice(number.to_string().as_bytes()),
            Value::Float(number) if !number.is_finite() => return Ok(false),
            Value::Float(number) => self.text.extend_from_slice(&number_text(*number)),
            Value::Text(text) => self.string(text)?,
            Value::Object(object) => self.text.extend_from_slice(&object.json()),
            Value::List(list) if list.is_nil() => self.text.extend_from_slice(b"null"),
            Value::Map(map) if map.is_nil() => self.text.extend_from_slice(b"null"),
            Value::List(list) => return self.list(list),
            Value::Map(map) => return self.map(map.entries()),
        }
        Ok(true)
    }

    fn list(&mut self, items: &[Value]) -> Result<bool, Problem> {
        self.purse.descend()?;
        self.text.push(b'[');
        self.level += 1;
        for (index, item) in items.iter().enumerate() {
            self.separate(index);
            if !self.value(item)? {
                return Ok(false);
            }
        }
        self.level -= 1;
        self.close(b']', items.is_empty());
        self.purse.ascend();
        Ok(true)
    }

    fn map(&mut self, entries: BTreeMap<Text, Value>) -> Result<bool, Problem> {
        self.purse.descend()?;
        let is_empty = entries.is_empty();
        self.text.push(b'{');
        self.level += 1;
        for (index, (key, item)) in entries.into_iter().enumerate() {
            self.separate(index);
            self.string(&key)?;
            self.text.push(b':');
            if self.style.is_pretty {
                self.text.push(b' ');
            }
            if !self.value(&item)? {
                return Ok(false);
            }
        }
        self.level -= 1;
        self.close(b'}', is_empty);
        self.purse.ascend();
        Ok(true)
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.text.push(b',');
        }
        self.break_line();
    }

    fn close(&mut self, bracket: u8, is_empty: bool) {
        if !is_empty {
            self.break_line();
        }
        self.text.push(bracket);
    }

    fn break_line(&mut self) {
        if self.style.is_pretty {
            self.text.push(b'\n');
            let length = self.text.len() + 2 * self.level;
            self.text.resize(length, b' ');
        }
    }

    fn string(&mut self, text: &[u8]) -> Result<(), Problem> {
        self.purse.make(2 * text.len())?;
        push_string(&mut self.text, text, self.style.escapes_html);
        Ok(())
    }
}

/// A JSON string, with Go's escapes.
pub fn push_string(json: &mut Vec<u8>, text: &[u8], escapes_html: bool) {
    json.push(b'"');
    for (character, bytes) in go_text::spans(text) {
        let is_invalid = bytes.len() == 1 && !bytes[0].is_ascii();
        match escaped(character, escapes_html) {
            _ if is_invalid => json.extend_from_slice(b"\\ufffd"),
            Some(escape) => json.extend_from_slice(escape.as_bytes()),
            None => json.extend_from_slice(bytes),
        }
    }
    json.push(b'"');
}

/// What Go's encoder writes in a JSON string in place of a character; `None` if it writes the
/// character. `<`, `>` and `&` are escaped only if asked for.
pub fn escaped(character: char, escapes_html: bool) -> Option<Cow<'static, str>> {
    let escape = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '<' | '>' | '&' if !escapes_html => return None,
        '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
            return Some(Cow::Owned(format!("\\u{:04x}", u32::from(character))));
        }
        _ => return None,
    };
    Some(Cow::Borrowed(escape))
}

/// As JavaScript writes a number.
pub fn number_text(number: f64) -> Vec<u8> {
    let size = number.abs();
    let is_plain = size == 0.0 || (1e-6..1e21).contains(&size);
    let mut text = if number.is_sign_negative() { b"-".to_vec() } else { Vec::new() };
    let digits = float_form(size, if is_plain { 'f' } else { 'e' });
    // An exponent has no leading zero.
    match digits.split_last_chunk::<4>() {
        Some((mantissa, [b'e', sign @ b'-', b'0', digit])) if !is_plain => {
            text.extend_from_slice(mantissa);
            text.extend_from_slice(&[b'e', *sign, *digit]);
        }
        _ => text.extend_from_slice(&digits),
    }
    text
}
