//! Which resource a request to a store is made for, so that a line of the server's audit log leads back to a manifest.
//!
//! A client is shared by all resources of one login, so the resource is no part of it: it belongs to the task that asks. A read
//! that is shared carries the name of the consumer that asked first; checks and logins serve nobody in particular.

use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinHandle;

tokio::task_local! {
    static RESOURCE: Arc<str>;
}

/// Runs `work` for a resource, `Kind/namespace/name`.
pub async fn serving<F: Future>(resource: &str, work: F) -> F::Output {
    RESOURCE.scope(Arc::from(resource), work).await
}

/// A task of its own that works for the same resource, and goes on when nobody waits for it.
pub fn spawn_serving<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match served() {
        Some(resource) => tokio::spawn(RESOURCE.scope(resource, work)),
        None => tokio::spawn(work),
    }
}

/// The resource that this task works for, if it works for one.
pub fn served() -> Option<Arc<str>> {
    RESOURCE.try_with(Arc::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_works_for_one_resource_at_a_time() {
        assert_eq!(served(), None);
        let seen = serving("PushSecret/db/push", async { served() }).await;
        assert_eq!(seen.as_deref(), Some("PushSecret/db/push"));
        let spawned = serving("PushSecret/db/push", async { spawn_serving(async { served() }).await }).await;
        assert_eq!(spawned.unwrap().as_deref(), Some("PushSecret/db/push"));
        assert_eq!(served(), None);
    }
}
