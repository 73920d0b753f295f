//! Who may use a store: its class, and the namespaces that its conditions name.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::api::store_spec::StoreCondition;
use crate::api::{StoreSpec, label_query};
use crate::domain::expression::NoExpression;
use crate::domain::label_query::{LabelQuery, Malformed};
use crate::domain::whole_name::WholeName;

/// Which stores this controller serves.
#[derive(Clone, Debug)]
pub struct Class {
    /// Our class: stores with this `spec.controller`.
    pub name: String,
    /// Stores without a class.
    pub unclassified: Unclassified,
}

/// What to do with stores without a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclassified {
    /// We serve them, as the only controller in the cluster.
    Serve,
    /// We leave them to another controller beside us.
    Leave,
}

impl Class {
    /// The class of a controller with these flags.
    pub fn new(name: &str, serves_unclassified: bool) -> Self {
        let unclassified = if serves_unclassified { Unclassified::Serve } else { Unclassified::Leave };
        Class { name: name.to_owned(), unclassified }
    }

    /// Whether a store with this `spec.controller` is ours.
    pub fn serves(&self, controller: Option<&str>) -> bool {
        match controller.unwrap_or_default() {
            "" => self.unclassified == Unclassified::Serve,
            named => named == self.name,
        }
    }
}

/// Whether a store's conditions admit a namespace whose labels are not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may use the store.
    Yes,
    /// It may not.
    No,
    /// Its labels decide.
    ByLabels,
}

/// A malformed condition of a store.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConditionError {
    /// A regular expression that cannot be compiled.
    #[error("spec.conditions[{index}].namespaceRegexes: {error}")]
    Regex {
        /// Which condition.
        index: usize,
        /// Which expression.
        error: NoExpression,
    },
    /// A selector that the API server would reject.
    #[error("spec.conditions[{index}].namespaceSelector.{malformed}")]
    Selector {
        /// Which condition.
        index: usize,
        /// What is wrong with it.
        malformed: Malformed,
    },
}

impl ConditionError {
    /// The field of the manifest.
    pub fn field(&self) -> String {
        match self {
            ConditionError::Regex { index, .. } => format!("spec.conditions[{index}].namespaceRegexes"),
            ConditionError::Selector { index, .. } => format!("spec.conditions[{index}].namespaceSelector"),
        }
    }
}

/// Checks that the conditions are well-formed.
///
/// # Errors
/// The first malformed condition.
pub fn check(conditions: &[StoreCondition]) -> Result<(), ConditionError> {
    for (index, condition) in conditions.iter().enumerate() {
        patterns(index, condition).try_for_each(|pattern| pattern.map(drop))?;
        query(index, condition)?;
    }
    Ok(())
}

fn patterns(index: usize, condition: &StoreCondition) -> impl Iterator<Item = Result<WholeName, ConditionError>> {
    let parse =
        move |pattern: &String| WholeName::parse(pattern).map_err(|error| ConditionError::Regex { index, error });
    condition.namespace_regexes.iter().map(parse)
}

fn query(index: usize, condition: &StoreCondition) -> Result<Option<LabelQuery>, ConditionError> {
    let parsed = condition.namespace_selector.as_ref().map(label_query::parse).transpose();
    parsed.map_err(|malformed| ConditionError::Selector { index, malformed })
}

/// Judges by name. Every condition, and every part of one, can admit a namespace. An empty list
/// admits all.
pub fn by_name(spec: &StoreSpec, namespace: &str) -> Result<Admission, ConditionError> {
    if spec.conditions.is_empty() {
        return Ok(Admission::Yes);
    }
    let mut admission = Admission::No;
    for (index, condition) in spec.conditions.iter().enumerate() {
        if condition.namespaces.iter().any(|name| name == namespace) {
            return Ok(Admission::Yes);
        }
        for pattern in patterns(index, condition) {
            if pattern?.is_match(namespace) {
                return Ok(Admission::Yes);
            }
        }
        if condition.namespace_selector.is_some() {
            admission = Admission::ByLabels;
        }
    }
    Ok(admission)
}

/// Judges by labels, if [`by_name`] could not decide.
pub fn by_labels(spec: &StoreSpec, labels: &BTreeMap<String, String>) -> Result<Admission, ConditionError> {
    for (index, condition) in spec.conditions.iter().enumerate() {
        if query(index, condition)?.is_some_and(|query| query.matches(labels)) {
            return Ok(Admission::Yes);
        }
    }
    Ok(Admission::No)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

    use super::*;

    fn spec(condition: StoreCondition) -> StoreSpec {
        StoreSpec { conditions: vec![condition], ..StoreSpec::default() }
    }

    #[test]
    fn a_class_serves_its_own_and_by_default_the_unnamed() {
        let class = |unclassified| Class { name: "waypost".into(), unclassified };
        assert!(class(Unclassified::Serve).serves(None));
        assert!(class(Unclassified::Serve).serves(Some("")));
        assert!(!class(Unclassified::Leave).serves(None));
        assert!(class(Unclassified::Leave).serves(Some("waypost")));
        assert!(!class(Unclassified::Serve).serves(Some("default")));
    }

    #[test]
    fn names_and_whole_regular_expressions_let_in() {
        assert_eq!(by_name(&StoreSpec::default(), "any"), Ok(Admission::Yes));
        let named = spec(StoreCondition { namespaces: vec!["team-a".into()], ..StoreCondition::default() });
        assert_eq!(by_name(&named, "team-a"), Ok(Admission::Yes));
        assert_eq!(by_name(&named, "team-b"), Ok(Admission::No));
        let regex = spec(StoreCondition { namespace_regexes: vec!["team-a|b".into()], ..StoreCondition::default() });
        assert_eq!(by_name(&regex, "team-a"), Ok(Admission::Yes));
        for outside in ["evil-team-a2", "team-a2", "ab"] {
            assert_eq!(by_name(&regex, outside), Ok(Admission::No), "{outside}");
        }
        let broken = spec(StoreCondition { namespace_regexes: vec!["(".into()], ..StoreCondition::default() });
        assert!(by_name(&broken, "x").is_err_and(|error| error.field() == "spec.conditions[0].namespaceRegexes"));
        let huge = StoreCondition { namespace_regexes: vec!["(a{1000}){1000}".into()], ..StoreCondition::default() };
        assert!(by_name(&spec(huge.clone()), "x").is_err() && check(&[huge]).is_err());
    }

    #[test]
    fn labels_decide_only_where_a_selector_is() {
        let selector = LabelSelector {
            match_labels: Some(BTreeMap::from([("team".into(), "a".into())])),
            ..LabelSelector::default()
        };
        let spec = spec(StoreCondition { namespace_selector: Some(selector), ..StoreCondition::default() });
        assert_eq!(by_name(&spec, "x"), Ok(Admission::ByLabels));
        assert_eq!(by_labels(&spec, &BTreeMap::from([("team".into(), "a".into())])), Ok(Admission::Yes));
        assert_eq!(by_labels(&spec, &BTreeMap::new()), Ok(Admission::No));
    }

    #[test]
    fn a_malformed_selector_is_told_by_its_place() {
        let team = BTreeMap::from([("te am".into(), "a".into())]);
        let selector = LabelSelector { match_labels: Some(team), ..LabelSelector::default() };
        let spec = spec(StoreCondition { namespace_selector: Some(selector), ..StoreCondition::default() });
        let error = by_labels(&spec, &BTreeMap::new()).unwrap_err();
        assert_eq!(check(&spec.conditions), Err(error.clone()));
        assert!(error.to_string().contains("conditions[0].namespaceSelector.matchLabels: \"te am\""), "{error}");
    }
}
