//! The namespaces of a fan-out: several label selectors, of which any may match.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use thiserror::Error;

use crate::api::label_query;
use crate::domain::label_query::{LabelQuery, Malformed};

/// Label selectors of which any may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<LabelQuery>);

/// A malformed selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("spec.namespaceSelectors[{index}].{malformed}")]
pub struct SelectorError {
    pub index: usize,
    pub malformed: Malformed,
}

impl Selection {
    /// Parses all selectors. An empty list selects nothing, an empty selector everything.
    ///
    /// # Errors
    /// The first malformed selector: the others alone would select something else than was meant.
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
