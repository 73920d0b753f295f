//! Opens a watch, and reopens it where it cannot be restarted.
//!
//! kube's watcher keeps restarting from the version of its list while the API server denies that.
//! After etcd was restored from a backup, that version is in the future, and each start is answered
//! with 504 ("Too large resource version"). Only a new list helps.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tracing::warn;

/// The server ends each watch request after this many seconds, and we open the next. A silent
/// connection is given up 5 s later, so this bounds how long a half-open connection can hide a
/// change.
pub const WATCH_SECONDS: u32 = 60;
/// A watch is reopened with a list when this many starts in a row were denied: after about twelve
/// seconds.
const REFUSED_STARTS: u32 = 5;
/// A failed start after a longer time than this begins a new row, because the watch worked in
/// between.
const SAME_ROW: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 30);

/// How every kind is watched.
pub fn config() -> Config {
    Config::default().timeout(WATCH_SECONDS)
}

/// The events of a kind, with a pause after each error. The stream never ends.
pub fn open<K>(api: Api<K>, config: Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    reopened(move || watch(api.clone(), config.clone()).default_backoff().boxed(), Instant::now)
}

/// Continues with a new stream of `source` when the current one fails to start again and again.
fn reopened<K: Send + 'static>(
    source: impl Fn() -> BoxStream<'static, watcher::Result<Event<K>>> + Send + 'static,
    now: impl Fn() -> Instant + Send + 'static,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static {
    let first = source();
    futures::stream::unfold(
        (source, now, first, FailedStarts::default()),
        async |(source, now, mut events, mut row)| {
            let event = events.next().await?;
            match &event {
                Ok(_) => row = FailedStarts::default(),
                Err(error) if was_answered(error) => {
                    if row.are_too_many(now()) {
                        warn!(error = super::failure(error), "the watch fails to start again and again: listing again");
                        (events, row) = (source(), FailedStarts::default());
                    }
                }
                Err(_) => {}
            }
            Some((event, (source, now, events, row)))
        },
    )
}

/// Whether the API server answered and denied the start. If it does not answer, a list would not be
/// answered either.
fn was_answered(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(_)) | watcher::Error::WatchError(_))
}

/// Failed starts in a row.
#[derive(Default)]
struct FailedStarts {
    count: u32,
    last: Option<Instant>,
}

impl FailedStarts {
    /// Counts one more failed start.
    fn are_too_many(&mut self, now: Instant) -> bool {
        let goes_on = self.last.is_some_and(|last| now.duration_since(last) < SAME_ROW);
        self.count = if goes_on { self.count + 1 } else { 1 };
        self.last = Some(now);
        self.count >= REFUSED_STARTS
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;

    use super::*;

    fn too_large() -> watcher::Result<Event<ConfigMap>> {
        let status = Status::failure("Too large resource version", "Timeout").with_code(504);
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed())))
    }

    /// How often the source was opened for `events` events, `pause` seconds apart.
    async fn opened(event: fn() -> watcher::Result<Event<ConfigMap>>, events: usize, pause: u64) -> usize {
        let (opened, seconds, began) = (Arc::new(AtomicUsize::new(0)), AtomicU64::new(0), Instant::now());
        let count = opened.clone();
        let source = move || {
            count.fetch_add(1, Ordering::Relaxed);
            futures::stream::repeat_with(event).boxed()
        };
        let now = move || began + Duration::from_secs(seconds.fetch_add(pause, Ordering::Relaxed));
        reopened(source, now).take(events).for_each(|_| std::future::ready(())).await;
        opened.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_watch_whose_starts_are_refused_in_a_row_is_listed_anew() {
        let row = REFUSED_STARTS as usize;
        assert_eq!(opened(too_large, row - 1, 1).await, 1);
        assert_eq!(opened(too_large, row, 1).await, 2);
        assert_eq!(opened(too_large, 3 * row, 1).await, 4);
    }

    #[tokio::test]
    async fn refusals_far_apart_and_a_server_that_does_not_answer_are_waited_for() {
        assert_eq!(opened(too_large, 20, SAME_ROW.as_secs() + 1).await, 1);
        let broken = || Err(watcher::Error::NoResourceVersion);
        assert_eq!(opened(broken, 20, 1).await, 1);
    }
}
