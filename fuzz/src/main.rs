//! The fuzzer of the target that `FUZZ_TARGET` names, with libFuzzer's flags (`fuzz/run`).
#![no_main]

use std::sync::LazyLock;

use waypost_fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is {wanted:?}: choose one of {:?}", TARGETS.map(|(name, _)| name))).1
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (*TARGET)(input));
