//! What an object makes, beside what is there now.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::secret::{SecretBytes, SecretMap};
use crate::domain::secret_template::is_reserved;
use crate::domain::target::{Live, Target};

/// What an object makes in one place.
pub struct Made {
    /// Such as `ExternalSecret web/orders`.
    pub by: String,
    /// Such as `Secret web/orders`.
    pub place: String,
    pub content: Content,
    /// The labels and annotations whose values the manifest shows: others may be made of values.
    pub shown: BTreeSet<(Part, String)>,
    /// The keys that are rendered, and so may be made of values.
    pub rendered: BTreeSet<(Part, String)>,
    pub beside: Beside,
    /// What the controller would say besides.
    pub notes: Vec<String>,
}

/// What is there now.
pub enum Beside {
    /// Nobody looked.
    Nothing,
    /// Somebody looked, and could not see.
    Unseen {
        /// Why.
        why: String,
    },
    /// It does not exist, by this source of the answer.
    Absent {
        /// Such as `target.yaml`.
        by: String,
    },
    /// It exists.
    Present { by: String, content: Content },
}

/// A Secret, or an entry of a store, without the controller's own marks.
#[derive(Default)]
pub struct Content {
    /// The type of a Secret.
    pub kind: Option<String>,
    pub immutable: bool,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Keys of a Secret, or properties of an entry.
    pub data: SecretMap,
}

/// A part of what is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Type,
    Immutable,
    Label,
    Annotation,
    Data,
}

/// One difference.
pub struct Difference<'c> {
    pub part: Part,
    /// The key, if the part has several.
    pub key: &'c str,
    pub before: Option<&'c [u8]>,
    pub after: Option<&'c [u8]>,
}

impl Content {
    /// A target as it is rendered.
    pub fn of_target(target: Target) -> Self {
        Content {
            kind: Some(target.kind),
            immutable: target.immutable,
            labels: without_marks(target.labels),
            annotations: without_marks(target.annotations),
            data: target.data,
        }
    }

    /// A second copy.
    pub fn duplicate(&self) -> Self {
        Content {
            kind: self.kind.clone(),
            immutable: self.immutable,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            data: duplicates(&self.data),
        }
    }

    /// A copy of a target as it is.
    pub fn of_live(live: &Live) -> Self {
        Content {
            kind: Some(live.kind.clone()),
            immutable: live.immutable,
            labels: without_marks(live.labels.clone()),
            annotations: without_marks(live.annotations.clone()),
            data: duplicates(&live.data),
        }
    }

    /// What changes when `after` takes the place of this. Labels and annotations that `after` does
    /// not have are somebody else's.
    pub fn differences<'c>(&'c self, after: &'c Content) -> Vec<Difference<'c>> {
        let mut found = Vec::new();
        let kind = |content: &'c Content| content.kind.as_deref().map(str::as_bytes);
        found.push(Difference { part: Part::Type, key: "", before: kind(self), after: kind(after) });
        let word = |content: &Content| -> &'static [u8] { if content.immutable { b"true" } else { b"false" } };
        found.push(Difference { part: Part::Immutable, key: "", before: Some(word(self)), after: Some(word(after)) });
        for (part, before, after) in
            [(Part::Label, &self.labels, &after.labels), (Part::Annotation, &self.annotations, &after.annotations)]
        {
            let difference = |(key, after): (&'c String, &'c String)| Difference {
                part,
                key,
                before: before.get(key).map(String::as_bytes),
                after: Some(after.as_bytes()),
            };
            found.extend(after.iter().map(difference));
        }
        let keys: BTreeSet<&String> = self.data.keys().chain(after.data.keys()).collect();
        let value = |content: &'c Content, key| content.data.get(key).map(SecretBytes::expose);
        let of_data =
            |key: &'c String| Difference { part: Part::Data, key, before: value(self, key), after: value(after, key) };
        found.extend(keys.into_iter().map(of_data));
        found.retain(|difference| difference.before != difference.after);
        found
    }
}

impl Made {
    /// Whether what is there now is known, and is something else.
    pub fn differs(&self) -> bool {
        match &self.beside {
            Beside::Nothing | Beside::Unseen { .. } => false,
            Beside::Absent { .. } => true,
            Beside::Present { content, .. } => !content.differences(&self.content).is_empty(),
        }
    }
}

fn duplicates(data: &SecretMap) -> SecretMap {
    data.iter().map(|(key, value)| (key.clone(), value.duplicate())).collect()
}

fn without_marks(all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.into_iter().filter(|(key, _)| !is_reserved(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(data: &[(&str, &str)], labels: &[(&str, &str)]) -> Content {
        let texts =
            |of: &[(&str, &str)]| of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect();
        Content { kind: Some("Opaque".to_owned()), labels: texts(labels), data, ..Content::default() }
    }

    #[test]
    fn what_is_added_changed_and_removed_is_told_and_what_is_others_is_not() {
        let before = content(&[("a", "1"), ("b", "1"), ("c", "1")], &[("ours", "1"), ("theirs", "1")]);
        let after = content(&[("a", "1"), ("b", "2"), ("d", "1")], &[("ours", "2")]);
        let told: Vec<(Part, &str, bool, bool)> = before
            .differences(&after)
            .iter()
            .map(|found| (found.part, found.key, found.before.is_some(), found.after.is_some()))
            .collect();
        let expected = [
            (Part::Label, "ours", true, true),
            (Part::Data, "b", true, true),
            (Part::Data, "c", true, false),
            (Part::Data, "d", false, true),
        ];
        assert_eq!(told, expected);
        assert!(after.differences(&after).is_empty());
    }

    #[test]
    fn the_type_and_whether_it_is_immutable_count() {
        let one = content(&[], &[]);
        let other = Content { kind: Some("kubernetes.io/tls".to_owned()), immutable: true, ..Content::default() };
        let parts: Vec<Part> = one.differences(&other).iter().map(|found| found.part).collect();
        assert_eq!(parts, [Part::Type, Part::Immutable]);
    }
}
