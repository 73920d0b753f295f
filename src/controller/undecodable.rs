//! An object that does not decode: its own status says so, it can be deleted like any other, and
//! everything else continues.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::api::Api;
use kube::core::error_boundary::InvalidObject;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;

use super::context::Context;
use super::guarded::Guarded;
use super::publish::Published;
use super::report::Requeue;
use crate::api::condition::{self, Reason};
use crate::api::kind::Kind;
use crate::cluster::ClusterError;
use crate::cluster::status::Precondition;
use crate::domain::object_name::Name;

/// What to do with an object that does not decode.
#[derive(Debug, PartialEq)]
pub enum Fate<K> {
    /// Nothing: it belongs to another controller, or does not exist any more.
    Left,
    /// It is being deleted, and what can be read of it is enough to clean up like any other object.
    Ends(Box<K>),
    /// Its status reports it.
    Told(Advice),
}

/// What the message says in addition to the decoding error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The word in the condition.
    pub reason: Reason,
    /// What to do.
    pub text: String,
    /// When it is reconciled again.
    pub requeue: Requeue,
}

impl Advice {
    /// Only an edit helps, so it is not retried.
    pub fn correct() -> Self {
        let text = "correct the field and apply it again".to_owned();
        Advice { reason: Reason::InvalidSpec, text, requeue: Requeue::AwaitChange }
    }
}

/// Publishes in the object's status what does not decode, and what to do.
pub async fn publish<K>(
    context: &Context,
    kind: Kind,
    name: &Name,
    api: &Api<Guarded<K>>,
    invalid: &InvalidObject,
    advice: &Advice,
) -> Published
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let message = format!("the resource does not decode: {}; {}", unquoted(&invalid.error), advice.text);
    let generation = invalid.metadata.generation;
    let mut conditions = Vec::new();
    condition::refuse(&mut conditions, advice.reason, message, generation, Time(Timestamp::now()));
    let uid = invalid.metadata.uid.as_deref().unwrap_or_default();
    let precondition = Precondition { uid, resource_version: None };
    let subject = format!("{} {name}", kind.as_str());
    let change = json!({ "conditions": conditions, "observedGeneration": generation });
    context.written.begin(uid, &change);
    let stored = context.cluster.patch_status(api, &subject, &name.name, &precondition, change).await;
    match stored.inspect_err(|error| context.written.failed(uid, error)) {
        Ok(_stored) => {
            context.written.ended(uid);
            context.written.settle(uid);
            context.metrics.condition(kind, name, false);
            Published::Told(advice.requeue)
        }
        Err(ClusterError::NotFound { .. }) => Published::Gone,
        Err(error) => {
            // It may arrive when the object is corrected.
            context.written.owe(uid);
            context.metrics.condition(kind, name, false);
            warn!(kind = kind.as_str(), object = %name, %error, "the status was not written");
            Published::Told(Requeue::BackOff)
        }
    }
}

/// The decoder's text without quoted parts, which are pieces of the object.
pub(super) fn unquoted(error: &str) -> String {
    error.split('"').step_by(2).collect::<Vec<_>>().join("…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_decoder_quotes_is_left_out() {
        let error = r#"invalid type: string "hunter2", expected a map"#;
        assert_eq!(unquoted(error), "invalid type: string …, expected a map");
    }
}
