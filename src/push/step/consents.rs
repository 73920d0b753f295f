//! Consents of our properties: before a new value is written, and after it.

use std::collections::BTreeSet;

use super::{Sorted, View};
use crate::domain::claim::MetadataChanges;
use crate::domain::consent::{self, Consent};

impl<'a> View<'a> {
    /// The changes that set the wanted consents of properties that are ours, or are about to be.
    pub(super) fn consents(&self, sorted: &Sorted<'a>) -> MetadataChanges {
        self.consents_that_are(sorted, |_, wanted| wanted.map(Consent::encode))
    }

    /// The same before `sets` are written: a property that still has another value does not get its
    /// wanted consent yet.
    pub(super) fn consents_until_written(&self, sorted: &Sorted<'a>, sets: &BTreeSet<&'a str>) -> MetadataChanges {
        self.consents_that_are(sorted, |property, wanted| match sets.contains(property) && self.may_have(property) {
            true => consent::until_written(&self.entry.custom_metadata, property, wanted),
            false => wanted.map(Consent::encode),
        })
    }

    fn consents_that_are(
        &self,
        sorted: &Sorted<'a>,
        to_be: impl Fn(&str, Option<&Consent>) -> Option<String>,
    ) -> MetadataChanges {
        let metadata = &self.entry.custom_metadata;
        let ours = sorted.holds.union(&sorted.announce).filter(|property| !sorted.drops.contains(*property));
        let change = |property: &&str| {
            let (key, to_be) = (consent::key(property), to_be(property, self.goal.consents.get(*property)));
            (metadata.get(&key) != to_be.as_ref()).then_some((key, to_be))
        };
        ours.filter_map(change).collect()
    }
}
