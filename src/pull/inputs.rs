//! The inputs of a target, as one value. A reconcile whose inputs equal those of the last
//! successful one has nothing to do. Whatever a new feature reads must be added here, so that it is
//! compared too.

use std::fmt;
use std::sync::Arc;

use kube::ResourceExt;

use super::desired::{self, Desired};
use super::observe::OpenStores;
use crate::api::{ExternalSecret, names};
use crate::domain::target::Stamp;
use crate::store::{Identity, StoreClient, StoreName};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    pub resource: Resource,
    /// Each of its stores, as the registry resolves it for the resource's namespace.
    pub stores: Sessions,
    /// The versions and consents of the paths.
    pub paths: Paths,
    /// The ConfigMaps and Secrets with texts of the template.
    pub texts: Texts,
    /// The live target; `None` if it does not exist.
    pub target: Option<Stamp>,
}

/// One state of one ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The object.
    pub uid: String,
    /// `status.syncedResourceVersion` once this state is synced: generation, labels and
    /// annotations.
    pub version: String,
    /// What a person set to accept a version that went back.
    pub confirmation: Option<String>,
}

/// What the feed knows of the paths, compared with what was read: versions, consents, and the
/// labels of the namespace if a consent needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// They are unchanged.
    AsRead,
    /// They changed, or may have.
    Moved,
}

/// What the watches show of the objects with texts of the template, since these were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// They are unchanged.
    AsRead,
    /// One changed, or may have.
    Moved,
}

/// The sessions of the stores in use, in the order of the stores. It is a list, because most
/// resources have one store, and a tree would allocate room for eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(Box<[(StoreName, Session)]>);

/// The store and generation of each session, in the order of the stores. They do not change when a
/// credential is rotated.
pub type Identities = Box<[(StoreName, Identity)]>;

/// The session of one store. An edit of the store, another credential or other certificates lead to
/// another one.
#[derive(Clone)]
struct Session(Arc<dyn StoreClient>);

impl Resource {
    /// The resource of a parsed spec.
    pub fn of(desired: &Desired) -> Self {
        Resource {
            uid: desired.uid.clone(),
            version: desired.synced_resource_version.clone(),
            confirmation: desired.confirmation.clone(),
        }
    }

    /// The resource, whether its spec can be used or not.
    pub fn as_it_is(object: &ExternalSecret) -> Self {
        Resource {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            version: desired::synced_resource_version(object),
            confirmation: object.annotations().get(names::ANNOTATION_ACCEPT_OLDER).cloned(),
        }
    }

    /// Whether a person confirmed something since the resource was in this state. No other edit does.
    pub fn confirms_since(&self, before: &Self) -> bool {
        self.uid == before.uid && self.confirmation.is_some() && self.confirmation != before.confirmation
    }
}

impl Sessions {
    /// The sessions of opened stores.
    pub fn of(opened: &OpenStores) -> Self {
        Sessions(opened.iter().map(|(store, client)| (store.clone(), Session(client.clone()))).collect())
    }

    /// What the sessions belong to.
    pub fn identities(&self) -> Identities {
        self.0.iter().map(|(store, session)| (store.clone(), session.0.identity().clone())).collect()
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Session {}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.identity())
    }
}
