//! Where a store leads: the place that status names for what was pushed there.

use std::fmt;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a store led when something was pushed through it. Nothing of its credential is part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreLocation {
    /// Address of the server, as the store had it.
    #[schemars(length(max = 2048))]
    pub server: String,
    /// The Vault namespace; absent means the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub namespace: Option<String>,
    /// Path of the KV mount; absent where each key names its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub path: Option<String>,
    /// What the server calls itself, whatever its address is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub server_id: Option<String>,
    /// What the server calls the mount, whatever its path and namespace are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub mount_id: Option<String>,
}

impl StoreLocation {
    /// Whether a store has to be spelled in the same way to lead there.
    pub fn is_spelled_as(&self, other: &Self) -> bool {
        (&self.server, &self.namespace, &self.path) == (&other.server, &other.namespace, &other.path)
    }

    /// Whether both are one location: they are spelled alike, or the server says so. If the server
    /// or the mount was created again, its spelling still counts as the former location: what was
    /// pushed there is gone with it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_spelled_as(other) || self.is_known_as(other)
    }

    fn is_known_as(&self, other: &Self) -> bool {
        let is_one = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        match (&self.path, &other.path) {
            // The server drew it at random. It may call itself otherwise at each of its addresses.
            (Some(_), Some(_)) => is_one(&self.mount_id, &other.mount_id),
            (None, None) => is_one(&self.server_id, &other.server_id) && self.namespace == other.namespace,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The same, with what the server was once heard to call itself and its mount, where it has not
    /// said so now.
    pub fn or_known_as(self, earlier: &Self) -> Self {
        StoreLocation {
            server_id: self.server_id.or_else(|| earlier.server_id.clone()),
            mount_id: self.mount_id.or_else(|| earlier.mount_id.clone()),
            ..self
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "mount {path} ")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, "in Vault namespace {namespace} ")?;
        }
        write!(f, "at {}", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(server: &str, namespace: Option<&str>, path: Option<&str>, ids: Option<(&str, &str)>) -> StoreLocation {
        StoreLocation {
            server: server.into(),
            namespace: namespace.map(Into::into),
            path: path.map(Into::into),
            server_id: ids.map(|(server, _)| server.into()),
            mount_id: ids.map(|(_, mount)| mount.into()),
        }
    }

    #[test]
    fn a_place_is_told_by_its_spelling_or_by_what_the_server_says() {
        let here = location("https://a", None, Some("secret"), Some(("s", "m")));
        let same = [
            location("https://a", None, Some("secret"), None),
            location("https://a", None, Some("secret"), Some(("restored", "anew"))),
            location("https://alias", Some("team"), Some("other"), Some(("s", "m"))),
            location("https://proxy", None, Some("secret"), Some(("https://proxy ", "m"))),
        ];
        let others = [
            location("https://b", None, Some("secret"), None),
            location("https://a", Some("team"), Some("secret"), Some(("s", "n"))),
            location("https://a", None, Some("other"), Some(("s", "n"))),
            location("https://b", None, Some("secret"), Some(("s", "n"))),
            location("https://a", None, None, Some(("s", "m"))),
        ];
        for (other, expected) in same.iter().map(|at| (at, true)).chain(others.iter().map(|at| (at, false))) {
            assert_eq!((here.is_same(other), other.is_same(&here)), (expected, expected), "{other:?}");
        }
        let unmounted = |server, namespace| location(server, namespace, None, Some(("s", "m")));
        assert!(unmounted("https://a", None).is_same(&unmounted("https://b", None)));
        assert!(!unmounted("https://a", None).is_same(&unmounted("https://a", Some("team"))));
    }

    #[test]
    fn a_place_is_named_in_words() {
        let words = [
            (
                location("https://a", Some("team"), Some("secret"), None),
                "mount secret in Vault namespace team at https://a",
            ),
            (location("https://a", None, None, Some(("s", "m"))), "at https://a"),
        ];
        words.iter().for_each(|(at, words)| assert_eq!(at.to_string(), *words));
    }
}
