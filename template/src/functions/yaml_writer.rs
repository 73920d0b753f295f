//! Writes YAML as Go's library does, byte for byte: sorted keys, lists that are not indented, and
//! lines that are folded at spaces after 80 columns.

use super::yaml_scalar::{Scalar, is_ambiguous, order, resolve};
use crate::budget::Purse;
use crate::error::Problem;
use crate::format;
use crate::value::Value;

const WIDTH: usize = 80;
const LONGEST_KEY: usize = 128;

/// The YAML of what JSON says of a value; `None` if YAML cannot say it.
pub fn write(value: &Value, purse: &mut Purse) -> Result<Option<Vec<u8>>, Problem> {
    let mut writer = Writer { text: Vec::new(), indent: None, column: 0, is_blank: true, is_indented: true, purse };
    let is_possible = writer.node(value, Place::Top)?;
    if writer.column > 0 {
        writer.break_line();
    }
    Ok(is_possible.then_some(writer.text))
}

struct Writer<'p> {
    text: Vec<u8>,
    indent: Option<usize>,
    column: usize,
    /// Nothing but space precedes on this line, or a space does.
    is_blank: bool,
    /// Nothing but indentation and indicators precede on this line.
    is_indented: bool,
    purse: &'p mut Purse,
}

/// Where a node is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Item,
    Key,
    Value,
}

/// How a text can be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Writer<'_> {
    fn node(&mut self, value: &Value, place: Place) -> Result<bool, Problem> {
        self.purse.step(1)?;
        match value {
            Value::Nil | Value::NilInterface => self.scalar("null", Style::Plain, place)?,
            Value::Bool(truth) => self.scalar(&truth.to_string(), Style::Plain, place)?,
            Value::Int(number, _) => self.scalar(&number.to_string(), Style::Plain, place)?,
            Value::Uint(number, _) => self.scalar(&number.to_string(), Style::Plain, place)?,
            Value::Float(number) if !number.is_finite() => return Ok(false),
            Value::Float(number) => self.scalar(&float(*number), Style::Plain, place)?,
            Value::Text(text) => {
                let text = String::from_utf8_lossy(text).into_owned();
                if !is_readable(&text) {
                    return Ok(false);
                }
                self.string(&text, place)?;
            }
            Value::Object(object) => {
                let json = object.json();
                let text = String::from_utf8_lossy(&json).trim_matches('"').to_owned();
                self.string(&text, place)?;
            }
            Value::List(list) if list.is_nil() => self.scalar("null", Style::Plain, place)?,
            Value::Map(map) if map.is_nil() => self.scalar("null", Style::Plain, place)?,
            Value::List(list) if list.is_empty() => self.indicator("[]"),
            Value::Map(map) if map.len() == 0 => self.indicator("{}"),
            Value::List(list) => return self.list(list, place),
            Value::Map(map) => {
                let mut entries: Vec<(String, Value)> = map
                    .entries()
                    .into_iter()
                    .map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), value))
                    .collect();
                entries.sort_by(|(one, _), (other, _)| order(one, other));
                return self.map(&entries);
            }
        }
        Ok(true)
    }

    fn list(&mut self, items: &[Value], place: Place) -> Result<bool, Problem> {
        self.purse.descend()?;
        let before = self.indent;
        // The items of a list in a map are not indented.
        if place != Place::Value || self.is_indented {
            self.deeper();
        }
        for item in items {
            self.begin_line();
            self.indicator("-");
            self.is_indented = true;
            if !self.node(item, Place::Item)? {
                return Ok(false);
            }
        }
        self.indent = before;
        self.purse.ascend();
        Ok(true)
    }

    fn map(&mut self, entries: &[(String, Value)]) -> Result<bool, Problem> {
        self.purse.descend()?;
        let before = self.indent;
        self.deeper();
        for (key, value) in entries {
            if !is_readable(key) {
                return Ok(false);
            }
            self.begin_line();
            if key.len() > LONGEST_KEY || key.contains(is_break) {
                self.indicator("?");
                self.is_indented = true;
                self.string(key, Place::Item)?;
                self.begin_line();
                self.indicator(":");
                self.is_indented = true;
                if !self.node(value, Place::Item)? {
                    return Ok(false);
                }
                continue;
            }
            self.string(key, Place::Key)?;
            self.put(":");
            (self.is_blank, self.is_indented) = (false, false);
            if !self.node(value, Place::Value)? {
                return Ok(false);
            }
        }
        self.indent = before;
        self.purse.ascend();
        Ok(true)
    }

    fn deeper(&mut self) {
        self.indent = Some(self.indent.map_or(0, |indent| indent + 2));
    }

    fn string(&mut self, text: &str, place: Place) -> Result<(), Problem> {
        let style = match () {
            () if text.contains('\n') => Style::Literal,
            () if is_ambiguous(text) => Style::Double,
            () => Style::Plain,
        };
        self.scalar(text, style, place)
    }

    fn scalar(&mut self, text: &str, wanted: Style, place: Place) -> Result<(), Problem> {
        self.purse.make(4 * text.len())?;
        let allowed = Allowed::of(text);
        let is_key = place == Place::Key;
        let mut style = if is_key && allowed.is_multiline { Style::Double } else { wanted };
        if style == Style::Plain && (!allowed.plain || text.is_empty() && is_key) {
            style = Style::Single;
        }
        if style == Style::Single && !allowed.single {
            style = Style::Double;
        }
        if style == Style::Literal && (!allowed.block || is_key) {
            style = Style::Double;
        }
        let before = self.indent;
        self.indent = Some(self.indent.map_or(2, |indent| indent + 2));
        match style {
            Style::Plain => self.plain(text, !is_key),
            Style::Single => self.single(text, !is_key),
            Style::Double => self.double(text, !is_key),
            Style::Literal => self.literal(text),
        }
        self.indent = before;
        Ok(())
    }

    fn plain(&mut self, text: &str, folds: bool) {
        if !self.is_blank {
            self.put(" ");
        }
        self.folded(text, folds, false);
        (self.is_blank, self.is_indented) = (false, false);
    }

    fn single(&mut self, text: &str, folds: bool) {
        self.indicator("'");
        self.folded(text, folds, true);
        self.put("'");
        (self.is_blank, self.is_indented) = (false, false);
    }

    /// Text without escapes. A line is folded at a single space.
    fn folded(&mut self, text: &str, folds: bool, is_quoted: bool) {
        let characters: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (index, character) in characters.iter().enumerate() {
            let next_is_space = characters.get(index + 1) == Some(&' ');
            let is_inside = !is_quoted || index > 0 && index + 1 < characters.len();
            match character {
                ' ' if folds && !after_space && self.column > WIDTH && is_inside && !next_is_space => {
                    self.write_indent();
                    after_space = true;
                }
                ' ' => {
                    self.put(" ");
                    after_space = true;
                }
                other => {
                    if is_quoted && *other == '\'' {
                        self.put("'");
                    }
                    self.put(other.encode_utf8(&mut [0; 4]));
                    (after_space, self.is_indented) = (false, false);
                }
            }
        }
    }

    fn double(&mut self, text: &str, folds: bool) {
        self.indicator("\"");
        let characters: Vec<char> = text.chars().collect();
        let mut after_space = false;
        let mut at = 0;
        for (index, character) in characters.iter().enumerate() {
            let is_inside = at > 0 && at + 1 < text.len();
            at += character.len_utf8();
            match character {
                ' ' if folds && !after_space && self.column > WIDTH && is_inside => {
                    self.write_indent();
                    if characters.get(index + 1) == Some(&' ') {
                        self.put("\\");
                    }
                    after_space = true;
                }
                ' ' => {
                    self.put(" ");
                    after_space = true;
                }
                other if !is_printable(*other) || is_break(*other) || matches!(other, '\u{feff}' | '"' | '\\') => {
                    self.put(&escaped(*other));
                    after_space = false;
                }
                other => {
                    self.put(other.encode_utf8(&mut [0; 4]));
                    after_space = false;
                }
            }
        }
        self.put("\"");
        (self.is_blank, self.is_indented) = (false, false);
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|");
        if text.starts_with(' ') || text.starts_with(is_break) {
            self.put("2");
        }
        let mut backwards = text.chars().rev();
        match (backwards.next(), backwards.next()) {
            (Some(last), _) if !is_break(last) => self.put("-"),
            (Some(_), Some(before)) if !is_break(before) => {}
            (Some(_), _) => self.put("+"),
            (None, _) => self.put("-"),
        }
        self.break_line();
        (self.is_blank, self.is_indented) = (true, true);
        let mut at_start = true;
        for character in text.chars() {
            if is_break(character) {
                self.break_line();
                (self.is_indented, at_start) = (true, true);
                continue;
            }
            if at_start {
                self.write_indent();
            }
            self.put(character.encode_utf8(&mut [0; 4]));
            (self.is_indented, at_start) = (false, false);
        }
    }

    /// A new line, unless nothing is on this one.
    fn begin_line(&mut self) {
        self.write_indent();
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.is_indented || self.column > indent || self.column == indent && !self.is_blank {
            self.break_line();
        }
        while self.column < indent {
            self.put(" ");
        }
        (self.is_blank, self.is_indented) = (true, true);
    }

    fn indicator(&mut self, indicator: &str) {
        if !self.is_blank {
            self.put(" ");
        }
        self.put(indicator);
        self.is_blank = false;
        self.is_indented = false;
    }

    fn break_line(&mut self) {
        self.text.push(b'\n');
        self.column = 0;
    }

    fn put(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
        self.column += text.chars().count();
    }
}

/// Which styles can say a text.
struct Allowed {
    is_multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

impl Allowed {
    fn of(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let (Some(first), Some(last)) = (characters.first(), characters.last()) else {
            return Allowed { is_multiline: false, plain: true, single: true, block: false };
        };
        let is_at = |index: usize, is: fn(char) -> bool| characters.get(index).is_some_and(|character| is(*character));
        let pairs = || characters.windows(2);
        let indicates = text.starts_with("---")
            || text.starts_with("...")
            || (0..characters.len()).any(|index| {
                let follows = index + 1 >= characters.len() || is_at(index + 1, is_blank);
                let precedes = index == 0 || is_at(index - 1, is_blank);
                match (characters[index], index) {
                    (
                        '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
                        0,
                    ) => true,
                    ('?' | ':' | '-', 0) | (':', _) => follows,
                    ('#', _) => precedes,
                    _ => false,
                }
            });
        let is_special = characters.iter().any(|character| !is_printable(*character))
            || pairs().any(|pair| pair[0] == ' ' && is_break(pair[1]));
        let breaks_before_space = pairs().any(|pair| is_break(pair[0]) && pair[1] == ' ');
        let is_multiline = characters.iter().any(|character| is_break(*character));
        let is_edge = |character: char| character == ' ' || is_break(character);
        Allowed {
            is_multiline,
            plain: !(indicates
                || is_special
                || breaks_before_space
                || is_multiline
                || is_edge(*first)
                || is_edge(*last)),
            single: !(is_special || breaks_before_space),
            block: !(is_special || *last == ' '),
        }
    }
}

/// As Go's library does, which knows no characters beyond the first 65,536 as printable.
fn is_printable(character: char) -> bool {
    matches!(character,
        '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// What its reader refuses.
fn is_readable(text: &str) -> bool {
    text.chars().all(|character| !matches!(character, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}'))
}

fn is_break(character: char) -> bool {
    matches!(character, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\0') || is_break(character)
}

fn escaped(character: char) -> String {
    let short = match character {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => "",
    };
    let code = u32::from(character);
    match code {
        _ if !short.is_empty() => short.to_owned(),
        0..=0xff => format!("\\x{code:02X}"),
        0x100..=0xffff => format!("\\u{code:04X}"),
        _ => format!("\\U{code:08X}"),
    }
}

/// A number is read from JSON, and what is whole stays whole.
fn float(number: f64) -> String {
    let json = String::from_utf8_lossy(&super::json::number_text(number)).into_owned();
    match resolve(&json) {
        Scalar::Int(int) => int.to_string(),
        Scalar::Uint(uint) => uint.to_string(),
        _ => String::from_utf8_lossy(&format::float_general(number)).into_owned(),
    }
}
