//! Applies every mapping to every source, for every store: which values become which properties of
//! which entries.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use super::custom_metadata::{Disagreement, MetadataGoal};
use super::desired::{self, Desired, PushMapping, Shape};
use super::ledger::{EntryRef, Line, Mounts, StoreKey, key_of};
use super::pieces::{NoPath, Piece, fixed, pieces};
use crate::api::push_secret::{PushMatch, PushRemoteRef, PushSecretData, PushSecretSpec};
use crate::domain::consent::Consent;
use crate::domain::convention::{Convention, Finding, Mode, Severity};
use crate::domain::mapping::{Mapping, ValueOf};
use crate::domain::path::RemotePath;
use crate::domain::push_options::PushOptions;
use crate::domain::source::Source;

/// What each entry gets, and the mappings without a path.
#[derive(Default)]
pub struct Mapped {
    pub entries: BTreeMap<EntryRef, Wanted>,
    /// Mappings without a path. What they would publish is unknown.
    pub astray: Vec<Astray>,
    /// Broken rules of a convention that only warns, and values that are empty.
    pub warnings: Vec<String>,
    /// Whether a mapping gives a property of some source, whatever becomes of it.
    pub gives_any: bool,
}

/// What one entry gets.
#[derive(Default)]
pub struct Wanted {
    /// For each source, by index: each property, and the key that it is made from.
    pub mappings: BTreeMap<usize, Mapping>,
    /// The lines for the ledger, by property.
    pub lines: BTreeMap<String, Line>,
    /// Who may read which property. Anybody may read one that is not listed.
    pub consents: BTreeMap<String, Consent>,
    /// Broken rules that forbid writing this entry.
    pub violations: Vec<Finding>,
    /// Two mappings that contradict each other.
    pub clash: Option<Box<Clash>>,
    /// The wanted custom metadata.
    pub custom_metadata: MetadataGoal,
    options: Vec<(Origin, PushOptions)>,
}

/// A mapping without a path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{origin}: {error}")]
pub struct Astray {
    pub origin: Origin,
    pub error: NoPath,
}

/// A mapping, and its source if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Such as `spec.data[0]`.
    pub field: String,
    /// Such as `Secret db/credentials`.
    pub source: Option<String>,
}

/// Two mappings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// They write the same property.
    Duplicate {
        /// The earlier mapping.
        first: Origin,
        /// The later mapping.
        second: Origin,
        property: String,
        path: RemotePath,
    },
    /// They have the same key in the ledger.
    Ambiguous {
        /// The earlier mapping.
        first: Origin,
        /// The later mapping.
        second: Origin,
        /// The key in the ledger.
        key: String,
    },
    /// They ask for different custom metadata at one path.
    Disagreement {
        /// The earlier mapping.
        first: Origin,
        /// The later mapping.
        second: Origin,
        /// The field below `metadata.spec` of the mappings.
        field: String,
        path: RemotePath,
    },
}

/// A fault of mappings that does not depend on sources.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// A mapping has no path.
    #[error("{0}")]
    Astray(Astray),
    /// Two mappings contradict each other.
    #[error("{0}")]
    Clash(Box<Clash>),
}

/// Applies every mapping to every source.
pub fn map(desired: &Desired, sources: &[Source], mounts: &Mounts, convention: &Convention) -> Mapped {
    let mut layout = Layout::new(desired, mounts, convention);
    for (index, source) in sources.iter().enumerate() {
        for mapping in &desired.mappings {
            let origin = Origin { field: mapping.field.clone(), source: Some(source.to_string()) };
            match pieces(mapping, source) {
                Ok(pieces) => pieces.into_iter().for_each(|piece| {
                    layout.mapped.gives_any = true;
                    layout.empty.extend(piece.is_empty.then(|| empty(&piece, source)));
                    layout.add(index, &origin, mapping, piece);
                }),
                Err(error) => layout.lose(origin, error),
            }
        }
    }
    layout.finish()
}

/// An empty value is published like any other, over a good one too.
fn empty(piece: &Piece, source: &Source) -> String {
    let key = piece.secret_key.as_deref().unwrap_or_default();
    let part = match &piece.value {
        ValueOf::Field { field, .. } => format!("field {field:?} of key {key:?}"),
        ValueOf::Key(_) | ValueOf::All { .. } => format!("key {key:?}"),
    };
    format!("{part} of {source} is empty: fill it, or do not map it")
}

/// The faults of mappings that do not depend on sources: only an edit of the spec can fix them. Of two
/// mappings that contradict each other at a path, the first pair counts.
pub fn faults(desired: &Desired, mounts: &Mounts, convention: &Convention) -> Vec<Fault> {
    let mut layout = Layout::new(desired, mounts, convention);
    for mapping in &desired.mappings {
        let origin = Origin { field: mapping.field.clone(), source: None };
        fixed(mapping).into_iter().for_each(|piece| layout.add(0, &origin, mapping, piece));
    }
    let mapped = layout.finish();
    let clashes = mapped.entries.into_values().filter_map(|wanted| wanted.clash);
    mapped.astray.into_iter().map(Fault::Astray).chain(clashes.map(Fault::Clash)).collect()
}

/// The same for a spec at a store with this mount, whatever stores exist and whatever the convention
/// asks for; none if the spec does not parse.
pub fn faults_at(spec: &PushSecretSpec, mount: Option<&str>) -> Vec<Fault> {
    let off = Convention::with_mode(Mode::Off);
    let parsed = desired::parse_at(spec, mount, &off);
    parsed.map_or_else(|_other| Vec::new(), |(desired, mounts)| faults(&desired, &mounts, &off))
}

/// A [`Mapped`] in the making.
struct Layout<'a> {
    stores: Vec<(&'a StoreKey, Option<&'a str>)>,
    convention: &'a Convention,
    mapped: Mapped,
    /// What is said of empty values.
    empty: BTreeSet<String>,
    /// The mapping that writes each property.
    writers: BTreeMap<(EntryRef, String), Origin>,
    /// The mapping of each line of the ledger.
    lines: BTreeMap<(StoreKey, String), Origin>,
}

impl<'a> Layout<'a> {
    fn new(desired: &'a Desired, mounts: &'a Mounts, convention: &'a Convention) -> Self {
        let usable = |store: &'a StoreKey| Some((store, mounts.get(store)?.as_deref()));
        Layout {
            stores: desired.stores.iter().filter_map(usable).collect(),
            convention,
            mapped: Mapped::default(),
            empty: BTreeSet::new(),
            writers: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }

    fn lose(&mut self, origin: Origin, error: NoPath) {
        let astray = Astray { origin, error };
        if !self.mapped.astray.contains(&astray) {
            self.mapped.astray.push(astray);
        }
    }

    fn add(&mut self, source: usize, origin: &Origin, mapping: &PushMapping, piece: Piece) {
        let origin = origin.of(mapping, &piece);
        for (store, mount) in self.stores.clone() {
            if mapping.stores.as_ref().is_some_and(|only| !only.contains(store)) {
                continue;
            }
            match RemotePath::parse(mount, &piece.remote_key) {
                Ok(path) => {
                    let entry_ref = EntryRef { store: store.clone(), path };
                    let remote_ref =
                        PushRemoteRef { remote_key: piece.remote_key.clone(), property: Some(piece.property.clone()) };
                    let match_ = PushMatch { secret_key: piece.secret_key.clone(), remote_ref };
                    let data = PushSecretData { match_, ..mapping.kept.clone() };
                    let line = Line { key: key_of(&data), data };
                    self.insert(source, &origin, mapping, &piece, entry_ref, line);
                }
                Err(error) => self.lose(origin.clone(), NoPath::Path(error)),
            }
        }
    }

    fn insert(
        &mut self,
        source: usize,
        origin: &Origin,
        mapping: &PushMapping,
        piece: &Piece,
        entry_ref: EntryRef,
        line: Line,
    ) {
        self.judge(&entry_ref, &piece.property);
        let clash = self.clash(origin, &entry_ref, &piece.property, &line);
        let wanted = self.mapped.entries.entry(entry_ref).or_default();
        wanted.options.push((origin.clone(), mapping.options.clone()));
        if clash.is_some() {
            wanted.clash = wanted.clash.take().or(clash);
            return;
        }
        wanted.mappings.entry(source).or_default().insert(piece.property.clone(), piece.value.clone());
        wanted.consents.extend(mapping.options.consumers.clone().map(|consent| (piece.property.clone(), consent)));
        wanted.lines.insert(piece.property.clone(), line);
    }

    fn judge(&mut self, entry_ref: &EntryRef, property: &str) {
        for finding in self.convention.judge(&entry_ref.path, Some(property)) {
            let violations = &mut self.mapped.entries.entry(entry_ref.clone()).or_default().violations;
            let text = finding.to_string();
            match finding.severity {
                Severity::Error if violations.contains(&finding) => {}
                Severity::Error => violations.push(finding),
                Severity::Warning if self.mapped.warnings.contains(&text) => {}
                Severity::Warning => self.mapped.warnings.push(text),
            }
        }
    }

    fn clash(&mut self, origin: &Origin, entry_ref: &EntryRef, property: &str, line: &Line) -> Option<Box<Clash>> {
        let written = (entry_ref.clone(), property.to_owned());
        if let Some(first) = self.writers.get(&written) {
            let (first, second) = (first.clone(), origin.clone());
            return Some(Box::new(Clash::Duplicate { first, second, property: written.1, path: written.0.path }));
        }
        self.writers.insert(written, origin.clone());
        let key = (entry_ref.store.clone(), line.key.clone());
        if let Some(first) = self.lines.get(&key) {
            let (first, second) = (first.clone(), origin.clone());
            return Some(Box::new(Clash::Ambiguous { first, second, key: key.1 }));
        }
        self.lines.insert(key, origin.clone());
        None
    }

    fn finish(mut self) -> Mapped {
        for (entry_ref, wanted) in &mut self.mapped.entries {
            let options: Vec<&PushOptions> = wanted.options.iter().map(|(_, options)| options).collect();
            match MetadataGoal::of(&options) {
                Ok(goal) => wanted.custom_metadata = goal,
                Err(Disagreement { first, second, field }) => {
                    let origin = |index: usize| wanted.options[index].0.clone();
                    let (first, second, path) = (origin(first), origin(second), entry_ref.path.clone());
                    let clash = || Box::new(Clash::Disagreement { first, second, field, path });
                    wanted.clash = Some(wanted.clash.take().unwrap_or_else(clash));
                }
            }
        }
        self.mapped.warnings.extend(self.empty);
        self.mapped
    }
}

impl Origin {
    /// Adds the key, if the mapping has many.
    fn of(&self, mapping: &PushMapping, piece: &Piece) -> Self {
        let key = match &mapping.shape {
            Shape::Bundle { .. } | Shape::Each { .. } => piece.secret_key.as_ref(),
            Shape::Value { .. } | Shape::Fields { .. } | Shape::Text { .. } => None,
        };
        let field = key.map_or_else(|| self.field.clone(), |key| format!("{} (key {key:?})", self.field));
        Origin { field, source: self.source.clone() }
    }
}

/// `Secret db/credentials: spec.data[0]`, or without the source.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{source}: {}", self.field),
            None => f.write_str(&self.field),
        }
    }
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Clash::Duplicate { first, second, .. }
        | Clash::Ambiguous { first, second, .. }
        | Clash::Disagreement { first, second, .. }) = self;
        // What both have in common, the source or the mapping, is left out.
        match (&first.source, &second.source) {
            (Some(one), Some(other)) if one != other => write!(f, "{one} and {other}")?,
            (Some(_) | None, Some(_) | None) => write!(f, "{} and {}", first.field, second.field)?,
        }
        let remedy = match first.source == second.source {
            true => "remove one of them, or give it another property",
            false => {
                "let only one of them match, or give them different paths in remoteKey, for example with {{ .metadata.name }}"
            }
        };
        match self {
            Clash::Duplicate { property, path, .. } => {
                write!(f, " both write property {property:?} of {path}: {remedy}")
            }
            Clash::Ambiguous { key, .. } => write!(f, " both read {key:?} as key and property: {remedy}"),
            Clash::Disagreement { field, path, .. } => {
                write!(f, " ask for different values of metadata.spec.{field} for one path, {path}: make them agree")
            }
        }
    }
}
