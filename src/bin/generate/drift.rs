//! Writes generated files, or compares them with the existing ones.

use std::fs;
use std::path::{Path, PathBuf};

use super::Output;

/// Why files could not be written, or do not match.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Files differ from the generated ones.
    #[error("these files differ from the code; run `make generate`:\n{}", list(.0))]
    Drift(Vec<PathBuf>),
}

fn list(paths: &[PathBuf]) -> String {
    let lines: Vec<String> = paths.iter().map(|path| format!("  {}", path.display())).collect();
    lines.join("\n")
}

/// Writes the files that differ, below `root`.
pub fn write(root: &Path, outputs: Vec<Output>) -> Result<(), Error> {
    for (path, text) in outputs {
        let path = root.join(path);
        if matches(&path, &text) {
            continue;
        }
        let parent = path.parent().unwrap_or(root);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .map_err(|source| Error::Write { path: path.clone(), source })?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Compares the files below `root` with what they should be.
pub fn check(root: &Path, outputs: &[Output]) -> Result<(), Error> {
    let drifted: Vec<PathBuf> =
        outputs.iter().filter(|(path, text)| !matches(&root.join(path), text)).map(|(path, _)| path.clone()).collect();
    if drifted.is_empty() { Ok(()) } else { Err(Error::Drift(drifted)) }
}

fn matches(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|there| there == text)
}
