//! Whose target an event is about.

use super::*;
use crate::domain::target::Stamp;
use crate::pull::inputs::{Paths, Resource, Sessions, Texts};

fn name(name: &str) -> Name {
    Name::new("team", name)
}

/// The object is in place with this target, as it wrote it at this version.
fn in_place(records: &Records, object: &str, target: &str, resource_version: &str) {
    let stamp = Stamp { uid: target.into(), resource_version: resource_version.into() };
    let written = Written { stamp: stamp.clone(), mark: String::new(), immutable: false };
    let resource = Resource { uid: object.to_owned(), version: "1".to_owned(), confirmation: None };
    let record = Record {
        inputs: Inputs {
            resource,
            stores: Sessions::default(),
            paths: Paths::AsRead,
            texts: Texts::AsRead,
            target: Some(stamp),
        },
        outcome: Outcome::Good,
        permission: Permission::Given,
        target: Some((name(target), written)),
        looked: Instant::now(),
        rendered_from: None,
    };
    records.note(&name(object), record);
}

/// A reconcile writes a target, somebody edits it, and only then the reconcile ends.
#[test]
fn what_happens_to_a_new_target_before_it_is_recorded_is_not_missed() {
    let (records, hour) = (Records::default(), Duration::from_secs(3600));
    for version in ["1", "2"] {
        assert!(!records.is_own_write(&name("x"), "x", version));
    }
    in_place(&records, "a", "x", "1");
    assert!(records.take_doubt(&name("a"), &name("x"), hour));
    in_place(&records, "a", "x", "3");
    assert!(!records.take_doubt(&name("a"), &name("x"), hour), "it was known all the time");
}

#[test]
fn who_gives_up_a_target_that_another_took_over_leaves_it_known() {
    let records = Records::default();
    in_place(&records, "a", "x", "1");
    in_place(&records, "b", "x", "2");
    in_place(&records, "a", "y", "1");
    assert!(records.is_own_write(&name("x"), "x", "2"), "it is b's last write");
    records.forget(&name("a"));
    assert!(records.is_own_write(&name("x"), "x", "2"));
    assert!(!records.is_own_write(&name("x"), "x", "3"));
    assert!(records.take_doubt(&name("b"), &name("x"), Duration::from_secs(3600)), "somebody else wrote it");
    records.forget(&name("b"));
    assert!(records.is_empty());
}
