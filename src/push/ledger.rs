//! The ledger: `status.syncedPushSecrets` lists what was pushed, and so what may have to be
//! removed. `status.formerLocations` lists what was pushed before a store was edited to lead
//! elsewhere.
//!
//! The first has the form of External Secrets Operator: `<kind>/<store>` → `<remoteKey>/<property>`
//! → the mapping that was pushed. The inner key is ambiguous if a property has a slash, so only the
//! mapping counts. If two mappings have the same key, such as an old and a new one, the second gets
//! another key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::api::PushSecretStatus;
use crate::api::push_ledger::PushLedger;
use crate::api::push_secret::{FormerLocation, PushSecretData};
use crate::api::selector::StoreKind;
use crate::api::store_location::StoreLocation;
use crate::domain::path::RemotePath;
use crate::store::StoreName;

/// A store as the ledger names it, or one of its former locations.
///
/// It is not a [`StoreName`]: the ledger in the status spells kind and name alone, because a
/// SecretStore is in the PushSecret's own namespace, and it also lists what is at a location to which
/// that store no longer leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    pub kind: StoreKind,
    pub name: String,
    /// The former location; `None` means where the store leads now.
    pub former: Option<Arc<StoreLocation>>,
}

/// An entry as a spec or a ledger names it. Several may lead to one place
/// ([`crate::store::PathKey`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryRef {
    pub store: StoreKey,
    pub path: RemotePath,
}

/// The `path` of each usable store: remote keys are relative to it.
pub type Mounts = BTreeMap<StoreKey, Option<String>>;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The inner key in the status.
    pub key: String,
    /// The mapping that was pushed.
    pub data: PushSecretData,
}

/// The ledger, sorted by what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// What was pushed, by entry and property.
    pub pushed: BTreeMap<EntryRef, BTreeMap<String, Line>>,
    /// Lines of stores that cannot be used.
    pub unreachable: BTreeMap<StoreKey, Vec<Line>>,
    /// Lines that name an entry and no property, because another controller pushed it as a whole.
    /// They are removed once we publish there.
    pub whole: BTreeMap<EntryRef, Vec<Line>>,
    /// Lines whose remote key does not parse.
    pub illegible: BTreeMap<StoreKey, Vec<Line>>,
    /// Lines whose store does not parse, each with the text of the store.
    pub nowhere: Vec<(String, Line)>,
    /// Where the stores lead, by their spelling in the status.
    locations: BTreeMap<String, StoreLocation>,
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.former {
            None => f.write_str(&self.listed()),
            Some(location) => write!(f, "{} (formerly {location})", self.listed()),
        }
    }
}

impl Line {
    /// The remote key, as it was spelled.
    pub fn remote_key(&self) -> String {
        self.data.match_.remote_ref.remote_key.clone()
    }
}

impl StoreKey {
    /// The store, with the location where it leads now.
    pub fn new(kind: StoreKind, name: impl Into<String>) -> Self {
        StoreKey { kind, name: name.into(), former: None }
    }

    /// A former location of a store; `None` if its name does not parse.
    pub fn of_former(former: &FormerLocation) -> Option<Self> {
        let store = StoreKey::parse(&former.store)?;
        Some(StoreKey { former: Some(Arc::new(former.location.clone())), ..store })
    }

    /// The same store, with the location where it leads now.
    pub fn present(&self) -> Self {
        StoreKey { former: None, ..self.clone() }
    }

    /// The name of the store, for a PushSecret of this namespace.
    pub fn name_in(&self, namespace: &str) -> StoreName {
        StoreName::referred(namespace, self.kind, &self.name)
    }

    /// The store as the status spells it, without location.
    pub fn listed(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let kind = [StoreKind::SecretStore, StoreKind::ClusterSecretStore].into_iter().find(|k| k.as_str() == kind)?;
        Some(StoreKey::new(kind, name))
    }
}

/// The stores that the ledger names, without former locations.
pub fn stores(status: &PushSecretStatus) -> BTreeSet<StoreKey> {
    let former = status.former_locations.iter().map(|former| &former.store);
    status.synced_push_secrets.keys().chain(former).filter_map(|key| StoreKey::parse(key)).collect()
}

/// Adds a line to those of a store, or replaces its earlier form.
pub fn put(lines: &mut BTreeMap<String, PushSecretData>, line: &Line) {
    let key = key_in(lines, line).cloned().unwrap_or_else(|| free_key(lines, line));
    lines.insert(key, line.data.clone());
}

/// Removes a line from those of a store.
pub fn take(lines: &mut BTreeMap<String, PushSecretData>, line: &Line) {
    if let Some(key) = key_in(lines, line).cloned() {
        lines.remove(&key);
    }
}

/// Whether a store's lines have this one.
pub fn has(lines: &BTreeMap<String, PushSecretData>, line: &Line) -> bool {
    key_in(lines, line).is_some()
}

/// The key of this line in those of a store: its own key, or one that begins with the usual key.
fn key_in<'l>(lines: &'l BTreeMap<String, PushSecretData>, line: &Line) -> Option<&'l String> {
    let usual = key_of(&line.data);
    let own = lines.get_key_value(&line.key).into_iter();
    let alike = lines.range(usual.clone()..).take_while(move |(key, _)| key.starts_with(&usual));
    own.chain(alike).find(|(_, data)| is_same(data, &line.data)).map(|(key, _)| key)
}

/// Whether two mappings lead to one property, in the same spelling.
fn is_same(one: &PushSecretData, other: &PushSecretData) -> bool {
    one.match_.remote_ref == other.match_.remote_ref
}

/// The usual key, because other controllers look for it, unless another mapping has it.
fn free_key(lines: &BTreeMap<String, PushSecretData>, line: &Line) -> String {
    let property = line.data.match_.remote_ref.property.as_deref().unwrap_or_default();
    let mut key = line.key.clone();
    while lines.contains_key(&key) {
        key.push('#');
        key.push_str(property);
    }
    key
}

/// The lines of a ledger, for messages.
pub fn text(ledger: &PushLedger) -> String {
    let synced = ledger.synced.iter().map(|(store, lines)| (store.clone(), lines));
    let former = ledger.former.iter().map(|former| {
        let store = StoreKey::of_former(former).map_or_else(|| former.store.clone(), |store| store.to_string());
        (store, &former.pushed)
    });
    let words = |(store, lines): (String, &BTreeMap<String, PushSecretData>)| {
        lines.keys().map(|line| format!("{line} in {store}")).collect::<Vec<_>>()
    };
    synced.chain(former).flat_map(words).collect::<Vec<_>>().join(", ")
}

/// The usual inner key of a mapping.
pub fn key_of(data: &PushSecretData) -> String {
    let remote = &data.match_.remote_ref;
    match remote.property.as_deref() {
        None | Some("") => remote.remote_key.clone(),
        Some(property) => format!("{}/{property}", remote.remote_key),
    }
}

impl Ledger {
    /// Sorts the ledger of a status, given the usable stores.
    pub fn read(listed: &PushLedger, mounts: &Mounts) -> Self {
        let mut ledger = Ledger { locations: listed.locations.clone(), ..Ledger::default() };
        let synced = listed.synced.iter().map(|(store, lines)| (store, StoreKey::parse(store), lines));
        let former = listed.former.iter().map(|former| (&former.store, StoreKey::of_former(former), &former.pushed));
        for (text, store, lines) in synced.chain(former) {
            for (key, data) in lines {
                let line = Line { key: key.clone(), data: data.clone() };
                match &store {
                    Some(store) => ledger.sort(store.clone(), line, mounts),
                    None => ledger.nowhere.push((text.clone(), line)),
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
                self.pushed.entry(EntryRef { store, path }).or_default().insert(property, line);
            }
            (Ok(path), None) => self.whole.entry(EntryRef { store, path }).or_default().push(line),
            (Err(_), Some(_) | None) => self.illegible.entry(store).or_default().push(line),
        }
    }

    /// Adds a line.
    pub fn insert(&mut self, entry_ref: EntryRef, property: String, line: Line) {
        self.pushed.entry(entry_ref).or_default().insert(property, line);
    }

    /// The ledger in the form of the status.
    pub fn write(&self) -> PushLedger {
        let mut listed = PushLedger::default();
        let mut former: BTreeMap<&StoreKey, FormerLocation> = BTreeMap::new();
        for (store, line) in self.lines() {
            let Some(location) = &store.former else {
                put(listed.synced.entry(store.listed()).or_default(), line);
                continue;
            };
            let new =
                || FormerLocation { store: store.listed(), location: (**location).clone(), pushed: BTreeMap::new() };
            put(&mut former.entry(store).or_insert_with(new).pushed, line);
        }
        for (store, line) in &self.nowhere {
            put(listed.synced.entry(store.clone()).or_default(), line);
        }
        listed.former = former.into_values().collect();
        listed.locations = self.locations.clone();
        listed.locations.retain(|store, _| listed.synced.contains_key(store));
        listed
    }

    /// Sets where a store leads. It is written only if the store has lines.
    pub fn locate(&mut self, store: &StoreKey, location: &StoreLocation) {
        let recorded = self.locations.remove(&store.listed()).unwrap_or_default();
        self.locations.insert(store.listed(), location.clone().or_known_as(&recorded));
    }

    /// The stores and former locations that have lines.
    pub fn stores(&self) -> BTreeSet<StoreKey> {
        self.lines().map(|(store, _)| store.clone()).collect()
    }

    fn lines(&self) -> impl Iterator<Item = (&StoreKey, &Line)> {
        let pushed =
            self.pushed.iter().flat_map(|(entry_ref, lines)| lines.values().map(|line| (&entry_ref.store, line)));
        let whole = self.whole.iter().flat_map(|(entry_ref, lines)| lines.iter().map(|line| (&entry_ref.store, line)));
        let others = self.unreachable.iter().chain(&self.illegible);
        pushed.chain(others.flat_map(|(store, lines)| lines.iter().map(move |line| (store, line)))).chain(whole)
    }

    /// Removes all lines of a former location, and returns them for messages. Lines that cannot be
    /// reached, and have one of these keys, stay.
    pub fn let_go(&mut self, store: &StoreKey, stay: &BTreeSet<String>) -> Vec<String> {
        let mut named = Vec::new();
        self.pushed.retain(|entry_ref, lines| {
            let goes = entry_ref.store == *store;
            named.extend(
                lines.keys().filter(|_| goes).map(|property| format!("property {property:?} of {}", entry_ref.path)),
            );
            !goes
        });
        let unreachable = self.unreachable.remove(store).unwrap_or_default().into_iter();
        let (kept, gone): (Vec<Line>, Vec<Line>) = unreachable.partition(|line| stay.contains(&line.key));
        named.extend(gone.into_iter().map(|line| line.key));
        if !kept.is_empty() {
            self.unreachable.insert(store.clone(), kept);
        }
        named.extend(self.let_unclear_go(store));
        named
    }

    /// Removes the lines of a former location that name no property, and returns them for messages.
    pub fn let_unclear_go(&mut self, store: &StoreKey) -> Vec<String> {
        let mut unclear = self.illegible.remove(store).unwrap_or_default();
        self.whole.retain(|entry_ref, lines| {
            let stays = entry_ref.store != *store;
            if !stays {
                unclear.append(lines);
            }
            stays
        });
        unclear.into_iter().map(|line| line.key).collect()
    }

    /// Whether it lists a property of an entry.
    pub fn lists(&self, entry_ref: &EntryRef, property: &str) -> bool {
        self.pushed.get(entry_ref).is_some_and(|lines| lines.contains_key(property))
    }

    /// Removes the line of a property.
    pub fn remove(&mut self, entry_ref: &EntryRef, property: &str) {
        if let Some(lines) = self.pushed.get_mut(entry_ref) {
            lines.remove(property);
        }
    }

    /// The lines that name no property, for messages: what was pushed cannot be removed, because
    /// nothing tells what of it is ours.
    pub fn unclear(&self) -> Vec<String> {
        let whole = self
            .whole
            .iter()
            .flat_map(|(entry_ref, lines)| lines.iter().map(|line| (entry_ref.store.to_string(), line)));
        let illegible =
            self.illegible.iter().flat_map(|(store, lines)| lines.iter().map(|line| (store.to_string(), line)));
        let nowhere = self.nowhere.iter().map(|(store, line)| (store.clone(), line));
        let all = whole.chain(illegible).chain(nowhere);
        all.map(|(store, line)| format!("{} in {store}", line.key)).collect()
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
        let synced = BTreeMap::from([("ClusterSecretStore/vault".to_owned(), both)]);
        let listed = PushLedger { synced, ..PushLedger::default() };
        let vault = StoreKey::new(StoreKind::ClusterSecretStore, "vault");
        let ledger = Ledger::read(&listed, &Mounts::from([(vault, Some("secret".into()))]));
        assert_eq!((ledger.pushed.len(), ledger.write()), (2, listed));
    }

    #[test]
    fn what_is_read_is_written_back_unchanged() {
        let lines = [line("a/b", Some("p")), line("secret/a/c", Some("q")), line("a/d", None)];
        let of = |lines: &[Line]| lines.iter().map(|line| (line.key.clone(), line.data.clone())).collect();
        let synced = BTreeMap::from([
            ("ClusterSecretStore/vault".to_owned(), of(&lines)),
            ("SecretStore/gone".to_owned(), of(&lines[..1])),
            ("odd".to_owned(), of(&lines[..1])),
        ]);
        let location = |path: &str| StoreLocation { path: Some(path.into()), ..StoreLocation::default() };
        let former = FormerLocation {
            store: "ClusterSecretStore/vault".into(),
            location: location("old"),
            pushed: of(&lines[..1]),
        };
        let locations = BTreeMap::from([("SecretStore/gone".to_owned(), location("elsewhere"))]);
        let listed = PushLedger { synced, locations, former: vec![former.clone()] };
        let vault = StoreKey::new(StoreKind::ClusterSecretStore, "vault");
        let before = StoreKey::of_former(&former).unwrap();
        let mounts = Mounts::from([(vault, Some("secret".into())), (before, Some("old".into()))]);
        let ledger = Ledger::read(&listed, &mounts);
        let paths: Vec<String> = ledger.pushed.keys().map(|entry_ref| entry_ref.path.to_string()).collect();
        assert_eq!(paths, ["secret/a/b", "secret/a/c", "old/a/b"]);
        assert_eq!((ledger.unreachable.len(), ledger.whole.len(), ledger.nowhere.len()), (1, 1, 1));
        assert_eq!(ledger.write(), listed);
    }
}
