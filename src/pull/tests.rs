//! The decisions of a pull, from spec to report.

mod consents;
mod extracts;
mod fetched;
mod folders;
mod found;
mod large_paths;
mod late_values;
mod missing;
mod model;
mod removed;
mod slow_stores;
mod stopped_renames;
mod strangers;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use serde_json::value::RawValue;

use super::apply::Applied;
use super::consent::Consumer;
use super::desired::{self, Desired, Refresh, SpecError};
use super::earlier::Holding;
use super::observe::{self, OpenStores, Past};
use super::plan::{Observed, Presence, Snapshot, Step, TargetState, Written, plan, written};
use super::refusal::Refusal;
use super::report::{self, Failure, Moment, Permission, StoreSince, Synced};
use crate::api::condition::{self, READY, Reason};
use crate::api::external_secret::ExternalSecretStatus;
use crate::api::path_status::PulledPath;
use crate::api::{ExternalSecret, names};
use crate::controller::report::{Report, Requeue};
use crate::domain::claim;
use crate::domain::fingerprint::data_hash;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState, RemoteValue};
use crate::domain::secret::SecretBytes;
use crate::domain::target::{Live, OwnerRef, Stamp, Strangers};
use crate::feed::{Feed, Follow, Freshness};
use crate::store::fake::FakeStore;
use crate::store::{StoreClient, StoreName, StoreRefusal};

fn object(spec: serde_json::Value) -> ExternalSecret {
    serde_json::from_value(json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {
            "name": "db", "namespace": "team", "uid": "es-uid", "generation": 1,
            "labels": {"app": "web", "app.kubernetes.io/instance": "no"},
            "annotations": {"note": "yes", "argocd.argoproj.io/sync-wave": "1"},
        },
        "spec": spec,
    }))
    .unwrap()
}

fn spec() -> serde_json::Value {
    json!({
        "secretStoreRef": {"name": "vault", "kind": "ClusterSecretStore"},
        "refreshInterval": "1h",
        "data": [{"secretKey": "password", "remoteRef": {"key": "platform-data/redis/db", "property": "password"}}],
    })
}

fn spec_with(pointer: &str, value: serde_json::Value) -> serde_json::Value {
    let mut spec = spec();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
    spec
}

fn desired(spec: serde_json::Value) -> Desired {
    Desired::parse(&object(spec)).unwrap()
}

/// The report on either outcome of a reconcile, whose target holds nothing else.
fn report(
    object: &ExternalSecret,
    desired: &Desired,
    result: Result<Synced, Failure>,
    moment: &Moment,
) -> Report<ExternalSecretStatus> {
    match result {
        Ok(synced) => report::success(object, desired, synced, moment),
        Err(failure) => report::failure(object, Some(desired), &failure, Holding::Nothing, moment),
    }
}

fn live_entry(version: u64, json: &str) -> EntryState {
    let data: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap();
    EntryState::Live { version, data: data.into_iter().map(|(key, value)| (key, RemoteValue::raw(value))).collect() }
}

fn observed(desired: &Desired, state: EntryState, target: TargetState) -> Observed {
    let entry = Arc::new(Entry { state, ..Entry::absent() });
    let presence = if entry.data().is_some() { Presence::Live } else { Presence::Missing };
    let (path, owned) = ("secret/platform-data/redis/db".into(), BTreeSet::new());
    let snapshot = Snapshot { path, entry, presence, before: None, owned };
    Observed {
        snapshots: vec![(desired.entries[0].from.clone(), snapshot)],
        target,
        consumer: Consumer::default(),
        texts: Default::default(),
    }
}

fn created(desired: &Desired, state: EntryState) -> crate::domain::target::Target {
    match plan(desired, observed(desired, state, TargetState::Absent)).unwrap().step {
        Step::Create(target) => target,
        _other => panic!("an absent target is created"),
    }
}

/// The target as the cluster holds it after we created it.
fn standing(desired: &Desired, state: EntryState) -> Box<Live> {
    let target = created(desired, state);
    Box::new(Live {
        stamp: Stamp { uid: "s".into(), resource_version: "1".into() },
        kind: target.kind,
        immutable: false,
        terminating: false,
        our_labels: target.labels.keys().cloned().collect(),
        our_annotations: target.annotations.keys().cloned().collect(),
        our_finalizers: target.finalizers.clone(),
        finalizers: target.finalizers,
        labels: target.labels,
        annotations: target.annotations,
        owners: vec![target.owner],
        data: target.data,
    })
}

fn step(desired: &Desired, state: EntryState, live: Box<Live>) -> Result<Step, Refusal> {
    plan(desired, observed(desired, state, TargetState::Present(live))).map(|plan| plan.step)
}

const ONE: &str = r#"{"password": "1"}"#;

#[test]
fn what_is_wrong_in_a_spec_is_named() {
    let cases = [
        (spec_with("/refreshInterval", json!("1h-5m")), Reason::InvalidSpec, "refreshInterval"),
        (spec_with("/data", json!([])), Reason::InvalidSpec, "spec.data"),
        (spec_with("/secretStoreRef", json!({})), Reason::InvalidSpec, "secretStoreRef"),
        (spec_with("/data/0/remoteRef/version", json!("x")), Reason::InvalidSpec, "version"),
        (
            spec_with("/data/0/remoteRef/key", json!("k".repeat(1025))),
            Reason::InvalidSpec,
            "spec.data[0].remoteRef.key has 1025 characters: at most 1024",
        ),
        (spec_with("/data/0/secretKey", json!("k".repeat(254))), Reason::TargetInvalid, "K1"),
        (spec_with("/data/0/secretKey", json!("a/b")), Reason::TargetInvalid, "a/b"),
        (spec_with("/target", json!({"name": "A_B"})), Reason::TargetInvalid, "A_B"),
        (
            spec_with("/dataFrom", json!([{"find": { "name": { "regexp": "(" } }}])),
            Reason::InvalidSpec,
            "spec.dataFrom[0].find.name.regexp",
        ),
        (
            spec_with("/dataFrom", json!([{"find": { "name": { "regexp": "a" }, "tags": { "team": "a" } }}])),
            Reason::InvalidSpec,
            "spec.dataFrom[0].find has both name and tags",
        ),
        (spec_with("/target", json!({"creationPolicy": "Merge"})), Reason::Unsupported, "creationPolicy Merge"),
        (spec_with("/target", json!({"deletionPolicy": "Merge"})), Reason::Unsupported, "deletionPolicy Merge"),
    ];
    for (spec, reason, part) in cases {
        let error = Desired::parse(&object(spec)).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let twice = spec_with("/data", json!([spec()["data"][0], spec()["data"][0]]));
    assert_eq!(Desired::parse(&object(twice)).err(), Some(SpecError::DuplicateKey { key: "password".into() }));
}

#[test]
fn intervals_that_are_not_positive_mean_once() {
    for (interval, refresh) in
        [("0", Refresh::Once), ("-5m", Refresh::Once), ("90s", Refresh::Follow(Duration::from_secs(90)))]
    {
        assert_eq!(desired(spec_with("/refreshInterval", json!(interval))).refresh, refresh);
    }
    assert_eq!(desired(spec_with("/refreshPolicy", json!("OnChange"))).refresh, Refresh::OnChange);
}

#[test]
fn a_target_carries_our_marks_and_nothing_that_makes_others_act() {
    let desired = desired(spec());
    let target = created(&desired, live_entry(3, ONE));
    assert_eq!(target.labels.keys().collect::<Vec<_>>(), ["app", names::LABEL_CREATED_BY, names::LABEL_MANAGED]);
    assert_eq!(
        target.annotations.keys().collect::<Vec<_>>(),
        ["note", names::ANNOTATION_DATA_HASH, names::ANNOTATION_ORIGIN]
    );
    assert_eq!(target.annotations[names::ANNOTATION_DATA_HASH], data_hash(&target.data));
    assert!(target.annotations[names::ANNOTATION_ORIGIN].contains("\"version\":3"));
    assert_eq!(target.owner.uid, "es-uid");
}

#[test]
fn another_version_with_the_same_values_rewrites_nothing() {
    let desired = desired(spec());
    let live = standing(&desired, live_entry(1, ONE));
    let other = live_entry(2, r#"{"password": "1", "username": "x"}"#);
    assert!(matches!(step(&desired, other, live), Ok(Step::Keep(_))));
}

#[test]
fn edits_of_data_and_of_our_labels_are_reverted_and_foreign_metadata_stays() {
    let desired = desired(spec());
    let mut edited = standing(&desired, live_entry(1, ONE));
    edited.data.insert("password".into(), SecretBytes::from("x"));
    assert!(matches!(step(&desired, live_entry(1, ONE), edited), Ok(Step::Apply(..))));

    let mut unmarked = standing(&desired, live_entry(1, ONE));
    unmarked.labels.remove(names::LABEL_MANAGED);
    assert!(matches!(step(&desired, live_entry(1, ONE), unmarked), Ok(Step::Apply(..))));

    let mut noted = standing(&desired, live_entry(1, ONE));
    noted.annotations.insert("theirs".into(), "1".into());
    assert!(matches!(step(&desired, live_entry(1, ONE), noted), Ok(Step::Keep(_))));

    let mut foreign = standing(&desired, live_entry(1, ONE));
    foreign.data.insert("extra".into(), SecretBytes::from("x"));
    match step(&desired, live_entry(1, ONE), foreign) {
        Ok(Step::Replace(_, _, removals)) => assert_eq!(removals.keys, BTreeSet::from(["extra".to_owned()])),
        _other => panic!("foreign keys are removed"),
    }
}

#[test]
fn metadata_that_the_other_controller_carried_over_goes_with_the_next_change_only() {
    let desired = desired(spec());
    let inherited = |live: &mut Live| {
        live.labels.insert("app.kubernetes.io/instance".into(), "no".into());
        live.our_labels.insert("app.kubernetes.io/instance".into());
    };
    let mut live = standing(&desired, live_entry(1, ONE));
    inherited(&mut live);
    assert!(matches!(step(&desired, live_entry(1, ONE), live), Ok(Step::Keep(_))));
    let mut live = standing(&desired, live_entry(1, ONE));
    inherited(&mut live);
    assert!(matches!(step(&desired, live_entry(2, r#"{"password": "2"}"#), live), Ok(Step::Replace(..))));
}

#[test]
fn a_secret_that_only_looks_like_ours_is_left_alone() {
    let mut live = standing(&desired(spec()), live_entry(1, ONE));
    live.owners.clear();
    live.our_annotations.clear();
    let mut object = object(spec());
    let refused = step(&Desired::parse(&object).unwrap(), live_entry(2, ONE), live).err().unwrap();
    assert_eq!(refused.reason(), Reason::TargetNotOwned);

    let mut live = standing(&desired(spec()), live_entry(1, ONE));
    live.owners.clear();
    live.our_annotations.clear();
    object.metadata.annotations.get_or_insert_default().insert(names::ANNOTATION_ADOPT.into(), "true".into());
    assert!(matches!(step(&Desired::parse(&object).unwrap(), live_entry(1, ONE), live), Ok(Step::Apply(..))));

    let mut live = standing(&desired(spec()), live_entry(1, ONE));
    live.owners = vec![OwnerRef { uid: "other".into(), name: "other-es".into(), ..live.owners[0].clone() }];
    let refused = step(&Desired::parse(&object).unwrap(), live_entry(1, ONE), live).err().unwrap();
    assert!(refused.to_string().contains("ExternalSecret other-es"), "{refused}");
}

#[test]
fn what_is_missing_never_empties_a_target_unless_the_spec_says_so() {
    let retain = desired(spec());
    for state in [EntryState::Absent, EntryState::Deleted { version: 2 }] {
        let live = standing(&retain, live_entry(1, ONE));
        assert_eq!(step(&retain, state, live).err().unwrap().reason(), Reason::PathNotFound);
    }
    let delete = desired(spec_with("/target", json!({"deletionPolicy": "Delete"})));
    let live = standing(&delete, live_entry(1, ONE));
    assert!(matches!(step(&delete, EntryState::Deleted { version: 2 }, live), Ok(Step::Delete(_))));
    let mut strangers = standing(&delete, live_entry(1, ONE));
    strangers.owners.clear();
    strangers.our_annotations.clear();
    assert!(matches!(step(&delete, EntryState::Absent, strangers), Ok(Step::StayAbsent)));
    let live = standing(&delete, live_entry(1, ONE));
    assert_eq!(step(&delete, live_entry(2, "{}"), live).err().unwrap().reason(), Reason::PropertyNotFound);
}

#[test]
fn a_target_over_a_mebibyte_is_refused_before_any_write() {
    let desired = desired(spec());
    let large = format!(r#"{{"password": "{}"}}"#, "x".repeat(1024 * 1024));
    let refused = plan(&desired, observed(&desired, live_entry(1, &large), TargetState::Absent)).err().unwrap();
    assert_eq!(refused.reason(), Reason::TooLarge);
}

#[test]
fn immutable_targets_and_other_types_are_recreated_only_where_allowed() {
    let desired = desired(spec());
    let mut live = standing(&desired, live_entry(1, ONE));
    live.immutable = true;
    let two = || live_entry(2, r#"{"password": "2"}"#);
    assert_eq!(step(&desired, two(), live).err().unwrap().reason(), Reason::TargetImmutable);
    let allowed = Desired { immutable_targets: desired::ImmutableTargets::Recreate, ..desired.clone() };
    let mut live = standing(&desired, live_entry(1, ONE));
    live.immutable = true;
    assert!(matches!(step(&allowed, two(), live), Ok(Step::Recreate(..))));
    let mut typed = standing(&desired, live_entry(1, ONE));
    typed.kind = "kubernetes.io/tls".into();
    assert!(matches!(step(&desired, live_entry(1, ONE), typed), Ok(Step::Recreate(..))));
}

#[test]
fn adopting_never_deletes_what_it_cannot_change() {
    let adopting = Desired {
        strangers: Strangers::Adopt,
        immutable_targets: desired::ImmutableTargets::Recreate,
        ..desired(spec())
    };
    let strangers = || {
        let mut live = standing(&adopting, live_entry(1, ONE));
        live.owners.clear();
        live.our_annotations.clear();
        live
    };
    let mut typed = strangers();
    typed.kind = "kubernetes.io/tls".into();
    let refused = step(&adopting, live_entry(1, ONE), typed).err().unwrap();
    assert_eq!(refused.reason(), Reason::TargetNotOwned);
    assert!(refused.to_string().contains("has type kubernetes.io/tls"), "{refused}");
    let mut fixed = strangers();
    fixed.immutable = true;
    let refused = step(&adopting, live_entry(2, r#"{"password": "2"}"#), fixed).err().unwrap();
    assert_eq!(refused.reason(), Reason::TargetImmutable);
    assert!(matches!(step(&adopting, live_entry(2, r#"{"password": "2"}"#), strangers()), Ok(Step::Apply(..))));
}

/// RP4, whatever the spelling of a path into a property.
#[test]
fn a_path_into_a_property_that_its_owner_still_claims_is_no_loss() {
    let mut spec = spec_with("/data/0/remoteRef/property", json!(r"tls\.json.crt"));
    spec["target"] = json!({"deletionPolicy": "Delete"});
    let desired = desired(spec);
    let live = standing(&desired, live_entry(1, r#"{"tls.json": {"crt": "1"}}"#));
    let mut found = observed(&desired, EntryState::Absent, TargetState::Present(live));
    let labels = [claim::MARKER.to_owned(), claim::claim_key("tls.json")];
    let custom_metadata = labels.into_iter().map(|key| (key, claim::MARKER_VALUE.to_owned())).collect();
    let (_, snapshot) = &mut found.snapshots[0];
    let state = live_entry(2, r#"{"other": "1"}"#);
    snapshot.entry = Arc::new(Entry { state, custom_metadata, ..Entry::absent() });
    assert_eq!(plan(&desired, found).err().map(|refusal| refusal.reason()), Some(Reason::PropertyNotFound));
}

/// Keys a and b of a target with deletionPolicy Delete, after a version without property b by an
/// entry with these labels.
fn without_b(labels: &[String], properties: &[&str], has_key: bool) -> Result<Step, Refusal> {
    let entry = |key: &str| json!({"secretKey": key, "remoteRef": {"key": "platform-data/redis/db", "property": key}});
    let mut spec = spec_with("/target", json!({"deletionPolicy": "Delete"}));
    spec["data"] = json!([entry("a"), entry("b")]);
    let desired = desired(spec);
    let custom_metadata = labels.iter().map(|key| (key.clone(), claim::MARKER_VALUE.to_owned())).collect();
    let mut found = observed(&desired, live_entry(2, r#"{"a": "1"}"#), TargetState::Absent);
    let (_, snapshot) = &mut found.snapshots[0];
    snapshot.entry = Arc::new(Entry { state: live_entry(2, r#"{"a": "1"}"#), custom_metadata, ..Entry::absent() });
    snapshot.before = Some(PulledPath {
        properties: properties.iter().map(|property| (*property).to_owned()).collect(),
        ..PulledPath::default()
    });
    if has_key {
        let mut live = standing(&self::desired(self::spec()), live_entry(1, ONE));
        live.data = ["a", "b"].map(|key| (key.to_owned(), SecretBytes::from("1"))).into();
        found.target = TargetState::Present(live);
    }
    plan(&desired, found).map(|plan| plan.step)
}

#[test]
fn rp4_a_property_that_its_owner_dropped_leaves_the_target_and_a_slip_takes_nothing() {
    let (marker, a, b) = (claim::MARKER.to_owned(), claim::claim_key("a"), claim::claim_key("b"));
    let dropped = [marker.clone(), a.clone()];
    match without_b(&dropped, &["a", "b"], true) {
        Ok(Step::Replace(target, _, removals)) => {
            assert_eq!(removals.keys, BTreeSet::from(["b".to_owned()]));
            assert_eq!(target.data.keys().collect::<Vec<_>>(), ["a"]);
        }
        other => panic!("the key goes: {:?}", other.err()),
    }
    // It stays so, although the target has the key no longer; and where definitions keep no paths,
    // the key itself tells.
    assert!(matches!(without_b(&dropped, &["a", "b"], false), Ok(Step::Create(_))));
    assert!(matches!(without_b(&dropped, &[], true), Ok(Step::Replace(..))));
    let slips = [
        ("never taken", without_b(&dropped, &["a"], false)),
        ("its owner will restore it", without_b(&[marker.clone(), a.clone(), b], &["a", "b"], true)),
        ("nobody's entry", without_b(&[a], &["a", "b"], true)),
    ];
    for (case, slip) in slips {
        assert_eq!(slip.err().map(|refusal| refusal.reason()), Some(Reason::PropertyNotFound), "{case}");
    }
}

#[test]
fn an_empty_value_and_a_target_that_stays_immutable_are_told() {
    let desired = desired(spec());
    let notes = |state, target| plan(&desired, observed(&desired, state, target)).unwrap().notes;
    assert_eq!(notes(live_entry(1, ONE), TargetState::Absent), [""; 0]);
    let [note] = notes(live_entry(2, r#"{"password": ""}"#), TargetState::Absent).try_into().unwrap();
    assert!(note.contains("\"password\" is empty"), "{note}");
    for is_edited in [false, true] {
        let mut live = standing(&desired, live_entry(1, ONE));
        live.immutable = true;
        if is_edited {
            live.labels.clear();
        }
        let [note] = notes(live_entry(1, ONE), TargetState::Present(live)).try_into().unwrap();
        assert!(note.contains("still immutable") && note.contains("recreate-immutable"), "{note}");
    }
    let stamp = Stamp { uid: "s".into(), resource_version: "1".into() };
    let as_written = Written { immutable: true, ..written(&created(&desired, live_entry(1, ONE)), stamp) };
    assert_eq!(notes(live_entry(1, ONE), TargetState::AsWritten(as_written)).len(), 1);
}

fn moment(seconds: i64) -> Moment {
    Moment { now: Timestamp::from_second(seconds).unwrap(), heartbeat: Duration::from_secs(3600) }
}

fn done(desired: &Desired, version: u64) -> Synced {
    let target = created(desired, live_entry(version, ONE));
    let stamp = Stamp { uid: "s".into(), resource_version: "1".into() };
    let versions = plan(desired, observed(desired, live_entry(version, ONE), TargetState::Absent)).unwrap().versions;
    let applied = Applied::Kept(written(&target, stamp));
    Synced::Done { applied, versions, warnings: Vec::new(), is_synced: true }
}

#[test]
fn an_unchanged_status_is_not_written_before_the_heartbeat() {
    let mut object = object(spec());
    let desired = Desired::parse(&object).unwrap();
    let mut status_after = |result, seconds| match report(&object, &desired, Ok(result), &moment(seconds)) {
        Report::Verdict { status, requeue, .. } => {
            let changed = status.before.as_ref() != Some(&status.after);
            object.status = Some(status.after);
            (changed, Some(requeue))
        }
        Report::Unchanged { ready: true, requeue } => (false, Some(requeue)),
        other => panic!("{other:?}"),
    };
    assert!(status_after(done(&desired, 1), 1000).0);
    assert!(!status_after(done(&desired, 1), 1010).0);
    assert_eq!(status_after(Synced::Unchanged, 1010), (false, Some(Requeue::After(Duration::from_secs(3590)))));
    assert!(status_after(Synced::Unchanged, 4600).0);
    assert!(status_after(done(&desired, 2), 4601).0);
}

#[test]
fn an_edit_of_what_is_read_once_is_noted_and_said_once() {
    let mut object = object(spec_with("/refreshInterval", json!("0")));
    let desired = Desired::parse(&object).unwrap();
    let Report::Verdict { status, .. } = report(&object, &desired, Ok(done(&desired, 1)), &moment(1000)) else {
        panic!("a sync has a verdict");
    };
    object.status = Some(status.after);
    let held = || Ok(Synced::Held { store: StoreSince::AsItWas, permission: Permission::Given });
    for generation in [2, 3] {
        object.metadata.generation = Some(generation);
        let Report::Verdict { verdict, status, requeue } = report(&object, &desired, held(), &moment(1010)) else {
            panic!("generation {generation} was not noted");
        };
        assert_eq!((verdict.ready, requeue), (true, Requeue::AwaitChange));
        assert_eq!(verdict.message.matches("is not read again").count(), 1, "{}", verdict.message);
        let ready = condition::find(&status.after.conditions, READY).unwrap();
        assert_eq!([status.after.observed_generation, ready.observed_generation], [Some(generation); 2]);
        assert_eq!(ready.last_transition_time, Some(Time(moment(1000).now)));
        object.status = Some(status.after.clone());
        let Report::Verdict { status: again, .. } = report(&object, &desired, held(), &moment(1020)) else {
            panic!("what is held has a verdict");
        };
        assert_eq!(again.after, status.after);
    }
}

#[test]
fn an_edit_of_the_store_of_what_is_not_read_again_is_said_until_it_is_as_it_was() {
    let mut object = object(spec_with("/refreshPolicy", json!("OnChange")));
    let desired = Desired::parse(&object).unwrap();
    let Report::Verdict { status, .. } = report(&object, &desired, Ok(done(&desired, 1)), &moment(1000)) else {
        panic!("a sync has a verdict");
    };
    object.status = Some(status.after);
    let mut says = |store| {
        let held = Ok(Synced::Held { store, permission: Permission::Given });
        let Report::Verdict { verdict, status, .. } = report(&object, &desired, held, &moment(1010)) else {
            panic!("what is held has a verdict");
        };
        object.status = Some(status.after);
        (verdict.ready, verdict.message.matches("its store was edited").count())
    };
    let story = [StoreSince::AsItWas, StoreSince::Edited, StoreSince::Edited, StoreSince::Unknown, StoreSince::AsItWas];
    assert_eq!(story.map(&mut says), [(true, 0), (true, 1), (true, 1), (true, 1), (true, 0)]);
}

/// A status that arrives late has put an older condition beside a newer refresh.
#[test]
fn under_on_change_a_condition_catches_up_with_its_refresh() {
    for policy in ["OnChange", "CreatedOnce"] {
        let mut object = object(spec_with("/refreshPolicy", json!(policy)));
        let desired = Desired::parse(&object).unwrap();
        let Report::Verdict { status, .. } = report(&object, &desired, Ok(done(&desired, 1)), &moment(1000)) else {
            panic!("a sync has a verdict");
        };
        object.status = Some(status.after);
        let earlier = Time(Timestamp::from_second(990).unwrap());
        object.status.as_mut().unwrap().conditions[0].last_transition_time = Some(earlier);
        let held = Ok(Synced::Held { store: StoreSince::AsItWas, permission: Permission::Given });
        for outcome in [Ok(done(&desired, 1)), held] {
            let Report::Verdict { status, .. } = report(&object, &desired, outcome, &moment(1010)) else {
                panic!("it has a verdict");
            };
            let changed = status.after.conditions[0].last_transition_time.as_ref().unwrap().0.as_second();
            assert_eq!(changed, if policy == "OnChange" { 1000 } else { 990 });
        }
    }
}

#[test]
fn what_is_held_again_after_a_failure_is_ready_again() {
    let mut object = object(spec_with("/refreshInterval", json!("0")));
    let desired = Desired::parse(&object).unwrap();
    let Report::Verdict { status, .. } = report(&object, &desired, Ok(done(&desired, 1)), &moment(1000)) else {
        panic!("a sync has a verdict");
    };
    object.status = Some(status.after);
    let gone = StoreRefusal::NotFound { store: StoreName::cluster("vault") };
    let failure = Failure::Observe(observe::ObserveError::Store(gone));
    let Report::Verdict { verdict, status, .. } = report(&object, &desired, Err(failure), &moment(1010)) else {
        panic!("a failure has a verdict");
    };
    assert!(
        verdict.message.ends_with("correct the reference; the target keeps its data meanwhile"),
        "{}",
        verdict.message
    );
    object.status = Some(status.after);
    let held = Ok(Synced::Held { store: StoreSince::Unknown, permission: Permission::Given });
    let Report::Verdict { verdict, .. } = report(&object, &desired, held, &moment(1020)) else {
        panic!("what is held has a verdict");
    };
    assert_eq!((verdict.ready, verdict.reason), (true, Reason::SecretSynced));
}

#[test]
fn a_failure_keeps_what_was_synced_and_says_why() {
    let mut object = object(spec());
    let desired = Desired::parse(&object).unwrap();
    let Report::Verdict { status, .. } = report(&object, &desired, Ok(done(&desired, 1)), &moment(1000)) else {
        panic!("a sync has a verdict");
    };
    object.status = Some(status.after.clone());
    let sealed = crate::feed::ReadError::Store(crate::store::StoreError::Sealed { server: "https://vault".into() });
    let failure =
        Failure::Observe(observe::ObserveError::Read { store: "ClusterSecretStore/vault".into(), cause: sealed });
    let Report::Verdict { verdict, status: failed, requeue } = report(&object, &desired, Err(failure), &moment(1010))
    else {
        panic!("a failure has a verdict");
    };
    assert_eq!((verdict.ready, verdict.reason, requeue), (false, Reason::SecretSyncedError, Requeue::BackOff));
    assert!(verdict.message.contains("sealed"), "{}", verdict.message);
    assert_eq!(failed.after.paths, status.after.paths);
    assert_eq!(failed.after.synced_resource_version, status.after.synced_resource_version);
}

#[test]
fn an_open_circuit_does_not_hide_the_cause_behind_a_countdown() {
    let mut object = object(spec());
    let desired = Desired::parse(&object).unwrap();
    let mut failed_with = |error: crate::store::StoreError| {
        let cause = crate::feed::ReadError::Store(error);
        let failure = Failure::Observe(observe::ObserveError::Read { store: "ClusterSecretStore/vault".into(), cause });
        let Report::Verdict { verdict, status, .. } = report(&object, &desired, Err(failure), &moment(1000)) else {
            panic!("a failure has a verdict");
        };
        let written = status.before.as_ref() != Some(&status.after);
        object.status = Some(status.after);
        (verdict.message, written)
    };
    let server = || "https://vault".to_owned();
    let (sealed, _) = failed_with(crate::store::StoreError::Sealed { server: server() });
    for _repeated in 0..3 {
        let cause = Box::new(crate::store::StoreError::Sealed { server: server() });
        let open = crate::store::StoreError::CircuitOpen { server: server(), cause };
        assert_eq!(failed_with(open), (sealed.clone(), false));
    }
}
