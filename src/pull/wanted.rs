//! What an ExternalSecret wants of the entries of stores.

use crate::api::StoreRef;
use crate::api::external_secret::NullBytePolicy;
use crate::domain::description::What;
use crate::domain::extract::Keys;
use crate::domain::find::Selection;
use crate::domain::property::Decoding;

/// What is wanted of one entry of a store.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The keys in the target.
    pub into: Into,
    /// The entry with the values.
    pub from: Reference,
    /// The property; `None` is the whole secret.
    pub property: Option<String>,
    /// How the bytes of a value are decoded.
    pub decoding: Decoding,
    /// What a zero byte in a value means.
    pub null_bytes: NullBytePolicy,
}

impl Wanted {
    /// The property of the data that is wanted; `None` if that is all of the data, or the metadata.
    pub fn of_data(&self) -> Option<&String> {
        self.property.as_ref().filter(|_| self.from.what == What::Data)
    }
}

/// The keys in the target that get what is wanted.
#[derive(Clone, Debug)]
pub enum Into {
    /// One key gets one value; the whole secret as JSON.
    Key(String),
    /// Each property makes a key.
    Keys {
        /// The field of the spec that says so.
        field: String,
        /// How.
        keys: Keys,
    },
    /// The whole secret is one value. A find makes a key of it, together with the others that it
    /// found.
    Found {
        /// The index of the find.
        find: usize,
        /// The path below the mount.
        name: String,
    },
}

/// What is wanted of all entries below a folder that are selected.
#[derive(Clone, Debug)]
pub struct Find {
    /// The field of the spec that says so.
    pub field: String,
    /// The index of the entry that comes after it.
    pub before: usize,
    /// The store.
    pub store: StoreRef,
    /// The folder, as in the manifest; `None` is the whole mount.
    pub path: Option<String>,
    /// Which entries.
    pub selection: Selection,
    /// How keys are made of their paths.
    pub keys: Keys,
    /// How the bytes of a value are decoded.
    pub decoding: Decoding,
    /// What a zero byte in a value means.
    pub null_bytes: NullBytePolicy,
}

/// A reference to an entry, as in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    pub store: StoreRef,
    /// The key in it.
    pub key: String,
    /// A pinned version; `None` is the latest.
    pub version: Option<u64>,
    /// What of the entry.
    pub what: What,
}
