//! A server that accepts connections but never answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};
use waypost::domain::secret::SecretBytes;
use waypost::store::error::Transport as Cause;
use waypost::store::vault::access::Access;
use waypost::store::{StoreClient, StoreError};

use crate::{path, rcgen_ca};

/// A request is given up after this.
const REQUEST: Duration = Duration::from_secs(15);

#[tokio::test(start_paused = true)]
async fn fifty_who_ask_a_server_that_swallows_connections_wait_once_and_soon_not_at_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let access = Access {
        address: format!("http://{}", listener.local_addr().unwrap()),
        ca: Some(("a test".to_owned(), rcgen_ca().into_bytes())),
        namespace: None,
        token: SecretBytes::from("none"),
        token_in: "a test",
    };
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        let mut swallowed = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            swallowed.push(connection);
        }
    });
    let client = access.client().unwrap();
    let entries: Vec<_> = (0..50).map(|number| path(&format!("platform-data/swallowed/entry-{number}"))).collect();
    let all = || join_all(entries.iter().map(|entry| client.path_key(entry)));

    let began = Instant::now();
    for outcome in all().await {
        let timed_out = matches!(outcome, Err(StoreError::Unreachable { cause: Cause::Timeout, .. }));
        assert!(timed_out, "{outcome:?}");
    }
    assert!(began.elapsed() <= REQUEST + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(connections.load(Ordering::Relaxed) <= 1, "one asked for all");

    // Each time of these it fails for all; after the fifth nobody waits.
    for _ in 0..4 {
        all().await;
    }
    let began = Instant::now();
    assert!(all().await.iter().all(|outcome| matches!(outcome, Err(StoreError::CircuitOpen { .. }))));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
