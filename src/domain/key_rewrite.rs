//! Which keys of a source are meant, and what they are called elsewhere: regular expressions over names, never over values.

use regex::Regex;
use thiserror::Error;

use super::braces;

/// An expression that cannot be compiled. It is shown, being part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no regular expression: use RE2's syntax, without look-around and back-references")]
pub struct NoRegexp(String);

/// The keys that an expression matches somewhere; without one, all.
#[derive(Clone, Debug, Default)]
pub struct KeyMatch(Option<Regex>);

/// Changes of a key, one after the other.
#[derive(Clone, Debug, Default)]
pub struct KeyRewrite(Vec<KeyChange>);

/// One change of a key.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// Every match is replaced.
    Replace(Regex, String),
    /// These parts, one after the other.
    Template(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What stands for itself.
    Fixed(String),
    /// The key as it was before.
    Key,
}

/// What a template has between braces and is more than the key: it takes the language that we do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoreThanTheKey;

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

impl KeyChange {
    /// Replaces what `source` matches. `$1` and `${name}` in the target stand for groups of the source.
    ///
    /// # Errors
    /// A source that cannot be compiled.
    pub fn replace(source: &str, target: &str) -> Result<Self, NoRegexp> {
        Ok(KeyChange::Replace(compile(source)?, target.to_owned()))
    }

    /// Makes a key by a template in which `{{ .value }}` stands for it. That much of the language is the same in every engine.
    ///
    /// # Errors
    /// Anything else between braces.
    pub fn template(text: &str) -> Result<Self, MoreThanTheKey> {
        let parts = braces::parts(text).map_err(|braces::Unclosed| MoreThanTheKey)?;
        let part = |part| match part {
            braces::Part::Fixed(text) => Ok(Part::Fixed(text.to_owned())),
            braces::Part::Braced(".value") => Ok(Part::Key),
            braces::Part::Braced(_other) => Err(MoreThanTheKey),
        };
        parts.into_iter().map(part).collect::<Result<_, _>>().map(KeyChange::Template)
    }

    fn apply(&self, key: &str) -> String {
        match self {
            KeyChange::Replace(source, target) => source.replace_all(key, target).into_owned(),
            KeyChange::Template(parts) => {
                let text = |part: &Part| match part {
                    Part::Fixed(text) => text.clone(),
                    Part::Key => key.to_owned(),
                };
                parts.iter().map(text).collect()
            }
        }
    }
}

impl KeyRewrite {
    /// These changes, one after the other.
    pub const fn new(changes: Vec<KeyChange>) -> Self {
        KeyRewrite(changes)
    }

    /// The key's other name.
    pub fn apply(&self, key: &str) -> String {
        self.0.iter().fold(key.to_owned(), |key, change| change.apply(&key))
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
        let rewrite = |list: &[(&str, &str)], key: &str| {
            let changes = list.iter().map(|(source, target)| KeyChange::replace(source, target).unwrap());
            KeyRewrite::new(changes.collect()).apply(key)
        };
        assert_eq!(rewrite(&[("^db-(.*)$", "apps/shop/$1"), ("_", "-")], "db-user_name"), "apps/shop/user-name");
        assert_eq!(rewrite(&[("(?P<last>.)$", "${last}${last}")], "ab"), "abb");
        assert_eq!(rewrite(&[], "ab"), "ab");
    }

    #[test]
    fn a_template_puts_text_around_the_key_and_is_no_language() {
        let change = KeyChange::template("apps/{{ .value }}/{{.value}}-x").unwrap();
        let upper = KeyChange::replace("x$", "y").unwrap();
        assert_eq!(KeyRewrite::new(vec![change, upper]).apply("db"), "apps/db/db-y");
        for more in ["{{ .value | upper }}", "{{- .value -}}", "{{ .key }}", "{{ .value", "{{ }}"] {
            assert_eq!(KeyChange::template(more).err(), Some(MoreThanTheKey), "{more}");
        }
    }
}
