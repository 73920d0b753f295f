//! Checks the spec of a push with the controller's own parser: unsupported features, and malformed
//! selectors, expressions and references.

use crate::api::push_secret::PushSecretSpec;
use crate::manifest::{Object, Problem, span_of};
use crate::push::desired::{self, InvalidSpec};

/// Checks the spec of a push at `root`.
pub fn check(object: &Object<'_>, root: &str) -> Vec<Problem> {
    // The schema reports a wrong shape.
    let spec = object.node.at(root).and_then(|node| serde_json::from_value::<PushSecretSpec>(node.admitted()).ok());
    let faults = spec.iter().flat_map(desired::faults);
    let problem = |fault: InvalidSpec| {
        let (rule, field) = rule(&fault)?;
        let field = field.replacen("spec", root, 1);
        let message = fault.to_string().replace("spec.", &format!("{root}."));
        Some(Problem::error(rule, span_of(&object.node, &field), message, None))
    };
    faults.filter_map(problem).collect()
}

/// The rule and the field of a fault; `None` if another check of lint reports it.
fn rule(fault: &InvalidSpec) -> Option<(&'static str, &str)> {
    match fault {
        InvalidSpec::Unsupported { field, .. } => Some(("unsupported", field)),
        InvalidSpec::Missing { field, .. } => Some(("missing-field", field)),
        InvalidSpec::Regexp { field, .. } => Some(("regexp", field)),
        InvalidSpec::TooManyExpressions { .. } => Some(("regexp", "spec.dataTo")),
        InvalidSpec::StrangeStore { field, .. } => Some(("store-ref", field)),
        InvalidSpec::Selector { field, .. } => Some(("selector", field)),
        InvalidSpec::Interval(_)
        | InvalidSpec::Key { .. }
        | InvalidSpec::Options { .. }
        | InvalidSpec::EarlierVersions(_)
        | InvalidSpec::Mappings(_)
        | InvalidSpec::Bounds(_)
        | InvalidSpec::Convention(_) => None,
    }
}
