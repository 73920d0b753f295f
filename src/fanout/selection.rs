//! Label selectors of namespaces, judged as the API server would judge them: it takes any text in a field of a resource.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::{Expression, Selector, SelectorExt};
use thiserror::Error;

/// The longest value of a label, and the longest name in its key.
const LONGEST_WORD: usize = 63;
/// The longest prefix of a label's key.
const LONGEST_PREFIX: usize = 253;

/// Selectors of which any may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<Selector>);

/// A selector that the API server would not take in a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("spec.namespaceSelectors[{index}].{fault}")]
pub struct SelectorError {
    /// Which selector.
    pub index: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a selector. It says where, and quotes nothing but keys and operators.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// An unknown operator.
    #[error("matchExpressions[{at}].operator {operator:?} is none: use In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// Which requirement.
        at: usize,
        /// What stands there.
        operator: String,
    },
    /// `In` or `NotIn` without values.
    #[error("matchExpressions[{at}].values is empty: {operator} needs at least one")]
    NoValues {
        /// Which requirement.
        at: usize,
        /// Its operator.
        operator: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("matchExpressions[{at}].values is not empty: {operator} takes none")]
    Values {
        /// Which requirement.
        at: usize,
        /// Its operator.
        operator: String,
    },
    /// A key that no label can have.
    #[error("{field}: {key:?} is no key of a label")]
    Key {
        /// Where it stands.
        field: String,
        /// What stands there.
        key: String,
    },
    /// A value that no label can have.
    #[error("{field}: a value is none of a label: use letters, digits, '-', '_' and '.', at most 63")]
    Value {
        /// Where it stands.
        field: String,
    },
}

impl Selection {
    /// Parses all selectors. None at all select nothing, and an empty one selects everything.
    ///
    /// # Errors
    /// The first that is malformed: as a whole they would select something else than was meant.
    pub fn parse(selectors: &[LabelSelector]) -> Result<Self, SelectorError> {
        let parsed = selectors.iter().enumerate();
        let parsed = parsed.map(|(index, selector)| parse(selector).map_err(|fault| SelectorError { index, fault }));
        Ok(Selection(parsed.collect::<Result<_, _>>()?))
    }

    /// Whether any of them matches.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().any(|selector| selector.matches(labels))
    }
}

fn parse(selector: &LabelSelector) -> Result<Selector, Fault> {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| {
        check_key("matchLabels", key)?;
        match is_value(value) {
            true => Ok(Expression::Equal(key.clone(), value.clone())),
            false => Err(Fault::Value { field: format!("matchLabels.{key}") }),
        }
    });
    let requirements = selector.match_expressions.iter().flatten().enumerate();
    labels.chain(requirements.map(|(at, requirement)| parse_requirement(at, requirement))).collect()
}

fn parse_requirement(at: usize, requirement: &LabelSelectorRequirement) -> Result<Expression, Fault> {
    let LabelSelectorRequirement { key, operator, values } = requirement;
    check_key(&format!("matchExpressions[{at}].key"), key)?;
    let values: BTreeSet<String> = values.iter().flatten().cloned().collect();
    if !values.iter().all(|value| is_value(value)) {
        return Err(Fault::Value { field: format!("matchExpressions[{at}].values") });
    }
    let (key, operator) = (key.clone(), operator.clone());
    match (operator.as_str(), values.is_empty()) {
        ("In", false) => Ok(Expression::In(key, values)),
        ("NotIn", false) => Ok(Expression::NotIn(key, values)),
        ("Exists", true) => Ok(Expression::Exists(key)),
        ("DoesNotExist", true) => Ok(Expression::DoesNotExist(key)),
        ("In" | "NotIn", true) => Err(Fault::NoValues { at, operator }),
        ("Exists" | "DoesNotExist", false) => Err(Fault::Values { at, operator }),
        (_unknown, _) => Err(Fault::Operator { at, operator }),
    }
}

fn check_key(field: &str, key: &str) -> Result<(), Fault> {
    let is_key = match key.rsplit_once('/') {
        Some((prefix, name)) => is_prefix(prefix) && !name.is_empty() && is_value(name),
        None => !key.is_empty() && is_value(key),
    };
    if is_key { Ok(()) } else { Err(Fault::Key { field: field.to_owned(), key: key.to_owned() }) }
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

    fn parse(selectors: Value) -> Result<Selection, String> {
        Selection::parse(&serde_json::from_value::<Vec<LabelSelector>>(selectors).unwrap())
            .map_err(|error| error.to_string())
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn any_selector_may_match_none_matches_nothing_and_an_empty_one_everything() {
        let either = parse(json!([{ "matchLabels": { "a": "1" } }, { "matchLabels": { "b": "1" } }])).unwrap();
        assert!(either.matches(&labels(&[("b", "1")])) && !either.matches(&labels(&[("b", "2")])));
        assert!(!parse(json!([])).unwrap().matches(&labels(&[])));
        assert!(parse(json!([{}])).unwrap().matches(&labels(&[])));
    }

    #[test]
    fn sc4_a_malformed_selector_is_named_with_what_is_wrong() {
        let requirement = |operator: &str, values: Value| json!([{}, { "matchExpressions": [{ "key": "a", "operator": operator, "values": values }] }]);
        for (selectors, says) in [
            (
                requirement("Matches", json!(["x"])),
                "spec.namespaceSelectors[1].matchExpressions[0].operator \"Matches\"",
            ),
            (requirement("NotIn", json!([])), "spec.namespaceSelectors[1].matchExpressions[0].values is empty"),
            (requirement("Exists", json!(["x"])), "values is not empty: Exists takes none"),
            (requirement("In", json!(["x y"])), "matchExpressions[0].values: a value is none of a label"),
            (json!([{ "matchLabels": { "a b": "x" } }]), "\"a b\" is no key of a label"),
            (json!([{ "matchLabels": { "A.b/c": "x" } }]), "is no key of a label"),
            (json!([{ "matchLabels": { "a": "-" } }]), "matchLabels.a: a value"),
        ] {
            let error = parse(selectors).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        for key in ["a", "kubernetes.io/metadata.name", "a-b.c/D_e.f"] {
            assert!(parse(json!([{ "matchLabels": { key: "x" } }])).is_ok(), "{key}");
        }
    }
}
