//! PushSecret: publishes keys of source Secrets as properties of paths in a store.
//!
//! `desired` and `shapes` parse the spec; `observe` reads the stores, `reading` the sources, of
//! which `rendered` makes what the template says. `pieces` and `mapped` apply the mappings to each
//! source. `plan` decides for the whole PushSecret, `step` for one entry, and `ending` for an
//! entry that loses its last property. `record` writes the ledger before `entry` and `apply` write
//! to the stores, and `second_look` confirms what a removal rests on. `locations` and `former` are
//! about stores that were edited to lead elsewhere; `offers`, `waiters`, `arrival` and `crossing`
//! about properties that pass from one PushSecret to another. `report` words the outcome, and
//! `undone` what is left undone although no entry fails. `cleanup` handles a PushSecret that is
//! being deleted, and `remains` reads one that does not decode. `misplaced` finds marks at other
//! paths. `patience` says how long stores wait for each other, and `counted` notes their answers;
//! `unsaid` has the news that waits for one.

pub mod apply;
pub mod arrival;
pub mod cleanup;
pub mod conclusion;
pub mod counted;
pub mod crossing;
pub mod custom_metadata;
pub mod deletions;
pub mod desired;
pub mod ending;
pub mod entry;
pub mod finalizer;
pub mod former;
pub mod intents;
pub mod ledger;
pub mod locations;
pub mod mapped;
pub mod misplaced;
pub mod observe;
pub mod offers;
pub mod patience;
pub mod pieces;
pub mod plan;
pub mod propagation;
pub mod pusher;
pub mod reading;
pub mod reconcile;
pub mod record;
pub mod refusal;
pub mod remains;
pub mod rendered;
mod report;
pub mod second_look;
pub mod shapes;
pub mod sources;
pub mod step;
#[cfg(test)]
mod tests;
pub mod undone;
pub mod unsaid;
pub mod waiters;

pub use pusher::Pusher;
