//! Label selectors: parses them, says what is wrong with one, and matches labels. The rules are
//! those of the API server, which accepts any text in a field of a resource and validates it only
//! in a request for such labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest value of a label, and the longest name in its key.
const LONGEST_WORD: usize = 63;
/// The longest prefix of a label's key.
const LONGEST_PREFIX: usize = 253;

/// A label selector, as in a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Labels with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// All of these must match too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Expression>,
}

/// One expression of a selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expression {
    /// The label.
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: String,
    /// The values, for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// A parsed label selector. An empty one matches everything, as everywhere in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelQuery(Vec<Requirement>);

/// The requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Is(String),
    In(BTreeSet<String>),
    /// Also matches if the label does not exist.
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

/// Why a label selector is malformed. The text begins with the field, and quotes only keys and
/// operators.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// An unknown operator.
    #[error("matchExpressions[{at}].operator {operator:?} is not an operator: use In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// Which expression.
        at: usize,
        /// The text there.
        operator: String,
    },
    /// `In` or `NotIn` without values.
    #[error("matchExpressions[{at}].values is empty: {operator} needs at least one")]
    NoValues {
        /// Which expression.
        at: usize,
        operator: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("matchExpressions[{at}].values is not empty: {operator} takes none")]
    Values {
        /// Which expression.
        at: usize,
        operator: String,
    },
    /// A key that no label can have.
    #[error(
        "{field}: {key:?} is not a valid label key: use at most 63 letters, digits, '-', '_' and '.', optionally after a domain and a slash"
    )]
    Key {
        field: String,
        /// The text there.
        key: String,
    },
    /// A value that no label can have.
    #[error("{field}: a value is not a valid label value: use at most 63 letters, digits, '-', '_' and '.'")]
    Value { field: String },
}

impl LabelQuery {
    /// Parses a selector.
    ///
    /// # Errors
    /// [`Malformed`] where the API server would reject the selector.
    pub fn parse(selector: &Selector) -> Result<Self, Malformed> {
        let labels = selector.match_labels.iter().map(|(key, value)| {
            check_key("matchLabels", key)?;
            match is_value(value) {
                true => Ok(Requirement { key: key.clone(), test: Test::Is(value.clone()) }),
                false => Err(Malformed::Value { field: format!("matchLabels.{key}") }),
            }
        });
        let expressions = selector.match_expressions.iter().enumerate();
        labels
            .chain(expressions.map(|(at, expression)| parse_expression(at, expression)))
            .collect::<Result<_, _>>()
            .map(LabelQuery)
    }

    /// Whether it matches an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.test.holds(labels.get(&requirement.key)))
    }
}

fn parse_expression(at: usize, expression: &Expression) -> Result<Requirement, Malformed> {
    let Expression { key, operator, values } = expression;
    check_key(&format!("matchExpressions[{at}].key"), key)?;
    let values: BTreeSet<String> = values.iter().cloned().collect();
    if !values.iter().all(|value| is_value(value)) {
        return Err(Malformed::Value { field: format!("matchExpressions[{at}].values") });
    }
    let test = match (operator.as_str(), values.is_empty()) {
        ("In", false) => Ok(Test::In(values)),
        ("NotIn", false) => Ok(Test::NotIn(values)),
        ("Exists", true) => Ok(Test::Exists),
        ("DoesNotExist", true) => Ok(Test::DoesNotExist),
        ("In" | "NotIn", true) => Err(Malformed::NoValues { at, operator: operator.clone() }),
        ("Exists" | "DoesNotExist", false) => Err(Malformed::Values { at, operator: operator.clone() }),
        (_unknown, _) => Err(Malformed::Operator { at, operator: operator.clone() }),
    };
    test.map(|test| Requirement { key: key.clone(), test })
}

impl Test {
    fn holds(&self, value: Option<&String>) -> bool {
        match self {
            Test::Is(wanted) => value == Some(wanted),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

/// In the form of a request to the API server: `team=shop,tier in (1,2)`.
impl fmt::Display for LabelQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Requirement { key, test }) in self.0.iter().enumerate() {
            f.write_str(if position == 0 { "" } else { "," })?;
            let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match test {
                Test::Is(value) => write!(f, "{key}={value}")?,
                Test::In(values) => write!(f, "{key} in ({})", list(values))?,
                Test::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                Test::Exists => f.write_str(key)?,
                Test::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

fn check_key(field: &str, key: &str) -> Result<(), Malformed> {
    let is_key = match key.rsplit_once('/') {
        Some((prefix, name)) => is_prefix(prefix) && !name.is_empty() && is_value(name),
        None => !key.is_empty() && is_value(key),
    };
    if is_key { Ok(()) } else { Err(Malformed::Key { field: field.to_owned(), key: key.to_owned() }) }
}

/// A DNS subdomain.
fn is_prefix(prefix: &str) -> bool {
    let is_label = |label: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    prefix.len() <= LONGEST_PREFIX && prefix.split('.').all(is_label)
}

fn is_value(value: &str) -> bool {
    let outside = |c: char| c.is_ascii_alphanumeric();
    let inside = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    value.is_empty()
        || value.len() <= LONGEST_WORD
            && value.chars().all(inside)
            && value.starts_with(outside)
            && value.ends_with(outside)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(selector: Value) -> Result<LabelQuery, Malformed> {
        LabelQuery::parse(&serde_json::from_value(selector).unwrap())
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_and_expressions_add_up_and_none_matches_everything() {
        let query = parse(json!({
            "matchLabels": { "team": "shop" },
            "matchExpressions": [{ "key": "example.com/tier", "operator": "In", "values": ["2", "1"] }],
        }));
        let query = query.unwrap();
        assert!(query.matches(&labels(&[("team", "shop"), ("example.com/tier", "2")])));
        assert!(!query.matches(&labels(&[("team", "shop"), ("example.com/tier", "3")])));
        assert!(!query.matches(&labels(&[("example.com/tier", "2")])));
        assert_eq!(query.to_string(), "team=shop,example.com/tier in (1,2)");
        assert!(parse(json!({})).unwrap().matches(&labels(&[])));
    }

    #[test]
    fn rp1_every_operator_is_that_of_kubernetes() {
        for (operator, values, with, without, text) in [
            ("In", json!(["a", "b"]), true, false, "team in (a,b)"),
            ("NotIn", json!(["a"]), false, true, "team notin (a)"),
            ("Exists", json!([]), true, false, "team"),
            ("DoesNotExist", json!([]), false, true, "!team"),
        ] {
            let query =
                parse(json!({ "matchExpressions": [{ "key": "team", "operator": operator, "values": values }] }));
            let query = query.unwrap();
            assert_eq!(query.matches(&labels(&[("team", "a")])), with, "{operator}");
            assert_eq!(query.matches(&labels(&[])), without, "{operator}");
            assert_eq!(query.to_string(), text);
        }
    }

    #[test]
    fn sc4_a_malformed_selector_is_named_with_what_is_wrong() {
        let expression = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "a", "operator": operator, "values": values }] });
        for (selector, says) in [
            (expression("Matches", json!(["x"])), "matchExpressions[0].operator \"Matches\" is not an operator"),
            (expression("NotIn", json!([])), "matchExpressions[0].values is empty: NotIn needs"),
            (expression("Exists", json!(["x"])), "matchExpressions[0].values is not empty: Exists takes none"),
            (expression("In", json!(["x y"])), "matchExpressions[0].values: a value is not a valid label value"),
            (
                expression("In", json!(["x".repeat(64)])),
                "matchExpressions[0].values: a value is not a valid label value",
            ),
            (json!({ "matchLabels": { "a b": "x" } }), "matchLabels: \"a b\" is not a valid label key"),
            (json!({ "matchLabels": { "A.b/c": "x" } }), "is not a valid label key"),
            (json!({ "matchLabels": { "a/b/c": "x" } }), "is not a valid label key"),
            (json!({ "matchLabels": { "a/": "x" } }), "is not a valid label key"),
            (json!({ "matchLabels": { "": "x" } }), "is not a valid label key"),
            (json!({ "matchLabels": { "a": "-" } }), "matchLabels.a: a value"),
        ] {
            let error = parse(selector).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for key in ["a", "kubernetes.io/metadata.name", "a-b.c/D_e.f"] {
            assert!(parse(json!({ "matchLabels": { key: "" } })).is_ok(), "{key}");
        }
    }
}
