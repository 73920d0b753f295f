//! A folder of a KV mount, whose entries an ExternalSecret finds.

use std::fmt;

use super::path::{LogicalPath, Mount, PathError, RemotePath};

/// A folder: a mount, or a path below it. It has entries at any depth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteFolder {
    /// The KV mount that it is in.
    pub mount: Mount,
    /// Its path below the mount; `None` for the mount itself.
    path: Option<LogicalPath>,
}

impl RemoteFolder {
    /// Parses the `find.path` of a store whose `path` is `store_mount`. Slashes around it count for
    /// nothing. Without a path, it is the whole mount; of a store without one, the first segment is the
    /// mount.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(store_mount: Option<&str>, path: Option<&str>) -> Result<Self, PathError> {
        let text = path.unwrap_or_default().trim_matches('/');
        match (store_mount, text.contains('/')) {
            (Some(mount), _) if text.is_empty() => Ok(RemoteFolder { mount: Mount::parse(mount)?, path: None }),
            (None, false) if !text.is_empty() => Ok(RemoteFolder { mount: Mount::parse(text)?, path: None }),
            (None, false) => Err(PathError::NoMount { key: "<folder>".to_owned() }),
            (_, _) => {
                let RemotePath { mount, path } = RemotePath::parse(store_mount, text)?;
                Ok(RemoteFolder { mount, path: Some(path) })
            }
        }
    }

    /// Its path below the mount, empty for the mount itself.
    pub fn path(&self) -> &str {
        self.path.as_ref().map_or("", LogicalPath::as_str)
    }

    /// What is in it by this name.
    ///
    /// # Errors
    /// [`PathError`] if no request can name it.
    pub fn entry(&self, name: &str) -> Result<RemotePath, PathError> {
        let path = LogicalPath::parse(&self.below(name))?;
        Ok(RemotePath { mount: self.mount.clone(), path })
    }

    /// The folder in it by this name.
    ///
    /// # Errors
    /// [`PathError`] if no request can name it.
    pub fn folder(&self, name: &str) -> Result<RemoteFolder, PathError> {
        let path = LogicalPath::parse(&self.below(name))?;
        Ok(RemoteFolder { mount: self.mount.clone(), path: Some(path) })
    }

    /// The path below the mount of what is in it by this name.
    pub fn below(&self, name: &str) -> String {
        match &self.path {
            Some(folder) => format!("{folder}/{name}"),
            None => name.to_owned(),
        }
    }

    /// The name in this folder of what is shown as `text`, mount and path, if it is in a folder of that
    /// path of any mount.
    pub fn name_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        match &self.path {
            Some(folder) => text.split_once(&format!("/{folder}/")).map(|(_mount, name)| name),
            None => text.split_once('/').map(|(_mount, name)| name),
        }
    }

    /// Whether it has this entry, at any depth.
    pub fn has(&self, entry: &RemotePath) -> bool {
        entry.mount == self.mount
            && self.path.as_ref().is_none_or(|folder| {
                entry.path.as_str().strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
            })
    }

    /// Where the data of what is in it is read, below `/v1/`, e.g. `secret/data/platform-data/`.
    pub fn data_url(&self) -> String {
        format!("{}/data/{}", self.mount, self.below(""))
    }

    /// The list of what is directly in it, below `/v1/`, e.g. `secret/metadata/platform-data/`.
    pub fn list_url(&self) -> String {
        format!("{}/metadata/{}", self.mount, self.below(""))
    }

    /// The list of all entries below it, e.g. `secret/detailed-metadata/platform-data/`.
    pub fn scan_url(&self) -> String {
        format!("{}/detailed-metadata/{}", self.mount, self.below(""))
    }
}

impl From<RemotePath> for RemoteFolder {
    fn from(path: RemotePath) -> Self {
        RemoteFolder { mount: path.mount, path: Some(path.path) }
    }
}

impl fmt::Display for RemoteFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.below(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(mount: Option<&str>, path: Option<&str>) -> Option<String> {
        RemoteFolder::parse(mount, path).ok().map(|folder| folder.to_string())
    }

    #[test]
    fn a_folder_is_the_mount_or_below_it_however_it_is_spelled() {
        for spelled in ["platform-data", "/platform-data", "platform-data/", "secret/platform-data"] {
            assert_eq!(parsed(Some("secret"), Some(spelled)).as_deref(), Some("secret/platform-data/"), "{spelled}");
        }
        for whole in [None, Some(""), Some("/")] {
            assert_eq!(parsed(Some("secret"), whole).as_deref(), Some("secret/"));
            assert_eq!(parsed(None, whole), None);
        }
        assert_eq!(parsed(None, Some("kv")).as_deref(), Some("kv/"));
        assert_eq!(parsed(None, Some("kv/team/db/")).as_deref(), Some("kv/team/db/"));
        for outside in ["../sys", "a//b", "a/%2e%2e/b", "a?b"] {
            assert_eq!(parsed(Some("secret"), Some(outside)), None, "{outside}");
        }
    }

    #[test]
    fn it_has_what_is_below_it_and_no_neighbour_of_a_similar_name() {
        let folder = RemoteFolder::parse(Some("secret"), Some("platform-data/postgres")).unwrap();
        let has = |mount: &str, path: &str| folder.has(&RemotePath::parse(Some(mount), path).unwrap());
        assert!(has("secret", "platform-data/postgres/shop") && has("secret", "platform-data/postgres/a/b"));
        assert!(!has("secret", "platform-data/postgres") && !has("secret", "platform-data/postgres-2/a"));
        assert!(!has("other", "platform-data/postgres/shop"));
        let mount = RemoteFolder::parse(Some("secret"), None).unwrap();
        assert!(mount.has(&RemotePath::parse(Some("secret"), "a").unwrap()));
        assert_eq!(folder.list_url(), "secret/metadata/platform-data/postgres/");
        assert_eq!(mount.scan_url(), "secret/detailed-metadata/");
        assert_eq!(mount.folder("a").unwrap().entry("b").unwrap().to_string(), "secret/a/b");
    }
}
