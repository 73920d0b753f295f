//! Renders every template of the corpus, and compares with what Go's own engine gives
//! (`tests/corpus/README.md`). What is left out on purpose is listed in [`LEFT_OUT`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::bytes::RegexBuilder;
use serde::Deserialize;
use waypost_template::{Budget, Data, Template};

/// The cases that differ on purpose, and why.
const LEFT_OUT: &[(&str, &[&str])] = &[
    (
        "what `fromYaml` says of a text that is no YAML names no part of the text, which may be a secret",
        &[
            "generated/136",
            "yaml-json/153",
            "yaml-json/157",
            "yaml-json/158",
            "yaml-json/162",
            "yaml-json/163",
            "yaml-json/164",
            "yaml-json/165",
            "yaml-json/166",
        ],
    ),
    ("`fromYaml` reads UTF-8 only", &["generated/233", "yaml-json/172"]),
    ("our parser of YAML takes a tab before the first key", &["yaml-json/159"]),
    ("`toYaml` keeps U+0085, of which Go's library makes a space", &["yaml-json/124"]),
    ("a value is nested at most 100 levels deep", &["yaml-json/103"]),
    ("`sortAlpha` leaves the list that it is given as it is", &["strings/305"]),
    ("`now` shows no reading of the process's own clock", &["dates/054"]),
];

#[derive(Deserialize)]
struct Case {
    template: Option<String>,
    template_base64: Option<String>,
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    data_base64: BTreeMap<String, String>,
    #[serde(default)]
    data_files: BTreeMap<String, PathBuf>,
}

#[derive(Deserialize)]
struct Golden {
    id: String,
    output: Option<String>,
    output_base64: Option<String>,
    shape: Option<String>,
    message: Option<String>,
}

impl Case {
    fn text(&self) -> Vec<u8> {
        match (&self.template, &self.template_base64) {
            (_, Some(encoded)) => STANDARD.decode(encoded).unwrap(),
            (template, None) => template.clone().unwrap_or_default().into_bytes(),
        }
    }

    fn values(&self) -> BTreeMap<String, Vec<u8>> {
        let plain = self.data.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        let encoded = self.data_base64.iter().map(|(key, text)| (key.clone(), STANDARD.decode(text).unwrap()));
        let files = self.data_files.iter().map(|(key, file)| (key.clone(), fs::read(corpus().join(file)).unwrap()));
        plain.chain(encoded).chain(files).collect()
    }

    fn rendered(&self) -> Result<Vec<u8>, String> {
        let values = self.values();
        let data = Data::of(values.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        let template = Template::parse(self.text()).map_err(|fault| fault.to_string())?;
        let output = template.render(&data, Budget::default()).map_err(|fault| fault.to_string())?;
        Ok(output.to_vec())
    }
}

impl Golden {
    /// Whether an answer is the same.
    fn is(&self, answer: &Result<Vec<u8>, String>) -> bool {
        match (answer, &self.shape, &self.output, &self.output_base64) {
            (Ok(found), Some(shape), _, _) => {
                let shape = RegexBuilder::new(&format!("^(?:{shape})$")).dot_matches_new_line(true).build().unwrap();
                shape.is_match(found)
            }
            (Ok(found), None, Some(text), _) => found == text.as_bytes(),
            (Ok(found), None, None, Some(encoded)) => *found == STANDARD.decode(encoded).unwrap(),
            (Ok(_), None, None, None) => false,
            (Err(_), shape, text, encoded) => shape.is_none() && text.is_none() && encoded.is_none(),
        }
    }

    fn wanted(&self) -> String {
        match (&self.shape, &self.output, &self.output_base64) {
            (Some(shape), _, _) => format!("what matches {shape}"),
            (_, Some(text), _) => format!("{text:?}"),
            (_, _, Some(encoded)) => format!("base64 {encoded}"),
            _ => format!("an error: {}", self.message.as_deref().unwrap_or_default()),
        }
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn cases(family: &str) -> Vec<(Case, Golden)> {
    let text = fs::read_to_string(corpus().join(format!("{family}.yaml"))).unwrap();
    let cases: Vec<Case> = serde_saphyr::from_str(&text).unwrap();
    let golden = fs::read_to_string(corpus().join(format!("golden/{family}.jsonl"))).unwrap();
    let golden: Vec<Golden> = golden.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), golden.len(), "{family}: write the answers again");
    cases.into_iter().zip(golden).collect()
}

#[test]
fn every_template_of_the_corpus_gives_what_go_gives() {
    let mut families: Vec<String> = fs::read_dir(corpus())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    families.sort();
    let (mut agreed, mut differences) = (0, Vec::new());
    for family in families {
        let mut of_family = (0, 0);
        for (case, golden) in cases(&family) {
            let template = String::from_utf8_lossy(&case.text()).into_owned();
            let is_left_out = LEFT_OUT.iter().any(|(_, ids)| ids.contains(&golden.id.as_str()));
            let answer = case.rendered();
            if is_left_out {
                assert!(!golden.is(&answer), "{} agrees: it needs not be left out", golden.id);
                continue;
            }
            of_family.1 += 1;
            if golden.is(&answer) {
                of_family.0 += 1;
                continue;
            }
            let found = answer.map_or_else(
                |fault| format!("an error: {fault}"),
                |text| format!("{:?}", String::from_utf8_lossy(&text)),
            );
            differences.push(format!("{}: {template}\n  wants {}\n  gives {found}", golden.id, golden.wanted()));
        }
        println!("{family:14} {:5} of {:5}", of_family.0, of_family.1);
        agreed += of_family.0;
    }
    assert!(agreed > 800 && differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
