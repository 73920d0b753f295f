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
