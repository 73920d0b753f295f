//! The bounds of a spec, checked when it is parsed.
//!
//! They are declared once, as `#[validate(…)]` on the types in this module. The CRDs have them as
//! `maxLength`, `minItems` and so on. This check enforces them where the API server has other CRDs
//! than ours.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;
use thiserror::Error;
use validator::{Validate, ValidationError, ValidationErrors, ValidationErrorsKind};

#[cfg(test)]
mod tests;

/// The maximum number of fields that a message names; the others are counted.
const NAMED: usize = 3;

/// The field names that are not plain camelCase in the API.
const SPELLINGS: [(&str, &str); 5] = [
    ("access_key_id_secret_ref", "accessKeyIDSecretRef"),
    ("cluster_project_id", "clusterProjectID"),
    ("external_id", "externalID"),
    ("project_id", "projectID"),
    ("vault_aws_iam_server_id", "vaultAwsIamServerID"),
];

/// Fields of a spec that are longer, shorter, larger or smaller than the API allows. It knows their
/// paths and sizes, but not their values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", sentence(.named, *.others))]
pub struct OutOfBounds {
    named: Vec<Breach>,
    others: usize,
}

/// Checks every bound that a spec's types declare. The items of a list that is too long are not
/// checked.
///
/// # Errors
/// [`OutOfBounds`] in the order of the fields' names and indices, so that the same spec always
/// gives the same text.
pub fn check(spec: &impl Validate) -> Result<(), OutOfBounds> {
    let Err(errors) = spec.validate() else { return Ok(()) };
    let mut breaches = BTreeSet::new();
    collect(&errors, &mut vec![Segment::Field("spec".to_owned())], &mut breaches);
    let others = breaches.len().saturating_sub(NAMED);
    Err(OutOfBounds { named: breaches.into_iter().take(NAMED).collect(), others })
}

/// One field that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    field: Vec<Segment>,
    extent: Extent,
    limit: Option<Limit>,
}

/// One segment of a field's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// As in the manifest.
    Field(String),
    Item(usize),
}

/// The size of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Characters(usize),
    Items(usize),
    /// Not known: a number is itself the value and is not kept, and some checks are not about a
    /// size.
    Unsaid,
}

/// The bound that is violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    AtLeast(i64),
    AtMost(i64),
}

fn collect(errors: &ValidationErrors, at: &mut Vec<Segment>, breaches: &mut BTreeSet<Breach>) {
    for (name, kind) in errors.errors() {
        at.push(Segment::Field(spelled(name)));
        match kind {
            ValidationErrorsKind::Field(errors) => breaches.extend(errors.iter().map(|error| breach(at, error))),
            ValidationErrorsKind::Struct(errors) => collect(errors, at, breaches),
            ValidationErrorsKind::List(items) => {
                for (index, errors) in items {
                    at.push(Segment::Item(*index));
                    collect(errors, at, breaches);
                    at.pop();
                }
            }
        }
        at.pop();
    }
}

/// The parameters of an error contain the bounds and a copy of the value. Only the value's length
/// is kept.
fn breach(field: &[Segment], error: &ValidationError) -> Breach {
    let (extent, amount) = error.params.get("value").map_or((Extent::Unsaid, None), measured);
    let bound = |name: &str| error.params.get(name).and_then(Value::as_i64);
    let limit = match (bound("min"), bound("max")) {
        (Some(least), _) if amount.is_some_and(|amount| amount < least) => Some(Limit::AtLeast(least)),
        (_, Some(most)) => Some(Limit::AtMost(most)),
        (Some(least), None) => Some(Limit::AtLeast(least)),
        (None, None) => None,
    };
    let extent = if limit.is_some() { extent } else { Extent::Unsaid };
    Breach { field: field.to_vec(), extent, limit }
}

/// The size of a value, for people and for comparison.
fn measured(value: &Value) -> (Extent, Option<i64>) {
    let length = |length: usize, extent: fn(usize) -> Extent| (extent(length), i64::try_from(length).ok());
    match value {
        Value::String(text) => length(text.chars().count(), Extent::Characters),
        Value::Array(items) => length(items.len(), Extent::Items),
        Value::Number(number) => (Extent::Unsaid, number.as_i64()),
        Value::Null | Value::Bool(_) | Value::Object(_) => (Extent::Unsaid, None),
    }
}

/// A Rust field as the manifest spells it: `match_` is `match`, `remote_ref` is `remoteRef`.
fn spelled(rust: &str) -> String {
    if let Some((_, spelling)) = SPELLINGS.iter().find(|(name, _)| *name == rust) {
        return (*spelling).to_owned();
    }
    let mut words = rust.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

fn sentence(named: &[Breach], others: usize) -> String {
    let mut parts: Vec<String> = named.iter().map(Breach::to_string).collect();
    match others {
        0 => {}
        1 => parts.push("and 1 more field is out of its bounds".to_owned()),
        others => parts.push(format!("and {others} more fields are out of their bounds")),
    }
    parts.join("; ")
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.field.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Item(index) => write!(f, "[{index}]")?,
            }
        }
        match self.extent {
            Extent::Characters(1) => f.write_str(" has 1 character")?,
            Extent::Characters(found) => write!(f, " has {found} characters")?,
            Extent::Items(1) => f.write_str(" has 1 item")?,
            Extent::Items(found) => write!(f, " has {found} items")?,
            Extent::Unsaid => f.write_str(" is out of its bounds")?,
        }
        match self.limit {
            Some(Limit::AtLeast(least)) => write!(f, ": at least {least}"),
            Some(Limit::AtMost(most)) => write!(f, ": at most {most}"),
            None => Ok(()),
        }
    }
}
