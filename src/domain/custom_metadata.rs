//! What a KV v2 store accepts as `custom_metadata` of an entry.

/// The longest key, in bytes.
pub const MAX_KEY: usize = 128;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 512;

/// Why no store accepts a text as a key or a value of custom metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataFault {
    /// It is empty.
    Empty,
    /// It has more bytes than the limit.
    TooLong,
    /// It has a character that cannot be printed, such as a line break or a tab.
    Unprintable,
}

/// Checks a key of custom metadata.
///
/// # Errors
/// [`MetadataFault`].
pub fn check_key(text: &str) -> Result<(), MetadataFault> {
    check(text, MAX_KEY)
}

/// Checks a value of custom metadata.
///
/// # Errors
/// [`MetadataFault`].
pub fn check_value(text: &str) -> Result<(), MetadataFault> {
    check(text, MAX_VALUE)
}

fn check(text: &str, limit: usize) -> Result<(), MetadataFault> {
    match text.len() {
        0 => Err(MetadataFault::Empty),
        length if length > limit => Err(MetadataFault::TooLong),
        _fits if text.chars().all(is_printable) => Ok(()),
        _fits => Err(MetadataFault::Unprintable),
    }
}

/// Go's `unicode.IsPrint`, which servers use: letters, marks, numbers, punctuation, symbols and the
/// space. `escape_debug` escapes all other characters, and the quotes and the backslash.
fn is_printable(character: char) -> bool {
    // A combining mark is escaped only without a character before it.
    let shown = format!("x{character}");
    matches!(character, '"' | '\'' | '\\') || shown.escape_debug().eq(shown.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_store_takes_is_told() {
        for fine in ["x", "a b", "é", "e\u{301}", "\"'\\", "\u{1f511}", "日本", &"x".repeat(MAX_VALUE)] {
            assert_eq!(check_value(fine), Ok(()), "{fine:?}");
        }
        for odd in
            ["a\nb", "\t", "\r", "\0", "\u{7f}", "\u{a0}", "\u{200b}", "\u{2028}", "\u{feff}", "\u{e000}", "\u{ad}"]
        {
            assert_eq!(
                (check_value(odd), check_key(odd)),
                (Err(MetadataFault::Unprintable), Err(MetadataFault::Unprintable)),
                "{odd:?}"
            );
        }
        assert_eq!((check_key(""), check_value("")), (Err(MetadataFault::Empty), Err(MetadataFault::Empty)));
        let (key, value) = ("k".repeat(MAX_KEY + 1), "v".repeat(MAX_VALUE + 1));
        assert_eq!((check_key(&key), check_value(&value)), (Err(MetadataFault::TooLong), Err(MetadataFault::TooLong)));
        assert_eq!(check_value(&key), Ok(()));
    }
}
