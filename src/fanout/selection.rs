//! The namespaces that a fan-out selects: several label selectors, of which one has to match.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use thiserror::Error;

use crate::api::label_query;
use crate::domain::label_query::{LabelQuery, Malformed};

/// Selectors of which one has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<LabelQuery>);

/// A selector that is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("spec.namespaceSelectors[{index}].{malformed}")]
pub struct SelectorError {
    pub index: usize,
    pub malformed: Malformed,
}

impl Selection {
    /// Parses all selectors. None at all select nothing, and an empty one selects everything.
    ///
    /// # Errors
    /// The first that is malformed: without it the others would select something else than was meant.
    pub fn parse(selectors: &[LabelSelector]) -> Result<Self, SelectorError> {
        let parse =
            |(index, selector)| label_query::parse(selector).map_err(|malformed| SelectorError { index, malformed });
        selectors.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Selection)
    }

    /// Whether any of them matches.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().any(|query| query.matches(labels))
    }
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
    fn sc4_a_malformed_selector_is_named() {
        let error = parse(json!([{}, { "matchExpressions": [{ "key": "a", "operator": "Matches" }] }])).unwrap_err();
        assert!(error.starts_with("spec.namespaceSelectors[1].matchExpressions[0].operator \"Matches\""), "{error}");
    }
}
