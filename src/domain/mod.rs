//! The pure core: synchronous, without Kubernetes, Vault, a runtime or a clock.

pub mod braces;
pub mod claim;
pub mod consent;
pub mod convention;
pub mod custom_metadata;
pub mod dns;
pub mod earlier_versions;
pub mod error_chain;
pub mod expansion;
pub mod expression;
pub mod fingerprint;
pub mod handover;
pub mod json;
pub mod key_rewrite;
pub mod label_query;
pub mod mapping;
pub mod object_name;
pub mod path;
pub mod property;
pub mod push_options;
pub mod remote;
pub mod remote_key;
pub mod secret;
pub mod source;
pub mod target;
pub mod whole_name;
