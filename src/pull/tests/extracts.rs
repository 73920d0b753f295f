//! `spec.dataFrom`: keys that a secret makes, beside keys that the spec names.

use super::*;

pub fn extracting(entries: serde_json::Value, data: serde_json::Value, deletion: &str) -> Desired {
    desired(json!({
        "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" },
        "target": { "deletionPolicy": deletion },
        "dataFrom": entries,
        "data": data,
    }))
}

fn all(path: &str) -> serde_json::Value {
    json!({ "extract": { "key": path } })
}

/// What is read of the paths of a spec, in the order in which it names them.
fn reading(desired: &Desired, states: Vec<EntryState>, target: TargetState) -> Observed {
    let mut snapshots = Vec::new();
    for wanted in &desired.entries {
        if !snapshots
            .iter()
            .any(|(reference, _): &(crate::pull::wanted::Reference, Snapshot)| *reference == wanted.from)
        {
            let mut one = observed(desired, EntryState::Absent, TargetState::Absent).snapshots.remove(0);
            one.0 = wanted.from.clone();
            one.1.path = format!("secret/{}", wanted.from.key);
            snapshots.push(one);
        }
    }
    assert_eq!(snapshots.len(), states.len());
    for ((_, snapshot), state) in snapshots.iter_mut().zip(states) {
        snapshot.presence = if matches!(state, EntryState::Live { .. }) { Presence::Live } else { Presence::Missing };
        snapshot.entry = Arc::new(Entry { state, ..Entry::absent() });
    }
    Observed { snapshots, target, consumer: Consumer::default(), texts: Default::default() }
}

fn rendered(desired: &Desired, states: Vec<EntryState>) -> Result<BTreeMap<String, String>, Refusal> {
    let planned = plan(desired, reading(desired, states, TargetState::Absent))?;
    let Step::Create(target) = planned.step else { return Ok(BTreeMap::new()) };
    let text = |value: SecretBytes| value.expose_utf8().unwrap().to_owned();
    Ok(target.data.into_iter().map(|(key, value)| (key, text(value))).collect())
}

pub fn expected(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_comes_later_in_the_spec_wins_and_data_comes_last() {
    let data = json!([{ "secretKey": "c", "remoteRef": { "key": "one", "property": "a" } }]);
    let desired = extracting(json!([all("one"), all("two")]), data, "Retain");
    let states = vec![live_entry(1, r#"{"a": "1", "b": "1", "c": "1"}"#), live_entry(1, r#"{"b": "2", "c": "2"}"#)];
    assert_eq!(rendered(&desired, states).unwrap(), expected(&[("a", "1"), ("b", "2"), ("c", "1")]));
}

#[test]
fn every_value_is_decoded_and_judged_by_itself() {
    let entry = json!({ "extract": { "key": "one", "decodingStrategy": "Auto", "nullBytePolicy": "Fail" } });
    let desired = extracting(json!([entry]), json!([]), "Retain");
    let auto = rendered(&desired, vec![live_entry(1, r#"{"a": "YQ==", "b": "p@ss"}"#)]).unwrap();
    assert_eq!(auto, expected(&[("a", "a"), ("b", "p@ss")]));
    let null = rendered(&desired, vec![live_entry(1, r#"{"a": "AA=="}"#)]);
    assert!(matches!(null, Err(Refusal::NullByte { key }) if key == "a"));
}

#[test]
fn a_secret_that_makes_no_keys_is_told_and_takes_nothing() {
    let desired = extracting(json!([all("one")]), json!([]), "Delete");
    let empty = rendered(&desired, vec![live_entry(1, "{}")]).err().unwrap();
    assert_eq!((empty.reason(), empty.keeps_data()), (Reason::PropertyNotFound, true));
    let illegal = rendered(&desired, vec![live_entry(1, r#"{"..": "x", "a": "1"}"#)]).err().unwrap();
    assert_eq!(illegal.reason(), Reason::TargetInvalid);
    let text = illegal.to_string();
    assert!(text.contains("spec.dataFrom[0]: secret/one: \"..\" is not a legal key"), "{text}");
}

#[test]
fn a_secret_that_is_gone_takes_its_keys_along_only_if_the_spec_says_so() {
    let states = || vec![live_entry(2, r#"{"a": "1"}"#), EntryState::Deleted { version: 2 }];
    let retains = extracting(json!([all("one"), all("two")]), json!([]), "Retain");
    assert!(matches!(rendered(&retains, states()), Err(Refusal::VersionDeleted { .. })));
    let deletes = extracting(json!([all("one"), all("two")]), json!([]), "Delete");
    assert_eq!(rendered(&deletes, states()).unwrap(), expected(&[("a", "1")]));
    let gone = || vec![EntryState::Deleted { version: 2 }, EntryState::Deleted { version: 2 }];
    let both = vec![live_entry(1, r#"{"a": "1"}"#), live_entry(1, r#"{"b": "1"}"#)];
    let Step::Create(target) = plan(&deletes, reading(&deletes, both, TargetState::Absent)).unwrap().step else {
        panic!("an absent target is created")
    };
    let live =
        Live { data: target.data, owners: vec![target.owner], ..*standing(&desired(spec()), live_entry(1, ONE)) };
    let observed = reading(&deletes, gone(), TargetState::Present(Box::new(live)));
    let sought = super::super::absence::find(&deletes, &observed.snapshots, &observed.target);
    assert_eq!(sought.iter().filter(|sought| sought.is_missing()).count(), 2, "both count as lost");
    assert!(matches!(plan(&deletes, observed).unwrap().step, Step::Delete(_)));
}

#[test]
fn what_is_wrong_in_an_entry_is_named_by_its_field() {
    let rewrite = |rewrite: serde_json::Value| {
        let entry = json!({ "extract": { "key": "one" }, "rewrite": [{ "regexp": { "source": "a", "target": "b" } }, rewrite] });
        let spec = json!({ "secretStoreRef": { "name": "vault" }, "dataFrom": [entry] });
        Desired::parse(&object(spec)).unwrap_err()
    };
    for (wrong, reason, words) in [
        (json!({ "regexp": { "source": "(", "target": "" } }), Reason::InvalidSpec, "rewrite[1].regexp.source: \"(\""),
        (
            json!({ "transform": { "template": "{{ .value | lowercase }}" } }),
            Reason::InvalidSpec,
            "rewrite[1].transform.template: line 1, column 13: there is no function \"lowercase\"",
        ),
        (json!({ "merge": { "strategy": "JSON" } }), Reason::InvalidSpec, "rewrite[1].merge.into is not set"),
    ] {
        let error = rewrite(wrong);
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().starts_with("spec.dataFrom[0].") && error.to_string().contains(words), "{error}");
    }
    for (entry, words) in [
        (json!({ "find": { "name": { "regexp": "(" } } }), "spec.dataFrom[0].find.name.regexp: \"(\" is not a valid"),
        (json!({ "extract": { "key": "a", "version": "x" } }), "spec.dataFrom[0].extract.version is not a version"),
    ] {
        let spec = json!({ "secretStoreRef": { "name": "vault" }, "dataFrom": [entry] });
        let error = Desired::parse(&object(spec)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let homeless = Desired::parse(&object(json!({ "dataFrom": [all("a")] }))).unwrap_err().to_string();
    assert!(homeless.starts_with("spec.dataFrom[0] names no store"), "{homeless}");
}

/// A write that relies on what was written before removes nothing, so it needs keys that stay.
#[test]
fn only_a_spec_that_names_every_key_may_rely_on_what_was_written_before() {
    let named = spec();
    let with = |pointer: &str, value: serde_json::Value| desired(spec_with(pointer, value)).has_fixed_keys();
    assert!(desired(named).has_fixed_keys());
    assert!(!with("/dataFrom", json!([all("one")])));
    assert!(with("/target", json!({ "template": { "data": { "a": "{{ .password }}" } } })));
    assert!(!with("/target", json!({ "template": { "templateFrom": [{ "literal": "a: b" }] } })));
    // It may change although the data does not.
    let annotated = json!({ "template": { "metadata": { "annotations": { "a": "{{ .password }}" } } } });
    assert!(!with("/target", annotated));
}

/// Each takes up to a MiB while the resource is reconciled.
#[test]
fn more_regular_expressions_than_the_limit_are_refused_before_they_are_compiled() {
    let rewrite = json!({ "regexp": { "source": "(", "target": "" } });
    let entry = json!({ "extract": { "key": "one" }, "rewrite": vec![rewrite; 13] });
    let spec = json!({ "secretStoreRef": { "name": "vault" }, "dataFrom": [entry, entry] });
    let told = Desired::parse(&object(spec)).unwrap_err().to_string();
    assert!(told.contains("26 regular expressions") && told.contains("may have 25"), "{told}");
}
