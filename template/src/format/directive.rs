//! The directives of a format: `%[2]*.3f`.

use zeroize::Zeroizing;

use super::printer::{Flags, Printer};
use crate::error::Problem;
use crate::go_text;
use crate::value::Value;

/// No width or precision is larger than this.
const LARGEST: i64 = 1_000_000;

/// Prints the values as the format says.
pub fn print(format: &[u8], values: &[Value], printer: Printer<'_>) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut reader = Reader { format, at: 0, values, next: 0, is_good: true, is_reordered: false, printer };
    while reader.at < format.len() {
        reader.plain()?;
        if reader.at < format.len() {
            reader.directive()?;
        }
    }
    reader.extra()?;
    Ok(reader.printer.finish())
}

struct Reader<'a, 'p> {
    format: &'a [u8],
    at: usize,
    values: &'a [Value],
    /// The number of the next value.
    next: usize,
    /// Whether the present directive's index is one of a value.
    is_good: bool,
    /// Whether any directive had an index.
    is_reordered: bool,
    printer: Printer<'p>,
}

impl Reader<'_, '_> {
    /// Up to the next `%`, and past it.
    fn plain(&mut self) -> Result<(), Problem> {
        let rest = &self.format[self.at..];
        let length = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
        self.printer.write(&rest[..length])?;
        self.at += length;
        if self.at < self.format.len() {
            self.at += 1;
            if self.at == self.format.len() {
                self.printer.write(b"%!(NOVERB)")?;
            }
        }
        Ok(())
    }

    fn directive(&mut self) -> Result<(), Problem> {
        self.is_good = true;
        self.printer.flags = self.flags();
        let mut after_index = self.index();
        self.width(&mut after_index)?;
        self.precision(&mut after_index)?;
        if !after_index {
            self.index();
        }
        match go_text::first(&self.format[self.at..]) {
            None => self.printer.write(b"%!(NOVERB)"),
            Some((verb, _, length)) => {
                self.at += length;
                self.verb(verb)
            }
        }
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        flags
    }

    fn width(&mut self, after_index: &mut bool) -> Result<(), Problem> {
        if self.peek() == Some(b'*') {
            self.at += 1;
            let width = self.number_of_value();
            if width.is_none() {
                self.printer.write(b"%!(BADWIDTH)")?;
            }
            if width.is_some_and(|width| width < 0) {
                self.printer.flags.minus = true;
                self.printer.flags.zero = false;
            }
            self.printer.flags.width = width.and_then(|width| usize::try_from(width.abs()).ok());
            *after_index = false;
        } else {
            let width = self.number();
            self.is_good &= !(*after_index && width.is_some());
            self.printer.flags.width = width;
        }
        Ok(())
    }

    fn precision(&mut self, after_index: &mut bool) -> Result<(), Problem> {
        if self.peek() != Some(b'.') || self.at + 1 >= self.format.len() {
            return Ok(());
        }
        self.at += 1;
        self.is_good &= !*after_index;
        *after_index = self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            let precision = self.number_of_value().and_then(|number| usize::try_from(number).ok());
            if precision.is_none() {
                self.printer.write(b"%!(BADPREC)")?;
            }
            self.printer.flags.precision = precision;
            *after_index = false;
        } else {
            self.printer.flags.precision = Some(self.number().unwrap_or_default());
        }
        Ok(())
    }

    fn verb(&mut self, verb: char) -> Result<(), Problem> {
        if verb == '%' {
            return self.printer.write(b"%");
        }
        if !self.is_good {
            return self.printer.complain(verb, b"(BADINDEX)");
        }
        let Some(value) = self.values.get(self.next) else { return self.printer.complain(verb, b"(MISSING)") };
        if matches!(verb, 'v' | 'w') {
            self.printer.flags.as_syntax();
        }
        self.next += 1;
        self.printer.argument(value, verb)
    }

    /// `[2]`: whether there is one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.is_reordered = true;
        let rest = &self.format[self.at..];
        let closed = (rest.len() >= 3).then(|| rest.iter().skip(1).position(|byte| *byte == b']')).flatten();
        let Some(length) = closed else {
            self.is_good = false;
            self.at += 1;
            return false;
        };
        let number = digits(&rest[1..=length]);
        self.at += length + 2;
        match number {
            Some(number) if (1..=self.values.len()).contains(&number) => {
                self.next = number - 1;
                true
            }
            Some(_) => {
                self.is_good = false;
                true
            }
            None => {
                self.is_good = false;
                false
            }
        }
    }

    /// Digits in the format.
    fn number(&mut self) -> Option<usize> {
        let rest = &self.format[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if length == 0 {
            return None;
        }
        let number = digits(&rest[..length]);
        // After a number without end nothing is read.
        self.at = if number.is_some() { self.at + length } else { self.format.len() };
        number
    }

    /// The next value, if it is a number that can be a width.
    fn number_of_value(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let number = match value {
            Value::Int(number, _) => Some(*number),
            Value::Uint(number, _) => i64::try_from(*number).ok(),
            _ => None,
        };
        number.filter(|number| (-LARGEST..=LARGEST).contains(number))
    }

    fn extra(&mut self) -> Result<(), Problem> {
        if self.is_reordered || self.next >= self.values.len() {
            return Ok(());
        }
        self.printer.flags = Flags::default();
        self.printer.write(b"%!(EXTRA ")?;
        for (index, value) in self.values[self.next..].iter().enumerate() {
            if index > 0 {
                self.printer.write(b", ")?;
            }
            self.printer.described(value)?;
        }
        self.printer.write(b")")
    }

    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }
}

/// The number that digits say; `None` for other characters, none, or too many.
fn digits(text: &[u8]) -> Option<usize> {
    let mut number: usize = 0;
    for byte in text {
        if !byte.is_ascii_digit() || number as i64 > LARGEST {
            return None;
        }
        number = number * 10 + usize::from(byte - b'0');
    }
    (!text.is_empty()).then_some(number)
}
