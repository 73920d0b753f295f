//! The sources of the model: how they change, and what a PushSecret has of them.

use std::collections::BTreeMap;

use super::losses::Change;
use super::moves::{By, PATHS, PROPERTIES};
use super::objects::{BY_NAME, labelled, named_in};
use super::world::{Spot, World, is_of, name};
use crate::api::PushSecret;
use crate::api::push_secret::PushSecretData;
use crate::domain::object_name::Name;

/// How often who is woken answers before a label changes.
const ANSWERS: usize = 10;

impl World {
    pub(super) fn source(&mut self, source: usize, there: bool) {
        let value = there.then(|| format!("v{}", self.next()));
        Change { source, value: value.clone() }.make(&self.server);
        self.shows_source(source, value);
    }

    fn shows_source(&mut self, source: usize, value: Option<String>) {
        self.losses.source(source, value.is_some());
        self.sources[source] = value;
        let source = Name::new("db", format!("source{source}"));
        self.processes().for_each(|process| process.sees_source(&source, &BTreeMap::new()));
    }

    pub(super) async fn amid(&mut self, push: usize, source: usize, there: bool, after: usize) {
        let value = there.then(|| format!("v{}", self.next()));
        let change = Change { source, value: value.clone() };
        self.losses.change_after(after, change, &self.server);
        self.turn(push, By::Leader, 0, None).await;
        self.losses.change_now(&self.server);
        self.shows_source(source, value);
    }

    /// The watch shows each label before the next one: what who had it may give up, or another may
    /// want, is answered.
    pub(super) async fn relabel(&mut self, path: usize, to: usize) {
        for _ in 0..ANSWERS {
            self.woken(By::Leader).await;
            self.show();
        }
        let value = format!("v{}", self.next());
        let source = named_in(path);
        self.server.put(&format!("/namespaces/db/secrets/{source}"), labelled(source, name(to), &value));
        self.teams[path] = Some((to, value));
        let labels = BTreeMap::from([("team".to_owned(), name(to).to_owned())]);
        let source = Name::new("db", source);
        self.processes().for_each(|process| process.sees_source(&source, &labels));
    }

    /// Whether the spec has it, wherever its stores lead.
    pub fn maps(&self, push: &PushSecret, spot: Spot) -> bool {
        let by_name = |data: &PushSecretData| {
            let remote = &data.match_.remote_ref;
            remote.remote_key == BY_NAME && remote.property.as_deref() == Some(PROPERTIES[spot.property])
        };
        push.spec.data.iter().any(|data| is_of(data, spot) || by_name(data) && self.has_label(push, spot.path))
    }

    /// Whether it has a source.
    pub fn has_source(&self, push: &PushSecret) -> bool {
        match source_of(push) {
            Some(source) => self.sources[source].is_some(),
            None => (0..PATHS.len()).any(|path| self.has_label(push, path)),
        }
    }

    /// What its source for this spot has.
    pub fn value(&self, push: &PushSecret, spot: Spot) -> Option<String> {
        match source_of(push) {
            Some(source) => self.sources[source].clone(),
            None => self.teams[spot.path].clone().filter(|_| self.has_label(push, spot.path)).map(|(_, value)| value),
        }
    }

    fn has_label(&self, push: &PushSecret, path: usize) -> bool {
        let team = self.teams[path].as_ref().map(|(team, _)| name(*team));
        team.is_some() && team == push.metadata.name.as_deref()
    }
}

/// Which source the spec names; `None` if labels select its sources.
pub fn source_of(push: &PushSecret) -> Option<usize> {
    let named = push.spec.selector.secret.as_ref().and_then(|secret| secret.name.as_deref())?;
    Some(usize::from(named == "source1"))
}
