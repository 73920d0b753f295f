//! What a target would lose because its values are gone from a store, as opposed to a change of the
//! spec or a push of ours.

use std::collections::BTreeMap;

use super::desired::{Deletion, Desired};
use super::observe::store_of;
use super::plan::{Presence, Snapshot, Step, TargetState, snapshot_of};
use super::wanted::{Into, Reference, Wanted};
use crate::api::path_status::PathState;
use crate::domain::claim;
use crate::domain::description::What;
use crate::domain::property::{self, Reach};
use crate::domain::remote::EntryState;
use crate::domain::target::Live;
use crate::store::StoreName;

/// The state of the values that a target has from one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Absence {
    /// No value is missing, except those that we removed ourselves.
    Nothing,
    /// Some values are missing, but the target already lacks their keys.
    Harmless,
    /// Some values are missing, and the target has their keys.
    Loss,
}

/// A value of the spec, and what shows whether the target loses it.
pub struct Sought<'d> {
    store: StoreName,
    /// The key that shows whether a target has it; `None` if any key does.
    key: Option<&'d str>,
    gone: Option<Presence>,
    has_key: bool,
}

impl Sought<'_> {
    /// Whether it is gone, and no push of ours removed it.
    pub fn is_missing(&self) -> bool {
        self.gone == Some(Presence::Missing)
    }
}

/// All values of the spec, beside the target; if the spec keeps missing values, those that were found
/// below a folder, since what is found no more goes from the target in any case.
pub fn find<'d>(desired: &'d Desired, snapshots: &[(Reference, Snapshot)], target: &TargetState) -> Vec<Sought<'d>> {
    let lasting = desired.deletion == Deletion::Retain;
    let is_found = |wanted: &Wanted| matches!(wanted.into, Into::Found { .. });
    let entries = desired.entries.iter().filter(|wanted| !lasting || is_found(wanted));
    let sought = |wanted: &'d Wanted| {
        let snapshot = snapshot_of(snapshots, wanted)?;
        // What was never read is nothing to lose.
        if is_found(wanted) && snapshot.before.is_none() && snapshot.entry.data().is_none() {
            return None;
        }
        let store = store_of(desired, &wanted.from);
        let key = telling_key(desired, wanted);
        Some(Sought { store, key, gone: of(desired, wanted, snapshot, target), has_key: has_key(key, target) })
    };
    entries.filter_map(sought).collect()
}

/// The state of each store's values. The former targets, which are about to be deleted, count like
/// the present one.
pub fn by_store(sought: Vec<Sought<'_>>, former: &BTreeMap<String, Live>) -> BTreeMap<StoreName, Absence> {
    let mut found = BTreeMap::new();
    for Sought { store, key, gone, has_key } in sought {
        let has_key = has_key || former.values().any(|former| has(former, key));
        let absence = match (gone, has_key) {
            (None | Some(Presence::Live | Presence::Removed), _) => Absence::Nothing,
            (Some(Presence::Missing), false) => Absence::Harmless,
            (Some(Presence::Missing), true) => Absence::Loss,
        };
        let worst = found.entry(store).or_insert(absence);
        *worst = absence.max(*worst);
    }
    found
}

/// How the value of an entry of the spec is gone. `None` if nothing shows that it ever existed, or
/// that it will not come back: this is an error of the spec, or somebody's mistake, and removes
/// nothing.
///
/// A property is removed together with its owner's claim (RP4). If it is claimed but missing,
/// somebody else removed it, and its owner restores it.
pub fn of(desired: &Desired, wanted: &Wanted, snapshot: &Snapshot, target: &TargetState) -> Option<Presence> {
    if wanted.from.what == What::Metadata {
        // No push says that it gave up custom metadata.
        let there = snapshot
            .entry
            .data()
            .filter(|data| wanted.property.as_ref().is_none_or(|property| property::is_there(data, property)));
        return there.map(|_| Presence::Live);
    }
    let (EntryState::Live { data, .. }, Some(property)) = (&snapshot.entry.state, &wanted.property) else {
        return Some(snapshot.presence).filter(|_| !is_to_come(wanted, snapshot));
    };
    if property::is_there(data, property) {
        return Some(Presence::Live);
    }
    let was_taken = snapshot.before.as_ref().is_some_and(|before| before.properties.contains(property));
    let metadata = &snapshot.entry.custom_metadata;
    if !(was_taken || has_key(telling_key(desired, wanted), target))
        || is_claimed(property, snapshot)
        || !claim::is_marked(metadata)
    {
        return None;
    }
    // If nobody owns anything, the claim may have been erased. If nobody was seen to own this, its
    // owner may be a person.
    let is_released = snapshot.owned.contains(property) && !claim::is_vacated(metadata);
    Some(if is_released { Presence::Removed } else { Presence::Missing })
}

/// Whether a property has an owner, or had one when it was last there.
pub fn is_owned(property: &str, snapshot: &Snapshot) -> bool {
    match snapshot.entry.data().is_some_and(|data| property::is_there(data, property)) {
        true => is_claimed(property, snapshot) || is_new_and_announced(property, snapshot),
        false => is_claimed(property, snapshot) || snapshot.owned.contains(property),
    }
}

/// Whether a PushSecret that announced a claim on a property has just written it, and is about to
/// confirm the claim. What was read before without an owner is a person's until then.
fn is_new_and_announced(property: &str, snapshot: &Snapshot) -> bool {
    let metadata = &snapshot.entry.custom_metadata;
    // Without a version, these are the properties that were looked for in vain.
    let was_there =
        snapshot.before.as_ref().filter(|before| before.version.is_some()).is_some_and(|before| {
            before.properties.is_empty() || before.properties.iter().any(|known| known == property)
        });
    let is_announced = match property::reach(property) {
        Reach::One(into) => claim::is_announced(metadata, property) || claim::is_announced(metadata, &into),
        Reach::All => false,
    };
    is_announced && (!was_there || snapshot.owned.contains(property))
}

fn is_claimed(property: &str, snapshot: &Snapshot) -> bool {
    let metadata = &snapshot.entry.custom_metadata;
    match property::reach(property) {
        Reach::One(into) => claim::is_claimed(metadata, property) || claim::is_claimed(metadata, &into),
        // Whichever it selects from.
        Reach::All => claim::is_marked(metadata) && !claim::is_vacated(metadata),
    }
}

/// Whether a pinned version is missing that nothing shows to have existed: it may be published yet.
fn is_to_come(wanted: &Wanted, snapshot: &Snapshot) -> bool {
    let Some(pinned) = wanted.from.version else { return false };
    let was_read = snapshot.before.as_ref().is_some_and(|before| {
        before.state == Some(PathState::Missing) || before.version.is_some_and(|read| u64::try_from(read) == Ok(pinned))
    });
    let was_created = matches!(snapshot.entry.state, EntryState::Deleted { .. }) && snapshot.entry.created.is_some();
    snapshot.presence == Presence::Missing && !was_read && !was_created
}

/// The key of the target that shows whether it has a value. `None` if any key does: which keys a secret
/// or a template made is not known once the values are gone.
fn telling_key<'d>(desired: &Desired, wanted: &'d Wanted) -> Option<&'d str> {
    match &wanted.into {
        Into::Key(key) if desired.template.is_none() => Some(key),
        Into::Key(_) | Into::Keys { .. } | Into::Found { .. } => None,
    }
}

fn has_key(key: Option<&str>, target: &TargetState) -> bool {
    match target {
        TargetState::Present(live) => has(live, key),
        TargetState::Absent => false,
        // Not read: assumed to be as written, with all its keys.
        TargetState::AsWritten(_) => true,
    }
}

fn has(secret: &Live, key: Option<&str>) -> bool {
    key.map_or(!secret.data.is_empty(), |key| secret.data.contains_key(key))
}

/// Whether a step removes keys. If not, the target is not ours, and loses nothing.
pub fn takes_away(step: &Step) -> bool {
    match step {
        Step::Delete(_) | Step::Replace(..) | Step::Recreate(..) => true,
        Step::Keep(_) | Step::StayAbsent | Step::Create(_) | Step::Apply(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::api::path_status::PulledPath;
    use crate::domain::remote::{Entry, RemoteValue};
    use crate::domain::secret::SecretBytes;
    use crate::domain::target::Stamp;

    fn desired(policy: &str) -> Desired {
        let entry = |key: &str, store: &str| {
            let store = json!({ "storeRef": { "kind": "ClusterSecretStore", "name": store } });
            json!({ "secretKey": key, "remoteRef": { "key": key }, "sourceRef": store })
        };
        let object = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "team" },
            "spec": {
                "target": { "deletionPolicy": policy },
                "data": [entry("a", "one"), entry("b", "one"), entry("c", "two")],
            },
        }));
        Desired::parse(&object.unwrap()).unwrap()
    }

    fn snapshots(desired: &Desired, presences: [Presence; 3]) -> Vec<(Reference, Snapshot)> {
        let entries = desired.entries.iter().zip(presences);
        let snapshot = |presence| Snapshot {
            path: "secret/a".into(),
            entry: Arc::new(Entry::absent()),
            presence,
            before: None,
            owned: BTreeSet::new(),
        };
        entries.map(|(wanted, presence)| (wanted.from.clone(), snapshot(presence))).collect()
    }

    fn standing(keys: &[&str]) -> TargetState {
        TargetState::Present(Box::new(Live {
            stamp: Stamp { uid: "s".into(), resource_version: "1".into() },
            kind: "Opaque".into(),
            immutable: false,
            terminating: false,
            our_labels: Default::default(),
            our_annotations: Default::default(),
            finalizers: Default::default(),
            our_finalizers: Default::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            owners: Vec::new(),
            data: keys.iter().map(|key| ((*key).to_owned(), SecretBytes::from("x"))).collect(),
        }))
    }

    #[test]
    fn a_key_that_the_target_has_and_nobody_of_ours_removed_is_a_loss_by_store() {
        use Presence::{Live, Missing, Removed};
        let desired = desired("Delete");
        let found = |presences, keys: &[&str]| {
            let found = find(&desired, &snapshots(&desired, presences), &standing(keys));
            let found = by_store(found, &BTreeMap::new());
            [&found[&StoreName::cluster("one")], &found[&StoreName::cluster("two")]].map(|absence| *absence)
        };
        let all = ["a", "b", "c"];
        assert_eq!(found([Live, Live, Live], &all), [Absence::Nothing, Absence::Nothing]);
        assert_eq!(found([Live, Missing, Live], &all), [Absence::Loss, Absence::Nothing]);
        assert_eq!(found([Live, Missing, Live], &["a", "c"]), [Absence::Harmless, Absence::Nothing]);
        assert_eq!(found([Removed, Removed, Missing], &all), [Absence::Nothing, Absence::Loss]);
        assert_eq!(found([Missing, Missing, Missing], &["b"]), [Absence::Loss, Absence::Harmless]);
    }

    /// What is left of a path on which nobody has a claim does not tell who removed the rest. Nor does
    /// the claim of another property, if nobody was seen to own this one.
    #[test]
    fn a_property_counts_as_a_loss_unless_its_owner_gave_it_up_beside_others() {
        let object = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "team" },
            "spec": {
                "secretStoreRef": { "kind": "ClusterSecretStore", "name": "one" },
                "target": { "deletionPolicy": "Delete" },
                "data": [{ "secretKey": "a", "remoteRef": { "key": "db", "property": "password" } }],
            },
        }));
        let desired = Desired::parse(&object.unwrap()).unwrap();
        let snapshot = |claims: &[&str], owned: &[&str]| {
            let marker = (claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned());
            let claims = claims.iter().map(|property| (claim::claim_key(property), "another".to_owned()));
            let data = BTreeMap::from([("note".to_owned(), RemoteValue::text("a person's"))]);
            let entry = Entry {
                state: EntryState::Live { version: 2, data },
                custom_metadata: claims.chain([marker]).collect(),
                ..Entry::absent()
            };
            let owned = owned.iter().map(|property| (*property).to_owned()).collect();
            let (path, presence) = ("secret/db".into(), Presence::Live);
            Snapshot { path, entry: Arc::new(entry), presence, before: None, owned }
        };
        let found = |claims: &[&str], owned: &[&str]| {
            let snapshot = (desired.entries[0].from.clone(), snapshot(claims, owned));
            by_store(find(&desired, &[snapshot], &standing(&["a"])), &BTreeMap::new())[&StoreName::cluster("one")]
        };
        assert_eq!(found(&["note"], &["password"]), Absence::Nothing);
        assert_eq!(found(&[], &["password"]), Absence::Loss, "nobody has a claim");
        assert_eq!(found(&["note"], &[]), Absence::Loss, "it is not known to have had an owner");
        let is_owned = |property, claims: &[&str], owned: &[&str]| is_owned(property, &snapshot(claims, owned));
        assert!(is_owned("note", &["note"], &[]) && !is_owned("note", &[], &["note"]), "it is there");
        assert!(is_owned("password", &[], &["password"]), "what its owner removed stays so");
        let mut announced = snapshot(&[], &[]);
        let metadata = &mut Arc::get_mut(&mut announced.entry).unwrap().custom_metadata;
        metadata.insert(claim::intent_key("note", "u"), "it is confirmed in a moment".to_owned());
        assert!(super::is_owned("note", &announced) && !super::is_owned("password", &announced));
        let read = PulledPath { version: Some(1), properties: vec!["note".into()], ..PulledPath::default() };
        announced.before = Some(PulledPath { version: None, ..read.clone() });
        assert!(super::is_owned("note", &announced), "it was looked for in vain");
        announced.before = Some(read);
        assert!(!super::is_owned("note", &announced), "it was there before somebody announced anything");
        announced.owned.insert("note".to_owned());
        assert!(super::is_owned("note", &announced));
    }

    #[test]
    fn a_spec_that_keeps_what_is_missing_loses_nothing() {
        let desired = desired("Retain");
        let missing = snapshots(&desired, [Presence::Missing; 3]);
        assert!(find(&desired, &missing, &standing(&["a", "b", "c"])).is_empty());
    }
}
