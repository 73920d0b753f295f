//! PushSecret: publishes named keys of a source Secret to properties of paths in a store.

pub mod apply;
pub mod intents;
pub mod plan;
#[cfg(test)]
mod protocol_tests;
