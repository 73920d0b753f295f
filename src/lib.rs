//! Waypost distributes operator-generated Secrets between namespaces through Vault or OpenBao, with the External Secrets
//! API.
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod domain;
pub mod feed;
pub mod push;
pub mod store;
