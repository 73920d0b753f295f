//! What a target is a function of, as one value. A reconcile whose inputs equal those of the last one that went well has
//! nothing to do; whatever a coming feature reads besides has its place here, and is then compared.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::desired::Desired;
use super::observe::OpenStores;
use crate::domain::target::Stamp;
use crate::store::{Identity, StoreClient, StoreName};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// The resource.
    pub resource: Resource,
    /// Each store that it names, as the registry resolves it for the resource's namespace.
    pub stores: Sessions,
    /// What is at the paths, and who may read it.
    pub paths: Paths,
    /// The target as it is in the cluster; `None` where there is none.
    pub target: Option<Stamp>,
}

/// One state of one ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Which object.
    pub uid: String,
    /// What `status.syncedResourceVersion` says once this state is synced: generation, labels and annotations.
    pub version: String,
}

/// What the feed knows of the paths, compared with what was read of them: versions, consents, and the labels of the namespace
/// where a consent asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// They are as they were read.
    AsRead,
    /// Something else is there, or may be.
    Moved,
}

/// The sessions of stores in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(BTreeMap<StoreName, Session>);

/// The session of one store. An edit of the store, another credential or other certificates make another one.
#[derive(Clone)]
struct Session(Arc<dyn StoreClient>);

impl Resource {
    /// The resource of a parsed spec.
    pub fn of(desired: &Desired) -> Self {
        Resource { uid: desired.uid.clone(), version: desired.synced_resource_version.clone() }
    }
}

impl Sessions {
    /// The sessions of open stores.
    pub fn of(opened: &OpenStores) -> Self {
        Sessions(opened.iter().map(|(store, opened)| (store.clone(), Session(opened.client.clone()))).collect())
    }

    /// Which store, in which state of its spec, each session is of: the same after its credential was rotated.
    pub fn identities(&self) -> BTreeMap<StoreName, Identity> {
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
