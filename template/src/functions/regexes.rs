//! Sprig's functions of regular expressions, which have RE2's syntax on both sides.

use std::ops::Range;

use regex::Regex;

use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::expression::{Expression, Part};
use crate::go_text;
use crate::value::{List, Text, Type, Value};

const TEXT: Type = Type::Text;
const INT: Type = Type::Int;

pub const FUNCTIONS: &[Function] = &[
    // An expression that is none matches nothing.
    fixed("regexMatch", &[TEXT, TEXT], |call| {
        Ok(Value::Bool(compiled(call).is_ok_and(|found| Subject::of(call.text(1)).is_match(found.regex()))))
    }),
    fixed("mustRegexMatch", &[TEXT, TEXT], |call| {
        let expression = compiled(call)?;
        Ok(Value::Bool(Subject::of(call.text(1)).is_match(expression.regex())))
    }),
    fixed("regexFind", &[TEXT, TEXT], find),
    fixed("mustRegexFind", &[TEXT, TEXT], find),
    fixed("regexFindAll", &[TEXT, TEXT, INT], find_all),
    fixed("mustRegexFindAll", &[TEXT, TEXT, INT], find_all),
    fixed("regexReplaceAll", &[TEXT, TEXT, TEXT], replace),
    fixed("mustRegexReplaceAll", &[TEXT, TEXT, TEXT], replace),
    fixed("regexReplaceAllLiteral", &[TEXT, TEXT, TEXT], replace_literally),
    fixed("mustRegexReplaceAllLiteral", &[TEXT, TEXT, TEXT], replace_literally),
    fixed("regexSplit", &[TEXT, TEXT, INT], split),
    fixed("mustRegexSplit", &[TEXT, TEXT, INT], split),
    fixed("regexQuoteMeta", &[TEXT], |call| {
        let mut quoted = Vec::new();
        for byte in call.text(0).iter() {
            if br"\.+*?()|[]{}^$".contains(byte) {
                quoted.push(b'\\');
            }
            quoted.push(*byte);
        }
        Ok(Value::text(quoted))
    }),
];

/// The steps that the compilation of an expression counts as: up to a millisecond.
const COMPILING: usize = 300;

fn compiled(call: &mut Call<'_>) -> Result<Expression, Problem> {
    call.purse.step(COMPILING)?;
    let text = call.text(0);
    let expression = std::str::from_utf8(&text).ok().and_then(|pattern| Expression::compile(pattern).ok());
    match expression {
        Some(expression) => Ok(expression),
        None => call.refuse(crate::expression::NoExpression.to_string()),
    }
}

/// A text that is searched. A byte that belongs to no character is searched as U+FFFD, as in Go.
struct Subject {
    bytes: Text,
    /// The text with replacements, and for each of its bytes its place; `None` if it needs none.
    replaced: Option<(String, Vec<usize>)>,
}

impl Subject {
    fn of(bytes: Text) -> Self {
        if std::str::from_utf8(&bytes).is_ok() {
            return Subject { bytes, replaced: None };
        }
        let (mut text, mut places, mut at) = (String::new(), Vec::new(), 0);
        for (character, original) in go_text::spans(&bytes) {
            text.push(character);
            places.resize(text.len(), at);
            at += original.len();
        }
        places.push(at);
        Subject { bytes, replaced: Some((text, places)) }
    }

    fn text(&self) -> &str {
        match &self.replaced {
            Some((text, _)) => text,
            None => std::str::from_utf8(&self.bytes).unwrap_or_default(),
        }
    }

    fn is_match(&self, regex: &Regex) -> bool {
        regex.is_match(self.text())
    }

    /// A range of the searched text in the original bytes.
    fn place(&self, range: Range<usize>) -> Range<usize> {
        match &self.replaced {
            Some((_, places)) => places[range.start]..places[range.end],
            None => range,
        }
    }

    fn part(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[self.place(range)]
    }

    /// Go finds no empty match directly after another match.
    fn matches<'m>(&'m self, regex: &'m Regex) -> impl Iterator<Item = Range<usize>> {
        let mut before = None;
        regex.find_iter(self.text()).map(|found| found.range()).filter(move |range| {
            let is_left_out = range.is_empty() && before == Some(range.start);
            before = Some(range.end);
            !is_left_out
        })
    }
}

fn find(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (expression, subject) = (compiled(call)?, Subject::of(call.text(1)));
    let found = expression.regex().find(subject.text()).map(|found| subject.part(found.range()).to_vec());
    Ok(Value::text(found.unwrap_or_default()))
}

fn find_all(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (expression, subject) = (compiled(call)?, Subject::of(call.text(1)));
    let most = usize::try_from(call.int(2)).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for range in subject.matches(expression.regex()).take(most) {
        call.purse.step(1)?;
        found.push(Value::text(subject.part(range)));
    }
    Ok(match found.is_empty() {
        true => Value::List(List::nil(Type::Text)),
        false => Value::List(List::of(Type::Text, found)),
    })
}

fn replace(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (expression, subject, with) = (compiled(call)?, Subject::of(call.text(1)), call.text(2));
    let parts = expression.parts(&with);
    replaced(call, &expression, &subject, |call, range| {
        call.purse.step(parts.len())?;
        let captures = expression.regex().captures_at(subject.text(), range.start);
        let group = |number: &usize| captures.as_ref()?.get(*number);
        let mut instead = Vec::new();
        for part in &parts {
            match part {
                Part::Text(range) => instead.extend_from_slice(&with[range.clone()]),
                Part::Groups(numbers) => {
                    let found = numbers.iter().find_map(group);
                    instead.extend_from_slice(found.map_or(&[], |found| subject.part(found.range())));
                }
            }
        }
        Ok(instead)
    })
}

fn replace_literally(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (expression, subject, with) = (compiled(call)?, Subject::of(call.text(1)), call.text(2));
    replaced(call, &expression, &subject, |_, _| Ok(with.to_vec()))
}

/// The text with each match replaced.
fn replaced(
    call: &mut Call<'_>,
    expression: &Expression,
    subject: &Subject,
    by: impl Fn(&mut Call<'_>, &Range<usize>) -> Result<Vec<u8>, Problem>,
) -> Result<Value, Problem> {
    let (mut result, mut done) = (Vec::new(), 0);
    for range in subject.matches(expression.regex()) {
        let instead = by(call, &range)?;
        call.purse.make(range.start - done + instead.len())?;
        result.extend_from_slice(subject.part(done..range.start));
        result.extend_from_slice(&instead);
        done = range.end;
    }
    result.extend_from_slice(subject.part(done..subject.text().len()));
    Ok(Value::text(result))
}

/// Go's `Regexp.Split`.
fn split(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (expression, subject, most) = (compiled(call)?, Subject::of(call.text(1)), call.int(2));
    if most == 0 {
        return Ok(Value::List(List::nil(Type::Text)));
    }
    let length = subject.text().len();
    if !call.text(0).is_empty() && length == 0 {
        return Ok(Value::texts([Vec::new()]));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for range in subject.matches(expression.regex()).take(most) {
        call.purse.step(1)?;
        if parts.len() + 1 == most {
            break;
        }
        end = range.start;
        if range.end != 0 {
            parts.push(subject.part(begin..end).to_vec());
        }
        begin = range.end;
    }
    if end != length {
        parts.push(subject.part(begin..length).to_vec());
    }
    Ok(Value::texts(parts))
}
