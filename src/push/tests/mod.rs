//! The push protocol against stores and an API server in memory, with a fault at every request.

mod amid;
mod asking;
mod bench;
mod consents;
mod crossing;
mod cut_off;
mod ending;
mod forged;
mod hands;
mod labelled;
mod ledger;
mod lifecycle;
mod locations;
mod misplaced;
mod model;
mod namespaces;
mod owed;
mod protocol;
mod relabelled;
mod released;
mod renames;
mod report;
mod slow;
mod stores;
mod whole;
mod whose;
