//! State folders: each belongs to one living lab, and those of dead labs are removed by the next
//! start.

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, bail};

use crate::provision::cache_folder;

/// Held, by an advisory lock, for as long as the owner lives; the kernel lets it go however the
/// owner ends.
const LOCK: &str = "lock";

/// A folder that only its user can read, with the lock that says it is in use. It is removed on
/// drop.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    _lock: File,
}

/// Memory that looks like a disk, where the system has it.
const SHARED_MEMORY: &str = "/dev/shm";

/// Where the servers of a lab keep their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Storage {
    /// In the user's cache folder. Each write waits for the disk, as in production.
    #[default]
    Disk,
    /// In shared memory (Linux: `/dev/shm`): the same servers with the same settings, without the
    /// disk.
    Memory,
}

impl Storage {
    /// Memory, or the disk of a system that offers none.
    pub fn fastest() -> Self {
        if Path::new(SHARED_MEMORY).is_dir() { Storage::Memory } else { Storage::Disk }
    }

    /// Where the state folders are.
    fn labs(self) -> anyhow::Result<PathBuf> {
        match self {
            Storage::Disk => labs_folder(),
            Storage::Memory => {
                // Shared by all users of the machine, so each has a folder there.
                let user = fs::metadata("/proc/self").context("find out whose process this is")?.uid();
                let folder = Path::new(SHARED_MEMORY).join(format!("waypost-labs-{user}"));
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
                made.with_context(|| format!("make {}; use the disk instead", folder.display()))?;
                Ok(folder)
            }
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Storage::Disk => "disk",
            Storage::Memory => "memory",
        })
    }
}

/// Where the folders of labs without a name are, with the locks of their ports.
pub(super) fn labs_folder() -> anyhow::Result<PathBuf> {
    let folder = cache_folder()?.join("labs");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

impl StateFolder {
    /// A new folder among those of all labs of this storage, after removing those whose owner is
    /// gone.
    pub(super) fn unnamed(storage: Storage) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let labs = storage.labs()?;
        // A folder is unlocked for a moment when it is new, so nobody may sweep at that moment.
        let sweep = File::create(labs.join("sweep.lock")).context("open the lock of the labs")?;
        sweep.lock().context("lock the labs")?;
        for entry in fs::read_dir(&labs).context("list the labs")? {
            let path = entry?.path();
            if path.join(LOCK).is_file() && !is_in_use(&path)? {
                fs::remove_dir_all(&path).with_context(|| format!("remove {} of a dead lab", path.display()))?;
            }
        }
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self::create(&labs.join(name))
    }

    /// The folder at `path`; what a dead lab left there is removed.
    pub(super) fn named(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            if is_in_use(path)? {
                bail!("a lab is already running in {}; stop it with `make lab-down`", path.display());
            }
            fs::remove_dir_all(path).with_context(|| format!("remove {} of a dead lab", path.display()))?;
        }
        Self::create(path)
    }

    fn create(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("make {}", path.display()))?;
        let lock = File::create(path.join(LOCK)).with_context(|| format!("lock {}", path.display()))?;
        lock.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(StateFolder { path: path.to_owned(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock goes last: while anything is left, the folder is in use.
    fn remove_content(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != LOCK {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        if let Err(error) = self.remove_content().and_then(|()| fs::remove_dir_all(&self.path)) {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a lab's state");
        }
    }
}

/// Whether the lab that owns the folder lives.
pub(super) fn is_in_use(path: &Path) -> anyhow::Result<bool> {
    match File::open(path.join(LOCK)) {
        Ok(lock) => Ok(lock.try_lock().is_err()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("open the lock of {}", path.display())),
    }
}

/// Writes a file that only its user can read. Who reads it meanwhile gets the former one whole, or
/// this one.
pub(super) fn write_private(path: &Path, content: &str) -> anyhow::Result<()> {
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".draft-{}", DRAFTS.fetch_add(1, Ordering::Relaxed)));
    let file = File::options().write(true).create_new(true).mode(0o600).open(&draft);
    let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
    written.and_then(|()| fs::rename(&draft, path)).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_removes_the_folders_of_the_dead_and_keeps_those_of_the_living() {
        for storage in [Storage::Disk, Storage::fastest()] {
            removes_only_the_dead(storage);
        }
    }

    fn removes_only_the_dead(storage: Storage) {
        let living = StateFolder::unnamed(storage).unwrap();
        let dead = storage.labs().unwrap().join(format!("dead-{}", std::process::id()));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let next = StateFolder::unnamed(storage).unwrap();
        assert!(!dead.exists());
        assert!(living.path().exists() && next.path() != living.path());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn a_named_folder_belongs_to_one_lab_at_a_time() {
        let path = labs_folder().unwrap().join(format!("named-{}", std::process::id()));
        let first = StateFolder::named(&path).unwrap();
        let refused = StateFolder::named(&path).unwrap_err().to_string();
        assert!(refused.contains("already running"), "{refused}");
        drop(first);
        drop(StateFolder::named(&path).unwrap());
    }
}
