//! The parts of the server's replies that we use, parsed without copies of values and without
//! parser errors, which would quote them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::domain::claim::CustomMetadata;
use crate::domain::description;

/// A longer lease counts as this long. A server may name any number, and a moment that far ahead
/// cannot be computed.
const LONGEST_LEASE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The longest name that a server draws for itself, for a mount or for a version, in bytes. Such
/// names are kept for each client and path, and a server of a tenant may answer any.
const LONGEST_NAME: usize = 256;

/// `{"data": …}`.
#[derive(Deserialize)]
pub struct Data<T> {
    pub data: T,
}

/// `GET <mount>/data/<path>`, also for a deleted version.
#[derive(Deserialize)]
pub struct Version {
    pub data: Option<BTreeMap<String, Box<RawValue>>>,
    pub metadata: VersionMetadata,
}

/// The metadata of one version; the reply to a write is this alone.
#[derive(Deserialize)]
pub struct VersionMetadata {
    pub version: u64,
    /// RFC 3339.
    #[serde(default)]
    pub created_time: String,
    #[serde(default)]
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// `GET <mount>/metadata/<path>`, and an entry of a listing.
#[derive(Deserialize)]
pub struct Metadata {
    pub current_version: u64,
    /// The version of the metadata; only OpenBao has it.
    #[serde(default)]
    pub current_metadata_version: Option<u64>,
    /// When the entry was created, in RFC 3339.
    #[serde(default)]
    pub created_time: String,
    /// A duration as Go spells it; `0s` is never.
    #[serde(default)]
    pub delete_version_after: String,
    #[serde(default)]
    pub custom_metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub versions: BTreeMap<String, VersionState>,
}

impl Metadata {
    /// A digest of what consumers may read of it beside the version.
    pub fn digest(&self) -> u64 {
        let none = CustomMetadata::new();
        let custom_metadata = self.custom_metadata.as_ref().unwrap_or(&none);
        description::digest(custom_metadata, &self.created_time, &self.delete_version_after)
    }
}

/// `SCAN <mount>/detailed-metadata/<folder>/`: entries by path below the folder. An empty folder
/// has no list.
#[derive(Deserialize)]
pub struct Listing {
    #[serde(default)]
    pub key_info: HashMap<String, Metadata>,
}

/// `LIST <mount>/metadata/<folder>/`: what is directly in the folder; names of folders end with a
/// slash.
#[derive(Deserialize)]
pub struct Names {
    pub keys: Vec<String>,
}

/// One version in the metadata.
#[derive(Deserialize)]
pub struct VersionState {
    /// RFC 3339, empty for none. It is in the future if the version expires by itself.
    #[serde(default)]
    pub deletion_time: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_time: String,
    #[serde(default)]
    pub destroyed: bool,
}

/// `GET sys/internal/ui/mounts/<mount>`.
#[derive(Deserialize)]
pub struct MountInfo {
    pub accessor: String,
    pub path: String,
    #[serde(rename = "type")]
    pub engine: String,
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
}

impl MountInfo {
    /// Whether no name in it is longer than any that a server draws. Its path is compared only.
    pub fn is_short(&self) -> bool {
        let options = self.options.iter().flat_map(BTreeMap::values);
        [&self.accessor, &self.engine].into_iter().chain(options).all(|name| name.len() <= LONGEST_NAME)
    }
}

/// `GET sys/health`.
#[derive(Default, Deserialize)]
pub struct Health {
    /// A server itself always sends it; a proxy's reply lacks it.
    #[serde(default)]
    pub initialized: Option<bool>,
    #[serde(default)]
    pub cluster_id: Option<String>,
    #[serde(default)]
    pub version: Option<String>,
}

impl Health {
    /// Whether no name in it is longer than any that a server draws.
    pub fn is_short(&self) -> bool {
        self.cluster_id.iter().chain(&self.version).all(|name| name.len() <= LONGEST_NAME)
    }
}

/// The reply to a login or a renewal.
#[derive(Deserialize)]
pub struct Authenticated {
    pub auth: Auth,
}

/// A token and its lease.
#[derive(Deserialize)]
pub struct Auth {
    pub client_token: String,
    /// Seconds; 0 for a token that does not expire.
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    pub renewable: bool,
}

impl Auth {
    /// How long the token is valid; `None` for one that does not expire.
    pub fn ttl(&self) -> Option<Duration> {
        (self.lease_duration > 0).then(|| Duration::from_secs(self.lease_duration).min(LONGEST_LEASE))
    }
}

/// Fields of which every reply of this API has some.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    errors: Option<Vec<Cow<'a, str>>>,
    #[serde(default)]
    data: Option<IgnoredAny>,
    #[serde(default)]
    request_id: Option<IgnoredAny>,
}

/// The errors of a reply.
pub struct Errors<'a>(Vec<Cow<'a, str>>);

impl Errors<'_> {
    /// Whether one of them contains these words, ignoring case. Values and custom metadata are
    /// never searched.
    pub fn say(&self, words: &str) -> bool {
        let has =
            |text: &str| text.as_bytes().windows(words.len()).any(|part| part.eq_ignore_ascii_case(words.as_bytes()));
        self.0.iter().any(|error| has(error))
    }
}

/// The errors of a reply, possibly none; `None` if the body is not from this API, such as a proxy's
/// page.
pub fn errors(body: &[u8]) -> Option<Errors<'_>> {
    let Envelope { errors, data, request_id } = serde_json::from_slice(body).ok()?;
    (errors.is_some() || data.is_some() || request_id.is_some()).then(|| Errors(errors.unwrap_or_default()))
}

/// Parses a body; `None` if it has another form.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}
