//! An entry of a KV v2 store, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::claim;
use super::description::Settings;
use super::json;
use super::secret::SecretBytes;

/// A property's value as in the store: JSON text, kept byte for byte, so that another writer's
/// number beyond 2^53 or nested object is written back unchanged.
pub struct RemoteValue(SecretBytes);

/// All properties of one version of an entry.
pub type RemoteData = BTreeMap<String, RemoteValue>;

impl RemoteValue {
    /// The JSON string with this text.
    pub fn text(text: &str) -> Self {
        let json = serde_json::to_vec(text).expect("a str always serialises");
        RemoteValue(SecretBytes::new(json))
    }

    /// Any JSON value, as parsed from a reply.
    pub fn raw(json: Box<RawValue>) -> Self {
        RemoteValue(SecretBytes::new(String::from(Box::<str>::from(json)).into_bytes()))
    }

    /// A JSON value of a source, so that consumers get exactly its text: unchanged if a server
    /// returns it unchanged, else as a string with that text.
    pub fn exact(json: &RawValue) -> Self {
        match json::comes_back(json.get()) {
            true => RemoteValue::raw(json.to_owned()),
            false => RemoteValue::text(json.get()),
        }
    }

    /// The JSON text in the clear.
    pub fn expose_json(&self) -> &str {
        self.0.expose_utf8().expect("made from JSON text only")
    }

    /// What a consumer gets: a string's own text, nothing for null, the JSON text of anything else.
    pub fn rendered(&self) -> SecretBytes {
        let json = self.expose_json();
        match json.as_bytes().first() {
            // A text with half of a surrogate pair is valid JSON but not a string: it keeps its
            // spelling.
            Some(b'"') => serde_json::from_str::<String>(json)
                .map_or_else(|_no_string| self.0.duplicate(), |text| SecretBytes::new(text.into_bytes())),
            Some(b'n') => SecretBytes::new(Vec::new()),
            Some(_) | None => self.0.duplicate(),
        }
    }

    /// A second copy of the value.
    pub fn duplicate(&self) -> Self {
        RemoteValue(self.0.duplicate())
    }
}

/// Compares the meaning, not the spelling: `"\u0061"` equals `"a"`, and an object equals another
/// with its fields in another order.
impl PartialEq for RemoteValue {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || {
            let canonical =
                |value: &Self| json::canonical(value.expose_json()).map(|text| SecretBytes::from(text.as_str()));
            match (canonical(self), canonical(other)) {
                (Some(one), Some(other)) => one == other,
                (Some(_) | None, Some(_) | None) => false,
            }
        }
    }
}

/// One entry of the store, from one read.
pub struct Entry {
    /// Whether there is data, and at which version.
    pub state: EntryState,
    /// When that version was created, by the server's clock, as far as the server says so.
    pub created: Option<Timestamp>,
    /// The entry's custom metadata, with the claims. Empty if the entry does not exist, or is
    /// unseen.
    pub custom_metadata: BTreeMap<String, String>,
    /// What the metadata says of the entry as a whole. Only a read of the metadata shows it, and that
    /// shows no properties.
    pub settings: Option<Box<Settings>>,
}

/// An entry without its values. It can be kept and compared, and shows who may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The latest version's number.
    pub version: u64,
    /// The names of its properties.
    pub properties: BTreeSet<String>,
    /// The entry's custom metadata.
    pub custom_metadata: BTreeMap<String, String>,
}

/// The latest version of an entry.
pub enum EntryState {
    /// The path does not exist.
    Absent,
    /// There is no data, and this login may not see metadata: nobody knows whether the path exists,
    /// or who may read it.
    Unseen,
    /// Metadata without any version.
    Empty,
    /// The latest version was deleted or destroyed.
    Deleted {
        /// Its number, which a check-and-set write must name.
        version: u64,
    },
    /// The latest version has data.
    Live {
        /// Its number, from 1.
        version: u64,
        /// Its properties.
        data: RemoteData,
    },
}

impl Entry {
    /// An entry that does not exist.
    pub fn absent() -> Self {
        Entry { state: EntryState::Absent, created: None, custom_metadata: BTreeMap::new(), settings: None }
    }

    /// An entry of which this login sees nothing.
    pub fn unseen() -> Self {
        Entry { state: EntryState::Unseen, ..Entry::absent() }
    }

    /// The version number that a check-and-set write must name to replace exactly this state.
    pub fn cas(&self) -> u64 {
        match self.state {
            EntryState::Absent | EntryState::Unseen | EntryState::Empty => 0,
            EntryState::Deleted { version } | EntryState::Live { version, .. } => version,
        }
    }

    /// The properties of a live entry.
    pub fn data(&self) -> Option<&RemoteData> {
        match &self.state {
            EntryState::Live { data, .. } => Some(data),
            EntryState::Absent | EntryState::Unseen | EntryState::Empty | EntryState::Deleted { .. } => None,
        }
    }

    /// The same, if the whole of them is a value. A push that removes the last property writes a
    /// version without any, and then deletes that: nobody is to have it meanwhile.
    pub fn whole(&self) -> Option<&RemoteData> {
        self.data().filter(|data| !data.is_empty() || !claim::is_marked(&self.custom_metadata))
    }

    /// The size of its properties, in bytes.
    pub fn bytes(&self) -> usize {
        let all = self.data().into_iter().flatten();
        all.map(|(property, value)| property.len() + value.expose_json().len()).sum()
    }

    /// The entry without its values.
    pub fn outline(&self) -> Outline {
        let properties = self.data().into_iter().flat_map(BTreeMap::keys).cloned().collect();
        Outline { version: self.cas(), properties, custom_metadata: self.custom_metadata.clone() }
    }
}

impl Outline {
    /// An entry with these properties, all empty.
    pub fn entry(&self) -> Entry {
        let data = self.properties.iter().map(|property| (property.clone(), RemoteValue::text(""))).collect();
        let state = EntryState::Live { version: self.version, data };
        Entry { state, custom_metadata: self.custom_metadata.clone(), ..Entry::absent() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> RemoteValue {
        RemoteValue::raw(RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn values_render_as_consumers_expect() {
        for (json, rendered) in [
            (r#""p\"w\u00fc""#, "p\"wü"),
            ("9007199254740993", "9007199254740993"),
            ("true", "true"),
            ("null", ""),
            (r#"{"a": [1]}"#, r#"{"a": [1]}"#),
            (r#""\ud800""#, r#""\ud800""#),
        ] {
            assert_eq!(raw(json).rendered().expose_utf8(), Some(rendered), "{json}");
        }
    }

    proptest::proptest! {
        /// A source's value as a server gives it back equals what was written: so it makes one
        /// version, not one a refresh.
        #[test]
        fn what_a_source_holds_is_written_so_that_it_comes_back(json in super::json::tests::json()) {
            if let Ok(value) = RawValue::from_string(json) {
                let written = RemoteValue::exact(&value);
                let text = written.rendered();
                let again: serde_json::Value = serde_json::from_str(written.expose_json()).unwrap();
                let back = RemoteValue::raw(RawValue::from_string(again.to_string()).unwrap());
                proptest::prop_assert!(back == written);
                proptest::prop_assert!(text.expose_utf8().is_some());
            }
        }
    }

    #[test]
    fn another_spelling_of_one_text_is_equal() {
        assert!(raw(r#""\u0061""#) == RemoteValue::text("a"));
        assert!(raw("1") != RemoteValue::text("1"));
    }

    #[test]
    fn deep_values_are_equal_byte_for_byte() {
        let deep = |spelling: &str| raw(&format!("{}{spelling}{}", "[".repeat(100), "]".repeat(100)));
        assert!(deep("1") == deep("1") && deep("1") != deep(" 1"));
        assert!(raw(r#"{"a":1,"b":2.0}"#) == raw(r#"{"b":2,"a":1}"#));
    }

    #[test]
    fn what_would_not_come_back_is_written_as_text() {
        let exact = |json: &str| RemoteValue::exact(&RawValue::from_string(json.to_owned()).unwrap());
        assert_eq!(exact("9007199254740993").expose_json(), r#""9007199254740993""#);
        assert_eq!(exact(r#"{"a":1.50}"#).expose_json(), r#"{"a":1.50}"#);
        assert_eq!(exact(r#"{"id": 9007199254740993}"#).rendered().expose_utf8(), Some(r#"{"id": 9007199254740993}"#));
    }
}
