//! Finds and reads files of manifests.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet};

use super::kustomize;

/// The text of a file.
pub struct Source {
    /// The name in findings.
    pub name: String,
    pub text: String,
}

/// A file or folder that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path} does not exist: check the path")]
    Missing { path: String },
    #[error("cannot read {path}: {error}: check the path and its permissions")]
    Unreadable { path: String, error: ErrorKind },
    #[error("{path} is a folder: name a file")]
    Folder { path: String },
    #[error("standard input is empty: check that the command before the pipe succeeded")]
    EmptyInput,
    #[error("{path} is not UTF-8 text: use files of YAML or JSON")]
    NotText { path: String },
    #[error("--exclude: {0}")]
    Exclude(globset::Error),
    #[error("{path} has no .yaml, .yml or .json file: use a folder of manifests")]
    EmptyFolder { path: String },
}

/// The flag for what to skip in folders.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Exclude {
    /// Skip this in folders: a name, or a path with * and ** such as '**/overlays/*'. Can be set
    /// several times
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<Glob>,
}

/// What was found.
#[derive(Default)]
pub struct Found {
    pub sources: Vec<Source>,
    /// What could not be read.
    pub refused: Vec<ReadError>,
    /// What was skipped in folders because it is not a manifest by itself.
    pub skipped: Vec<Skipped>,
}

/// A file or folder that is not a manifest until a tool renders it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Templates of a Helm chart.
    Chart { folder: PathBuf },
    /// A file that a kustomization names as a patch.
    Patch { file: PathBuf },
}

/// What to do about it.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skipped::Chart { folder } => {
                write!(
                    f,
                    "{} has templates of Helm: render them first (helm template … | waypost lint -)",
                    folder.display()
                )
            }
            Skipped::Patch { file } => {
                write!(
                    f,
                    "{} is a patch of kustomize: build it first (kustomize build … | waypost lint -)",
                    file.display()
                )
            }
        }
    }
}

/// Reads files, folders (recursively, without hidden ones) and, for `-`, standard input.
pub fn read(paths: &[PathBuf], exclude: &Exclude) -> Found {
    let mut found = Found::default();
    let exclude = match GlobSet::new(&exclude.exclude) {
        Ok(exclude) => exclude,
        Err(error) => {
            found.refused.push(ReadError::Exclude(error));
            return found;
        }
    };
    for path in paths {
        let read = match path.as_os_str() == "-" {
            true => from_stdin().map(|source| found.sources.push(source)),
            false => from_path(path, &exclude, &mut found),
        };
        found.refused.extend(read.err());
    }
    found
}

/// Reads one file of text or, for `-`, standard input.
///
/// # Errors
/// [`ReadError`], with what to do about it.
pub fn one(path: &Path) -> Result<Source, ReadError> {
    if path.as_os_str() == "-" { from_stdin() } else { from_file(path) }
}

fn from_stdin() -> Result<Source, ReadError> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| unreadable(Path::new("standard input"), &error))?;
    if bytes.trim_ascii().is_empty() {
        return Err(ReadError::EmptyInput);
    }
    text("<stdin>".into(), bytes)
}

fn from_path(path: &Path, exclude: &GlobSet, found: &mut Found) -> Result<(), ReadError> {
    if !path.is_dir() {
        found.sources.push(from_file(path)?);
        return Ok(());
    }
    let mut files = BTreeSet::new();
    list(path, exclude, &mut files, &mut found.skipped)?;
    let mut patches = BTreeSet::new();
    for file in files.iter().filter(|file| is_kustomization(file)) {
        patches.extend(kustomize::patches(file, &from_file(file)?.text));
    }
    // A path may have `..`.
    let resolved = |file: &PathBuf| file.canonicalize().unwrap_or_else(|_gone| file.clone());
    let (patches, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| patches.contains(&resolved(file)));
    if files.is_empty() && patches.is_empty() && found.skipped.is_empty() {
        return Err(ReadError::EmptyFolder { path: path.display().to_string() });
    }
    found.skipped.extend(patches.into_iter().map(|file| Skipped::Patch { file }));
    for file in files {
        found.sources.push(from_file(&file)?);
    }
    Ok(())
}

fn list(
    folder: &Path,
    exclude: &GlobSet,
    files: &mut BTreeSet<PathBuf>,
    skipped: &mut Vec<Skipped>,
) -> Result<(), ReadError> {
    let is_chart = folder.join("Chart.yaml").is_file();
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if exclude.is_match(&path) || exclude.is_match(entry.file_name()) {
            continue;
        }
        if is_chart && entry.file_name() == "templates" {
            skipped.push(Skipped::Chart { folder: path });
            continue;
        }
        // A link to a folder is not followed, because it may form a cycle.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&path, exclude, files, skipped)?;
        } else if path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json") {
            files.insert(path);
        }
    }
    Ok(())
}

fn is_kustomization(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    ["kustomization.yaml", "kustomization.yml"].iter().any(|known| name == *known)
}

/// Reads one file of text.
///
/// # Errors
/// [`ReadError`], with what to do about it.
pub fn from_file(path: &Path) -> Result<Source, ReadError> {
    text(path.display().to_string(), bytes(path)?)
}

/// Reads one file.
///
/// # Errors
/// [`ReadError`], with what to do about it.
pub fn bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

fn text(name: String, bytes: Vec<u8>) -> Result<Source, ReadError> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text }),
        Err(_) => Err(ReadError::NotText { path: name }),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ReadError {
    let path = path.display().to_string();
    match error.kind() {
        ErrorKind::NotFound => ReadError::Missing { path },
        ErrorKind::IsADirectory => ReadError::Folder { path },
        error => ReadError::Unreadable { path, error },
    }
}
