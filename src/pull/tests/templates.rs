//! `spec.target.template`: what a target has beside, or instead of, the values.

use super::*;
use crate::domain::target::Target;

fn templated(template: serde_json::Value) -> Desired {
    desired(spec_with("/target", json!({ "template": template })))
}

fn refused(desired: &Desired) -> Refusal {
    plan(desired, observed(desired, live_entry(1, ONE), TargetState::Absent)).err().unwrap()
}

fn text(target: &Target, key: &str) -> String {
    target.data[key].expose_utf8().unwrap().to_owned()
}

#[test]
fn a_target_has_what_its_template_renders_and_nothing_of_the_resource() {
    let desired = templated(json!({
        "type": "kubernetes.io/basic-auth",
        "metadata": { "labels": { "team": "shop" }, "annotations": { "note": "{{ .password | len }} characters" } },
        "data": { "username": "app", "password": "{{ .password }}!" },
    }));
    let target = created(&desired, live_entry(1, ONE));
    assert_eq!(target.kind, "kubernetes.io/basic-auth");
    assert_eq!((text(&target, "username").as_str(), text(&target, "password").as_str()), ("app", "1!"));
    let labels: Vec<&str> = target.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, [names::LABEL_CREATED_BY, names::LABEL_MANAGED, "team"]);
    assert_eq!(target.annotations["note"], "1 characters");
    assert!(!target.annotations.contains_key(names::ANNOTATION_TEMPLATE_INPUTS), "it gives the same each time");
}

#[test]
fn a_template_that_fails_takes_nothing_and_says_where() {
    let refusal = refused(&templated(json!({ "data": { "url": "pg://{{ .pasword }}" } })));
    assert_eq!((refusal.reason(), refusal.keeps_data()), (Reason::TargetInvalid, true));
    let text = refusal.to_string();
    let words =
        "spec.target.template.data.url: line 1, column 9: there is no key \"pasword\": did you mean \"password\"?";
    assert!(text.contains(words), "{text}");
}

/// What decides is compared, and never the result.
#[test]
fn what_changes_each_time_is_rendered_anew_only_from_other_values() {
    let data = json!({ "key": "{{ randAlphaNum 32 }}", "password": "{{ .password }}" });
    let desired = templated(json!({ "data": data, "metadata": { "labels": { "team": "shop" } } }));
    let first = created(&desired, live_entry(1, ONE));
    let key = text(&first, "key");
    assert_ne!(text(&created(&desired, live_entry(1, ONE)), "key"), key);
    let live = || {
        Box::new(Live {
            data: first.data.iter().map(|(key, value)| (key.clone(), value.duplicate())).collect(),
            labels: first.labels.clone(),
            annotations: first.annotations.clone(),
            our_labels: first.labels.keys().cloned().collect(),
            our_annotations: first.annotations.keys().cloned().collect(),
            ..*standing(&desired, live_entry(1, ONE))
        })
    };
    assert!(matches!(step(&desired, live_entry(2, ONE), live()), Ok(Step::Keep(_))), "the same values");
    let as_written = written(&first, Stamp { uid: "s".into(), resource_version: "1".into() });
    let again = |json: &str| {
        plan(&desired, observed(&desired, live_entry(2, json), TargetState::AsWritten(as_written.clone())))
    };
    assert!(matches!(again(ONE).unwrap().step, Step::Keep(_)));
    assert!(matches!(again(r#"{"password": "2"}"#).unwrap().step, Step::Apply(..)));
    let Ok(Step::Apply(other, _)) = step(&desired, live_entry(2, r#"{"password": "2"}"#), live()) else {
        panic!("other values are applied")
    };
    assert_ne!(text(&other, "key"), key);
    // Somebody changed the data, or a label that we set.
    let mut edited = live();
    edited.data.insert("password".to_owned(), SecretBytes::from("theirs"));
    let Ok(Step::Apply(mended, _)) = step(&desired, live_entry(2, ONE), edited) else { panic!("drift is mended") };
    assert_eq!(text(&mended, "password"), "1");
    let mut unlabelled = live();
    unlabelled.labels.remove("team");
    let Ok(Step::Apply(mended, _)) = step(&desired, live_entry(2, ONE), unlabelled) else { panic!("drift is mended") };
    assert_eq!((text(&mended, "key"), mended.labels), (key, first.labels.clone()), "its data is as it was");
}

#[test]
fn a_template_makes_no_credential_of_the_cluster_and_no_label_of_ours() {
    for (template, reason, words) in [
        (
            json!({ "type": "kubernetes.io/service-account-token" }),
            Reason::TargetInvalid,
            "grant access to the cluster",
        ),
        (json!({ "type": "bootstrap.kubernetes.io/token" }), Reason::TargetInvalid, "template.type is bootstrap"),
        (json!({ "data": { "..": "x" } }), Reason::TargetInvalid, "K1"),
        (json!({ "data": { "a": "{{ .x" } }), Reason::InvalidSpec, "spec.target.template.data.a: line 1"),
        (
            json!({ "templateFrom": [{ "literal": "a: b", "target": "spec" }] }),
            Reason::InvalidSpec,
            "write Data, Labels",
        ),
        (json!({ "templateFrom": [{}] }), Reason::InvalidSpec, "templateFrom[0].literal is not set"),
        (json!({ "metadata": { "labels": { "a b": "x" } } }), Reason::InvalidSpec, "metadata.labels.a b is no name"),
    ] {
        let error = Desired::parse(&object(spec_with("/target", json!({ "template": template })))).unwrap_err();
        assert!(error.reason() == reason && error.to_string().contains(words), "{words}: {error}");
    }
    let literal = |text: &str, target: &str| {
        let from = json!({ "literal": text, "target": target });
        refused(&templated(json!({ "templateFrom": [from] }))).to_string()
    };
    for (target, key) in [("Labels", names::LABEL_MANAGED), ("annotations", names::ANNOTATION_DATA_HASH)] {
        let told = literal(&format!("{{{{ \"{key}\" }}}}: 'x'"), target);
        assert!(
            told.starts_with("spec.target.template.templateFrom[0].literal: ") && told.contains("reserved"),
            "{told}"
        );
    }
    assert!(literal("{{ .password }}", "Data").contains("must render YAML"));
}

/// A store that was restored empty must not take a hundred targets at once because their keys are
/// those of templates.
#[test]
fn what_a_template_made_counts_as_lost_with_its_values() {
    let mut spec = spec_with("/target", json!({ "template": { "data": { "url": "{{ .password }}" } } }));
    spec["target"]["deletionPolicy"] = json!("Delete");
    let desired = desired(spec);
    let live = Live { data: created(&desired, live_entry(1, ONE)).data, ..*standing(&desired, live_entry(1, ONE)) };
    let observed = observed(&desired, EntryState::Deleted { version: 1 }, TargetState::Present(Box::new(live)));
    let sought = super::super::absence::find(&desired, &observed.snapshots, &observed.target);
    let lost = super::super::absence::by_store(sought, &BTreeMap::new());
    assert_eq!(lost.into_values().collect::<Vec<_>>(), [super::super::absence::Absence::Loss]);
}

#[test]
fn a_text_that_does_not_exist_takes_nothing_and_is_awaited() {
    let from = json!([{ "configMap": { "name": "texts", "items": [{ "key": "url" }] } }]);
    let refusal = refused(&templated(json!({ "templateFrom": from })));
    assert_eq!(refusal.reason(), Reason::SourceNotFound);
    assert!(refusal.keeps_data() && refusal.to_string().contains("ConfigMap texts does not exist"), "{refusal}");
}

#[test]
fn finalizers_that_a_template_no_longer_has_are_removed_and_those_of_others_stay() {
    let with = |finalizers: &[&str]| templated(json!({ "metadata": { "finalizers": finalizers } }));
    let (before, after) = (with(&["example.com/old", "example.com/kept"]), with(&["example.com/kept"]));
    let live = || {
        let mut live = standing(&before, live_entry(1, ONE));
        live.finalizers.insert("example.org/theirs".to_owned());
        live
    };
    assert!(matches!(step(&before, live_entry(1, ONE), live()), Ok(Step::Keep(_))));
    let Ok(Step::Replace(target, _, removals)) = step(&after, live_entry(1, ONE), live()) else {
        panic!("only a replace removes")
    };
    assert_eq!(target.finalizers, BTreeSet::from(["example.com/kept".to_owned()]));
    assert_eq!(removals.finalizers, BTreeSet::from(["example.com/old".to_owned()]));
    let of_another_type = templated(json!({ "type": "example.com/other" }));
    let refusal = step(&of_another_type, live_entry(1, ONE), live()).err().unwrap();
    assert!(matches!(refusal, Refusal::Held { .. }) && refusal.to_string().contains("example.org/theirs"), "{refusal}");
    let mut without = live();
    without.finalizers.clear();
    assert!(matches!(step(&before, live_entry(1, ONE), without), Ok(Step::Apply(..))), "they are set again");
}

#[test]
fn a_spec_that_cannot_be_rendered_is_refused_before_anything_is_read() {
    let of = |name: &str| json!([{ "secret": { "name": name, "items": [{ "key": "url" }] } }]);
    for (template, words) in [
        (json!({ "templateFrom": of("db") }), "spec.target.template.templateFrom[0].secret names the target itself"),
        (json!({ "templateFrom": [{ "target": "Data" }] }), "or configMap or secret"),
        (
            json!({ "templateFrom": [{ "configMap": { "name": "texts", "items": [] } }] }),
            "spec.target.template.templateFrom[0].configMap.items is empty",
        ),
        (json!({ "metadata": { "finalizers": ["orphan"] } }), "a finalizer is a name with a domain"),
    ] {
        let error = Desired::parse(&object(spec_with("/target", json!({ "template": template })))).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidSpec);
        assert!(error.to_string().contains(words), "{error}");
    }
    templated(json!({ "templateFrom": of("another") }));
}

/// A text that changes by itself is followed by one that does not, and then it is back: what the
/// target says of its inputs must have gone with the first.
#[test]
fn what_the_target_says_of_its_inputs_goes_with_the_text_that_needed_it() {
    let from = json!([{ "configMap": { "name": "texts", "items": [{ "key": "url" }] } }]);
    assert!(!templated(json!({ "templateFrom": from })).has_fixed_keys(), "the live target is read");
    let changing = templated(json!({ "data": { "salt": "{{ randAlphaNum 8 }}" } }));
    let steady = templated(json!({ "data": { "salt": "{{ .password }}" } }));
    let Ok(Step::Replace(_, _, removals)) = step(&steady, live_entry(1, ONE), standing(&changing, live_entry(1, ONE)))
    else {
        panic!("only a replace removes an annotation")
    };
    assert_eq!(removals.annotations, BTreeSet::from([names::ANNOTATION_TEMPLATE_INPUTS.to_owned()]));
}
