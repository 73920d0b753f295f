//! What a PushSecret asks for: its spec, parsed and judged once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

use super::labels::{Disagreement, LabelGoal};
use super::ledger::{Line, Mounts, Spot, StoreKey, key_of};
use super::step::{Existing, Foreign};
use crate::api::bounds::{self, OutOfBounds};
use crate::api::condition::Reason;
use crate::api::names::{ANNOTATION_ADOPT, TRUE};
use crate::api::push_secret::{PushConversionStrategy, PushSecretData, PushSecretSpec, UpdatePolicy};
use crate::domain::consent::Consent;
use crate::domain::convention::{Convention, Finding, MappingFacts, PushFacts, RuleId, Severity, StoreFacts};
use crate::domain::mapping::{KeyConversion, Mapping, SourceKey};
use crate::domain::path::{PathError, RemotePath};
use crate::domain::push_options::{PushOptions, PushOptionsError};

/// Everything that is to be published.
pub struct Desired {
    /// The source Secret, in the PushSecret's own namespace.
    pub source: String,
    /// How often the store is compared with the source; `None` means only when something changes.
    pub refresh: Option<Duration>,
    /// What each entry gets.
    pub entries: BTreeMap<Spot, Wanted>,
    /// What happens to properties that are there already.
    pub existing: Existing,
    /// What happens to entries of somebody else.
    pub foreign: Foreign,
    /// Rules that are broken where the convention only warns.
    pub warnings: Vec<String>,
}

/// What one entry gets.
#[derive(Default)]
pub struct Wanted {
    /// Property by property, from which key.
    pub mapping: Mapping,
    /// The lines that the ledger gets.
    pub lines: BTreeMap<String, Line>,
    /// Who may read which property; one that is not here, anybody.
    pub consents: BTreeMap<String, Consent>,
    /// The rules that keep this entry from being written.
    pub violations: Vec<Finding>,
    /// What the mappings ask for beside their values.
    options: Vec<(usize, PushOptions)>,
    /// The same, added up.
    pub labels: LabelGoal,
}

/// Why a spec cannot be carried out. Nothing happens until it is edited.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSpec {
    /// A part of the API that this version does not do.
    #[error("{field} is not supported yet: {instead}")]
    Unsupported {
        /// The field.
        field: String,
        /// What to write.
        instead: &'static str,
    },
    /// A required field is empty.
    #[error("{field} is empty: {instead}")]
    Missing {
        /// The field.
        field: String,
        /// What to write.
        instead: &'static str,
    },
    /// The interval is no duration.
    #[error("spec.refreshInterval: {0}")]
    Interval(crate::api::duration::DurationError),
    /// A key names no entry.
    #[error("spec.data[{index}].match.remoteRef.remoteKey: {error}")]
    Path {
        /// Which mapping.
        index: usize,
        /// Why.
        error: PathError,
    },
    /// An envelope that cannot be understood.
    #[error("spec.data[{index}].metadata: {error}")]
    Options {
        /// Which mapping.
        index: usize,
        /// Why.
        error: PushOptionsError,
    },
    /// Two mappings ask for different things of one path.
    #[error(
        "spec.data[{first}] and spec.data[{second}] say different things in metadata.spec.{field} for one path, {path}: let them agree"
    )]
    Disagreement {
        /// The earlier mapping.
        first: usize,
        /// The later mapping.
        second: usize,
        /// The field.
        field: String,
        /// The entry.
        path: RemotePath,
    },
    /// Two mappings to one property.
    #[error(
        "spec.data[{first}] and spec.data[{second}] both write property {property:?} of {path}: remove one of them, or give it another property"
    )]
    Duplicate {
        /// The earlier mapping.
        first: usize,
        /// The later mapping.
        second: usize,
        /// The property.
        property: String,
        /// The entry.
        path: RemotePath,
    },
    /// Two mappings that the ledger could not tell apart.
    #[error(
        "spec.data[{first}] and spec.data[{second}] both read {key:?} as key and property: give one another property"
    )]
    Ambiguous {
        /// The earlier mapping.
        first: usize,
        /// The later mapping.
        second: usize,
        /// The ledger's key.
        key: String,
    },
    /// More, or less, than the API allows.
    #[error("{0}")]
    Bounds(OutOfBounds),
    /// Rules of the framework that concern the whole PushSecret.
    #[error("{}", .0.join("; "))]
    Convention(Vec<String>),
}

impl InvalidSpec {
    /// The word for the condition.
    pub fn reason(&self) -> Reason {
        match self {
            InvalidSpec::Unsupported { .. } => Reason::Unsupported,
            InvalidSpec::Missing { .. }
            | InvalidSpec::Interval(_)
            | InvalidSpec::Path { .. }
            | InvalidSpec::Options { .. }
            | InvalidSpec::Disagreement { .. }
            | InvalidSpec::Duplicate { .. }
            | InvalidSpec::Ambiguous { .. }
            | InvalidSpec::Bounds(_) => Reason::InvalidSpec,
            InvalidSpec::Convention(_) => Reason::ConventionViolated,
        }
    }
}

/// The stores that the spec names.
pub fn stores(spec: &PushSecretSpec) -> BTreeSet<StoreKey> {
    let named = |store: &crate::api::push_secret::PushStoreRef| {
        let name = store.name.clone().filter(|name| !name.is_empty())?;
        Some(StoreKey { kind: store.kind(), name })
    };
    spec.secret_store_refs.iter().filter_map(named).collect()
}

/// The source Secret that the spec names.
pub fn source(spec: &PushSecretSpec) -> Option<&str> {
    spec.selector.secret.as_ref()?.name.as_deref().filter(|name| !name.is_empty())
}

/// What an update policy means for properties that are there.
pub fn existing(policy: UpdatePolicy) -> Existing {
    match policy {
        UpdatePolicy::Replace => Existing::Replace,
        UpdatePolicy::IfNotExists => Existing::Keep,
    }
}

/// Parses a spec, given the stores that can be used. P1–P3 and V4 refuse the whole PushSecret, since they are about its
/// form; V1–V3 and V5–V8 only the entries that break them.
pub fn parse(
    spec: &PushSecretSpec,
    annotations: &BTreeMap<String, String>,
    mounts: &Mounts,
    convention: &Convention,
) -> Result<Desired, InvalidSpec> {
    let warnings = judge_form(spec, mounts, convention)?;
    let source = supported_source(spec)?;
    check_supported(spec)?;
    let adopt = annotations.get(ANNOTATION_ADOPT).is_some_and(|value| value == TRUE);
    let mut desired = Desired {
        source,
        refresh: spec.refresh_interval.parse().map_err(InvalidSpec::Interval)?.positive(),
        entries: BTreeMap::new(),
        existing: existing(spec.update_policy()),
        foreign: if adopt { Foreign::Adopt } else { Foreign::Refuse },
        warnings,
    };
    let mappings = mappings(spec)?;
    for store in stores(spec) {
        if let Some(mount) = mounts.get(&store) {
            desired.add_store(&store, mount.as_deref(), &mappings, convention)?;
        }
    }
    desired.agree_on_labels()?;
    // Last: whatever has a rule of its own is better told by that.
    bounds::check(spec).map_err(InvalidSpec::Bounds)?;
    Ok(desired)
}

/// One mapping of the spec.
struct Entry<'a> {
    index: usize,
    data: &'a PushSecretData,
    options: PushOptions,
}

fn mappings(spec: &PushSecretSpec) -> Result<Vec<Entry<'_>>, InvalidSpec> {
    let mut entries = Vec::with_capacity(spec.data.len());
    for (index, data) in spec.data.iter().enumerate() {
        let options = data.metadata.as_ref().map(PushOptions::parse).transpose();
        let options = options.map_err(|error| InvalidSpec::Options { index, error })?.unwrap_or_default();
        entries.push(Entry { index, data, options });
    }
    Ok(entries)
}

/// P1–P3 and V4, as an error where the convention is enforced and as warnings where it only warns.
fn judge_form(spec: &PushSecretSpec, mounts: &Mounts, convention: &Convention) -> Result<Vec<String>, InvalidSpec> {
    let facts = PushFacts {
        root: "spec",
        stores: spec
            .secret_store_refs
            .iter()
            .map(|store| {
                let name = store.name.clone().unwrap_or_default();
                let mount = mounts.get(&StoreKey { kind: store.kind(), name });
                StoreFacts {
                    kind: store.kind.map(|kind| kind.as_str()),
                    mount: mount.map_or(Some("secret"), |mount| mount.as_deref()),
                }
            })
            .collect(),
        mappings: spec.data.iter().map(facts_of).collect(),
        data_to: spec.data_to.len(),
    };
    let found = convention.judge_push_secret(&facts).into_iter().filter(|located| concerns_form(located.finding.rule));
    let (errors, warnings): (Vec<_>, Vec<_>) = found.partition(|located| located.finding.severity == Severity::Error);
    let texts = |found: Vec<crate::domain::convention::LocatedFinding>| -> Vec<String> {
        found.into_iter().map(|located| format!("{}: {}", located.field, located.finding)).collect()
    };
    match errors.is_empty() {
        true => Ok(texts(warnings)),
        false => Err(InvalidSpec::Convention(texts(errors))),
    }
}

fn facts_of(data: &PushSecretData) -> MappingFacts<'_> {
    MappingFacts {
        secret_key: data.match_.secret_key.as_deref(),
        remote_key: &data.match_.remote_ref.remote_key,
        property: data.match_.remote_ref.property.as_deref(),
    }
}

fn concerns_form(rule: RuleId) -> bool {
    match rule {
        RuleId::P1 | RuleId::P2 | RuleId::P3 | RuleId::V4 => true,
        RuleId::V1 | RuleId::V2 | RuleId::V3 | RuleId::V5 | RuleId::V6 | RuleId::V7 | RuleId::V8 => false,
    }
}

fn supported_source(spec: &PushSecretSpec) -> Result<String, InvalidSpec> {
    if spec.selector.generator_ref.is_some() {
        return Err(unsupported("spec.selector.generatorRef", "name a Secret in spec.selector.secret.name"));
    }
    match (source(spec), spec.selector.secret.as_ref().and_then(|secret| secret.selector.as_ref())) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, Some(_)) => {
            Err(unsupported("spec.selector.secret.selector", "name one Secret in spec.selector.secret.name"))
        }
        (None, None) => Err(missing("spec.selector.secret.name", "name the source Secret")),
    }
}

fn check_supported(spec: &PushSecretSpec) -> Result<(), InvalidSpec> {
    if spec.template.is_some() {
        return Err(unsupported(
            "spec.template",
            "push keys as the source has them, and render them where they are read",
        ));
    }
    if !spec.data_to.is_empty() {
        return Err(unsupported("spec.dataTo", "list each key in spec.data"));
    }
    if spec.secret_store_refs.is_empty() {
        return Err(missing("spec.secretStoreRefs", "name a ClusterSecretStore"));
    }
    for (index, store) in spec.secret_store_refs.iter().enumerate() {
        if store.name.as_deref().is_none_or(str::is_empty) {
            let field = format!("spec.secretStoreRefs[{index}]");
            return Err(match store.label_selector {
                Some(_) => unsupported(format!("{field}.labelSelector"), "name the store"),
                None => missing(format!("{field}.name"), "name the store"),
            });
        }
    }
    for (index, data) in spec.data.iter().enumerate() {
        let field = |name: &str| format!("spec.data[{index}].{name}");
        let is_empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
        if is_empty(&data.match_.secret_key) {
            return Err(unsupported(field("match without secretKey (the whole Secret)"), "name each key"));
        }
        if is_empty(&data.match_.remote_ref.property) {
            return Err(unsupported(field("match.remoteRef without property (the whole entry)"), "name each property"));
        }
    }
    Ok(())
}

impl Desired {
    fn add_store(
        &mut self,
        store: &StoreKey,
        mount: Option<&str>,
        mappings: &[Entry<'_>],
        convention: &Convention,
    ) -> Result<(), InvalidSpec> {
        let mut places: BTreeMap<(RemotePath, String), usize> = BTreeMap::new();
        let mut keys: BTreeMap<String, usize> = BTreeMap::new();
        for entry in mappings {
            let (index, data) = (entry.index, entry.data);
            let remote = &data.match_.remote_ref;
            let path =
                RemotePath::parse(mount, &remote.remote_key).map_err(|error| InvalidSpec::Path { index, error })?;
            let property = remote.property.clone().unwrap_or_default();
            if let Some(first) = places.insert((path.clone(), property.clone()), index) {
                return Err(InvalidSpec::Duplicate { first, second: index, property, path });
            }
            let line = Line { key: key_of(data), data: data.clone() };
            if let Some(first) = keys.insert(line.key.clone(), index) {
                return Err(InvalidSpec::Ambiguous { first, second: index, key: line.key });
            }
            self.add(Spot { store: store.clone(), path }, property, line, entry, convention);
        }
        Ok(())
    }

    fn add(&mut self, spot: Spot, property: String, line: Line, entry: &Entry<'_>, convention: &Convention) {
        let findings = convention.judge(&spot.path, Some(&property));
        let wanted = self.entries.entry(spot).or_default();
        for finding in findings {
            let known = wanted.violations.contains(&finding) || self.warnings.contains(&finding.to_string());
            match finding.severity {
                Severity::Error | Severity::Warning if known => {}
                Severity::Error => wanted.violations.push(finding),
                Severity::Warning => self.warnings.push(finding.to_string()),
            }
        }
        let conversion = match line.data.conversion_strategy.unwrap_or_default() {
            PushConversionStrategy::None => KeyConversion::None,
            PushConversionStrategy::ReverseUnicode => KeyConversion::ReverseUnicode,
        };
        let key = line.data.match_.secret_key.clone().unwrap_or_default();
        let encoding = entry.options.encoding;
        wanted.mapping.insert(property.clone(), SourceKey { key, conversion, encoding });
        wanted.consents.extend(entry.options.consumers.clone().map(|consent| (property.clone(), consent)));
        wanted.lines.insert(property, line);
        wanted.options.push((entry.index, entry.options.clone()));
    }

    fn agree_on_labels(&mut self) -> Result<(), InvalidSpec> {
        for (spot, wanted) in &mut self.entries {
            let agreed = LabelGoal::of(&wanted.options);
            wanted.labels = agreed.map_err(|Disagreement { first, second, field }| InvalidSpec::Disagreement {
                first,
                second,
                field,
                path: spot.path.clone(),
            })?;
        }
        Ok(())
    }
}

fn unsupported(field: impl Into<String>, instead: &'static str) -> InvalidSpec {
    InvalidSpec::Unsupported { field: field.into(), instead }
}

fn missing(field: impl Into<String>, instead: &'static str) -> InvalidSpec {
    InvalidSpec::Missing { field: field.into(), instead }
}
