//! What is known so far, in a file: a run that is cut off is not lost, and the next can go on from
//! there.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::Context;

use super::report::Tried;

/// The file of a run.
pub(super) struct Progress(File);

impl Progress {
    /// Begins anew, or goes on.
    pub(super) fn open(file: &Path, goes_on: bool) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(goes_on).truncate(!goes_on);
        Ok(Progress(options.open(file).with_context(|| format!("write {}", file.display()))?))
    }

    /// One more.
    pub(super) fn note(&mut self, tried: &Tried) -> anyhow::Result<()> {
        eprintln!("{tried}");
        writeln!(self.0, "{tried}").context("write what became of a fault")
    }
}

/// The lines of what was caught already.
pub(super) fn caught(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("caught")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mutants::{list::Mutant, report::Outcome};

    #[test]
    fn what_was_caught_is_known_after_a_run_was_cut_off_and_begins_anew_unless_it_goes_on() {
        let file = std::env::temp_dir().join(format!("waypost-progress-{}", std::process::id()));
        let tried = |fault: &str, outcome| {
            let mutant = Mutant {
                fault: fault.into(),
                file: "src/a.rs".into(),
                text: "a".into(),
                instead: "b".into(),
                caught_by: vec!["test".into()],
                target: None,
            };
            Tried { mutant, outcome, took: Duration::from_secs(7) }
        };
        let mut progress = Progress::open(&file, false).unwrap();
        progress.note(&tried("one", Outcome::Caught)).unwrap();
        progress.note(&tried("two", Outcome::Survived)).unwrap();
        drop(progress);
        let mut progress = Progress::open(&file, true).unwrap();
        progress.note(&tried("three", Outcome::NeverEnded)).unwrap();
        let known = caught(&file);
        let faults: Vec<bool> = ["one", "two", "three"]
            .map(|fault| known.iter().any(|line| Tried::is_told(&tried(fault, Outcome::Caught).mutant, line)))
            .into();
        assert_eq!(faults, [true, false, true]);
        Progress::open(&file, false).unwrap();
        assert!(caught(&file).is_empty());
        fs::remove_file(file).unwrap();
    }
}
