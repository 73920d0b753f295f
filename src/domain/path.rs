//! The path of an entry: every spelling of a remote key, parsed once into `(mount, path)`.
//!
//! External Secrets manifests spell one entry in several ways. With `P` the store's `path` and `K`
//! the key:
//!
//! | store `path` | key | entry |
//! |---|---|---|
//! | `P` | `K`, `P/K`, `P/data/K` | `K` in mount `P` |
//! | unset | `M/data/K` | `K` in mount `M` |
//! | unset | `M/K` | `K` in mount `M`, the first segment |
//!
//! So a store without a `path` reads `platform-data/postgres/temporal` as `postgres/temporal` in a
//! mount called `platform-data`. External Secrets Operator does the same. If `secret` is meant, the
//! store must say `path: secret`.
//!
//! A slash before a store's `path` is ignored, and so is one before a key that is read. A key that is
//! written may not have one (P3).
//!
//! Nothing parsed here can leave its mount: a request for it stays under
//! `/v1/<mount>/(data|metadata|detailed-metadata)/`.

use std::fmt;

#[cfg(test)]
mod tests;

/// The maximum length of a key, and of a mount with its path, in bytes.
pub const MAX_BYTES: usize = 512;

/// A KV mount, e.g. `secret` or `team-a/kv`; no leading or trailing slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mount(String);

/// The path of an entry below its mount, e.g. `platform-data/postgres/temporal`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalPath(String);

/// One entry, canonical: every spelling of a remote key that means the same entry parses to the
/// same value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath {
    /// The KV mount the entry is in.
    pub mount: Mount,
    /// The path of the entry below the mount.
    pub path: LogicalPath,
}

/// Why a key or a mount does not name an entry. Keys are not secret: each variant has the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the key is empty: name an entry, such as `platform-data/postgres/temporal`")]
    Empty,
    #[error("key {key:?}… has {length} bytes with its mount, and {MAX_BYTES} is the limit: shorten it")]
    TooLong { key: String, length: usize },
    #[error("key {key:?} begins with a slash: remove it, keys are relative to the mount")]
    LeadingSlash { key: String },
    #[error("key {key:?} ends with a slash, which names a folder: name an entry in it")]
    TrailingSlash { key: String },
    #[error("key {key:?} has an empty segment: remove the doubled slash")]
    EmptySegment { key: String },
    #[error("key {key:?} has the segment {segment:?}, which could leave the mount: write the path out")]
    DotSegment { key: String, segment: String },
    #[error("key {key:?} contains {character:?}, {why}")]
    Forbidden { key: String, character: char, why: &'static str },
    #[error(
        "key {key:?} names no mount, and neither does the store: set `spec.provider.vault.path` of the store (such as `secret`), or write `<mount>/{key}`"
    )]
    NoMount { key: String },
}

impl PathError {
    /// What is wrong with the text of a mount, which is no key.
    pub fn of_mount(&self) -> String {
        match self {
            PathError::Empty => "it is empty: name a mount, such as `secret`".to_owned(),
            PathError::LeadingSlash { key } | PathError::TrailingSlash { key } => {
                format!("mount {key:?} has a slash too many: remove it")
            }
            PathError::TooLong { .. }
            | PathError::EmptySegment { .. }
            | PathError::DotSegment { .. }
            | PathError::Forbidden { .. }
            | PathError::NoMount { .. } => self.to_string().replacen("key ", "mount ", 1),
        }
    }
}

impl Mount {
    /// Parses a store's `path`. One trailing slash is allowed, since Vault prints its mounts with
    /// one; and one before it, since External Secrets Operator takes that.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The mount as in a URL, e.g. `team-a/kv`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LogicalPath {
    /// Parses a path below a mount. It does not remove a spelling of the mount.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The whole path, e.g. `platform-data/postgres/temporal`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments between slashes; none is empty, `.` or `..`.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl RemotePath {
    /// Parses a `remoteKey` (or `remoteRef.key`) of a store whose `path` is `store_mount`.
    pub fn parse(store_mount: Option<&str>, remote_key: &str) -> Result<Self, PathError> {
        check(remote_key)?;
        let (mount, path) = match store_mount {
            Some(mount) => {
                let mount = Mount::parse(mount)?;
                let path = below(&mount, remote_key);
                (mount, path)
            }
            None => split_mount(remote_key)?,
        };
        let parsed = Self { path: LogicalPath::parse(path)?, mount };
        let length = parsed.mount.0.len() + 1 + parsed.path.0.len();
        if length > MAX_BYTES {
            return Err(too_long(remote_key, length));
        }
        Ok(parsed)
    }

    /// Parses a `remoteRef.key` that is read from a store whose `path` is `store_mount`. A slash
    /// before it counts for nothing, as for External Secrets Operator; but where the mount's name
    /// follows, that one reads a folder of this name in the mount, and we refuse.
    pub fn parse_read(store_mount: Option<&str>, key: &str) -> Result<Self, PathError> {
        let Some(rest) = key.strip_prefix('/') else { return Self::parse(store_mount, key) };
        let parsed = Self::parse(store_mount, rest)?;
        let is_doubtful = store_mount.is_some_and(|mount| !mount.starts_with('/')) && parsed.path.as_str() != rest;
        if is_doubtful { Err(PathError::LeadingSlash { key: key.to_owned() }) } else { Ok(parsed) }
    }

    /// The entry that a status shows as `text`, mount and path, if a store with this `path` leads
    /// there. Of a store without one, the mount is the first segment.
    pub fn shown(store_mount: Option<&str>, text: &str) -> Option<Self> {
        let (mount, path) = match store_mount {
            Some(mount) => {
                let mount = Mount::parse(mount).ok()?;
                let path = text.strip_prefix(mount.as_str())?.strip_prefix('/')?;
                (mount, path)
            }
            None => {
                let (mount, path) = text.split_once('/')?;
                (Mount::parse(mount).ok()?, path)
            }
        };
        Some(Self { mount, path: LogicalPath::parse(path).ok()? })
    }

    /// The path on which External Secrets Operator sets the custom metadata of an entry whose key
    /// repeats the store's mount: it removes the mount only for the data. `None` for every key
    /// whose custom metadata it sets on the entry with the data.
    pub fn with_misplaced_metadata(store_mount: &str, remote_key: &str) -> Option<Self> {
        let mount = Mount::parse(store_mount).ok()?;
        let path = LogicalPath::parse(remote_key).ok()?;
        (below(&mount, remote_key) != remote_key).then_some(Self { mount, path })
    }

    /// The data endpoint below `/v1/`, e.g. `secret/data/platform-data/postgres/temporal`. It is
    /// itself a spelling of this entry, and the only one that is valid for every entry.
    pub fn data_url(&self) -> String {
        format!("{}/data/{}", self.mount, self.path)
    }

    /// The metadata endpoint below `/v1/`, e.g. `secret/metadata/platform-data/postgres/temporal`.
    pub fn metadata_url(&self) -> String {
        format!("{}/metadata/{}", self.mount, self.path)
    }

    /// The listing of the folder of this name below `/v1/`, e.g.
    /// `secret/detailed-metadata/platform-data/postgres/`.
    pub fn listing_url(&self) -> String {
        format!("{}/detailed-metadata/{}/", self.mount, self.path)
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LogicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.path)
    }
}

/// Removes a spelled-out mount from a key, and then a `data/`. A `data/` alone is a folder of that
/// name.
fn below<'k>(mount: &Mount, key: &'k str) -> &'k str {
    match key.strip_prefix(mount.as_str()).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) => rest.strip_prefix("data/").unwrap_or(rest),
        None => key,
    }
}

fn split_mount(key: &str) -> Result<(Mount, &str), PathError> {
    let (mount, path) = key
        .split_once("/data/")
        .or_else(|| key.split_once('/'))
        .ok_or_else(|| PathError::NoMount { key: key.to_owned() })?;
    Ok((Mount::parse(mount)?, path))
}

fn check(text: &str) -> Result<(), PathError> {
    let key = || text.to_owned();
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(too_long(text, text.len()));
    }
    for character in text.chars() {
        if let Some(why) = forbidden(character) {
            return Err(PathError::Forbidden { key: key(), character, why });
        }
    }
    if text.starts_with('/') {
        return Err(PathError::LeadingSlash { key: key() });
    }
    if text.ends_with('/') {
        return Err(PathError::TrailingSlash { key: key() });
    }
    for segment in text.split('/') {
        match segment {
            "" => return Err(PathError::EmptySegment { key: key() }),
            "." | ".." => {
                return Err(PathError::DotSegment { key: key(), segment: segment.to_owned() });
            }
            _named => {}
        }
    }
    Ok(())
}

/// Characters that a URL parser, a proxy or Vault may interpret.
fn forbidden(character: char) -> Option<&'static str> {
    match character {
        '%' => Some("which a server may decode into another path: write the character itself"),
        '?' | '#' => Some("which ends a path in a URL: remove it"),
        '\\' => Some("which some servers read as a slash: use `/`"),
        c if c.is_whitespace() => Some("and a key may not have white space: remove it"),
        c if c.is_ascii_graphic() || c.is_alphanumeric() => None,
        _invisible => Some("which cannot be seen or typed safely: remove it"),
    }
}

fn too_long(key: &str, length: usize) -> PathError {
    PathError::TooLong { key: key.chars().take(40).collect(), length }
}
