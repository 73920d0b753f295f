//! Compiles the regular expressions of manifests, all of them here, so that each has the same bound.

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// The memory, in bytes, that one compiled expression may take, and that its search may cache. Each `\w` takes some thirty
/// kibibytes, for the letters of all languages.
const MAX_MEMORY: usize = 256 * 1024;

/// A text that is no regular expression, or too large a one. It is shown, being part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no regular expression, or too large a one: use RE2's syntax, without look-around and back-references, and small repetition counts"
)]
pub struct NoExpression(pub String);

/// Compiles an expression of RE2's syntax.
///
/// # Errors
/// [`NoExpression`].
pub fn compile(text: &str) -> Result<Regex, NoExpression> {
    let built = RegexBuilder::new(text).size_limit(MAX_MEMORY).dfa_size_limit(MAX_MEMORY).build();
    built.map_err(|_says_the_same| NoExpression(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_expressions_compile_and_huge_ones_do_not() {
        for usual in [r"team-\w+", r"[a-z]+-\d{2,5}", r".*-(prod|stage|test)", r"(?i)TEAM-\S+", r"\w+-\w+-\w+"] {
            assert!(compile(usual).is_ok(), "{usual}");
        }
        for wrong in ["(", "a(?=b)", r"(a)\1", "(a{1000}){1000}", r"\w{200}", "[a-z]{1,9999}"] {
            assert_eq!(compile(wrong).err(), Some(NoExpression(wrong.to_owned())));
        }
    }
}
