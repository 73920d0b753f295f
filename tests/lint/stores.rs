//! `waypost lint` and the stores among the files: what is shown of them, and several manifests of
//! one.

use std::path::Path;

use waypost::cli::lint::{Colour, Format, render};
use waypost::domain::convention::Mode;
use waypost::manifest;

use super::{lint, shown, text};

fn corpus(file: &str) -> String {
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
