//! Where a byte of a scalar's value is written, in each of YAML's styles.
//!
//! The parser tells where a scalar begins and ends, and what it means. Between the two are
//! indentation, escapes and folded lines, so the way from the one to the other is walked again here.
//! A walk that does not arrive at the parser's value is not used.

use std::ops::Range;

/// Where the byte at `offset` of a scalar's value is written in `text`, in which the parser found the
/// scalar at `span`; the end of the scalar for the end of its value. `None` if it cannot be followed.
pub fn offset_in(text: &str, span: &Range<usize>, value: &str, offset: usize) -> Option<usize> {
    let written = text.get(span.clone())?;
    let begin = span.start + properties(written);
    let scalar = &text[begin..span.end];
    let walk = match scalar.chars().next()? {
        '"' => flow(scalar, begin, Quotes::Double),
        '\'' => flow(scalar, begin, Quotes::Single),
        _plain_or_block => flow(scalar, begin, Quotes::None),
    };
    let of_value = |walk: &Walk| walk.value == value;
    let walk = walk.filter(of_value).or_else(|| block(text, begin, span.end, value).filter(of_value))?;
    Some(walk.place(offset))
}

/// The length of the anchor and the tag before a scalar.
fn properties(written: &str) -> usize {
    let mut rest = written;
    while rest.starts_with(['&', '!']) {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest = rest[word..].trim_start();
    }
    written.len() - rest.len()
}

/// A value as it is put together again, with what each part is made of.
#[derive(Default)]
struct Walk {
    value: String,
    /// The offset in the value, and where it is written, of each part.
    parts: Vec<(usize, usize)>,
    end: usize,
}

impl Walk {
    fn push(&mut self, written: usize, text: &str) {
        self.parts.push((self.value.len(), written));
        self.value.push_str(text);
    }

    /// Within a part, the value is written as it is.
    fn place(&self, offset: usize) -> usize {
        let next = self.parts.partition_point(|(begins, _)| *begins <= offset);
        match next.checked_sub(1).map(|index| self.parts[index]) {
            Some((begins, written)) if offset < self.value.len() => written + (offset - begins),
            Some(_) | None => self.end,
        }
    }
}

/// A block scalar, of which the parser tells where it begins: its header, or its first line with
/// text. Its lines stand in the value as they are, but for their indentation; what is between two of
/// them is space in either style.
fn block(text: &str, begin: usize, end: usize, value: &str) -> Option<Walk> {
    let mut begins = match text[begin..end].starts_with(['|', '>']) {
        true => begin + text[begin..end].find('\n')? + 1,
        false => text[..begin].rfind('\n')? + 1,
    };
    let lines = &text[begins..end];
    let mut walk = Walk { end: begins + lines.trim_end().len(), ..Walk::default() };
    let indent = indent(lines, value);
    for line in lines.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        if !content.trim().is_empty() && leading(content) < indent {
            // A comment, or whatever follows the scalar.
            break;
        }
        let words = content.get(indent..).unwrap_or_default();
        if !words.is_empty() {
            let rest = &value[walk.value.len()..];
            let spaces = gap(rest, words)?;
            walk.push(begins + indent, &rest[..spaces]);
            walk.push(begins + indent, words);
        }
        begins += line.len();
    }
    let rest = &value[walk.value.len()..];
    if rest.trim_matches('\n').is_empty() {
        walk.push(walk.end, rest);
    }
    Some(walk)
}

/// How far the lines are indented: the first one with text keeps what is not indentation.
fn indent(lines: &str, value: &str) -> usize {
    let has_text = |line: &&str| !line.trim().is_empty();
    let written = lines.lines().find(has_text).map(leading).unwrap_or_default();
    written - value.lines().find(has_text).map(leading).unwrap_or_default().min(written)
}

fn leading(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// How much space is in the value before this line.
fn gap(rest: &str, line: &str) -> Option<usize> {
    let spaces = rest.len() - rest.trim_start_matches([' ', '\n']).len();
    (0..=spaces).find(|gap| rest[*gap..].starts_with(line))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// A plain or quoted scalar that begins at `begin` of its text.
fn flow(scalar: &str, begin: usize, quotes: Quotes) -> Option<Walk> {
    let (from, to) = match quotes {
        Quotes::None => (0, scalar.trim_end().len()),
        Quotes::Single => (1, scalar.trim_end().strip_suffix('\'')?.len()),
        Quotes::Double => (1, scalar.trim_end().strip_suffix('"')?.len()),
    };
    let mut walk = Walk { end: begin + to, ..Walk::default() };
    let mut at = from;
    while at < to {
        let rest = &scalar[at..to];
        at += match (rest.chars().next()?, quotes) {
            ('\'', Quotes::Single) if !rest.starts_with("''") => return None,
            ('\'', Quotes::Single) => escaped(&mut walk, begin + at, "'", 2),
            ('\\', Quotes::Double) => {
                let (text, length) = escape(rest)?;
                escaped(&mut walk, begin + at, &text, length)
            }
            ('\n' | '\r' | ' ' | '\t', _) => spaces(&mut walk, begin + at, rest),
            (character, _) => escaped(&mut walk, begin + at, &rest[..character.len_utf8()], character.len_utf8()),
        };
    }
    Some(walk)
}

fn escaped(walk: &mut Walk, at: usize, text: &str, length: usize) -> usize {
    walk.push(at, text);
    length
}

/// White space: within a line as it is, else folded.
fn spaces(walk: &mut Walk, at: usize, rest: &str) -> usize {
    let length = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    let run = &rest[..length];
    match run.matches('\n').count() {
        0 => run.char_indices().for_each(|(index, _)| walk.push(at + index, &run[index..=index])),
        1 => walk.push(at, " "),
        breaks => walk.push(at, &"\n".repeat(breaks - 1)),
    }
    length
}

/// What an escape in double quotes means, and its length.
fn escape(rest: &str) -> Option<(String, usize)> {
    let letter = rest.chars().nth(1)?;
    let text = match letter {
        'x' => return coded(rest, 2),
        'u' => return coded(rest, 4),
        'U' => return coded(rest, 8),
        '\n' | '\r' => {
            // A line that is continued, without the indentation of the next one. Empty ones between
            // them are line breaks.
            let length = rest.len() - rest[1..].trim_start_matches([' ', '\t', '\n', '\r']).len();
            let breaks = rest[..length].matches('\n').count();
            return Some(("\n".repeat(breaks.checked_sub(1)?), length));
        }
        '0' => "\0",
        'a' => "\x07",
        'b' => "\x08",
        't' | '\t' => "\t",
        'n' => "\n",
        'v' => "\x0b",
        'f' => "\x0c",
        'r' => "\r",
        'e' => "\x1b",
        'N' => "\u{85}",
        '_' => "\u{a0}",
        'L' => "\u{2028}",
        'P' => "\u{2029}",
        ' ' | '"' | '/' | '\\' => return Some((letter.to_string(), 2)),
        _unknown => return None,
    };
    Some((text.to_owned(), 2))
}

fn coded(rest: &str, digits: usize) -> Option<(String, usize)> {
    let (length, code) = (2 + digits, u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?);
    if let Some(character) = char::from_u32(code) {
        return Some((character.to_string(), length));
    }
    // Two halves of a character, as JSON writes it.
    let second = rest.get(length..)?.strip_prefix("\\u")?.get(..4)?;
    let pair = [u16::try_from(code).ok()?, u16::from_str_radix(second, 16).ok()?];
    let character = char::decode_utf16(pair).next()?.ok()?;
    Some((character.to_string(), length + 6))
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::*;

    /// What is written where the value has `wanted`, found by its only occurrence.
    fn found<'t>(text: &'t str, wanted: &str) -> Option<&'t str> {
        let (documents, _) = document::parse(text);
        let node = documents[0].get("k").unwrap();
        let value = node.text().unwrap();
        let offset = value.find(wanted).unwrap_or_else(|| panic!("{wanted:?} is not in {value:?}"));
        Some(&text[offset_in(text, &node.span, value, offset)?..])
    }

    #[test]
    fn every_style_leads_back_to_what_is_written() {
        for text in [
            "k: a {{ .b }}\n",
            "k: 'it''s {{ .b }}'\n",
            "k: \"\\t\\u00e4\\\"{{ .b }}\"\n",
            "{\"k\": \"\\ud83d\\ude00\\/ {{ .b }}\"}",
            "k: |\n  first\n\n    more\n  ä {{ .b }}\n",
            "k: |-\n    {{ .b }}\n",
            "k: |2+\n    two more\n  {{ .b }}\n\n",
            "k: >\n  first\n  second\n\n  third\n    more\n\n  {{ .b }}\n",
            "k: >-\n\n  one\n    {{ .b }}\n",
            "k: one\n  two\n\n  three {{ .b }}\n",
            "k: 'one  \n  two\n\n\n  three {{ .b }}'\n",
            "k: \"one \\\n  two\\n\n  three {{ .b }}\"\n",
            "k: &anchor !!str \"a {{ .b }}\"\n",
            "k: &anchor |\n  a {{ .b }}\n",
            "k: |\r\n  first\r\n  {{ .b }}\r\n",
            "k: |\n  # no comment\n  {{ .b }}\n# a comment\n",
        ] {
            for wanted in ["{{", ".b", "b }}"] {
                let rest = found(text, wanted).unwrap_or_else(|| panic!("not followed: {text}"));
                assert!(rest.starts_with(wanted), "{wanted:?} of {text:?} is at {rest:?}");
            }
        }
    }

    #[test]
    fn a_value_that_stands_elsewhere_is_not_looked_for() {
        for text in ["*alias", "|\n  other\n", "'open", ""] {
            assert_eq!(offset_in(text, &(0..text.len()), "text", 2), None, "{text}");
        }
    }

    proptest::proptest! {
        /// Whatever is found is what the value has there.
        #[test]
        fn what_is_found_is_what_is_there(style in "[|>][-+]?|\"|'|", lines in proptest::collection::vec("[ ]{0,3}[a{}\\\\'\"nä#]{0,4}", 1..5)) {
            let closing = if style.starts_with(['"', '\'']) { style.as_str() } else { "" };
            let opening = if style.starts_with(['|', '>']) { format!("{style}\n   ") } else { style.clone() };
            let text = format!("k: {opening}{}{closing}\n", lines.join("\n   "));
            let (documents, _) = document::parse(&text);
            if let Some(node) = documents.first().and_then(|document| document.get("k"))
                && let Some(value) = node.text()
            {
                for (offset, character) in value.char_indices().filter(|(_, character)| "a{}#".contains(*character)) {
                    let place = offset_in(&text, &node.span, value, offset);
                    proptest::prop_assert!(place.is_some(), "not followed: {:?} as {:?}", text, value);
                    proptest::prop_assert!(text[place.unwrap()..].starts_with(character), "{:?}", text);
                }
            }
        }
    }
}
