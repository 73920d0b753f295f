//! The ledger: `status.syncedPushSecrets`, which says what was pushed and so what may have to be removed.
//!
//! It has External Secrets Operator's form: `<kind>/<store>` → `<remoteKey>/<property>` → the mapping that was pushed. The
//! inner key is ambiguous where a property has a slash; what counts is the mapping behind it, and of two with one key, such as an
//! old and a new one, the second gets a key of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::api::push_secret::{PushSecretData, SyncedPushSecrets};
use crate::api::selector::StoreKind;
use crate::domain::path::RemotePath;

/// A store as the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    /// Its kind.
    pub kind: StoreKind,
    /// Its name.
    pub name: String,
}

/// An entry of a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The store.
    pub store: StoreKey,
    /// The entry.
    pub path: RemotePath,
}

/// The `path` of each store that can be used, as remote keys are spelled relative to it.
pub type Mounts = BTreeMap<StoreKey, Option<String>>;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The inner key.
    pub key: String,
    /// The mapping that was pushed.
    pub data: PushSecretData,
}

/// The ledger, sorted by what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// What was pushed, by entry and property.
    pub pushed: BTreeMap<Spot, BTreeMap<String, Line>>,
    /// Lines of stores that cannot be used now.
    pub unreachable: BTreeMap<StoreKey, Vec<Line>>,
    /// Lines that name an entry and no property: another controller pushed it as a whole. They go once we publish there.
    pub whole: BTreeMap<Spot, Vec<Line>>,
    /// Lines, by what stands for their store, whose store or entry cannot be read.
    pub illegible: Vec<(String, Line)>,
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl Line {
    /// The key of the entry, as it was spelled.
    pub fn remote_key(&self) -> String {
        self.data.match_.remote_ref.remote_key.clone()
    }
}

impl StoreKey {
    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let kind = [StoreKind::SecretStore, StoreKind::ClusterSecretStore].into_iter().find(|k| k.as_str() == kind)?;
        Some(StoreKey { kind, name: name.to_owned() })
    }
}

/// The stores that the ledger names.
pub fn stores(synced: &SyncedPushSecrets) -> BTreeSet<StoreKey> {
    synced.keys().filter_map(|key| StoreKey::parse(key)).collect()
}

/// Adds a line to those of a store, or puts it in the place of its earlier form.
pub fn put(lines: &mut BTreeMap<String, PushSecretData>, line: &Line) {
    let key = key_in(lines, line).cloned().unwrap_or_else(|| free_key(lines, line));
    lines.insert(key, line.data.clone());
}

/// Takes a line out of those of a store.
pub fn take(lines: &mut BTreeMap<String, PushSecretData>, line: &Line) {
    if let Some(key) = key_in(lines, line).cloned() {
        lines.remove(&key);
    }
}

/// Whether a store's lines have this one.
pub fn has(lines: &BTreeMap<String, PushSecretData>, line: &Line) -> bool {
    key_in(lines, line).is_some()
}

/// Where a store's lines have this one: under its own key, or under one that begins as it usually does.
fn key_in<'l>(lines: &'l BTreeMap<String, PushSecretData>, line: &Line) -> Option<&'l String> {
    let usual = key_of(&line.data);
    let own = lines.get_key_value(&line.key).into_iter();
    let alike = lines.range(usual.clone()..).take_while(move |(key, _)| key.starts_with(&usual));
    own.chain(alike).find(|(_, data)| is_same(data, &line.data)).map(|(key, _)| key)
}

/// Whether two mappings lead to one property, spelled in one way.
fn is_same(one: &PushSecretData, other: &PushSecretData) -> bool {
    one.match_.remote_ref == other.match_.remote_ref
}

/// Another controller looks for the usual key, so that is the one unless another mapping has it.
fn free_key(lines: &BTreeMap<String, PushSecretData>, line: &Line) -> String {
    let property = line.data.match_.remote_ref.property.as_deref().unwrap_or_default();
    let mut key = line.key.clone();
    while lines.contains_key(&key) {
        key.push('#');
        key.push_str(property);
    }
    key
}

/// What the ledger lists, for people.
pub fn text(synced: &SyncedPushSecrets) -> String {
    let lines = synced.iter().flat_map(|(store, lines)| lines.keys().map(move |line| format!("{line} in {store}")));
    lines.collect::<Vec<_>>().join(", ")
}

/// The inner key of a mapping.
pub fn key_of(data: &PushSecretData) -> String {
    let remote = &data.match_.remote_ref;
    match remote.property.as_deref() {
        None | Some("") => remote.remote_key.clone(),
        Some(property) => format!("{}/{property}", remote.remote_key),
    }
}

impl Ledger {
    /// Sorts a status's ledger, given the stores that can be used.
    pub fn read(synced: &SyncedPushSecrets, mounts: &Mounts) -> Self {
        let mut ledger = Ledger::default();
        for (store_key, lines) in synced {
            for (key, data) in lines {
                let line = Line { key: key.clone(), data: data.clone() };
                match StoreKey::parse(store_key) {
                    Some(store) => ledger.sort(store, line, mounts),
                    None => ledger.illegible.push((store_key.clone(), line)),
                }
            }
        }
        ledger
    }

    fn sort(&mut self, store: StoreKey, line: Line, mounts: &Mounts) {
        let Some(mount) = mounts.get(&store) else {
            self.unreachable.entry(store).or_default().push(line);
            return;
        };
        let remote = &line.data.match_.remote_ref;
        let property = remote.property.clone().filter(|property| !property.is_empty());
        match (RemotePath::parse(mount.as_deref(), &remote.remote_key), property) {
            (Ok(path), Some(property)) => {
                self.pushed.entry(Spot { store, path }).or_default().insert(property, line);
            }
            (Ok(path), None) => self.whole.entry(Spot { store, path }).or_default().push(line),
            (Err(_), Some(_) | None) => self.illegible.push((store.to_string(), line)),
        }
    }

    /// Adds a line.
    pub fn insert(&mut self, spot: Spot, property: String, line: Line) {
        self.pushed.entry(spot).or_default().insert(property, line);
    }

    /// The form of the status.
    pub fn write(&self) -> SyncedPushSecrets {
        let pushed =
            self.pushed.iter().flat_map(|(spot, lines)| lines.values().map(|line| (spot.store.to_string(), line)));
        let unreachable =
            (self.unreachable.iter()).flat_map(|(store, lines)| lines.iter().map(|line| (store.to_string(), line)));
        let whole = self.whole.iter().flat_map(|(spot, lines)| lines.iter().map(|line| (spot.store.to_string(), line)));
        let illegible = self.illegible.iter().map(|(store, line)| (store.clone(), line));
        let mut synced = SyncedPushSecrets::new();
        for (store, line) in pushed.chain(unreachable).chain(whole).chain(illegible) {
            put(synced.entry(store).or_default(), line);
        }
        synced
    }

    /// Forgets a property of an entry.
    pub fn remove(&mut self, spot: &Spot, property: &str) {
        if let Some(lines) = self.pushed.get_mut(spot) {
            lines.remove(property);
        }
    }

    /// What cannot be removed, since nobody knows what of it is ours, in words.
    pub fn unclear(&self) -> Vec<String> {
        let whole = self.whole.iter().flat_map(|(spot, lines)| lines.iter().map(|line| (spot.store.to_string(), line)));
        let illegible = self.illegible.iter().map(|(store, line)| (store.clone(), line));
        whole.chain(illegible).map(|(store, line)| format!("{} in {store}", line.key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::push_secret::{PushMatch, PushRemoteRef};

    fn line(remote_key: &str, property: Option<&str>) -> Line {
        let remote_ref = PushRemoteRef { remote_key: remote_key.into(), property: property.map(Into::into) };
        let match_ = PushMatch { secret_key: Some("k".into()), remote_ref };
        let data = PushSecretData { match_, ..PushSecretData::default() };
        Line { key: key_of(&data), data }
    }

    #[test]
    fn defect_p_of_two_mappings_that_read_alike_neither_takes_the_other_s_place() {
        let (old, new) = (line("a", Some("b/c")), line("a/b", Some("c")));
        assert_eq!(old.key, new.key);
        let mut lines = BTreeMap::from([(old.key.clone(), old.data.clone())]);
        assert!(has(&lines, &old) && !has(&lines, &new));
        for _again in 0..2 {
            put(&mut lines, &new);
            put(&mut lines, &old);
        }
        let both = BTreeMap::from([("a/b/c".to_owned(), old.data.clone()), ("a/b/c#c".to_owned(), new.data.clone())]);
        assert_eq!(lines, both);
        let synced = SyncedPushSecrets::from([("ClusterSecretStore/vault".to_owned(), both)]);
        let vault = StoreKey { kind: StoreKind::ClusterSecretStore, name: "vault".into() };
        let ledger = Ledger::read(&synced, &Mounts::from([(vault, Some("secret".into()))]));
        assert_eq!((ledger.pushed.len(), ledger.write()), (2, synced));
    }

    #[test]
    fn what_is_read_is_written_back_unchanged() {
        let lines = [line("a/b", Some("p")), line("secret/a/c", Some("q")), line("a/d", None)];
        let of = |lines: &[Line]| lines.iter().map(|line| (line.key.clone(), line.data.clone())).collect();
        let synced = SyncedPushSecrets::from([
            ("ClusterSecretStore/vault".to_owned(), of(&lines)),
            ("SecretStore/gone".to_owned(), of(&lines[..1])),
            ("odd".to_owned(), of(&lines[..1])),
        ]);
        let vault = StoreKey { kind: StoreKind::ClusterSecretStore, name: "vault".into() };
        let ledger = Ledger::read(&synced, &Mounts::from([(vault.clone(), Some("secret".into()))]));
        let paths: Vec<String> = ledger.pushed.keys().map(|spot| spot.path.to_string()).collect();
        assert_eq!(paths, ["secret/a/b", "secret/a/c"]);
        assert_eq!((ledger.unreachable.len(), ledger.whole.len(), ledger.illegible.len()), (1, 1, 1));
        assert_eq!(ledger.write(), synced);
    }
}
