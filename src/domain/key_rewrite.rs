//! Which keys of a source are meant, and what they are called elsewhere: regular expressions over names, never over values.

use regex::Regex;
use thiserror::Error;

/// An expression that cannot be compiled. It is shown, being part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no regular expression: use RE2's syntax, without look-around and back-references")]
pub struct NoRegexp(String);

/// The keys that an expression matches somewhere; without one, all.
#[derive(Clone, Debug, Default)]
pub struct KeyMatch(Option<Regex>);

/// Replacements, one after the other, each of every match.
#[derive(Clone, Debug, Default)]
pub struct KeyRewrite(Vec<(Regex, String)>);

impl KeyMatch {
    /// Parses an expression; an empty one is none.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub fn parse(expression: Option<&str>) -> Result<Self, NoRegexp> {
        expression.filter(|text| !text.is_empty()).map(compile).transpose().map(KeyMatch)
    }

    /// Whether a key is meant.
    pub fn is_match(&self, key: &str) -> bool {
        self.0.as_ref().is_none_or(|regex| regex.is_match(key))
    }
}

impl KeyRewrite {
    /// Parses replacements. `$1` and `${name}` in a target stand for groups of its source.
    ///
    /// # Errors
    /// A source that cannot be compiled.
    pub fn parse<'a>(replacements: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, NoRegexp> {
        replacements
            .map(|(source, target)| Ok((compile(source)?, target.to_owned())))
            .collect::<Result<_, _>>()
            .map(KeyRewrite)
    }

    /// The key's other name.
    pub fn apply(&self, key: &str) -> String {
        self.0.iter().fold(key.to_owned(), |key, (source, target)| source.replace_all(&key, target).into_owned())
    }
}

fn compile(text: &str) -> Result<Regex, NoRegexp> {
    Regex::new(text).map_err(|_says_the_same| NoRegexp(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_anywhere_in_the_key_and_none_means_all() {
        let matches = |expression, key| KeyMatch::parse(expression).unwrap().is_match(key);
        assert!(matches(Some("^db-"), "db-user") && matches(Some("user"), "db-user"));
        assert!(!matches(Some("^user"), "db-user"));
        assert!(matches(None, "x") && matches(Some(""), "x"));
        assert_eq!(KeyMatch::parse(Some("(")).err(), Some(NoRegexp("(".into())));
    }

    #[test]
    fn replacements_follow_each_other_and_know_groups() {
        let rewrite = |list: &[(&str, &str)], key: &str| KeyRewrite::parse(list.iter().copied()).unwrap().apply(key);
        assert_eq!(rewrite(&[("^db-(.*)$", "apps/shop/$1"), ("_", "-")], "db-user_name"), "apps/shop/user-name");
        assert_eq!(rewrite(&[("(?P<last>.)$", "${last}${last}")], "ab"), "abb");
        assert_eq!(rewrite(&[], "ab"), "ab");
    }
}
