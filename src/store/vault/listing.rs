//! One request for the versions of all entries below a folder. OpenBao has it, Vault does not.

use std::collections::HashMap;

use reqwest::{Method, StatusCode};

use super::reply::{self, Data, Listing, Metadata};
use super::transport::{Outgoing, Reply};
use super::{VaultClient, kv};
use crate::domain::claim::CustomMetadata;
use crate::domain::consent;
use crate::domain::path::{Mount, RemotePath};
use crate::store::meter::Call;
use crate::store::{Latest, StoreError};

/// The answer to the request.
pub enum Scanned {
    Found(Reply),
    /// Nothing is below the folder.
    Nothing,
    /// The reply would exceed the limit.
    TooLarge,
    /// This server does not have the listing, or this login may not use it.
    Unavailable,
}

/// Requests everything below the folder with this address, at any depth. GET is equivalent to
/// OpenBao's own method SCAN, which a proxy may not know.
pub fn request(url: String, limit: usize) -> Outgoing {
    Outgoing {
        call: Call::ListSecrets,
        method: Method::GET,
        path: url,
        query: Some("scan=true".to_owned()),
        body: None,
        token: None,
        namespace: None,
        largest: limit,
    }
}

/// Whether the reply means that policy, the server or a proxy does not allow listing. A proxy
/// answers 501 to a request that it does not know; so does a server that is not initialised, but it
/// does so to every other request too.
fn is_unavailable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    )
}

impl VaultClient {
    /// Sends the request.
    pub(super) async fn scan(&self, request: Outgoing, mount: &Mount) -> Result<Scanned, StoreError> {
        let url = request.path.clone();
        let reply = match self.authed(request).await {
            Err(StoreError::ReplyTooLarge { .. }) => return Ok(Scanned::TooLarge),
            other => other?,
        };
        match reply.status {
            status if status.is_success() => Ok(Scanned::Found(reply)),
            status if is_unavailable(status) => Ok(Scanned::Unavailable),
            _ => match self.judge(&reply, "list", &url, mount, 0) {
                // Vault answers an unknown request like this. If the mount is really gone, the next
                // read shows it.
                StoreError::MountMissing { .. } => Ok(Scanned::Unavailable),
                StoreError::Rejected { status: 404, .. } => Ok(Scanned::Nothing),
                error => Err(error),
            },
        }
    }
}

/// Parses a successful reply.
pub fn parsed(reply: &Reply, url: String) -> Result<Data<Listing>, StoreError> {
    let bad = || StoreError::BadReply {
        operation: "list",
        path: url,
        what: "`data.key_info` has an entry without `current_version`",
    };
    reply::parse(&reply.body).ok_or_else(bad)
}

/// Parses a successful reply, into entries by path below the mount.
pub fn listed(reply: &Reply, folder: &RemotePath) -> Result<HashMap<String, Latest>, StoreError> {
    let Data { data: Listing { key_info } } = parsed(reply, folder.listing_url())?;
    Ok(key_info.into_iter().map(|(name, entry)| (format!("{}/{name}", folder.path), latest(&entry))).collect())
}

fn latest(entry: &Metadata) -> Latest {
    let none = CustomMetadata::new();
    let custom_metadata = entry.custom_metadata.as_ref().unwrap_or(&none);
    Latest {
        version: entry.current_version,
        live: kv::is_live(entry.current_version, &entry.versions),
        created: kv::created(entry.current_version, &entry.versions),
        consents: consent::digest(custom_metadata),
        metadata: entry.digest(),
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::domain::description;

    fn folder() -> RemotePath {
        RemotePath::parse(Some("secret"), "platform-data/postgres").unwrap()
    }

    fn parsed(body: &str) -> Result<HashMap<String, Latest>, StoreError> {
        let body = Zeroizing::new(body.as_bytes().to_vec());
        listed(&Reply { status: StatusCode::OK, body, retry_after: None }, &folder())
    }

    #[test]
    fn entries_are_told_by_path_version_and_life() {
        let entries = parsed(
            r#"{"data": {"keys": ["a", "b", "c/d", "e"], "key_info": {
                "a": {"current_version": 2, "versions": {"1": {"deletion_time": "2020-01-01T00:00:00Z"}, "2": {"created_time": "2020-01-02T00:00:00.5Z"}}},
                "b": {"current_version": 1, "versions": {"1": {"deletion_time": "2020-01-01T00:00:00Z"}}},
                "c/d": {"current_version": 7, "versions": {"7": {"destroyed": true}}},
                "e": {"current_version": 0, "versions": {}}
            }}}"#,
        )
        .unwrap();
        let none = CustomMetadata::new();
        let (consents, metadata) = (consent::digest(&none), description::digest(&none, "", ""));
        let latest = |version, live| Some(Latest { version, live, created: None, consents, metadata });
        let found = |path: &str| entries.get(&format!("platform-data/postgres/{path}")).copied();
        assert_eq!(entries.len(), 4);
        let created = "2020-01-02T00:00:00.5Z".parse().ok();
        assert_eq!(found("a"), latest(2, true).map(|latest| Latest { created, ..latest }));
        assert_eq!(found("b"), latest(1, false));
        assert_eq!(found("c/d"), latest(7, false));
        assert_eq!(found("e"), latest(0, false));
    }

    #[test]
    fn an_empty_folder_has_no_entries_and_another_reply_is_an_error() {
        assert_eq!(parsed(r#"{"data": {}}"#), Ok(HashMap::new()));
        for odd in ["", "[]", r#"{"data": {"key_info": {"a": {"version": 1}}}}"#] {
            assert!(matches!(parsed(odd), Err(StoreError::BadReply { .. })), "{odd}");
        }
    }
}
