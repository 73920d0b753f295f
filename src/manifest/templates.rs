//! Where in a manifest a template is wrong.

use std::ops::Range;

use waypost_template::error::Problem as Cause;
use waypost_template::{Fault, Position};

use super::bundle::{Object, span_of};
use super::document::Node;
use super::problem::Problem;
use super::scalar;
use super::source::Source;

/// The problem of a template at `field`, at the very line and column of the manifest. Where a text is
/// not written in one piece, such as behind an alias, the message has its own line and column.
pub fn template_fault(object: &Object<'_>, rule: &str, field: &str, fault: &Fault) -> Problem {
    let width = match &fault.problem {
        Cause::NoFunction { name, .. } => name.len(),
        Cause::NoKey { key, .. } => 1 + key.len(),
        _other => 1,
    };
    in_template(object, rule, field, (fault.position, width), &fault.problem.to_string())
}

/// The same of what begins at `position` in the text and is this wide.
pub fn in_template(
    object: &Object<'_>,
    rule: &str,
    field: &str,
    (position, width): (Position, usize),
    cause: &str,
) -> Problem {
    let node = object.node.at(field);
    match node.and_then(|node| within(object.source, node, position.offset, width)) {
        Some(span) => Problem::error(rule, span, format!("{field}: {cause}"), None),
        None => Problem::error(rule, span_of(&object.node, field), format!("{field}: {position}: {cause}"), None),
    }
}

/// Where the `width` bytes from `offset` of a text are written.
fn within(source: &Source, node: &Node, offset: usize, width: usize) -> Option<Range<usize>> {
    let begin = scalar::offset_in(&source.text, &node.span, node.text()?, offset)?;
    Some(begin..begin + width)
}
