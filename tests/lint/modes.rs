//! `waypost lint` and the modes of the path convention: which counts, and what no mode silences.

use std::collections::BTreeSet;

use waypost::domain::convention::{Mode, Severity};

use super::stores::corpus;
use super::{lint, shown, text, waypost_lint};

/// A Namespace of this mode with other labels.
fn namespace(name: &str, mode: &str, labels: &str) -> String {
    let mode = format!("waypost.io/path-convention: {mode:?}");
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {{ {mode}, {labels} }} }}")
}

fn judged(manifests: &[String], mode: Mode) -> BTreeSet<(String, Severity)> {
    let found = lint(&text(&manifests.join("\n---\n")), mode);
    found.into_iter().map(|found| (found.problem.rule, found.problem.severity)).collect()
}

fn of(rule: &str, severity: Severity) -> BTreeSet<(String, Severity)> {
    BTreeSet::from([(rule.to_owned(), severity)])
}

#[test]
fn a_cluster_push_secret_is_judged_in_the_strictest_mode_of_its_children_s_namespaces() {
    let selected = "platform.example.com/redis: \"true\"";
    let push =
        corpus("good/cluster-push-secret.yaml").replace("{{ .metadata.namespace }}", "{{ .metadata.namespace }}-qa");
    assert!(push.contains(selected), "{push}");
    let beside = |namespaces: &[String], mode| judged(&[namespaces, std::slice::from_ref(&push)].concat(), mode);
    let (error, warning) = (of("V5", Severity::Error), of("V5", Severity::Warning));
    let strict = namespace("strict", "enforce", selected);
    let lax = namespace("lax", "off", selected);
    let other = namespace("other", "enforce", "team: a");
    let out = strict.replace("metadata: {", "metadata: { annotations: { waypost.io/opt-out: \"true\" },");
    assert_eq!(beside(std::slice::from_ref(&strict), Mode::Warn), error);
    assert_eq!(beside(std::slice::from_ref(&strict), Mode::Off), error);
    assert_eq!(beside(&[lax.clone(), strict.clone(), lax.clone()], Mode::Warn), error, "whichever comes last");
    assert_eq!(beside(std::slice::from_ref(&lax), Mode::Enforce), error, "others may match, and admission judges it");
    assert_eq!(beside(std::slice::from_ref(&lax), Mode::Warn), warning);
    assert_eq!(beside(&[other], Mode::Warn), warning, "it gets no child");
    assert_eq!(beside(&[out], Mode::Warn), warning, "it wants no child");
    let all = [strict, push].join("\n---\n");
    assert_eq!(waypost_lint(&["-", "--path-convention=warn"], &all).0, Some(0), "the flag has the last word");
}

#[test]
fn of_several_manifests_of_a_namespace_the_strictest_mode_counts() {
    let push = corpus("bad/v5-word.yaml");
    let name = push.lines().find_map(|line| line.strip_prefix("  namespace: ")).unwrap();
    let modes = |modes: &[&str], mode| {
        let manifests = modes.iter().map(|mode| namespace(name, mode, "team: a")).chain([push.clone()]);
        judged(&manifests.collect::<Vec<_>>(), mode)
    };
    for overlays in [["enforce", "off"], ["off", "enforce"], ["warn", "enforce"]] {
        assert_eq!(modes(&overlays, Mode::Off), of("V5", Severity::Error), "{overlays:?}");
    }
    assert_eq!(modes(&["off", "warn"], Mode::Enforce), of("V5", Severity::Warning));
    assert_eq!(modes(&["off", "no-mode"], Mode::Enforce).len(), 2, "one of them is in the installation's mode");
}

#[test]
fn two_producers_of_one_property_are_told_in_every_mode() {
    let (error, warning) = (of("V4", Severity::Error), of("V4", Severity::Warning));
    for (file, told) in [
        ("bad/v4-two-objects.yaml", &warning),
        // The controller refuses it in every mode.
        ("bad/v4-one-object.yaml", &error),
        ("bad/v4-two-spellings.yaml", &error),
        ("bad/v4-placeholder.yaml", &error),
    ] {
        assert_eq!(judged(&[corpus(file)], Mode::Enforce), error, "{file}");
        assert_eq!(judged(&[corpus(file)], Mode::Warn), *told, "{file}");
        assert_eq!(judged(&[corpus(file)], Mode::Off), *told, "{file}");
    }
    let children = corpus("good/cluster-push-secret.yaml").replace("{{ .metadata.namespace }}", "all");
    assert_eq!(judged(&[children], Mode::Off), warning, "the children conflict");
}

/// The controller refuses them in every mode, with the same words.
#[test]
fn mappings_that_contradict_each_other_are_errors_in_every_mode_and_under_each_mount() {
    let disagreement = corpus("bad/mapping-conflict.yaml");
    let ambiguous = corpus("bad/v4-one-object.yaml").replacen("property: password", "property: a/b", 1);
    let ambiguous = ambiguous.replacen("temporal\n        property: password", "temporal/a\n        property: b", 1);
    let of_children = disagreement
        .replace("kind: PushSecret\n", "kind: ClusterPushSecret\n")
        .replace("\n  namespace: platform-postgres", "")
        .replace("\n  ", "\n    ")
        .replace("\n    name: mapping-conflict", "\n  name: mapping-conflict")
        .replace("\nspec:", "\nspec:\n  namespaceSelectors:\n  - matchLabels:\n      kubernetes.io/metadata.name: one\n  pushSecretSpec:");
    let spelled = disagreement.replacen("remoteKey: platform", "remoteKey: other/platform", 1);
    let mount = corpus("good/store.yaml").replace("path: secret", "path: other");
    let only = of("mapping-conflict", Severity::Error);
    for (manifest, says) in [
        (disagreement, "ask for different values of metadata.spec.customMetadata.team for one path"),
        (of_children, "spec.pushSecretSpec.data[0] and spec.pushSecretSpec.data[1] ask for different values"),
        (ambiguous, "both read \"platform-data/postgres/temporal/a/b\" as key and property"),
    ] {
        for mode in [Mode::Warn, Mode::Off] {
            let found = lint(&text(&manifest), mode);
            let told: Vec<_> = found.iter().filter(|found| found.problem.rule == "mapping-conflict").collect();
            assert_eq!(told.len(), 1, "{mode:?}: {manifest}\n{}", shown(&found));
            assert_eq!(told[0].problem.severity, Severity::Error);
            assert!(told[0].problem.message.contains(says), "{}", told[0].problem.message);
        }
    }
    assert_eq!(
        judged(std::slice::from_ref(&spelled), Mode::Off),
        BTreeSet::new(),
        "two paths under the mount `secret`"
    );
    assert_eq!(judged(&[spelled, mount], Mode::Off), only, "and one under the mount `other`");
}
