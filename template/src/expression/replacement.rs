//! What Go puts in place of a match: `$1`, `${name}`, `$$`.

use std::ops::Range;

use crate::go_text;

/// A part of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This part of its text.
    Text(Range<usize>),
    /// The first of these groups that took part in the match; nothing if none did.
    Groups(Vec<usize>),
}

/// The parts of a replacement, for an expression whose groups have these names. What is no group is
/// left out.
pub fn parts(replacement: &[u8], names: &[(String, usize)]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(dollar) = replacement[at..].iter().position(|byte| *byte == b'$').map(|found| at + found) {
        if replacement[dollar..].starts_with(b"$$") {
            parts.push(Part::Text(at..dollar + 1));
            at = dollar + 2;
        } else if let Some((name, length)) = reference(&replacement[dollar + 1..]) {
            parts.push(Part::Text(at..dollar));
            parts.push(Part::Groups(groups(name, names)));
            at = dollar + 1 + length;
        } else {
            parts.push(Part::Text(at..dollar + 1));
            at = dollar + 1;
        }
    }
    parts.push(Part::Text(at..replacement.len()));
    parts
}

/// The name after a dollar sign, and its length with its braces.
fn reference(text: &[u8]) -> Option<(&str, usize)> {
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
        true => after.starts_with(b"}").then_some((name, length + 2)),
        false => Some((name, length)),
    }
}

fn groups(name: &str, names: &[(String, usize)]) -> Vec<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    match is_number {
        true => name.parse().into_iter().collect(),
        false => names.iter().filter(|(known, _)| known == name).map(|(_, number)| *number).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_as_go_reads_them() {
        let names = [("n".to_owned(), 2), ("é1".to_owned(), 3), ("n".to_owned(), 4)];
        let shown = |text: &str| -> String {
            let parts = parts(text.as_bytes(), &names).into_iter();
            parts
                .map(|part| match part {
                    Part::Text(range) => text[range].to_owned(),
                    Part::Groups(numbers) => format!("{numbers:?}"),
                })
                .collect()
        };
        for (text, parts) in [
            ("a$1b", "a[]"),
            ("a${1}b", "a[1]b"),
            ("$n-${n}", "[2, 4]-[2, 4]"),
            ("$é1!", "[3]!"),
            ("$$1", "$1"),
            ("$", "$"),
            ("${", "${"),
            ("${1", "${1"),
            ("$-", "$-"),
            ("${01}", "[]"),
            ("$0", "[0]"),
            ("${99999999999999999999}", "[]"),
        ] {
            assert_eq!(shown(text), parts, "{text}");
        }
    }
}
