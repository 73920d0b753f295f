//! The test in a query: an operator and what it compares with.

use zeroize::Zeroizing;

use super::pattern::Pattern;
use super::scan::{Kind, between_quotes, kind_of};
use super::unescape::unescape;

#[derive(Debug, Clone)]
pub(super) enum Test {
    /// No operator: any value will do.
    Exists,
    /// Never met: an operator or a `~` word that gjson does not know.
    Never,
    /// The value itself is compared.
    Compare(Operator, Operand),
    /// The value is made a boolean first.
    Truth(Operator, Truth),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    NotLike,
}

/// What stands behind the operator, ready for each type of value that it may meet.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    text: String,
    number: f64,
    pattern: Pattern,
}

/// How `~` makes a boolean of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Null,
    Any,
}

/// The longer operators come first. `=` and `==` mean the same.
const OPERATORS: [(&str, Operator); 9] = [
    ("!=", Operator::NotEqual),
    ("!%", Operator::NotLike),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("%", Operator::Like),
];

impl Test {
    /// Reads an operator and its operand, which may be quoted; the empty text tests nothing.
    ///
    /// gjson undoes the escapes of a quoted operand only when the query, its path included, has an
    /// escape between quotes. It takes a `!` that does not start an operator for no operator at
    /// all, unless it stands alone.
    pub(super) fn parse(text: &str, escaped: bool) -> Self {
        let operator = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)));
        match operator {
            Some((operator, operand)) => Self::with_operand(operator, operand, escaped),
            None if text == "!" => Self::Never,
            None => Self::Exists,
        }
    }

    fn with_operand(operator: Operator, operand: &str, escaped: bool) -> Self {
        let operand = trim(operand);
        let quoted = operand.strip_prefix('"').and_then(|open| open.strip_suffix('"'));
        let text = match quoted {
            Some(inner) if escaped => unescape(inner).to_string(),
            Some(inner) => inner.to_owned(),
            None => operand.to_owned(),
        };
        match text.strip_prefix('~').map(Truth::named) {
            Some(Some(truth)) => Self::Truth(operator, truth),
            Some(None) => Self::Never,
            None => Self::Compare(operator, Operand::new(text)),
        }
    }

    /// Whether a raw value, or the absence of one, passes.
    pub(super) fn accepts(&self, value: Option<&str>) -> bool {
        match self {
            Self::Exists => value.is_some(),
            Self::Never => false,
            Self::Compare(operator, operand) => value.is_some_and(|value| operand.compares(*operator, value)),
            Self::Truth(operator, truth) => operator.holds_between_true_and(truth.of(value)),
        }
    }
}

/// Without the white space and control characters around it, as gjson trims in queries.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|character| character <= ' ')
}

impl Operand {
    fn new(text: String) -> Self {
        Self { number: number(&text), pattern: Pattern::new(&text), text }
    }

    /// Null, objects and lists compare with nothing, not even as different.
    fn compares(&self, operator: Operator, value: &str) -> bool {
        match kind_of(value) {
            Kind::String => self.compares_text(operator, &text_of(value)),
            Kind::Number => operator.holds(&number(value), &self.number),
            Kind::True => self.compares_true(operator),
            Kind::False => self.compares_false(operator),
            Kind::Null | Kind::Object | Kind::Array => false,
        }
    }

    fn compares_text(&self, operator: Operator, value: &str) -> bool {
        match operator {
            Operator::Like => self.pattern.matches(value),
            Operator::NotLike => !self.pattern.matches(value),
            _ => operator.holds(value, &self.text),
        }
    }

    /// True is greater than false; gjson does not compare it as less.
    fn compares_true(&self, operator: Operator) -> bool {
        match operator {
            Operator::Equal => self.text == "true",
            Operator::NotEqual => self.text != "true",
            Operator::Greater => self.text == "false",
            Operator::GreaterOrEqual => true,
            Operator::Less | Operator::LessOrEqual | Operator::Like | Operator::NotLike => false,
        }
    }

    /// False is less than true; gjson does not compare it as greater.
    fn compares_false(&self, operator: Operator) -> bool {
        match operator {
            Operator::Equal => self.text == "false",
            Operator::NotEqual => self.text != "false",
            Operator::Less => self.text == "true",
            Operator::LessOrEqual => true,
            Operator::Greater | Operator::GreaterOrEqual | Operator::Like | Operator::NotLike => false,
        }
    }
}

impl Operator {
    /// Compares in the order of the type; patterns hold between nothing.
    fn holds<T: PartialOrd + ?Sized>(self, value: &T, operand: &T) -> bool {
        match self {
            Self::Equal => value == operand,
            Self::NotEqual => value != operand,
            Self::Less => value < operand,
            Self::LessOrEqual => value <= operand,
            Self::Greater => value > operand,
            Self::GreaterOrEqual => value >= operand,
            Self::Like | Self::NotLike => false,
        }
    }

    /// A `~` word compares its boolean with true: only false is less, and nothing is greater.
    fn holds_between_true_and(self, value: bool) -> bool {
        match self {
            Self::Equal | Self::GreaterOrEqual => value,
            Self::NotEqual | Self::Less | Self::LessOrEqual => !value,
            Self::Greater | Self::Like | Self::NotLike => false,
        }
    }
}

impl Truth {
    fn named(word: &str) -> Option<Self> {
        match word {
            "true" => Some(Self::True),
            "false" => Some(Self::False),
            "null" => Some(Self::Null),
            "*" => Some(Self::Any),
            _ => None,
        }
    }

    fn of(self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Any, value) => value.is_some(),
            (Self::True, None) => false,
            (Self::False | Self::Null, None) => true,
            (Self::Null, Some(value)) => kind_of(value) == Kind::Null,
            (Self::True, Some(value)) => truth_of(value) == Some(true),
            (Self::False, Some(value)) => truth_of(value) == Some(false),
        }
    }
}

/// What a value says about truth; objects, lists and most strings say nothing.
fn truth_of(value: &str) -> Option<bool> {
    match kind_of(value) {
        Kind::True => Some(true),
        Kind::False | Kind::Null => Some(false),
        Kind::Number => Some(number(value) != 0.0),
        Kind::String => truth_of_text(&text_of(value)),
        Kind::Object | Kind::Array => None,
    }
}

fn truth_of_text(text: &str) -> Option<bool> {
    let says = |words: [&str; 3]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if says(["1", "t", "true"]) {
        Some(true)
    } else if says(["0", "f", "false"]) {
        Some(false)
    } else {
        None
    }
}

fn text_of(string: &str) -> Zeroizing<String> {
    unescape(between_quotes(string))
}

/// The nearest float, for comparisons only. As for gjson, text that is no number counts as zero,
/// and one that is out of range as infinite.
fn number(text: &str) -> f64 {
    let digits = without_separators(text);
    let number = digits.as_deref().unwrap_or(text).parse().unwrap_or(0.0_f64);
    // Rust reads a sign before `nan`, Go does not.
    if number.is_nan() && text.len() > "nan".len() { 0.0 } else { number }
}

/// Without the `_` that Go allows between two digits, when it holds some and all stand so.
fn without_separators(text: &str) -> Option<String> {
    let digit_at = |position: Option<usize>| {
        position.and_then(|position| text.as_bytes().get(position)).is_some_and(u8::is_ascii_digit)
    };
    let mut separators = text.match_indices('_').map(|(position, _)| position).peekable();
    separators.peek()?;
    separators
        .all(|position| digit_at(position.checked_sub(1)) && digit_at(position.checked_add(1)))
        .then(|| text.replace('_', ""))
}
