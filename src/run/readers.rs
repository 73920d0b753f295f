//! When a namespace's labels change, its consumers whose producers select by labels read again at
//! once.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::controller::namespaces::NamespaceMoved;
use crate::feed::Feed;

/// Follows the namespaces until `stop` is cancelled.
pub async fn follow(feed: Arc<Feed>, mut namespaces: UnboundedReceiver<NamespaceMoved>, stop: CancellationToken) {
    loop {
        let moved = tokio::select! {
            moved = namespaces.recv() => moved,
            () = stop.cancelled() => return,
        };
        match moved {
            Some(NamespaceMoved::One(name)) => feed.labels_changed(|namespace| namespace == name),
            Some(NamespaceMoved::All) => feed.labels_changed(|_| true),
            None => return,
        }
    }
}
