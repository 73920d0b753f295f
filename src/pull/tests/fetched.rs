//! `metadataPolicy: Fetch`: metadata as values.

use super::*;
use crate::domain::claim::CustomMetadata;
use crate::domain::consent::{self, Silence};
use crate::domain::description::{self, Settings, What};

const KEY: &str = "platform-data/redis/db";

fn fetching(property: &str, deletion: &str) -> Desired {
    let reference = json!({ "key": KEY, "property": property, "metadataPolicy": "Fetch", "version": "7" });
    desired(json!({
        "secretStoreRef": { "name": "vault" },
        "target": { "deletionPolicy": deletion },
        "data": [{ "secretKey": "x", "remoteRef": reference }],
    }))
}

fn custom(of: &[(&str, &str)]) -> CustomMetadata {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What is read of an entry with this custom metadata, as [`observe::read`] has it.
fn reading(desired: &Desired, state: EntryState, custom_metadata: CustomMetadata, target: TargetState) -> Observed {
    let settings = Settings { created_time: "then".into(), delete_version_after: "0s".into() };
    let entry = Entry { state, created: None, custom_metadata, settings: Some(Box::new(settings)) };
    let mut observed = observed(desired, EntryState::Absent, target);
    let snapshot = &mut observed.snapshots[0].1;
    snapshot.entry = Arc::new(description::of(&entry));
    snapshot.presence = if snapshot.entry.data().is_some() { Presence::Live } else { Presence::Missing };
    observed
}

fn made(property: &str, of: &[(&str, &str)]) -> Result<String, Refusal> {
    let desired = fetching(property, "Retain");
    let planned =
        plan(&desired, reading(&desired, EntryState::Deleted { version: 3 }, custom(of), TargetState::Absent))?;
    let Step::Create(target) = planned.step else { panic!("an absent target is created") };
    assert_eq!(planned.versions[0].properties, BTreeSet::new(), "it is of the whole entry");
    Ok(target.data["x"].expose_utf8().unwrap().to_owned())
}

#[test]
fn custom_metadata_settings_paths_and_all_of_them_are_values() {
    let of = [("team", "billing"), ("a.b", "literal")];
    assert_eq!(made("team", &of).unwrap(), "billing");
    assert_eq!(made("current_version", &of).unwrap(), "3");
    assert_eq!(made("a.b", &of).unwrap(), "literal");
    assert_eq!(made("cre*", &of).unwrap(), "then");
    assert_eq!(
        made("", &of).unwrap(),
        r#"{"a.b":"literal","created_time":"then","current_version":"3","delete_version_after":"0s","team":"billing"}"#
    );
    let refusal = made("nothing", &of).err().unwrap();
    assert_eq!((refusal.reason(), refusal.keeps_data()), (Reason::PropertyNotFound, true));
}

#[test]
fn it_is_that_of_now_whatever_version_is_named_and_beside_the_data() {
    let mut spec = spec();
    let fetched =
        json!({ "secretKey": "team", "remoteRef": { "key": KEY, "property": "team", "metadataPolicy": "Fetch" } });
    spec["data"].as_array_mut().unwrap().push(fetched);
    let both = desired(spec);
    assert_eq!(both.entries.iter().map(|wanted| wanted.from.what).collect::<Vec<_>>(), [What::Data, What::Metadata]);
    assert_eq!(fetching("team", "Retain").entries[0].from.version, None);
}

/// No push says that it gave up custom metadata, so it is an error, and no loss that takes a key along.
#[test]
fn metadata_that_is_gone_takes_nothing_whatever_the_spec_says_of_values() {
    for deletion in ["Retain", "Delete"] {
        let desired = fetching("team", deletion);
        let marked = [(claim::MARKER, claim::MARKER_VALUE)];
        let all = [("team", "billing"), marked[0]];
        let live = EntryState::Deleted { version: 3 };
        let step = plan(&desired, reading(&desired, live, custom(&all), TargetState::Absent)).unwrap().step;
        let Step::Create(target) = step else { panic!("an absent target is created") };
        let standing = Live {
            data: target.data,
            owners: vec![target.owner],
            ..*standing(&super::desired(spec()), live_entry(1, ONE))
        };
        let observed = reading(
            &desired,
            EntryState::Deleted { version: 3 },
            custom(&marked),
            TargetState::Present(Box::new(standing)),
        );
        let refusal = plan(&desired, observed).err().unwrap();
        assert_eq!(refusal.reason(), Reason::PropertyNotFound, "{deletion}");
    }
}

/// Metadata is no value: whoever may not read some value of the entry does not get it, and nobody takes
/// back what they got.
#[test]
fn i4_metadata_is_read_by_those_whom_every_consent_permits() {
    let refused = |of: &[(String, String)], silence| {
        let desired = fetching("team", "Retain");
        let metadata = of.iter().cloned().chain([("team".to_owned(), "billing".to_owned())]).collect();
        let mut observed = reading(&desired, EntryState::Deleted { version: 3 }, metadata, TargetState::Absent);
        observed.consumer.silence = silence;
        match plan(&desired, observed).map(|_| ()) {
            Ok(()) => None,
            Err(refusal) => {
                assert!(!refusal.takes_target());
                Some(refusal.to_string())
            }
        }
    };
    let consent = |property: &str, text: &str| (consent::key(property), text.to_owned());
    let team = consent("user", r#"{"namespaces":["team"]}"#);
    assert_eq!(refused(&[], Silence::Permits), None);
    assert_eq!(refused(std::slice::from_ref(&team), Silence::Forbids), None);
    let told = refused(&[team.clone(), consent("password", r#"{"onWithdrawal":"Delete"}"#)], Silence::Permits).unwrap();
    assert!(told.contains("read property \"password\"") && told.contains("keeps its data"), "{told}");
    assert!(refused(&[], Silence::Forbids).is_some());
    let claimed = |property: &str| (claim::claim_key(property), "its owner".to_owned());
    assert_eq!(refused(&[team.clone(), claimed("user")], Silence::Forbids), None);
    let told = refused(&[team, claimed("user"), claimed("password")], Silence::Forbids).unwrap();
    assert!(told.contains("property \"password\"") && told.contains("so it may not read the metadata"), "{told}");
}

/// It is gone with the whole entry, and is no value that a push could have removed.
#[test]
fn an_entry_that_is_gone_takes_no_metadata_from_a_target() {
    for presence in [Presence::Missing, Presence::Removed] {
        let desired = fetching("team", "Delete");
        let standing = standing(&super::desired(spec()), live_entry(1, ONE));
        let mut observed = reading(&desired, EntryState::Absent, custom(&[]), TargetState::Present(standing));
        observed.snapshots[0].1.presence = presence;
        let sought = super::super::absence::find(&desired, &observed.snapshots, &observed.target);
        assert!(!sought.iter().any(|sought| sought.is_missing()), "it counts for no bound");
        let refusal = plan(&desired, observed).err().unwrap();
        assert_eq!((refusal.reason(), refusal.keeps_data()), (Reason::PathNotFound, true), "{presence:?}");
    }
}

/// An edit of the spec is judged by what the status says of the target.
#[test]
fn the_status_tells_metadata_from_the_data_of_one_path() {
    let mut spec = spec();
    let fetched =
        json!({ "secretKey": "team", "remoteRef": { "key": KEY, "property": "team", "metadataPolicy": "Fetch" } });
    spec["data"].as_array_mut().unwrap().push(fetched);
    let both = desired(spec.clone());
    let mut observed = observed(&both, live_entry(3, ONE), TargetState::Absent);
    let mut described =
        reading(&both, EntryState::Deleted { version: 3 }, custom(&[("team", "a")]), TargetState::Absent);
    described.snapshots[0].0 = both.entries[1].from.clone();
    observed.snapshots.append(&mut described.snapshots);
    let planned = plan(&both, observed).unwrap();
    let Step::Create(target) = planned.step else { panic!("an absent target is created") };
    let applied = Applied::Wrote(written(&target, Stamp { uid: "s".into(), resource_version: "1".into() }));
    let synced = Synced::Done { applied, versions: planned.versions, warnings: Vec::new(), is_synced: true };
    let mut object = object(spec);
    let Report::Verdict { status, verdict, .. } = report(&object, &both, Ok(synced), &moment(1)) else {
        panic!("a sync has a verdict");
    };
    let both_parts = "secret/platform-data/redis/db version 3, metadata of secret/platform-data/redis/db at version 3";
    assert!(verdict.message.contains(both_parts), "{}", verdict.message);
    let status = status.after;
    let told: Vec<(bool, Vec<String>)> =
        status.paths.iter().map(|path| (path.metadata, path.properties.clone())).collect();
    assert_eq!(told, [(false, vec!["password".to_owned()]), (true, vec![])]);
    object.status = Some(status);
    let earlier = super::super::earlier::spec(&object).unwrap();
    let wanted: Vec<_> = earlier.entries.iter().map(|wanted| (wanted.from.what, wanted.property.clone())).collect();
    assert_eq!(wanted, [(What::Data, Some("password".to_owned())), (What::Metadata, None)]);
}

/// Who takes a value back deletes no target that has metadata of its path alone. And what cannot lose
/// anything does not count among those that can.
#[test]
fn a_target_of_metadata_alone_is_from_no_value() {
    let desired = fetching("team", "Delete");
    let observed = reading(&desired, EntryState::Deleted { version: 3 }, custom(&[("team", "a")]), TargetState::Absent);
    let Step::Create(target) = plan(&desired, observed).unwrap().step else { panic!("an absent target is created") };
    assert_eq!(super::super::plan::places(&target.annotations), Some(BTreeSet::new()));
    assert!(target.annotations[names::ANNOTATION_ORIGIN].contains(r#""metadata":true"#));
    let deleting = |policy: serde_json::Value| {
        let reference = json!({ "key": KEY, "property": "team", "metadataPolicy": policy });
        object(json!({
            "secretStoreRef": { "name": "vault" },
            "target": { "deletionPolicy": "Delete" },
            "data": [{ "secretKey": "x", "remoteRef": reference }],
        }))
    };
    assert!(super::super::roll::member(&deleting(json!("Fetch"))).is_none());
    assert!(super::super::roll::member(&deleting(json!("None"))).is_some());
}
