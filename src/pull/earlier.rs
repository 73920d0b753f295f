//! What a target holds of an earlier spec: one that is not read again, or one whose present spec
//! cannot be carried out. The producers of what it holds may take that back, whatever the present
//! spec names (RF2).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Instant;

use futures::future::join_all;

use super::Pull;
use super::consent::{self, Consumer};
use super::desired::{self, Deletion, Desired, ImmutableTargets, Refresh};
use super::observe::{self, Located, ObserveError, OpenStores, Route};
use super::plan::store_name;
use super::report::Failure;
use super::settle::Taken;
use super::unjudged::Unjudged;
use super::wanted::{Into, Reference, Wanted};
use crate::api::external_secret::NullBytePolicy;
use crate::api::path_status::PulledPath;
use crate::api::{ExternalSecret, StoreKind, StoreRef};
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::property::Decoding;
use crate::domain::target::Strangers;
use crate::feed::{Freshness, ReadError};
use crate::store::{StoreRefusal, Stores};

/// What became of the target of a reconcile that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// There is none, or it holds nothing that this reconcile has not judged.
    Nothing,
    /// Its producers let it have what it holds.
    Permitted,
    /// The consent for something that it holds is not known now.
    Unknown,
    /// A producer took back what it held, and it was deleted.
    TakenBack,
}

/// The spec that the target was rendered from, as far as the status shows it: stores, paths and
/// properties. `None` if there is no target, or the status shows no paths.
pub fn spec(object: &ExternalSecret) -> Option<Desired> {
    let status = object.status.as_ref()?;
    let target = status.binding.as_ref().map(|binding| binding.name.clone()).filter(|name| !name.is_empty())?;
    let entries: Vec<Wanted> = status.paths.iter().filter_map(held).flatten().collect();
    if entries.is_empty() {
        return None;
    }
    let metadata = &object.metadata;
    Some(Desired {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        target,
        entries,
        finds: Vec::new(),
        template: None,
        deletion: Deletion::Retain,
        refresh: Refresh::Once,
        strangers: Strangers::Leave,
        immutable_targets: ImmutableTargets::Leave,
        immutable: false,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        synced_resource_version: desired::synced_resource_version(object),
        confirmation: desired::confirmation(object),
    })
}

/// What a target that is not read again was rendered from: the present spec, or an earlier one, owned.
pub struct RenderedFrom<'d>(Cow<'d, Desired>);

impl RenderedFrom<'_> {
    /// Whether the spec was edited since.
    pub fn is_earlier(&self) -> bool {
        matches!(self.0, Cow::Owned(_))
    }
}

impl Deref for RenderedFrom<'_> {
    type Target = Desired;

    fn deref(&self) -> &Desired {
        &self.0
    }
}

/// What the target of an object that is not read again was rendered from.
pub fn rendered<'d>(object: &ExternalSecret, desired: &'d Desired) -> RenderedFrom<'d> {
    // Only the status shows what a find found then.
    RenderedFrom(match is_of_this_spec(object) && desired.finds.is_empty() {
        true => Cow::Borrowed(desired),
        false => spec(object).map_or(Cow::Borrowed(desired), Cow::Owned),
    })
}

/// Whether the target was rendered from this generation of the spec.
pub fn is_of_this_spec(object: &ExternalSecret) -> bool {
    let synced = object.status.as_ref().and_then(|status| status.synced_resource_version.as_deref());
    let generation = synced.and_then(|synced| synced.split('-').next()?.parse().ok());
    generation.is_some() && generation == object.metadata.generation
}

/// The properties that the target has from a path.
fn held(path: &PulledPath) -> Option<impl Iterator<Item = Wanted>> {
    path.version?;
    let (kind, name) = path.store.split_once('/')?;
    let store = StoreRef { name: Some(name.to_owned()), kind: Some(StoreKind::from_word(kind)?) };
    let from = Reference { store, key: path.path.clone(), version: None, what: path.what() };
    let whole = path.properties.is_empty().then_some(None);
    let properties = path.properties.iter().cloned().map(Some).chain(whole);
    Some(properties.map(move |property| Wanted {
        into: Into::Key(String::new()),
        from: from.clone(),
        property,
        decoding: Decoding::Plain,
        null_bytes: NullBytePolicy::default(),
    }))
}

/// Finds the place of each path of an earlier spec, which has `mount/path` as its key.
pub async fn locate(earlier: &Desired, opened: &OpenStores) -> Vec<Result<Located, ObserveError>> {
    let (mut references, mut routes): (Vec<&Reference>, _) = (Vec::new(), Vec::new());
    for reference in earlier.entries.iter().map(|wanted| &wanted.from) {
        if references.contains(&reference) {
            continue;
        }
        references.push(reference);
        let moved = || ObserveError::Moved { store: store_name(reference), path: reference.key.clone() };
        let client = observe::client(opened, &observe::store_of(earlier, reference));
        routes.push(client.and_then(|client| {
            let path = RemotePath::shown(client.mount(), &reference.key).ok_or_else(moved)?;
            Ok::<Route, ObserveError>(Route { reference, client, path })
        }));
    }
    let deadline = observe::deadline();
    join_all(routes.into_iter().map(|route| async move { route?.place(deadline).await })).await
}

impl<S: Stores> Pull<S> {
    /// Judges what the target holds after a reconcile that failed, and deletes the target if a
    /// producer took that back. From then on every change of these consents wakes the resource.
    pub(super) async fn holding(
        &self,
        object: &ExternalSecret,
        name: &Name,
        failure: &Failure,
    ) -> Result<Holding, Failure> {
        if is_judged(failure, object) {
            return Ok(Holding::Nothing);
        }
        let Some(mut earlier) = spec(object) else {
            self.context.feed.heed(name, BTreeSet::new());
            return Ok(Holding::Nothing);
        };
        earlier.entries.retain(|wanted| !is_down(failure, &store_name(&wanted.from)));
        self.judge_earlier(object, name, &earlier).await
    }

    /// Judges what the target was rendered from.
    pub(super) async fn judge_earlier(
        &self,
        object: &ExternalSecret,
        name: &Name,
        earlier: &Desired,
    ) -> Result<Holding, Failure> {
        let feed = &self.context.feed;
        let opened = observe::open(earlier, &self.stores).await.usable();
        let located = locate(earlier, &opened).await;
        // Before anything is read, so that no change is missed.
        feed.heed(name, located.iter().flatten().map(Located::site).collect());
        let (located, unknown) = observe::apart(located);
        let began = Instant::now();
        let reads = observe::read_consents(feed, name, &located, Freshness::Since(began)).await;
        let reads: Vec<_> = located
            .iter()
            .zip(reads)
            .filter_map(|(located, read)| {
                let read = read.ok()?;
                let is_present = read.iter().all(|(_, read)| !feed.lacks_consents(&located.site(), &read.entry));
                is_present.then_some(read)
            })
            .collect();
        let is_known = unknown.is_empty() && reads.len() == located.len();
        let snapshots: Vec<_> = reads.into_iter().flatten().collect();
        let consumer = match consent::asks_for_labels(&snapshots) {
            true => self.consumer(earlier, &snapshots).await.map_err(Failure::Write)?,
            // Labels may decide about what the present spec names.
            false => Consumer { silence: self.context.settings.silence, ..Consumer::default() },
        };
        match consent::check(earlier, &snapshots, &consumer) {
            Err(refusal) if refusal.takes_target() => {
                let taken_back = consent::taken_back(earlier, &snapshots, &consumer);
                match self.refuse_earlier(object, earlier, &refusal, &taken_back, Some(began)).await? {
                    Taken::Target => {
                        self.losses.unjudged(name, Unjudged::Decided);
                        Ok(Holding::TakenBack)
                    }
                    Taken::Nothing => Ok(Holding::Unknown),
                }
            }
            // It is not updated, and keeps its data.
            Err(_) | Ok(()) if is_known => Ok(Holding::Permitted),
            Err(_) | Ok(()) => Ok(Holding::Unknown),
        }
    }
}

/// Whether a reconcile that failed so has judged everything that the target holds, or must not.
fn is_judged(failure: &Failure, object: &ExternalSecret) -> bool {
    match failure {
        Failure::Observe(ObserveError::Store(StoreRefusal::OtherController { .. })) => true,
        Failure::Refused(refusal) if refusal.takes_target() => true,
        Failure::Refused(_)
        | Failure::Halted(_)
        | Failure::Write(_)
        | Failure::Observe(
            ObserveError::Cluster(_)
            | ObserveError::Moved { .. }
            | ObserveError::TooMuch { .. }
            | ObserveError::NotFound { .. }
            | ObserveError::Read { cause: ReadError::WentBack { .. }, .. },
        ) => is_of_this_spec(object) && !desired::finds(&object.spec),
        Failure::Spec(_)
        | Failure::Observe(
            ObserveError::Store(_) | ObserveError::Path(_) | ObserveError::Read { cause: ReadError::Store(_), .. },
        ) => false,
    }
}

/// Whether the failure is that this store answers nothing now. It is not asked again at once.
fn is_down(failure: &Failure, store: &str) -> bool {
    match failure {
        Failure::Observe(ObserveError::Read { store: failing, cause: ReadError::Store(error) }) => {
            failing == store && error.is_about_the_server()
        }
        _other => false,
    }
}
