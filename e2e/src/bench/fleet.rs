//! Many ExternalSecrets over few paths, for the scenarios of size.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{CONCURRENT, ground::Ground};
use crate::lab::MOUNT;

const CONSUMERS_PER_PATH: usize = 10;
const OBJECTS_PER_NAMESPACE: usize = 100;
/// What the names of its namespaces start with.
pub(super) const NAMESPACE: &str = "bench-fleet-";

/// What was created while no controller ran.
pub(super) struct Fleet {
    /// Each object's namespace and name; its target has the same.
    pub(super) objects: Vec<[String; 2]>,
    /// Each path below the mount.
    pub(super) paths: Vec<String>,
}

impl Fleet {
    pub(super) async fn assemble(ground: &Ground, objects: usize, window: Duration) -> anyhow::Result<Self> {
        let fleet = Fleet::of(objects);
        for number in 0..objects.div_ceil(OBJECTS_PER_NAMESPACE) {
            ground.namespace(&format!("{NAMESPACE}{number}")).await?;
        }
        let interval = format!("{}s", window.as_secs());
        stream::iter(&fleet.paths)
            .map(async |path| ground.vault.write(MOUNT, path, &json!({ "password": path })).await)
            .buffer_unordered(CONCURRENT)
            .try_collect::<Vec<_>>()
            .await?;
        stream::iter(fleet.objects.iter().enumerate())
            .map(|(number, [namespace, name])| ground.pull([namespace, name], fleet.path_of(number), &interval))
            .buffer_unordered(CONCURRENT)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(fleet)
    }

    fn of(objects: usize) -> Self {
        let paths =
            (0..objects.div_ceil(CONSUMERS_PER_PATH)).map(|path| format!("platform-data/postgres/fleet-{path}"));
        let objects = (0..objects)
            .map(|number| [format!("{NAMESPACE}{}", number / OBJECTS_PER_NAMESPACE), format!("target-{number}")]);
        Fleet { objects: objects.collect(), paths: paths.collect() }
    }

    /// Neighbours have different paths, so that a read has to be shared across namespaces.
    fn path_of(&self, object: usize) -> &str {
        &self.paths[object % self.paths.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_of_the_bound_has_the_size_that_is_named() {
        let fleet = Fleet::of(2000);
        assert_eq!((fleet.objects.len(), fleet.paths.len()), (2000, 200));
        assert_eq!(fleet.objects[1999], ["bench-fleet-19", "target-1999"]);
        assert_ne!(fleet.path_of(0), fleet.path_of(1));
    }
}
