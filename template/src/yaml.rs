//! Keys and values that a template renders as YAML.

use thiserror::Error;

use crate::budget::{Budget, Purse};
use crate::error::Problem;
use crate::format::float;
use crate::functions::read_yaml;
use crate::value::{Output, Text, Value};

/// The integers that a float has exactly: larger ones may have lost digits.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a text is no keys and values. No key and no value is named: either may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoKeysAndValues {
    /// It is no map.
    #[error("it is no map")]
    NoMap,
    /// A value that is no text, number or boolean.
    #[error("the value of its key number {position} is a list or a map: quote it")]
    NoText {
        /// The position of the key in the order of the keys, from 1.
        position: usize,
    },
    /// A number of which digits may be lost.
    #[error("the value of its key number {position} is a number with many digits: quote it")]
    LongNumber {
        /// The position of the key in the order of the keys, from 1.
        position: usize,
    },
    /// It is larger than the budget allows.
    #[error("{0}")]
    Budget(Box<Problem>),
}

/// Reads a YAML map as Go's library reads it into a `map[string]string`: null is an empty text, and
/// numbers and booleans are texts too.
///
/// # Errors
/// [`NoKeysAndValues`].
pub fn keys_and_values(text: &[u8], budget: Budget) -> Result<Vec<(String, Output)>, NoKeysAndValues> {
    let mut purse = Purse::of(budget);
    let read = read_yaml(text, &mut purse).map_err(|problem| NoKeysAndValues::Budget(Box::new(problem)))?;
    let map = match read {
        Some(Value::Nil) => return Ok(Vec::new()),
        Some(Value::Map(map)) => map,
        Some(_) | None => return Err(NoKeysAndValues::NoMap),
    };
    let entry = |(index, (key, value)): (usize, (Text, Value))| {
        let key = String::from_utf8_lossy(&key).into_owned();
        Ok((key, Output::new(as_text(&value, index + 1)?)))
    };
    map.entries().into_iter().enumerate().map(entry).collect()
}

fn as_text(value: &Value, position: usize) -> Result<Vec<u8>, NoKeysAndValues> {
    Ok(match value {
        Value::Text(text) => text.to_vec(),
        Value::Nil | Value::NilInterface => Vec::new(),
        Value::Bool(truth) => truth.to_string().into_bytes(),
        Value::Int(number, _) => number.to_string().into_bytes(),
        Value::Uint(number, _) => number.to_string().into_bytes(),
        Value::Float(number) if number.abs() >= EXACT => return Err(NoKeysAndValues::LongNumber { position }),
        Value::Float(number) if number.fract() == 0.0 => format!("{number:.0}").into_bytes(),
        Value::Float(number) => float::formatted(*number, 'g', None),
        Value::List(_) | Value::Map(_) | Value::Object(_) => return Err(NoKeysAndValues::NoText { position }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let read = keys_and_values(text.as_bytes(), Budget::default()).map_err(|fault| fault.to_string())?;
        Ok(read.into_iter().map(|(key, value)| (key, String::from_utf8(value.to_vec()).unwrap())).collect())
    }

    #[test]
    fn values_are_texts_however_they_are_written() {
        let text = "b: plain\na: \"quoted\"\nc: |\n  two\n  lines\nnone:\nport: 5432\ntls: true\nshare: 0.5\n";
        let expected = [
            ("a", "quoted"),
            ("b", "plain"),
            ("c", "two\nlines\n"),
            ("none", ""),
            ("port", "5432"),
            ("share", "0.5"),
            ("tls", "true"),
        ];
        assert_eq!(read(text), Ok(expected.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()));
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_text_is_told_without_a_key_or_a_value() {
        for (text, words) in [
            ("s3cret: [s3cret]", "key number 1 is a list or a map"),
            ("a: x\ns3cret: { a: b }", "key number 2 is a list or a map"),
            ("s3cret: 12345678901234567890", "many digits"),
            ("- s3cret", "no map"),
            ("s3cret", "no map"),
            ("a: 'unclosed s3cret", "no map"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(words) && !told.contains("s3cret"), "{told}");
        }
    }
}
