//! An entry's metadata as values: what `metadataPolicy: Fetch` asks for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::claim::{self, CustomMetadata};
use super::remote::{Entry, EntryState, RemoteData, RemoteValue};

/// The digest of an entry that does not exist.
const ABSENT: u64 = 0;
/// When the entry was created.
const CREATED_TIME: &str = "created_time";
/// The number of its latest version.
const CURRENT_VERSION: &str = "current_version";
/// After how long its versions are deleted.
const DELETE_VERSION_AFTER: &str = "delete_version_after";

/// What of an entry is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Its properties.
    #[default]
    Data,
    /// Its metadata.
    Metadata,
}

/// What the metadata says of an entry as a whole, beside its custom metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// When the entry was created, as the server spells it; empty if it does not say so.
    pub created_time: String,
    /// After how long versions are deleted, as the server spells it; empty if it does not say so.
    pub delete_version_after: String,
}

/// The entry with its metadata as its properties, each a text. It exists as long as the metadata does,
/// whatever becomes of its versions. A key of custom metadata hides a setting of that name, as ESO has
/// it. Claims and consents are not shown: they are Waypost's own, and change when nothing else does.
pub fn of(entry: &Entry) -> Entry {
    let version = match entry.state {
        EntryState::Absent => return Entry::absent(),
        EntryState::Unseen => return Entry::unseen(),
        EntryState::Empty => 0,
        EntryState::Deleted { version } | EntryState::Live { version, .. } => version,
    };
    let settings = entry.settings.as_deref().cloned().unwrap_or_default();
    let told = [
        (CREATED_TIME, settings.created_time),
        (CURRENT_VERSION, version.to_string()),
        (DELETE_VERSION_AFTER, settings.delete_version_after),
    ];
    let mut data: RemoteData = BTreeMap::new();
    for (name, text) in told.into_iter().filter(|(_, text)| !text.is_empty()) {
        data.insert(name.to_owned(), RemoteValue::text(&text));
    }
    data.extend(shown(&entry.custom_metadata).map(|(key, value)| (key.clone(), RemoteValue::text(value))));
    let state = EntryState::Live { version, data };
    Entry { state, created: entry.created, custom_metadata: entry.custom_metadata.clone(), settings: None }
}

/// A digest of what is shown beside the version, which tells one state of it from another.
pub fn digest(custom_metadata: &CustomMetadata, created_time: &str, delete_version_after: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (created_time, delete_version_after).hash(&mut hasher);
    shown(custom_metadata).for_each(|pair| pair.hash(&mut hasher));
    hasher.finish()
}

/// The digest of an entry whose metadata was read; of one that does not exist too.
pub fn digest_of(entry: &Entry) -> Option<u64> {
    match (&entry.state, &entry.settings) {
        (EntryState::Absent, _) => Some(ABSENT),
        (_, settings) => settings
            .as_ref()
            .map(|settings| digest(&entry.custom_metadata, &settings.created_time, &settings.delete_version_after)),
    }
}

/// Custom metadata without claims and consents. The mark of managed entries stays, because ESO's users
/// may look at it.
fn shown(custom_metadata: &CustomMetadata) -> impl Iterator<Item = (&String, &String)> {
    custom_metadata.iter().filter(|(key, _)| *key == claim::MARKER || !claim::is_ours(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::consent;
    use crate::domain::property;

    fn entry(state: EntryState, custom: &[(&str, &str)]) -> Entry {
        let settings = Settings { created_time: "2026-01-02T03:04:05.6Z".into(), delete_version_after: "0s".into() };
        let custom_metadata = custom.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Entry { state, created: None, custom_metadata, settings: Some(Box::new(settings)) }
    }

    fn json(entry: &Entry) -> Option<String> {
        property::whole(of(entry).data()?).map(|json| json.expose_utf8().unwrap().to_owned())
    }

    #[test]
    fn settings_and_custom_metadata_are_texts_beside_each_other() {
        let live = || EntryState::Live { version: 3, data: RemoteData::new() };
        assert_eq!(
            json(&entry(live(), &[("team", "billing"), (claim::MARKER, claim::MARKER_VALUE)])).unwrap(),
            r#"{"created_time":"2026-01-02T03:04:05.6Z","current_version":"3","delete_version_after":"0s","managed-by":"external-secrets","team":"billing"}"#
        );
        let hidden = json(&entry(live(), &[("current_version", "mine")])).unwrap();
        assert!(hidden.contains(r#""current_version":"mine""#), "{hidden}");
    }

    #[test]
    fn it_is_there_as_long_as_the_metadata_is() {
        for (state, version) in [
            (EntryState::Empty, Some("0")),
            (EntryState::Deleted { version: 4 }, Some("4")),
            (EntryState::Absent, None),
        ] {
            let described = of(&entry(state, &[]));
            let found = described.data().map(|data| data[CURRENT_VERSION].rendered().expose_utf8().unwrap().to_owned());
            assert_eq!(found.as_deref(), version);
        }
    }

    #[test]
    fn what_is_waypost_s_own_is_neither_shown_nor_a_change() {
        let ours = [(claim::claim_key("password"), "x".to_owned()), (consent::key("password"), "{}".to_owned())];
        let mut custom = CustomMetadata::from([("team".to_owned(), "billing".to_owned())]);
        let before = digest(&custom, "then", "0s");
        custom.extend(ours);
        assert_eq!(digest(&custom, "then", "0s"), before);
        assert_ne!(digest(&custom, "then", "1h0m0s"), before);
        assert_ne!(digest(&custom, "now", "0s"), before);
        let described =
            of(&Entry { custom_metadata: custom.clone(), ..entry(EntryState::Deleted { version: 1 }, &[]) });
        let names: Vec<&str> = described.data().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, [CREATED_TIME, CURRENT_VERSION, DELETE_VERSION_AFTER, "team"]);
        assert_eq!(described.custom_metadata, custom, "consents still count");
        custom.insert("team".to_owned(), "payments".to_owned());
        assert_ne!(digest(&custom, "then", "0s"), before);
    }
}
