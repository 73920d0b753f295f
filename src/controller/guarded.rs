//! Objects as the watches deliver them.

use kube::core::DeserializeGuard;

/// An object of the API that may not decode: one bad object must not stop the watch of all others.
pub type Guarded<K> = DeserializeGuard<K>;
