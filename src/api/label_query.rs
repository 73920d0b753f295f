//! Parses label selectors of the API.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::domain::label_query::{Expression, LabelQuery, Malformed, Selector};

/// Parses a selector of a resource.
///
/// # Errors
/// A selector that the API server would reject.
pub fn parse(selector: &LabelSelector) -> Result<LabelQuery, Malformed> {
    let expressions = selector.match_expressions.iter().flatten();
    LabelQuery::parse(&Selector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: expressions
            .map(|expression| Expression {
                key: expression.key.clone(),
                operator: expression.operator.clone(),
                values: expression.values.clone().unwrap_or_default(),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::{Selector as OfKube, SelectorExt};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_matched_and_how_it_is_asked_for_is_what_kube_makes_of_it() {
        let labels = [json!({}), json!({ "a": "1" }), json!({ "a": "2", "b": "x" }), json!({ "b": "" })];
        let labels: Vec<BTreeMap<String, String>> = serde_json::from_value(json!(labels)).unwrap();
        for selector in [
            json!({}),
            json!({ "matchLabels": { "a": "1", "b": "x" } }),
            json!({ "matchExpressions": [{ "key": "a", "operator": "In", "values": ["2", "1"] }] }),
            json!({ "matchExpressions": [{ "key": "a", "operator": "NotIn", "values": ["1"] }] }),
            json!({ "matchExpressions": [{ "key": "b", "operator": "Exists" }] }),
            json!({ "matchLabels": { "a": "1" }, "matchExpressions": [{ "key": "b", "operator": "DoesNotExist" }] }),
        ] {
            let selector: LabelSelector = serde_json::from_value(selector).unwrap();
            let (ours, theirs) = (parse(&selector).unwrap(), OfKube::try_from(selector).unwrap());
            assert_eq!(ours.to_string(), theirs.to_string());
            for labels in &labels {
                assert_eq!(ours.matches(labels), theirs.matches(labels), "{ours} {labels:?}");
            }
        }
    }
}
