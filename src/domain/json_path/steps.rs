//! A parsed path: steps that refer to each other.
//!
//! What a piece of a path means depends on what it meets: `a\.0` is the name `a.0` to an object,
//! and two pieces, `a\` and `0`, to a list. So each step has a reading for either.

use super::pattern::Pattern;
use super::query::Test;
use super::unescape::unescape;

/// The place of a step in its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StepId(pub(super) usize);

/// A whole path, or a part of one that is evaluated as a whole path over a value of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expression {
    /// The text is a row of documents, which the first step sees as a list.
    pub(super) lines: bool,
    pub(super) step: StepId,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) object: ObjectReading,
    pub(super) array: ArrayReading,
}

/// What a step means to an object. The default matches no member.
#[derive(Debug, Clone, Default)]
pub(super) struct ObjectReading {
    pub(super) name: Name,
    pub(super) next: Next,
}

/// The members that a step means.
#[derive(Debug, Clone, Default)]
pub(super) enum Name {
    #[default]
    Nothing,
    Exactly(String),
    Like(Pattern),
}

impl Name {
    /// Whether the name of a member, as it stands between its quotes, is meant.
    pub(super) fn matches(&self, raw: &str) -> bool {
        if raw.contains('\\') { self.matches_text(&unescape(raw)) } else { self.matches_text(raw) }
    }

    fn matches_text(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Exactly(wanted) => wanted == name,
            Self::Like(pattern) => pattern.matches(name),
        }
    }
}

/// What comes after a step that found a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Next {
    /// The value is the result.
    #[default]
    End,
    /// A step into the value. Where it finds nothing, the search goes on behind the value.
    Into(StepId),
    /// The value is the result, and an expression is evaluated over it.
    Pipe(Expression),
}

/// What a step means to a list. The default matches no element.
#[derive(Debug, Clone)]
pub(super) enum ArrayReading {
    /// The element at a position from zero; no element without a position.
    Element { position: Option<usize>, next: Next },
    /// `#`: how many elements there are.
    Length { pipe: Option<Expression> },
    /// `#.path`: a list of what the path finds in each element.
    Each { path: Expression, pipe: Option<Expression> },
    /// `#(...)` and `#(...)#`.
    Query(Query),
}

impl Default for ArrayReading {
    fn default() -> Self {
        Self::Element { position: None, next: Next::End }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) condition: Condition,
    /// A list of all elements that meet the condition, not just the first.
    pub(super) all: bool,
    /// What is picked from an element that meets the condition; the element itself when absent.
    pub(super) rest: Option<Expression>,
    pub(super) pipe: Option<Expression>,
}

#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// What is picked from an element that is an object or a list.
    pub(super) path: Expression,
    /// Whether an element that is neither is tested itself; otherwise it never meets the condition.
    pub(super) of_scalars: bool,
    pub(super) test: Test,
}
