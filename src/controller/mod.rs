//! What reconcilers share: how objects are watched and queued, and how their reports are published.

pub mod backoff;
pub mod compute;
pub mod context;
pub mod conventions;
pub mod drive;
pub mod guarded;
pub mod lease;
pub mod moves;
pub mod namespaces;
pub mod pruned;
pub mod publish;
pub mod referrers;
pub mod report;
pub mod turns;
pub mod undecodable;
pub mod watch;
pub mod written;
