//! Selects keys of a source and rewrites them, by regular expressions over keys, never over values.

use thiserror::Error;
use waypost_template::expression::{Expression, Part};
use waypost_template::{Budget, Data, Fault, Template};

use super::expansion::{Expansion, OverLimit};
use super::expression::{NoExpression, compile};
use super::path::MAX_BYTES;

/// What a template may cost for one key.
const BUDGET: Budget = Budget { steps: 2_000, output: MAX_BYTES, work: 16 * 1024, depth: 16 };

/// Why a key cannot be rewritten. It names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RewriteFault {
    /// The result is longer than any path may be.
    #[error("rewrite[{step}] makes key {key:?} longer than {MAX_BYTES} bytes: shorten its replacement, or match less")]
    TooLong {
        /// The index of the rewrite, from 0.
        step: usize,
        /// The key of the source.
        key: String,
    },
    /// A template fails.
    #[error("rewrite[{step}].transform.template fails for key {key:?}: {fault}")]
    Template {
        /// The index of the rewrite, from 0.
        step: usize,
        /// The key of the source.
        key: String,
        /// Where in the template, and what.
        fault: Box<Fault>,
    },
    /// A template makes what is no text.
    #[error("rewrite[{step}].transform.template makes of key {key:?} what is not UTF-8 text: render a name")]
    NotText {
        /// The index of the rewrite, from 0.
        step: usize,
        /// The key of the source.
        key: String,
    },
}

/// The keys that an expression matches anywhere; without one, all.
#[derive(Clone, Debug, Default)]
pub struct KeyMatch(Option<Expression>);

/// Rewrites of a key, applied in order.
#[derive(Clone, Debug, Default)]
pub struct KeyRewrite(Vec<KeyChange>);

/// One rewrite of a key.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// Every match is replaced.
    Replace(Expression, String),
    /// What the template renders, in which `.value` is the key.
    Template(Template),
}

/// Why one rewrite of one key fails.
enum Failed {
    TooLong,
    Template(Box<Fault>),
    NotText,
}

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
        self.0.as_ref().is_none_or(|expression| expression.is_match(key))
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

    /// Renders a key from a template, in which `.value` is the key.
    ///
    /// # Errors
    /// The text is no template.
    pub fn template(text: &str) -> Result<Self, Fault> {
        Template::parse(text).map(KeyChange::Template)
    }

    /// The key after this rewrite, which has this index.
    ///
    /// # Errors
    /// [`RewriteFault`].
    pub fn rewrite(&self, step: usize, key: &str) -> Result<String, RewriteFault> {
        self.apply(key).map_err(|failed| {
            let key = key.to_owned();
            match failed {
                Failed::TooLong => RewriteFault::TooLong { step, key },
                Failed::Template(fault) => RewriteFault::Template { step, key, fault },
                Failed::NotText => RewriteFault::NotText { step, key },
            }
        })
    }

    fn apply(&self, key: &str) -> Result<String, Failed> {
        match self {
            KeyChange::Replace(source, target) => replaced(source, target, key).map_err(|OverLimit| Failed::TooLong),
            KeyChange::Template(template) => {
                let data = Data::of([("value", key.as_bytes())]);
                let rendered = template.render(&data, BUDGET).map_err(|fault| Failed::Template(Box::new(fault)))?;
                String::from_utf8(rendered.to_vec()).map_err(|_no_text| Failed::NotText)
            }
        }
    }
}

fn replaced(source: &Expression, target: &str, key: &str) -> Result<String, OverLimit> {
    let parts = source.parts(target.as_bytes());
    let (mut text, mut after) = (Expansion::within(MAX_BYTES), 0);
    for groups in source.regex().captures_iter(key) {
        let found = groups.get_match();
        text.push(&key[after..found.start()])?;
        for part in &parts {
            text.push(match part {
                Part::Text(range) => &target[range.clone()],
                Part::Groups(numbers) => {
                    numbers.iter().find_map(|number| groups.get(*number)).map_or("", |group| group.as_str())
                }
            })?;
        }
        after = found.end();
    }
    text.push(&key[after..])?;
    Ok(text.finish())
}

impl KeyRewrite {
    /// Applies these rewrites in order.
    pub const fn new(changes: Vec<KeyChange>) -> Self {
        KeyRewrite(changes)
    }

    /// The rewritten key.
    ///
    /// # Errors
    /// [`RewriteFault`] of the first rewrite that fails.
    pub fn apply(&self, key: &str) -> Result<String, RewriteFault> {
        let mut name = key.to_owned();
        for (step, change) in self.0.iter().enumerate() {
            name = change.rewrite(step, &name)?;
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

    /// As in External Secrets Operator, where the same manifest makes the same keys.
    #[test]
    fn an_expression_and_its_replacement_mean_what_they_mean_in_go() {
        let rewrite =
            |source: &str, target: &str, key: &str| KeyChange::replace(source, target).unwrap().rewrite(0, key);
        for (source, target, key, makes) in [
            (r"\w", "x", "aé1", "xéx"),
            (r"\W+", "-", "clé d'API", "cl-d-API"),
            (r"\d", "#", "1٣", "#٣"),
            (r"\bb", "x", "éb b", "éx x"),
            ("(?P<n>a)|(?P<n>b)", "<$n>", "ab", "<a><b>"),
            ("(.)", "$1é", "ab", ""),
            ("(.)", "${01}", "ab", ""),
        ] {
            assert_eq!(rewrite(source, target, key).as_deref(), Ok(makes), "{source} {target}");
        }
        let matches = |expression, key| KeyMatch::parse(Some(expression)).unwrap().is_match(key);
        assert!(matches(r"^\w+$", "user") && !matches(r"^\w+$", "clé"));
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
            let told = rewrite.apply("password").unwrap_err().to_string();
            assert!(told.starts_with(&format!("rewrite[{step}]")), "bomb {index}: {told}");
        }
        let fits = KeyRewrite::new(vec![replace("^", &"x".repeat(MAX_BYTES - 1))]);
        assert_eq!(fits.apply("a").map(|name| name.len()), Ok(MAX_BYTES));
    }

    proptest::proptest! {
        #[test]
        fn a_replacement_is_the_librarys_own_where_it_fits(source in "[a-c.*+?()|^$]{0,6}", target in "[a-c$1-3{}]{0,6}", key in "[a-c]{0,8}") {
            // Go has no group whose name is not a word, and takes the text as it is.
            let is_odd = regex::Regex::new(r"\$\{([a-c1-3]*[^a-c1-3}][^}]*)?\}").unwrap().is_match(&target);
            proptest::prop_assume!(!is_odd);
            if let Ok(change) = KeyChange::replace(&source, &target) {
                let whole = regex::Regex::new(&source).unwrap().replace_all(&key, target.as_str()).into_owned();
                proptest::prop_assert_eq!(change.rewrite(0, &key), Ok(whole));
            }
        }
    }

    #[test]
    fn a_template_has_the_key_and_all_functions_and_costs_little() {
        let rewritten = |template: &str, key: &str| KeyChange::template(template).unwrap().rewrite(3, key);
        assert_eq!(rewritten("apps/{{ .value }}/{{.value}}-x", "db").as_deref(), Ok("apps/db/db-x"));
        assert_eq!(rewritten(r#"{{ .value | trimPrefix "db-" | upper }}"#, "db-user").as_deref(), Ok("USER"));
        let told = |template: &str| rewritten(template, "db").unwrap_err().to_string();
        let missing = told("{{ .key }}");
        assert!(missing.starts_with("rewrite[3].transform.template fails for key \"db\": line 1"), "{missing}");
        assert!(told(r#"{{ "_w==" | replace "_" "/" | b64dec }}"#).contains("not UTF-8 text"));
        assert!(told("{{ range until 100000 }}{{ end }}").contains("steps"));
        for wrong in ["{{ .value", "{{ }}", "{{ .value | nope }}", "{{ end }}"] {
            assert!(KeyChange::template(wrong).is_err(), "{wrong}");
        }
    }
}
