//! The user's cache folder: what is in it is finished, whoever stopped half-way.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context;

/// `waypost` in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`). It exists afterwards.
///
/// # Errors
/// When neither variable is set or the folder cannot be made.
pub fn cache_folder() -> anyhow::Result<PathBuf> {
    let parent = match (env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()), env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache"),
        (None, None) => anyhow::bail!("no cache folder: set HOME or XDG_CACHE_HOME"),
    };
    let folder = parent.join("waypost");
    fs::create_dir_all(&folder).with_context(|| format!("make the cache folder {}", folder.display()))?;
    Ok(folder)
}

/// The cached entry `name`; if it is missing, `make` makes it at the path it is given, and it is
/// renamed into place.
///
/// Only one process makes an entry at a time; the others wait and find it.
///
/// # Errors
/// Those of `make`, and of the file system.
pub(super) fn entry(name: &str, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let folder = cache_folder()?;
    let finished = folder.join(name);
    if finished.exists() {
        return Ok(finished);
    }
    let _lock = lock(&folder.join(format!("{name}.lock")), name)?;
    if finished.exists() {
        return Ok(finished);
    }
    let partial = folder.join(format!("{name}.partial"));
    remove(&partial)?;
    make(&partial)?;
    fs::rename(&partial, &finished).with_context(|| format!("move {name} into {}", folder.display()))?;
    Ok(finished)
}

fn lock(path: &Path, name: &str) -> anyhow::Result<File> {
    let lock = File::create(path).with_context(|| format!("open {}", path.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("{name}: another process is making it; waiting");
        lock.lock().with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(lock)
}

/// Removes what an earlier try left, be it a file or a folder.
fn remove(path: &Path) -> anyhow::Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn what_an_earlier_try_left_half_done_is_made_anew() {
        let name = format!("test-{}", std::process::id());
        let stopped = entry(&name, |path| {
            fs::create_dir(path)?;
            fs::write(path.join("half"), "")?;
            bail!("stopped half-way")
        });
        assert!(stopped.is_err());
        let made = entry(&name, |path| Ok(fs::write(path, "whole")?)).unwrap();
        assert_eq!(fs::read_to_string(&made).unwrap(), "whole");
        let found = entry(&name, |_| bail!("it is there already")).unwrap();
        assert_eq!(found, made);
        fs::remove_file(&made).unwrap();
        fs::remove_file(cache_folder().unwrap().join(format!("{name}.lock"))).unwrap();
    }
}
