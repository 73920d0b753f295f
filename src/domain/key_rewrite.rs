//! Selects keys of a source and rewrites them, by regular expressions over keys, never over values.

use regex::Regex;
use thiserror::Error;

use super::braces;
use super::expansion::{Expansion, OverLimit};
use super::expression::{NoExpression, compile};
use super::path::MAX_BYTES;

/// A rewrite makes a key longer than any path may be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("rewrite[{step}] makes key {key:?} longer than {MAX_BYTES} bytes: shorten its replacement, or match less")]
pub struct TooLong {
    /// The index of the rewrite, from 0.
    pub step: usize,
    /// The key of the source.
    pub key: String,
}

/// The keys that an expression matches anywhere; without one, all.
#[derive(Clone, Debug, Default)]
pub struct KeyMatch(Option<Regex>);

/// Rewrites of a key, applied in order.
#[derive(Clone, Debug, Default)]
pub struct KeyRewrite(Vec<KeyChange>);

/// One rewrite of a key.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// Every match is replaced.
    Replace(Regex, String),
    /// The concatenation of these parts.
    Template(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Plain text.
    Fixed(String),
    /// The key before the rewrite.
    Key,
}

/// A template that has more than the key between braces. It needs the template language, which we
/// do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoreThanTheKey;

impl KeyMatch {
    /// Parses an expression; an empty one is none.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub fn parse(expression: Option<&str>) -> Result<Self, NoExpression> {
        expression.filter(|text| !text.is_empty()).map(compile).transpose().map(KeyMatch)
    }

    /// Whether a key matches.
    pub fn is_match(&self, key: &str) -> bool {
        self.0.as_ref().is_none_or(|regex| regex.is_match(key))
    }
}

impl KeyChange {
    /// Replaces what `source` matches. `$1` and `${name}` in the target are groups of the source.
    ///
    /// # Errors
    /// A source that cannot be compiled.
    pub fn replace(source: &str, target: &str) -> Result<Self, NoExpression> {
        Ok(KeyChange::Replace(compile(source)?, target.to_owned()))
    }

    /// Renders a key from a template in which `{{ .value }}` is the key. That part of the language
    /// is the same in every engine.
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

    fn apply(&self, key: &str) -> Result<String, OverLimit> {
        let mut text = Expansion::within(MAX_BYTES);
        match self {
            KeyChange::Replace(source, target) => {
                let (mut put_in, mut after) = (String::new(), 0);
                for groups in source.captures_iter(key) {
                    let found = groups.get_match();
                    text.push(&key[after..found.start()])?;
                    put_in.clear();
                    // The text of one match: at most as long as the target with a key of the
                    // maximum length for each of its groups.
                    groups.expand(target, &mut put_in);
                    text.push(&put_in)?;
                    after = found.end();
                }
                text.push(&key[after..])?;
            }
            KeyChange::Template(parts) => {
                for part in parts {
                    text.push(match part {
                        Part::Fixed(text) => text,
                        Part::Key => key,
                    })?;
                }
            }
        }
        Ok(text.finish())
    }
}

impl KeyRewrite {
    /// Applies these rewrites in order.
    pub const fn new(changes: Vec<KeyChange>) -> Self {
        KeyRewrite(changes)
    }

    /// The rewritten key.
    ///
    /// # Errors
    /// [`TooLong`] for the first rewrite whose result is longer than a path may be.
    pub fn apply(&self, key: &str) -> Result<String, TooLong> {
        let mut name = key.to_owned();
        for (step, change) in self.0.iter().enumerate() {
            name = change.apply(&name).map_err(|OverLimit| TooLong { step, key: key.to_owned() })?;
        }
        Ok(name)
    }
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
        assert_eq!(KeyMatch::parse(Some("(")).err(), Some(NoExpression("(".into())));
    }

    #[test]
    fn replacements_follow_each_other_and_know_groups() {
        let rewrite = |list: &[(&str, &str)], key: &str| {
            let changes = list.iter().map(|(source, target)| KeyChange::replace(source, target).unwrap());
            KeyRewrite::new(changes.collect()).apply(key).unwrap()
        };
        assert_eq!(rewrite(&[("^db-(.*)$", "apps/shop/$1"), ("_", "-")], "db-user_name"), "apps/shop/user-name");
        assert_eq!(rewrite(&[("(?P<last>.)$", "${last}${last}")], "ab"), "abb");
        assert_eq!(rewrite(&[], "ab"), "ab");
    }

    /// Each of these rewrites multiplies its input: without a limit for each, a handful of them
    /// exhausts memory. So the first one whose result is too long is refused.
    #[test]
    fn no_change_makes_more_of_a_key_than_a_path_has() {
        let replace = |source: &str, target: &str| KeyChange::replace(source, target).unwrap();
        let bombs = [
            (1, replace(".", &"$0".repeat(512))),
            (2, replace("^", &"x".repeat(300))),
            (1, replace("(.*)", &"$1".repeat(512))),
            (1, KeyChange::template(&"{{.value}}".repeat(300)).unwrap()),
            (1, KeyChange::template(&"x".repeat(600)).unwrap()),
        ];
        for (index, (step, bomb)) in bombs.into_iter().enumerate() {
            let harmless = replace("^nothing$", "");
            let rewrite = KeyRewrite::new([vec![harmless], vec![bomb; 30]].concat());
            let told = rewrite.apply("password").unwrap_err();
            assert_eq!(told.step, step, "bomb {index}");
            assert!(told.to_string().starts_with("rewrite["), "bomb {index}: {told}");
        }
        let fits = KeyRewrite::new(vec![replace("^", &"x".repeat(MAX_BYTES - 1))]);
        assert_eq!(fits.apply("a").map(|name| name.len()), Ok(MAX_BYTES));
    }

    proptest::proptest! {
        #[test]
        fn a_replacement_is_the_librarys_own_where_it_fits(source in "[a-c.*+?()|^$]{0,6}", target in "[a-c$0-9{}]{0,6}", key in "[a-c]{0,8}") {
            if let Ok(change) = KeyChange::replace(&source, &target) {
                let whole = regex::Regex::new(&source).unwrap().replace_all(&key, target.as_str()).into_owned();
                proptest::prop_assert_eq!(change.apply(&key), Ok(whole));
            }
        }
    }

    #[test]
    fn a_template_puts_text_around_the_key_and_is_no_language() {
        let change = KeyChange::template("apps/{{ .value }}/{{.value}}-x").unwrap();
        let upper = KeyChange::replace("x$", "y").unwrap();
        assert_eq!(KeyRewrite::new(vec![change, upper]).apply("db").unwrap(), "apps/db/db-y");
        for more in ["{{ .value | upper }}", "{{- .value -}}", "{{ .key }}", "{{ .value", "{{ }}"] {
            assert_eq!(KeyChange::template(more).err(), Some(MoreThanTheKey), "{more}");
        }
    }
}
