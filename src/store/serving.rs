//! The resource that a request to a store serves, so that a line of the server's audit log leads to
//! a manifest.
//!
//! All resources of one login share a client, so the resource belongs to the task and not to the
//! client. A shared read names the consumer that asked first. Checks and logins name none.

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

/// Spawns a task for the same resource, which continues even if nobody waits for it.
pub fn spawn_serving<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match served() {
        Some(resource) => tokio::spawn(RESOURCE.scope(resource, work)),
        None => tokio::spawn(work),
    }
}

/// The resource that this task works for, if any.
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
