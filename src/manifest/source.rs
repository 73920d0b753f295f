//! Finds and reads files of manifests.

use std::io::Read;
use std::path::{Path, PathBuf};

/// A file as it was read.
pub struct Source {
    /// The name that findings carry.
    pub name: String,
    pub text: String,
}

/// A file or folder that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {path}: {error}: check the path and its permissions")]
    Unreadable { path: String, error: std::io::ErrorKind },
    #[error("{path} is not UTF-8 text: give files of YAML or JSON")]
    NotText { path: String },
    #[error("{path} holds no .yaml, .yml or .json file: give a folder of manifests")]
    EmptyFolder { path: String },
}

/// Reads files, folders (recursively; hidden ones apart) and, for `-`, standard input.
pub fn read(paths: &[PathBuf]) -> (Vec<Source>, Vec<ReadError>) {
    let mut sources = Vec::new();
    let mut refused = Vec::new();
    for path in paths {
        let found = match path.as_os_str() == "-" {
            true => from_stdin().map(|source| vec![source]),
            false => from_path(path),
        };
        match found {
            Ok(found) => sources.extend(found),
            Err(error) => refused.push(error),
        }
    }
    (sources, refused)
}

fn from_stdin() -> Result<Source, ReadError> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| unreadable(Path::new("standard input"), &error))?;
    text("<stdin>".into(), bytes)
}

fn from_path(path: &Path) -> Result<Vec<Source>, ReadError> {
    if !path.is_dir() {
        return Ok(vec![from_file(path)?]);
    }
    let mut files = Vec::new();
    list(path, &mut files)?;
    if files.is_empty() {
        return Err(ReadError::EmptyFolder { path: path.display().to_string() });
    }
    files.sort();
    files.iter().map(|file| from_file(file)).collect()
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        // A link to a folder is not followed: it may lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&path, files)?;
        } else if path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json") {
            files.push(path);
        }
    }
    Ok(())
}

fn from_file(path: &Path) -> Result<Source, ReadError> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    text(path.display().to_string(), bytes)
}

fn text(name: String, bytes: Vec<u8>) -> Result<Source, ReadError> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text }),
        Err(_) => Err(ReadError::NotText { path: name }),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ReadError {
    ReadError::Unreadable { path: path.display().to_string(), error: error.kind() }
}
