//! What Sprig makes of a value where it wants a number or a text.

use zeroize::Zeroizing;

use crate::budget::Purse;
use crate::error::Problem;
use crate::format;
use crate::value::{Text, Value};

/// As text: a text as it is, anything else as `%v` prints it.
pub fn to_text(value: &Value, purse: &mut Purse) -> Result<Text, Problem> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        other => {
            let mut text: Zeroizing<Vec<u8>> = format::sprint(std::slice::from_ref(other), purse)?;
            Ok(Text::new(std::mem::take(&mut *text)))
        }
    }
}

/// As texts: the elements of a list that are not nil, or a value alone.
pub fn to_texts(value: &Value, purse: &mut Purse) -> Result<Vec<Text>, Problem> {
    match value {
        Value::Nil | Value::NilInterface => Ok(Vec::new()),
        Value::List(list) => {
            let present = list.iter().filter(|item| !matches!(item, Value::Nil | Value::NilInterface));
            present.map(|item| to_text(item, purse)).collect()
        }
        other => to_text(other, purse).map(|text| vec![text]),
    }
}

/// As an integer; 0 for what is none.
pub fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(number, _) => *number,
        Value::Uint(number, _) => number.cast_signed(),
        Value::Float(number) => float_to_int(*number),
        Value::Text(text) => text_to_int(text).unwrap_or(0),
        Value::Bool(true) => 1,
        Value::Bool(false) | Value::Nil | Value::NilInterface | Value::List(_) | Value::Map(_) | Value::Object(_) => 0,
    }
}

/// As Go converts on amd64: what does not fit becomes the smallest number.
pub fn float_to_int(number: f64) -> i64 {
    let fits = number > -9_223_372_036_854_775_809.0 && number < 9_223_372_036_854_775_808.0;
    if fits { number as i64 } else { i64::MIN }
}

/// As a float; 0 for what is none.
pub fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(number, _) => *number as f64,
        Value::Uint(number, _) => *number as f64,
        Value::Float(number) => *number,
        Value::Text(text) => text_to_float(text).unwrap_or(0.0),
        Value::Bool(true) => 1.0,
        Value::Bool(false) | Value::Nil | Value::NilInterface | Value::List(_) | Value::Map(_) | Value::Object(_) => {
            0.0
        }
    }
}

/// An integer with a prefix for its base. A fraction is dropped.
fn text_to_int(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) if is_digits(whole.trim_start_matches(['+', '-'])) && is_digits(fraction) => {
            match whole {
                "" | "+" | "-" => Some(0),
                whole => crate::syntax::int_of(whole),
            }
        }
        Some(_) | None => crate::syntax::int_of(text),
    }
}

/// A float as Go's `strconv.ParseFloat` reads it.
pub fn text_to_float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_negative = text.starts_with('-');
    let number = match unsigned.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => return Some(f64::NAN),
        _ => crate::syntax::float_of(unsigned)?,
    };
    Some(if is_negative { -number } else { number })
}

/// Whether Sprig takes a value for empty.
pub fn is_empty(value: &Value) -> bool {
    !value.is_true()
}

/// Go's `reflect.DeepEqual`.
pub fn is_deeply_equal(one: &Value, other: &Value, purse: &mut Purse) -> Result<bool, Problem> {
    purse.step(1)?;
    purse.descend()?;
    let equal = match (one, other) {
        (Value::Nil | Value::NilInterface, Value::Nil | Value::NilInterface) => true,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Int(one, kind), Value::Int(other, of)) => one == other && kind == of,
        (Value::Uint(one, kind), Value::Uint(other, of)) => one == other && kind == of,
        (Value::Float(one), Value::Float(other)) => one == other,
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::List(one), Value::List(other)) => {
            let mut equal =
                one.element() == other.element() && one.is_nil() == other.is_nil() && one.len() == other.len();
            for (one, other) in one.iter().zip(other.iter()) {
                equal = equal && is_deeply_equal(one, other, purse)?;
            }
            equal
        }
        (Value::Map(one), Value::Map(other)) => {
            let mut equal =
                one.element() == other.element() && one.is_nil() == other.is_nil() && one.len() == other.len();
            for (key, value) in one.entries() {
                equal = equal
                    && match other.get(&key) {
                        Some(other) => is_deeply_equal(&value, &other, purse)?,
                        None => false,
                    };
            }
            equal
        }
        (Value::Object(one), Value::Object(other)) => one.name() == other.name() && one.print() == other.print(),
        _ => false,
    };
    purse.ascend();
    Ok(equal)
}
