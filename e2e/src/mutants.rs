//! Known faults, brought back one at a time: each must be found by the tests that are there for it.
//!
//! The list is data (`tests/mutants/*.yaml`). A unit test keeps it applicable, so that no
//! refactoring makes a fault fall out of it unseen; [`run`](run::run) applies each to a copy of the
//! working tree and runs the tests that are to fail.

mod bench;
mod choice;
mod copy;
mod functions;
mod list;
mod progress;
mod report;
mod run;

pub use self::{list::Mutant, list::read, report::Report, run::run};
