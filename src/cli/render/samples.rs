//! Sample values: a YAML or JSON map from remote key to the properties that stand there.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::domain::claim::CustomMetadata;
use crate::domain::description::What;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState, RemoteData, RemoteValue};
use crate::manifest::{self, Entry as Field, Located, Node, Problem, ReadError, Source, Value};
use crate::pull::wanted::Reference;
use crate::store::Entries;

/// How a file of sample values looks.
const SHAPE: &str =
    "write a map from each remote key to its properties, such as:\n  team/db: {username: app, password: secret}";
/// What a key begins with whose values are metadata.
const METADATA: &str = "metadata:";

/// The sample values of a run. They have no `Debug`: somebody may try real ones.
pub struct Samples {
    /// `None` without a file.
    source: Option<Source>,
    samples: Vec<Sample>,
}

struct Sample {
    key: String,
    entry: Arc<Entry>,
}

/// Why there are no sample values.
#[derive(Debug, Error)]
pub enum NoSamples {
    #[error("--values: {0}")]
    Unreadable(ReadError),
    #[error("{0}")]
    Wrong(Box<Located>),
}

impl Samples {
    /// Reads the sample values of a file, or of standard input for `-`.
    ///
    /// # Errors
    /// [`NoSamples`], without any value.
    pub fn read(file: Option<&Path>) -> Result<Self, NoSamples> {
        match file.map(manifest::one).transpose().map_err(NoSamples::Unreadable)? {
            Some(source) => Samples::parse(source),
            None => Ok(Samples { source: None, samples: Vec::new() }),
        }
    }

    fn parse(source: Source) -> Result<Self, NoSamples> {
        let (documents, broken) = manifest::documents(&source);
        if let Some(broken) = broken {
            return Err(NoSamples::Wrong(Box::new(broken)));
        }
        let mut samples = Vec::new();
        for document in &documents {
            for Field { name, node, .. } in fields(&source, document, "the file")? {
                let properties = fields(&source, node, &format!("`{name}`"))?;
                let data = properties.iter().map(|field| Ok((name_of(&source, field), value(&source, &field.node)?)));
                let data: RemoteData = data.collect::<Result<_, NoSamples>>()?;
                let state = EntryState::Live { version: 1, data };
                let entry = Arc::new(Entry { state, ..Entry::absent() });
                samples.push(Sample { key: name.clone(), entry });
            }
        }
        Ok(Samples { source: Some(source), samples })
    }

    /// What is read of a path of a store with this mount, however its key is spelled.
    pub fn entry(&self, mount: Option<&str>, path: &RemotePath, what: What) -> Option<Arc<Entry>> {
        let is_there = |sample: &&Sample| {
            let (of, key) = parted(&sample.key);
            of == what && RemotePath::parse_read(mount, key).is_ok_and(|key| key == *path)
        };
        self.samples.iter().rev().find(is_there).map(|sample| sample.entry.clone())
    }

    /// The samples below a folder. Each has these labels, since samples say nothing of theirs.
    pub fn below(&self, mount: Option<&str>, folder: &RemoteFolder, labels: &CustomMetadata) -> Entries {
        let values = self.samples.iter().filter(|sample| parted(&sample.key).0 == What::Data);
        let paths = values.filter_map(|sample| RemotePath::parse_read(mount, &sample.key).ok());
        paths.filter(|path| folder.has(path)).map(|path| (path.path.to_string(), labels.clone())).collect()
    }

    /// The key that is most like this one.
    pub fn nearest(&self, key: &str) -> Option<String> {
        waypost_template::error::nearest(key, self.samples.iter().map(|sample| sample.key.as_str()))
    }

    /// The file's name.
    pub fn file(&self) -> Option<&str> {
        self.source.as_ref().map(|source| source.name.as_str())
    }
}

/// The key of the sample values for a reference.
pub fn key_of(from: &Reference) -> String {
    match from.what {
        What::Data => from.key.clone(),
        What::Metadata => format!("{METADATA}{}", from.key),
    }
}

/// What a key of sample values is about, and the key of the path.
fn parted(key: &str) -> (What, &str) {
    key.strip_prefix(METADATA).map_or((What::Data, key), |key| (What::Metadata, key))
}

fn fields<'n>(source: &Source, node: &'n Node, what: &str) -> Result<&'n [Field], NoSamples> {
    match &node.value {
        Value::Map(fields) => Ok(fields),
        // A document with comments only.
        Value::Null => Ok(&[]),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            let problem =
                Problem::error("sample", node.span.clone(), format!("{what} is no map"), Some(SHAPE.to_owned()));
            Err(NoSamples::Wrong(Box::new(Located::of(source, problem))))
        }
    }
}

fn value(source: &Source, node: &Node) -> Result<RemoteValue, NoSamples> {
    let json = json(source, node);
    RawValue::from_string(json).map(RemoteValue::raw).map_err(|_deep| {
        let problem = Problem::error("sample", node.span.clone(), "the value is nested too deep".to_owned(), None);
        NoSamples::Wrong(Box::new(Located::of(source, problem)))
    })
}

/// The value as a store would have it. What YAML 1.1 takes for a boolean, such as `yes`, is a text
/// there, and so is a number that JSON cannot write, such as 007.
fn json(source: &Source, node: &Node) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => word(source, &node.span).map_or_else(|| truth.to_string(), text),
        Value::Number(digits) if serde_json::from_str::<&RawValue>(digits).is_ok() => digits.clone(),
        Value::Number(digits) => text(digits),
        Value::Text(written) => text(written),
        Value::List(items) => format!("[{}]", joined(items.iter().map(|item| json(source, item)))),
        Value::Map(entries) => {
            let field = |field: &Field| format!("{}:{}", text(&name_of(source, field)), json(source, &field.node));
            format!("{{{}}}", joined(entries.iter().map(field)))
        }
    }
}

fn name_of(source: &Source, field: &Field) -> String {
    word(source, &field.name_span).unwrap_or(&field.name).to_owned()
}

/// A word that is a boolean in YAML 1.1 only.
fn word<'s>(source: &'s Source, span: &Range<usize>) -> Option<&'s str> {
    let word = source.text.get(span.clone())?;
    let is_one = matches!(word.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off");
    is_one.then_some(word)
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(text: &str) -> Result<Samples, String> {
        Samples::parse(Source { name: "values.yaml".into(), text: text.into() }).map_err(|error| error.to_string())
    }

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(Some("secret"), text).unwrap()
    }

    #[test]
    fn values_are_those_that_a_store_would_have() {
        let text = "a/b:\n  n: 12345678901234567890\n  f: 1.50\n  z: 007\n  y: yes\n  t: true\n  q: \"1\"\n  none:\n  o: {x: [1, on]}\n";
        let entry = samples(text).unwrap().entry(Some("secret"), &path("a/b"), What::Data).unwrap();
        let shown = |name: &str| entry.data().unwrap()[name].expose_json().to_owned();
        let all = ["n", "f", "z", "y", "t", "q", "none", "o"].map(shown);
        let expected =
            ["12345678901234567890", "1.50", "\"007\"", "\"yes\"", "true", "\"1\"", "null", r#"{"x":[1,"on"]}"#];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_key_is_found_however_it_is_spelled_and_the_last_one_counts() {
        let samples = samples("secret/data/a/b: {x: 1}\n---\na/b: {x: 2}\nc/d: {}\n").unwrap();
        for spelled in ["a/b", "secret/a/b", "secret/data/a/b"] {
            let entry = samples.entry(Some("secret"), &path(spelled), What::Data).unwrap();
            assert_eq!(entry.data().unwrap()["x"].expose_json(), "2", "{spelled}");
        }
        assert!(samples.entry(Some("secret"), &path("a/x"), What::Data).is_none());
        assert_eq!(samples.nearest("a/bb").as_deref(), Some("a/b"));
    }

    #[test]
    fn what_is_no_map_is_told_with_its_place_and_without_its_value() {
        for (text, says) in [
            ("- s3cret", "values.yaml:1:1: the file is no map: write a map"),
            ("a/b: s3cret", "values.yaml:1:6: `a/b` is no map: write a map"),
            ("a/b: [s3cret", "values.yaml:"),
        ] {
            let told = samples(text).err().unwrap();
            assert!(told.starts_with(says) && !told.contains("- s3cret") && !told.contains("[s3cret"), "{told}");
        }
        assert!(samples("# nothing yet\n").is_ok());
    }
}
