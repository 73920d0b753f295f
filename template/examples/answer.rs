//! Answers cases as the oracle does: one JSON object a line on standard input, one on standard
//! output.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use waypost_template::{Budget, Data, Template};

#[derive(Deserialize)]
struct Case {
    id: serde_json::Value,
    template: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

fn main() {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case: Case = serde_json::from_str(&line.unwrap()).unwrap();
        let text = STANDARD.decode(&case.template).unwrap();
        let values: Vec<(String, Vec<u8>)> =
            case.data.iter().map(|(key, value)| (key.clone(), STANDARD.decode(value).unwrap())).collect();
        let data = Data::of(values.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        let answer = match Template::parse(text) {
            Err(fault) => json!({ "id": case.id, "error": "parse", "message": fault.to_string() }),
            Ok(template) => match template.render(&data, Budget::default()) {
                Err(fault) => json!({ "id": case.id, "error": "exec", "message": fault.to_string() }),
                Ok(text) => json!({ "id": case.id, "output": STANDARD.encode(&*text) }),
            },
        };
        writeln!(output, "{answer}").unwrap();
    }
}
