//! `make demo` from start to end, and what it must never print.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

/// Base64 of a text that stands anywhere in a longer one: at each of the three alignments, less
/// what its neighbours change.
fn inside_base64(text: &str) -> Vec<String> {
    let at = |before: usize| {
        let encoded = BASE64.encode(format!("{}{text}", "-".repeat(before)));
        let encoded = encoded.trim_end_matches('=');
        encoded[(before * 8).div_ceil(6)..encoded.len() - 1].to_owned()
    };
    (0..3).map(at).collect()
}

#[test]
fn base64_of_a_text_is_found_at_each_alignment() {
    for before in ["", "a", "ab", "abc"] {
        let encoded = BASE64.encode(format!("{before}needle-in-a-haystack, and more"));
        assert!(inside_base64("needle-in-a-haystack").iter().any(|form| encoded.contains(form)), "{before:?}");
    }
}

#[test]
fn the_demo_shows_each_step_and_no_value() {
    let program = Path::new(env!("CARGO_BIN_EXE_waypost-e2e"));
    let product = program.with_file_name("waypost");
    assert!(product.is_file(), "there is no {}: run `cargo build --workspace`", product.display());
    let canary = format!("canary{:08x}", std::process::id());
    let mut command = Command::new(program);
    command.args(["demo", "--canary", &canary]).env_remove("KEEP").stdin(Stdio::null());
    let output = command.output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}");

    for expected in [
        "secret/platform-data/postgres/temporal version 6",
        "secret/platform-data/redis/temporal",
        "secret/platform-config/postgres/platform-postgres",
        "clustersecretstore.external-secrets.io/vault-backend condition met",
        "externalsecret.external-secrets.io/temporal-redis condition met",
        "SecretSynced",
        "Both intervals are 1 h",
        "ValidatingAdmissionPolicy",
        "$ waypost lint examples/demo/pushsecret-outside-the-convention.yaml",
    ] {
        assert!(printed.contains(expected), "no {expected:?} in:\n{printed}");
    }
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    for form in inside_base64(&canary).into_iter().chain([canary, hex]) {
        assert!(!printed.contains(&form), "a value is in:\n{printed}");
    }
}
