//! Who may read what, by the entry alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::{desired, live_entry, observed, spec_with};
use crate::domain::claim::{self, CustomMetadata};
use crate::domain::consent::{self, Silence};
use crate::domain::property::{self, Reach};
use crate::domain::remote::{Entry, EntryState};
use crate::pull::desired::Desired;
use crate::pull::plan::{Step, TargetState, plan};
use crate::pull::refusal::Refusal;

const NOBODY: &str = r#"{"onWithdrawal":"Delete"}"#;
const NOBODY_KEEPS: &str = "{}";

/// Reads these properties; `None` is the whole secret.
fn reads(properties: &[Option<&str>]) -> Desired {
    let entries = properties.iter().enumerate().map(|(at, property)| {
        let mut remote = json!({ "key": "platform-data/redis/db" });
        if let Some(property) = property {
            remote["property"] = json!(property);
        }
        json!({ "secretKey": format!("key-{at}"), "remoteRef": remote })
    });
    desired(spec_with("/data", entries.collect()))
}

fn consents(of: &[(&str, &str)]) -> CustomMetadata {
    of.iter().map(|(property, text)| (consent::key(property), (*text).to_owned())).collect()
}

/// The step by an entry in this state, with this custom metadata.
fn judged(
    desired: &Desired,
    state: EntryState,
    custom_metadata: CustomMetadata,
    silence: Silence,
) -> Result<Step, Refusal> {
    let mut found = observed(desired, EntryState::Absent, TargetState::Absent);
    found.snapshots[0].1.entry = Arc::new(Entry { state, custom_metadata, ..Entry::absent() });
    found.consumer.silence = silence;
    plan(desired, found).map(|plan| plan.step)
}

/// The property that was refused, and whether the target goes.
fn denied(result: Result<Step, Refusal>) -> Option<(String, bool)> {
    let refusal = result.err()?;
    let takes = refusal.takes_target();
    match refusal {
        Refusal::NotPermitted(denial) => Some((denial.property, takes)),
        _other => None,
    }
}

/// Each entry with some of three properties, of which some may not be read: nobody reads what they
/// may not, and only who names a property loses the target for it.
#[test]
fn i4_a_name_is_judged_by_the_property_that_it_leads_to_and_by_no_other() {
    let all = ["x", "x.y", "password"];
    let chosen = |bits: usize| all.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, name)| *name);
    for (there, forbidden) in (0..8).flat_map(|there| (0..8).map(move |forbidden| (there, forbidden))) {
        let data: BTreeMap<&str, _> = chosen(there).map(|name| (name, json!({ "y": name, "z": name }))).collect();
        let told: Vec<_> = chosen(forbidden).map(|name| (name, NOBODY)).collect();
        for name in ["x", "x.y", "x.z", r"x\.y", r"x\.y.z", "password", "other"] {
            let case = format!("{name}: {data:?}, nobody may read {told:?}");
            let state = live_entry(1, &json!(data).to_string());
            let result = judged(&reads(&[Some(name)]), state, consents(&told), Silence::Permits);
            let Reach::One(into) = property::reach(name) else { panic!("{name} leads to more than one") };
            let leads_to = if data.contains_key(name) { name } else { &into };
            let is_forbidden = |name: &str| chosen(forbidden).any(|forbidden| forbidden == name);
            match result {
                Ok(_) => assert!(!is_forbidden(leads_to), "{case}"),
                Err(Refusal::NotPermitted(denial)) => {
                    let is_gone = !data.contains_key(leads_to) && denial.property == name;
                    assert!(is_forbidden(&denial.property), "{case}: {denial}");
                    assert!(denial.property == leads_to || is_gone, "{case}: {denial}");
                }
                Err(_not_there) => {}
            }
        }
    }
}

/// A wildcard at its start may select from any property, as the whole secret does.
#[test]
fn i4_a_path_that_may_lead_anywhere_needs_every_consent() {
    let read = |name: &str, told: &[(&str, &str)], silence| {
        let state = live_entry(1, r#"{"x": {"y": "1"}, "password": {"y": "2"}}"#);
        denied(judged(&reads(&[Some(name)]), state, consents(told), silence))
    };
    for name in ["x*.y", "?.y", "*"] {
        assert_eq!(read(name, &[], Silence::Permits), None);
        assert_eq!(read(name, &[("password", NOBODY)], Silence::Permits), Some(("password".to_owned(), true)));
        assert!(read(name, &[], Silence::Forbids).is_some(), "{name}");
    }
    for name in ["x.y", "x|y", "x.*"] {
        assert_eq!(read(name, &[("password", NOBODY)], Silence::Permits), None, "{name}");
        assert_eq!(read(name, &[("x", NOBODY)], Silence::Permits), Some(("x".to_owned(), true)), "{name}");
    }
}

#[test]
fn a_missing_consent_forbids_only_what_is_there() {
    let forbids =
        |properties: &[Option<&str>], state| denied(judged(&reads(properties), state, consents(&[]), Silence::Forbids));
    let one = || live_entry(1, r#"{"x": {"y": "1"}}"#);
    for read in [Some("x"), Some("x.y"), None] {
        assert_eq!(forbids(&[read], one()), Some(("x".to_owned(), false)), "{read:?}");
        assert_eq!(forbids(&[read], EntryState::Absent), None, "{read:?}");
    }
    assert_eq!(forbids(&[Some("password")], one()), None);
}

/// RF2: what is withdrawn goes, whatever else is missing or forbidden, and whether or not it is
/// there.
#[test]
fn rf2_a_withdrawal_is_heard_whatever_else_stands_in_the_way() {
    let taken = |properties: &[Option<&str>], state: EntryState, told: &[(&str, &str)]| {
        denied(judged(&reads(properties), state, consents(told), Silence::Permits))
    };
    let withdrawn = Some(("x".to_owned(), true));
    let states: [fn() -> EntryState; 4] = [
        || live_entry(1, r#"{"x": "1", "password": "2"}"#),
        || live_entry(1, r#"{"password": "2"}"#),
        || EntryState::Deleted { version: 2 },
        || EntryState::Absent,
    ];
    let (gone, kept) = ([("x", NOBODY)], [("password", NOBODY_KEEPS), ("x", NOBODY)]);
    for state in states {
        assert_eq!(taken(&[None], state(), &gone), withdrawn, "the whole secret");
        assert_eq!(taken(&[Some("x")], state(), &gone), withdrawn);
        assert_eq!(taken(&[Some("other"), Some("x")], state(), &gone), withdrawn, "beside a value that is missing");
        assert_eq!(taken(&[Some("password"), Some("x")], state(), &kept), withdrawn, "beside one that is kept");
        assert_eq!(taken(&[None], state(), &kept), withdrawn, "the whole secret, beside one that is kept");
    }
    let long = "long".repeat(40);
    assert!(taken(&[None], EntryState::Absent, &[(&long, NOBODY)]).is_some_and(|(_, takes)| takes));
}

#[test]
fn what_is_gone_is_judged_by_its_owner() {
    let desired = reads(&[Some("x.y")]);
    let mut metadata = consents(&[("x", NOBODY)]);
    let judge =
        |metadata: &CustomMetadata| denied(judged(&desired, EntryState::Absent, metadata.clone(), Silence::Permits));
    assert_eq!(judge(&metadata), Some(("x".to_owned(), true)));
    metadata.insert(claim::claim_key("x.y"), "its owner".to_owned());
    assert_eq!(judge(&metadata), None, "it is not about a path into x");
}
