//! The text that a JSON string stands for.

use zeroize::Zeroizing;

/// Undoes the escapes in what stands between the quotes of a JSON string.
///
/// A surrogate without its partner becomes U+FFFD. In text that is no valid JSON string the result
/// ends before a control character or an escape that JSON does not have, and `\u` with other than
/// hexadecimal digits is U+0000: a path can hold such text.
pub(super) fn unescape(raw: &str) -> Zeroizing<String> {
    // No text is longer than its escaped form, so the buffer never moves and leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(raw.len()));
    let mut rest = raw;
    while let Some((character, after)) = next_character(rest) {
        text.push(character);
        rest = after;
    }
    text
}

fn next_character(text: &str) -> Option<(char, &str)> {
    let mut characters = text.chars();
    match characters.next()? {
        '\\' => escaped_character(characters.as_str()),
        control if control < ' ' => None,
        plain => Some((plain, characters.as_str())),
    }
}

fn escaped_character(text: &str) -> Option<(char, &str)> {
    let mut characters = text.chars();
    let meaning = match characters.next()? {
        'u' => return utf16_character(characters.as_str()),
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        itself @ ('"' | '\\' | '/') => itself,
        _ => return None,
    };
    Some((meaning, characters.as_str()))
}

fn utf16_character(text: &str) -> Option<(char, &str)> {
    let (unit, after) = utf16_unit(text)?;
    if let Some(character) = char::from_u32(unit.into()) {
        return Some((character, after));
    }
    let partner = after.strip_prefix("\\u").and_then(utf16_unit);
    let pair = [unit, partner.map_or(0, |(low, _)| low)];
    let character = char::decode_utf16(pair).next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER);
    Some((character, partner.map_or(after, |(_, behind)| behind)))
}

fn utf16_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    let unit =
        if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) { u16::from_str_radix(digits, 16) } else { Ok(0) };
    Some((unit.unwrap_or(0), after))
}
