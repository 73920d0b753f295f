//! A target Secret: the desired one, the live one in the cluster, and its owners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::secret::SecretMap;

/// The maximum size of a Secret's keys and values, in bytes.
pub const MOST_BYTES: usize = 1024 * 1024;
/// The maximum length of a Secret's name, and of a key in it.
pub const LONGEST_NAME: usize = 253;

/// The Secret that an ExternalSecret renders.
pub struct Target {
    /// Its namespace, that of the ExternalSecret.
    pub namespace: String,
    pub name: String,
    /// Its type, `Opaque` by default.
    pub kind: String,
    /// Whether it is made immutable.
    pub immutable: bool,
    /// The labels that we set on it.
    pub labels: BTreeMap<String, String>,
    /// The annotations that we set on it.
    pub annotations: BTreeMap<String, String>,
    /// The finalizers that we set on it.
    pub finalizers: BTreeSet<String>,
    /// The ExternalSecret, as the controlling owner.
    pub owner: OwnerRef,
    pub data: SecretMap,
}

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRef {
    /// For example `external-secrets.io/v1`.
    pub api_version: String,
    /// For example `ExternalSecret`.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's UID, which decides ownership.
    pub uid: String,
    /// Whether it is the controlling owner.
    pub controller: bool,
    /// Whether the owner's foreground deletion waits for the target.
    pub blocks_deletion: bool,
}

/// One state of one object: the precondition of every write except a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The object; a later one with the same name has another UID.
    pub uid: Arc<str>,
    /// Its state.
    pub resource_version: Arc<str>,
}

/// The existing Secret with the target's name.
pub struct Live {
    /// The precondition for writes.
    pub stamp: Stamp,
    /// Its type.
    pub kind: String,
    /// Whether it is immutable.
    pub immutable: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owners: Vec<OwnerRef>,
    pub finalizers: BTreeSet<String>,
    /// Labels that our field manager set.
    pub our_labels: BTreeSet<String>,
    /// Annotations that our field manager set.
    pub our_annotations: BTreeSet<String>,
    /// Finalizers that our field manager set.
    pub our_finalizers: BTreeSet<String>,
    pub data: SecretMap,
}

/// What to do with a Secret that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// Do not touch it, and report it.
    Leave,
    /// Adopt it.
    Adopt,
}

/// What a write removes. Apply cannot remove what another manager, or an earlier create, has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Data keys.
    pub keys: BTreeSet<String>,
    /// Labels.
    pub labels: BTreeSet<String>,
    /// Annotations.
    pub annotations: BTreeSet<String>,
    /// Finalizers.
    pub finalizers: BTreeSet<String>,
}

impl Removals {
    /// Whether nothing is removed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.labels.is_empty() && self.annotations.is_empty() && self.finalizers.is_empty()
    }
}

impl Target {
    /// Bytes of keys and values, as the API server counts them.
    pub fn size(&self) -> usize {
        self.data.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// Whether a Secret may have this name: a DNS subdomain (rule K1).
pub fn is_legal_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

/// Whether a target may have this finalizer: a qualified name. Those without a domain belong to the
/// garbage collector.
pub fn is_finalizer(name: &str) -> bool {
    name.contains('/') && is_qualified_name(name)
}

/// Whether a label or an annotation may have this name: at most 63 letters, digits, `-`, `_` and `.`,
/// after a domain or without one.
pub fn is_qualified_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let (domain, name) = match name.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, name),
    };
    let ends = [name.bytes().next(), name.bytes().next_back()];
    domain.is_none_or(is_legal_name)
        && name.len() <= 63
        && name.bytes().all(is_inner)
        && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// A key that no Secret may have (rule K1).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a legal key of a Secret (K1): use letters, digits, '-', '_' and '.', at most {LONGEST_NAME} characters, not '.' and not starting with '..'"
)]
pub struct IllegalKey(pub String);

/// Whether a Secret's data may have this key (rule K1).
pub fn is_legal_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= LONGEST_NAME
        && key != "."
        && !key.starts_with("..")
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_judged_as_the_api_server_does() {
        for name in ["a", "postgres.acid.zalan.do", "a-1"] {
            assert!(is_legal_name(name), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", &"a".repeat(254)] {
            assert!(!is_legal_name(name), "{name}");
        }
        for finalizer in ["example.com/keep", "a/B_c.d"] {
            assert!(is_finalizer(finalizer), "{finalizer}");
        }
        for finalizer in ["", "keep", "foregroundDeletion", "orphan", "a/", "/a", "a/-b", "A.b/c", "a/b/c"] {
            assert!(!is_finalizer(finalizer), "{finalizer}");
        }
        for name in ["team", "app.kubernetes.io/name", "A_b.c-1"] {
            assert!(is_qualified_name(name), "{name}");
        }
        for name in ["", "bad key!", "a b/c", "-a", "a.", "A/b", &"a".repeat(64)] {
            assert!(!is_qualified_name(name), "{name}");
        }
        for key in ["tls.crt", ".dockerconfigjson", "_", "A-b.c_1"] {
            assert!(is_legal_key(key), "{key}");
        }
        for key in ["", ".", "..", "..a", "a/b", "ü", &"a".repeat(254)] {
            assert!(!is_legal_key(key), "{key}");
        }
    }
}
