//! The requests of KV v2, and their replies.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::value::RawValue;
use vaultrs::api::kv2::requests::{
    DeleteSecretMetadataRequest, DeleteSecretVersionsRequest, DestroySecretVersionsRequest, ReadSecretMetadataRequest,
    ReadSecretRequest,
};
use zeroize::Zeroizing;

use super::auth::outgoing;
use super::reply::{self, Data, Metadata, Version, VersionMetadata, VersionState};
use super::transport::{Outgoing, Payload, Reply, largest};
use crate::domain::description::Settings;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState, RemoteData, RemoteValue};
use crate::store::meter::Call;
use crate::store::{self, Head, StoreError, Written};

/// The reply about an entry's data.
pub enum DataReply {
    /// An entry whose requested version has data or had it.
    Entry(Entry),
    /// KV's bare 404: no entry, no version, or no mount.
    Nothing,
}

/// Requests the latest version or an earlier one.
pub fn read(path: &RemotePath, version: Option<u64>) -> Result<Outgoing, StoreError> {
    let endpoint = ReadSecretRequest { mount: path.mount.to_string(), path: path.path.to_string(), version };
    outgoing(Call::ReadSecretData, &endpoint, None, None)
}

/// Requests the metadata.
pub fn read_metadata(path: &RemotePath) -> Result<Outgoing, StoreError> {
    let endpoint = ReadSecretMetadataRequest { mount: path.mount.to_string(), path: path.path.to_string() };
    outgoing(Call::ReadSecretMetadata, &endpoint, None, None)
}

/// Creates an entry without a version. Where the server has check-and-set for metadata (OpenBao),
/// an existing entry keeps all its settings. Vault ignores the option and would reset
/// `max_versions` to the mount's.
pub fn create_entry(path: &RemotePath) -> Outgoing {
    let body = Zeroizing::new(br#"{"max_versions":0,"metadata_cas":0}"#.to_vec());
    ours(Call::WriteSecretMetadata, Method::POST, path.metadata_url(), Payload::json(body))
}

/// Changes single keys of custom metadata.
pub fn patch_metadata(path: &RemotePath, changes: &BTreeMap<String, Option<String>>) -> Outgoing {
    let body = serde_json::json!({ "custom_metadata": changes }).to_string().into_bytes();
    let payload = Payload::merge_patch(Zeroizing::new(body));
    ours(Call::PatchSecretMetadata, Method::PATCH, path.metadata_url(), payload)
}

/// Creates an entry without a version and with this custom metadata, if it does not exist. Only for
/// a server with check-and-set for metadata: another would replace all existing custom metadata.
pub fn create_with_metadata(path: &RemotePath, metadata: &BTreeMap<&str, &str>) -> Outgoing {
    let body = serde_json::json!({ "metadata_cas": 0, "custom_metadata": metadata }).to_string().into_bytes();
    ours(Call::WriteSecretMetadata, Method::POST, path.metadata_url(), Payload::json(Zeroizing::new(body)))
}

/// Changes single keys of custom metadata if the metadata's version is still `count`. Only for a
/// server with check-and-set for metadata.
pub fn exchange_metadata(path: &RemotePath, changes: &BTreeMap<String, Option<String>>, count: u64) -> Outgoing {
    let body = serde_json::json!({ "metadata_cas": count, "custom_metadata": changes }).to_string().into_bytes();
    let payload = Payload::merge_patch(Zeroizing::new(body));
    ours(Call::PatchSecretMetadata, Method::PATCH, path.metadata_url(), payload)
}

/// Writes a version with check-and-set. The body is assembled by hand, so that each value is sent
/// byte for byte.
pub fn write(path: &RemotePath, data: &RemoteData, cas: u64) -> Outgoing {
    let payload = Payload::json(body_of(data, cas));
    ours(Call::WriteSecretData, Method::POST, path.data_url(), payload)
}

/// Soft-deletes versions by number.
pub fn delete_versions(path: &RemotePath, versions: &[u64]) -> Result<Outgoing, StoreError> {
    let (mount, path) = (path.mount.to_string(), path.path.to_string());
    let endpoint = DeleteSecretVersionsRequest { mount, path, versions: versions.to_vec() };
    outgoing(Call::DeleteSecret, &endpoint, None, None)
}

/// Destroys versions by number.
pub fn destroy_versions(path: &RemotePath, versions: &[u64]) -> Result<Outgoing, StoreError> {
    let (mount, path) = (path.mount.to_string(), path.path.to_string());
    let endpoint = DestroySecretVersionsRequest { mount, path, versions: versions.to_vec() };
    outgoing(Call::DeleteSecret, &endpoint, None, None)
}

/// Removes the entry with all versions and its metadata.
pub fn purge(path: &RemotePath) -> Result<Outgoing, StoreError> {
    let endpoint = DeleteSecretMetadataRequest { mount: path.mount.to_string(), path: path.path.to_string() };
    outgoing(Call::DeleteSecret, &endpoint, None, None)
}

/// Parses the reply to [`read`], which is a success or a 404.
pub fn data_reply(reply: &Reply, path: &RemotePath) -> Result<DataReply, StoreError> {
    let parsed: Option<Data<Version>> = reply::parse(&reply.body);
    match parsed {
        Some(Data { data: Version { data, metadata } }) => {
            let version = metadata.version;
            let state = match data {
                Some(data) => EntryState::Live { version, data: values(data) },
                None => EntryState::Deleted { version },
            };
            let created = metadata.created_time.parse().ok();
            Ok(DataReply::Entry(Entry {
                state,
                created,
                custom_metadata: metadata.custom_metadata.unwrap_or_default(),
                settings: None,
            }))
        }
        None if !reply.status.is_success() => Ok(DataReply::Nothing),
        None => Err(StoreError::BadReply {
            operation: "read",
            path: path.data_url(),
            what: "`data.data` or `data.metadata.version` is missing: is the mount KV version 2?",
        }),
    }
}

/// Parses a successful reply to [`read_metadata`].
pub fn head(reply: &Reply, path: &RemotePath) -> Result<Head, StoreError> {
    let metadata = metadata(reply, path)?;
    let live = is_live(metadata.current_version, &metadata.versions);
    let created = created(metadata.current_version, &metadata.versions);
    let (version, digest) = (metadata.current_version, metadata.digest());
    let custom_metadata = Some(metadata.custom_metadata.unwrap_or_default());
    Ok(Head { exists: true, version, live, created, custom_metadata, metadata: Some(digest) })
}

/// Parses a successful reply to [`read_metadata`].
pub fn all_versions(reply: &Reply, path: &RemotePath) -> Result<store::Metadata, StoreError> {
    let Metadata { current_version, custom_metadata, versions, .. } = metadata(reply, path)?;
    let kept = versions.iter().filter(|(_, state)| !state.destroyed);
    let mut kept: Vec<u64> = kept.filter_map(|(number, _)| number.parse().ok()).collect();
    kept.sort_unstable();
    Ok(store::Metadata { latest: current_version, kept, custom_metadata: custom_metadata.unwrap_or_default() })
}

/// What the metadata shows of an entry whose data was not found: it has no versions, or not the
/// requested one. `None` if the metadata lists that very version. It was created between the two
/// requests, and treating it as deleted would overwrite it.
pub fn without_data(reply: &Reply, path: &RemotePath, asked: Option<u64>) -> Result<Option<Entry>, StoreError> {
    let metadata = metadata(reply, path)?;
    let asked = asked.unwrap_or(metadata.current_version);
    let state = match (metadata.current_version, asked) {
        (0, _) => EntryState::Empty,
        (_, version) if is_live(version, &metadata.versions) => return Ok(None),
        (_, version) => EntryState::Deleted { version },
    };
    Ok(Some(Entry {
        state,
        created: created(asked, &metadata.versions),
        custom_metadata: metadata.custom_metadata.unwrap_or_default(),
        settings: None,
    }))
}

/// Parses a successful reply to [`read_metadata`] into an entry with settings and without properties.
pub fn described(reply: &Reply, path: &RemotePath) -> Result<Entry, StoreError> {
    let Metadata { current_version: version, custom_metadata, versions, created_time, delete_version_after, .. } =
        metadata(reply, path)?;
    let state = match version {
        0 => EntryState::Empty,
        version if is_live(version, &versions) => EntryState::Live { version, data: RemoteData::new() },
        version => EntryState::Deleted { version },
    };
    Ok(Entry {
        state,
        created: created(version, &versions),
        custom_metadata: custom_metadata.unwrap_or_default(),
        settings: Some(Box::new(Settings { created_time, delete_version_after })),
    })
}

/// Parses a successful reply to [`write`].
pub fn written(reply: &Reply, path: &RemotePath) -> Result<Written, StoreError> {
    let Data { data } = reply::parse::<Data<VersionMetadata>>(&reply.body).ok_or_else(|| StoreError::BadReply {
        operation: "write",
        path: path.data_url(),
        what: "`data.version` is missing: is the mount KV version 2?",
    })?;
    let created = data.created_time.parse().ok();
    Ok(Written { version: data.version, created, custom_metadata: data.custom_metadata.unwrap_or_default() })
}

/// When a version was created, as far as its metadata is kept.
pub fn created(version: u64, versions: &BTreeMap<String, VersionState>) -> Option<Timestamp> {
    versions.get(&version.to_string())?.created_time.parse().ok()
}

/// Parses a successful reply to [`read_metadata`].
pub fn metadata(reply: &Reply, path: &RemotePath) -> Result<Metadata, StoreError> {
    let Data { data } = reply::parse::<Data<Metadata>>(&reply.body).ok_or_else(|| StoreError::BadReply {
        operation: "read the metadata of",
        path: path.metadata_url(),
        what: "`data.current_version` is missing: is the mount KV version 2?",
    })?;
    Ok(data)
}

fn values(data: BTreeMap<String, Box<RawValue>>) -> RemoteData {
    data.into_iter().map(|(property, json)| (property, RemoteValue::raw(json))).collect()
}

fn body_of(data: &RemoteData, cas: u64) -> Zeroizing<Vec<u8>> {
    let keys: Vec<String> =
        data.keys().map(|key| serde_json::to_string(key).expect("a str always serialises")).collect();
    let head = format!(r#"{{"options":{{"cas":{cas}}},"data":{{"#);
    let size =
        keys.iter().zip(data.values()).map(|(key, value)| key.len() + value.expose_json().len() + 2).sum::<usize>();
    // Reserved at once, because a growing buffer leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(head.len() + size + 2 - usize::from(!data.is_empty())));
    body.extend_from_slice(head.as_bytes());
    for (at, (key, value)) in keys.iter().zip(data.values()).enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(key.as_bytes());
        body.push(b':');
        body.extend_from_slice(value.expose_json().as_bytes());
    }
    body.extend_from_slice(b"}}");
    body
}

/// Whether a version has data.
pub fn is_live(version: u64, versions: &BTreeMap<String, VersionState>) -> bool {
    let state = versions.get(&version.to_string());
    state.is_some_and(|state| !state.destroyed && !is_past(&state.deletion_time))
}

/// Whether a deletion time is past; an empty one never is.
fn is_past(deletion_time: &str) -> bool {
    !deletion_time.is_empty()
        && deletion_time.parse::<Timestamp>().map_or(true, |deletion_time| deletion_time <= Timestamp::now())
}

fn ours(call: Call, method: Method, path: String, payload: Payload) -> Outgoing {
    let largest = largest(call);
    Outgoing { call, method, path, query: None, body: Some(payload), token: None, namespace: None, largest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> RemoteValue {
        RemoteValue::raw(RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn a_body_carries_each_value_byte_for_byte() {
        let data = RemoteData::from([
            ("a\"b".to_owned(), RemoteValue::text("ü\n")),
            ("n".to_owned(), raw("9007199254740993")),
            ("o".to_owned(), raw(r#"{"x": [1, null]}"#)),
        ]);
        let body = body_of(&data, 7);
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"options":{"cas":7},"data":{"a\"b":"ü\n","n":9007199254740993,"o":{"x": [1, null]}}}"#
        );
        assert_eq!(body.capacity(), body.len(), "reserved exactly");
        assert_eq!(std::str::from_utf8(&body_of(&RemoteData::new(), 1)).unwrap(), r#"{"options":{"cas":1},"data":{}}"#);
    }

    #[test]
    fn a_version_expires_when_its_time_has_come() {
        assert!(!is_past(""));
        assert!(is_past("2020-01-01T00:00:00.123456789Z"));
        assert!(!is_past("2999-01-01T00:00:00Z"));
    }
}
