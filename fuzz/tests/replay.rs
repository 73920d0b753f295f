//! Replays what the fuzzer found, and what it began with.

use std::fs;
use std::path::Path;

use waypost_fuzz::{TARGETS, Target};

fn replay(name: &str, target: Target) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut replayed = 0;
    for file in files {
        let path = file.unwrap().path();
        let input = fs::read(&path).unwrap();
        let kept = std::panic::catch_unwind(|| target(&input));
        assert!(kept.is_ok(), "{} breaks the promise of {name}", path.display());
        replayed += 1;
    }
    replayed
}

#[test]
fn every_input_that_is_kept_holds_what_its_target_promises() {
    for (name, target) in TARGETS {
        assert!(replay(name, target) >= 5, "corpus/{name} has too few inputs to begin with");
    }
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap();
    for folder in folders {
        let name = folder.unwrap().file_name();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{} is no target", name.display());
    }
}
