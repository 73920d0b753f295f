//! Single fields of a store's spec: the namespace that a reference means, and the error for a wrong
//! field.

use super::keys::KeyRef;
use super::{StoreName, StoreRefusal};
use crate::api::StoreKind;
use crate::api::selector::SecretKeySelector;
use crate::domain::path::Mount;

/// Reads the fields of one store for one consumer.
pub struct Fields<'a> {
    store: &'a StoreName,
    consumer: &'a str,
    referent: bool,
    ignored: Vec<String>,
}

impl<'a> Fields<'a> {
    /// `consumer` is the namespace of the resource that uses the store.
    pub fn new(store: &'a StoreName, consumer: &'a str) -> Self {
        Fields { store, consumer, referent: false, ignored: Vec::new() }
    }

    /// Whether a field that was read refers to the consumer's namespace.
    pub fn is_referent(&self) -> bool {
        self.referent
    }

    /// Notes that a field has no effect beside another, if it is set.
    pub fn ignore(&mut self, is_set: bool, field: &str, beside: &str) {
        if is_set {
            self.ignored.push(format!("`{field}` has no effect beside `{beside}`: remove it"));
        }
    }

    /// What was noted so.
    pub fn ignored(self) -> Vec<String> {
        self.ignored
    }

    /// Whether the store is a SecretStore, which authors of its namespace may write.
    pub fn is_namespaced(&self) -> bool {
        self.store.kind == StoreKind::SecretStore
    }

    /// A key of a Secret; `usual` is the default key.
    pub fn key(
        &mut self,
        selector: &SecretKeySelector,
        field: &str,
        usual: Option<&str>,
    ) -> Result<KeyRef, StoreRefusal> {
        let name = selector.name.clone().ok_or_else(|| self.invalid(format!("`{field}` names no Secret")))?;
        let key = selector.key.clone().or_else(|| usual.map(str::to_owned));
        let key = key.ok_or_else(|| self.invalid(format!("`{field}` names no key of Secret {name:?}")))?;
        Ok(KeyRef { namespace: self.namespace(selector.namespace.as_deref(), field)?, name, key })
    }

    /// A SecretStore reads only in its own namespace; a ClusterSecretStore in the named namespace,
    /// else in the consumer's.
    pub fn namespace(&mut self, named: Option<&str>, field: &str) -> Result<String, StoreRefusal> {
        match (self.store.kind, &self.store.namespace, named) {
            (StoreKind::SecretStore, Some(own), None) => Ok(own.clone()),
            (StoreKind::SecretStore, Some(own), Some(named)) if own == named => Ok(own.clone()),
            (StoreKind::SecretStore, _, _) => Err(self.invalid(format!(
                "`{field}` names another namespace, which only a ClusterSecretStore may: remove `namespace`"
            ))),
            (StoreKind::ClusterSecretStore, _, Some(named)) => Ok(named.to_owned()),
            (StoreKind::ClusterSecretStore, _, None) => {
                self.referent = true;
                Ok(self.consumer.to_owned())
            }
        }
    }

    /// The mount of an auth method.
    pub fn auth_mount(&self, text: &str) -> Result<String, StoreRefusal> {
        let mount =
            Mount::parse(text).map_err(|error| self.invalid(format!("the mount of `auth`: {}", error.of_mount())))?;
        Ok(mount.to_string())
    }

    /// The refusal of a wrong field.
    pub fn invalid(&self, what: impl Into<String>) -> StoreRefusal {
        StoreRefusal::Invalid { store: self.store.clone(), what: what.into() }
    }

    /// The refusal of something that this version does not support.
    pub fn unsupported(&self, what: impl Into<String>) -> StoreRefusal {
        StoreRefusal::Unsupported { store: self.store.clone(), what: what.into() }
    }
}
