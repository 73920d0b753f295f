//! The values inside a JSON text that is known to be valid.
//!
//! Nothing here recurses or panics, whatever the text; over text that is no JSON the values are
//! whatever they seem to be.

/// The white space of JSON.
pub(super) const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

/// What a raw value is, by its first character.
pub(super) fn kind_of(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't') => Kind::True,
        Some(b'f') => Kind::False,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// What stands between the quotes of a raw string.
pub(super) fn between_quotes(string: &str) -> &str {
    let inner = string.strip_prefix('"').unwrap_or(string);
    inner.strip_suffix('"').unwrap_or(inner)
}

/// Raw values that follow each other.
pub(super) struct Values<'j> {
    rest: &'j str,
}

impl<'j> Values<'j> {
    /// The elements of a raw list.
    pub(super) fn of_array(array: &'j str) -> Self {
        Self { rest: array.strip_prefix('[').unwrap_or(array) }
    }

    /// The documents in a row of them.
    pub(super) fn of_lines(lines: &'j str) -> Self {
        Self { rest: lines }
    }
}

impl<'j> Iterator for Values<'j> {
    type Item = &'j str;

    fn next(&mut self) -> Option<&'j str> {
        let (value, rest) = split_value(self.rest)?;
        self.rest = rest;
        Some(value)
    }
}

/// The members of an object: the name as it stands between its quotes, and the raw value.
pub(super) struct Members<'j> {
    rest: &'j str,
}

impl<'j> Members<'j> {
    /// The members of a raw object.
    pub(super) fn of_object(object: &'j str) -> Self {
        Self { rest: object.strip_prefix('{').unwrap_or(object) }
    }
}

impl<'j> Iterator for Members<'j> {
    type Item = (&'j str, &'j str);

    fn next(&mut self) -> Option<(&'j str, &'j str)> {
        let (name, rest) = split_value(self.rest)?;
        let (value, rest) = split_value(rest)?;
        self.rest = rest;
        Some((between_quotes(name), value))
    }
}

/// The first value and what follows it, or nothing where the list or object ends.
fn split_value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n', ',', ':']);
    let length = match text.bytes().next()? {
        b']' | b'}' => return None,
        b'"' => string_length(text),
        b'{' | b'[' => container_length(text),
        _ => scalar_length(text),
    };
    text.split_at_checked(length)
}

fn string_length(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((position, byte)) = bytes.next() {
        match byte {
            b'"' => return position + 1,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    text.len()
}

fn container_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((position, byte)) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => drop(bytes.next()),
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return position + 1;
        }
    }
    text.len()
}

fn scalar_length(text: &str) -> usize {
    text.find([' ', '\t', '\r', '\n', ',', ']', '}']).unwrap_or(text.len())
}
