//! What became of each fault.

use std::{fmt, time::Duration};

use super::list::Mutant;

/// What became of a fault that was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every test that is named failed.
    Caught,
    /// A test failed, but not each that is named.
    CaughtBySome {
        /// Those that passed.
        missed_by: Vec<String>,
    },
    /// The tests did not end, which nobody takes for success.
    NeverEnded,
    /// All tests passed.
    Survived,
    /// Its text is not there once.
    DoesNotApply,
    /// The change is no program; what the compiler says.
    DoesNotCompile(String),
}

impl Outcome {
    fn is_caught(&self) -> bool {
        match self {
            Outcome::Caught | Outcome::NeverEnded => true,
            Outcome::CaughtBySome { .. } | Outcome::Survived | Outcome::DoesNotApply | Outcome::DoesNotCompile(_) => {
                false
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Caught => "caught",
            Outcome::NeverEnded => "caught (never ended)",
            Outcome::CaughtBySome { .. } => "CAUGHT BY ONLY SOME",
            Outcome::Survived => "SURVIVED",
            Outcome::DoesNotApply => "DOES NOT APPLY",
            Outcome::DoesNotCompile(_) => "DOES NOT COMPILE",
        })
    }
}

/// One fault.
#[derive(Debug)]
pub struct Tried {
    /// What was changed.
    pub mutant: Mutant,
    /// What came of it.
    pub outcome: Outcome,
    /// How long that took, with a build of its own where it had one.
    pub took: Duration,
}

impl Tried {
    /// Whether a line of a report is about this fault.
    pub(super) fn is_told(mutant: &Mutant, line: &str) -> bool {
        line.ends_with(&Self::name(mutant))
    }

    fn name(mutant: &Mutant) -> String {
        format!(" s  {}  ({})", mutant.fault, mutant.file.display())
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { mutant, outcome, took } = self;
        // As a text: a format's width is for texts.
        let outcome_text = outcome.to_string();
        write!(f, "{outcome_text:<20} {:>4}{}", took.as_secs(), Self::name(mutant))?;
        match outcome {
            Outcome::DoesNotCompile(log) => write!(f, "\n{log}"),
            Outcome::CaughtBySome { missed_by } => write!(f, "\n    passed with it: {}", missed_by.join(", ")),
            Outcome::Caught | Outcome::NeverEnded | Outcome::Survived | Outcome::DoesNotApply => Ok(()),
        }
    }
}

/// All faults that were tried.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the list.
    pub tried: Vec<Tried>,
}

impl Report {
    /// Whether every fault was caught.
    pub fn is_clean(&self) -> bool {
        self.tried.iter().all(|tried| tried.outcome.is_caught())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tried.iter().try_for_each(|tried| writeln!(f, "{tried}"))?;
        let caught = self.tried.iter().filter(|tried| tried.outcome.is_caught()).count();
        write!(f, "{caught} of {} faults were caught", self.tried.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_test_noticed_counts_as_caught() {
        let tried = |outcome| {
            let mutant = Mutant {
                fault: "a fault".into(),
                file: "src/a.rs".into(),
                text: "a".into(),
                instead: "b".into(),
                caught_by: vec!["test".into()],
                target: None,
            };
            Report { tried: vec![Tried { mutant, outcome, took: Duration::from_secs(7) }] }
        };
        for outcome in [Outcome::Caught, Outcome::NeverEnded] {
            assert!(tried(outcome).is_clean());
        }
        let some = Outcome::CaughtBySome { missed_by: vec!["another".into()] };
        for outcome in [Outcome::Survived, some, Outcome::DoesNotApply, Outcome::DoesNotCompile("error".into())] {
            let report = tried(outcome);
            assert!(!report.is_clean() && report.to_string().ends_with("0 of 1 faults were caught"), "{report}");
        }
    }
}
