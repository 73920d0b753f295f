//! `spec.dataFrom[].find`: the keys that everything below a folder makes together.

use super::extracts::{expected, extracting};
use super::*;
use crate::domain::consent;
use crate::domain::folder::RemoteFolder;
use crate::pull::found;
use crate::store::Entries;

fn below(folder: &str) -> serde_json::Value {
    json!({ "find": { "path": folder } })
}

/// The spec with what these finds found.
fn with(desired: &Desired, found: &[&[&str]]) -> Desired {
    let paths = |paths: &&[&str]| paths.iter().map(|path| RemotePath::parse(Some("secret"), path).unwrap()).collect();
    found::expanded(desired, found.iter().map(paths).collect())
}

/// What is at each path that is read.
fn reading(desired: &Desired, states: Vec<EntryState>, target: TargetState) -> Observed {
    let mut all = observed(desired, EntryState::Absent, target);
    all.snapshots.clear();
    for (wanted, state) in desired.entries.iter().zip(states) {
        let mut one = observed(desired, state, TargetState::Absent).snapshots.remove(0);
        one.0 = wanted.from.clone();
        one.1.path = wanted.from.key.replace("/data/", "/");
        all.snapshots.push(one);
    }
    assert_eq!(all.snapshots.len(), desired.entries.len());
    all
}

fn texts(data: BTreeMap<String, SecretBytes>) -> BTreeMap<String, String> {
    data.into_iter().map(|(key, value)| (key, value.expose_utf8().unwrap().to_owned())).collect()
}

fn rendered(observed: Observed, desired: &Desired) -> Result<(BTreeMap<String, String>, Vec<String>), Refusal> {
    let planned = plan(desired, observed)?;
    match planned.step {
        Step::Create(target) => Ok((texts(target.data), planned.notes)),
        _nothing => Ok((BTreeMap::new(), planned.notes)),
    }
}

fn forbid(observed: &mut Observed, at: usize, on_withdrawal: &str) {
    let snapshot = &mut observed.snapshots[at].1;
    let entry = Arc::get_mut(&mut snapshot.entry).unwrap();
    let nobody = json!({ "onWithdrawal": on_withdrawal }).to_string();
    entry.custom_metadata.insert(consent::key("a"), nobody);
}

#[test]
fn each_secret_is_one_value_whose_key_is_its_path() {
    let desired = with(&extracting(json!([below("apps")]), json!([]), "Retain"), &[&["apps/db", "apps/a/b"]]);
    let states = vec![live_entry(1, r#"{"user": "x", "port": 5432}"#), live_entry(3, r#"{"b": "<"}"#)];
    let (made, notes) = rendered(reading(&desired, states, TargetState::Absent), &desired).unwrap();
    assert_eq!(made, expected(&[("apps_db", r#"{"port":5432,"user":"x"}"#), ("apps_a_b", r#"{"b":"\u003c"}"#)]));
    assert!(notes.is_empty(), "{notes:?}");
}

/// ESO's order: `dataFrom` in the order of the spec, then `data`.
#[test]
fn what_comes_later_in_the_spec_wins_whether_it_is_found_or_named() {
    let extract = |key: &str| json!({ "extract": { "key": key } });
    let rename = |find: serde_json::Value| {
        let mut find = find;
        find["rewrite"] = json!([{ "regexp": { "source": ".*/", "target": "" } }]);
        find
    };
    let entries = json!([rename(below("a")), extract("one"), rename(below("b"))]);
    let data = json!([{ "secretKey": "last", "remoteRef": { "key": "one", "property": "last" } }]);
    let desired = with(&extracting(entries, data, "Retain"), &[&["a/first", "a/last", "a/mine"], &["b/mine"]]);
    let keys: Vec<&str> = desired.entries.iter().map(|wanted| wanted.from.key.as_str()).collect();
    assert_eq!(
        keys,
        ["secret/data/a/first", "secret/data/a/last", "secret/data/a/mine", "one", "secret/data/b/mine", "one"]
    );
    let one = || live_entry(1, r#"{"mine": "extracted", "last": "named"}"#);
    let states = vec![
        live_entry(1, "{}"),
        live_entry(1, "{}"),
        live_entry(1, "{}"),
        one(),
        live_entry(1, r#"{"x": "1"}"#),
        one(),
    ];
    let (made, _) = rendered(reading(&desired, states, TargetState::Absent), &desired).unwrap();
    assert_eq!(made, expected(&[("first", "{}"), ("mine", r#"{"x":"1"}"#), ("last", "named")]));
}

#[test]
fn two_paths_that_become_one_key_are_both_named() {
    let desired = with(&extracting(json!([below("a")]), json!([]), "Retain"), &[&["a/b/c", "a/b_c"]]);
    let states = vec![live_entry(1, "{}"), live_entry(1, "{}")];
    let refused = rendered(reading(&desired, states, TargetState::Absent), &desired).err().unwrap().to_string();
    assert!(refused.contains(r#"keys "a/b/c" and "a/b_c" both become "a_b_c""#), "{refused}");
}

#[test]
fn what_the_namespace_may_not_read_is_left_out_and_named() {
    let desired = with(&extracting(json!([below("a")]), json!([]), "Retain"), &[&["a/mine", "a/theirs"]]);
    let states = || vec![live_entry(1, r#"{"a": "1"}"#), live_entry(1, r#"{"a": "2"}"#)];
    for on_withdrawal in ["Retain", "Delete"] {
        let mut observed = reading(&desired, states(), TargetState::Absent);
        forbid(&mut observed, 1, on_withdrawal);
        let versions = plan(&desired, reading(&desired, states(), TargetState::Absent)).unwrap().versions;
        assert_eq!(versions.len(), 2);
        let (made, notes) = rendered(observed, &desired).unwrap();
        assert_eq!(made, expected(&[("a_mine", r#"{"a":"1"}"#)]));
        assert!(notes[0].starts_with("secret/a/theirs of ClusterSecretStore/vault is left out"), "{notes:?}");
    }
    let mut observed = reading(&desired, states(), TargetState::Absent);
    forbid(&mut observed, 0, "Retain");
    forbid(&mut observed, 1, "Delete");
    let refused = rendered(observed, &desired).err().unwrap();
    assert!(refused.reason() == Reason::NotPermitted && refused.takes_target(), "{refused}");
}

/// What the spec names beside it is refused as ever.
#[test]
fn a_path_that_is_named_too_is_not_left_out() {
    let named = json!([{ "secretKey": "a", "remoteRef": { "key": "a/theirs", "property": "a" } }]);
    let desired = with(&extracting(json!([below("a")]), named, "Retain"), &[&["a/theirs"]]);
    let states = vec![live_entry(1, r#"{"a": "1"}"#), live_entry(1, r#"{"a": "1"}"#)];
    let mut observed = reading(&desired, states, TargetState::Absent);
    forbid(&mut observed, 0, "Retain");
    forbid(&mut observed, 1, "Retain");
    assert_eq!(rendered(observed, &desired).err().unwrap().reason(), Reason::NotPermitted);
}

#[test]
fn what_is_gone_leaves_the_target_and_the_last_one_only_if_the_spec_says_so() {
    let found: [&[&str]; 1] = [&["a/gone", "a/kept"]];
    let gone = |observed: &mut Observed, at: usize| {
        let before = PulledPath { version: Some(1), ..PulledPath::default() };
        (observed.snapshots[at].1.before, observed.snapshots[at].1.presence) = (Some(before), Presence::Removed);
    };
    for deletion in ["Retain", "Delete"] {
        let desired = with(&extracting(json!([below("a")]), json!([]), deletion), &found);
        let both = || vec![live_entry(1, "{}"), live_entry(1, "{}")];
        let stands = |desired: &Desired| {
            let Step::Create(target) = plan(desired, reading(desired, both(), TargetState::Absent)).unwrap().step
            else {
                panic!("it is not created");
            };
            let mut live = standing(&super::desired(spec()), live_entry(1, ONE));
            (live.labels, live.annotations, live.data) = (target.labels, target.annotations, target.data);
            live.our_labels = live.labels.keys().cloned().collect();
            live.our_annotations = live.annotations.keys().cloned().collect();
            TargetState::Present(live)
        };
        let mut one =
            reading(&desired, vec![EntryState::Deleted { version: 1 }, live_entry(1, "{}")], stands(&desired));
        gone(&mut one, 0);
        let planned = plan(&desired, one).unwrap();
        assert_eq!(planned.versions.len(), 1, "what is gone is not read again");
        let Step::Replace(_, _, removals) = planned.step else { panic!("it keeps its key") };
        assert_eq!(removals.keys, ["a_gone".to_owned()].into());
        let mut none = reading(&desired, vec![EntryState::Absent, EntryState::Absent], stands(&desired));
        gone(&mut none, 0);
        gone(&mut none, 1);
        match (deletion, plan(&desired, none)) {
            ("Delete", Ok(planned)) => assert!(matches!(planned.step, Step::Delete(_))),
            (_retain, Err(refused)) => {
                assert!(refused.keeps_data() && refused.to_string().contains("finds no secret"), "{refused}");
            }
            (_retain, Ok(_)) => panic!("the target is emptied"),
        }
    }
}

/// An error of the spec takes nothing.
#[test]
fn a_find_that_finds_nothing_keeps_what_is_there() {
    let desired = extracting(json!([below("a")]), json!([]), "Delete");
    let live = standing(&super::desired(spec()), live_entry(1, ONE));
    let nothing =
        |target| Observed { snapshots: Vec::new(), target, consumer: Consumer::default(), texts: Default::default() };
    let refused = plan(&desired, nothing(TargetState::Present(live))).err().unwrap();
    assert!(refused.keeps_data(), "{refused}");
    assert!(matches!(plan(&desired, nothing(TargetState::Absent)).unwrap().step, Step::StayAbsent));
    let retains = extracting(json!([below("a")]), json!([]), "Retain");
    assert!(plan(&retains, nothing(TargetState::Absent)).is_err());
}

#[test]
fn what_was_read_before_is_read_again_until_it_is_known_to_be_gone() {
    let selected = |find: serde_json::Value, listed: &[(&str, Option<&str>)], before: &[&str]| {
        let desired = extracting(json!([{ "find": find }]), json!([]), "Retain");
        let label = |label: &Option<&str>| label.iter().map(|label| ("team".to_owned(), (*label).to_owned())).collect();
        let entries: Entries = listed.iter().map(|(path, of)| ((*path).to_owned(), label(of))).collect();
        let folder = RemoteFolder::parse(Some("secret"), desired.finds[0].path.as_deref()).unwrap();
        let before = before.iter().map(|path| RemotePath::parse(Some("secret"), path).unwrap());
        let found = found::selected(&desired.finds[0], &folder, &entries, before);
        found.ok().map(|found| found.iter().map(|path| path.path.to_string()).collect::<Vec<_>>())
    };
    let listed = [("apps/a", Some("shop")), ("apps/b", None)];
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(
        selected(json!({ "path": "apps" }), &listed, &["apps/c", "other/d"]),
        names(&["apps/a", "apps/b", "apps/c"])
    );
    let named = json!({ "path": "apps", "name": { "regexp": "/[ac]$" } });
    assert_eq!(selected(named, &listed, &["apps/c", "apps/d"]), names(&["apps/a", "apps/c"]));
    let labelled = json!({ "path": "apps", "tags": { "team": "shop" } });
    assert_eq!(selected(labelled, &listed, &["apps/b", "apps/c"]), names(&["apps/a", "apps/c"]), "it lost its label");
    assert_eq!(selected(json!({}), &[("a%2f", None)], &[]), None, "no request can name it");
    let many: Vec<String> = (0..=found::MOST_FOUND).map(|number| format!("apps/{number}")).collect();
    let many: Vec<(&str, Option<&str>)> = many.iter().map(|path| (path.as_str(), None)).collect();
    assert_eq!(selected(json!({ "path": "apps" }), &many, &[]), None);
}

/// A status may lack it, and a store may have been given another mount.
#[test]
fn what_was_read_before_is_known_by_the_status_and_by_the_target_also_of_another_mount() {
    let known = |path: &str| PulledPath {
        store: "ClusterSecretStore/vault".into(),
        path: path.into(),
        ..PulledPath::default()
    };
    let origin = |path: &str| ("ClusterSecretStore/vault".to_owned(), path.to_owned());
    let before = |folder: Option<&str>| {
        let folder = RemoteFolder::parse(Some("kv"), folder).unwrap();
        let status = [
            known("kv/apps/a"),
            known("secret/apps/b"),
            PulledPath { store: "SecretStore/other".into(), ..known("kv/apps/c") },
        ];
        let origin =
            [origin("kv/apps/d"), origin("secret/else/e"), ("SecretStore/other".into(), "kv/apps/f".into())].into();
        let read = found::read_before(&status, &origin, "ClusterSecretStore/vault", Some("kv"), &folder);
        read.into_iter().map(|past| past.path).collect::<BTreeSet<_>>()
    };
    let all = ["kv/apps/a", "secret/apps/b", "kv/apps/d", "secret/else/e"].map(str::to_owned);
    let with =
        |more: &[&str]| all.iter().cloned().chain(more.iter().map(|path| (*path).to_owned())).collect::<BTreeSet<_>>();
    assert_eq!(before(Some("apps")), with(&["kv/apps/b"]));
    assert_eq!(before(None), with(&["kv/apps/b", "kv/else/e"]));
}
