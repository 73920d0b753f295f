//! What is wrong with a template, without any value.

use std::fmt;

use thiserror::Error;

/// Where in the template's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// In bytes, from 0.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Position {
    /// The line and column of an offset.
    pub fn in_text(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Position { offset, line, column: 1 + crate::go_text::count(&before[start..]) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a template cannot be parsed or rendered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {problem}")]
pub struct Fault {
    /// Where.
    pub position: Position,
    /// What.
    pub problem: Problem,
}

/// What is wrong. Names come from the template; kinds of values are Go's words for types.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The text is not a template.
    #[error("{0}")]
    Syntax(String),
    /// A function that does not exist.
    #[error("there is no function {name:?}{}", nearest.as_ref().map(|name| format!(": did you mean {name:?}?")).unwrap_or_default())]
    NoFunction {
        /// Its name.
        name: String,
        /// A function with a similar name.
        nearest: Option<String>,
    },
    /// A key that the data does not have.
    #[error("there is no key {key:?}{}", nearest.as_ref().map(|key| format!(": did you mean {key:?}?")).unwrap_or_default())]
    NoKey {
        /// The key.
        key: String,
        /// A key with a similar name.
        nearest: Option<String>,
    },
    /// A field of what has none.
    #[error("{kind} has no field {field:?}")]
    NoField {
        /// Go's word for the type.
        kind: String,
        /// The field.
        field: String,
    },
    /// A template that is not defined.
    #[error("there is no template {0:?}: define it, or correct the name")]
    NoTemplate(String),
    /// Too few or too many arguments.
    #[error("{function} takes {wants}, and gets {gets}")]
    Arity {
        /// The function.
        function: String,
        /// How many it takes, in words.
        wants: String,
        /// How many it gets.
        gets: usize,
    },
    /// An argument of another type.
    #[error("{function} takes {wants} here, and gets {gets}{}", hint(wants, gets))]
    Type {
        /// The function.
        function: String,
        /// Go's word for the type that it takes.
        wants: String,
        /// Go's word for the type that it gets.
        gets: String,
    },
    /// What a function says of its arguments.
    #[error("{function}: {cause}")]
    Call {
        /// The function.
        function: String,
        /// What is wrong, without a value.
        cause: String,
    },
    /// What the language forbids at run time.
    #[error("{0}")]
    Run(String),
    /// See [`crate::Budget::steps`].
    #[error("the template takes more than {limit} steps: loop over less")]
    TooManySteps {
        /// The limit.
        limit: u64,
    },
    /// See [`crate::Budget::output`].
    #[error("the result is larger than {limit} bytes")]
    TooMuchOutput {
        /// The limit.
        limit: usize,
    },
    /// See [`crate::Budget::work`].
    #[error("the template's functions make more than {limit} bytes: repeat or join less")]
    TooMuchWork {
        /// The limit.
        limit: usize,
    },
    /// See [`crate::Budget::depth`].
    #[error("templates or values are nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

/// What helps in the cases that people run into most.
fn hint(wants: &str, gets: &str) -> &'static str {
    match (wants, gets) {
        ("map[string]interface {}", "map[string]string") => {
            ": the values at the top are no dict; name them one by one, as in (dict \"key\" .key)"
        }
        ("int", "int64" | "float64") => ": convert it with the function int",
        ("string", _) => ": convert it with the function toString",
        _ => "",
    }
}

impl Problem {
    /// With where it is.
    pub fn at(self, text: &[u8], offset: usize) -> Fault {
        Fault { position: Position::in_text(text, offset), problem: self }
    }
}

/// The name that is most like `name`, if one is much like it.
pub fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = all.map(|other| (distance(name, other), other));
    let allowed = 1 + name.chars().count() / 4;
    near.filter(|(distance, _)| *distance <= allowed).min().map(|(_, other)| other.to_owned())
}

/// Levenshtein's distance, case apart.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, character) in one.to_lowercase().chars().enumerate() {
        let mut before = line;
        row[0] = line + 1;
        for (column, against) in other.iter().enumerate() {
            let replaced = before + usize::from(character != *against);
            before = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters() {
        let position = Position::in_text("ä\nöx".as_bytes(), 5);
        assert_eq!((position.line, position.column), (2, 2));
        assert_eq!(position.to_string(), "line 2, column 2");
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = || ["b64enc", "b64dec", "toYaml"].into_iter();
        assert_eq!(nearest("b64encode", names()).as_deref(), Some("b64enc"));
        assert_eq!(nearest("toyaml", names()).as_deref(), Some("toYaml"));
        assert_eq!(nearest("quote", names()), None);
    }
}
