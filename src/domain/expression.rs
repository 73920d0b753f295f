//! Regular expressions of manifests, with an error that shows them: Go's syntax, each with the same
//! bound.

use thiserror::Error;
use waypost_template::expression::Expression;

/// A text that is not a regular expression, or is one that is too large. It is shown, because it is
/// part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a valid regular expression, or too large: use RE2 syntax, without look-around and back-references, and small repetition counts"
)]
pub struct NoExpression(pub String);

/// Compiles an expression of Go's syntax.
///
/// # Errors
/// [`NoExpression`].
pub fn compile(text: &str) -> Result<Expression, NoExpression> {
    Expression::compile(text).map_err(|_says_the_same| NoExpression(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_expressions_compile_and_huge_ones_do_not() {
        for usual in [r"team-\w+", r"[a-z]+-\d{2,5}", r".*-(prod|stage|test)", r"(?i)TEAM-\S+", r"\w+-\w+-\w+"] {
            assert!(compile(usual).is_ok(), "{usual}");
        }
        for wrong in ["(", "a(?=b)", r"(a)\1", "(a{1000}){1000}", r"\pL{200}", "[a-z]{1,9999}"] {
            assert_eq!(compile(wrong).err(), Some(NoExpression(wrong.to_owned())));
        }
    }

    /// As in External Secrets Operator: whoever writes `\w` excludes such names there too.
    #[test]
    fn words_digits_and_spaces_are_those_of_ascii() {
        let matches = |text: &str, name: &str| compile(text).unwrap().is_match(name);
        assert!(matches(r"^\w\d\s$", "a1 ") && matches("é", "é") && matches(r"^\pL$", "é"));
        for (text, name) in
            [(r"^\w$", "é"), (r"^\d$", "٣"), (r"^\s$", "\u{a0}"), (r"^\w+\b", "éa"), ("^[[:word:]]$", "é")]
        {
            assert!(!matches(text, name), "{text} {name}");
        }
    }
}
