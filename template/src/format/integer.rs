//! Prints integers.

use super::printer::Flags;
use crate::go_text;

/// An integer with verb `v`, `d`, `b`, `o`, `O`, `x` or `X`, without the padding of spaces.
pub fn printed(number: u64, is_negative: bool, verb: char, flags: &Flags) -> Vec<u8> {
    let room_for_zeros = (flags.zero && !flags.minus && flags.precision.is_none()).then_some(flags.width).flatten();
    let has_sign = is_negative || flags.plus || flags.space;
    let fewest = match (flags.precision, room_for_zeros) {
        (Some(0), _) if number == 0 => return Vec::new(),
        (Some(precision), _) => precision,
        (None, Some(width)) => width.saturating_sub(usize::from(has_sign)),
        (None, None) => 0,
    };
    let digits = match verb {
        'b' => format!("{number:b}"),
        'o' | 'O' => format!("{number:o}"),
        'x' => format!("{number:x}"),
        'X' => format!("{number:X}"),
        _decimal => number.to_string(),
    };
    let mut printed = Vec::new();
    if is_negative {
        printed.push(b'-');
    } else if flags.plus {
        printed.push(b'+');
    } else if flags.space {
        printed.push(b' ');
    }
    let zeros = fewest.saturating_sub(digits.len());
    let prefix: &[u8] = match verb {
        'O' if flags.sharp && zeros == 0 && !digits.starts_with('0') => b"0o0",
        'O' => b"0o",
        'b' if flags.sharp => b"0b",
        'o' if flags.sharp && zeros == 0 && !digits.starts_with('0') => b"0",
        'x' if flags.sharp => b"0x",
        'X' if flags.sharp => b"0X",
        _none => b"",
    };
    printed.extend_from_slice(prefix);
    printed.resize(printed.len() + zeros, b'0');
    printed.extend_from_slice(digits.as_bytes());
    printed
}

/// `U+0078`, or `U+0078 'x'`.
pub fn unicode(code: u64, flags: &Flags) -> Vec<u8> {
    let fewest = flags.precision.unwrap_or_default().max(4);
    let mut printed = format!("U+{code:0>fewest$X}").into_bytes();
    let character = u32::try_from(code).ok().and_then(char::from_u32).filter(|character| go_text::is_print(*character));
    if flags.sharp
        && let Some(character) = character
    {
        printed.extend_from_slice(format!(" '{character}'").as_bytes());
    }
    printed
}

/// The character of a code; the replacement where there is none.
pub fn character(code: u64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(go_text::REPLACEMENT)
}
