//! The copy of the tree, its builds, and its tests.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use super::{choice, copy, list::Mutant, report::Outcome};
use crate::wait;

/// Tests that have not ended by then do not end: they are there within seconds.
const LONGEST: Duration = Duration::from_secs(300);

/// How much each test may put on its stack, in bytes.
const STACK: usize = 16 * 1024 * 1024;

/// Where faults are tried.
pub(super) struct Bench {
    repository: PathBuf,
    tree: PathBuf,
    target: PathBuf,
    log: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    Not,
}

impl Bench {
    /// In `folder`, where the build stays for the next time. The first time it begins with what
    /// cargo has built of the libraries.
    pub(super) fn set_up(repository: &Path, folder: &Path) -> anyhow::Result<Self> {
        let bench = Bench {
            repository: repository.to_owned(),
            tree: folder.join("tree"),
            target: folder.join("target"),
            log: folder.join("log"),
        };
        bench.restore()?;
        if !bench.target.exists() {
            bench.borrow_libraries()?;
        }
        Ok(bench)
    }

    /// Makes the copy what the tree is.
    pub(super) fn restore(&self) -> anyhow::Result<()> {
        copy::bring_up(&self.repository, &self.tree)
    }

    /// What the tree has in a file.
    pub(super) fn source(&self, file: &Path) -> Option<String> {
        fs::read_to_string(self.tree.join(file)).ok()
    }

    /// Puts another text into a file of the copy.
    pub(super) fn write(&self, file: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(self.tree.join(file), text).with_context(|| format!("write {}", file.display()))
    }

    /// Whether the tests of a target compile.
    pub(super) fn compiles(&self, target: Option<&str>) -> anyhow::Result<bool> {
        let mut cargo = self.command(target)?;
        Ok(cargo.arg("--no-run").status().context("start cargo")?.success())
    }

    /// Without a fault, every test that is named is there and passes.
    pub(super) fn must_pass<'a>(&self, mutants: impl Iterator<Item = &'a Mutant> + Clone) -> anyhow::Result<()> {
        let targets: BTreeSet<Option<&String>> = mutants.clone().map(|mutant| mutant.target.as_ref()).collect();
        for target in targets {
            let of_target = mutants.clone().filter(|mutant| mutant.target.as_ref() == target);
            let tests: BTreeSet<&String> = of_target.flat_map(|mutant| &mutant.caught_by).collect();
            let target = target.map(String::as_str);
            ensure!(self.compiles(target)?, "the tree does not compile:\n{}", self.log()?);
            let ended = self.test(target, &tests, None)?;
            ensure!(ended == Ended::Well, "without any fault, tests fail or are not there:\n{}", self.log()?);
            let counted = format!("running {} test", tests.len());
            ensure!(self.log()?.contains(&counted), "not all of these are there: {tests:?}\n{}", self.log()?);
        }
        Ok(())
    }

    /// Runs the tests that are to find a fault; with its number where it is one of several in the
    /// build.
    pub(super) fn judge(&self, mutant: &Mutant, chosen: Option<usize>) -> anyhow::Result<Outcome> {
        let target = mutant.target.as_deref();
        if chosen.is_none() && !self.compiles(target)? {
            return Ok(Outcome::DoesNotCompile(self.log()?));
        }
        let tests = mutant.caught_by.iter().collect();
        Ok(match self.test(target, &tests, chosen)? {
            Ended::Well => Outcome::Survived,
            Ended::Badly => of_failed(passed(&mutant.caught_by, &self.log()?)),
            Ended::Not => Outcome::NeverEnded,
        })
    }

    /// What the latest command said.
    pub(super) fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))
    }

    /// Runs exactly these tests.
    fn test(&self, target: Option<&str>, tests: &BTreeSet<&String>, chosen: Option<usize>) -> anyhow::Result<Ended> {
        let mut cargo = self.command(target)?;
        cargo.args(["--", "--exact"]).args(tests);
        if let Some(number) = chosen {
            cargo.env(choice::VARIABLE, number.to_string());
        }
        let mut child = cargo.spawn().context("start cargo")?;
        let ended = wait::until_blocking("the tests to end", LONGEST, || child.try_wait().transpose());
        match ended {
            Ok(status) => Ok(if status?.success() { Ended::Well } else { Ended::Badly }),
            Err(_) => {
                // Its group, since the tests are cargo's child.
                let group = format!("-{}", child.id());
                let killed = Command::new("kill").args(["-KILL", "--", &group]).status().context("start kill")?;
                if !killed.success() {
                    bail!("the tests did not end, and cannot be killed");
                }
                child.wait()?;
                Ok(Ended::Not)
            }
        }
    }

    fn command(&self, target: Option<&str>) -> anyhow::Result<Command> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        cargo.env_remove("CARGO_MANIFEST_DIR").env_remove(choice::VARIABLE);
        // Where faults can be chosen, futures are larger than in any other build.
        cargo.env("RUST_MIN_STACK", STACK.to_string());
        // A failure is enough; a small one is for people.
        cargo.env("PROPTEST_MAX_SHRINK_ITERS", "0");
        cargo.args(["test", "--package", "waypost", "--locked"]);
        match target {
            Some(target) => cargo.args(["--test", target]),
            None => cargo.arg("--lib"),
        };
        let output = File::create(&self.log).with_context(|| format!("write {}", self.log.display()))?;
        cargo.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(cargo)
    }

    /// Copies the libraries that `cargo` built for the tree, so that none is compiled again. The
    /// times of change go along: cargo goes by them.
    fn borrow_libraries(&self) -> anyhow::Result<()> {
        let built = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let (from, to) = (self.repository.join(built).join("debug"), self.target.join("debug"));
        for part in ["deps", "build", ".fingerprint"] {
            let Ok(entries) = fs::read_dir(from.join(part)) else { continue };
            let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
            let libraries: Vec<PathBuf> = paths.into_iter().filter(|path| is_of_a_library(path)).collect();
            fs::create_dir_all(to.join(part))?;
            for some in libraries.chunks(500) {
                let mut copy = Command::new("cp");
                copy.args(["-a", "-t"]).arg(to.join(part)).args(some);
                ensure!(copy.status()?.success(), "cannot copy what is in {}", from.join(part).display());
            }
        }
        Ok(())
    }
}

/// Those of the tests that did not fail, by what they said.
fn passed(tests: &[String], log: &str) -> Vec<String> {
    let has_failed = |test: &String| {
        let failed = format!("test {test} ... FAILED");
        log.lines().any(|line| line == failed)
    };
    tests.iter().filter(|test| !has_failed(test)).cloned().collect()
}

fn of_failed(passed: Vec<String>) -> Outcome {
    if passed.is_empty() { Outcome::Caught } else { Outcome::CaughtBySome { missed_by: passed } }
}

/// Whether cargo made this for a library that is not ours. Programs have no extension, and are ours.
fn is_of_a_library(path: &Path) -> bool {
    let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().contains("waypost"));
    !is_ours && (path.is_dir() || path.extension().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_named_test_is_to_fail() {
        let log = "running 2 tests\ntest a::finds ... FAILED\ntest a::finds_more ... ok\n\nfailures:\n";
        let tests = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(of_failed(passed(&tests(&["a::finds"]), log)), Outcome::Caught);
        let missed_by = tests(&["a::finds_more"]);
        assert_eq!(of_failed(passed(&tests(&["a::finds", "a::finds_more"]), log)), Outcome::CaughtBySome { missed_by });
    }
}
