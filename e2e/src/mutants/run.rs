//! Brings each fault back and runs the tests that are to fail: most in one build, the others in one
//! of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    bench::Bench,
    choice::{self, Chosen},
    list::Mutant,
    progress::{self, Progress},
    report::{Outcome, Report, Tried},
};

/// Tries these faults on a copy in `folder`, where its build stays for the next time. Progress goes
/// to standard error and to the file `progress` there. With `goes_on`, what that file says was
/// caught is not tried again.
///
/// # Errors
/// When the tree does not compile, or the named tests do not pass, without any fault.
pub fn run(repository: &Path, folder: &Path, mutants: Vec<Mutant>, goes_on: bool) -> anyhow::Result<Report> {
    fs::create_dir_all(folder)?;
    let file = folder.join("progress");
    let known = if goes_on { progress::caught(&file) } else { BTreeSet::new() };
    let is_known = |mutant: &Mutant| known.iter().any(|line| Tried::is_told(mutant, line));
    let mutants: Vec<Mutant> = mutants.into_iter().filter(|mutant| !is_known(mutant)).collect();
    if mutants.is_empty() {
        return Ok(Report::default());
    }
    let mut run = Run {
        bench: Bench::set_up(repository, folder)?,
        numbered: mutants.into_iter().zip(1..).map(|(mutant, number)| (number, mutant)).collect(),
        progress: Progress::open(&file, goes_on)?,
        report: Report::default(),
    };
    let alone = run.together()?;
    run.one_by_one(&alone)?;
    Ok(run.report)
}

struct Run {
    bench: Bench,
    /// From 1, as [`choice::VARIABLE`] counts.
    numbered: BTreeMap<usize, Mutant>,
    progress: Progress,
    report: Report,
}

impl Run {
    /// Tries all that can be chosen in one build; returns the others.
    fn together(&mut self) -> anyhow::Result<BTreeSet<usize>> {
        let sources: BTreeMap<PathBuf, String> = self
            .numbered
            .values()
            .filter_map(|mutant| Some((mutant.file.clone(), self.bench.source(&mutant.file)?)))
            .collect();
        let can_choose =
            |mutant: &Mutant| sources.get(&mutant.file).is_some_and(|source| choice::can_choose(mutant, source));
        let (mut chosen, mut alone): (BTreeSet<usize>, BTreeSet<usize>) =
            self.numbered.keys().partition(|number| can_choose(&self.numbered[*number]));
        loop {
            let files = self.write_choices(&sources, &chosen)?;
            match self.strangers(&files, &chosen)? {
                Some(strangers) if strangers.is_empty() => {
                    // What the compiler has against it is about no fault in particular.
                    alone.append(&mut chosen);
                }
                Some(strangers) => {
                    chosen.retain(|number| !strangers.contains(number));
                    alone.extend(strangers);
                }
                None => break,
            }
        }
        self.bench.must_pass(chosen.iter().map(|number| &self.numbered[number]))?;
        for number in chosen {
            self.try_one(number, Some(number))?;
        }
        self.bench.restore()?;
        Ok(alone)
    }

    /// Writes the files in which the faults can be chosen.
    fn write_choices(
        &self,
        sources: &BTreeMap<PathBuf, String>,
        chosen: &BTreeSet<usize>,
    ) -> anyhow::Result<BTreeMap<PathBuf, Chosen>> {
        self.bench.restore()?;
        let mut files = BTreeMap::new();
        for (file, source) in sources {
            let of_file: BTreeMap<usize, &Mutant> = chosen
                .iter()
                .map(|number| (*number, &self.numbered[number]))
                .filter(|(_, mutant)| mutant.file == *file)
                .collect();
            if !of_file.is_empty() {
                let between = choice::between(source, &of_file);
                self.bench.write(file, &between.source)?;
                files.insert(file.clone(), between);
            }
        }
        let root = Path::new(choice::ROOT);
        let library = self.bench.source(root).unwrap_or_default();
        self.bench.write(root, &format!("{library}{}", choice::READER))?;
        Ok(files)
    }

    /// The faults that the compiler has something against; `None` when it has nothing against anything.
    fn strangers(
        &self,
        files: &BTreeMap<PathBuf, Chosen>,
        chosen: &BTreeSet<usize>,
    ) -> anyhow::Result<Option<BTreeSet<usize>>> {
        let targets: BTreeSet<Option<&str>> =
            chosen.iter().map(|number| self.numbered[number].target.as_deref()).collect();
        for target in targets {
            if !self.bench.compiles(target)? {
                let places = places(&self.bench.log()?);
                let is_meant = |file: &PathBuf, line: usize| {
                    let lines = &files.get(file)?.lines;
                    lines.iter().find(|(_, lines)| lines.contains(&line)).map(|(number, _)| *number)
                };
                return Ok(Some(places.iter().filter_map(|(file, line)| is_meant(file, *line)).collect()));
            }
        }
        Ok(None)
    }

    /// Tries each of these in a build of its own.
    fn one_by_one(&mut self, alone: &BTreeSet<usize>) -> anyhow::Result<()> {
        self.bench.must_pass(alone.iter().map(|number| &self.numbered[number]))?;
        for &number in alone {
            self.try_one(number, None)?;
        }
        Ok(())
    }

    fn try_one(&mut self, number: usize, chosen: Option<usize>) -> anyhow::Result<()> {
        let (mutant, began) = (self.numbered[&number].clone(), Instant::now());
        let outcome = match chosen {
            Some(_) => self.bench.judge(&mutant, chosen)?,
            None => self.try_alone(&mutant)?,
        };
        let tried = Tried { mutant, outcome, took: began.elapsed() };
        self.progress.note(&tried)?;
        self.report.tried.push(tried);
        Ok(())
    }

    fn try_alone(&self, mutant: &Mutant) -> anyhow::Result<Outcome> {
        let source = self.bench.source(&mutant.file).unwrap_or_default();
        let Ok(changed) = mutant.apply(&source) else { return Ok(Outcome::DoesNotApply) };
        self.bench.write(&mutant.file, &changed)?;
        let outcome = self.bench.judge(mutant, None);
        self.bench.write(&mutant.file, &source)?;
        outcome
    }
}

/// The places that the compiler names: `--> src/push/step.rs:12:5`.
fn places(log: &str) -> BTreeSet<(PathBuf, usize)> {
    let place = |line: &str| {
        let (_, place) = line.split_once("--> ")?;
        let mut parts = place.trim().split(':');
        Some((PathBuf::from(parts.next()?), parts.next()?.parse().ok()?))
    };
    let errors = log.split("\n\n").filter(|message| message.lines().any(|line| line.starts_with("error")));
    errors.flat_map(str::lines).filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_placed_and_warnings_are_not() {
        let log = "   Compiling waypost\nwarning: unused\n --> src/a.rs:1:2\n  |\n\nerror[E0308]: mismatched types\n    \
                   --> src/push/b.rs:12:5\n   |\n\nerror: could not compile `waypost`\n";
        assert_eq!(places(log), BTreeSet::from([(PathBuf::from("src/push/b.rs"), 12)]));
    }
}
