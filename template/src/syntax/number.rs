//! Constants: Go keeps a number in every type that can hold it, and the place where it is used
//! decides.

use crate::format::unquoted_character;

/// A constant number.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// As a signed integer.
    pub int: Option<i64>,
    /// As an unsigned integer.
    pub uint: Option<u64>,
    /// As a float.
    pub float: Option<f64>,
    /// Whether it is a float where nothing else decides.
    pub is_float: bool,
}

/// A character such as `'x'`.
pub fn of_character(literal: &[u8]) -> Option<Number> {
    let code = unquoted_character(literal)?;
    Some(Number { int: Some(code), uint: u64::try_from(code).ok(), float: Some(code as f64), is_float: false })
}

/// A number. Why it is none is said in words.
pub fn of_number(literal: &[u8]) -> Result<Number, &'static str> {
    let text = std::str::from_utf8(literal).map_err(|_| "not a number")?;
    let mut number = Number { int: signed(text), uint: unsigned(text), float: None, is_float: false };
    if number.int == Some(0) {
        number.uint = Some(0);
    }
    number.float = number.int.map(|int| int as f64).or_else(|| number.uint.map(|uint| uint as f64));
    if number.float.is_some() {
        return Ok(number);
    }
    let float = float(text).ok_or("not a number")?;
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err("a number is too large");
    }
    number.float = Some(float);
    number.is_float = !is_hexadecimal_integer(text);
    if (float as i64) as f64 == float && float.abs() < 9.3e18 {
        number.int = Some(float as i64);
    }
    if (float as u64) as f64 == float && float >= 0.0 {
        number.uint = Some(float as u64);
    }
    Ok(number)
}

fn is_hexadecimal_integer(text: &str) -> bool {
    text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P'])
}

/// A signed integer with an optional prefix for its base.
pub fn signed(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number = i128::from(unsigned(digits)?);
    i64::try_from(if is_negative { -number } else { number }).ok()
}

/// Digits with an optional prefix for the base, and underscores between them.
pub fn unsigned(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let (radix, digits) = match bytes {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest),
        [b'0', b'o' | b'O', rest @ ..] => (8, rest),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        _ => (10, bytes),
    };
    let has_prefix = digits.len() < bytes.len();
    if !are_underscores_right(digits, has_prefix) {
        return None;
    }
    let plain: String = digits.iter().filter(|byte| **byte != b'_').map(|byte| char::from(*byte)).collect();
    let is_number = plain.chars().all(|digit| digit.is_digit(radix));
    is_number.then(|| u64::from_str_radix(&plain, radix).ok()).flatten()
}

/// An underscore is between two digits, or after the prefix.
fn are_underscores_right(digits: &[u8], has_prefix: bool) -> bool {
    let mut before_is_digit = has_prefix;
    for byte in digits {
        if *byte == b'_' && !before_is_digit {
            return false;
        }
        before_is_digit = *byte != b'_';
    }
    before_is_digit && !digits.is_empty()
}

/// A float that is finite.
pub fn float(text: &str) -> Option<f64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => self::hexadecimal(hexadecimal)?,
        None => {
            let plain = digits.replace('_', "");
            let is_plain = plain.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
            let are_underscores_right = digits.split('_').all(|part| {
                let (first, last) = (part.bytes().next(), part.bytes().next_back());
                let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
                !digits.contains('_') || is_digit(first) && is_digit(last)
            });
            (is_plain && are_underscores_right).then(|| plain.parse().ok()).flatten()?
        }
    };
    number.is_finite().then_some(if is_negative { -number } else { number })
}

/// `1.8p3`: the mantissa in base 16, the exponent in base 2.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !are_underscores_right(whole.as_bytes(), true) && !whole.is_empty() {
        return None;
    }
    let digits: String = whole.chars().chain(fraction.chars()).filter(|digit| *digit != '_').collect();
    if digits.is_empty() || digits.len() > 30 || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mantissa = u128::from_str_radix(&digits, 16).ok()? as f64;
    let exponent: i32 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let places = i32::try_from(fraction.chars().filter(|digit| *digit != '_').count()).ok()?;
    Some(mantissa * 2f64.powi(exponent.checked_sub(4 * places)?))
}
