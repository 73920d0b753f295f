//! A file to which a server appends one JSON object a line, read from a place on.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::Context;
use serde::de::DeserializeOwned;

/// The file.
#[derive(Debug, Clone)]
pub(super) struct JsonLines {
    file: PathBuf,
}

/// A place in an audit file, by default its beginning; what was recorded later is after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl JsonLines {
    pub(super) fn at(file: PathBuf) -> Self {
        JsonLines { file }
    }

    /// The end of the file as it is now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn mark(&self) -> anyhow::Result<Mark> {
        fs::metadata(&self.file).map(|file| Mark(file.len())).with_context(|| self.unreadable())
    }

    /// The lines since the mark, as far as they are of this type. A line that is still being
    /// written is not among them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn since<T: DeserializeOwned>(&self, mark: Mark) -> anyhow::Result<Vec<T>> {
        let mut text = String::new();
        let mut file = File::open(&self.file).with_context(|| self.unreadable())?;
        file.seek(SeekFrom::Start(mark.0)).with_context(|| self.unreadable())?;
        file.read_to_string(&mut text).with_context(|| self.unreadable())?;
        let finished = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(finished.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn unreadable(&self) -> String {
        format!("read the audit file {}", self.file.display())
    }
}
