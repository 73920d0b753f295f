//! Durations in Go's form (`30s`, `1h30m0s`), parsed and printed exactly as `time.ParseDuration`
//! and `Duration.String` do.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// The maximum length of a duration text in the schema, in characters.
pub const MAX_TEXT: usize = 64;

/// The rule (CEL) of every duration field. It checks the form; only parsing shows whether the value
/// fits.
pub const RULE: &str = r"self.matches('^[-+]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$')";

/// A span of time in nanoseconds, negative allowed, at most about 292 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

impl GoDuration {
    /// The duration of that many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The duration of that many seconds; the longest duration if they do not fit.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND as i64))
    }

    /// The length in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The length for a timer. `None` for zero and negative durations, which mean "once" for every
    /// interval of this API.
    pub fn positive(self) -> Option<Duration> {
        u64::try_from(self.0).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }
}

/// Why a text is not a duration. It quotes nothing: the caller names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is no text.
    #[error("the duration is empty; write a number with a unit, for example 30s, 15m or 1h0m0s")]
    Empty,
    /// A number was expected.
    #[error("the duration is malformed; write numbers with units, for example 30s, 15m or 1h0m0s")]
    Malformed,
    /// A number has no unit.
    #[error("the duration lacks a unit; use ns, us, ms, s, m or h, for example 30s")]
    MissingUnit,
    /// A number has a unit that Go does not know, such as `d`.
    #[error("the duration has an unknown unit; use ns, us, ms, s, m or h (a day is 24h)")]
    UnknownUnit,
    /// The duration does not fit into 64 bits of nanoseconds.
    #[error("the duration is too long; the longest is 2562047h47m16s")]
    Overflow,
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text.is_empty() {
            return Err(DurationError::Empty);
        }
        let (negative, mut rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(DurationError::Malformed);
        }
        let mut nanos: u64 = 0;
        while !rest.is_empty() {
            let (term, after) = parse_term(rest)?;
            nanos = nanos.checked_add(term).filter(|sum| *sum <= 1 << 63).ok_or(DurationError::Overflow)?;
            rest = after;
        }
        if negative {
            // 1 << 63 is a legal negative duration: the most negative i64.
            return Ok(Self((nanos as i64).wrapping_neg()));
        }
        i64::try_from(nanos).map(Self).map_err(|_| DurationError::Overflow)
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn parse_term(text: &str) -> Result<(u64, &str), DurationError> {
    let digits = count_digits(text);
    let (whole, mut rest) = text.split_at(digits);
    let mut fraction = "";
    if let Some(after_dot) = rest.strip_prefix('.') {
        (fraction, rest) = after_dot.split_at(count_digits(after_dot));
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Malformed);
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = unit_nanos(unit)?;
    let whole = whole.bytes().try_fold(0u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|value| *value <= 1 << 63)
    });
    let nanos = whole
        .and_then(|value| value.checked_mul(unit))
        .filter(|nanos| *nanos <= 1 << 63)
        .and_then(|nanos| nanos.checked_add(fraction_nanos(fraction, unit)))
        .filter(|nanos| *nanos <= 1 << 63)
        .ok_or(DurationError::Overflow)?;
    Ok((nanos, rest))
}

fn count_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn unit_nanos(unit: &str) -> Result<u64, DurationError> {
    match unit {
        "ns" => Ok(1),
        // Go accepts the micro sign (U+00B5) and the Greek letter mu (U+03BC).
        "us" | "\u{b5}s" | "\u{3bc}s" => Ok(1_000),
        "ms" => Ok(1_000_000),
        "s" => Ok(SECOND),
        "m" => Ok(60 * SECOND),
        "h" => Ok(3600 * SECOND),
        "" => Err(DurationError::MissingUnit),
        _ => Err(DurationError::UnknownUnit),
    }
}

/// The nanoseconds of a decimal fraction of `unit`, truncated as Go does: digits beyond what 63
/// bits hold are ignored, and the quotient is taken in floating point.
fn fraction_nanos(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0u64, 1f64);
    for digit in digits.bytes() {
        let next = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .filter(|next| value <= (i64::MAX as u64) / 10 && *next <= 1 << 63);
        let Some(next) = next else { break };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < SECOND {
            let (unit, name) = match nanos {
                ..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "\u{b5}s"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", decimal(nanos, unit));
        }
        let (hours, minutes) = (nanos / (3600 * SECOND), nanos / (60 * SECOND) % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(nanos % (60 * SECOND), SECOND))
    }
}

/// `nanos / unit` as a decimal number without trailing zeros.
fn decimal(nanos: u64, unit: u64) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// A duration as written in a manifest. Decoding never fails: a reconciler parses it and can report
/// what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(String);

impl DurationText {
    /// The text as a manifest would carry it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The default refresh interval of ExternalSecret and PushSecret.
    pub fn one_hour() -> Self {
        Self::new("1h0m0s")
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The duration that the text means.
    ///
    /// # Errors
    /// [`DurationError`] exactly where Go's `time.ParseDuration` fails.
    pub fn parse(&self) -> Result<GoDuration, DurationError> {
        self.0.parse()
    }
}

impl From<GoDuration> for DurationText {
    fn from(duration: GoDuration) -> Self {
        Self(duration.to_string())
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": MAX_TEXT,
            "x-kubernetes-validations": [{
                "rule": RULE,
                "message": "must be a duration such as 30s, 15m or 1h0m0s; the units are ns, us, ms, s, m and h (a day is 24h)",
            }],
        })
    }
}
