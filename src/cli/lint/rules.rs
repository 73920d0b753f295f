//! Checks the rules (CEL) of our CRDs as the API server does. They are read from the CRDs, so none
//! is written twice. A rule that cannot be evaluated here is an error.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use kube_cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};

use crate::api::duration;
use crate::manifest::{Kind, Node, Problem, span_of};

/// The name of this check in findings.
const RULE: &str = "schema-rule";

thread_local! {
    /// Compiled once per kind, because a folder of manifests uses each many times.
    static COMPILED: RefCell<HashMap<*const Kind, Rc<CompiledSchema>>> = RefCell::default();
    static VALIDATOR: Validator = Validator::new();
}

/// Checks a document whose shape is right.
pub fn check(kind: &'static Kind, document: &Node) -> Vec<Problem> {
    let compiled = COMPILED.with_borrow_mut(|compiled| {
        let made = || Rc::new(compile_schema(&kind.definition));
        compiled.entry(std::ptr::from_ref(kind)).or_insert_with(made).clone()
    });
    let judged = VALIDATOR.with(|validator| validator.validate_compiled(&compiled, &document.admitted(), None));
    let broken = judged.err().map(|errors| errors.into_vec()).unwrap_or_default();
    broken.into_iter().filter(|error| error.rule != duration::RULE).map(|error| problem(document, error)).collect()
}

/// The crate's texts may quote values, so only the rule's own message is printed.
fn problem(document: &Node, error: ValidationError) -> Problem {
    let field = error.field_path.trim_start_matches('.');
    let (message, fix) = match error.kind {
        ErrorKind::ValidationFailure => (format!("`{field}`: {}", error.message), None),
        _not_judged => (
            format!("`{field}`: a rule of the CRD cannot be evaluated here: {}", error.rule),
            Some("ask the API server: kubectl apply --dry-run=server".to_owned()),
        ),
    };
    Problem::error(RULE, span_of(document, field), message, fix)
}
