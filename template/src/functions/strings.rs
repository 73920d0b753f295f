//! Sprig's functions of texts. Positions and lengths are in bytes, as in Go.

use super::convert::{to_text, to_texts};
use super::{Call, Function, cases, fixed, variadic};
use crate::error::Problem;
use crate::format;
use crate::go_text;
use crate::value::{List, Map, Text, Type, Value};

const INT: Type = Type::Int;
const TEXT: Type = Type::Text;
const ANY: Type = Type::Any;

pub const FUNCTIONS: &[Function] = &[
    fixed("hello", &[], |_| Ok(Value::text("Hello!"))),
    fixed("trim", &[TEXT], |call| Ok(Value::text(trimmed(&call.text(0), go_text::is_space, true, true)))),
    fixed("trimAll", &[TEXT, TEXT], trim_all),
    fixed("trimall", &[TEXT, TEXT], trim_all),
    fixed("trimSuffix", &[TEXT, TEXT], |call| {
        let (suffix, text) = (call.text(0), call.text(1));
        Ok(Value::text(text.strip_suffix(&*suffix).unwrap_or(&text)))
    }),
    fixed("trimPrefix", &[TEXT, TEXT], |call| {
        let (prefix, text) = (call.text(0), call.text(1));
        Ok(Value::text(text.strip_prefix(&*prefix).unwrap_or(&text)))
    }),
    fixed("upper", &[TEXT], |call| Ok(Value::text(cases::upper(&call.text(0))))),
    fixed("lower", &[TEXT], |call| Ok(Value::text(cases::lower(&call.text(0))))),
    fixed("title", &[TEXT], |call| Ok(Value::text(cases::title(&call.text(0))))),
    fixed("untitle", &[TEXT], |call| Ok(Value::text(cases::untitle(&call.text(0))))),
    fixed("swapcase", &[TEXT], |call| Ok(Value::text(cases::swap(&call.text(0))))),
    fixed("camelcase", &[TEXT], |call| Ok(Value::text(cases::pascal(&call.text(0))))),
    fixed("snakecase", &[TEXT], |call| Ok(Value::text(cases::connected(&call.text(0), '_')))),
    fixed("kebabcase", &[TEXT], |call| Ok(Value::text(cases::connected(&call.text(0), '-')))),
    fixed("initials", &[TEXT], |call| Ok(Value::text(initials(&call.text(0))))),
    fixed("nospace", &[TEXT], |call| Ok(Value::text(without_spaces(&call.text(0))))),
    fixed("repeat", &[INT, TEXT], repeat),
    fixed("substr", &[INT, INT, TEXT], substring),
    fixed("trunc", &[INT, TEXT], truncate),
    fixed("abbrev", &[INT, TEXT], |call| {
        let (width, text) = (call.int(0), call.text(1));
        if width < 4 {
            return Ok(Value::Text(text));
        }
        Ok(Value::text(abbreviated(&text, 0, width)))
    }),
    fixed("abbrevboth", &[INT, INT, TEXT], |call| {
        let (left, right, text) = (call.int(0), call.int(1), call.text(2));
        if right < 4 || left > 0 && right < 7 {
            return Ok(Value::Text(text));
        }
        Ok(Value::text(abbreviated(&text, left, right)))
    }),
    fixed("wrap", &[INT, TEXT], |call| {
        let (width, text) = (call.int(0), call.text(1));
        wrap(call, &text, width, b"\n", false)
    }),
    fixed("wrapWith", &[INT, TEXT, TEXT], |call| {
        let (width, with, text) = (call.int(0), call.text(1), call.text(2));
        let with: &[u8] = if with.is_empty() { b"\n" } else { &with };
        wrap(call, &text, width, with, true)
    }),
    fixed("contains", &[TEXT, TEXT], |call| Ok(Value::Bool(find(&call.text(1), &call.text(0)).is_some()))),
    fixed("hasPrefix", &[TEXT, TEXT], |call| Ok(Value::Bool(call.text(1).starts_with(&call.text(0))))),
    fixed("hasSuffix", &[TEXT, TEXT], |call| Ok(Value::Bool(call.text(1).ends_with(&call.text(0))))),
    variadic("quote", &[], ANY, quote),
    variadic("squote", &[], ANY, single_quote),
    variadic("cat", &[], ANY, concatenate),
    fixed("indent", &[INT, TEXT], |call| {
        let text = call.text(1);
        indented(call, &text).map(Value::text)
    }),
    fixed("nindent", &[INT, TEXT], |call| {
        let text = call.text(1);
        let indented = indented(call, &text)?;
        Ok(Value::text([b"\n", &indented[..]].concat()))
    }),
    fixed("replace", &[TEXT, TEXT, TEXT], |call| {
        let (old, new, text) = (call.text(0), call.text(1), call.text(2));
        replaced(call, &text, &old, &new).map(Value::text)
    }),
    fixed("plural", &[TEXT, TEXT, INT], |call| {
        Ok(Value::Text(if call.int(2) == 1 { call.text(0) } else { call.text(1) }))
    }),
    fixed("toString", &[ANY], |call| to_text(&call.value(0), call.purse).map(Value::Text)),
    fixed("toStrings", &[ANY], |call| {
        let texts = to_texts(&call.value(0), call.purse)?;
        Ok(Value::List(List::of(Type::Text, texts.into_iter().map(Value::Text).collect())))
    }),
    fixed("join", &[TEXT, ANY], |call| {
        let separator = call.text(0);
        let texts = to_texts(&call.value(1), call.purse)?;
        let length: usize = texts.iter().map(|text| text.len() + separator.len()).sum();
        call.purse.make(length)?;
        let texts: Vec<&[u8]> = texts.iter().map(|text| &**text).collect();
        Ok(Value::text(texts.join(&*separator)))
    }),
    fixed("split", &[TEXT, TEXT], |call| {
        let (separator, text) = (call.text(0), call.text(1));
        numbered(call, &text, &separator, -1)
    }),
    fixed("splitn", &[TEXT, INT, TEXT], |call| {
        let (separator, most, text) = (call.text(0), call.int(1), call.text(2));
        numbered(call, &text, &separator, most)
    }),
    fixed("splitList", &[TEXT, TEXT], |call| {
        let (separator, text) = (call.text(0), call.text(1));
        Ok(Value::texts(split(call, &text, &separator, -1)?))
    }),
    fixed("sortAlpha", &[ANY], |call| {
        let mut texts = to_texts(&call.value(0), call.purse)?;
        if let Value::Nil | Value::NilInterface = call.value(0) {
            texts.push(Text::from("<nil>"));
        }
        texts.sort();
        Ok(Value::List(List::of(Type::Text, texts.into_iter().map(Value::Text).collect())))
    }),
];

fn trim_all(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (cut, text) = (call.text(0), call.text(1));
    let cut: Vec<char> = go_text::characters(&cut).collect();
    Ok(Value::text(trimmed(&text, |character| cut.contains(&character), true, true)))
}

/// Without these characters at its ends.
fn trimmed(text: &[u8], drops: impl Fn(char) -> bool, left: bool, right: bool) -> &[u8] {
    let spans: Vec<(char, &[u8])> = go_text::spans(text).collect();
    let dropped = |spans: &mut dyn Iterator<Item = &(char, &[u8])>| -> usize {
        spans.take_while(|(character, _)| drops(*character)).map(|(_, bytes)| bytes.len()).sum()
    };
    let start = if left { dropped(&mut spans.iter()) } else { 0 };
    let end = if right { dropped(&mut spans.iter().rev()) } else { 0 };
    text.get(start..text.len() - end).unwrap_or_default()
}

/// The first byte of each word. Go looks at bytes here.
fn initials(text: &[u8]) -> Vec<u8> {
    let mut initials = Vec::new();
    let mut after_gap = true;
    for byte in text {
        let character = char::from(*byte);
        if go_text::is_space(character) {
            after_gap = true;
        } else if after_gap {
            go_text::push(&mut initials, character);
            after_gap = false;
        }
    }
    initials
}

/// Go looks at bytes here, too: what is not ASCII is spoiled where there is any space.
fn without_spaces(text: &[u8]) -> Vec<u8> {
    let is_space = |byte: &u8| go_text::is_space(char::from(*byte));
    if !text.iter().any(is_space) {
        return text.to_vec();
    }
    let mut kept = Vec::new();
    for byte in text.iter().filter(|byte| !is_space(byte)) {
        go_text::push(&mut kept, char::from(*byte));
    }
    kept
}

fn repeat(call: &mut Call<'_>) -> Result<Value, Problem> {
    let text = call.text(1);
    let Ok(count) = usize::try_from(call.int(0)) else { return call.refuse("a count cannot be negative") };
    call.purse.make(text.len().saturating_mul(count))?;
    Ok(Value::text(text.repeat(if text.is_empty() { 0 } else { count })))
}

fn substring(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (start, end, text) = (call.int(0), call.int(1), call.text(2));
    let length = text.len() as i64;
    let range = match (start, end) {
        (start, end) if start < 0 => (0, end),
        (start, end) if end < 0 || end > length => (start, length),
        other => other,
    };
    let range = usize::try_from(range.0).ok().zip(usize::try_from(range.1).ok());
    match range.and_then(|(start, end)| text.get(start..end)) {
        Some(part) => Ok(Value::text(part)),
        None => call.refuse("the positions are not within the text"),
    }
}

fn truncate(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (count, text) = (call.int(0), call.text(1));
    let length = text.len() as i64;
    let part = match count {
        _ if count < 0 && length + count > 0 => &text[(length + count) as usize..],
        _ if count >= 0 && length > count => &text[..count as usize],
        _ => &text,
    };
    Ok(Value::text(part))
}

/// With dots for what is left out.
fn abbreviated(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = text.len() as i64;
    if length <= width {
        return text.to_vec();
    }
    let mut offset = offset.min(length);
    if length - offset < width - 3 {
        offset = length - (width - 3);
    }
    let until = |end: i64| &text[..end.max(0) as usize];
    if offset <= 4 {
        return [until(width - 3), b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    let tail = match offset + width - 3 < length {
        true => abbreviated(&text[offset as usize..], 0, width - 3),
        false => text[(length - (width - 3)) as usize..].to_vec(),
    };
    [b"...", &tail[..]].concat()
}

/// Breaks a line at spaces.
fn wrap(call: &mut Call<'_>, text: &[u8], width: i64, with: &[u8], long_words: bool) -> Result<Value, Problem> {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    call.purse.make(text.len().saturating_mul(1 + with.len()))?;
    let mut lines = Vec::new();
    let mut offset = 0;
    while text.len() - offset > width {
        if text[offset] == b' ' {
            offset += 1;
            continue;
        }
        let window = &text[offset..=offset + width];
        let (end, next) = match window.iter().rposition(|byte| *byte == b' ') {
            Some(space) => (offset + space, offset + space + 1),
            None if long_words => (offset + width, offset + width),
            None => match text[offset + width..].iter().position(|byte| *byte == b' ') {
                Some(space) => (offset + width + space, offset + width + space + 1),
                None => break,
            },
        };
        lines.extend_from_slice(&text[offset..end]);
        lines.extend_from_slice(with);
        offset = next;
    }
    lines.extend_from_slice(&text[offset..]);
    Ok(Value::text(lines))
}

fn quote(call: &mut Call<'_>) -> Result<Value, Problem> {
    let mut quoted = Vec::new();
    for value in &call.arguments {
        if !matches!(value, Value::Nil | Value::NilInterface) {
            let text = to_text(value, call.purse)?;
            call.purse.make(2 * text.len())?;
            quoted.push(format::quoted(&text, false));
        }
    }
    Ok(Value::text(quoted.join(&b' ')))
}

fn single_quote(call: &mut Call<'_>) -> Result<Value, Problem> {
    let mut quoted = Vec::new();
    for value in &call.arguments {
        if !matches!(value, Value::Nil | Value::NilInterface) {
            let text = to_text(value, call.purse)?;
            quoted.push([b"'", &*text, b"'"].concat());
        }
    }
    Ok(Value::text(quoted.join(&b' ')))
}

fn concatenate(call: &mut Call<'_>) -> Result<Value, Problem> {
    let mut texts = Vec::new();
    for value in &call.arguments {
        if !matches!(value, Value::Nil | Value::NilInterface) {
            texts.push(to_text(value, call.purse)?);
        }
    }
    let texts: Vec<&[u8]> = texts.iter().map(|text| &**text).collect();
    Ok(Value::text(texts.join(&b' ')))
}

fn indented(call: &mut Call<'_>, text: &[u8]) -> Result<Vec<u8>, Problem> {
    let Ok(spaces) = usize::try_from(call.int(0)) else { return call.refuse("a count cannot be negative") };
    let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
    call.purse.make(text.len() + lines.saturating_mul(spaces))?;
    let pad = vec![b' '; spaces];
    let mut indented = Vec::with_capacity(text.len() + lines * spaces);
    indented.extend_from_slice(&pad);
    for byte in text {
        indented.push(*byte);
        if *byte == b'\n' {
            indented.extend_from_slice(&pad);
        }
    }
    Ok(indented)
}

/// With every occurrence replaced. An empty text occurs between all characters.
pub fn replaced(call: &mut Call<'_>, text: &[u8], old: &[u8], new: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut result = Vec::new();
    if old.is_empty() {
        call.purse.make(text.len() + (go_text::count(text) + 1).saturating_mul(new.len()))?;
        for (_, bytes) in go_text::spans(text) {
            result.extend_from_slice(new);
            result.extend_from_slice(bytes);
        }
        result.extend_from_slice(new);
        return Ok(result);
    }
    let mut rest = text;
    while let Some(at) = find(rest, old) {
        call.purse.make(at + new.len())?;
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    call.purse.make(rest.len())?;
    result.extend_from_slice(rest);
    Ok(result)
}

/// Where a part occurs first.
pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    match part.is_empty() {
        true => Some(0),
        false => memchr::memmem::find(text, part),
    }
}

/// Go's `strings.SplitN`; a negative number is all parts.
pub fn split(call: &mut Call<'_>, text: &[u8], separator: &[u8], most: i64) -> Result<Vec<Vec<u8>>, Problem> {
    let most = match most {
        0 => return Ok(Vec::new()),
        most => usize::try_from(most).unwrap_or(usize::MAX),
    };
    call.purse.make(text.len())?;
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut rest = text;
    while parts.len() + 1 < most {
        let at = match separator.is_empty() {
            true => go_text::first(rest).map(|(_, _, length)| length).filter(|length| *length < rest.len()),
            false => find(rest, separator),
        };
        let Some(at) = at else { break };
        call.purse.step(1)?;
        parts.push(rest[..at].to_vec());
        rest = &rest[at + separator.len()..];
    }
    if !(separator.is_empty() && text.is_empty()) {
        parts.push(rest.to_vec());
    }
    Ok(parts)
}

/// `{_0: …, _1: …}`.
fn numbered(call: &mut Call<'_>, text: &[u8], separator: &[u8], most: i64) -> Result<Value, Problem> {
    let parts = split(call, text, separator, most)?;
    let key = |index: usize| Text::from(format!("_{index}").as_str());
    let parts = parts.into_iter().enumerate().map(|(index, part)| (key(index), Value::text(part)));
    Ok(Value::Map(Map::of(Type::Text, parts.collect())))
}
