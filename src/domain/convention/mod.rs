//! The path convention: what may be published to which path, judged in the same way by admission,
//! reconcilers and `waypost lint`.
//!
//! Everything comes from one table ([`RULES`]) and one vocabulary ([`Convention`]): the checks
//! below, the admission policies ([`admission`]) and the reference page ([`reference`]).

pub mod admission;
mod path_rules;
mod push_rules;
pub mod reference;
mod rules;
mod suggest;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::domain::path::RemotePath;

pub use push_rules::{LocatedFinding, MappingFacts, PushFacts, StoreFacts};
pub use rules::{RULES, Rule, RuleId};
pub use words::{PROPERTY_PATTERN, SEGMENT_PATTERN, WORD_PATTERN, WordError};

/// A namespace's label with its mode, which overrides the installation's mode.
pub const LABEL_MODE: &str = "waypost.io/path-convention";

/// How strictly the convention is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Errors stop a push.
    #[default]
    Enforce,
    /// Errors are reported as warnings, and the push continues.
    Warn,
    /// The convention is not checked.
    Off,
}

/// An unknown mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a mode of the path convention: use `enforce`, `warn` or `off`")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "enforce" => Ok(Self::Enforce),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            other => Err(UnknownMode(other.to_owned())),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        })
    }
}

/// The effect of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth changing; the push continues.
    Warning,
    /// The path is not written.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One violation of a rule by one path or property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: RuleId,
    pub severity: Severity,
    /// What is wrong, naming the key.
    pub message: String,
    /// What to write instead, if known.
    pub fix: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)?;
        match &self.fix {
            Some(fix) => write!(f, " ({fix})"),
            None => Ok(()),
        }
    }
}

/// The convention of one installation: its mode and its vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convention {
    pub mode: Mode,
    /// The first segment of secrets.
    pub secret_prefix: String,
    /// The first segment of configuration.
    pub configuration_prefix: String,
    /// The systems that generate values, the second segment of a path: a closed list that the
    /// platform team extends.
    pub datasources: BTreeSet<String>,
    /// Words that name an environment. No segment may contain one.
    pub environments: BTreeSet<String>,
    /// Properties that are credentials.
    pub credentials: BTreeSet<String>,
    /// Properties that say where a system is.
    pub endpoints: BTreeSet<String>,
    /// Other words for properties of the shared vocabulary.
    pub aliases: BTreeMap<String, String>,
}

impl Default for Convention {
    fn default() -> Self {
        let aliases = words::PROPERTY_ALIASES.iter();
        Self {
            mode: Mode::default(),
            secret_prefix: words::SECRET_PREFIX.to_owned(),
            configuration_prefix: words::CONFIGURATION_PREFIX.to_owned(),
            datasources: owned(&words::DATASOURCES),
            environments: owned(&words::ENVIRONMENTS),
            credentials: owned(&words::CREDENTIAL_PROPERTIES),
            endpoints: owned(&words::ENDPOINT_PROPERTIES),
            aliases: aliases.map(|(alias, shared)| ((*alias).to_owned(), (*shared).to_owned())).collect(),
        }
    }
}

impl Convention {
    /// The built-in vocabulary in this mode.
    pub fn with_mode(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// The same vocabulary in the mode of a namespace's label, if it has a valid one.
    pub fn in_namespace(&self, label: Option<&str>) -> Cow<'_, Self> {
        match label.and_then(|label| label.parse().ok()) {
            Some(mode) if mode != self.mode => Cow::Owned(Self { mode, ..self.clone() }),
            Some(_) | None => Cow::Borrowed(self),
        }
    }

    /// Checks that the vocabulary is valid, so that a path can follow the rules.
    ///
    /// # Errors
    /// The first word that is not valid for its field.
    pub fn check_words(&self) -> Result<(), WordError> {
        words::check(self)
    }

    /// Judges a path that is written, and its property if one is named: rules V1–V3 and V5–V8.
    pub fn judge(&self, path: &RemotePath, property: Option<&str>) -> Vec<Finding> {
        let mut findings = path_rules::judge_path(self, path, property);
        if let Some(property) = property {
            findings.extend(path_rules::judge_property(self, path, property));
        }
        self.in_mode(findings)
    }

    /// Judges a path that is only read. The convention binds writes, so these are warnings.
    pub fn judge_read(&self, path: &RemotePath, property: Option<&str>) -> Vec<Finding> {
        let findings = path_rules::judge_path(self, path, property);
        self.in_mode(path_rules::as_warnings(findings))
    }

    /// Judges a folder that is searched (`dataFrom[].find.path`); `None` is the whole mount.
    /// Returns only warnings.
    pub fn judge_find(&self, folder: Option<&str>) -> Vec<Finding> {
        self.in_mode(path_rules::as_warnings(path_rules::judge_folder(self, folder)))
    }

    /// Judges a PushSecret as a whole: P1–P3, V4 within it, and every mapping by
    /// [`Convention::judge`].
    ///
    /// A key that is not a path (P3) is an error in every mode.
    pub fn judge_push_secret(&self, facts: &PushFacts<'_>) -> Vec<LocatedFinding> {
        let mut located = push_rules::judge_push_secret(self, facts);
        match self.mode {
            Mode::Enforce => {}
            Mode::Warn => located
                .iter_mut()
                .filter(|found| found.finding.rule != RuleId::P3)
                .for_each(|found| found.finding.severity = Severity::Warning),
            Mode::Off => located.retain(|found| found.finding.rule == RuleId::P3),
        }
        located
    }

    fn in_mode(&self, findings: Vec<Finding>) -> Vec<Finding> {
        match self.mode {
            Mode::Enforce => findings,
            Mode::Warn => path_rules::as_warnings(findings),
            Mode::Off => Vec::new(),
        }
    }
}

/// The files generated from the table with the built-in vocabulary: path below the repository's
/// root, and content.
pub fn generated_files() -> Vec<(PathBuf, String)> {
    let convention = Convention::default();
    let mut files = admission::policies(&convention);
    files.push((PathBuf::from("docs/reference/rules.md"), reference::page(&convention)));
    files
}

fn owned(words: &[&str]) -> BTreeSet<String> {
    words.iter().copied().map(str::to_owned).collect()
}
