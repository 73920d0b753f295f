//! Why a resource gets no client of a store.

use thiserror::Error;

use super::error::Family;
use super::{StoreError, StoreName};

/// Why there is no client. Each text says what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreRefusal {
    /// No such store.
    #[error("{store} does not exist: create it, or correct the reference")]
    NotFound {
        /// The store.
        store: StoreName,
    },
    /// Another controller serves it; the resource is not touched at all.
    #[error("{store} is served by the controller of class {class:?}, not by this one")]
    OtherController {
        /// The store.
        store: StoreName,
        /// Its `spec.controller`, possibly empty.
        class: String,
    },
    /// The store's conditions leave this namespace out.
    #[error("{store} does not serve namespace {namespace:?}: let its `spec.conditions` match the namespace")]
    NotAllowed {
        /// The store.
        store: StoreName,
        /// The namespace that asked.
        namespace: String,
    },
    /// The store asks for something this version does not do.
    #[error("{store} uses {what}, which is not supported by this version of Waypost: change the store")]
    Unsupported {
        /// The store.
        store: StoreName,
        /// What, in the spec's words.
        what: String,
    },
    /// The store's spec is wrong.
    #[error("{store} is not usable as it is written: {what}")]
    Invalid {
        /// The store.
        store: StoreName,
        /// What is wrong and what to write instead.
        what: String,
    },
    /// Something the store needs could not be had this time.
    #[error("{0}")]
    Failed(StoreError),
}

impl StoreRefusal {
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
