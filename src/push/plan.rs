//! Decides what every entry of a PushSecret gets, loses or keeps.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::desired::Desired;
use super::entry::ApplyError;
use super::ledger::{EntryRef, Ledger, Line, StoreKey};
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
use crate::store::{EntryKey, PathKey, Site, StoreError};

/// What a reconcile is for.
pub enum Aim<'a> {
    /// To publish what the spec asks for.
    Publish {
        desired: &'a Desired,
        /// The mappings, applied to the sources.
        mapped: &'a Mapped,
        /// The sources, in the order in which they were mapped.
        sources: &'a [Source],
        /// Whether that is everything.
        known: Known,
    },
    /// To remove everything that was pushed.
    Withdraw {
        /// What happens to properties that already existed.
        existing: Existing,
        /// What happens to earlier versions.
        earlier: EarlierVersions,
    },
}

/// Whether everything that is wanted is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Yes: everything else that was pushed is unwanted.
    All,
    /// No: a mapping has no path, or a selector matches no store. Nothing counts as unwanted.
    Some,
}

/// Where each entry reference leads. Two stores may lead to one place.
pub type Places = BTreeMap<EntryRef, Result<Site, StoreError>>;

/// What to do, by entry.
pub type Plan = BTreeMap<EntryRef, Job>;

/// What to do to one entry.
#[derive(Default)]
pub struct Job {
    pub goal: Goal,
    /// The lines of the ledger for the properties to set.
    pub lines: BTreeMap<String, Line>,
    /// Properties in the ledger that stay as they are, because it is unknown whether they are
    /// wanted.
    pub held: BTreeSet<String>,
    /// Properties in the ledger that are still wanted at the same place, by another entry
    /// reference.
    pub moved: BTreeMap<String, EntryRef>,
    /// Properties in the ledger that are still wanted by another entry reference, at another address
    /// of what calls itself the same place. It may be a copy of it.
    pub twins: BTreeMap<String, EntryRef>,
    /// Why the entry must not be changed.
    pub blocked: Option<Problem>,
}

/// Why an entry is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The entry breaks rules of the convention.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules(Vec<Finding>),
    /// Two mappings contradict each other.
    #[error("{0}")]
    Clash(Box<Clash>),
    /// A source has no value for it.
    #[error("{from}: {error}")]
    Source { from: String, error: SourceError },
    /// The store did not say where the entry is.
    #[error("{0}")]
    Store(StoreError),
    /// Converging the entry failed.
    #[error("{0}")]
    Apply(ApplyError),
}

/// Makes the plan. Properties in the ledger that the spec no longer maps are removed or released,
/// as `deletion` says. A property to remove is offered instead as long as it has `waiters`: other
/// PushSecrets that may want it.
pub fn plan(
    aim: &Aim<'_>,
    ledger: &Ledger,
    places: &Places,
    deletion: PushDeletionPolicy,
    paths: &[PushedPath],
    waiters: &mut dyn FnMut(&RemotePath, &Site, &str) -> BTreeSet<String>,
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
    let mut passed = Vec::new();
    for (entry_ref, lines) in &ledger.pushed {
        let existing = if entry_ref.store.former.is_some() { Existing::Claimed } else { existing };
        let job = plan.entry(entry_ref.clone()).or_insert_with(|| Job {
            goal: Goal { existing, earlier, ..Goal::default() },
            blocked: unknown_place(places.get(entry_ref)),
            ..Job::default()
        });
        job.goal.history = History::Listed { version: version(paths, entry_ref) };
        job.goal.spellings.extend(lines.values().map(Line::remote_key));
        let site = places.get(entry_ref).and_then(|site| site.as_ref().ok());
        for (property, line) in lines {
            // It is still wanted if another entry reference with the same place maps it.
            let all = site.and_then(|site| wanted.get(&(site.place.entry(), property.clone())));
            let all = all.map_or(&[][..], Vec::as_slice);
            let moved = all.iter().find(|(there, _)| Some(there) == site);
            let twin = all.first().filter(|_| moved.is_none());
            let is_wanted = job.lines.contains_key(property) || !all.is_empty();
            let named = |(_, to): &(Site, EntryRef)| (property.clone(), to.clone());
            job.moved.extend(moved.filter(|(_, to)| to != entry_ref).map(named));
            job.twins.extend(twin.map(named));
            let known = match doubtful.contains(&(entry_ref.path.path.as_str().to_owned(), property.clone())) {
                true => Known::Some,
                false => known,
            };
            match (is_wanted, known, deletion) {
                (true, Known::All | Known::Some, PushDeletionPolicy::Delete | PushDeletionPolicy::None) => {
                    match job.lines.contains_key(property) {
                        true => job.goal.custom_metadata.retire(line),
                        // What the line had set is for that entry reference to set or to remove. A twin
                        // removes it only when it begins to list the property: the line may stay for
                        // long, and what is set meanwhile is somebody else's.
                        false => {
                            let begins = |to: &&EntryRef| !ledger.lists(to, property);
                            let twin = job.twins.get(property).filter(begins);
                            passed.extend(job.moved.get(property).or(twin).map(|to| (to.clone(), line)));
                        }
                    }
                }
                (false, Known::Some, PushDeletionPolicy::Delete | PushDeletionPolicy::None) => {
                    job.held.insert(property.clone());
                }
                (false, Known::All, PushDeletionPolicy::Delete) => {
                    let waiters = site.map(|site| waiters(&entry_ref.path, site, property)).unwrap_or_default();
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
    for (to, line) in passed {
        if let Some(job) = plan.get_mut(&to) {
            job.goal.custom_metadata.retire(line);
        }
    }
    keep_what_others_set(&mut plan, places);
    plan
}

/// Another entry reference with the same place may set a key of custom metadata that is retired here.
fn keep_what_others_set(plan: &mut Plan, places: &Places) {
    let place = |entry_ref: &EntryRef| Some(places.get(entry_ref)?.as_ref().ok()?.place.entry());
    let mut set: BTreeMap<EntryKey, BTreeSet<String>> = BTreeMap::new();
    for (entry_ref, job) in plan.iter() {
        if let Some(place) = place(entry_ref) {
            set.entry(place).or_default().extend(job.goal.custom_metadata.set.keys().cloned());
        }
    }
    for (entry_ref, job) in plan {
        if let Some(set) = place(entry_ref).and_then(|place| set.get(&place)) {
            job.goal.custom_metadata.remove.retain(|key| !set.contains(key));
        }
    }
}

fn publish(desired: &Desired, wanted: &Wanted, sources: &[Source], site: Option<&Result<Site, StoreError>>) -> Job {
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
        blocked: unknown_place(site),
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

/// The values of an entry; or the source that lacks one.
pub fn values<'s>(wanted: &Wanted, sources: &'s [Source]) -> Result<RemoteData, (&'s Source, SourceError)> {
    let mut data = RemoteData::new();
    for (index, mapping) in &wanted.mappings {
        let source = &sources[*index];
        let values = mapping::values(mapping, &source.data);
        data.extend(values.map_err(|error| (source, error))?);
    }
    Ok(data)
}

fn unknown_place(site: Option<&Result<Site, StoreError>>) -> Option<Problem> {
    match site {
        Some(Err(error)) => Some(Problem::Store(error.clone())),
        Some(Ok(_)) | None => None,
    }
}

/// Whether this reconcile could not decide whether to remove this property of this place: a line may
/// mean it, but its place or its store is unknown now, or it is unknown what is wanted.
pub fn is_undecided(plan: &Plan, ledger: &Ledger, places: &Places, place: &PathKey, property: &str) -> bool {
    let is_there =
        |entry_ref: &EntryRef| matches!(places.get(entry_ref), Some(Ok(site)) if site.place.entry() == place.entry());
    let is_wanted = |(entry_ref, job): (&EntryRef, &Job)| is_there(entry_ref) && job.lines.contains_key(property);
    let is_held = |(entry_ref, job): (&EntryRef, &Job)| is_there(entry_ref) && job.held.contains(property);
    let may_be_it = |(entry_ref, lines): (&EntryRef, &BTreeMap<String, Line>)| {
        let is_unplaced = !matches!(places.get(entry_ref), Some(Ok(_)));
        is_unplaced && entry_ref.path.path.as_str() == &*place.path && lines.contains_key(property)
    };
    let is_doubtful = !ledger.unreachable.is_empty() || plan.iter().any(is_held) || ledger.pushed.iter().any(may_be_it);
    is_doubtful && !plan.iter().any(is_wanted)
}

/// The stores from which something is to be removed or released, former locations apart.
pub fn losing(plan: &Plan) -> BTreeSet<StoreKey> {
    let loses = |job: &Job| {
        let Goal { remove, release, offer, .. } = &job.goal;
        !(remove.is_empty() && release.is_empty() && offer.is_empty())
    };
    let losing = plan.iter().filter(|(entry_ref, job)| entry_ref.store.former.is_none() && loses(job));
    losing.map(|(entry_ref, _)| entry_ref.store.clone()).collect()
}

fn wanted_places(plan: &Plan, places: &Places) -> BTreeMap<(EntryKey, String), Vec<(Site, EntryRef)>> {
    let mut wanted: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (entry_ref, job) in plan {
        let Some(Ok(site)) = places.get(entry_ref) else { continue };
        for property in job.lines.keys() {
            let all = wanted.entry((site.place.entry(), property.clone())).or_default();
            all.push((site.clone(), entry_ref.clone()));
        }
    }
    wanted
}

/// Path and property of wanted entries with an unknown place. Another store may lead to the same
/// place.
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
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.release.is_empty() && self.offer.is_empty()
    }
}
