//! Brings each fault back and runs the tests that are to fail.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    copy,
    list::Mutant,
    report::{Outcome, Report, Tried},
};
use crate::wait;

/// Tests that have not ended by then do not end: they are there within seconds.
const LONGEST: Duration = Duration::from_secs(300);

/// Tries these faults on a copy in `folder`, where its build stays for the next time. Progress goes
/// to standard error.
///
/// # Errors
/// When the tree does not compile, or the named tests do not pass, without any fault.
pub fn run(repository: &Path, folder: &Path, mutants: Vec<Mutant>) -> anyhow::Result<Report> {
    let bench = Bench { tree: folder.join("tree"), target: folder.join("target"), log: folder.join("log") };
    copy::bring_up(repository, &bench.tree)?;
    bench.must_pass(&mutants)?;
    let (mut report, all) = (Report::default(), mutants.len());
    for (number, mutant) in mutants.into_iter().enumerate() {
        eprintln!("{} of {all}: {}", number + 1, mutant.fault);
        let began = Instant::now();
        let outcome = bench.try_one(&mutant)?;
        let tried = Tried { mutant, outcome, took: began.elapsed() };
        report.tried.push(tried);
    }
    Ok(report)
}

/// Where faults are tried.
struct Bench {
    tree: PathBuf,
    target: PathBuf,
    log: PathBuf,
}

impl Bench {
    /// Without a fault, every test that is named is there and passes.
    fn must_pass(&self, mutants: &[Mutant]) -> anyhow::Result<()> {
        let targets: BTreeSet<Option<&String>> = mutants.iter().map(|mutant| mutant.target.as_ref()).collect();
        for target in targets {
            let of_target = mutants.iter().filter(|mutant| mutant.target.as_ref() == target);
            let tests: BTreeSet<&String> = of_target.flat_map(|mutant| &mutant.caught_by).collect();
            let target = target.map(String::as_str);
            ensure!(self.compiles(target)?, "the tree does not compile:\n{}", self.log()?);
            let ended = self.cargo(target, &tests)?;
            ensure!(ended == Ended::Well, "without any fault, tests fail or are not there:\n{}", self.log()?);
            let counted = format!("running {} test", tests.len());
            ensure!(self.log()?.contains(&counted), "not all of these are there: {tests:?}\n{}", self.log()?);
        }
        Ok(())
    }

    fn try_one(&self, mutant: &Mutant) -> anyhow::Result<Outcome> {
        let file = self.tree.join(&mutant.file);
        let source = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let Ok(changed) = mutant.apply(&source) else { return Ok(Outcome::DoesNotApply) };
        fs::write(&file, changed)?;
        let outcome = self.judge(mutant);
        fs::write(&file, source)?;
        outcome
    }

    fn judge(&self, mutant: &Mutant) -> anyhow::Result<Outcome> {
        let target = mutant.target.as_deref();
        if !self.compiles(target)? {
            return Ok(Outcome::DoesNotCompile(self.log()?));
        }
        let tests = mutant.caught_by.iter().collect();
        Ok(match self.cargo(target, &tests)? {
            Ended::Well => Outcome::Survived,
            Ended::Badly => Outcome::Caught,
            Ended::Not => Outcome::NeverEnded,
        })
    }

    fn compiles(&self, target: Option<&str>) -> anyhow::Result<bool> {
        let mut cargo = self.command(target)?;
        Ok(cargo.arg("--no-run").status().context("start cargo")?.success())
    }

    /// Runs exactly these tests.
    fn cargo(&self, target: Option<&str>, tests: &BTreeSet<&String>) -> anyhow::Result<Ended> {
        let mut cargo = self.command(target)?;
        cargo.args(["--", "--exact"]).args(tests);
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
        use std::os::unix::process::CommandExt;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        cargo.env_remove("CARGO_MANIFEST_DIR");
        cargo.args(["test", "--package", "waypost", "--locked"]);
        match target {
            Some(target) => cargo.args(["--test", target]),
            None => cargo.arg("--lib"),
        };
        let output = File::create(&self.log).with_context(|| format!("write {}", self.log.display()))?;
        cargo.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(cargo)
    }

    fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    Not,
}
