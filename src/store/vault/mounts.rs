//! What the server reports about a mount: whether it exists, whether it is KV v2, and its accessor.

use std::sync::Arc;

use tokio::time::Instant;

use super::reply::MountInfo;
use crate::domain::path::Mount;
use crate::store::StoreError;

/// An existing KV v2 mount.
#[derive(Clone)]
pub struct Confirmed {
    /// The mount's accessor: the same for every spelling, another after the mount was created
    /// again.
    pub accessor: Arc<str>,
    /// When the question was asked.
    pub at: Instant,
}

/// Checks the reply about a mount that was asked for at `at`.
pub fn confirmed(mount: &Mount, info: MountInfo, at: Instant) -> Result<Confirmed, StoreError> {
    judge(mount, info).map(|accessor| Confirmed { accessor, at })
}

fn judge(mount: &Mount, info: MountInfo) -> Result<Arc<str>, StoreError> {
    if info.path.trim_matches('/') != mount.as_str() {
        return Err(StoreError::MountMissing { mount: mount.to_string() });
    }
    let wrong = |found: String| Err(StoreError::WrongVersion { mount: mount.to_string(), found });
    if info.engine != "kv" {
        return wrong(format!("a {:?} engine", info.engine));
    }
    match info.options.as_ref().and_then(|options| options.get("version")).map(String::as_str) {
        Some("2") => Ok(info.accessor.into()),
        Some(other) => wrong(format!("KV version {other}")),
        None => wrong("KV version 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(path: &str, engine: &str, version: Option<&str>) -> MountInfo {
        let options = version.map(|version| std::collections::BTreeMap::from([("version".into(), version.into())]));
        MountInfo { accessor: "kv_1".into(), path: path.into(), engine: engine.into(), options }
    }

    #[test]
    fn only_kv_v2_under_its_own_name_is_confirmed() {
        let secret = Mount::parse("secret").unwrap();
        assert_eq!(&*judge(&secret, info("secret/", "kv", Some("2"))).unwrap(), "kv_1");
        for (path, engine, version) in [("secret/", "kv", Some("1")), ("secret/", "kv", None), ("secret/", "pki", None)]
        {
            assert!(matches!(judge(&secret, info(path, engine, version)), Err(StoreError::WrongVersion { .. })));
        }
        let below = Mount::parse("secret/team").unwrap();
        assert!(matches!(judge(&below, info("secret/", "kv", Some("2"))), Err(StoreError::MountMissing { .. })));
    }
}
