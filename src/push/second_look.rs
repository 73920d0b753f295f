//! Looks a second time, before a removal, at what it rests on: the sources, and the labels of stores.
//!
//! A reconcile reads its sources once, when it begins. With a slow store it comes to its removals
//! minutes later. By then a source or a key that it lacked may be back.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::desired::{self, Desired, StoreQueries, StoreQuery};
use super::ledger::{EntryRef, StoreKey};
use super::mapped::{self, Mapped};
use super::observe::SeenStores;
use super::reading::NoSources;
use super::reconcile::Turn;
use super::record::FRESH;
use super::rendered::Unrendered;
use super::sources::Sources;
use crate::cluster::ClusterError;
use crate::domain::source::Source;

/// A look at the sources.
#[derive(Debug)]
pub struct Look {
    /// When it began.
    pub asked: Instant,
    /// By name, the resourceVersions of the Secrets that labels select.
    pub versions: BTreeMap<String, String>,
    /// The names that wake the PushSecret: those, and what the reconcile found before.
    pub declared: BTreeSet<String>,
    /// The sources that the template does not render.
    pub unrendered: Vec<Unrendered>,
}

impl Look {
    /// Begins one.
    pub fn begin() -> Self {
        Look { asked: Instant::now(), versions: BTreeMap::new(), declared: BTreeSet::new(), unrendered: Vec::new() }
    }
}

/// The second look of one reconcile. It is repeated once it is older than a second.
pub struct SecondLook<'a> {
    turn: &'a Turn<'a>,
    seen: &'a SeenStores,
    desired: &'a Desired,
    /// What the reconcile publishes; `None` if it removes everything, because no source exists.
    planned: Option<&'a Mapped>,
    last: Mutex<Last>,
}

struct Last {
    look: Look,
    more: More,
}

/// What is wanted beside what was planned.
enum More {
    /// These properties of these paths.
    Known(BTreeSet<(String, String)>),
    /// It is unknown: a mapping has no path now.
    Unknown,
}

impl<'a> SecondLook<'a> {
    /// Begins with the first look, by which the plan was made.
    pub(super) fn new(
        turn: &'a Turn<'a>,
        seen: &'a SeenStores,
        desired: &'a Desired,
        planned: Option<&'a Mapped>,
        look: Look,
    ) -> Self {
        let last = Mutex::new(Last { look, more: More::Known(BTreeSet::new()) });
        SecondLook { turn, seen, desired, planned, last }
    }

    /// Confirms that nobody wants these properties, as far as sources and labels say.
    ///
    /// # Errors
    /// One is wanted again, or the API server did not answer. The removal waits for the next
    /// reconcile.
    pub async fn confirm(&self, entry_ref: &EntryRef, removed: &BTreeSet<&String>) -> Result<(), ClusterError> {
        if removed.is_empty() {
            return Ok(());
        }
        let mut last = self.last.lock().await;
        if last.look.asked.elapsed() >= FRESH {
            // It is rare, and its future large.
            Box::pin(self.repeat(&mut last)).await?;
        }
        let path = entry_ref.path.path.as_str();
        let is_wanted = |property: &&String| match &last.more {
            More::Known(more) => more.contains(&(path.to_owned(), (*property).clone())),
            More::Unknown => true,
        };
        match self.is_selected_again(&entry_ref.store) || removed.iter().any(is_wanted) {
            true => {
                Err(ClusterError::Conflict { verb: "publish", object: self.desired.sources.text(self.namespace()) })
            }
            false => Ok(()),
        }
    }

    async fn repeat(&self, last: &mut Last) -> Result<(), ClusterError> {
        if let (Sources::Labelled(query), None) = (&self.desired.sources, &self.desired.template) {
            let asked = Instant::now();
            let versions = self.turn.world.cluster.source_versions(self.namespace(), query).await?;
            if versions == last.look.versions {
                last.look.asked = asked;
                return Ok(());
            }
        }
        let (look, more) = match self.turn.see_sources(self.desired, &last.look.declared).await {
            Ok((sources, look)) if look.unrendered.is_empty() => (look, self.more(&sources)),
            Ok((_, look)) => (look, More::Unknown),
            Err(NoSources::Over { look, .. } | NoSources::Unrendered { look, .. }) => (look, More::Unknown),
            Err(NoSources::Cluster(error)) => return Err(error),
        };
        *last = Last { look, more };
        Ok(())
    }

    fn more(&self, sources: &[Source]) -> More {
        let Some(planned) = self.planned else {
            return if sources.is_empty() { More::Known(BTreeSet::new()) } else { More::Unknown };
        };
        let Mapped { entries, astray, .. } =
            mapped::map(self.desired, sources, &self.seen.mounts, self.turn.world.convention);
        if !astray.is_empty() {
            return More::Unknown;
        }
        let is_planned = |entry_ref: &EntryRef, property: &String| {
            planned.entries.get(entry_ref).is_some_and(|wanted| wanted.lines.contains_key(property))
        };
        let more = entries.iter().flat_map(|(entry_ref, wanted)| {
            let more = wanted.lines.keys().filter(move |property| !is_planned(entry_ref, property));
            more.map(move |property| (entry_ref.path.path.as_str().to_owned(), property.clone()))
        });
        More::Known(more.collect())
    }

    /// Whether labels select the store, or select it for a `dataTo`, that they did not select when the
    /// reconcile began.
    fn is_selected_again(&self, store: &StoreKey) -> bool {
        let chosen = &self.seen.chosen;
        let selects = |(kind, query): &StoreQuery| {
            *kind == store.kind && self.turn.world.stores.labelled(self.namespace(), *kind, query).contains(&store.name)
        };
        let was_selected = |index: &usize| chosen.data_to.get(index).is_some_and(|stores| stores.contains(store));
        let StoreQueries { refs, data_to } = desired::store_queries(&self.turn.object.spec).unwrap_or_default();
        match self.planned.is_some() && store.former.is_none() {
            true if chosen.stores.contains(store) => {
                data_to.iter().any(|(index, query)| !was_selected(index) && selects(query))
            }
            true => refs.iter().any(selects),
            false => false,
        }
    }

    fn namespace(&self) -> &str {
        &self.turn.namespace
    }
}
