//! Keys and values that a template renders as YAML.

use crate::budget::{Budget, Purse};
use crate::error::{Fault, Problem};
use crate::functions::read_yaml;
use crate::value::{Output, Value};

/// Reads a YAML map whose values are texts, as Go's library reads it into a `map[string]string`: null
/// is an empty text, and a number is an error.
///
/// # Errors
/// The text is no such map. No value is named.
pub fn keys_and_values(text: &[u8], budget: Budget) -> Result<Vec<(String, Output)>, Fault> {
    let mut purse = Purse::of(budget);
    let fault = |problem: Problem| problem.at(text, 0);
    let map = match read_yaml(text, &mut purse).map_err(fault)? {
        Some(Value::Nil) => return Ok(Vec::new()),
        Some(Value::Map(map)) => map,
        Some(_) | None => return Err(fault(Problem::Run("it is no map of keys and values".to_owned()))),
    };
    let entry = |(key, value): (crate::value::Text, Value)| {
        let key = String::from_utf8_lossy(&key).into_owned();
        match value {
            Value::Text(text) => Ok((key, Output::new(text.to_vec()))),
            Value::Nil | Value::NilInterface => Ok((key, Output::new(Vec::new()))),
            other => {
                let problem = format!("the value of {key:?} is of type {}: quote it", other.kind_name());
                Err(fault(Problem::Run(problem)))
            }
        }
    };
    map.entries().into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let read = keys_and_values(text.as_bytes(), Budget::default()).map_err(|fault| fault.to_string())?;
        Ok(read.into_iter().map(|(key, value)| (key, String::from_utf8(value.to_vec()).unwrap())).collect())
    }

    #[test]
    fn texts_are_read_however_they_are_written() {
        let text = "b: plain\na: \"quoted\"\nc: |\n  two\n  lines\nnone:\n";
        let expected = [("a", "quoted"), ("b", "plain"), ("c", "two\nlines\n"), ("none", "")];
        assert_eq!(read(text), Ok(expected.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()));
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_text_is_named_by_its_key() {
        for (text, words) in [
            ("a: 5", "\"a\" is of type float64: quote it"),
            ("a: true", "\"a\" is of type bool"),
            ("a: [s3cret]", "\"a\""),
            ("- s3cret", "no map"),
            ("s3cret", "no map"),
            ("a: 'unclosed s3cret", "no map"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(words) && !told.contains("s3cret"), "{told}");
        }
    }
}
