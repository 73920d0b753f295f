//! Label selectors, parsed: what they match, and how the API server is asked for it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use thiserror::Error;

/// A label selector that can be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelQuery(Selector);

/// Why a label selector says nothing. Labels are not secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelQueryError {
    /// An operator that is none, or with values where it takes none.
    #[error("an expression is malformed: use In and NotIn with values, or Exists and DoesNotExist without any")]
    Expression,
    /// No label can be called so.
    #[error(
        "{0:?} is no key of a label: use at most 63 letters, digits, `-`, `_` and `.`, perhaps after a domain and a slash"
    )]
    Key(String),
    /// No label can have this value.
    #[error("{0:?} is no value of a label: use at most 63 letters, digits, `-`, `_` and `.`")]
    Value(String),
}

impl LabelQuery {
    /// Parses a selector. One that says nothing matches everything, as everywhere in Kubernetes.
    ///
    /// # Errors
    /// What the API server would refuse to be asked for.
    pub fn parse(selector: &LabelSelector) -> Result<Self, LabelQueryError> {
        let expressions = selector.match_expressions.iter().flatten();
        let keys = expressions.clone().map(|expression| &expression.key);
        let values = expressions.flat_map(|expression| expression.values.iter().flatten());
        let labels = selector.match_labels.iter().flatten();
        if let Some(key) = keys.chain(labels.clone().map(|(key, _)| key)).find(|key| !is_key(key)) {
            return Err(LabelQueryError::Key(key.clone()));
        }
        if let Some(value) = values.chain(labels.map(|(_, value)| value)).find(|value| !is_value(value)) {
            return Err(LabelQueryError::Value(value.clone()));
        }
        selector.clone().try_into().map(LabelQuery).map_err(|_quotes_it| LabelQueryError::Expression)
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

/// As the API server is asked, and as people read it: `team=shop,tier in (1,2)`.
impl fmt::Display for LabelQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_key(key: &str) -> bool {
    let (domain, name) = key.rsplit_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        (1..=253).contains(&domain.len()) && domain.chars().all(legal)
    };
    domain.is_none_or(is_domain) && !name.is_empty() && is_value(name)
}

fn is_value(value: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let legal = |c: char| is_end(c) || "-_.".contains(c);
    value.is_empty()
        || value.len() <= 63 && value.chars().all(legal) && value.starts_with(is_end) && value.ends_with(is_end)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(selector: Value) -> Result<LabelQuery, LabelQueryError> {
        LabelQuery::parse(&serde_json::from_value(selector).unwrap())
    }

    #[test]
    fn labels_and_expressions_add_up() {
        let query = parse(json!({
            "matchLabels": { "team": "shop" },
            "matchExpressions": [{ "key": "example.com/tier", "operator": "In", "values": ["1", "2"] }],
        }));
        let query = query.unwrap();
        let labels = |tier: &str| {
            BTreeMap::from([("team".to_owned(), "shop".to_owned()), ("example.com/tier".to_owned(), tier.to_owned())])
        };
        assert!(query.matches(&labels("2")) && !query.matches(&labels("3")) && !query.matches(&BTreeMap::new()));
        assert!(query.to_string().contains("team=shop"), "{query}");
        assert!(parse(json!({})).unwrap().matches(&BTreeMap::new()));
    }

    #[test]
    fn a_malformed_selector_is_told_apart() {
        let expression = |operator: &str| json!({ "matchExpressions": [{ "key": "team", "operator": operator }] });
        assert_eq!(parse(expression("Near")), Err(LabelQueryError::Expression));
        assert_eq!(parse(json!({ "matchLabels": { "te am": "x" } })), Err(LabelQueryError::Key("te am".into())));
        assert_eq!(parse(json!({ "matchLabels": { "a/b/c": "x" } })), Err(LabelQueryError::Key("a/b/c".into())));
        assert_eq!(parse(json!({ "matchLabels": { "team": "-x" } })), Err(LabelQueryError::Value("-x".into())));
    }
}
