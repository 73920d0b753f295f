//! Why a resource may not use a store.

use thiserror::Error;

use super::error::Family;
use super::{StoreError, StoreName};
use crate::api::condition::Reason;

/// Why a resource may not use a store. Each text says what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreRefusal {
    /// The store does not exist.
    #[error("{store} does not exist: create it, or correct the reference")]
    NotFound { store: StoreName },
    /// Another controller serves the store; Waypost does not touch the resource.
    #[error("{store} is served by the controller of class {class:?}, not by this one")]
    OtherController {
        store: StoreName,
        /// Its `spec.controller`, possibly empty.
        class: String,
    },
    /// The store's conditions do not match this namespace.
    #[error("{store} does not serve namespace {namespace:?}: let its `spec.conditions` match the namespace")]
    NotAllowed { store: StoreName, namespace: String },
    /// The store uses something that this version does not support.
    #[error("{store} uses {what}, which is not supported by this version of Waypost: change the store")]
    Unsupported {
        store: StoreName,
        /// What, in the spec's words.
        what: String,
    },
    /// The store's spec is wrong.
    #[error("{store} is not valid: {what}")]
    Invalid {
        store: StoreName,
        /// What is wrong and what to write instead.
        what: String,
    },
    /// Something that the store needs could not be read this time.
    #[error("{0}")]
    Failed(StoreError),
}

impl StoreRefusal {
    /// The reason of a condition.
    pub fn reason(&self) -> Reason {
        match self {
            StoreRefusal::NotFound { .. } => Reason::StoreNotFound,
            StoreRefusal::OtherController { .. } | StoreRefusal::NotAllowed { .. } => Reason::NotPermitted,
            StoreRefusal::Unsupported { .. } | StoreRefusal::Invalid { .. } | StoreRefusal::Failed(_) => {
                Reason::StoreNotReady
            }
        }
    }

    /// What to do about it.
    pub fn family(&self) -> Family {
        match self {
            StoreRefusal::NotFound { .. } | StoreRefusal::OtherController { .. } | StoreRefusal::NotAllowed { .. } => {
                Family::Refused
            }
            StoreRefusal::Unsupported { .. } | StoreRefusal::Invalid { .. } => Family::Invalid,
            StoreRefusal::Failed(error) => error.family(),
        }
    }
}
