//! `waypost lint` and the stores among the files: what is shown of them, and several manifests of
//! one.

use std::path::Path;

use waypost::cli::lint::{Colour, Format, render};
use waypost::domain::convention::Mode;
use waypost::manifest;

use super::{lint, shown, text};

pub fn corpus(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file)).unwrap()
}

#[test]
fn what_may_be_a_secret_in_a_store_is_never_shown() {
    let (header, bundle) = (corpus("bad/store-header.yaml"), corpus("bad/store-ca-no-pem.yaml"));
    for (manifest, rule) in [
        (header.replace("\"X Other\": a", "\"X Other\": hunter2"), "store"),
        (header.replace("\"X Other\": a", "X-Vault-Token: hunter2"), "schema-rule"),
        (header.replace("\"X Other\": a", "A: hunter2\n        A: hunter2"), "duplicate-key"),
        (bundle.replace("YQ==", "aHVudGVyMg=="), "store"),
        (bundle.replace("YQ==", "hunter2!"), "invalid-value"),
    ] {
        let json = manifest::bundle(&text(&manifest)).objects[0].node.json().to_string();
        for (manifest, rule) in [(manifest, Some(rule)), (json, None)] {
            let found = lint(&text(&manifest), Mode::Enforce);
            let is_told = rule.is_none_or(|rule| found.iter().any(|found| found.problem.rule == rule));
            assert!(is_told, "{rule:?}: {}", shown(&found));
            for format in [Format::Text, Format::Json, Format::Sarif] {
                let output = render(&found, format, Colour::None);
                assert!(!output.contains("hunter2") && !output.contains("aHVudGVyMg=="), "{output}");
            }
        }
    }
    let beside = header.replace("\"X Other\"", "X-Other").replace("path: secret", "path: secret/../other");
    assert!(shown(&lint(&text(&beside), Mode::Enforce)).contains("path: secret/../other"), "other lines are shown");
}

/// The store of the corpus with this mount, and a label.
fn mounted(mount: &str) -> String {
    let store = corpus("good/store.yaml").replace("path: secret", &format!("path: {mount}"));
    store.replace("  name: vault-backend", "  name: vault-backend\n  labels: { team: a }")
}

#[test]
fn each_manifest_of_a_store_counts_in_whatever_order_and_each_finding_is_told_once() {
    // Right under the mount `other-mount`, and wrong under others.
    let push = corpus("bad/v1-other-mount-in-key.yaml");
    let selecting = push.replace("- name: vault-backend", "- labelSelector: { matchLabels: { team: a } }");
    let pull = corpus("good/external-secret.yaml").replace("secret/data/", "other-mount/data/");
    let second = push.replace("  name: v1-other-mount-in-key", "  name: second");
    let (right, wrong, another) = (mounted("other-mount"), mounted("secret"), mounted("kv"));
    let judged = |manifests: &[&String]| -> Vec<String> {
        let all: Vec<&str> = manifests.iter().map(|manifest| manifest.as_str()).collect();
        let found = lint(&text(&all.join("\n---\n")), Mode::Enforce);
        found.into_iter().map(|found| found.problem.rule).collect()
    };
    for object in [&push, &selecting, &pull] {
        assert_eq!(judged(&[&right, object]), Vec::<String>::new());
        let once = judged(&[&wrong, object]);
        assert!(once.contains(&"V1".to_owned()), "{once:?}");
        for stores in [[&right, &wrong, &another], [&wrong, &another, &right], [&wrong, &right, &another]] {
            assert_eq!(judged(&[stores[0], stores[1], stores[2], object]), once, "{object}");
        }
    }
    assert_eq!(judged(&[&right, &push, &second]), ["V4"]);
    assert_eq!(judged(&[&right, &wrong, &push, &second]), ["V1", "V1", "V4"], "one conflict, whatever the mount");
}
