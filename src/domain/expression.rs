//! Compiles all regular expressions of manifests, so that each has the same bound.

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// The memory, in bytes, of one compiled expression, and of the cache of its search. Each `\w`
/// takes about 30 KiB, for the letters of all languages.
const MAX_MEMORY: usize = 256 * 1024;

/// A text that is not a regular expression, or is one that is too large. It is shown, because it is
/// part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a valid regular expression, or too large: use RE2 syntax, without look-around and back-references, and small repetition counts"
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
