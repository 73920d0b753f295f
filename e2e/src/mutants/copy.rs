//! A copy of the working tree, so that the tree itself is never changed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

/// Makes `copy` equal to what git knows of `tree` or would add to it. What is equal already keeps
/// its time of change, so that cargo compiles no more than it must.
pub(super) fn bring_up(tree: &Path, copy: &Path) -> anyhow::Result<()> {
    let files = files(tree)?;
    for file in &files {
        let wanted = fs::read(tree.join(file)).with_context(|| format!("read {}", file.display()))?;
        let place = copy.join(file);
        if fs::read(&place).is_ok_and(|found| found == wanted) {
            continue;
        }
        fs::create_dir_all(place.parent().unwrap_or(copy))?;
        fs::write(&place, wanted).with_context(|| format!("write {}", place.display()))?;
    }
    remove_others(copy, copy, &files).with_context(|| format!("tidy {}", copy.display()))
}

fn files(tree: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(tree).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("start git")?;
    ensure!(output.status.success(), "{git:?}: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).context("git lists a file whose name is not UTF-8")?;
    // What was deleted and not committed is listed too.
    let files = listed.split_terminator('\0').map(PathBuf::from).filter(|file| tree.join(file).is_file());
    Ok(files.collect())
}

fn remove_others(copy: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(copy, &path, files)?;
        } else if path.strip_prefix(copy).is_ok_and(|file| !files.contains(file)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_the_tree_has_and_nothing_else_and_leaves_alone_what_is_equal() {
        let folder = std::env::temp_dir().join(format!("waypost-copy-{}", std::process::id()));
        let (tree, copy) = (folder.join("tree"), folder.join("copy"));
        fs::create_dir_all(tree.join("src")).unwrap();
        assert!(Command::new("git").arg("init").arg("-q").arg(&tree).status().unwrap().success());
        for (file, text) in [("src/a.rs", "a"), ("b", "b"), (".gitignore", "built"), ("built", "x")] {
            fs::write(tree.join(file), text).unwrap();
        }
        bring_up(&tree, &copy).unwrap();
        let before = fs::metadata(copy.join("b")).unwrap().modified().unwrap();
        assert_eq!(fs::read_to_string(copy.join("src/a.rs")).unwrap(), "a");
        assert!(!copy.join("built").exists());
        fs::write(copy.join("src/a.rs"), "changed").unwrap();
        fs::write(copy.join("src/more.rs"), "more").unwrap();
        bring_up(&tree, &copy).unwrap();
        assert_eq!(fs::read_to_string(copy.join("src/a.rs")).unwrap(), "a");
        assert!(!copy.join("src/more.rs").exists());
        assert_eq!(fs::metadata(copy.join("b")).unwrap().modified().unwrap(), before);
        fs::remove_dir_all(folder).unwrap();
    }
}
