//! What is found below folders, beside what a spec names: as entries of the spec, and as the keys that
//! these make together.

use std::collections::BTreeSet;

use thiserror::Error;

use super::consent::{self, Consumer, Denial};
use super::desired::{Deletion, Desired};
use super::observe::ObserveError;
use super::plan::{Observed, Snapshot, TargetState, shown, snapshot_of};
use super::refusal::Refusal;
use super::wanted::{Find, Into, Reference, Wanted};
use crate::api::path_status::{MAX_PATHS, PulledPath};
use crate::domain::claim::CustomMetadata;
use crate::domain::consent::OnWithdrawal;
use crate::domain::description::What;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::{LogicalPath, PathError, RemotePath};
use crate::domain::property;
use crate::domain::secret::SecretMap;
use crate::feed::ReadError;
use crate::store::{Entries, StoreError};

/// The most secrets that a spec with a find may read. The status has room for so many paths, and
/// what is not found any more is known by it.
pub const MOST_FOUND: usize = MAX_PATHS;
/// How many of those that are left out are named.
const MOST_NAMED: usize = 5;

/// Why a spec cannot have what it finds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotFound {
    /// An entry has a path that no request can name.
    #[error("{0}")]
    Path(PathError),
    /// There is more than [`MOST_FOUND`].
    #[error(
        "{found} secrets below {folder} are selected, and an ExternalSecret with dataFrom.find reads at most \
         {MOST_FOUND}: narrow it, or use several"
    )]
    TooMany {
        /// `mount/path/`.
        folder: String,
        /// The count.
        found: usize,
    },
}

/// What a find selects of the entries of its folder, and what of `before` is in the folder, was
/// selected and is not listed any more.
///
/// # Errors
/// [`NotFound`].
pub fn selected(
    find: &Find,
    folder: &RemoteFolder,
    entries: &Entries,
    before: impl Iterator<Item = RemotePath>,
) -> Result<Vec<RemotePath>, NotFound> {
    let selection = &find.selection;
    let listed = entries.iter().filter(|(path, metadata)| selection.selects(path, metadata));
    let listed = listed.map(|(path, _)| {
        let path = LogicalPath::parse(path).map_err(NotFound::Path)?;
        Ok(RemotePath { mount: folder.mount.clone(), path })
    });
    let mut found = listed.collect::<Result<BTreeSet<_>, _>>()?;
    let is_gone = |path: &RemotePath| {
        let text = path.path.as_str();
        // Its labels are not known any more.
        let was_selected = selection.reads_labels() || selection.selects(text, &CustomMetadata::new());
        folder.has(path) && !entries.contains_key(text) && was_selected
    };
    found.extend(before.filter(is_gone));
    match found.len() {
        found if found > MOST_FOUND => Err(NotFound::TooMany { folder: folder.to_string(), found }),
        _fits => Ok(found.into_iter().collect()),
    }
}

/// What was read before of the folder of a find: by the status, by what the target names as its origin,
/// and, if the store was given another mount since, as it would be called there.
pub fn read_before(
    status: &[PulledPath],
    origin: &BTreeSet<(String, String)>,
    store: &str,
    mount: Option<&str>,
    folder: &RemoteFolder,
) -> Vec<PulledPath> {
    let of_status = status.iter().filter(|past| past.store == store && !past.metadata).cloned();
    let of_origin = origin.iter().filter(|(of, _)| of == store);
    let of_origin =
        of_origin.map(|(store, path)| PulledPath { store: store.clone(), path: path.clone(), ..PulledPath::default() });
    let known: Vec<PulledPath> = of_status.chain(of_origin).collect();
    let renamed = |past: PulledPath| {
        let name = folder.name_of(&past.path).filter(|_| RemotePath::shown(mount, &past.path).is_none())?;
        let path = format!("{}/{}", folder.mount, folder.below(name));
        Some(PulledPath { path, ..past })
    };
    let moved: Vec<PulledPath> = known.iter().cloned().filter_map(renamed).collect();
    known.into_iter().chain(moved).collect()
}

/// The spec with what each of its finds found among its entries, in the order of the spec.
pub fn expanded(desired: &Desired, found: Vec<Vec<RemotePath>>) -> Desired {
    let mut entries = Vec::with_capacity(desired.entries.len() + found.iter().map(Vec::len).sum::<usize>());
    let mut finds = desired.finds.iter().zip(found).enumerate().peekable();
    for (index, wanted) in desired.entries.iter().map(Some).chain([None]).enumerate() {
        while let Some((at, (find, paths))) = finds.next_if(|(_, (find, _))| find.before <= index) {
            entries.extend(paths.into_iter().map(|path| entry(at, find, &path)));
        }
        entries.extend(wanted.cloned());
    }
    Desired { entries, ..desired.clone() }
}

fn entry(index: usize, find: &Find, path: &RemotePath) -> Wanted {
    Wanted {
        into: Into::Found { find: index, name: path.path.to_string() },
        from: Reference { store: find.store.clone(), key: path.data_url(), version: None, what: What::Data },
        property: None,
        decoding: find.decoding,
        null_bytes: find.null_bytes,
    }
}

/// The entries, those together that one find found.
pub fn groups(entries: &[Wanted]) -> impl Iterator<Item = &[Wanted]> {
    entries.chunk_by(|one, other| match (&one.into, &other.into) {
        (Into::Found { find: one, .. }, Into::Found { find: other, .. }) => one == other,
        (Into::Key(_) | Into::Keys { .. } | Into::Found { .. }, _) => false,
    })
}

/// What a find makes.
#[derive(Default)]
pub struct Made {
    pub values: SecretMap,
    /// What the namespace may not read.
    pub left_out: Vec<Denial>,
    /// What it may not read any more and is gone as well.
    pub withdrawn: Vec<Denial>,
    /// Whether something is gone that was read before.
    pub is_gone: bool,
}

/// The keys that everything makes which one find found.
///
/// # Errors
/// [`Refusal`] of a rewrite or a key.
pub fn made_of(desired: &Desired, find: &Find, found: &[Wanted], observed: &Observed) -> Result<Made, Refusal> {
    let (mut made, mut whole) = (Made::default(), SecretMap::new());
    for wanted in found {
        let snapshot = snapshot_of(&observed.snapshots, wanted);
        let (Some(snapshot), Into::Found { name, .. }) = (snapshot, &wanted.into) else { continue };
        let was_read = snapshot.before.is_some();
        match (snapshot.entry.whole(), consent::denial(desired, wanted, snapshot, &observed.consumer)) {
            (Some(data), None) => {
                let value = property::whole(data).ok_or_else(|| Refusal::TooDeep { path: snapshot.path.clone() })?;
                whole.insert(name.clone(), value);
            }
            (Some(_), Some(denial)) => made.left_out.push(denial),
            // A consent outlives its value: the target may still have it.
            (None, Some(denial)) if was_read => made.withdrawn.push(denial),
            (None, _) => made.is_gone |= was_read,
        }
    }
    let refused = |fault| Refusal::Keys {
        field: find.field.clone(),
        path: find.path.clone().unwrap_or_else(|| "the whole mount".to_owned()),
        fault: Box::new(fault),
    };
    made.values = find.keys.made_of(whole).map_err(refused)?;
    Ok(made)
}

/// Whether the target is made of an entry. What is found and gone, or may not be read, is left out.
pub fn is_used(desired: &Desired, wanted: &Wanted, snapshot: &Snapshot, consumer: &Consumer) -> bool {
    let is_found = matches!(wanted.into, Into::Found { .. });
    !is_found || snapshot.entry.whole().is_some() && consent::denial(desired, wanted, snapshot, consumer).is_none()
}

/// Why there is no key at all although nothing of the spec is gone; `None` if the target is to go, or
/// to stay absent, all the same.
pub fn nothing(desired: &Desired, denials: impl Iterator<Item = Denial>, target: &TargetState) -> Option<Refusal> {
    if matches!(target, TargetState::Absent) && desired.deletion == Deletion::Delete && !desired.finds.is_empty() {
        return None;
    }
    if let Some(denial) = denials.min_by_key(|denial| denial.on_withdrawal != OnWithdrawal::Delete) {
        return Some(Refusal::NotPermitted(Box::new(denial)));
    }
    let Some(find) = desired.finds.first() else { return Some(Refusal::NoKeys) };
    Some(Refusal::NothingFound { field: find.field.clone(), store: shown(&find.store) })
}

/// What was read may be without a consent that was given back since.
pub fn stale(desired: &Desired) -> ObserveError {
    let find = desired.finds.first();
    let path = find.and_then(|find| find.path.clone()).unwrap_or_default();
    let store = find.map(|find| shown(&find.store)).unwrap_or_default();
    ObserveError::Read { store, cause: ReadError::Store(StoreError::Stale { path }) }
}

/// What to say of what is left out.
pub fn notes(left_out: &[Denial]) -> impl Iterator<Item = String> {
    let named = left_out.iter().take(MOST_NAMED).map(|denial| {
        let Denial { store, path, property, namespace, producer, .. } = denial;
        format!(
            "{path} of {store} is left out, because {producer} does not let namespace {namespace} read its property \
             {property:?}: ask the producer to add it to that mapping's metadata.spec.consumers"
        )
    });
    let more = left_out.len().saturating_sub(MOST_NAMED);
    named.chain((more > 0).then(|| format!("{more} more of what was found are left out for such a reason")))
}
