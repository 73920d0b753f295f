//! Replays what gjson 1.18.0 itself answered; `e2e/oracle/paths` writes the corpus.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{JsonPath, Selected};

const CORPUS: &str = include_str!("../../../tests/json-path/corpus.json");

#[derive(Deserialize)]
struct Document {
    json: String,
    answers: BTreeMap<String, Option<String>>,
}

struct Case {
    json: String,
    path: String,
    /// `None` if the path selects nothing.
    raw: Option<String>,
}

impl Case {
    fn agrees(&self) -> bool {
        JsonPath::parse(&self.path).is_ok_and(|path| {
            let found = path.select(&self.json);
            found.as_ref().map(Selected::raw) == self.raw.as_deref()
        })
    }

    fn is_listed(&self) -> bool {
        DIFFERENCES.iter().any(|each| each.json == self.json && each.paths.contains(&self.path.as_str()))
    }

    fn tell(&self) -> String {
        let here = JsonPath::parse(&self.path).map(|path| path.select(&self.json).map(|value| value.raw().to_owned()));
        format!("{:?} of {:?}\n  gjson {:?}\n  here  {here:?}", self.path, self.json, self.raw)
    }
}

/// Paths over one document that we answer otherwise than gjson, on purpose.
struct Difference {
    reason: &'static str,
    json: &'static str,
    paths: &'static [&'static str],
}

const BRACKET_IN_STRING: &str =
    "a bracket inside a string is text; gjson steps into the text of a string as if it were a list";
const NO_DOCUMENT: &str =
    "text that is not one JSON document has no properties; gjson reads the first `{` or `[` it meets";
const HEXADECIMAL: &str = "a hexadecimal float is no JSON number and counts as zero; gjson reads it as Go does";
const ESCAPED: &str = "an escape or a query makes what follows part of a name; gjson, meeting the other kind of \
                       container, runs a modifier or multipath there, on nothing";
const BROKEN_MULTIPATH: &str =
    "a multipath that is never closed, or that text follows, is refused; gjson looks for quite another name";

const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: BRACKET_IN_STRING,
        json: r#"{"s":"[1,2]","t":["[3]","x"]}"#,
        paths: &["s|0", "s|#", "t.#.0", "t.#.#", r#"t.#(=="[3]").0"#, r#"t.#(=="[3]")#.0"#],
    },
    Difference { reason: BRACKET_IN_STRING, json: r#""[7]""#, paths: &["0", "#"] },
    Difference { reason: NO_DOCUMENT, json: r#"{"a":1} trailing"#, paths: &["a"] },
    Difference { reason: NO_DOCUMENT, json: "\u{feff}{\"a\":1}", paths: &["a"] },
    Difference { reason: NO_DOCUMENT, json: "{\"a\":1}\n{\"a\":2}", paths: &["a"] },
    Difference { reason: NO_DOCUMENT, json: r#"{"a":1,}"#, paths: &["a"] },
    Difference { reason: NO_DOCUMENT, json: "[1,2", paths: &["#", "0"] },
    Difference { reason: NO_DOCUMENT, json: r#"{"a":nope}"#, paths: &["a"] },
    Difference { reason: NO_DOCUMENT, json: r#"not json {"a":1}"#, paths: &["a"] },
    Difference { reason: HEXADECIMAL, json: r#"{"x":[16,0]}"#, paths: &["x.#(==0x1p4)", "x.#(==0x1p4)#"] },
    Difference {
        reason: ESCAPED,
        json: r#"{"k.@this":1,"k.[x]":2,"l":[1]}"#,
        paths: &[r"l.k\.[x]", r"l.k\.{x}", r"l.k\.@keys"],
    },
    Difference {
        reason: ESCAPED,
        json: r#"{"o":{"y":1},"l":[{"u":"a.{b}"},{"u":"a.@keys"},{"u":"a|[b]"}]}"#,
        paths: &["o.#(u==a.{b)"],
    },
    Difference { reason: BROKEN_MULTIPATH, json: r#"{"":1,"b":2}"#, paths: &["{b", "[b", "[a]b", "{a}b"] },
];

fn cases() -> Vec<Case> {
    let documents: Vec<Document> = serde_json::from_str(CORPUS).unwrap();
    let of_document = |Document { json, answers }: Document| {
        answers.into_iter().map(move |(path, raw)| Case { json: json.clone(), path, raw })
    };
    documents.into_iter().flat_map(of_document).collect()
}

#[test]
fn every_case_that_is_not_listed_gets_the_answer_of_gjson() {
    let cases = cases();
    let wrong: Vec<_> = cases.iter().filter(|case| !case.is_listed() && !case.agrees()).map(Case::tell).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_listed_case_is_in_the_corpus_and_still_differs() {
    let cases = cases();
    for difference in DIFFERENCES {
        for path in difference.paths {
            let case = cases.iter().find(|case| case.json == difference.json && case.path == *path);
            let case = case.unwrap_or_else(|| panic!("{path:?} of {:?} is not in the corpus", difference.json));
            assert!(!case.agrees(), "this is no difference ({}): {}", difference.reason, case.tell());
        }
    }
}

#[test]
fn the_corpus_has_many_cases_with_a_value_and_many_without() {
    let cases = cases();
    let with_value = cases.iter().filter(|case| case.raw.is_some()).count();
    assert!(cases.len() > 1500 && with_value > 900 && cases.len() - with_value > 300, "{} {with_value}", cases.len());
}
