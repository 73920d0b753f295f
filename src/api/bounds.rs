//! The bounds of a spec, checked where it is parsed.
//!
//! They stand once, as `#[validate(…)]` on the types beside this file. The definitions carry them as `maxLength`, `minItems`
//! and the like; this check holds them where the API server has other definitions than ours.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;
use thiserror::Error;
use validator::{Validate, ValidationError, ValidationErrors, ValidationErrorsKind};

#[cfg(test)]
mod tests;

/// The most fields that a text names; the others are counted.
const NAMED: usize = 3;

/// The names that the API does not write as camelCase has it.
const SPELLINGS: [(&str, &str); 5] = [
    ("access_key_id_secret_ref", "accessKeyIDSecretRef"),
    ("cluster_project_id", "clusterProjectID"),
    ("external_id", "externalID"),
    ("project_id", "projectID"),
    ("vault_aws_iam_server_id", "vaultAwsIamServerID"),
];

/// Fields of a spec that are longer, shorter, larger or smaller than the API allows. It knows where and how far, and
/// nothing of what is written there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", sentence(.named, *.others))]
pub struct OutOfBounds {
    named: Vec<Breach>,
    others: usize,
}

/// Checks every bound that a spec's types declare. A list that is too long is reported without a look into its items.
///
/// # Errors
/// [`OutOfBounds`] in the order of the fields' names and indices, so that the same spec always gives the same text.
pub fn check(spec: &impl Validate) -> Result<(), OutOfBounds> {
    let Err(errors) = spec.validate() else { return Ok(()) };
    let mut breaches = BTreeSet::new();
    collect(&errors, &mut vec![Step::Field("spec".to_owned())], &mut breaches);
    let others = breaches.len().saturating_sub(NAMED);
    Err(OutOfBounds { named: breaches.into_iter().take(NAMED).collect(), others })
}

/// One field that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    field: Vec<Step>,
    extent: Extent,
    limit: Option<Limit>,
}

/// One step on the way to a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// As the manifest spells it.
    Field(String),
    Item(usize),
}

/// How much stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Characters(usize),
    Items(usize),
    /// A number is itself the value, and is not kept. So is what was checked for something else than its size.
    Unsaid,
}

/// The bound that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    AtLeast(i64),
    AtMost(i64),
}

fn collect(errors: &ValidationErrors, at: &mut Vec<Step>, breaches: &mut BTreeSet<Breach>) {
    for (name, kind) in errors.errors() {
        at.push(Step::Field(spelled(name)));
        match kind {
            ValidationErrorsKind::Field(errors) => breaches.extend(errors.iter().map(|error| breach(at, error))),
            ValidationErrorsKind::Struct(errors) => collect(errors, at, breaches),
            ValidationErrorsKind::List(items) => {
                for (index, errors) in items {
                    at.push(Step::Item(*index));
                    collect(errors, at, breaches);
                    at.pop();
                }
            }
        }
        at.pop();
    }
}

/// The parameters of an error hold the bounds and a copy of the value, of which only the length goes on from here.
fn breach(field: &[Step], error: &ValidationError) -> Breach {
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

/// How much a value is, for people and to compare it.
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
        for (position, step) in self.field.iter().enumerate() {
            match step {
                Step::Field(name) if position == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
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
