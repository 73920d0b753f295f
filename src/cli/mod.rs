//! What people and pipelines run, besides the controller: one module a command.

pub mod lint;
