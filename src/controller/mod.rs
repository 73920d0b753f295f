//! What the reconcilers share: how objects are watched and queued, and how their reports reach people.

pub mod referrers;
