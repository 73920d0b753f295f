//! Who may use a store: its class, and the namespaces its conditions name.

use std::collections::BTreeMap;

use crate::api::{StoreSpec, label_query};
use crate::domain::whole_name::WholeName;

/// Which stores this controller serves.
#[derive(Clone, Debug)]
pub struct Class {
    /// Our class: stores whose `spec.controller` says so.
    pub name: String,
    /// Stores that name no class.
    pub unclassified: Unclassified,
}

/// What becomes of stores that name no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclassified {
    /// We serve them, as the only controller does.
    Serve,
    /// We leave them to another controller beside us.
    Leave,
}

impl Class {
    /// Whether a store with this `spec.controller` is ours.
    pub fn serves(&self, controller: Option<&str>) -> bool {
        match controller.unwrap_or_default() {
            "" => self.unclassified == Unclassified::Serve,
            named => named == self.name,
        }
    }
}

/// What a store's conditions say about a namespace before its labels are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may use the store.
    Yes,
    /// It may not.
    No,
    /// Its labels decide.
    ByLabels,
}

/// Judges by name. Every condition and every part of it can let a namespace in; no condition at all lets everybody in.
pub fn by_name(spec: &StoreSpec, namespace: &str) -> Result<Admission, String> {
    if spec.conditions.is_empty() {
        return Ok(Admission::Yes);
    }
    let mut admission = Admission::No;
    for (index, condition) in spec.conditions.iter().enumerate() {
        if condition.namespaces.iter().any(|name| name == namespace) {
            return Ok(Admission::Yes);
        }
        for pattern in &condition.namespace_regexes {
            let pattern = WholeName::parse(pattern);
            let pattern = pattern.map_err(|error| format!("conditions[{index}].namespaceRegexes has {error}"))?;
            if pattern.is_match(namespace) {
                return Ok(Admission::Yes);
            }
        }
        if condition.namespace_selector.is_some() {
            admission = Admission::ByLabels;
        }
    }
    Ok(admission)
}

/// Judges by labels, after [`by_name`] left it open.
pub fn by_labels(spec: &StoreSpec, labels: &BTreeMap<String, String>) -> Result<Admission, String> {
    for (index, condition) in spec.conditions.iter().enumerate() {
        let Some(selector) = &condition.namespace_selector else { continue };
        let query = label_query::parse(selector);
        let query = query.map_err(|malformed| format!("conditions[{index}].namespaceSelector.{malformed}"))?;
        if query.matches(labels) {
            return Ok(Admission::Yes);
        }
    }
    Ok(Admission::No)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

    use super::*;
    use crate::api::store_spec::StoreCondition;

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
        assert!(by_name(&broken, "x").is_err_and(|error| error.contains("conditions[0].namespaceRegexes")));
        let huge = StoreCondition { namespace_regexes: vec!["(a{1000}){1000}".into()], ..StoreCondition::default() };
        assert!(by_name(&spec(huge), "x").is_err());
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
        assert!(error.contains("conditions[0].namespaceSelector.matchLabels: \"te am\""), "{error}");
    }
}
