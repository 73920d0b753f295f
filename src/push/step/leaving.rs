//! A property that passes from one PushSecret of the cluster to another: the decisions of both.

use super::{Existing, Left, Obstacle, Sorted, Step, View};
use crate::domain::claim::{self, ClaimState};

impl<'a> View<'a> {
    /// The UID of an owner that offers the property to us. `IfNotExists` takes over only what our
    /// own namespace offers.
    pub(super) fn offered_by(&self, property: &str, state: &ClaimState) -> Option<String> {
        let ClaimState::Taken { by: Some(by) } = state else { return None };
        let is_offered = self.inquiry.offered.contains(&(property.to_owned(), by.uid.clone()));
        let may_take = match self.goal.existing {
            Existing::Replace => true,
            Existing::Keep => by.namespace == self.me.namespace,
            // Nothing is published to a former location.
            Existing::Claimed => false,
        };
        (is_offered && may_take && by.cluster == self.me.cluster).then(|| by.uid.clone())
    }

    pub(super) fn take_over(&self, sorted: &Sorted<'a>) -> Step {
        let metadata = &self.entry.custom_metadata;
        let mut changes = claim::confirm(sorted.takes.keys().copied(), self.me);
        if !claim::is_marked(metadata) {
            changes.insert(claim::MARKER.to_owned(), Some(claim::MARKER_VALUE.to_owned()));
        }
        changes.retain(|key, value| value.is_some() || metadata.contains_key(key));
        let from = sorted.takes.iter().map(|(property, uid)| ((*property).to_owned(), uid.clone())).collect();
        Step::TakeOver { changes, from }
    }

    /// Whether another PushSecret of our cluster has the claim. If its ledger lists the property,
    /// nothing is orphaned.
    pub(super) fn is_anothers(&self, property: &'a str, sorted: &mut Sorted<'a>) -> bool {
        let Some(by) = claim::owner(&self.entry.custom_metadata, property) else { return false };
        if by.uid == self.me.uid || by.cluster != self.me.cluster {
            return false;
        }
        match self.inquiry.listed.get(&by.uid) {
            None => sorted.hinder(Obstacle::AskHeir(by)),
            Some(listed) => {
                sorted.releases.insert(property);
                match listed.contains(property) {
                    true => drop(sorted.inherited.insert(property, by)),
                    false => sorted.left.extend(self.has(property).then_some((property, Left::Taken { by: Some(by) }))),
                }
            }
        }
        true
    }
}
