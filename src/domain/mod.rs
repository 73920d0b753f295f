//! What the words mean: pure and synchronous, without Kubernetes or Vault clients and without a clock.

pub mod path;
