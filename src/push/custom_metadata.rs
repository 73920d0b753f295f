//! The custom metadata that mappings ask for, and the changes that follow. Claims, intents and
//! consents are not part of it.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Line;
use crate::domain::claim::{self, CustomMetadata, MetadataChanges};
use crate::domain::push_options::{OtherMetadata, PushOptions};

/// The wanted custom metadata of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataGoal {
    /// Keys to set, with their values.
    pub set: BTreeMap<String, String>,
    /// Keys that we set earlier and that no mapping names any more.
    pub remove: BTreeSet<String>,
    /// What happens to all other keys.
    pub others: OtherMetadata,
}

/// Two mappings of one entry that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The index of the earlier mapping.
    pub first: usize,
    /// The index of the later mapping.
    pub second: usize,
    /// The field below `metadata.spec` of the mappings.
    pub field: String,
}

impl MetadataGoal {
    /// Combines what all mappings of one entry ask for. A mapping that does not say what happens to
    /// other keys agrees with the rest.
    pub fn of(mappings: &[&PushOptions]) -> Result<Self, Disagreement> {
        let mut set: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
        let mut others: Option<(OtherMetadata, usize)> = None;
        for (second, options) in mappings.iter().enumerate() {
            let disagreement = |first, field: String| Disagreement { first, second, field };
            for (key, value) in &options.custom_metadata {
                let (known, first) = *set.entry(key).or_insert((value, second));
                if known != value {
                    return Err(disagreement(first, format!("customMetadata.{key}")));
                }
            }
            match (options.other_metadata, others) {
                (Some(wanted), Some((known, first))) if wanted != known => {
                    return Err(disagreement(first, "mergePolicy".to_owned()));
                }
                (Some(wanted), None) => others = Some((wanted, second)),
                (Some(_) | None, _) => {}
            }
        }
        Ok(MetadataGoal {
            set: set.into_iter().map(|(key, (value, _))| (key.to_owned(), value.to_owned())).collect(),
            remove: BTreeSet::new(),
            others: others.map_or(OtherMetadata::default(), |(others, _)| others),
        })
    }

    /// Removes the keys that a line of the ledger had set, unless they are still wanted.
    pub fn retire(&mut self, line: &Line) {
        // If the `metadata` of the line does not parse, another controller pushed it and it set no
        // key of ours.
        let Some(Ok(options)) = line.data.metadata.as_ref().map(PushOptions::parse) else { return };
        self.remove.extend(options.custom_metadata.into_keys().filter(|key| !self.set.contains_key(key)));
    }

    /// The changes that bring this custom metadata to the goal.
    pub fn changes(&self, metadata: &CustomMetadata) -> MetadataChanges {
        let set = self.set.iter().filter(|(key, value)| metadata.get(*key) != Some(*value));
        let goes = |key: &&String| match self.others {
            OtherMetadata::Keep => self.remove.contains(*key),
            OtherMetadata::Remove => !self.set.contains_key(*key) && !claim::is_ours(key),
        };
        let removed = metadata.keys().filter(goes).map(|key| (key.clone(), None));
        set.map(|(key, value)| (key.clone(), Some(value.clone()))).chain(removed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::push_options::Encoding;

    fn options(metadata: &[(&str, &str)], other_metadata: Option<OtherMetadata>) -> PushOptions {
        let custom_metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        PushOptions { encoding: Encoding::Text, custom_metadata, other_metadata, consumers: None }
    }

    fn metadata(of: &[(&str, &str)]) -> CustomMetadata {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn mappings_of_one_entry_add_up_or_are_named() {
        let one = options(&[("team", "a")], None);
        let goal = MetadataGoal::of(&[&one, &options(&[("tier", "1")], Some(OtherMetadata::Remove))]).unwrap();
        assert_eq!(goal.set, metadata(&[("team", "a"), ("tier", "1")]));
        assert_eq!(goal.others, OtherMetadata::Remove);
        let other = options(&[("team", "b")], None);
        let field = "customMetadata.team".to_owned();
        assert_eq!(MetadataGoal::of(&[&one, &other]), Err(Disagreement { first: 0, second: 1, field }));
        let says = |others| options(&[], Some(others));
        let field = "mergePolicy".to_owned();
        let both = [&says(OtherMetadata::Keep), &says(OtherMetadata::Remove)];
        assert_eq!(MetadataGoal::of(&both), Err(Disagreement { first: 0, second: 1, field }));
    }

    #[test]
    fn others_stay_or_go_and_claims_always_stay() {
        let claim = claim::claim_key("password");
        let there =
            metadata(&[("team", "old"), ("note", "x"), (claim::MARKER, "external-secrets"), (&claim, "somebody")]);
        let goal = |others| MetadataGoal { set: metadata(&[("team", "a")]), others, ..MetadataGoal::default() };
        let set = ("team".to_owned(), Some("a".to_owned()));
        assert_eq!(goal(OtherMetadata::Keep).changes(&there), MetadataChanges::from([set.clone()]));
        assert_eq!(
            goal(OtherMetadata::Remove).changes(&there),
            MetadataChanges::from([set, ("note".to_owned(), None)])
        );
    }
}
