//! The parts of gjson's language that do more than pick a value, all of which are refused.

use std::fmt;

/// The modifiers that gjson has built in. Another name behind `@` is the name of a property.
const MODIFIERS: [&str; 13] = [
    "pretty", "ugly", "reverse", "this", "flatten", "join", "valid", "keys", "values", "tostr", "fromstr", "group",
    "dig",
];

/// The words that are literals behind `!`, in any case.
const LITERAL_WORDS: [&str; 5] = ["true", "false", "null", "nan", "inf"];

/// Something in a path that makes a value instead of picking one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Construct {
    /// `@name`, which works on the value before it.
    Modifier(&'static str),
    /// `{a,b}` or `[a,b]`, which put values together.
    Multipath,
    /// `!` and a JSON value, which stands for that value.
    Literal,
}

impl fmt::Display for Construct {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modifier(name) => write!(formatter, "the modifier @{name}"),
            Self::Multipath => formatter.write_str("a multipath ({...} or [...])"),
            Self::Literal => formatter.write_str("a literal (!...)"),
        }
    }
}

/// The construct that an expression starts with.
///
/// gjson reads an expression of one character, and a `{` or `[` that is never closed, as a name;
/// the latter was hardly meant so and is refused too.
pub(super) fn at_start_of_expression(text: &str) -> Option<Construct> {
    if text.len() < 2 {
        return None;
    }
    match text.split_at_checked(1)? {
        ("@", after) => modifier(after),
        ("!", after) => is_literal(after).then_some(Construct::Literal),
        ("{" | "[", _) => Some(Construct::Multipath),
        _ => None,
    }
}

/// Whether a dot before `text` works as a `|`, as it does before a modifier and a multipath.
pub(super) fn turns_dot_into_pipe(text: &str) -> bool {
    match text.strip_prefix('@') {
        Some(after) => modifier(after).is_some(),
        None => text.starts_with(['{', '[']),
    }
}

fn modifier(after: &str) -> Option<Construct> {
    let name = after.split(['.', '|', ':']).next()?;
    MODIFIERS.into_iter().find(|known| *known == name).map(Construct::Modifier)
}

fn is_literal(after: &str) -> bool {
    let word = after.split(['.', '|']).next().unwrap_or_default();
    after.starts_with(['{', '[', '"', '+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
        || LITERAL_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}
