//! The objects that wait, and the oldest of them that can run. Finding it costs the same however
//! many wait: the lines are the leaves of a tree, whose nodes are the holders that they need, those
//! that many lines share above those that few do. Each node knows the oldest object below it that
//! nothing below it keeps waiting. If a holder becomes full, or has room again, only the nodes that
//! need it, and those above them, change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::holder::{Holder, Holders, Needs, Uses};
use crate::domain::object_name::Name;
use crate::store::StoreName;

/// See the module.
#[derive(Default)]
pub struct Waiting {
    lines: HashMap<Arc<Uses>, Line>,
    of_store: HashMap<Arc<StoreName>, HashSet<Arc<Uses>>>,
    root: Node,
    /// The nodes that need a holder, each with the number of lines below it.
    needed_by: HashMap<Holder, HashMap<Path, usize>>,
    full: HashSet<Holder>,
    /// How many nodes were looked at so far.
    #[cfg(test)]
    pub looks: usize,
}

/// The holders of the nodes from below the root to a node.
type Path = Vec<Holders>;

/// The objects that use the same stores, by age.
struct Line {
    needs: Needs,
    queue: BTreeMap<u64, Name>,
}

#[derive(Default)]
struct Node {
    below: HashMap<Holders, Node>,
    /// What can run but for the holders of this node and those above it, by age.
    open: BTreeMap<u64, Next>,
    /// Under which age the node above has it among its own.
    known_as: Option<u64>,
}

enum Next {
    Node(Holders),
    Line(Arc<Uses>),
}

impl Waiting {
    /// Adds an object of this age. `needs` is asked for if nobody else waits for the same.
    pub fn add(&mut self, uses: &Arc<Uses>, since: u64, name: Name, needs: impl FnOnce() -> Needs) {
        let mut line = self.take_out(uses).unwrap_or_else(|| Line { needs: needs(), queue: BTreeMap::new() });
        line.queue.insert(since, name);
        self.put_in(uses, line);
    }

    /// Removes the object of this age.
    pub fn remove(&mut self, uses: &Arc<Uses>, since: u64) -> Option<Name> {
        let mut line = self.take_out(uses)?;
        let name = line.queue.remove(&since);
        self.put_in(uses, line);
        name
    }

    /// Call this when objects that use the store may have other needs. It costs as much as there are
    /// different sets of stores with this one.
    pub fn changed(&mut self, store: &StoreName, needs: impl Fn(&Uses) -> Needs) {
        for uses in self.of_store.get(store).cloned().unwrap_or_default() {
            if let Some(line) = self.take_out(&uses) {
                self.put_in(&uses, Line { needs: needs(&uses), ..line });
            }
        }
    }

    /// Learns which holders are full, out of all.
    pub fn fill(&mut self, full: HashSet<Holder>) {
        let changed: Vec<Holder> = full.symmetric_difference(&self.full).cloned().collect();
        self.full = full;
        for holder in changed {
            for path in self.needed_by.get(&holder).into_iter().flat_map(HashMap::keys) {
                self.root.change(path, &self.full, |_node| {});
                #[cfg(test)]
                {
                    self.looks += path.len();
                }
            }
        }
    }

    /// The oldest object none of whose holders is full.
    pub fn oldest(&self) -> Option<(u64, Arc<Uses>)> {
        let mut node = &self.root;
        loop {
            node = match node.open.first_key_value()? {
                (_, Next::Node(holders)) => node.below.get(holders)?,
                (since, Next::Line(uses)) => return Some((*since, uses.clone())),
            };
        }
    }

    fn put_in(&mut self, uses: &Arc<Uses>, line: Line) {
        let Some((since, _)) = line.queue.first_key_value() else { return };
        let leaf = |node: &mut Node| drop(node.open.insert(*since, Next::Line(uses.clone())));
        self.root.change(&line.needs.0, &self.full, leaf);
        for (holder, path) in nodes(&line.needs) {
            *self.needed_by.entry(holder).or_default().entry(path).or_default() += 1;
        }
        for store in uses.stores() {
            self.of_store.entry(store.clone()).or_default().insert(uses.clone());
        }
        self.lines.insert(uses.clone(), line);
        #[cfg(test)]
        {
            self.looks += 4;
        }
    }

    fn take_out(&mut self, uses: &Arc<Uses>) -> Option<Line> {
        let line = self.lines.remove(uses)?;
        let (since, _) = line.queue.first_key_value()?;
        self.root.change(&line.needs.0, &self.full, |node| drop(node.open.remove(since)));
        for (holder, path) in nodes(&line.needs) {
            let needed_by = self.needed_by.entry(holder.clone()).or_default();
            if needed_by.get(&path).is_some_and(|lines| *lines > 1) {
                needed_by.entry(path).and_modify(|lines| *lines -= 1);
                continue;
            }
            needed_by.remove(&path);
            if needed_by.is_empty() {
                self.needed_by.remove(&holder);
            }
        }
        for store in uses.stores() {
            let of_store = self.of_store.entry(store.clone()).or_default();
            of_store.remove(uses);
            if of_store.is_empty() {
                self.of_store.remove(store);
            }
        }
        #[cfg(test)]
        {
            self.looks += 4;
        }
        Some(line)
    }
}

/// Each holder of a line, with the node that needs it.
fn nodes(needs: &Needs) -> impl Iterator<Item = (Holder, Path)> {
    let levels = needs.0.iter().enumerate();
    levels.flat_map(move |(depth, holders)| {
        holders.iter().map(move |holder| (holder.clone(), needs.0[..=depth].to_vec()))
    })
}

impl Node {
    /// Changes the node at the end of the path, and what each node above it knows.
    fn change(&mut self, path: &[Holders], full: &HashSet<Holder>, change: impl FnOnce(&mut Node)) {
        let Some((holders, rest)) = path.split_first() else { return change(self) };
        let node = self.below.entry(holders.clone()).or_default();
        node.change(rest, full, change);
        let is_closed = holders.iter().any(|holder| full.contains(holder));
        let oldest = node.open.first_key_value().map(|(since, _)| *since).filter(|_| !is_closed);
        if let Some(since) = std::mem::replace(&mut node.known_as, oldest) {
            self.open.remove(&since);
        }
        let is_empty = node.below.is_empty() && node.open.is_empty();
        self.open.extend(oldest.map(|since| (since, Next::Node(holders.clone()))));
        if is_empty {
            self.below.remove(holders);
        }
    }
}

#[cfg(test)]
impl Waiting {
    /// Whether nothing at all is kept.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.of_store.is_empty() && self.needed_by.is_empty() && self.root.below.is_empty()
    }
}
