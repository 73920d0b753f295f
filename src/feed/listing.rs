//! Decides which folders are listed instead of checking each path below them, from the intervals
//! and the results of earlier listings.
//!
//! A listing costs two requests, however many paths it serves: itself, and the check of one single
//! path, which shows that the login may still read what it lists.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Source;
use super::index::Due;
use crate::store::{Identity, Site};

/// The checks that a listing must save until the next one.
const WORTHWHILE: f64 = 3.0;
/// The maximum bytes of a listing per check that it saves, so that a folder with many entries that
/// nobody follows is not listed. A check's own reply has up to 2 KiB, and the entries that fit into
/// this cost a server about as much time as a check.
const BYTES_A_CHECK: f64 = 8.0 * 1024.0;
/// The maximum size of a listing, in bytes, to bound memory: about 2,000 entries with ten versions
/// each.
const LARGEST: f64 = 4.0 * 1024.0 * 1024.0;
/// How long a listing that was denied or too large is not tried again. A newly granted right takes
/// effect after this time.
const REFUSED: Duration = Duration::from_secs(3600);
/// The same for a listing that failed while single checks succeeded.
const FAILED: Duration = Duration::from_secs(60);

/// What one login follows below one top folder of a mount. The mount itself is never listed: no
/// shipped policy allows it, and it would show the names of everything else there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tree {
    pub identity: Identity,
    server: Arc<str>,
    mount: Arc<str>,
    top: String,
}

/// A folder of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Folder {
    pub tree: Tree,
    /// Below the mount, without a slash at the end.
    pub path: String,
}

/// What to request now.
#[derive(Default)]
pub(super) struct Plan {
    pub listings: Vec<Listing>,
    /// Paths to check one by one.
    pub alone: Vec<Due>,
}

/// One listing, and the due paths that it serves.
pub(super) struct Listing {
    pub folder: Folder,
    /// The maximum size of the reply, in bytes.
    pub limit: usize,
    /// The login that lists, and the mount as its store spells it.
    pub source: Source,
    /// The single path to check; the jitter decides which one.
    pub sample: Due,
    pub others: Vec<Due>,
}

/// Results of earlier listings that prevent the next.
#[derive(Default)]
pub(super) struct Listings {
    refused: HashMap<Tree, Instant>,
    large: HashMap<Folder, Large>,
}

struct Large {
    than: usize,
    until: Instant,
}

impl Tree {
    /// The tree whose listings may serve a path. `None` if its login fails, because only a single
    /// check can show that it works again, and if the entry is in no folder.
    pub fn of(path: &Due) -> Option<Self> {
        let first = path.logins.first().filter(|_| path.logins.iter().all(|login| !login.failing))?;
        Tree::around(&path.site, first.source.client.identity())
    }

    /// The tree of one login with this path; `None` if the entry is in no folder.
    pub fn around(site: &Site, identity: &Identity) -> Option<Self> {
        let (top, _) = site.place.path.split_once('/')?;
        Some(Tree {
            identity: identity.clone(),
            server: site.place.server.clone(),
            mount: site.place.mount.clone(),
            top: top.to_owned(),
        })
    }
}

impl Folder {
    /// Whether a listing of the folder is a check of the path.
    pub fn serves(&self, path: &Due) -> bool {
        self.contains(&path.site.place.path) && Tree::of(path).as_ref() == Some(&self.tree)
    }

    /// Whether the path is below the folder.
    pub fn contains(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl Listings {
    /// Decides what to list. `followed` returns every path of a tree with its interval.
    pub fn plan(&self, due: Vec<Due>, now: Instant, followed: impl Fn(&Tree) -> Vec<(Arc<str>, Duration)>) -> Plan {
        let mut plan = Plan::default();
        let mut trees: BTreeMap<Tree, Vec<Due>> = BTreeMap::new();
        for path in due {
            match Tree::of(&path).filter(|tree| !self.is_refused(tree, now)) {
                Some(tree) => trees.entry(tree).or_default().push(path),
                None => plan.alone.push(path),
            }
        }
        for (tree, due) in trees {
            let followed = followed(&tree);
            self.divide(&tree, &followed, due, now, &mut plan);
        }
        plan
    }

    /// Records that the server or the login cannot list.
    pub fn refused(&mut self, folder: &Folder, now: Instant) {
        self.pause(folder, now + REFUSED, now);
    }

    /// Records that a listing failed although checks succeeded.
    pub fn failed(&mut self, folder: &Folder, now: Instant) {
        self.pause(folder, now + FAILED, now);
    }

    /// Records that the reply would exceed `limit` bytes.
    pub fn too_large(&mut self, folder: &Folder, limit: usize, now: Instant) {
        self.large.retain(|_, large| now < large.until);
        self.large.insert(folder.clone(), Large { than: limit, until: now + REFUSED });
    }

    fn pause(&mut self, folder: &Folder, until: Instant, now: Instant) {
        self.refused.retain(|_, until| now < *until);
        self.refused.insert(folder.tree.clone(), until);
    }

    /// One listing of the deepest common folder; if that is too large, one of each folder in it.
    fn divide(&self, tree: &Tree, followed: &[(Arc<str>, Duration)], due: Vec<Due>, now: Instant, plan: &mut Plan) {
        let saved = saved(followed, &due);
        let Some(path) = common_folder(followed).filter(|_| saved >= WORTHWHILE) else {
            plan.alone.extend(due);
            return;
        };
        let folder = Folder { tree: tree.clone(), path: path.to_owned() };
        let limit = (saved * BYTES_A_CHECK).min(LARGEST) as usize;
        if !self.is_too_large(&folder, limit, now) {
            plan.list(folder, limit, due);
            return;
        }
        let mut children: BTreeMap<Option<String>, Vec<Due>> = BTreeMap::new();
        for path in due {
            children.entry(child(&folder, &path.site.place.path)).or_default().push(path);
        }
        for (child, due) in children {
            let inside = |path: &str| child.as_ref().is_some_and(|child| path.starts_with(child));
            let below: Vec<_> = followed.iter().filter(|(path, _)| inside(path)).cloned().collect();
            self.divide(tree, &below, due, now, plan);
        }
    }

    fn is_refused(&self, tree: &Tree, now: Instant) -> bool {
        self.refused.get(tree).is_some_and(|until| now < *until)
    }

    fn is_too_large(&self, folder: &Folder, limit: usize, now: Instant) -> bool {
        self.large.get(folder).is_some_and(|large| now < large.until && limit < 2 * large.than)
    }
}

impl Plan {
    /// The due paths.
    pub fn into_due(self) -> impl Iterator<Item = Due> {
        let listed =
            self.listings.into_iter().flat_map(|listing| std::iter::once(listing.sample).chain(listing.others));
        listed.chain(self.alone)
    }

    fn list(&mut self, folder: Folder, limit: usize, due: Vec<Due>) {
        let mut due = due.into_iter();
        if let Some(sample) = due.next()
            && let Some(login) = sample.logins.first()
        {
            let source = login.source.clone();
            self.listings.push(Listing { folder, limit, source, sample, others: due.collect() });
        }
    }
}

/// How many checks a listing saves if it is repeated as often as the due paths are checked: one for
/// each path with such an interval, a fraction for each with a longer one.
fn saved(followed: &[(Arc<str>, Duration)], due: &[Due]) -> f64 {
    let Some(every) = due.iter().map(|path| path.window).min() else { return 0.0 };
    followed.iter().map(|(_, window)| (every.as_secs_f64() / window.as_secs_f64()).min(1.0)).sum()
}

/// The deepest folder with all of these entries below it.
fn common_folder(entries: &[(Arc<str>, Duration)]) -> Option<&str> {
    let folders = entries.iter().map(|(path, _)| path.rsplit_once('/').map_or("", |(folder, _)| folder));
    folders.reduce(common).filter(|folder| !folder.is_empty())
}

fn common<'f>(one: &'f str, other: &str) -> &'f str {
    let same = one.split('/').zip(other.split('/')).take_while(|(one, other)| one == other);
    let length: usize = same.map(|(segment, _)| segment.len() + 1).sum();
    &one[..length.saturating_sub(1)]
}

/// The folder in `folder` with the path below it, ending with a slash; `None` for an entry directly
/// in the folder.
fn child(folder: &Folder, path: &str) -> Option<String> {
    let rest = path.strip_prefix(&folder.path)?.strip_prefix('/')?;
    let (segment, _) = rest.split_once('/')?;
    Some(format!("{}/{segment}/", folder.path))
}
