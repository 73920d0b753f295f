//! Regular expressions for names of namespaces. They match the whole name: `team-a` must not match
//! `evil-team-a2`.

use waypost_template::expression::Expression;

use super::expression::{NoExpression, compile};

/// An expression that matches whole names.
#[derive(Clone, Debug)]
pub struct WholeName(Expression);

impl WholeName {
    /// Compiles an expression of RE2's syntax.
    ///
    /// # Errors
    /// [`NoExpression`].
    pub fn parse(pattern: &str) -> Result<Self, NoExpression> {
        // Also compiled alone: `a)|(b` would close the group around it, and match a part of a name.
        let whole = compile(pattern).and_then(|_part| compile(&format!("^(?:{pattern})$")));
        whole.map(WholeName).map_err(|_of_the_whole| NoExpression(pattern.to_owned()))
    }

    /// Whether it matches the whole name.
    pub fn is_match(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rf1_a_name_is_matched_whole_and_what_is_no_expression_or_a_huge_one_is_refused() {
        let either = WholeName::parse("team-a|b").unwrap();
        assert!(either.is_match("team-a") && either.is_match("b"));
        for other in ["evil-team-a2", "team-a2", "ab", "team-a\nb"] {
            assert!(!either.is_match(other), "{other}");
        }
        for usual in [r"team-\w+", r"[a-z]+-\d{2,5}", r".*-(prod|stage|test)", r"(?i)TEAM-\S+", r"\w+-\w+-\w+"] {
            assert!(WholeName::parse(usual).is_ok(), "{usual}");
        }
        let word = WholeName::parse(r"team-\w+").unwrap();
        assert!(word.is_match("team-a") && !word.is_match("team-é"));
        for wrong in ["(", "(a{1000}){1000}", "a)|(b", r"\Qa"] {
            assert_eq!(WholeName::parse(wrong).err(), Some(NoExpression(wrong.to_owned())));
        }
    }
}
