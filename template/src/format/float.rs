//! Prints floating-point numbers: Go's `strconv`, and what `fmt` adds.

use super::printer::Flags;

/// A number in parts.
pub struct Printed {
    /// `+`, `-` or a space, where one is to be shown.
    pub sign: Option<u8>,
    pub digits: Vec<u8>,
    /// False for infinities and NaN.
    pub is_number: bool,
}

/// With this verb; `None` if it is none of floats.
pub fn printed(number: f64, verb: char, flags: &Flags) -> Option<Printed> {
    let (form, default) = match verb {
        'v' => ('g', None),
        'g' | 'G' | 'b' | 'x' | 'X' => (verb, None),
        'e' | 'E' => (verb, Some(6)),
        'f' | 'F' => ('f', Some(6)),
        _ => return None,
    };
    let precision = flags.precision.or(default);
    let is_negative = number.is_sign_negative() && !number.is_nan();
    let sign = match (is_negative, flags.plus, flags.space) {
        (true, _, _) => Some(b'-'),
        (false, true, _) => Some(b'+'),
        (false, false, true) => Some(b' '),
        (false, false, false) => None,
    };
    if !number.is_finite() {
        let digits = if number.is_nan() { b"NaN" } else { b"Inf" };
        // `fmt` shows the sign of an infinity always.
        let sign = if number.is_nan() { sign } else { sign.or(Some(b'+')) };
        return Some(Printed { sign, digits: digits.to_vec(), is_number: false });
    }
    let mut digits = formatted(number.abs(), form, precision);
    if flags.sharp && form != 'b' {
        digits = with_point(&digits, form, precision);
    }
    Some(Printed { sign, digits, is_number: true })
}

/// Go's `strconv.FormatFloat` of a number that is not negative; no precision is the shortest text that
/// is read as the same number.
pub fn formatted(number: f64, form: char, precision: Option<usize>) -> Vec<u8> {
    match form {
        'e' | 'E' => exponential(&Decimal::of(number, precision.map(|precision| precision + 1)), form, precision),
        'f' => fixed(number, precision),
        'b' => binary(number),
        'x' | 'X' => hexadecimal(number, form, precision),
        _general => general(number, if form == 'G' { 'E' } else { 'e' }, precision),
    }
}

/// Significant digits, and the exponent of the first.
struct Decimal {
    digits: Vec<u8>,
    exponent: i32,
}

impl Decimal {
    /// Rounded to this number of digits, or the shortest.
    fn of(number: f64, digits: Option<usize>) -> Self {
        let text = match digits {
            Some(digits) => format!("{number:.*e}", digits.max(1) - 1),
            None => format!("{number:e}"),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        Decimal {
            digits: mantissa.bytes().filter(u8::is_ascii_digit).collect(),
            exponent: exponent.parse().unwrap_or_default(),
        }
    }
}

fn exponential(decimal: &Decimal, letter: char, precision: Option<usize>) -> Vec<u8> {
    let mut text = vec![decimal.digits[0]];
    let wanted = precision.unwrap_or(decimal.digits.len() - 1);
    if wanted > 0 {
        text.push(b'.');
        let present = &decimal.digits[1..decimal.digits.len().min(wanted + 1)];
        text.extend_from_slice(present);
        text.resize(2 + wanted, b'0');
    }
    let sign = if decimal.exponent < 0 { '-' } else { '+' };
    text.extend_from_slice(format!("{letter}{sign}{:02}", decimal.exponent.abs()).as_bytes());
    text
}

fn fixed(number: f64, precision: Option<usize>) -> Vec<u8> {
    match precision {
        Some(precision) => format!("{number:.precision$}").into_bytes(),
        None => format!("{number}").into_bytes(),
    }
}

/// `%g`: exponential where the exponent is small or large.
fn general(number: f64, letter: char, precision: Option<usize>) -> Vec<u8> {
    let decimal = Decimal::of(number, precision.map(|precision| precision.max(1)));
    // Trailing zeros are no digits here.
    let significant = decimal.digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    let decimal = Decimal { digits: decimal.digits[..significant].to_vec(), exponent: decimal.exponent };
    // For the shortest text, Go decides as if the precision were 6.
    let limit = precision.map_or(6, |precision| i32::try_from(precision.max(1)).unwrap_or(i32::MAX));
    if decimal.exponent < -4 || decimal.exponent >= limit {
        return exponential(&decimal, letter, Some(significant - 1));
    }
    let mut text = Vec::new();
    match usize::try_from(decimal.exponent) {
        Ok(exponent) => {
            let whole = exponent + 1;
            let mut digits = decimal.digits.clone();
            digits.resize(digits.len().max(whole), b'0');
            text.extend_from_slice(&digits[..whole]);
            if digits.len() > whole {
                text.push(b'.');
                text.extend_from_slice(&digits[whole..]);
            }
        }
        Err(_) => {
            text.extend_from_slice(b"0.");
            text.resize(2 + decimal.exponent.unsigned_abs() as usize - 1, b'0');
            text.extend_from_slice(&decimal.digits);
        }
    }
    text
}

/// `4503599627370496p-52`.
fn binary(number: f64) -> Vec<u8> {
    let (mantissa, exponent) = parts(number);
    format!("{mantissa}p{exponent:+}").into_bytes()
}

/// The mantissa and exponent of a number that is not negative.
fn parts(number: f64) -> (u64, i64) {
    let bits = number.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    match exponent {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, exponent.cast_signed() - 1075),
    }
}

/// `0x1.8p+01`.
fn hexadecimal(number: f64, form: char, precision: Option<usize>) -> Vec<u8> {
    let (mut mantissa, exponent) = parts(number);
    let mut exponent = exponent + 52;
    if mantissa == 0 {
        exponent = 0;
    }
    // The first bit is before the point.
    while mantissa != 0 && mantissa < 1 << 52 {
        mantissa <<= 1;
        exponent -= 1;
    }
    // 13 digits after the point.
    if let Some(precision) = precision.filter(|precision| *precision < 13) {
        let shift = 4 * (13 - precision);
        let (kept, rest, half) = (mantissa >> shift, mantissa & ((1 << shift) - 1), 1 << (shift - 1));
        let rounds_up = rest > half || rest == half && kept & 1 == 1;
        mantissa = (kept + u64::from(rounds_up)) << shift;
        if mantissa >= 1 << 53 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let whole = mantissa >> 52;
    let fraction = format!("{:013x}", mantissa & ((1 << 52) - 1));
    let fraction = match precision {
        Some(precision) => {
            let mut fraction = fraction;
            while fraction.len() < precision {
                fraction.push('0');
            }
            fraction.truncate(precision);
            fraction
        }
        None => fraction.trim_end_matches('0').to_owned(),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let text = format!("0x{whole}{point}{fraction}p{sign}{:02}", exponent.abs());
    match form {
        'X' => text.to_uppercase().into_bytes(),
        _ => text.into_bytes(),
    }
}

/// `%#g`: with a decimal point, and the zeros that `%g` drops.
fn with_point(digits: &[u8], form: char, precision: Option<usize>) -> Vec<u8> {
    let is_hexadecimal = matches!(form, 'x' | 'X');
    let is_tail = |byte: &u8| matches!(byte, b'p' | b'P') || !is_hexadecimal && matches!(byte, b'e' | b'E');
    let end = digits.iter().position(is_tail).unwrap_or(digits.len());
    let (number, tail) = digits.split_at(end);
    let mut wanted = match form {
        'g' | 'G' | 'x' => precision.unwrap_or(6),
        _ => 0,
    };
    let seen = number.iter().filter(|byte| **byte != b'.').skip_while(|byte| **byte == b'0').count();
    wanted = wanted.saturating_sub(seen);
    let mut text = number.to_vec();
    if !number.contains(&b'.') {
        if number == b"0" {
            wanted = wanted.saturating_sub(1);
        }
        text.push(b'.');
    }
    text.resize(text.len() + wanted, b'0');
    text.extend_from_slice(tail);
    text
}
