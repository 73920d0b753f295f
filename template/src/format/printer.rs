//! Prints one value with one verb.

use zeroize::Zeroizing;

use super::{float, integer, quote};
use crate::budget::Purse;
use crate::error::Problem;
use crate::go_text;
use crate::value::{List, Map, Value};

/// How a directive asks for a value.
#[derive(Clone, Copy, Default)]
pub struct Flags {
    pub plus: bool,
    pub minus: bool,
    pub sharp: bool,
    pub space: bool,
    pub zero: bool,
    /// `%#v`.
    pub sharp_v: bool,
    pub width: Option<usize>,
    pub precision: Option<usize>,
}

impl Flags {
    /// With `%v`, `#` and `+` mean something else.
    pub fn as_syntax(&mut self) {
        self.sharp_v = self.sharp;
        (self.sharp, self.plus) = (false, false);
    }
}

/// Collects what is printed.
pub struct Printer<'p> {
    buffer: Zeroizing<Vec<u8>>,
    purse: &'p mut Purse,
    pub flags: Flags,
}

impl<'p> Printer<'p> {
    pub fn new(purse: &'p mut Purse) -> Self {
        Printer { buffer: Zeroizing::default(), purse, flags: Flags::default() }
    }

    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        self.buffer
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.purse.make(bytes.len())?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Prints a value.
    pub fn argument(&mut self, value: &Value, verb: char) -> Result<(), Problem> {
        match (value, verb) {
            (Value::Nil | Value::NilInterface, 'T' | 'v') => self.pad(b"<nil>"),
            (Value::Nil | Value::NilInterface, _) => self.complain(verb, b"(<nil>)"),
            (_, 'T') => self.truncated(value.kind_name().as_bytes()),
            _ => self.value(value, verb),
        }
    }

    /// `%!x(int=1)`, as in Go: a mistake in a format is no error.
    fn bad_verb(&mut self, value: &Value, verb: char) -> Result<(), Problem> {
        self.complain(verb, b"(")?;
        self.described(value)?;
        self.write(b")")
    }

    /// `%!x` and what is wrong.
    pub fn complain(&mut self, verb: char, wrong: &[u8]) -> Result<(), Problem> {
        self.write(b"%!")?;
        self.write(verb.encode_utf8(&mut [0; 4]).as_bytes())?;
        self.write(wrong)
    }

    /// The type and the value.
    pub fn described(&mut self, value: &Value) -> Result<(), Problem> {
        if let Some(kind) = value.kind() {
            self.write(kind.to_string().as_bytes())?;
            self.write(b"=")?;
        }
        self.argument(value, 'v')
    }

    fn value(&mut self, value: &Value, verb: char) -> Result<(), Problem> {
        self.purse.step(1)?;
        match value {
            Value::Nil | Value::NilInterface => match (verb, self.flags.sharp_v) {
                ('v', true) => self.write(b"interface {}(nil)"),
                _ => self.write(b"<nil>"),
            },
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { b"true" } else { b"false" }),
                _ => self.bad_verb(value, verb),
            },
            Value::Int(number, _) => self.integer(value, number.unsigned_abs(), *number < 0, verb),
            Value::Uint(number, _) => match (verb, self.flags.sharp_v) {
                ('v', true) => {
                    let sharp = std::mem::replace(&mut self.flags.sharp, true);
                    self.integer(value, *number, false, 'x')?;
                    self.flags.sharp = sharp;
                    Ok(())
                }
                _ => self.integer(value, *number, false, verb),
            },
            Value::Float(number) => match float::printed(*number, verb, &self.flags) {
                Some(printed) => self.number(printed),
                None => self.bad_verb(value, verb),
            },
            Value::Text(text) => self.text(value, text, verb),
            Value::List(list) => self.list(list, verb),
            Value::Map(map) => self.map(map, verb),
            Value::Object(object) => {
                let printed = object.print();
                match verb {
                    'v' | 's' | 'x' | 'X' | 'q' => self.text(value, &printed, verb),
                    _ => self.bad_verb(value, verb),
                }
            }
        }
    }

    fn integer(&mut self, value: &Value, number: u64, is_negative: bool, verb: char) -> Result<(), Problem> {
        let code = if is_negative { u64::MAX } else { number };
        match verb {
            'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => {
                self.purse.make(self.flags.width.unwrap_or_default() + self.flags.precision.unwrap_or_default())?;
                let printed = integer::printed(number, is_negative, verb, &self.flags);
                self.unzeroed(|printer| printer.pad(&printed))
            }
            'c' => self.pad(integer::character(code).encode_utf8(&mut [0; 4]).as_bytes()),
            'q' => self.pad(&quote::quoted_character(integer::character(code), self.flags.plus)),
            'U' => {
                self.purse.make(self.flags.precision.unwrap_or_default())?;
                let code = if is_negative { number.wrapping_neg() } else { number };
                let printed = integer::unicode(code, &self.flags);
                self.unzeroed(|printer| printer.pad(&printed))
            }
            _ => self.bad_verb(value, verb),
        }
    }

    /// Zeros go between the sign and the digits, and never before what is no number.
    fn number(&mut self, printed: float::Printed) -> Result<(), Problem> {
        let float::Printed { sign, digits, is_number } = printed;
        let mut whole = sign.map(|sign| vec![sign]).unwrap_or_default();
        whole.extend_from_slice(&digits);
        let width = self.flags.width.unwrap_or_default();
        if !is_number {
            return self.unzeroed(|printer| printer.pad(&whole));
        }
        match sign {
            Some(sign) if self.flags.zero && !self.flags.minus && width > whole.len() => {
                self.write(&[sign])?;
                self.fill(width - whole.len())?;
                self.write(&digits)
            }
            _ => self.pad(&whole),
        }
    }

    fn text(&mut self, value: &Value, text: &[u8], verb: char) -> Result<(), Problem> {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(text),
            'v' | 's' => self.truncated(text),
            'q' => self.quoted(text),
            'x' | 'X' => self.hexadecimal(text, verb == 'X'),
            _ => self.bad_verb(value, verb),
        }
    }

    fn quoted(&mut self, text: &[u8]) -> Result<(), Problem> {
        let text = self.shortened(text);
        if self.flags.sharp && quote::can_be_raw(text) {
            let raw: Zeroizing<Vec<u8>> = Zeroizing::new([b"`", text, b"`"].concat());
            return self.pad(&raw);
        }
        self.purse.make(text.len())?;
        let quoted = Zeroizing::new(quote::quoted(text, self.flags.plus));
        self.pad(&quoted)
    }

    fn truncated(&mut self, text: &[u8]) -> Result<(), Problem> {
        let text = self.shortened(text);
        self.pad(text)
    }

    /// The precision of a text is its greatest number of characters.
    fn shortened<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let Some(most) = self.flags.precision else { return text };
        let length = go_text::spans(text).take(most).map(|(_, bytes)| bytes.len()).sum();
        &text[..length]
    }

    fn hexadecimal(&mut self, text: &[u8], upper: bool) -> Result<(), Problem> {
        let text = &text[..self.flags.precision.unwrap_or(text.len()).min(text.len())];
        let (prefix, digits): (&[u8], &[u8; 16]) = match upper {
            true => (b"0X", b"0123456789ABCDEF"),
            false => (b"0x", b"0123456789abcdef"),
        };
        let Flags { space, sharp, .. } = self.flags;
        self.purse.make(5 * text.len())?;
        let mut printed = Zeroizing::new(Vec::new());
        for (index, byte) in text.iter().enumerate() {
            if space && index > 0 {
                printed.push(b' ');
            }
            if sharp && (space || index == 0) {
                printed.extend_from_slice(prefix);
            }
            printed.push(digits[usize::from(byte >> 4)]);
            printed.push(digits[usize::from(byte & 15)]);
        }
        self.pad(&printed)
    }

    fn list(&mut self, list: &List, verb: char) -> Result<(), Problem> {
        self.purse.descend()?;
        let is_syntax = self.flags.sharp_v;
        let (open, between, close): (&[u8], &[u8], &[u8]) =
            if is_syntax { (b"{", b", ", b"}") } else { (b"[", b" ", b"]") };
        if is_syntax {
            let kind = Value::List(list.clone()).kind_name();
            self.write(kind.as_bytes())?;
        }
        if is_syntax && list.is_nil() {
            self.write(b"(nil)")?;
        } else {
            self.write(open)?;
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    self.write(between)?;
                }
                self.nested(item, verb)?;
            }
            self.write(close)?;
        }
        self.purse.ascend();
        Ok(())
    }

    fn map(&mut self, map: &Map, verb: char) -> Result<(), Problem> {
        self.purse.descend()?;
        let is_syntax = self.flags.sharp_v;
        match is_syntax {
            true => {
                let kind = Value::Map(map.clone()).kind_name();
                self.write(kind.as_bytes())?;
            }
            false => self.write(b"map[")?,
        }
        if is_syntax && map.is_nil() {
            self.write(b"(nil)")?;
        } else {
            let (between, close): (&[u8], &[u8]) = if is_syntax { (b", ", b"}") } else { (b" ", b"]") };
            if is_syntax {
                self.write(b"{")?;
            }
            for (index, (key, item)) in map.entries().into_iter().enumerate() {
                if index > 0 {
                    self.write(between)?;
                }
                self.nested(&Value::Text(key), verb)?;
                self.write(b":")?;
                self.nested(&item, verb)?;
            }
            self.write(close)?;
        }
        self.purse.ascend();
        Ok(())
    }

    /// Within a list or a map, a nil is printed with any verb that is not bad.
    fn nested(&mut self, value: &Value, verb: char) -> Result<(), Problem> {
        self.value(value, verb)
    }

    /// Appends bytes with the padding that the width asks for.
    fn pad(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let missing = self.flags.width.unwrap_or_default().saturating_sub(go_text::count(bytes));
        if self.flags.minus {
            self.write(bytes)?;
            self.fill(missing)
        } else {
            self.fill(missing)?;
            self.write(bytes)
        }
    }

    fn fill(&mut self, count: usize) -> Result<(), Problem> {
        self.purse.make(count)?;
        let with = if self.flags.zero && !self.flags.minus { b'0' } else { b' ' };
        let length = self.buffer.len() + count;
        self.buffer.resize(length, with);
        Ok(())
    }

    fn unzeroed(&mut self, print: impl FnOnce(&mut Self) -> Result<(), Problem>) -> Result<(), Problem> {
        let zero = std::mem::replace(&mut self.flags.zero, false);
        let result = print(self);
        self.flags.zero = zero;
        result
    }
}
