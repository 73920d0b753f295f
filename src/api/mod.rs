//! What users write and what we answer: the six kinds of `external-secrets.io` with their schemas,
//! names and conditions, and the PathConvention of `waypost.io`.
//!
//! Everything here is data. Decoding is lenient where the API may carry more than we know:
//! durations stay text until they are parsed, foreign providers keep only their name, reasons are
//! strings. One odd object must never stop the list it came in. [`bounds::check`] finds values out
//! of bounds later.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type and a path")]

pub mod bounds;
pub mod cluster_external_secret;
pub mod cluster_push_secret;
pub mod condition;
pub mod crd;
pub mod duration;
pub mod external_secret;
pub mod generator_ref;
pub mod kind;
pub mod label_query;
pub mod names;
pub mod path_convention;
pub mod path_status;
pub mod push_ledger;
pub mod push_secret;
pub mod secret_store;
pub mod selector;
pub mod store_auth;
pub mod store_location;
pub mod store_spec;
pub mod template;
pub mod template_spec;
pub mod wish;

pub use cluster_external_secret::{ClusterExternalSecret, ClusterExternalSecretSpec};
pub use cluster_push_secret::{ClusterPushSecret, ClusterPushSecretSpec};
pub use condition::{Condition, ConditionStatus, Reason};
pub use duration::{DurationError, DurationText, GoDuration};
pub use external_secret::{ExternalSecret, ExternalSecretSpec, ExternalSecretStatus};
pub use path_convention::{OWN_GROUP, PathConvention};
pub use push_secret::{PushSecret, PushSecretSpec, PushSecretStatus};
pub use secret_store::{ClusterSecretStore, ClusterSecretStoreSpec, SecretStore, SecretStoreSpec};
pub use selector::{StoreKind, StoreRef};
pub use store_spec::{SecretStoreStatus, StoreSpec};

/// The API group of all six kinds.
pub const GROUP: &str = "external-secrets.io";
