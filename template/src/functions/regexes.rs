//! Sprig's functions of regular expressions, which have RE2's syntax on both sides.

use std::ops::Range;

use regex::Regex;

use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::expression::Expression;
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
    let with = call.text(2);
    let references = with.iter().filter(|byte| **byte == b'$').count();
    replaced(call, |call, expression, subject, range| {
        call.purse.step(1 + references)?;
        let captures = expression.regex().captures_at(subject.text(), range.start);
        let group = |index: usize| Some(subject.part(captures.as_ref()?.get(index)?.range()));
        Ok(expanded(&with, &group, &|name| group(expression.group(name)?)))
    })
}

fn replace_literally(call: &mut Call<'_>) -> Result<Value, Problem> {
    let with = call.text(2);
    replaced(call, |_, _, _, _| Ok(with.to_vec()))
}

/// The text with each match replaced.
fn replaced(
    call: &mut Call<'_>,
    by: impl Fn(&mut Call<'_>, &Expression, &Subject, &Range<usize>) -> Result<Vec<u8>, Problem>,
) -> Result<Value, Problem> {
    let (expression, subject) = (compiled(call)?, Subject::of(call.text(1)));
    let (mut result, mut done) = (Vec::new(), 0);
    for range in subject.matches(expression.regex()) {
        let instead = by(call, &expression, &subject, &range)?;
        call.purse.make(range.start - done + instead.len())?;
        result.extend_from_slice(subject.part(done..range.start));
        result.extend_from_slice(&instead);
        done = range.end;
    }
    result.extend_from_slice(subject.part(done..subject.text().len()));
    Ok(Value::text(result))
}

/// Go's `$1`, `${name}` and `$$`. What is no group is empty.
fn expanded<'s>(
    with: &[u8],
    by_index: &dyn Fn(usize) -> Option<&'s [u8]>,
    by_name: &dyn Fn(&str) -> Option<&'s [u8]>,
) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = with;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        result.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix(b"$$") {
            result.push(b'$');
            rest = after;
            continue;
        }
        let Some((name, after)) = reference(&rest[1..]) else {
            result.push(b'$');
            rest = &rest[1..];
            continue;
        };
        let is_index = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
        let group = match is_index {
            true => name.parse().ok().and_then(by_index),
            false => by_name(name),
        };
        result.extend_from_slice(group.unwrap_or_default());
        rest = after;
    }
    result.extend_from_slice(rest);
    result
}

/// The name after a dollar sign, and what follows it.
fn reference(text: &[u8]) -> Option<(&str, &[u8])> {
    let (inner, has_brace) = match text.strip_prefix(b"{") {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let is_word = |character: char| character == '_' || go_text::is_letter(character) || go_text::is_digit(character);
    let length: usize =
        go_text::spans(inner).take_while(|(character, _)| is_word(*character)).map(|(_, bytes)| bytes.len()).sum();
    let (name, after) = inner.split_at(length);
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    match has_brace {
        true => Some((name, after.strip_prefix(b"}")?)),
        false => Some((name, after)),
    }
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
