//! Go's quoted strings, written and read.

use crate::go_text;

/// A double-quoted Go string; with `ascii`, without other characters.
pub fn quoted(text: &[u8], ascii: bool) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for (character, bytes) in go_text::spans(text) {
        match bytes {
            [byte] if !byte.is_ascii() => quoted.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => escape(&mut quoted, character, '"', ascii),
        }
    }
    quoted.push(b'"');
    quoted
}

/// A single-quoted Go character.
pub fn quoted_character(character: char, ascii: bool) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    escape(&mut quoted, character, '\'', ascii);
    quoted.push(b'\'');
    quoted
}

/// Whether a text can be written between back quotes.
pub fn can_be_raw(text: &[u8]) -> bool {
    go_text::spans(text).all(|(character, bytes)| {
        let is_valid = bytes.len() > 1 || bytes[0].is_ascii();
        is_valid && !matches!(character, '\u{feff}' | '`' | '\u{7f}') && (character >= ' ' || character == '\t')
    })
}

fn escape(quoted: &mut Vec<u8>, character: char, quote: char, ascii: bool) {
    let short = match character {
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        '\\' => "\\\\",
        _ if character == quote => return quoted.extend_from_slice(format!("\\{quote}").as_bytes()),
        _ => "",
    };
    let code = u32::from(character);
    if !short.is_empty() {
        quoted.extend_from_slice(short.as_bytes());
    } else if character.is_ascii() && !ascii && go_text::is_print(character)
        || ascii && character.is_ascii() && go_text::is_print(character)
        || !ascii && go_text::is_print(character)
    {
        go_text::push(quoted, character);
    } else if code < 0x20 || code == 0x7f {
        quoted.extend_from_slice(format!("\\x{code:02x}").as_bytes());
    } else if code < 0x10000 {
        quoted.extend_from_slice(format!("\\u{code:04x}").as_bytes());
    } else {
        quoted.extend_from_slice(format!("\\U{code:08x}").as_bytes());
    }
}

/// The text of a Go string literal, with its quotes; `None` if it is none.
pub fn unquoted(literal: &[u8]) -> Option<Vec<u8>> {
    let (quote, inner) = match literal {
        [b'`', inner @ .., b'`'] => return raw(inner),
        [quote @ b'"', inner @ .., b'"'] => (*quote, inner),
        _ => return None,
    };
    let mut text = Vec::new();
    let mut rest = inner;
    while !rest.is_empty() {
        if rest[0] == b'\n' {
            return None;
        }
        rest = unescape(rest, quote, &mut text)?;
    }
    Some(text)
}

/// The code of a Go character literal, with its quotes.
pub fn unquoted_character(literal: &[u8]) -> Option<i64> {
    let inner = literal.strip_prefix(b"'")?;
    let mut text = Vec::new();
    let code = code_of(inner)?;
    let rest = unescape(inner, b'\'', &mut text)?;
    (rest == b"'").then_some(code)
}

/// Carriage returns do not count between back quotes.
fn raw(inner: &[u8]) -> Option<Vec<u8>> {
    (!inner.contains(&b'`')).then(|| inner.iter().copied().filter(|byte| *byte != b'\r').collect())
}

/// What the first character or escape stands for, as a number.
fn code_of(text: &[u8]) -> Option<i64> {
    let mut bytes = Vec::new();
    if text.first() == Some(&b'\\')
        && let Some(b'x' | b'0'..=b'7') = text.get(1)
    {
        unescape(text, b'\'', &mut bytes)?;
        return bytes.first().map(|byte| i64::from(*byte));
    }
    unescape(text, b'\'', &mut bytes)?;
    go_text::first(&bytes).map(|(character, _, _)| i64::from(u32::from(character)))
}

/// Appends what the first character or escape stands for, and returns what follows it.
fn unescape<'t>(text: &'t [u8], quote: u8, into: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (first, rest) = text.split_first()?;
    if *first == quote {
        return None;
    }
    if *first != b'\\' {
        let (character, is_valid, length) = go_text::first(text)?;
        match is_valid {
            true => into.extend_from_slice(&text[..length]),
            false => go_text::push(into, character),
        }
        return Some(&text[length..]);
    }
    let (escape, rest) = rest.split_first()?;
    let plain = match escape {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' => b'\\',
        b'\'' | b'"' if *escape == quote => *escape,
        b'x' => return number(rest, 2, 16, into, |code, into| into.push(code as u8)),
        b'u' => return character(rest, 4, into),
        b'U' => return character(rest, 8, into),
        b'0'..=b'7' => {
            let (digits, after) = text[1..].split_at_checked(3)?;
            let code = digits.iter().try_fold(0, |code, digit| Some(code * 8 + char::from(*digit).to_digit(8)?))?;
            into.push(u8::try_from(code).ok()?);
            return Some(after);
        }
        _ => return None,
    };
    into.push(plain);
    Some(rest)
}

fn character<'t>(text: &'t [u8], digits: usize, into: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (code, _) = text.split_at_checked(digits)?;
    let code = u32::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?;
    let character = char::from_u32(code)?;
    number(text, digits, 16, into, |_, into| go_text::push(into, character))
}

fn number<'t>(
    text: &'t [u8],
    digits: usize,
    radix: u32,
    into: &mut Vec<u8>,
    append: impl FnOnce(u32, &mut Vec<u8>),
) -> Option<&'t [u8]> {
    let (code, rest) = text.split_at_checked(digits)?;
    let is_number = code.iter().all(|digit| char::from(*digit).is_digit(radix));
    let code = is_number.then(|| u32::from_str_radix(std::str::from_utf8(code).ok()?, radix).ok()).flatten()?;
    append(code, into);
    Some(rest)
}
