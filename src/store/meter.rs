//! Records the requests to stores; the metrics implement it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

/// The purpose of a request to a store. The set is closed, so that it can be a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Login,
    LookupSelf,
    RenewSelf,
    RevokeSelf,
    ReadSecretData,
    ReadSecretMetadata,
    WriteSecretData,
    WriteSecretMetadata,
    PatchSecretMetadata,
    DeleteSecret,
    ListSecrets,
    Health,
    MountInfo,
    Capabilities,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Call::Login,
        Call::LookupSelf,
        Call::RenewSelf,
        Call::RevokeSelf,
        Call::ReadSecretData,
        Call::ReadSecretMetadata,
        Call::WriteSecretData,
        Call::WriteSecretMetadata,
        Call::PatchSecretMetadata,
        Call::DeleteSecret,
        Call::ListSecrets,
        Call::Health,
        Call::MountInfo,
        Call::Capabilities,
    ];

    /// The label's value: ESO's name if ESO has the same call.
    pub fn as_str(self) -> &'static str {
        match self {
            Call::Login => "Login",
            Call::LookupSelf => "LookupSelf",
            Call::RenewSelf => "RenewSelf",
            Call::RevokeSelf => "RevokeSelf",
            Call::ReadSecretData => "ReadSecretData",
            Call::ReadSecretMetadata => "ReadSecretMetadata",
            Call::WriteSecretData => "WriteSecretData",
            Call::WriteSecretMetadata => "WriteSecretMetadata",
            Call::PatchSecretMetadata => "PatchSecretMetadata",
            Call::DeleteSecret => "DeleteSecret",
            Call::ListSecrets => "ListSecrets",
            Call::Health => "Health",
            Call::MountInfo => "MountInfo",
            Call::Capabilities => "Capabilities",
        }
    }
}

/// Is told of every request after it ended.
pub trait RequestMeter: Send + Sync {
    /// `store` is kind and name as in `ClusterSecretStore/vault-backend`. `ok` is false if the
    /// server could not be reached or answered with an error other than "not found".
    fn record(&self, store: &str, call: Call, ok: bool, took: Duration);

    /// Call this when no request of the store is to be recorded any more.
    fn forget(&self, store: &str);
}

/// Records the requests of stores with one kind and name, of any namespace. What was recorded is
/// kept as long as somebody has this: a request may end after its store was deleted.
pub struct StoreMeter {
    store: String,
    meter: Arc<dyn RequestMeter>,
}

impl StoreMeter {
    /// Records the requests of a store that no other [`StoreMeter`] has.
    pub fn new(store: String, meter: Arc<dyn RequestMeter>) -> Arc<Self> {
        Arc::new(StoreMeter { store, meter })
    }

    /// Kind and name of the store.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Records a request that ended.
    pub fn record(&self, call: Call, ok: bool, took: Duration) {
        self.meter.record(&self.store, call, ok, took);
    }
}

impl Drop for StoreMeter {
    fn drop(&mut self) {
        self.meter.forget(&self.store);
    }
}

/// The meters of all stores.
pub struct Meters {
    meter: Arc<dyn RequestMeter>,
    by_store: Mutex<HashMap<String, Weak<StoreMeter>>>,
}

impl Meters {
    /// Nobody has one yet.
    pub fn new(meter: Arc<dyn RequestMeter>) -> Self {
        Meters { meter, by_store: Mutex::default() }
    }

    /// The meter of a store, by kind and name.
    pub fn of(&self, store: &str) -> Arc<StoreMeter> {
        let mut by_store = self.by_store.lock();
        if let Some(meter) = by_store.get(store).and_then(Weak::upgrade) {
            return meter;
        }
        by_store.retain(|_, meter| meter.strong_count() > 0);
        let meter = StoreMeter::new(store.to_owned(), self.meter.clone());
        by_store.insert(store.to_owned(), Arc::downgrade(&meter));
        meter
    }
}

/// Records nothing.
pub struct NoMeter;

impl RequestMeter for NoMeter {
    fn record(&self, _store: &str, _call: Call, _ok: bool, _took: Duration) {}

    fn forget(&self, _store: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl RequestMeter for Told {
        fn record(&self, _store: &str, _call: Call, _ok: bool, _took: Duration) {}

        fn forget(&self, store: &str) {
            self.0.lock().push(store.to_owned());
        }
    }

    #[test]
    fn a_store_is_forgotten_when_the_last_of_its_name_can_record_nothing_more() {
        let told = Arc::new(Told::default());
        let meters = Meters::new(told.clone());
        let (one, other) = (meters.of("SecretStore/vault"), meters.of("SecretStore/vault"));
        assert!(Arc::ptr_eq(&one, &other));
        drop(one);
        assert!(told.0.lock().is_empty());
        drop(other);
        assert_eq!(*told.0.lock(), ["SecretStore/vault"]);
        let _next = meters.of("SecretStore/next");
        assert_eq!(meters.by_store.lock().len(), 1, "nothing is kept of the one that is gone");
    }
}
