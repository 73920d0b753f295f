//! PushSecret: publishes named keys of source Secrets to properties of paths in a store.
//!
//! `desired` and `shapes` parse, `observe` reads, `pieces` and `mapped` lay the mappings out for each source, `plan` decides for the whole, `step` for one entry (`ending` for one that loses its last property), `entry` and `apply` write, `misplaced` finds marks that stand elsewhere, `record`
//! writes down what is about to be written, `report` says how it went, `remains` is what can be read of one that does not decode.

pub mod apply;
pub mod desired;
pub mod ending;
pub mod entry;
pub mod intents;
pub mod labels;
pub mod ledger;
pub mod mapped;
pub mod misplaced;
pub mod observe;
pub mod patience;
pub mod pieces;
pub mod plan;
pub mod propagation;
pub mod pusher;
pub mod reconcile;
pub mod record;
pub mod remains;
pub mod report;
pub mod shapes;
pub mod sources;
pub mod step;
pub mod stores;
#[cfg(test)]
mod tests;

pub use pusher::Pusher;
pub use stores::FromRegistry;
