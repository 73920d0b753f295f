//! Decides what every entry of a PushSecret is to get, lose or be left with.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::desired::Desired;
use super::entry::ApplyError;
use super::ledger::{EntryRef, Ledger, Line};
use super::mapped::{Clash, Mapped, Wanted};
use super::step::{Existing, Goal, History};
use crate::api::path_status::PushedPath;
use crate::api::push_secret::PushDeletionPolicy;
use crate::domain::convention::Finding;
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::mapping::{self, SourceError};
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteData;
use crate::domain::source::Source;
use crate::store::{PathKey, StoreError};

/// What a reconcile is for.
pub enum Aim<'a> {
    /// The spec is to be carried out.
    Publish {
        /// The spec.
        desired: &'a Desired,
        /// What of it goes where.
        mapped: &'a Mapped,
        /// The sources, in the order in which they were mapped.
        sources: &'a [Source],
        /// Whether that is all.
        known: Known,
    },
    /// Everything that was pushed is to go.
    Withdraw {
        /// What the spec says of properties that were there already.
        existing: Existing,
        /// What becomes of earlier versions.
        earlier: EarlierVersions,
    },
}

/// Whether everything that is wanted is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is: whatever else was pushed is not wanted.
    All,
    /// A mapping went astray, or a selector of stores found none: nothing counts as unwanted.
    Some,
}

/// Where each entry is, so that two stores that mean one place are seen as one.
pub type Places = BTreeMap<EntryRef, Result<PathKey, StoreError>>;

/// What is to be done, entry by entry.
pub type Plan = BTreeMap<EntryRef, Job>;

/// What is to be done to one entry.
#[derive(Default)]
pub struct Job {
    /// What is wanted of it.
    pub goal: Goal,
    /// The ledger's lines for what is set.
    pub lines: BTreeMap<String, Line>,
    /// Properties that the ledger lists and that stay as they are: whether they are wanted is not known.
    pub held: BTreeSet<String>,
    /// Properties that the ledger lists and that are wanted at the same place as another store or key spells it.
    pub moved: BTreeMap<String, EntryRef>,
    /// What keeps it from being touched.
    pub blocked: Option<Problem>,
}

/// Why an entry is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// It breaks rules of the convention.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules(Vec<Finding>),
    /// Two mappings cannot both have their way.
    #[error("{0}")]
    Clash(Box<Clash>),
    /// A source gives no value for it.
    #[error("{from}: {error}")]
    Source {
        /// Which.
        from: String,
        /// Why.
        error: SourceError,
    },
    /// The store could not say where it is.
    #[error("{0}")]
    Store(StoreError),
    /// It could not be brought to its goal.
    #[error("{0}")]
    Apply(ApplyError),
}

/// Makes the plan. What the ledger lists and the spec no longer maps goes, or stays and is free, as `deletion` says. What is to go
/// stands as long as there are `waiters`: other PushSecrets that may want it.
pub fn plan(
    aim: &Aim<'_>,
    ledger: &Ledger,
    places: &Places,
    deletion: PushDeletionPolicy,
    paths: &[PushedPath],
    waiters: &mut dyn FnMut(&RemotePath, &PathKey, &str) -> BTreeSet<String>,
) -> Plan {
    let mut plan = match aim {
        Aim::Publish { desired, mapped, sources, .. } => mapped
            .entries
            .iter()
            .map(|(entry_ref, wanted)| (entry_ref.clone(), publish(desired, wanted, sources, places.get(entry_ref))))
            .collect(),
        Aim::Withdraw { .. } => Plan::new(),
    };
    let (existing, earlier, known) = match aim {
        Aim::Publish { desired, known, .. } => (desired.existing, desired.earlier, *known),
        Aim::Withdraw { existing, earlier } => (*existing, *earlier, Known::All),
    };
    let (wanted, doubtful) = (wanted_places(&plan, places), doubtful_places(&plan, places));
    for (entry_ref, lines) in &ledger.pushed {
        let existing = if entry_ref.store.former.is_some() { Existing::Claimed } else { existing };
        let job = plan.entry(entry_ref.clone()).or_insert_with(|| Job {
            goal: Goal { existing, earlier, ..Goal::default() },
            blocked: unknown_place(places.get(entry_ref)),
            ..Job::default()
        });
        job.goal.history = History::Listed { version: version(paths, entry_ref) };
        job.goal.spellings.extend(lines.values().map(Line::remote_key));
        let place = places.get(entry_ref).and_then(|place| place.as_ref().ok());
        for (property, line) in lines {
            // The same place under another store's name, or another spelling: it is still wanted.
            let moved = place.and_then(|place| wanted.get(&(place.clone(), property.clone())));
            let is_wanted = job.lines.contains_key(property) || moved.is_some();
            job.moved.extend(moved.filter(|to| *to != entry_ref).map(|to| (property.clone(), to.clone())));
            let known = match doubtful.contains(&(entry_ref.path.path.as_str().to_owned(), property.clone())) {
                true => Known::Some,
                false => known,
            };
            match (is_wanted, known, deletion) {
                (true, Known::All | Known::Some, PushDeletionPolicy::Delete | PushDeletionPolicy::None) => {
                    job.goal.custom_metadata.retire(line);
                }
                (false, Known::Some, PushDeletionPolicy::Delete | PushDeletionPolicy::None) => {
                    job.held.insert(property.clone());
                }
                (false, Known::All, PushDeletionPolicy::Delete) => {
                    let waiters = place.map(|place| waiters(&entry_ref.path, place, property)).unwrap_or_default();
                    if waiters.is_empty() {
                        job.goal.custom_metadata.retire(line);
                        job.goal.remove.insert(property.clone());
                    } else {
                        job.goal.offer.insert(property.clone(), waiters);
                    }
                }
                (false, Known::All, PushDeletionPolicy::None) => {
                    job.goal.release.insert(property.clone());
                }
            }
        }
    }
    plan
}

fn publish(desired: &Desired, wanted: &Wanted, sources: &[Source], place: Option<&Result<PathKey, StoreError>>) -> Job {
    let mut job = Job {
        goal: Goal {
            existing: desired.existing,
            earlier: desired.earlier,
            foreign: desired.foreign,
            custom_metadata: wanted.custom_metadata.clone(),
            consents: wanted.consents.clone(),
            spellings: wanted.lines.values().map(Line::remote_key).collect(),
            ..Goal::default()
        },
        lines: wanted.lines.clone(),
        blocked: unknown_place(place),
        ..Job::default()
    };
    if let Some(clash) = &wanted.clash {
        job.blocked = Some(Problem::Clash(clash.clone()));
    }
    if !wanted.violations.is_empty() {
        job.blocked = Some(Problem::Rules(wanted.violations.clone()));
    }
    match values(wanted, sources) {
        Ok(values) => job.goal.set = values,
        Err((from, error)) => job.blocked = job.blocked.or(Some(Problem::Source { from: from.to_string(), error })),
    }
    job
}

fn values<'s>(wanted: &Wanted, sources: &'s [Source]) -> Result<RemoteData, (&'s Source, SourceError)> {
    let mut data = RemoteData::new();
    for (index, mapping) in &wanted.mappings {
        let source = &sources[*index];
        let values = mapping::values(mapping, &source.data);
        data.extend(values.map_err(|error| (source, error))?);
    }
    Ok(data)
}

fn unknown_place(place: Option<&Result<PathKey, StoreError>>) -> Option<Problem> {
    match place {
        Some(Err(error)) => Some(Problem::Store(error.clone())),
        Some(Ok(_)) | None => None,
    }
}

fn wanted_places(plan: &Plan, places: &Places) -> BTreeMap<(PathKey, String), EntryRef> {
    let placed =
        plan.iter().filter_map(|(entry_ref, job)| Some((entry_ref, places.get(entry_ref)?.as_ref().ok()?, job)));
    placed
        .flat_map(|(entry_ref, place, job)| {
            job.lines.keys().map(move |property| ((place.clone(), property.clone()), entry_ref.clone()))
        })
        .collect()
}

/// Path and property of what is wanted where a store cannot say now where that is. Another store may mean the same place.
fn doubtful_places(plan: &Plan, places: &Places) -> BTreeSet<(String, String)> {
    let unplaced = plan.iter().filter(|(entry_ref, _)| matches!(places.get(*entry_ref), Some(Err(_))));
    unplaced
        .flat_map(|(entry_ref, job)| {
            job.lines.keys().map(|property| (entry_ref.path.path.as_str().to_owned(), property.clone()))
        })
        .collect()
}

fn version(paths: &[PushedPath], entry_ref: &EntryRef) -> Option<u64> {
    let (store, path) = (entry_ref.store.listed(), entry_ref.path.to_string());
    let known = paths.iter().find(|known| known.store == store && known.path == path)?;
    known.version.and_then(|version| u64::try_from(version).ok())
}

impl Goal {
    /// An entry that only keeps what others have: nothing to do.
    pub fn is_idle(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.release.is_empty() && self.offer.is_empty()
    }
}
