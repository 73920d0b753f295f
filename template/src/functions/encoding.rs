//! Sprig's encodings, and JSON. What cannot be decoded is no error for most of them: the result is
//! Go's message, as in Sprig.

use std::collections::BTreeMap;

use super::json::{self, Style};
use super::{Call, Function, fixed, yaml_reader, yaml_writer};
use crate::error::Problem;
use crate::value::{Text, Type, Value};

const ANY: Type = Type::Any;
const TEXT: Type = Type::Text;
const PLAIN: Style = Style { is_pretty: false, escapes_html: true };
const PRETTY: Style = Style { is_pretty: true, escapes_html: true };
const RAW: Style = Style { is_pretty: false, escapes_html: false };

pub const FUNCTIONS: &[Function] = &[
    fixed("b64enc", &[TEXT], |call| {
        let text = call.text(0);
        call.purse.make(2 * text.len())?;
        Ok(Value::text(BASE64.encoded(&text)))
    }),
    fixed("b64dec", &[TEXT], |call| Ok(Value::text(decoded(BASE64.decoded(&call.text(0)), "base64")))),
    fixed("b32enc", &[TEXT], |call| {
        let text = call.text(0);
        call.purse.make(2 * text.len())?;
        Ok(Value::text(BASE32.encoded(&text)))
    }),
    fixed("b32dec", &[TEXT], |call| Ok(Value::text(decoded(decoded32(&call.text(0)), "base32")))),
    fixed("hexdec", &[TEXT], |call| {
        let text = call.text(0);
        let pairs = text.chunks(2).map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        });
        match pairs.collect::<Option<Vec<u8>>>() {
            Some(bytes) => Ok(Value::text(bytes)),
            None => call.refuse("the text is not hexadecimal"),
        }
    }),
    fixed("fromJson", &[TEXT], |call| {
        let text = call.text(0);
        Ok(json::read(&text, call.purse)?.unwrap_or(Value::Nil))
    }),
    fixed("mustFromJson", &[TEXT], |call| {
        let text = call.text(0);
        match json::read(&text, call.purse)? {
            Some(value) => Ok(value),
            None => call.refuse("the text is not JSON"),
        }
    }),
    fixed("toJson", &[ANY], |call| Ok(Value::text(written(call, PLAIN)?.unwrap_or_default()))),
    fixed("toPrettyJson", &[ANY], |call| Ok(Value::text(written(call, PRETTY)?.unwrap_or_default()))),
    fixed("toRawJson", &[ANY], |call| must_write(call, RAW)),
    fixed("mustToJson", &[ANY], |call| must_write(call, PLAIN)),
    fixed("mustToPrettyJson", &[ANY], |call| must_write(call, PRETTY)),
    fixed("mustToRawJson", &[ANY], |call| must_write(call, RAW)),
    fixed("toYaml", &[ANY], |call| {
        let value = call.value(0);
        let text = yaml_writer::write(&value, call.purse)?.unwrap_or_default();
        Ok(Value::text(text.strip_suffix(b"\n").unwrap_or(&text)))
    }),
    fixed("fromYaml", &[TEXT], from_yaml),
];

/// The bytes of base 64; `None` if it is none.
pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decoded(text).ok()
}

/// As base 64.
pub fn to_base64(bytes: &[u8]) -> Vec<u8> {
    BASE64.encoded(bytes)
}

fn written(call: &mut Call<'_>, style: Style) -> Result<Option<Vec<u8>>, Problem> {
    let value = call.value(0);
    json::write(&value, style, call.purse)
}

/// A dict; what is wrong with the text is an entry of it, and no error.
fn from_yaml(call: &mut Call<'_>) -> Result<Value, Problem> {
    let text = call.text(0);
    let wrong = match yaml_reader::read(&text, call.purse)? {
        Some(Value::Map(map)) => return Ok(Value::Map(map)),
        Some(Value::Nil | Value::NilInterface) => return Ok(Value::dict(BTreeMap::new())),
        Some(Value::List(_)) => "array",
        Some(Value::Text(_)) => "string",
        Some(Value::Bool(_)) => "bool",
        Some(_) => "number",
        None => return Ok(error_entry("the text is not YAML")),
    };
    Ok(error_entry(&format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {wrong} into Go value of type map[string]interface {{}}"
    )))
}

fn error_entry(text: &str) -> Value {
    Value::dict(BTreeMap::from([(Text::from("Error"), Value::text(text))]))
}

fn must_write(call: &mut Call<'_>, style: Style) -> Result<Value, Problem> {
    match written(call, style)? {
        Some(text) => Ok(Value::text(text)),
        None => call.refuse("JSON has no number for it"),
    }
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn decoded(decoded: Result<Vec<u8>, usize>, name: &str) -> Vec<u8> {
    decoded.unwrap_or_else(|at| format!("illegal {name} data at input byte {at}").into_bytes())
}

/// Base 32 as Go decodes it: line breaks go first, so that positions are in what is left, and padding
/// counts only within the last group.
fn decoded32(text: &[u8]) -> Result<Vec<u8>, usize> {
    let text: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let mut group = Vec::with_capacity(8);
        while group.len() < 8 {
            let Some(byte) = text.get(at) else { return Err(text.len() - group.len()) };
            at += 1;
            let left = text.len() - at;
            if *byte == b'=' && group.len() >= 2 && left < 8 {
                if left + group.len() < 7 {
                    return Err(text.len());
                }
                let missing = 7 - group.len();
                if let Some(wrong) = text[at..].iter().take(missing).position(|byte| *byte != b'=') {
                    return Err((at + wrong).saturating_sub(1));
                }
                if matches!(group.len(), 3 | 6) {
                    return Err(at - 1);
                }
                BASE32.unpack(&group, &mut bytes);
                return Ok(bytes);
            }
            match BASE32.alphabet.iter().position(|character| character == byte) {
                Some(value) => group.push(value),
                None => return Err(at - 1),
            }
        }
        BASE32.unpack(&group, &mut bytes);
    }
    Ok(bytes)
}

/// An encoding of groups of bits. Go's decoders say where a text goes wrong, and Sprig shows it.
struct Encoding {
    alphabet: &'static [u8],
    /// Bits of a character.
    bits: usize,
    /// Characters of a group, of which the last may be padding.
    group: usize,
}

const BASE64: Encoding =
    Encoding { alphabet: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", bits: 6, group: 4 };
const BASE32: Encoding = Encoding { alphabet: b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", bits: 5, group: 8 };

impl Encoding {
    fn encoded(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len() * 8 / self.bits + self.group);
        let (mut pool, mut held) = (0usize, 0);
        for byte in bytes {
            pool = (pool << 8) | usize::from(*byte);
            held += 8;
            while held >= self.bits {
                held -= self.bits;
                text.push(self.alphabet[(pool >> held) & self.mask()]);
            }
            pool &= (1 << held) - 1;
        }
        if held > 0 {
            text.push(self.alphabet[(pool << (self.bits - held)) & self.mask()]);
        }
        while !text.len().is_multiple_of(self.group) {
            text.push(b'=');
        }
        text
    }

    /// The bytes, or where the text goes wrong. Line breaks do not count.
    fn decoded(&self, text: &[u8]) -> Result<Vec<u8>, usize> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut at = 0;
        loop {
            let mut group = Vec::with_capacity(self.group);
            while group.len() < self.group {
                let Some(byte) = text.get(at) else {
                    // A group that began must end.
                    return if group.is_empty() { Ok(bytes) } else { Err(at - group.len()) };
                };
                at += 1;
                match (byte, self.alphabet.iter().position(|character| character == byte)) {
                    (b'\n' | b'\r', _) => {}
                    (_, Some(value)) => group.push(value),
                    (b'=', None) => {
                        let end = self.padded(text, at, group.len())?;
                        self.unpack(&group, &mut bytes);
                        return if end == text.len() { Ok(bytes) } else { Err(end) };
                    }
                    (_, None) => return Err(at - 1),
                }
            }
            self.unpack(&group, &mut bytes);
        }
    }

    /// Past the padding, of which the first character has been read.
    fn padded(&self, text: &[u8], mut at: usize, present: usize) -> Result<usize, usize> {
        if present == 0 || present * self.bits % 8 >= self.bits {
            return Err(at - 1);
        }
        for _ in present + 1..self.group {
            at = after_breaks(text, at);
            match text.get(at) {
                Some(b'=') => at += 1,
                Some(_) => return Err(at - 1),
                None => return Err(text.len()),
            }
        }
        Ok(after_breaks(text, at))
    }

    fn unpack(&self, group: &[usize], bytes: &mut Vec<u8>) {
        let (mut pool, mut held) = (0usize, 0);
        for value in group {
            pool = (pool << self.bits) | value;
            held += self.bits;
            if held >= 8 {
                held -= 8;
                bytes.push((pool >> held) as u8);
                pool &= (1 << held) - 1;
            }
        }
    }

    fn mask(&self) -> usize {
        (1 << self.bits) - 1
    }
}

fn after_breaks(text: &[u8], mut at: usize) -> usize {
    while let Some(b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}
