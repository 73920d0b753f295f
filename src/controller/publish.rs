//! The one mouth: status, Event, metric and requeue leave from one report, here and nowhere else.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::{info, warn};

use super::context::Context;
use super::drive::Guarded;
use super::kind::Kind;
use super::referrers::Name;
use super::report::{Report, Requeue, StatusChange, Verdict};
use crate::api::condition::READY;
use crate::cluster::ClusterError;
use crate::cluster::status::{Precondition, difference};

/// Where a server keeps less of a status than we send (External Secrets Operator's own CRDs declare fewer fields), what
/// was sent and what was kept, so that an unchanged status is not sent again and again.
#[derive(Default)]
pub struct Pruned(Mutex<HashMap<String, Kept>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    sent: u64,
    stored: u64,
}

impl Pruned {
    fn is_known(&self, uid: &str, sent: &Value, found: &Value) -> bool {
        let kept = Kept { sent: fingerprint(sent), stored: fingerprint(found) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid) == Some(&kept)
    }

    fn note(&self, uid: &str, sent: &Value, stored: &Value) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sent == stored {
            notes.remove(uid);
        } else {
            notes.insert(uid.to_owned(), Kept { sent: fingerprint(sent), stored: fingerprint(stored) });
        }
    }

    fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn fingerprint(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// An object whose status we write.
pub struct Subject<'a, K> {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'a Name,
    /// The object as the cache has it.
    pub object: &'a K,
    /// Access to objects of its kind and namespace.
    pub api: Api<Guarded<K>>,
}

impl<K> Subject<'_, K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    /// Makes a report known and says when to look again.
    pub async fn publish<S: Serialize>(&self, context: &Context, report: Report<S>) -> Requeue {
        match report {
            Report::NotOurs | Report::Gone => {
                context.metrics.forget(self.kind, self.name);
                context.pruned.forget(&self.uid());
                Requeue::AwaitChange
            }
            Report::Unchanged { requeue } => requeue,
            Report::Verdict { verdict, status, requeue } => {
                context.metrics.condition(self.kind, self.name, verdict.ready);
                match self.write(context, &verdict, &status).await {
                    Ok(()) | Err(ClusterError::NotFound { .. }) => requeue,
                    Err(error) => {
                        warn!(kind = self.kind.as_str(), object = %self.name, %error, "the status was not written");
                        Requeue::BackOff
                    }
                }
            }
        }
    }

    async fn write<S: Serialize>(
        &self,
        context: &Context,
        verdict: &Verdict,
        change: &StatusChange<S>,
    ) -> Result<(), ClusterError> {
        let (before, after) = (as_json(&change.before), as_json(&change.after));
        let uid = self.uid();
        let Some(patch) = difference(&before, &after) else { return Ok(()) };
        if context.pruned.is_known(&uid, &after, &before) {
            return Ok(());
        }
        let precondition = Precondition { uid: &uid, resource_version: change.resource_version.as_deref() };
        let subject = format!("{} {}", self.kind.as_str(), self.name);
        let stored = context.cluster.patch_status(&self.api, &subject, &self.name.name, &precondition, patch).await?;
        let stored = stored.0.map(|object| as_json(&object)).unwrap_or_default();
        context.pruned.note(&uid, &after, stored.get("status").unwrap_or(&Value::Null));
        if ready_word(&before) != ready_word(&after) {
            info!(
                kind = self.kind.as_str(), object = %self.name,
                ready = verdict.ready, reason = verdict.reason.as_str(), message = verdict.message, "state changed"
            );
            context.events.state_changed(self.object, verdict).await;
        }
        Ok(())
    }

    fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }
}

fn as_json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Status and reason of the Ready condition, which together are the state that an Event announces.
fn ready_word(status: &Value) -> Option<(&str, &str)> {
    let ready = status.get("conditions")?.as_array()?.iter().find(|condition| condition["type"] == READY)?;
    Some((ready["status"].as_str()?, ready["reason"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_that_the_server_cuts_is_sent_once() {
        let (pruned, sent, stored) = (Pruned::default(), json!({ "a": 1, "b": 2 }), json!({ "a": 1 }));
        assert!(!pruned.is_known("uid", &sent, &stored));
        pruned.note("uid", &sent, &stored);
        assert!(pruned.is_known("uid", &sent, &stored));
        assert!(!pruned.is_known("uid", &json!({ "a": 2, "b": 2 }), &stored));
        pruned.note("uid", &sent, &sent);
        assert!(!pruned.is_known("uid", &sent, &stored));
    }

    #[test]
    fn an_event_announces_a_new_status_or_reason() {
        let status = |status: &str, reason: &str| json!({ "conditions": [{ "type": "Ready", "status": status, "reason": reason }] });
        assert_eq!(ready_word(&status("True", "Synced")), Some(("True", "Synced")));
        assert_eq!(ready_word(&Value::Null), None);
    }
}
