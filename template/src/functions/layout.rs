//! Go's layouts: the date `Mon Jan 2 15:04:05 MST 2006`, written as a time is to be written.

use super::dates::{Civil, MONTHS, Moment, WEEKDAYS};

/// A part of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element<'l> {
    Text(&'l [u8]),
    LongMonth,
    Month,
    MonthNumber,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperHalf,
    LowerHalf,
    Zone,
    /// With `Z` for UTC, a colon, and seconds.
    Offset {
        is_z: bool,
        has_colon: bool,
        parts: usize,
    },
    /// Digits after a point or comma; with nines, without zeros at the end.
    Fraction {
        point: u8,
        digits: usize,
        trims: bool,
    },
}

/// The spellings, of which the first that fits counts.
const SPELLINGS: [(&[u8], Element<'static>); 34] = [
    (b"January", Element::LongMonth),
    (b"Jan", Element::Month),
    (b"Monday", Element::LongWeekday),
    (b"Mon", Element::Weekday),
    (b"MST", Element::Zone),
    (b"002", Element::ZeroYearDay),
    (b"01", Element::ZeroMonth),
    (b"02", Element::ZeroDay),
    (b"03", Element::ZeroHour12),
    (b"04", Element::ZeroMinute),
    (b"05", Element::ZeroSecond),
    (b"06", Element::Year),
    (b"15", Element::Hour),
    (b"1", Element::MonthNumber),
    (b"2006", Element::LongYear),
    (b"2", Element::Day),
    (b"__2", Element::SpaceYearDay),
    (b"_2006", Element::Text(b"_")),
    (b"_2", Element::SpaceDay),
    (b"3", Element::Hour12),
    (b"4", Element::Minute),
    (b"5", Element::Second),
    (b"PM", Element::UpperHalf),
    (b"pm", Element::LowerHalf),
    (b"-07:00:00", Element::Offset { is_z: false, has_colon: true, parts: 3 }),
    (b"-070000", Element::Offset { is_z: false, has_colon: false, parts: 3 }),
    (b"-07:00", Element::Offset { is_z: false, has_colon: true, parts: 2 }),
    (b"-0700", Element::Offset { is_z: false, has_colon: false, parts: 2 }),
    (b"-07", Element::Offset { is_z: false, has_colon: false, parts: 1 }),
    (b"Z07:00:00", Element::Offset { is_z: true, has_colon: true, parts: 3 }),
    (b"Z070000", Element::Offset { is_z: true, has_colon: false, parts: 3 }),
    (b"Z07:00", Element::Offset { is_z: true, has_colon: true, parts: 2 }),
    (b"Z0700", Element::Offset { is_z: true, has_colon: false, parts: 2 }),
    (b"Z07", Element::Offset { is_z: true, has_colon: false, parts: 1 }),
];

/// The elements of a layout.
fn elements(layout: &[u8]) -> Vec<Element<'_>> {
    let mut elements = Vec::new();
    let mut at = 0;
    let mut start = 0;
    while at < layout.len() {
        let Some((element, length)) = first(&layout[at..]) else {
            at += 1;
            continue;
        };
        if start < at {
            elements.push(Element::Text(&layout[start..at]));
        }
        elements.push(element);
        at += length;
        start = at;
    }
    if start < layout.len() {
        elements.push(Element::Text(&layout[start..]));
    }
    elements
}

/// The element that a layout begins with, and its length.
fn first(layout: &[u8]) -> Option<(Element<'_>, usize)> {
    if let [point @ (b'.' | b','), digit @ (b'0' | b'9'), ..] = layout {
        let digits = layout[1..].iter().take_while(|byte| *byte == digit).count();
        let ends = !layout.get(1 + digits).is_some_and(u8::is_ascii_digit);
        return ends.then_some((Element::Fraction { point: *point, digits, trims: *digit == b'9' }, 1 + digits));
    }
    for (spelling, element) in SPELLINGS {
        let Some(rest) = layout.strip_prefix(spelling) else { continue };
        // `January` is a month, and so is `Jan` in `Janet`; not so before another small letter.
        let is_word = matches!(element, Element::Month | Element::Weekday);
        if is_word && rest.first().is_some_and(u8::is_ascii_lowercase) {
            continue;
        }
        return match element {
            // An underscore, then a year.
            Element::Text(b"_") => Some((Element::Text(b"_"), 1)),
            Element::Text(_) => None,
            element => Some((element, spelling.len())),
        };
    }
    None
}

/// A time as a layout says.
pub fn format(moment: &Moment, layout: &[u8]) -> Vec<u8> {
    let civil = moment.civil();
    let mut text = Vec::new();
    for element in elements(layout) {
        match element {
            Element::Text(fixed) => text.extend_from_slice(fixed),
            Element::Fraction { point, digits, trims } => push_fraction(&mut text, &civil, point, digits, trims),
            Element::Offset { is_z, has_colon, parts } => push_offset(&mut text, moment.offset, is_z, has_colon, parts),
            other => text.extend_from_slice(formatted(&civil, moment, other).as_bytes()),
        }
    }
    text
}

fn formatted(civil: &Civil, moment: &Moment, element: Element<'_>) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = *civil;
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let name = |names: &[&'static str], index: u32| names.get(index as usize).copied().unwrap_or_default();
    match element {
        Element::LongMonth => name(&MONTHS, month - 1).to_owned(),
        Element::Month => name(&MONTHS, month - 1)[..3].to_owned(),
        Element::MonthNumber => month.to_string(),
        Element::ZeroMonth => format!("{month:02}"),
        Element::LongWeekday => name(&WEEKDAYS, civil.weekday).to_owned(),
        Element::Weekday => name(&WEEKDAYS, civil.weekday)[..3].to_owned(),
        Element::Day => day.to_string(),
        Element::SpaceDay => format!("{day:2}"),
        Element::ZeroDay => format!("{day:02}"),
        Element::SpaceYearDay => format!("{:3}", civil.year_day),
        Element::ZeroYearDay => format!("{:03}", civil.year_day),
        Element::Hour => format!("{hour:02}"),
        Element::Hour12 => twelve.to_string(),
        Element::ZeroHour12 => format!("{twelve:02}"),
        Element::Minute => minute.to_string(),
        Element::ZeroMinute => format!("{minute:02}"),
        Element::Second => second.to_string(),
        Element::ZeroSecond => format!("{second:02}"),
        Element::LongYear if year < 0 => format!("-{:04}", -year),
        Element::LongYear => format!("{year:04}"),
        Element::Year => format!("{:02}", year.rem_euclid(100)),
        Element::UpperHalf => if hour >= 12 { "PM" } else { "AM" }.to_owned(),
        Element::LowerHalf => if hour >= 12 { "pm" } else { "am" }.to_owned(),
        Element::Zone => moment.zone(),
        Element::Text(_) | Element::Fraction { .. } | Element::Offset { .. } => String::new(),
    }
}

fn push_fraction(text: &mut Vec<u8>, civil: &Civil, point: u8, digits: usize, trims: bool) {
    let all = format!("{:09}", civil.nanosecond);
    let shown = &all[..digits.min(9)];
    let shown = if trims { shown.trim_end_matches('0') } else { shown };
    if shown.is_empty() {
        return;
    }
    text.push(point);
    text.extend_from_slice(shown.as_bytes());
}

fn push_offset(text: &mut Vec<u8>, offset: i32, is_z: bool, has_colon: bool, parts: usize) {
    if is_z && offset == 0 {
        text.push(b'Z');
        return;
    }
    let size = offset.unsigned_abs();
    text.push(if offset < 0 { b'-' } else { b'+' });
    for (index, number) in [size / 3600, size / 60 % 60, size % 60].into_iter().take(parts).enumerate() {
        if has_colon && index > 0 {
            text.push(b':');
        }
        text.extend_from_slice(format!("{number:02}").as_bytes());
    }
}

/// The time that a text says by a layout, in UTC where the layout has no offset; `None` if it does
/// not fit.
pub fn parse(layout: &[u8], text: &[u8]) -> Option<Moment> {
    let mut reader = Reader { rest: text, found: Found::default() };
    let elements = elements(layout);
    for (index, element) in elements.iter().enumerate() {
        reader.element(*element, elements.get(index + 1))?;
    }
    if !reader.rest.is_empty() {
        return None;
    }
    reader.found.moment()
}

/// What a text says.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    year_day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
    is_afternoon: Option<bool>,
    offset: Option<i32>,
    zone: Option<String>,
}

struct Reader<'t> {
    rest: &'t [u8],
    found: Found,
}

impl<'t> Reader<'t> {
    fn element(&mut self, element: Element<'_>, next: Option<&Element<'_>>) -> Option<()> {
        match element {
            Element::Text(fixed) => self.fixed(fixed)?,
            Element::LongMonth => self.found.month = Some(1 + self.name(&MONTHS, None)?),
            Element::Month => self.found.month = Some(1 + self.name(&MONTHS, Some(3))?),
            Element::LongWeekday => drop(self.name(&WEEKDAYS, None)?),
            Element::Weekday => drop(self.name(&WEEKDAYS, Some(3))?),
            Element::MonthNumber => self.found.month = Some(self.number(1, 2)?),
            Element::ZeroMonth => self.found.month = Some(self.number(2, 2)?),
            Element::Day => self.found.day = Some(self.number(1, 2)?),
            Element::SpaceDay => {
                if let Some(rest) = self.rest.strip_prefix(b" ") {
                    self.rest = rest;
                }
                self.found.day = Some(self.number(1, 2)?);
            }
            Element::ZeroDay => self.found.day = Some(self.number(2, 2)?),
            Element::SpaceYearDay => {
                for _ in 0..2 {
                    self.rest = self.rest.strip_prefix(b" ").unwrap_or(self.rest);
                }
                self.found.year_day = Some(self.number(1, 3)?);
            }
            Element::ZeroYearDay => self.found.year_day = Some(self.number(3, 3)?),
            Element::Hour => self.found.hour = self.number(1, 2).filter(|hour| *hour < 24)?,
            Element::Hour12 => self.found.hour = self.number(1, 2).filter(|hour| *hour <= 12)?,
            Element::ZeroHour12 => self.found.hour = self.number(2, 2).filter(|hour| *hour <= 12)?,
            Element::Minute => self.found.minute = self.number(1, 2).filter(|minute| *minute < 60)?,
            Element::ZeroMinute => self.found.minute = self.number(2, 2).filter(|minute| *minute < 60)?,
            Element::Second => self.seconds(1, next)?,
            Element::ZeroSecond => self.seconds(2, next)?,
            Element::LongYear => self.found.year = Some(self.number(4, 4)?.into()),
            Element::Year => {
                let year = i64::from(self.number(2, 2)?);
                self.found.year = Some(year + if year >= 69 { 1900 } else { 2000 });
            }
            Element::UpperHalf => self.found.is_afternoon = Some(self.one_of([b"AM", b"PM"])?),
            Element::LowerHalf => self.found.is_afternoon = Some(self.one_of([b"am", b"pm"])?),
            Element::Zone => self.zone()?,
            Element::Offset { is_z, has_colon, parts } => self.offset(is_z, has_colon, parts)?,
            Element::Fraction { digits, trims, .. } => self.fraction(digits, trims)?,
        }
        Some(())
    }

    fn fixed(&mut self, fixed: &[u8]) -> Option<()> {
        for byte in fixed {
            match (byte, self.rest.split_first()) {
                // Any number of spaces, also none at the end.
                (b' ', Some((b' ', rest))) => self.rest = rest,
                (b' ', None) => {}
                (_, Some((found, rest))) if found == byte => self.rest = rest,
                _ => return None,
            }
        }
        Some(())
    }

    fn name(&mut self, names: &[&str], letters: Option<usize>) -> Option<u32> {
        for (index, name) in names.iter().enumerate() {
            let name = &name[..letters.unwrap_or(name.len())];
            let (start, rest) = self.rest.split_at_checked(name.len()).unwrap_or((b"", b""));
            if start.eq_ignore_ascii_case(name.as_bytes()) {
                self.rest = rest;
                return u32::try_from(index).ok();
            }
        }
        None
    }

    /// A number of at least and at most so many digits.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at((digits >= least).then_some(digits)?);
        self.rest = rest;
        std::str::from_utf8(number).ok()?.parse().ok()
    }

    /// A fraction may follow the seconds, also where the layout has none.
    fn seconds(&mut self, least: usize, next: Option<&Element<'_>>) -> Option<()> {
        self.found.second = self.number(least, 2).filter(|second| *second < 60)?;
        let has_fraction = matches!(self.rest, [b'.' | b',', digit, ..] if digit.is_ascii_digit());
        if has_fraction && !matches!(next, Some(Element::Fraction { .. })) {
            let digits = self.rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.nanoseconds(digits)?;
        }
        Some(())
    }

    fn fraction(&mut self, digits: usize, trims: bool) -> Option<()> {
        let is_there = matches!(self.rest, [b'.' | b',', digit, ..] if digit.is_ascii_digit());
        match (trims, is_there) {
            (true, false) => Some(()),
            (true, true) => {
                let digits = self.rest[1..].iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
                self.nanoseconds(digits)
            }
            (false, _) => self.nanoseconds(digits),
        }
    }

    fn nanoseconds(&mut self, digits: usize) -> Option<()> {
        let (fraction, rest) = self.rest.split_at_checked(1 + digits)?;
        let number = std::str::from_utf8(fraction.get(1..)?).ok()?;
        if !matches!(fraction[0], b'.' | b',') || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        self.found.nanosecond = format!("{:0<9}", &number[..number.len().min(9)]).parse().ok()?;
        self.rest = rest;
        Some(())
    }

    fn one_of(&mut self, halves: [&[u8]; 2]) -> Option<bool> {
        let (found, rest) = self.rest.split_at_checked(2)?;
        self.rest = rest;
        halves.iter().position(|half| *half == found).map(|index| index == 1)
    }

    fn zone(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix(b"UTC") {
            self.rest = rest;
            self.found.offset = Some(0);
            return Some(());
        }
        let letters = self.rest.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
        let is_zone = match letters {
            3 => true,
            4 => self.rest[3] == b'T' || self.rest.starts_with(b"WITA"),
            5 => self.rest[4] == b'T',
            _ => false,
        };
        let (zone, rest) = self.rest.split_at(is_zone.then_some(letters)?);
        self.found.zone = Some(String::from_utf8_lossy(zone).into_owned());
        self.rest = rest;
        Some(())
    }

    fn offset(&mut self, is_z: bool, has_colon: bool, parts: usize) -> Option<()> {
        if is_z && let Some(rest) = self.rest.strip_prefix(b"Z") {
            self.rest = rest;
            self.found.offset = Some(0);
            return Some(());
        }
        let sign = match self.rest.split_first()? {
            (b'+', rest) => {
                self.rest = rest;
                1
            }
            (b'-', rest) => {
                self.rest = rest;
                -1
            }
            _ => return None,
        };
        let mut seconds = 0;
        for (index, (unit, most)) in [(3600, 24), (60, 60), (1, 60)].into_iter().take(parts).enumerate() {
            if has_colon && index > 0 {
                self.fixed(b":")?;
            }
            let number = self.number(2, 2).filter(|number| *number <= most)?;
            seconds += i32::try_from(number).ok()? * unit;
        }
        self.found.offset = Some(sign * seconds);
        Some(())
    }
}

impl Found {
    fn moment(self) -> Option<Moment> {
        let hour = match (self.is_afternoon, self.hour) {
            (Some(true), hour) if hour < 12 => hour + 12,
            (Some(false), 12) => 0,
            (_, hour) => hour,
        };
        let year = self.year.unwrap_or(0);
        let (month, day) = match self.year_day {
            Some(year_day) => {
                let (month, day) = Moment::day_of_year(year, year_day)?;
                let fits = self.month.is_none_or(|found| found == month) && self.day.is_none_or(|found| found == day);
                fits.then_some((month, day))?
            }
            None => (self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        let moment = Moment::of(year, month, day, [hour, self.minute, self.second], self.nanosecond)?;
        Some(match (self.offset, self.zone) {
            (Some(offset), _) => moment.at_offset(offset),
            (None, Some(zone)) => moment.in_zone(zone),
            (None, None) => moment,
        })
    }
}
