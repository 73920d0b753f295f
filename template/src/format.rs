//! Prints values as Go's `fmt` does: `Sprint`, `Sprintln`, `Sprintf`.

mod directive;
pub mod float;
mod integer;
mod printer;
mod quote;

use zeroize::Zeroizing;

use crate::budget::Purse;
use crate::error::Problem;
use crate::value::Value;
use printer::Printer;
pub use quote::{quoted, unquoted, unquoted_character};

/// What an action shows: `<no value>` where there is none.
pub fn shown(value: &Value, purse: &mut Purse) -> Result<Zeroizing<Vec<u8>>, Problem> {
    match value {
        Value::Nil | Value::NilInterface => Ok(Zeroizing::new(b"<no value>".to_vec())),
        Value::Text(text) => {
            purse.make(text.len())?;
            Ok(Zeroizing::new(text.to_vec()))
        }
        other => sprint(std::slice::from_ref(other), purse),
    }
}

/// `fmt.Sprint`: a space between two that are no texts.
pub fn sprint(values: &[Value], purse: &mut Purse) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut printer = Printer::new(purse);
    let is_text = |value: &Value| matches!(value, Value::Text(_));
    for (index, value) in values.iter().enumerate() {
        if index > 0 && !is_text(value) && !is_text(&values[index - 1]) {
            printer.write(b" ")?;
        }
        printer.argument(value, 'v')?;
    }
    Ok(printer.finish())
}

/// `fmt.Sprintln`: a space between any two, and a line break.
pub fn sprintln(values: &[Value], purse: &mut Purse) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut printer = Printer::new(purse);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            printer.write(b" ")?;
        }
        printer.argument(value, 'v')?;
    }
    printer.write(b"\n")?;
    Ok(printer.finish())
}

/// `fmt.Sprintf`.
pub fn sprintf(format: &[u8], values: &[Value], purse: &mut Purse) -> Result<Zeroizing<Vec<u8>>, Problem> {
    directive::print(format, values, Printer::new(purse))
}

/// The shortest text of a number that is not negative, with form `e` or `f`.
pub fn float_form(number: f64, form: char) -> Vec<u8> {
    float::formatted(number, form, None)
}

/// Go's shortest text of a number, with an exponent where it is large or small.
pub fn float_general(number: f64) -> Vec<u8> {
    let digits = float::formatted(number.abs(), 'g', None);
    let sign: &[u8] = if number.is_sign_negative() { b"-" } else { b"" };
    [sign, &digits].concat()
}
