//! Sprig's functions of dates. The local time zone is UTC, as in a container.

use std::any::Any;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::{Call, Function, duration, fixed, layout};
use crate::error::Problem;
use crate::value::{Object, Type, Value};

const ANY: Type = Type::Any;
const TEXT: Type = Type::Text;
const TIME: Type = Type::Object("time.Time");
const HTML: &[u8] = b"2006-01-02";
const SECOND: i128 = 1_000_000_000;

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

pub const FUNCTIONS: &[Function] = &[
    fixed("now", &[], |_| Ok(Moment::now().value())),
    fixed("date", &[TEXT, ANY], |call| Ok(Value::text(layout::format(&moment(call, 1), &call.text(0))))),
    fixed("dateInZone", &[TEXT, ANY, TEXT], |call| in_zone(call, &call.text(0), 1, 2)),
    fixed("date_in_zone", &[TEXT, ANY, TEXT], |call| in_zone(call, &call.text(0), 1, 2)),
    fixed("htmlDate", &[ANY], |call| Ok(Value::text(layout::format(&moment(call, 0), HTML)))),
    fixed("htmlDateInZone", &[ANY, TEXT], |call| in_zone(call, HTML, 0, 1)),
    fixed("dateModify", &[TEXT, TIME], |call| Ok(modified(call).unwrap_or_else(|| call.value(1)))),
    fixed("date_modify", &[TEXT, TIME], |call| Ok(modified(call).unwrap_or_else(|| call.value(1)))),
    fixed("mustDateModify", &[TEXT, TIME], must_modify),
    fixed("must_date_modify", &[TEXT, TIME], must_modify),
    fixed("toDate", &[TEXT, TEXT], |call| {
        Ok(layout::parse(&call.text(0), &call.text(1)).unwrap_or_else(Moment::zero).value())
    }),
    fixed("mustToDate", &[TEXT, TEXT], |call| match layout::parse(&call.text(0), &call.text(1)) {
        Some(moment) => Ok(moment.value()),
        None => call.refuse("the text is not a date of this layout"),
    }),
    fixed("unixEpoch", &[TIME], |call| Ok(Value::text(moment(call, 0).seconds().to_string()))),
    fixed("ago", &[ANY], |call| {
        let since = Moment::now().nanoseconds - moment(call, 0).nanoseconds;
        Ok(Value::text(duration::text(saturated(round_half_up(since)))))
    }),
    fixed("duration", &[ANY], |call| {
        let seconds = match call.value(0) {
            Value::Text(text) => std::str::from_utf8(&text).ok().map_or(0, parse_seconds),
            Value::Int(number, Type::Int64) => number,
            _ => 0,
        };
        Ok(Value::text(duration::text(seconds.wrapping_mul(1_000_000_000))))
    }),
    fixed("durationRound", &[ANY], |call| {
        let nanoseconds = match call.value(0) {
            Value::Text(text) => duration::parse(&text).unwrap_or(0),
            Value::Int(number, Type::Int64) => number,
            other => {
                Moment::of_value(&other).map_or(0, |moment| saturated(Moment::now().nanoseconds - moment.nanoseconds))
            }
        };
        Ok(Value::text(duration::rounded(nanoseconds)))
    }),
];

/// What is too large becomes the largest, as in Go.
fn parse_seconds(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    match digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        true => 0,
        false => text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }),
    }
}

fn saturated(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

fn round_half_up(nanoseconds: i128) -> i128 {
    let rest = nanoseconds.rem_euclid(SECOND);
    nanoseconds - rest + if 2 * rest >= SECOND { SECOND } else { 0 }
}

/// A time, or seconds since 1970; for anything else it is now.
fn moment(call: &Call<'_>, index: usize) -> Moment {
    match call.value(index) {
        Value::Int(seconds, _) => Moment::of_seconds(seconds),
        other => Moment::of_value(&other).cloned().unwrap_or_else(Moment::now),
    }
    .seen_at(0)
}

fn in_zone(call: &Call<'_>, layout: &[u8], date: usize, zone: usize) -> Result<Value, Problem> {
    let zone = call.text(zone);
    let moment = moment(call, date);
    // An unknown zone counts as UTC.
    let zone = std::str::from_utf8(&zone).ok().and_then(zone_of);
    let moment = zone.and_then(|zone| moment.seen_in(&zone)).unwrap_or(moment);
    Ok(Value::text(layout::format(&moment, layout)))
}

/// A zone of the data that is part of the program: none of the system's files is read.
fn zone_of(name: &str) -> Option<TimeZone> {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    ZONES.get(name).ok().filter(|zone| zone.iana_name() == Some(name))
}

fn modified(call: &Call<'_>) -> Option<Value> {
    let by = duration::parse(&call.text(0))?;
    let value = call.value(1);
    Some(Moment::of_value(&value)?.plus(by.into()).value())
}

fn must_modify(call: &mut Call<'_>) -> Result<Value, Problem> {
    match modified(call) {
        Some(value) => Ok(value),
        None => call.refuse("the text is no duration"),
    }
}

/// Go's `time.Time`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970, in UTC.
    nanoseconds: i128,
    /// In seconds, east of UTC.
    pub offset: i32,
    /// A zone of which only the name is known.
    name: Option<String>,
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub nanosecond: u32,
    /// From Sunday.
    pub weekday: u32,
    /// From 1.
    pub year_day: u32,
}

impl Moment {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { nanoseconds: i128::try_from(since.as_nanos()).unwrap_or_default(), offset: 0, name: None }
    }

    /// Go's time of nothing: the first day of the year 1.
    fn zero() -> Self {
        Moment::of_seconds(-62_135_596_800)
    }

    fn of_seconds(seconds: i64) -> Self {
        Moment { nanoseconds: i128::from(seconds) * SECOND, offset: 0, name: None }
    }

    /// A date and time of day in UTC; `None` if there is no such day.
    pub fn of(year: i64, month: u32, day: u32, [hour, minute, second]: [u32; 3], nanosecond: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
            return None;
        }
        let seconds =
            days(year, month, day) * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Some(Moment { nanoseconds: i128::from(seconds) * SECOND + i128::from(nanosecond), offset: 0, name: None })
    }

    /// The month and day of a day of a year.
    pub fn day_of_year(year: i64, mut day: u32) -> Option<(u32, u32)> {
        for month in 1..=12 {
            let length = days_in(year, month);
            if day >= 1 && day <= length {
                return Some((month, day));
            }
            day = day.checked_sub(length)?;
        }
        None
    }

    /// The same moment, seen at another offset.
    fn seen_at(self, offset: i32) -> Self {
        Moment { offset, name: None, ..self }
    }

    /// The same moment, seen in a zone.
    fn seen_in(&self, zone: &TimeZone) -> Option<Self> {
        let info = zone.to_offset_info(Timestamp::from_nanosecond(self.nanoseconds).ok()?);
        let name = Some(info.abbreviation().to_owned());
        Some(Moment { nanoseconds: self.nanoseconds, offset: info.offset().seconds(), name })
    }

    /// The same time of day, at another offset.
    pub fn at_offset(self, offset: i32) -> Self {
        let shift = i128::from(self.offset - offset) * SECOND;
        Moment { nanoseconds: self.nanoseconds + shift, offset, name: None }
    }

    /// The same time of day, in a zone of which only the name is known.
    pub fn in_zone(self, name: String) -> Self {
        Moment { name: Some(name), ..self }
    }

    fn of_value(value: &Value) -> Option<&Moment> {
        match value {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    fn value(self) -> Value {
        Value::Object(Rc::new(self))
    }

    fn plus(&self, nanoseconds: i128) -> Moment {
        Moment { nanoseconds: self.nanoseconds + nanoseconds, ..self.clone() }
    }

    /// A day that a month does not have is one of the next.
    fn plus_date(&self, years: i64, months: i64, more_days: i64) -> Moment {
        let civil = self.civil();
        let month = civil.year.saturating_add(years).saturating_mul(12) + i64::from(civil.month) - 1 + months;
        let first = days(month.div_euclid(12), u32::try_from(month.rem_euclid(12) + 1).unwrap_or(1), 1);
        let before = days(civil.year, civil.month, civil.day);
        let after = first + i64::from(civil.day) - 1 + more_days;
        self.plus(i128::from(after - before) * 86_400 * SECOND)
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.nanoseconds.div_euclid(SECOND)).unwrap_or_default()
    }

    /// The name of its zone, or its offset.
    pub fn zone(&self) -> String {
        match (&self.name, self.offset) {
            (Some(name), _) => name.clone(),
            (None, 0) => "UTC".to_owned(),
            (None, offset) => {
                let sign = if offset < 0 { '-' } else { '+' };
                let size = offset.unsigned_abs();
                format!("{sign}{:02}{:02}", size / 3600, size / 60 % 60)
            }
        }
    }

    /// At its offset.
    pub fn civil(&self) -> Civil {
        let local = self.nanoseconds + i128::from(self.offset) * SECOND;
        let seconds = i64::try_from(local.div_euclid(SECOND)).unwrap_or_default();
        let nanosecond = u32::try_from(local.rem_euclid(SECOND)).unwrap_or_default();
        let (day_number, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let second = u32::try_from(second).unwrap_or_default();
        let (year, month, day) = date(day_number);
        Civil {
            year,
            month,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            nanosecond,
            weekday: u32::try_from((day_number + 4).rem_euclid(7)).unwrap_or_default(),
            year_day: u32::try_from(day_number - days(year, 1, 1) + 1).unwrap_or_default(),
        }
    }
}

/// Days since 1970 of a date.
fn days(year: i64, month: u32, day: u32) -> i64 {
    // Years from March: the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = i64::from((month + 9) % 12);
    let of_year = (153 * from_march + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a number of days since 1970.
fn date(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Object for Moment {
    fn name(&self) -> &'static str {
        "time.Time"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        let civil = self.civil();
        let int = |number: u32| Value::int(number.into());
        let value = match (name, arguments) {
            ("Year", []) => Value::int(civil.year),
            ("Month", []) => Name::month(civil.month),
            ("Weekday", []) => Name::weekday(civil.weekday),
            ("AddDate", [Value::Int(years, _), Value::Int(months, _), Value::Int(days, _)]) => {
                self.plus_date(*years, *months, *days).value()
            }
            ("Day", []) => int(civil.day),
            ("Hour", []) => int(civil.hour),
            ("Minute", []) => int(civil.minute),
            ("Second", []) => int(civil.second),
            ("Nanosecond", []) => int(civil.nanosecond),
            ("YearDay", []) => int(civil.year_day),
            ("Unix", []) => Value::int64(self.seconds()),
            ("UnixMilli", []) => Value::int64(saturated(self.nanoseconds.div_euclid(1_000_000))),
            ("UnixMicro", []) => Value::int64(saturated(self.nanoseconds.div_euclid(1_000))),
            ("UnixNano", []) => Value::int64(saturated(self.nanoseconds)),
            ("IsZero", []) => Value::Bool(self.nanoseconds == Moment::zero().nanoseconds),
            ("UTC" | "Local", []) => Moment { offset: 0, name: None, ..self.clone() }.value(),
            ("String", []) => Value::text(self.print()),
            ("Format", [Value::Text(layout)]) => Value::text(layout::format(self, layout)),
            ("Before" | "After" | "Equal", [other]) => match Moment::of_value(other) {
                Some(other) => Value::Bool(match name {
                    "Before" => self.nanoseconds < other.nanoseconds,
                    "After" => self.nanoseconds > other.nanoseconds,
                    _equal => self.nanoseconds == other.nanoseconds,
                }),
                None => return Some(Err("takes a time".to_owned())),
            },
            (
                "Year" | "Day" | "Hour" | "Minute" | "Second" | "Nanosecond" | "YearDay" | "Unix" | "UnixMilli"
                | "Month" | "Weekday" | "AddDate" | "UnixMicro" | "UnixNano" | "IsZero" | "UTC" | "Local" | "String"
                | "Format" | "Before" | "After" | "Equal",
                _,
            ) => return Some(Err("takes other arguments".to_owned())),
            _ => return None,
        };
        Some(Ok(value))
    }

    fn print(&self) -> Vec<u8> {
        layout::format(self, b"2006-01-02 15:04:05.999999999 -0700 MST")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn json(&self) -> Vec<u8> {
        [b"\"", &layout::format(self, b"2006-01-02T15:04:05.999999999Z07:00")[..], b"\""].concat()
    }
}

/// Go's `time.Month` and `time.Weekday`: a number that prints as a name.
struct Name {
    kind: &'static str,
    number: u32,
    text: &'static str,
}

impl Name {
    fn month(month: u32) -> Value {
        let text = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
        Value::Object(Rc::new(Name { kind: "time.Month", number: month, text }))
    }

    fn weekday(weekday: u32) -> Value {
        let text = WEEKDAYS.get(weekday as usize).copied().unwrap_or_default();
        Value::Object(Rc::new(Name { kind: "time.Weekday", number: weekday, text }))
    }
}

impl Object for Name {
    fn name(&self) -> &'static str {
        self.kind
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        match (name, arguments) {
            ("String", []) => Some(Ok(Value::text(self.text))),
            ("String", _) => Some(Err("takes no arguments".to_owned())),
            _ => None,
        }
    }

    fn print(&self) -> Vec<u8> {
        self.text.as_bytes().to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn json(&self) -> Vec<u8> {
        self.number.to_string().into_bytes()
    }
}
