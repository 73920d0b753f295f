//! What a plain scalar means, by the rules of YAML 1.1 that Go's library has.

use std::cmp::Ordering;

use super::layout;
use crate::go_text;
use crate::syntax::{float_of, int_of};

/// The meaning of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Larger than an `int64`.
    Uint(u64),
    Float(f64),
    /// It stays a text.
    Timestamp,
    Merge,
    Text,
}

/// The meaning of a scalar without quotes and without a tag.
pub fn resolve(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        "<<" => return Scalar::Merge,
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => go_float(text).map_or(Scalar::Text, Scalar::Float),
        b'+' | b'-' | b'0'..=b'9' => number(text),
        _ => Scalar::Text,
    }
}

fn number(text: &str) -> Scalar {
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let plain = text.replace('_', "");
    if let Some(int) = int_of(&plain) {
        return Scalar::Int(int);
    }
    if let Some(uint) = crate::syntax::uint_of(&plain) {
        return Scalar::Uint(uint);
    }
    if is_decimal(&plain)
        && let Some(float) = go_float(&plain)
    {
        return Scalar::Float(float);
    }
    Scalar::Text
}

/// As `strconv.ParseFloat`, but what is too large is none.
fn go_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_plain = unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    is_plain.then(|| float_of(text)).flatten()
}

/// `-1.5e+3`, `.5`, `5.`.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_mantissa = match mantissa.split_once('.') {
        Some(("", places)) => are_digits(places),
        Some((whole, places)) => are_digits(whole) && (places.is_empty() || are_digits(places)),
        None => are_digits(mantissa),
    };
    is_mantissa && exponent.is_none_or(|exponent| are_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

fn is_timestamp(text: &str) -> bool {
    const LAYOUTS: [&[u8]; 4] = [
        b"2006-1-2T15:4:5.999999999Z07:00",
        b"2006-1-2t15:4:5.999999999Z07:00",
        b"2006-1-2 15:4:5.999999999",
        b"2006-1-2",
    ];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits == 4
        && text.as_bytes().get(4) == Some(&b'-')
        && LAYOUTS.into_iter().any(|layout| layout::parse(layout, text.as_bytes()).is_some())
}

/// Whether a text must be quoted, since it would mean something else, also to older readers
/// (`1:20` is 80).
pub fn is_ambiguous(text: &str) -> bool {
    !matches!(resolve(text), Scalar::Text | Scalar::Merge) || is_sexagesimal(text)
}

fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let is_whole = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let is_first = parts.next().is_some_and(|first| is_whole(first) && first.as_bytes()[0].is_ascii_digit());
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let is_sixty = |part: &str| {
        matches!(part.as_bytes(), [digit] if digit.is_ascii_digit())
            || matches!(part.as_bytes(), [b'0'..=b'5', digit] if digit.is_ascii_digit())
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    is_first
        && middle.iter().all(|part| is_sixty(part))
        && is_sixty(last)
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// The order of keys: letters after other characters, and numbers by their value.
pub fn order(one: &str, other: &str) -> Ordering {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let Some(at) = one.iter().zip(&other).position(|(one, other)| one != other) else {
        return one.len().cmp(&other.len());
    };
    match (go_text::is_letter(one[at]), go_text::is_letter(other[at])) {
        (true, true) => return one[at].cmp(&other[at]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // After the first digits of a number, a zero counts.
    let is_within = (one[at] == '0' || other[at] == '0')
        && one[..at].iter().rev().take_while(|digit| go_text::is_digit(**digit)).any(|digit| *digit != '0');
    let number = |text: &[char]| {
        let digits: Vec<i64> = text[at..]
            .iter()
            .take_while(|digit| go_text::is_digit(**digit))
            .map(|digit| i64::from(u32::from(*digit)) - 48)
            .collect();
        let start = i64::from(is_within);
        (digits.iter().fold(start, |number, digit| number.wrapping_mul(10).wrapping_add(*digit)), digits.len())
    };
    number(&one).cmp(&number(&other)).then_with(|| one[at].cmp(&other[at]))
}
