//! The list of faults: what to change where, and which tests are to notice.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// A change of the source that brings a fault back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What users would see, in a few words.
    pub fault: String,
    /// The file, from the root of the repository.
    pub file: PathBuf,
    /// What is there now, once. White space counts as white space, however much of it there is.
    pub text: String,
    /// What stands in its place then.
    pub instead: String,
    /// Tests that fail then, by their whole names. Unit tests of the product, unless `target` says
    /// otherwise.
    pub caught_by: Vec<String>,
    /// The file in `tests/` that has them, if they are no unit tests. It must need no servers.
    #[serde(default)]
    pub target: Option<String>,
}

impl Mutant {
    /// The source with the fault.
    ///
    /// # Errors
    /// When the text is not there exactly once, or nothing would change.
    pub fn apply(&self, source: &str) -> anyhow::Result<String> {
        let range = self.place(source)?;
        Ok(format!("{}{}{}", &source[..range.start], self.instead.trim(), &source[range.end..]))
    }

    /// What of the source changes.
    ///
    /// # Errors
    /// As of [`apply`](Self::apply).
    pub(super) fn place(&self, source: &str) -> anyhow::Result<Range<usize>> {
        let found = occurrences(source, &self.text);
        let [range] = found.as_slice() else {
            bail!("{}: the text of \"{}\" is there {} times", self.file.display(), self.fault, found.len());
        };
        let changes = source[range.clone()] != *self.instead.trim();
        ensure!(changes, "{}: \"{}\" changes nothing", self.file.display(), self.fault);
        Ok(range.clone())
    }
}

/// All faults, in the order of their files' names.
///
/// # Errors
/// The file that cannot be read, and why.
pub fn read(repository: &Path) -> anyhow::Result<Vec<Mutant>> {
    let folder = repository.join("tests/mutants");
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort_unstable();
    let mut mutants = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let listed: Vec<Mutant> =
            serde_saphyr::from_str(&text).with_context(|| format!("understand {}", file.display()))?;
        mutants.extend(listed);
    }
    Ok(mutants)
}

/// Where `text` is in `source`, all white space being alike.
fn occurrences(source: &str, text: &str) -> Vec<Range<usize>> {
    let (squeezed, origins) = squeeze(source.trim_end());
    let (wanted, _) = squeeze(text.trim());
    if wanted.is_empty() {
        return Vec::new();
    }
    squeezed
        .match_indices(&wanted)
        .map(|(start, found)| origins[start].start..origins[start + found.len() - 1].end)
        .collect()
}

/// The text with each run of white space as one space, and for each byte the character or run that
/// it came from.
fn squeeze(text: &str) -> (String, Vec<Range<usize>>) {
    let (mut squeezed, mut origins) = (String::new(), Vec::<Range<usize>>::new());
    for (at, character) in text.char_indices() {
        let origin = at..at + character.len_utf8();
        if !character.is_whitespace() {
            squeezed.push(character);
            origins.extend(std::iter::repeat_n(origin, character.len_utf8()));
        } else if squeezed.ends_with(' ') {
            if let Some(run) = origins.last_mut() {
                run.end = origin.end;
            }
        } else {
            squeezed.push(' ');
            origins.push(origin);
        }
    }
    (squeezed, origins)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::lab::repository;

    fn mutant(text: &str, instead: &str) -> Mutant {
        Mutant {
            fault: "a fault".into(),
            file: "src/a.rs".into(),
            text: text.into(),
            instead: instead.into(),
            caught_by: vec!["a::test".into()],
            target: None,
        }
    }

    #[test]
    fn a_fault_is_put_in_the_place_of_its_text_however_that_is_wrapped() {
        let source = "fn é() {\n    if a\n        && b {\n        c();\n    }\n}\n";
        let changed = mutant("if a && b {\n  c();", "if a {\n  c();\n").apply(source).unwrap();
        assert_eq!(changed, "fn é() {\n    if a {\n  c();\n    }\n}\n");
    }

    #[test]
    fn a_text_that_is_gone_or_not_alone_and_a_fault_that_is_none_are_refused() {
        let source = "a(); b(); a();";
        for (text, instead, told) in [("c();", "", "0 times"), ("a();", "", "2 times"), ("b();", "b();", "nothing")] {
            let error = mutant(text, instead).apply(source).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("a fault"), "{error}");
        }
    }

    #[test]
    fn every_listed_fault_can_be_brought_back_and_names_tests_that_are_there() {
        let mutants = read(&repository()).unwrap();
        let (mut wrong, mut brought) = (Vec::new(), BTreeMap::new());
        for mutant in &mutants {
            let source = fs::read_to_string(repository().join(&mutant.file)).unwrap_or_default();
            match mutant.apply(&source) {
                Ok(faulty) => {
                    let words = faulty.split_whitespace().collect::<Vec<_>>().join(" ");
                    let other = brought.insert((&mutant.file, words), &mutant.fault);
                    wrong.extend(other.map(|other| format!("\"{other}\" and \"{}\" are one", mutant.fault)));
                }
                Err(error) => wrong.push(error.to_string()),
            }
            if mutant.caught_by.is_empty() {
                wrong.push(format!("\"{}\" names no test", mutant.fault));
            }
            for test in &mutant.caught_by {
                let function = format!("fn {}(", test.rsplit("::").next().unwrap_or_default());
                if !file_of(mutant, test).is_some_and(|text| text.contains(&function)) {
                    wrong.push(format!("\"{}\" names {test}, which is not there", mutant.fault));
                }
            }
        }
        let faults: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.fault.as_str()).collect();
        assert_eq!(faults.len(), mutants.len(), "two faults have one name");
        assert!(wrong.is_empty(), "bring tests/mutants up to date:\n{}", wrong.join("\n"));
    }

    /// The file that may have a test: that of its module or, if that is written within a file, that of
    /// the nearest module around it.
    fn file_of(mutant: &Mutant, test: &str) -> Option<String> {
        let modules: Vec<&str> = test.split("::").collect();
        let (folder, root) = match &mutant.target {
            Some(target) => (format!("tests/{target}"), format!("tests/{target}.rs")),
            None => ("src".to_owned(), "src/lib.rs".to_owned()),
        };
        let of_modules = (1..modules.len()).rev().flat_map(|count| {
            let path = modules[..count].join("/");
            [format!("{folder}/{path}.rs"), format!("{folder}/{path}/mod.rs")]
        });
        let main = format!("{folder}/main.rs");
        of_modules.chain([root, main]).find_map(|file| fs::read_to_string(repository().join(file)).ok())
    }
}
