//! Publishes a reconcile's outcome: status, Event, metrics and requeue all come from one [`Report`].

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ObjectMeta;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::{info, warn};

use super::context::Context;
use super::guarded::Guarded;
use super::kind::Kind;
use super::pruned::Pruned;
use super::referrers::Name;
use super::report::{LetGo, Report, Requeue, StatusChange, Verdict};
use crate::api::condition::READY;
use crate::cluster::ClusterError;
use crate::cluster::events::Tone;
use crate::cluster::status::{Precondition, difference};

/// The reason of an Event that names what was left in a store.
const ORPHANED: &str = "Orphaned";

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
    pub async fn publish<S: Serialize>(&self, context: &Context, report: Report<S>) -> Published {
        match report {
            Report::NotOurs | Report::Gone => {
                context.metrics.forget(self.kind, self.name);
                self.forget(context);
                Published::Told(Requeue::AwaitChange)
            }
            Report::LetGo { why, left } => {
                context.metrics.forget(self.kind, self.name);
                self.forget(context);
                self.say_what_is_left(context, why, &format!("was let go and leaves {left}")).await;
                Published::Told(Requeue::AwaitChange)
            }
            Report::Orphaned { why, left, rest } => {
                self.say_what_is_left(context, why, &format!("leaves {left}")).await;
                Box::pin(self.publish(context, *rest)).await
            }
            Report::Unchanged { requeue } => Published::Told(requeue),
            Report::Verdict { verdict, status, requeue } => self.tell(context, &verdict, &status, requeue).await,
        }
    }

    /// Writes a status, and only then counts the object: the write may show that it is gone.
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
            Err(ClusterError::NotFound { .. }) => return self.gone(context),
            Err(ClusterError::Conflict { .. }) if self.is_gone(context).await => return self.gone(context),
            Err(error) => {
                warn!(kind = self.kind.as_str(), object = %self.name, %error, "the status was not written");
                context.written.owe(&self.uid());
                Requeue::BackOff
            }
        };
        context.metrics.condition(self.kind, self.name, verdict.ready);
        Published::Told(requeue)
    }

    /// Whether another object has the name by now. Where that cannot be told, the next write shows it.
    async fn is_gone(&self, context: &Context) -> bool {
        let subject = format!("{} {}", self.kind.as_str(), self.name);
        match context.cluster.get(&subject, self.api.get_metadata(&self.name.name)).await {
            Ok(found) => found.and_then(|found| found.uid()) != self.object.uid(),
            Err(_) => false,
        }
    }

    fn gone(&self, context: &Context) -> Published {
        context.metrics.forget(self.kind, self.name);
        self.forget(context);
        Published::Gone
    }

    fn forget(&self, context: &Context) {
        context.pruned.forget(&self.uid());
        context.written.forget(&self.uid());
    }

    /// Where it is found when the object is gone, and its namespace too, in which no Event can be made any more.
    async fn say_what_is_left(&self, context: &Context, why: LetGo, said: &str) {
        context.metrics.let_go(why);
        let message = format!("{} {} {said}", self.kind.as_str(), self.name);
        match why {
            LetGo::NamespaceGone => {
                let name = Some(self.name.namespace.clone());
                let namespace =
                    Namespace { metadata: ObjectMeta { name, ..ObjectMeta::default() }, ..Namespace::default() };
                context.events.state_changed(&namespace, Tone::Warning, ORPHANED, &message).await;
            }
            LetGo::Abandoned | LetGo::StoreGone | LetGo::Unreadable | LetGo::Declined | LetGo::StoreMoved => {
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
        match self.put(context, &context.pruned, &before, &after, version).await? {
            Put::AsItWas => return Ok(()),
            Put::Written => {}
        }
        if ready_word(&before) != ready_word(&after) {
            info!(
                kind = self.kind.as_str(), object = %self.name,
                ready = verdict.ready, reason = verdict.reason.as_str(), message = verdict.message, "state changed"
            );
            let tone = if verdict.ready { Tone::Normal } else { Tone::Warning };
            context.events.state_changed(self.object, tone, verdict.reason.as_str(), &verdict.message).await;
        }
        Ok(())
    }

    /// Writes a status where it differs from the one found, and where the server would keep more of it than it did before.
    ///
    /// # Errors
    /// What any request can meet; a conflict where the object is not at `resource_version` any more.
    pub async fn put(
        &self,
        context: &Context,
        pruned: &Pruned,
        before: &Value,
        after: &Value,
        resource_version: Option<&str>,
    ) -> Result<Put, ClusterError> {
        let uid = self.uid();
        let Some(patch) = difference(before, after) else { return Ok(Put::AsItWas) };
        if pruned.is_known(&uid, after, before) {
            return Ok(Put::AsItWas);
        }
        let precondition = Precondition { uid: &uid, resource_version };
        let subject = format!("{} {}", self.kind.as_str(), self.name);
        context.written.begin(&uid);
        let stored = context.cluster.patch_status(&self.api, &subject, &self.name.name, &precondition, patch).await;
        let stored = stored.inspect_err(|_| context.written.failed(&uid))?;
        let stored = stored.0.map(|object| as_json(&object)).unwrap_or_default();
        pruned.note(&uid, after, stored.get("status").unwrap_or(&Value::Null));
        context.written.note(&uid, stored);
        Ok(Put::Written)
    }

    fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Everybody was told; when to look again.
    Told(Requeue),
    /// The write of the status showed that the object is gone: nothing of it is to be remembered.
    Gone,
}

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// There was nothing to write.
    AsItWas,
    /// It was written.
    Written,
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
    fn an_event_announces_a_new_status_or_reason() {
        let status = |status: &str, reason: &str| json!({ "conditions": [{ "type": "Ready", "status": status, "reason": reason }] });
        assert_eq!(ready_word(&status("True", "Synced")), Some(("True", "Synced")));
        assert_eq!(ready_word(&Value::Null), None);
    }
}
