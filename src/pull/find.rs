//! Lists the folders that a spec looks into, and names what is found there as if the manifest did.

use std::borrow::Cow;
use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::desired::Desired;
use super::found::{self, MOST_FOUND, NotFound};
use super::observe::{self, ObserveError, OpenStores, Past};
use super::plan::{self, TargetState, shown};
use super::wanted::Find;
use crate::api::path_status::PulledPath;
use crate::cluster::{Cluster, ClusterError};
use crate::domain::description::What;
use crate::domain::folder::RemoteFolder;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::feed::{Feed, FolderSource, Follow, Freshness, ReadError};
use crate::store::{Detail, PathKey};

/// How many folders are listed at a time.
const CONCURRENT: usize = 8;

/// The folders of a spec, with what was read of them before.
pub struct Folders<'d> {
    desired: &'d Desired,
    folders: Vec<(&'d Find, FolderSource)>,
    /// The paths of the status, and others that the target names.
    past: Cow<'d, [PulledPath]>,
}

impl<'d> Folders<'d> {
    /// Finds the places of the folders.
    ///
    /// # Errors
    /// [`ObserveError`].
    pub async fn locate(
        desired: &'d Desired,
        opened: &OpenStores,
        cluster: &Cluster,
        past: &'d [PulledPath],
    ) -> Result<Self, ObserveError> {
        if desired.finds.is_empty() {
            return Ok(Folders { desired, folders: Vec::new(), past: Cow::Borrowed(past) });
        }
        let deadline = observe::deadline();
        let places = desired.finds.iter().map(|find| place(desired, find, opened, deadline));
        let folders: Vec<_> = stream::iter(places.collect::<Vec<_>>()).buffered(CONCURRENT).try_collect().await?;
        let origin = origin(desired, cluster).await.map_err(ObserveError::Cluster)?;
        let mut all = past.to_vec();
        for (find, source) in &folders {
            let before = found::read_before(past, &origin, &shown(&find.store), source.client.mount(), &source.folder);
            for past in before {
                if !all.iter().any(|known| known.is(&past.store, &past.path, What::Data)) {
                    all.push(past);
                }
            }
        }
        Ok(Folders { desired, folders, past: Cow::Owned(all) })
    }

    /// The spec with everything that is found by now among its entries, and with what was read before
    /// and is not listed any more: only a read shows what became of that.
    ///
    /// # Errors
    /// [`ObserveError`]: a folder that is not listed completely finds nothing.
    pub async fn expand(
        &self,
        feed: &Feed,
        name: &Name,
        freshness: Freshness,
        follow: Follow,
    ) -> Result<Cow<'d, Desired>, ObserveError> {
        // Before they are listed, so that no change is missed.
        feed.look_into(name, self.folders.iter().map(|(_, source)| source.clone()).collect(), follow);
        if self.folders.is_empty() {
            return Ok(Cow::Borrowed(self.desired));
        }
        let deadline = observe::deadline();
        let lists = self.folders.iter().map(|(find, source)| async move {
            let asked = async { feed.entries_below(name, source, freshness).await.map_err(ReadError::Store) };
            let entries = observe::in_time(&find.store, source.client.as_ref(), deadline, asked).await?;
            let store = shown(&find.store);
            let before = self.past.iter().filter(|past| past.store == store && !past.metadata);
            let before = before.filter_map(|past| RemotePath::shown(source.client.mount(), &past.path));
            found::selected(find, &source.folder, &entries, before)
                .map_err(|cause| ObserveError::NotFound { store, cause })
        });
        let found: Vec<Vec<RemotePath>> =
            stream::iter(lists.collect::<Vec<_>>()).buffered(CONCURRENT).try_collect().await?;
        let all = self.desired.entries.len() + found.iter().map(Vec::len).sum::<usize>();
        if let Some((find, source)) = self.folders.first().filter(|_| all > MOST_FOUND) {
            let cause = NotFound::TooMany { folder: source.folder.to_string(), found: all };
            return Err(ObserveError::NotFound { store: shown(&find.store), cause });
        }
        Ok(Cow::Owned(found::expanded(self.desired, found)))
    }

    /// What is known from before a read of all that.
    pub fn past<'a>(&'a self, before: Past<'a>) -> Past<'a> {
        Past { paths: &self.past, ..before }
    }
}

async fn place<'d>(
    desired: &Desired,
    find: &'d Find,
    opened: &OpenStores,
    deadline: Instant,
) -> Result<(&'d Find, FolderSource), ObserveError> {
    let client = observe::client(opened, &observe::store_name(desired, &find.store))?;
    let folder = RemoteFolder::parse(client.mount(), find.path.as_deref()).map_err(ObserveError::Path)?;
    // Whatever is in it has its server and mount.
    let within = folder.entry("any").map_err(ObserveError::Path)?;
    let asked = async { client.path_key(&within).await.map_err(ReadError::Store) };
    let PathKey { server, mount, .. } = observe::in_time(&find.store, client.as_ref(), deadline, asked).await?;
    let place = PathKey { server, mount, path: folder.path().into() };
    Ok((find, FolderSource { client, folder, place, detail: detail(find) }))
}

/// The stores and paths that the target names as its origin: a status may have been written late, or
/// not at all.
async fn origin(desired: &Desired, cluster: &Cluster) -> Result<BTreeSet<(String, String)>, ClusterError> {
    Ok(match observe::live(cluster, desired).await? {
        TargetState::Present(live) => plan::places(&live.annotations).unwrap_or_default(),
        TargetState::Absent | TargetState::AsWritten(_) => BTreeSet::new(),
    })
}

/// What a list is to show.
pub fn detail(find: &Find) -> Detail {
    if find.selection.reads_labels() { Detail::CustomMetadata } else { Detail::Names }
}
