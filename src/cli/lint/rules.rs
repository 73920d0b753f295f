//! The rules (CEL) of our definitions, judged as the API server judges them. They are read from the definitions, so none is written
//! twice, and a rule that cannot be evaluated here is an error, never a silence.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use kube_cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};

use crate::api::duration;
use crate::manifest::{Kind, Node, Problem, span_of};

/// The word for a rule of a definition that a manifest breaks.
const RULE: &str = "schema-rule";

thread_local! {
    /// Compiled once a kind: a folder of manifests asks for each many times.
    static COMPILED: RefCell<HashMap<*const Kind, Rc<CompiledSchema>>> = RefCell::default();
    static VALIDATOR: Validator = Validator::new();
}

/// Judges a document whose shape is right.
pub fn check(kind: &'static Kind, document: &Node) -> Vec<Problem> {
    let compiled = COMPILED.with_borrow_mut(|compiled| {
        let made = || Rc::new(compile_schema(&kind.definition));
        compiled.entry(std::ptr::from_ref(kind)).or_insert_with(made).clone()
    });
    let judged = VALIDATOR.with(|validator| validator.validate_compiled(&compiled, &document.admitted(), None));
    let broken = judged.err().map(|errors| errors.into_vec()).unwrap_or_default();
    broken.into_iter().filter(|error| error.rule != duration::RULE).map(|error| problem(document, error)).collect()
}

/// The texts of the crate may quote values, so only the rule's own message is repeated.
fn problem(document: &Node, error: ValidationError) -> Problem {
    let field = error.field_path.trim_start_matches('.');
    let (message, fix) = match error.kind {
        ErrorKind::ValidationFailure => (format!("`{field}`: {}", error.message), None),
        _not_judged => (
            format!("`{field}`: a rule of the definition cannot be evaluated here: {}", error.rule),
            Some("ask the API server: kubectl apply --dry-run=server".to_owned()),
        ),
    };
    Problem::error(RULE, span_of(document, field), message, fix)
}
