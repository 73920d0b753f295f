//! Records the requests to stores; the metrics implement it.

use std::time::Duration;

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
}

/// Records nothing.
pub struct NoMeter;

impl RequestMeter for NoMeter {
    fn record(&self, _store: &str, _call: Call, _ok: bool, _took: Duration) {}
}
