//! Publishes a reconcile's outcome: status, Event, metrics and requeue all come from one
//! [`Report`].

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ObjectMeta;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use tracing::{info, warn};

use super::context::Context;
use super::guarded::{ApiObject, Guarded, trim};
use super::pruned::Writer;
use super::report::{Report, Requeue, StatusChange, Verdict};
use crate::api::condition::{READY, Reason};
use crate::api::kind::Kind;
use crate::cluster::ClusterError;
use crate::cluster::events::Tone;
use crate::cluster::status::{Precondition, difference};
use crate::domain::object_name::Name;
use crate::metrics::LetGo;

/// The reason of an Event that names what is left in a store.
const ORPHANED: &str = "Orphaned";

/// An object whose status we write.
pub struct Subject<'a, K> {
    pub kind: Kind,
    pub name: &'a Name,
    /// The object, as in the cache.
    pub object: &'a K,
    /// The API of its kind and namespace.
    pub api: Api<Guarded<K>>,
}

impl<K: ApiObject> Subject<'_, K> {
    /// Publishes a report, and returns when to reconcile again.
    pub async fn publish<S: Serialize>(&self, context: &Context, report: Report<S>) -> Published {
        match report {
            Report::NotOurs | Report::Gone => Published::Left,
            Report::LetGo { why, left, rest } => {
                self.say_what_is_left(context, why, &format!("is released and leaves {left}")).await;
                Box::pin(self.publish(context, *rest)).await
            }
            Report::Orphaned { why, left, rest } => {
                self.say_what_is_left(context, why, &format!("leaves {left}")).await;
                Box::pin(self.publish(context, *rest)).await
            }
            Report::Unchanged { ready, requeue } => {
                context.metrics.condition(self.kind, self.name, ready);
                // A status that is owed was read live: the write that seemed to fail was made.
                context.written.settle(&self.uid());
                Published::Told(requeue)
            }
            Report::Undecided { requeue } => Published::Told(requeue),
            Report::Verdict { verdict, status, requeue } => self.tell(context, &verdict, &status, requeue).await,
        }
    }

    /// Writes a status, and only then updates the metrics: the write may show that the object was
    /// deleted.
    async fn tell<S: Serialize>(
        &self,
        context: &Context,
        verdict: &Verdict,
        status: &StatusChange<S>,
        requeue: Requeue,
    ) -> Published {
        let requeue = match self.write(context, verdict, status).await {
            Ok(()) => {
                context.written.settle(&self.uid());
                requeue
            }
            Err(ClusterError::NotFound { .. }) => return Published::Gone,
            Err(ClusterError::Conflict { .. }) if self.is_gone(context).await => return Published::Gone,
            Err(error) => {
                warn!(kind = self.kind.as_str(), object = %self.name, %error, "the status was not written");
                context.written.owe(&self.uid());
                Requeue::BackOff
            }
        };
        context.metrics.condition(self.kind, self.name, verdict.ready);
        Published::Told(requeue)
    }

    /// Whether another object has the name by now. If this cannot be read, the next write shows it.
    async fn is_gone(&self, context: &Context) -> bool {
        let subject = format!("{} {}", self.kind.as_str(), self.name);
        match context.cluster.get(&subject, self.api.get_metadata(&self.name.name)).await {
            Ok(found) => found.and_then(|found| found.uid()) != self.object.uid(),
            Err(_) => false,
        }
    }

    /// Publishes what is left where it can be found although the object, and possibly its
    /// namespace, do not exist any more: no Event can be created in a deleted namespace.
    async fn say_what_is_left(&self, context: &Context, why: LetGo, said: &str) {
        context.metrics.let_go(why);
        let message = format!("{} {} {said}", self.kind.as_str(), self.name);
        match why {
            LetGo::NamespaceGone => {
                let name = Some(self.name.namespace.to_string());
                let namespace =
                    Namespace { metadata: ObjectMeta { name, ..ObjectMeta::default() }, ..Namespace::default() };
                context.events.state_changed(&namespace, Tone::Warning, ORPHANED, &message).await;
            }
            LetGo::Abandoned
            | LetGo::StoreGone
            | LetGo::StoreRefused
            | LetGo::Unreadable
            | LetGo::Declined
            | LetGo::StoreMoved => {
                context.events.state_changed(self.object, Tone::Warning, ORPHANED, &message).await;
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
        let version = change.resource_version.as_deref();
        match self.put(context, Writer::Reconcile, &before, &after, version).await? {
            Put::AsItWas => return Ok(()),
            Put::Written => {}
        }
        if ready_word(&before) != ready_word(&after) {
            info!(
                kind = self.kind.as_str(), object = %self.name,
                ready = verdict.ready, reason = verdict.reason.as_str(), message = verdict.message, "state changed"
            );
            context.events.state_changed(self.object, tone(verdict), verdict.reason.as_str(), &verdict.message).await;
        }
        Ok(())
    }

    /// Writes a status if it differs from the one found, and if the server would keep more of it
    /// than before. What the one found lacks is never removed: a cache may lag behind a ledger. As
    /// long as an earlier write may arrive, a status is written over the state that was found alone.
    ///
    /// # Errors
    /// Any error of a request; a conflict if the object is not at `resource_version` any more, or
    /// not as it was found.
    pub async fn put(
        &self,
        context: &Context,
        writer: Writer,
        before: &Value,
        after: &Value,
        resource_version: Option<&str>,
    ) -> Result<Put, ClusterError> {
        let uid = self.uid();
        let patch = match difference(before, after) {
            Some(patch) if !context.pruned.is_known(&uid, writer, after, before) => patch,
            Some(_) | None => return Ok(Put::AsItWas),
        };
        let is_fenced = context.written.is_owed(&uid) || context.written.has_unanswered(&uid);
        let found = self.object.meta().resource_version.as_deref().filter(|_| is_fenced);
        let precondition = Precondition { uid: &uid, resource_version: resource_version.or(found) };
        let subject = format!("{} {}", self.kind.as_str(), self.name);
        context.written.begin(&uid, after);
        let stored = context.cluster.patch_status(&self.api, &subject, &self.name.name, &precondition, patch).await;
        let stored = stored.inspect_err(|error| context.written.failed(&uid, error))?;
        match stored.0 {
            Ok(mut stored) => {
                trim(&mut stored);
                if context.written.note(&uid, &stored) {
                    let kept = as_json(&stored);
                    context.pruned.note(&uid, writer, after, kept.get("status").unwrap_or(&Value::Null));
                }
            }
            Err(_invalid) => context.written.ended(&uid),
        }
        Ok(Put::Written)
    }

    fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }
}

/// The result of publishing a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is published; when to reconcile again.
    Told(Requeue),
    /// It is another controller's, or is gone: it has no series and no status of ours.
    Left,
    /// The write of the status showed that the object was deleted: nothing of it may be kept.
    Gone,
}

/// The result of writing a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was unchanged.
    AsItWas,
    /// It was written.
    Written,
}

/// The tone of the Event about a verdict. A property that is handed over is in order: if nobody
/// takes it, another reason follows.
pub fn tone(verdict: &Verdict) -> Tone {
    match verdict.ready || verdict.reason == Reason::HandingOver {
        true => Tone::Normal,
        false => Tone::Warning,
    }
}

fn as_json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Status and reason of the Ready condition: the state whose change is an Event.
fn ready_word(status: &Value) -> Option<(&str, &str)> {
    let ready = status.get("conditions")?.as_array()?.iter().find(|condition| condition["type"] == READY)?;
    Some((ready["status"].as_str()?, ready["reason"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_announces_a_new_status_or_reason() {
        let status = |status: &str, reason: &str| json!({ "conditions": [{ "type": "Ready", "status": status, "reason": reason }] });
        assert_eq!(ready_word(&status("True", "Synced")), Some(("True", "Synced")));
        assert_eq!(ready_word(&Value::Null), None);
    }
}
