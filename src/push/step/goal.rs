//! The wanted state of one entry.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::consent::Consent;
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::remote::RemoteData;
use crate::push::custom_metadata::MetadataGoal;

/// The wanted state of one entry.
#[derive(Default)]
pub struct Goal {
    /// Properties to set, with their values.
    pub set: RemoteData,
    /// Properties to remove, if they are ours.
    pub remove: BTreeSet<String>,
    /// Properties to release: they stay as they are, without our claim.
    pub release: BTreeSet<String>,
    /// Properties to offer, each with the PushSecrets that may want it.
    pub offer: BTreeMap<String, BTreeSet<String>>,
    /// What happens to earlier versions once the last property is removed.
    pub earlier: EarlierVersions,
    /// What happens to a property that already exists.
    pub existing: Existing,
    /// What happens to an entry without the mark.
    pub foreign: Foreign,
    /// The wanted custom metadata, as long as we own a property there.
    pub custom_metadata: MetadataGoal,
    /// Its remote key, as mappings and the ledger spell it.
    pub spellings: BTreeSet<String>,
    /// Who may read which of the properties in `set`. Anybody may read one that is not listed.
    pub consents: BTreeMap<String, Consent>,
    /// Whether the ledger lists the entry.
    pub history: History,
}

/// What the ledger knows of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// The ledger does not list it: we never pushed to it.
    #[default]
    None,
    /// The ledger lists a property of it: we pushed it, or were about to.
    Listed {
        /// The version in the status, if it has one.
        version: Option<u64>,
    },
}

/// When properties are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removals {
    /// Now, in the same version as what is written.
    Now,
    /// Later, once everything new is written.
    Later,
}

/// What happens to a property that already exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It gets our value.
    #[default]
    Replace,
    /// It stays. We neither claim nor ever remove it.
    Keep,
    /// We remove it only if it has our claim. This applies to former locations, because anybody who
    /// may write the status can name one.
    Claimed,
}

/// What happens to an entry that no External Secrets controller manages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    /// It stays as it is.
    #[default]
    Refuse,
    /// We add our properties, and its others stay.
    Adopt,
}
