//! The first component of a path, cut off its text.
//!
//! The same text is cut in two ways, for an object and for a list: only names know `\`, only lists
//! know `#`, and only a query keeps dots and pipes together.

use super::construct::turns_dot_into_pipe;
use super::query::trim;

/// What follows a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail<'p> {
    End,
    Dot(&'p str),
    Pipe(&'p str),
}

/// A component as the name of a member.
pub(super) struct NameComponent<'p> {
    /// The name without its escapes.
    pub(super) name: String,
    /// The name holds a `*` or `?` that is not escaped. Where it does, gjson takes the escaped ones
    /// for wildcards too.
    pub(super) wild: bool,
    pub(super) tail: Tail<'p>,
}

pub(super) fn name_component(text: &str) -> NameComponent<'_> {
    let mut component = NameComponent { name: String::new(), wild: false, tail: Tail::End };
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' | '|' => {
                component.tail = tail_at(character, characters.as_str());
                break;
            }
            '\\' => component.name.extend(characters.next()),
            plain => {
                component.wild |= matches!(plain, '*' | '?');
                component.name.push(plain);
            }
        }
    }
    component
}

/// A component as the choice of elements of a list.
pub(super) enum ElementComponent<'p> {
    /// A position, or what is none and chooses no element.
    Position(Option<usize>, Tail<'p>),
    /// A single `#` without a dot.
    Length(Tail<'p>),
    /// `#.` and a path for each element.
    Each(&'p str),
    Query(QueryText<'p>, Tail<'p>),
    /// A query that is never closed. To gjson it is one without a condition.
    BrokenQuery,
}

pub(super) fn element_component(text: &str) -> ElementComponent<'_> {
    if text.starts_with("#(") || text.starts_with("#[") {
        return query_component(text).unwrap_or(ElementComponent::BrokenQuery);
    }
    let (component, tail) = cut_at_separator(text);
    match (component, tail) {
        ("#", Tail::Dot(path)) => ElementComponent::Each(path),
        ("#", tail) => ElementComponent::Length(tail),
        (component, Tail::Dot(rest)) if !component.contains('#') => {
            ElementComponent::Position(position(component), tail_at('.', rest))
        }
        (component, tail) => ElementComponent::Position(position(component), tail),
    }
}

/// Between a query and the next separator anything may stand; only a `#` right behind the query
/// counts.
fn query_component(text: &str) -> Option<ElementComponent<'_>> {
    let query = QueryText::cut_off(text)?;
    let (_, tail) = cut_at_separator(query.behind);
    Some(ElementComponent::Query(query, tail))
}

fn cut_at_separator(text: &str) -> (&str, Tail<'_>) {
    match text.split_once(['.', '|']) {
        None => (text, Tail::End),
        Some((component, rest)) if text[component.len()..].starts_with('.') => (component, Tail::Dot(rest)),
        Some((component, rest)) => (component, Tail::Pipe(rest)),
    }
}

fn tail_at(separator: char, rest: &str) -> Tail<'_> {
    if separator == '|' || turns_dot_into_pipe(rest) { Tail::Pipe(rest) } else { Tail::Dot(rest) }
}

/// Only digits are a position. Like gjson's, the number wraps at 64 bits, and its upper half is no
/// position.
fn position(component: &str) -> Option<usize> {
    let mut number = 0_u64;
    for byte in component.bytes() {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number = number.wrapping_mul(10).wrapping_add(digit);
    }
    let position = i64::try_from(number).ok().and_then(|number| usize::try_from(number).ok());
    if component.is_empty() { None } else { position }
}

/// The text of a query, cut into its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueryText<'p> {
    pub(super) path: &'p str,
    /// The operator and its operand, or nothing.
    pub(super) test: &'p str,
    /// An escape stands between quotes somewhere in the query.
    pub(super) escaped: bool,
    /// What follows the closing bracket.
    behind: &'p str,
}

impl<'p> QueryText<'p> {
    /// A `#` behind the query asks for all elements.
    pub(super) fn all(&self) -> bool {
        self.behind.starts_with('#')
    }

    /// Cuts a query off a text that starts with `#(` or `#[`; nothing when it is never closed.
    /// Either closing bracket closes either opening one.
    fn cut_off(text: &'p str) -> Option<Self> {
        let mut depth = 1_usize;
        let mut test_at = None;
        let mut escaped = false;
        let mut bytes = text.bytes().enumerate().skip("#(".len());
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'!' | b'=' | b'<' | b'>' | b'%' if depth == 1 && test_at.is_none() => test_at = Some(at),
                b'\\' => drop(bytes.next()),
                b'"' => escaped |= skip_to_quote(&mut bytes),
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Self::of_parts(text, test_at.unwrap_or(at), at, escaped);
            }
        }
        None
    }

    fn of_parts(text: &'p str, test_at: usize, closed_at: usize, escaped: bool) -> Option<Self> {
        let path = trim(text.get("#(".len()..test_at)?);
        let test = trim(text.get(test_at..closed_at)?);
        Some(Self { path, test, escaped, behind: text.get(closed_at + 1..)? })
    }
}

/// Moves behind the quote that closes a string, and tells whether an escape stood before it.
fn skip_to_quote(bytes: &mut impl Iterator<Item = (usize, u8)>) -> bool {
    let mut escaped = false;
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                escaped = true;
                bytes.next();
            }
            _ => {}
        }
    }
    escaped
}

/// Cuts what follows a `#` in two at the pipe that takes the list it makes, rather than each
/// element.
///
/// gjson looks for that pipe with rules of its own: brackets hide a pipe only right behind `.#`,
/// and behind a `.#` without a bracket one character is passed over.
pub(super) fn split_at_pipe(text: &str) -> (&str, Option<&str>) {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'.' if text[at + 1..].starts_with('#') => {
                bytes.next();
                match bytes.next() {
                    Some((_, b'[')) => skip_brackets(&mut bytes, b'[', b']'),
                    Some((_, b'(')) => skip_brackets(&mut bytes, b'(', b')'),
                    _ => {}
                }
            }
            b'|' => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}

fn skip_brackets(bytes: &mut impl Iterator<Item = (usize, u8)>, open: u8, close: u8) {
    let mut depth = 1_usize;
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => drop(skip_to_quote(bytes)),
            _ if byte == open => depth += 1,
            _ if byte == close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}
