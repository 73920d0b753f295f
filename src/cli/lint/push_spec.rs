//! Checks the spec of a push with the controller's own parser: unsupported features, malformed
//! selectors, expressions and references, and mappings that contradict each other.

use std::collections::BTreeSet;

use crate::api::push_secret::PushSecretSpec;
use crate::api::template_spec::TemplateError;
use crate::manifest::{Node, Object, Problem, Stores, push_root, span_of, template_fault};
use crate::push::desired::{self, InvalidSpec};
use crate::push::mapped::{self, Clash, Fault};

/// Checks the spec of a push at `root`.
pub fn check(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let spec = spec(object, root);
    let faults = spec.iter().flat_map(desired::faults);
    let problem = |fault: InvalidSpec| {
        let (rule, field) = rule(&fault)?;
        if let InvalidSpec::Template { fault, .. } | InvalidSpec::Templates(TemplateError::Text { fault, .. }) = &fault
        {
            return Some(template_fault(object, rule, &field.replacen("spec", root, 1), fault));
        }
        Some(located(object, root, rule, field, &fault.to_string()))
    };
    faults.filter_map(problem).collect()
}

/// Mappings that contradict each other, by the mounts of the stores. If a check of the spec by itself
/// finds a fault, the cluster gets no further.
pub fn clashes(object: &Object<'_>, stores: &Stores) -> Vec<Problem> {
    let Some((root, spec)) = push_root(object).and_then(|root| Some((root, spec(object, root)?))) else {
        return Vec::new();
    };
    let references = object.node.at(root).and_then(|spec| spec.get("secretStoreRefs")).map(Node::items);
    let meant = references.into_iter().flatten().flat_map(|store| stores.meant(store, object.metadata("namespace")));
    let mounts: BTreeSet<Option<&str>> = meant.map(|meant| meant.mount).collect();
    let mut problems = Vec::new();
    for fault in mounts.into_iter().flat_map(|mount| mapped::faults_at(&spec, mount)) {
        let Some((rule, field)) = field(&fault) else { continue };
        let problem = located(object, root, rule, &field, &fault.to_string());
        // Several mounts of a store may lead to the same finding: it is reported once.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

/// The schema reports a wrong shape.
fn spec(object: &Object<'_>, root: &str) -> Option<PushSecretSpec> {
    object.node.at(root).and_then(|node| serde_json::from_value(node.admitted()).ok())
}

fn located(object: &Object<'_>, root: &str, rule: &str, field: &str, message: &str) -> Problem {
    let field = field.replacen("spec", root, 1);
    Problem::error(rule, span_of(&object.node, &field), message.replace("spec.", &format!("{root}.")), None)
}

/// The rule and the field of a fault; `None` if another check of lint reports it.
fn rule(fault: &InvalidSpec) -> Option<(&'static str, &str)> {
    match fault {
        InvalidSpec::Unsupported { field, .. } => Some(("unsupported", field)),
        InvalidSpec::Missing { field, .. } => Some(("missing-field", field)),
        InvalidSpec::Regexp { field, .. } => Some(("regexp", field)),
        InvalidSpec::Template { field, .. } => Some(("template", field)),
        InvalidSpec::Templates(error) => Some((rule_of_template(error)?, error.field())),
        InvalidSpec::Unsteady(fault) => Some(("unsupported", &fault.field)),
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

/// The rule of a fault of a template; `None` if a CRD's rule reports it.
pub(super) fn rule_of_template(error: &TemplateError) -> Option<&'static str> {
    match error {
        TemplateError::Text { .. } => Some("template"),
        TemplateError::Missing { .. } | TemplateError::NoItems { .. } => Some("missing-field"),
        TemplateError::Finalizer { .. }
        | TemplateError::MetadataName { .. }
        | TemplateError::OfItself { .. }
        | TemplateError::NoPart { .. } => Some("invalid-value"),
        TemplateError::Key { .. } => Some("K1"),
        TemplateError::Type { .. } => None,
    }
}

/// The same for a fault of mappings. P3 reports a key that is no path, V4 two mappings to one property.
fn field(fault: &Fault) -> Option<(&'static str, String)> {
    match fault {
        Fault::Astray(_) => None,
        Fault::Clash(clash) => match &**clash {
            Clash::Duplicate { .. } => None,
            Clash::Ambiguous { second, .. } => Some(("mapping-conflict", format!("{}.match.remoteRef", second.field))),
            Clash::Disagreement { second, .. } => Some(("mapping-conflict", format!("{}.metadata", second.field))),
        },
    }
}
