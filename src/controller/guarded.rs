//! Objects as the watches deliver them.

use std::fmt::Debug;

use kube::Resource;
use kube::core::DeserializeGuard;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object of the API that may not decode: one bad object must not stop the watch of all others.
pub type Guarded<K> = DeserializeGuard<K>;

/// What objects of all our kinds are.
pub trait ApiObject:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> ApiObject for K where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// Drops the large parts of an object that nobody reads. Every object of ours is trimmed, wherever it
/// comes from: what its annotations say must be the same everywhere.
pub fn trim(object: &mut impl Resource) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
