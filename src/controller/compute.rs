//! Computes beside the reconciles of others what takes more than a moment.

/// The result of `compute`, which runs on a thread of its own. A panic of it is one of the caller.
pub async fn computed<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(compute).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends, and the caller with it.
            Err(_stopped) => std::future::pending().await,
        },
    }
}
