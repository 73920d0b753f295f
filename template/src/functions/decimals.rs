//! Sprig's arithmetic of decimals: what is exact in base 10 stays exact.

use num_bigint::BigInt;
use num_traits::{Signed, Zero};

use super::convert::to_float;
use super::{Call, Function, fixed, variadic};
use crate::error::Problem;
use crate::value::{Type, Value};

const ANY: Type = Type::Any;

/// Digits after the point of a quotient.
const PRECISION: i32 = 16;

pub const FUNCTIONS: &[Function] = &[
    fixed("add1f", &[ANY], |call| {
        let arguments = vec![call.value(0), Value::int(1)];
        calculated(call, &arguments, |one, other| Some(one.plus(&other)))
    }),
    variadic("addf", &[], ANY, |call| {
        let arguments = [&[Value::int(0)], &call.arguments[..]].concat();
        calculated(call, &arguments, |one, other| Some(one.plus(&other)))
    }),
    variadic("subf", &[ANY], ANY, |call| {
        let arguments = call.arguments.clone();
        calculated(call, &arguments, |one, other| Some(one.plus(&other.negative())))
    }),
    variadic("mulf", &[ANY], ANY, |call| {
        let arguments = call.arguments.clone();
        calculated(call, &arguments, |one, other| Some(one.times(&other)))
    }),
    variadic("divf", &[ANY], ANY, |call| {
        let arguments = call.arguments.clone();
        calculated(call, &arguments, |one, other| one.over(&other))
    }),
];

fn calculated(
    call: &Call<'_>,
    arguments: &[Value],
    operation: fn(Decimal, Decimal) -> Option<Decimal>,
) -> Result<Value, Problem> {
    let mut result: Option<Decimal> = None;
    for argument in arguments {
        let Some(decimal) = Decimal::of(to_float(argument)) else {
            return call.refuse("an infinite number is no decimal");
        };
        result = match result {
            None => Some(decimal),
            Some(before) => match operation(before, decimal) {
                Some(after) => Some(after),
                None => return call.refuse("division by zero"),
            },
        };
    }
    Ok(Value::Float(result.map_or(0.0, |decimal| decimal.float())))
}

/// A number times a power of ten.
struct Decimal {
    number: BigInt,
    exponent: i32,
}

impl Decimal {
    /// The shortest decimal that is read as this float.
    fn of(float: f64) -> Option<Self> {
        if !float.is_finite() {
            return None;
        }
        let text = format!("{float:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let exponent: i32 = exponent.parse().ok()?;
        let places = mantissa.split_once('.').map_or(0, |(_, places)| places.len());
        let number: BigInt = mantissa.replace('.', "").parse().ok()?;
        Some(Decimal { number, exponent: exponent - i32::try_from(places).ok()? })
    }

    fn float(&self) -> f64 {
        format!("{}e{}", self.number, self.exponent).parse().unwrap_or(0.0)
    }

    fn negative(self) -> Self {
        Decimal { number: -self.number, ..self }
    }

    fn plus(&self, other: &Decimal) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Decimal { number: self.scaled(exponent) + other.scaled(exponent), exponent }
    }

    fn times(&self, other: &Decimal) -> Self {
        Decimal { number: &self.number * &other.number, exponent: self.exponent + other.exponent }
    }

    /// Rounded half away from zero.
    fn over(&self, other: &Decimal) -> Option<Self> {
        if other.number.is_zero() {
            return None;
        }
        let shift = self.exponent - other.exponent + PRECISION;
        let (mut numerator, mut denominator) = (self.number.clone(), other.number.clone());
        match u32::try_from(shift) {
            Ok(shift) => numerator *= BigInt::from(10).pow(shift),
            Err(_) => denominator *= BigInt::from(10).pow(shift.unsigned_abs()),
        }
        let (quotient, rest) = (&numerator / &denominator, &numerator % &denominator);
        let rounds = (rest.abs() << 1u32) >= denominator.abs();
        let away = if numerator.is_negative() == denominator.is_negative() { 1 } else { -1 };
        let number = if rounds { quotient + away } else { quotient };
        Some(Decimal { number, exponent: -PRECISION })
    }

    /// The number at a smaller exponent.
    fn scaled(&self, exponent: i32) -> BigInt {
        &self.number * BigInt::from(10).pow((self.exponent - exponent).unsigned_abs())
    }
}
