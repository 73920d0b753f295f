//! The decisions of a fan-out, from namespaces and children to what users see.

mod deletions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::apply::{Outcome, Results};
use super::change::{Problem, change};
use super::desired::{self, SpecError};
use super::known::{Found, Known};
use super::plan::{Plan, Step, Unwanted, Why, plan};
use super::report::{refused, report};
use super::{observe, plan as planning};
use crate::api::condition::{READY, Reason};
use crate::api::push_secret::PushSecretSpec;
use crate::api::{ClusterPushSecret, PushSecret};
use crate::cluster::ClusterError;
use crate::cluster::children::LiveChild;
use crate::cluster::denial::Denial;
use crate::controller::report::{Report, Requeue};

type Desired = desired::Desired<PushSecretSpec>;
type Observed = planning::Observed<PushSecret>;
type Present = observe::Present<PushSecret>;

fn object(more: Value) -> ClusterPushSecret {
    let mut spec = json!({
        "namespaceSelectors": [{ "matchLabels": { "team": "a" } }],
        "pushSecretMetadata": { "labels": { "ours": "1" } },
        "pushSecretSpec": {
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": "vault" }],
            "selector": { "secret": { "name": "source" } },
        },
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = json!({ "name": "fan", "uid": "fan-uid", "generation": 2 });
    let object = json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "ClusterPushSecret", "metadata": metadata, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn desired(more: Value) -> Desired {
    desired::parse(&object(more)).unwrap()
}

fn namespace(metadata: Value) -> ObjectMeta {
    serde_json::from_value(metadata).unwrap()
}

/// Namespaces a (matches), b (does not), leaving (matches and is being deleted), out (matches and
/// opts out).
fn cluster() -> Observed {
    let labels = json!({ "team": "a" });
    let namespaces = [
        ("a", json!({ "labels": labels })),
        ("b", json!({ "labels": { "team": "b" } })),
        ("leaving", json!({ "labels": labels, "deletionTimestamp": Timestamp::UNIX_EPOCH.to_string() })),
        ("out", json!({ "labels": labels, "annotations": { "waypost.io/opt-out": "true" } })),
    ];
    let namespaces = namespaces.map(|(name, metadata)| (name.to_owned(), namespace(metadata)));
    Observed { namespaces: namespaces.into(), ..Observed::default() }
}

fn child(desired: &Desired, namespace: &str, metadata: Value) -> Present {
    let mut child = super::change::child::<ClusterPushSecret>(desired, namespace);
    let mut whole = serde_json::to_value(&child.metadata).unwrap();
    whole["uid"] = json!(format!("{namespace}-child"));
    whole.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    child.metadata = serde_json::from_value(whole).unwrap();
    present(child)
}

fn present(push: PushSecret) -> Present {
    Present::new(Arc::new(DeserializeGuard(Ok(push))))
}

fn with(mut observed: Observed, namespace: &str, child: Present) -> Observed {
    observed.children.entry(namespace.to_owned()).or_default().push(child);
    observed
}

fn unwanted(namespace: &str, name: &str, why: Why) -> Unwanted {
    Unwanted { namespace: namespace.to_owned(), name: name.to_owned(), why }
}

#[test]
fn sc3_a_namespace_that_matches_gets_a_child_and_one_that_does_not_loses_it() {
    let desired = desired(json!({}));
    let mut observed = cluster();
    for place in ["b", "leaving", "out"] {
        observed = with(observed, place, child(&desired, place, json!({})));
    }
    let wanted = BTreeMap::from([("a".to_owned(), Step::Create)]);
    let gone = ["b", "out"].map(|place| unwanted(place, "fan", Why::Unmatched));
    assert_eq!(plan(&desired, &observed), Plan { wanted, unwanted: gone.into() }, "what is leaving is left");
}

#[test]
fn a_child_as_it_should_be_is_kept_and_any_other_is_looked_at() {
    let desired = desired(json!({}));
    let step = |child: Present| plan(&desired, &with(cluster(), "a", child)).wanted["a"].clone();
    assert_eq!(step(child(&desired, "a", json!({}))), Step::Keep);
    assert_eq!(step(child(&desired, "a", json!({ "labels": { "ours": "1", "theirs": "1" } }))), Step::Settle);
    assert_eq!(step(child(&desired, "a", json!({ "labels": {} }))), Step::Settle);
    let mut edited = super::change::child::<ClusterPushSecret>(&desired, "a");
    edited.spec.selector.secret = None;
    assert_eq!(step(present(edited)), Step::Settle);
}

#[test]
fn sc9_who_is_in_the_way_is_named_and_left() {
    let desired = desired(json!({}));
    let step = |metadata: Value| plan(&desired, &with(cluster(), "a", child(&desired, "a", metadata)));
    let nobody = step(json!({ "ownerReferences": [] }));
    assert_eq!(nobody.wanted["a"], Step::Leave(Problem::Taken { owner: "is not ours".into() }));
    let namesake = json!([{ "apiVersion": "x/v1", "kind": "ClusterPushSecret", "name": "fan", "uid": "earlier", "controller": true }]);
    let other = step(json!({ "ownerReferences": namesake }));
    let owner = "belongs to ClusterPushSecret \"fan\"".to_owned();
    assert_eq!(other.wanted["a"], Step::Leave(Problem::Taken { owner }));
    let going = step(json!({ "deletionTimestamp": Timestamp::UNIX_EPOCH.to_string() }));
    assert_eq!(going.wanted["a"], Step::Leave(Problem::Leaving));
    for plan in [nobody, other, going] {
        assert_eq!(plan.unwanted, []);
    }
}

#[test]
fn a_renamed_child_goes_as_renamed_and_not_before() {
    let before = desired(json!({}));
    let after = desired(json!({ "pushSecretName": "new" }));
    let plan = plan(&after, &with(cluster(), "a", child(&before, "a", json!({}))));
    assert_eq!(plan.wanted["a"], Step::Create);
    assert_eq!(plan.unwanted, [unwanted("a", "fan", Why::Renamed)]);
}

#[test]
fn what_was_found_by_a_look_holds_until_the_child_or_the_wish_changes() {
    let (known, wish) = (Known::default(), desired(json!({})));
    let labels = json!({ "labels": { "ours": "1", "theirs": "1" } });
    let seen = with(cluster(), "a", child(&wish, "a", labels));
    known.note(&wish, seen.children["a"][0].metadata(), Found::InPlace);
    let noted = |wish: &Desired, observed: Observed| {
        let notes = known.of(wish, &observed.children);
        plan(wish, &Observed { notes, ..observed }).wanted["a"].clone()
    };
    let other = with(cluster(), "a", child(&wish, "a", json!({ "labels": { "ours": "2" } })));
    assert_eq!(noted(&wish, seen), Step::Keep);
    assert_eq!(noted(&wish, other), Step::Settle);
    let fought = with(cluster(), "a", child(&wish, "a", json!({ "labels": {} })));
    known.note(&wish, fought.children["a"][0].metadata(), Found::ChangedBack);
    assert_eq!(noted(&wish, fought), Step::Leave(Problem::ChangedBack));
}

#[test]
fn a_change_says_only_what_differs_and_takes_away_only_what_is_ours() {
    let desired = desired(json!({}));
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    let mut live = LiveChild {
        metadata: namespace(json!({
            "uid": "u", "resourceVersion": "7",
            "labels": { "ours": "2", "former": "1", "theirs": "1" }, "annotations": { "force-sync": "1" },
        })),
        spec: json!({
            "secretStoreRefs": [{ "name": "vault", "kind": "ClusterSecretStore" }],
            "selector": { "secret": { "name": "other" } }, "deletionPolicy": "Delete",
        }),
        our_labels: keys(&["former", "ours"]),
        our_annotations: keys(&[]),
    };
    let labels = json!({ "ours": "1", "former": null });
    let spec = json!({ "selector": { "secret": { "name": "source" } }, "deletionPolicy": null });
    let patch = change(&desired, &live).unwrap();
    assert_eq!(patch["metadata"], json!({ "labels": labels, "uid": "u", "resourceVersion": "7" }));
    let patched = patch["spec"].as_object().unwrap();
    assert!(spec.as_object().unwrap().iter().all(|(field, value)| patched[field] == *value), "{patch}");
    live.metadata.labels = Some(BTreeMap::from([("ours".into(), "1".into()), ("theirs".into(), "1".into())]));
    live.spec = json!(desired.child.spec);
    assert_eq!(change(&desired, &live), None);
}

#[test]
fn sc4_a_malformed_selector_keeps_what_is_there_and_says_what_is_wrong() {
    let mut odd = object(json!({ "namespaceSelectors": [{ "matchExpressions": [{ "key": "a", "operator": "Is" }] }] }));
    let status = json!({ "provisionedNamespaces": ["a"], "conditions": [{ "type": "NotReady", "status": "True" }] });
    odd.status = serde_json::from_value(status).unwrap();
    let error = desired::parse(&odd).unwrap_err();
    assert!(matches!(error, SpecError::Selector(_)));
    let Report::Verdict { verdict, status, requeue } = refused(&odd, &error, Timestamp::UNIX_EPOCH) else {
        panic!("it says nothing")
    };
    assert_eq!((verdict.reason, requeue), (Reason::InvalidSpec, Requeue::AwaitChange));
    assert!(verdict.message.contains("use In, NotIn, Exists or DoesNotExist"), "{}", verdict.message);
    assert_eq!(status.after.provisioned_namespaces, ["a"]);
    assert_eq!(status.after.conditions.iter().map(|one| one.type_.as_str()).collect::<Vec<_>>(), [READY]);
}

#[test]
fn a_thousand_namespaces_are_a_status_and_a_message_of_bounded_size() {
    let wish = desired(json!({}));
    let mut results = Results::default();
    for number in 0..2000 {
        let denied = ClusterError::Forbidden {
            verb: "create",
            object: format!("PushSecret {}/fan", "n".repeat(63)),
            denial: Denial::Unnamed,
        };
        let outcome = if number % 2 == 0 { Outcome::Done } else { Outcome::Failed(Problem::Cluster(denied)) };
        results.wanted.insert(format!("{}-{number:04}", "n".repeat(58)), outcome);
    }
    let Report::Verdict { verdict, status, requeue } =
        report(&object(json!({})), &wish, &results, &BTreeSet::new(), Timestamp::UNIX_EPOCH)
    else {
        panic!("it says nothing")
    };
    assert_eq!((verdict.reason, requeue), (Reason::NamespacesFailed, Requeue::BackOff));
    assert!(verdict.message.starts_with("1000 of 2000 namespaces failed: "), "{}", verdict.message);
    assert!(verdict.message.ends_with(" and 997 more, listed in status") && verdict.message.len() < 1500);
    assert_eq!((status.after.provisioned_namespaces.len(), status.after.failed_namespaces.len()), (1000, 500));
    assert!(status.after.provisioned_namespaces.is_sorted());
    assert!(serde_json::to_vec(&status.after).unwrap().len() < 512 * 1024);
}

#[test]
fn who_is_well_is_named_and_what_moved_is_looked_at_again_before_anything_is_said() {
    let wish = desired(json!({ "refreshTime": "5m" }));
    let said = |outcomes: &[(&str, Outcome)]| {
        let wanted = outcomes.iter().map(|(name, outcome)| ((*name).to_owned(), outcome.clone())).collect();
        let results = Results { wanted, ..Results::default() };
        report(&object(json!({})), &wish, &results, &BTreeSet::new(), Timestamp::UNIX_EPOCH)
    };
    let resync = Requeue::After(Duration::from_secs(300));
    for (outcomes, message) in [
        (vec![], "no namespace matches spec.namespaceSelectors: no PushSecret fan is created"),
        (vec![("a", Outcome::Done), ("b", Outcome::Leaving)], "PushSecret fan is in place in namespace a"),
        (vec![("a", Outcome::Done), ("b", Outcome::Done)], "PushSecret fan is in place in 2 namespaces: a, b"),
    ] {
        let Report::Verdict { verdict, requeue, .. } = said(&outcomes) else { panic!("{message}") };
        assert_eq!((verdict.reason, verdict.message.as_str(), requeue), (Reason::Provisioned, message, resync));
    }
    let moved = said(&[("a", Outcome::Done), ("b", Outcome::Moved(None))]);
    assert_eq!(moved, Report::Undecided { requeue: Requeue::After(Duration::from_secs(1)) });
}

#[test]
fn children_that_lost_what_they_write_are_named() {
    let wish = desired(json!({}));
    let results = Results { wanted: BTreeMap::from([("a".to_owned(), Outcome::Done)]), ..Results::default() };
    let said = |contested: &[&str]| {
        let contested = contested.iter().map(|name| (*name).to_owned()).collect();
        let report = report(&object(json!({})), &wish, &results, &contested, Timestamp::UNIX_EPOCH);
        let Report::Verdict { verdict, .. } = report else { panic!("it says nothing") };
        (verdict.ready, verdict.message)
    };
    let in_place = "PushSecret fan is in place in namespace a";
    let why = "it says PathConflict: all write the same paths unless a key distinguishes them, such as by {{ .metadata.namespace }}";
    assert_eq!(said(&["b", "c"]), (true, format!("{in_place}; in b, c {why}")));
    assert_eq!(said(&["b", "c", "d", "e"]).1, format!("{in_place}; in b, c, d and 1 more {why}"));
}

/// A definition that is gone answers each POST like this, and a child that somebody keeps writing
/// each PATCH.
#[test]
fn what_moves_for_the_third_time_in_a_row_has_failed_and_is_tried_ever_more_rarely() {
    let (known, wish) = (Known::default(), desired(json!({})));
    let not_found = ClusterError::NotFound { verb: "create", object: "PushSecret b/fan".into() };
    let look = |wish: &Desired, b: Outcome| {
        let wanted = BTreeMap::from([("a".to_owned(), Outcome::Done), ("b".to_owned(), b)]);
        let mut results = Results { wanted, ..Results::default() };
        known.bound(wish, &mut results);
        results
    };
    let moved = || Outcome::Moved(Some(not_found.clone()));
    for _twice in 0..2 {
        assert_eq!(look(&wish, moved()).wanted["b"], moved());
    }
    let third = look(&wish, moved());
    assert_eq!(third.wanted["b"], Outcome::Failed(Problem::Unsettled(Some(not_found.clone()))));
    let Report::Verdict { verdict, requeue, .. } =
        report(&object(json!({})), &wish, &third, &BTreeSet::new(), Timestamp::UNIX_EPOCH)
    else {
        panic!("it says nothing")
    };
    assert_eq!((verdict.reason, requeue), (Reason::NamespacesFailed, Requeue::BackOff));
    let said =
        "1 of 2 namespaces failed: b: create PushSecret b/fan: not found, again and again: check that the CRD of";
    assert!(verdict.message.starts_with(said), "{}", verdict.message);
    // It goes on failing until it holds still, or until something else is asked for.
    assert_ne!(look(&wish, moved()).wanted["b"], moved());
    assert_eq!(look(&wish, Outcome::Done).wanted["b"], Outcome::Done);
    assert_eq!(look(&wish, moved()).wanted["b"], moved());
    assert_eq!(look(&wish, moved()).wanted["b"], moved());
    let edited = Desired { generation: Some(3), ..wish.clone() };
    assert_eq!(look(&edited, moved()).wanted["b"], moved());
}

#[test]
fn sc12_a_namespace_that_never_holds_still_hides_no_failure_of_another() {
    let wish = desired(json!({}));
    let mut before = object(json!({}));
    before.status = serde_json::from_value(json!({ "provisionedNamespaces": ["old", "restless"] })).unwrap();
    let denied = ClusterError::Invalid { verb: "create", object: "PushSecret bad/fan".into(), denial: Denial::Unnamed };
    let wanted = [
        ("bad", Outcome::Failed(Problem::Cluster(denied))),
        ("fine", Outcome::Done),
        ("new", Outcome::Moved(None)),
        ("restless", Outcome::Moved(None)),
    ];
    let wanted = wanted.map(|(name, outcome)| (name.to_owned(), outcome)).into();
    let results = Results { wanted, ..Results::default() };
    let Report::Verdict { verdict, status, requeue } =
        report(&before, &wish, &results, &BTreeSet::new(), Timestamp::UNIX_EPOCH)
    else {
        panic!("the failure is hidden")
    };
    assert!(verdict.message.starts_with("1 of 4 namespaces failed: bad: "), "{}", verdict.message);
    assert_eq!(status.after.provisioned_namespaces, ["fine", "restless"], "what moves is left as it was");
    let failed: Vec<&str> = status.after.failed_namespaces.iter().map(|one| one.namespace.as_str()).collect();
    assert_eq!((failed, requeue), (vec!["bad"], Requeue::After(Duration::from_secs(1))));
}
