//! What is said of a Secret of the target's name that is somebody else's.

use serde_json::json;

use super::{desired, done, live_entry, moment, object, observed, spec_with, standing};
use crate::controller::report::Report;
use crate::domain::remote::EntryState;
use crate::domain::target::OwnerRef;
use crate::pull::apply::Applied;
use crate::pull::plan::{Step, TargetState, plan};
use crate::pull::report::{Synced, success};

#[test]
fn of_a_secret_that_is_somebody_elses_nobody_says_that_it_does_not_exist() {
    let spec = spec_with("/target", json!({ "deletionPolicy": "Delete" }));
    let desired = desired(spec.clone());
    let said = |target: TargetState| {
        let plan = plan(&desired, observed(&desired, EntryState::Absent, target)).unwrap();
        assert!(matches!(plan.step, Step::StayAbsent));
        let Synced::Done { is_synced, .. } = done(&desired, 1) else { panic!("it was read") };
        let gone = Synced::Done { applied: Applied::Absent, versions: plan.versions, warnings: plan.notes, is_synced };
        match success(&object(spec.clone()), &desired, gone, &moment(1000)) {
            Report::Verdict { verdict, .. } => verdict.message,
            other => panic!("{other:?}"),
        }
    };
    let absent = said(TargetState::Absent);
    assert!(absent.contains("there is no target") && !absent.contains("warning"), "{absent}");
    let mut nobodys = standing(&desired, live_entry(1, super::ONE));
    let owner = OwnerRef { uid: "other".into(), ..nobodys.owners[0].clone() };
    (nobodys.owners, nobodys.our_annotations) = (Vec::new(), Default::default());
    let mut anothers = standing(&desired, live_entry(1, super::ONE));
    anothers.owners = vec![owner];
    for strange in [nobodys, anothers] {
        let message = said(TargetState::Present(strange));
        assert!(message.ends_with("warning Secret team/db exists and is not ours: it was not touched"), "{message}");
    }
}
