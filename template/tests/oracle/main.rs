//! Renders every template of the corpus, and compares with what Go's own engine gives
//! (`tests/corpus/README.md`). What is left out on purpose is listed in [`LEFT_OUT`].

mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::bytes::RegexBuilder;
use serde::Deserialize;
use waypost_template::{Budget, Data, Template};

use self::table::{Table, Verdict};

/// The cases that differ on purpose, and why.
const LEFT_OUT: &[(&str, &[&str])] = &[
    (
        "what `fromYaml` says of a text that is no YAML names no part of the text, which may be a secret",
        &[
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
    ("`fromYaml` reads UTF-8 only", &["yaml-json/172"]),
    ("our parser of YAML takes a tab before the first key", &["yaml-json/159"]),
    (
        "our parser of YAML refuses what follows a quoted text, or a bracket too many, after the first value",
        &["found/032", "found/034", "generated/123"],
    ),
    ("`toYaml` keeps U+0085, of which Go's library makes a space", &["yaml-json/124"]),
    ("a value is nested at most 100 levels deep", &["yaml-json/103"]),
    ("a slice ends where its list ends, also where Go has more of it in memory", &["found/050", "generated/104"]),
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

fn families() -> Vec<String> {
    let files = fs::read_dir(corpus()).unwrap();
    let families = files.filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".yaml")?.to_owned()));
    let mut families: Vec<String> = families.collect();
    families.sort();
    families
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
    let (mut table, mut differences) = (Table::default(), Vec::new());
    for (case, golden) in families().iter().flat_map(|family| cases(family)) {
        let answer = case.rendered();
        let is_left_out = LEFT_OUT.iter().any(|(_, ids)| ids.contains(&golden.id.as_str()));
        let verdict = match (golden.is(&answer), is_left_out) {
            (true, false) => Verdict::Agrees,
            (false, false) => Verdict::Differs,
            (false, true) => Verdict::LeftOut,
            (true, true) => panic!("{} agrees: it needs not be left out", golden.id),
        };
        table.add(&case.text(), verdict);
        if verdict == Verdict::Differs {
            differences.push(shown(&case, &golden, &answer));
        }
    }
    println!("{table}");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(table.all().agree > 800, "the corpus has too few cases");
    assert_eq!(table.uncalled(), Vec::<&str>::new(), "no case of the corpus calls these");
}

fn shown(case: &Case, golden: &Golden, answer: &Result<Vec<u8>, String>) -> String {
    let template = case.text();
    let found = match answer {
        Ok(text) => format!("{:?}", String::from_utf8_lossy(text)),
        Err(fault) => format!("an error: {fault}"),
    };
    let template = String::from_utf8_lossy(&template);
    format!("{}: {template}\n  wants {}\n  gives {found}", golden.id, golden.wanted())
}

/// The functions are those of the operator, whose list the oracle prints.
#[test]
fn the_engine_has_the_functions_of_the_operator_and_no_others() {
    let listed = fs::read_to_string(corpus().join("functions.txt")).unwrap();
    let ours: Vec<&str> = waypost_template::function_names().collect();
    assert_eq!(ours, listed.lines().collect::<Vec<_>>());
}
