//! What the words mean: pure and synchronous, without Kubernetes, Vault, a runtime or a clock.

pub mod convention;
pub mod fingerprint;
pub mod path;
pub mod remote;
pub mod secret;
