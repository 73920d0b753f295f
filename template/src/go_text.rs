//! Text as Go sees it: bytes that are UTF-8 by convention. A byte that belongs to no character
//! counts as one character, U+FFFD.

use std::sync::LazyLock;

use regex::Regex;

/// What Go makes of a byte that belongs to no character.
pub const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// The first character, whether its bytes are valid, and how many bytes it takes. `None` at the end.
pub fn first(bytes: &[u8]) -> Option<(char, bool, usize)> {
    let lead = *bytes.first()?;
    if lead.is_ascii() {
        return Some((char::from(lead), true, 1));
    }
    let longest = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(character) => Some((character, true, character.len_utf8())),
        None => Some((REPLACEMENT, false, 1)),
    }
}

/// The characters of a text.
pub fn characters(bytes: &[u8]) -> impl Iterator<Item = char> {
    spans(bytes).map(|(character, _)| character)
}

/// The characters of a text, each with its bytes.
pub fn spans(bytes: &[u8]) -> impl Iterator<Item = (char, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (character, _, width) = first(rest)?;
        let (bytes, after) = rest.split_at(width);
        rest = after;
        Some((character, bytes))
    })
}

/// The number of characters.
pub fn count(bytes: &[u8]) -> usize {
    spans(bytes).count()
}

/// Appends a character.
pub fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Go's `unicode.IsLetter`.
pub fn is_letter(character: char) -> bool {
    static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{L}$").ok());
    if character.is_ascii() { character.is_ascii_alphabetic() } else { is_in(&LETTER, character) }
}

/// Go's `unicode.IsDigit`.
pub fn is_digit(character: char) -> bool {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());
    if character.is_ascii() { character.is_ascii_digit() } else { is_in(&DIGIT, character) }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space.
pub fn is_print(character: char) -> bool {
    static PRINT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());
    match character.is_ascii() {
        true => character == ' ' || character.is_ascii_graphic(),
        false => is_in(&PRINT, character),
    }
}

/// Go's `unicode.IsSpace`.
pub fn is_space(character: char) -> bool {
    character.is_whitespace()
}

/// Go's `unicode.IsNumber`.
pub fn is_number(character: char) -> bool {
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{N}$").ok());
    if character.is_ascii() { character.is_ascii_digit() } else { is_in(&NUMBER, character) }
}

/// Go's `unicode.IsPunct`.
pub fn is_punctuation(character: char) -> bool {
    static PUNCTUATION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{P}$").ok());
    is_in(&PUNCTUATION, character)
}

/// Go's `unicode.IsUpper`.
pub fn is_upper(character: char) -> bool {
    static UPPER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Lu}$").ok());
    if character.is_ascii() { character.is_ascii_uppercase() } else { is_in(&UPPER, character) }
}

/// Go's `unicode.IsLower`.
pub fn is_lower(character: char) -> bool {
    static LOWER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Ll}$").ok());
    if character.is_ascii() { character.is_ascii_lowercase() } else { is_in(&LOWER, character) }
}

/// Go's `unicode.IsTitle`.
pub fn is_title(character: char) -> bool {
    static TITLE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Lt}$").ok());
    !character.is_ascii() && is_in(&TITLE, character)
}

fn is_in(class: &LazyLock<Option<Regex>>, character: char) -> bool {
    class.as_ref().is_some_and(|class| class.is_match(character.encode_utf8(&mut [0; 4])))
}

/// Go's `unicode.ToUpper`: one character becomes one.
pub fn to_upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next(), character) {
        (Some(one), None, _) => one,
        // Greek letters with a subscript have a title case of one character.
        (_, _, '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}') => shifted(character, 8),
        (_, _, '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}') => shifted(character, 9),
        _ => character,
    }
}

/// Go's `unicode.ToLower`: one character becomes one.
pub fn to_lower(character: char) -> char {
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        (Some(first), Some(_)) => first,
        (None, _) => character,
    }
}

/// Go's `unicode.ToTitle`.
pub fn to_title(character: char) -> char {
    match character {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian has capitals, but no titles.
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => character,
        other => to_upper(other),
    }
}

fn shifted(character: char, by: u32) -> char {
    char::from_u32(u32::from(character) + by).unwrap_or(character)
}

/// Applies a mapping of characters. Go's `strings.Map` replaces bytes that belong to no character.
pub fn map(bytes: &[u8], to: impl Fn(char) -> char) -> Vec<u8> {
    let mut mapped = Vec::with_capacity(bytes.len());
    for character in characters(bytes) {
        push(&mut mapped, to(character));
    }
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_belongs_to_no_character_is_one() {
        let text = b"a\xff\xe2\x82\xac\xe2\x82";
        assert_eq!(characters(text).collect::<String>(), "a\u{fffd}€\u{fffd}\u{fffd}");
        assert_eq!(count(text), 5);
    }

    #[test]
    fn case_is_changed_character_by_character() {
        assert_eq!(String::from_utf8(map("straße ŉ ᾳ ǆ".as_bytes(), to_upper)).unwrap(), "STRAßE ŉ ᾼ Ǆ");
        assert_eq!(String::from_utf8(map("İI".as_bytes(), to_lower)).unwrap(), "ii");
        assert_eq!(to_title('ǆ'), 'ǅ');
    }

    #[test]
    fn classes_are_those_of_go() {
        assert!(is_letter('é') && !is_letter('\u{345}') && !is_letter('5'));
        assert!(is_digit('٣') && !is_digit('Ⅳ'));
        assert!(is_print('€') && is_print(' ') && !is_print('\u{a0}') && !is_print('\u{200b}'));
    }
}
