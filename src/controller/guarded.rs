//! Objects as the watches deliver them.

use std::fmt::Debug;

use kube::Resource;
use kube::core::DeserializeGuard;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

/// The status of an object; null if there is none.
pub fn status_of(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default().get_mut("status").map(Value::take).unwrap_or_default()
}

/// The same; null if the object does not decode.
pub fn status_shown<K: Serialize>(object: &Guarded<K>) -> Value {
    object.0.as_ref().map(status_of).unwrap_or_default()
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
