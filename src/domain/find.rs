//! Which entries of a folder an ExternalSecret finds.

use std::collections::BTreeMap;

use waypost_template::expression::Expression;

use super::claim::CustomMetadata;
use super::expression::{self, NoExpression};

/// The entries whose path matches, or those that have all labels, or all.
#[derive(Clone, Debug)]
pub enum Selection {
    /// A path below the mount that matches somewhere.
    Named(Expression),
    /// Custom metadata with all these pairs; every entry has those of an empty map.
    Labelled(BTreeMap<String, String>),
}

impl Selection {
    /// What a regular expression selects.
    ///
    /// # Errors
    /// [`NoExpression`].
    pub fn named(expression: &str) -> Result<Self, NoExpression> {
        expression::compile(expression).map(Selection::Named)
    }

    /// Whether the custom metadata of entries decides.
    pub fn reads_labels(&self) -> bool {
        matches!(self, Selection::Labelled(labels) if !labels.is_empty())
    }

    /// The labels that it asks for.
    pub fn labels(&self) -> CustomMetadata {
        match self {
            Selection::Named(_) => CustomMetadata::new(),
            Selection::Labelled(labels) => labels.clone(),
        }
    }

    /// Whether it selects the entry with this path below its mount.
    pub fn selects(&self, path: &str, metadata: &CustomMetadata) -> bool {
        match self {
            Selection::Named(expression) => expression.is_match(path),
            Selection::Labelled(labels) => labels.iter().all(|(key, value)| metadata.get(key) == Some(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_name_matches_somewhere_in_the_whole_path() {
        let selects = |expression: &str, path: &str| Selection::named(expression).unwrap().selects(path, &labels(&[]));
        assert!(selects("postgres", "platform-data/postgres/shop") && selects("^platform-data/", "platform-data/a"));
        assert!(!selects("^postgres", "platform-data/postgres/shop"));
        assert!(Selection::named("(").is_err());
    }

    #[test]
    fn labels_select_who_has_all_of_them() {
        let selection = |pairs| Selection::Labelled(labels(pairs));
        let metadata = labels(&[("team", "shop"), ("env", "prod")]);
        assert!(selection(&[("team", "shop")]).selects("a", &metadata));
        assert!(!selection(&[("team", "shop"), ("env", "test")]).selects("a", &metadata));
        assert!(!selection(&[("owner", "")]).selects("a", &metadata));
        assert!(selection(&[]).selects("a", &metadata) && !selection(&[]).reads_labels());
    }
}
