//! The namespaced name of an object.

use std::fmt;
use std::sync::Arc;

/// A namespaced name. Much of what is remembered of an object is found by its name, so copies share
/// their texts (ADR 0013).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl Name {
    /// Puts the two together.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        Name { namespace: namespace.as_ref().into(), name: name.as_ref().into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}
