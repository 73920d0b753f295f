//! Sprig's arithmetic. Integers wrap, as in Go.

use super::convert::{to_float, to_int, to_text};
use super::{Call, Function, fixed, variadic};
use crate::error::Problem;
use crate::value::{Type, Value};

const ANY: Type = Type::Any;

pub const FUNCTIONS: &[Function] = &[
    fixed("atoi", &[Type::Text], |call| {
        let text = call.text(0);
        let number = std::str::from_utf8(&text).ok().map_or(0, atoi);
        Ok(Value::int(number))
    }),
    fixed("int", &[ANY], |call| Ok(Value::int(to_int(&call.value(0))))),
    fixed("int64", &[ANY], |call| Ok(Value::int64(to_int(&call.value(0))))),
    fixed("float64", &[ANY], |call| Ok(Value::Float(to_float(&call.value(0))))),
    fixed("toDecimal", &[ANY], |call| {
        let text = to_text(&call.value(0), call.purse)?;
        let octal = std::str::from_utf8(&text).ok().and_then(|text| i64::from_str_radix(text, 8).ok());
        Ok(Value::int64(octal.unwrap_or(0)))
    }),
    fixed("add1", &[ANY], |call| Ok(Value::int64(to_int(&call.value(0)).wrapping_add(1)))),
    variadic("add", &[], ANY, |call| Ok(Value::int64(call.arguments.iter().map(to_int).fold(0, i64::wrapping_add)))),
    fixed("sub", &[ANY, ANY], |call| Ok(Value::int64(to_int(&call.value(0)).wrapping_sub(to_int(&call.value(1)))))),
    fixed("div", &[ANY, ANY], |call| divided(call, i64::wrapping_div)),
    fixed("mod", &[ANY, ANY], |call| divided(call, i64::wrapping_rem)),
    variadic("mul", &[ANY], ANY, |call| Ok(Value::int64(call.arguments.iter().map(to_int).fold(1, i64::wrapping_mul)))),
    variadic("max", &[ANY], ANY, |call| Ok(Value::int64(call.arguments.iter().map(to_int).max().unwrap_or(0)))),
    variadic("biggest", &[ANY], ANY, |call| Ok(Value::int64(call.arguments.iter().map(to_int).max().unwrap_or(0)))),
    variadic("min", &[ANY], ANY, |call| Ok(Value::int64(call.arguments.iter().map(to_int).min().unwrap_or(0)))),
    variadic("maxf", &[ANY], ANY, |call| Ok(Value::Float(extreme(call, |one, other| one > other)))),
    variadic("minf", &[ANY], ANY, |call| Ok(Value::Float(extreme(call, |one, other| one < other)))),
    fixed("ceil", &[ANY], |call| Ok(Value::Float(to_float(&call.value(0)).ceil()))),
    fixed("floor", &[ANY], |call| Ok(Value::Float(to_float(&call.value(0)).floor()))),
    variadic("round", &[ANY, Type::Int], Type::Float, round),
];

/// Go's `strconv.Atoi`: what is too large becomes the largest, what is no number becomes 0.
fn atoi(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn divided(call: &mut Call<'_>, divide: fn(i64, i64) -> i64) -> Result<Value, Problem> {
    match to_int(&call.value(1)) {
        0 => call.refuse("division by zero"),
        divisor => Ok(Value::int64(divide(to_int(&call.value(0)), divisor))),
    }
}

fn extreme(call: &Call<'_>, is_better: fn(f64, f64) -> bool) -> f64 {
    let numbers = call.arguments.iter().map(to_float);
    let better = |one: f64, other: f64| match () {
        () if one.is_nan() || other.is_nan() => f64::NAN,
        () if is_better(one, other) => one,
        () => other,
    };
    numbers.reduce(better).unwrap_or(0.0)
}

fn round(call: &mut Call<'_>) -> Result<Value, Problem> {
    let on = match call.arguments.get(2) {
        Some(Value::Float(on)) => *on,
        _ => 0.5,
    };
    let power = 10f64.powf(call.int(1) as f64);
    let shifted = power * to_float(&call.value(0));
    let rounded = if shifted.fract() >= on { shifted.ceil() } else { shifted.floor() };
    Ok(Value::Float(rounded / power))
}
