//! Waypost distributes operator-generated Secrets between namespaces through Vault or OpenBao, with
//! the External Secrets API.
#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod domain;
pub mod fanout;
pub mod feed;
pub mod manifest;
pub mod metrics;
#[cfg(test)]
mod model_cases;
pub mod pull;
pub mod push;
pub mod run;
pub mod store;
pub mod telemetry;
pub mod watch;
