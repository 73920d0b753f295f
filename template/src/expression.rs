//! Regular expressions of Go, translated for the `regex` crate.
//!
//! Both find the same matches in linear time, but their syntax differs: in Go `\w`, `\d`, `\s` and
//! `\b` know ASCII only, a brace that repeats nothing is a brace, and classes have no operators. An
//! expression that Go refuses is refused here.

mod replacement;

pub use replacement::Part;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// The memory, in bytes, of one compiled expression, and of the cache of its search. A class of the
/// letters of all languages takes about 30 KiB.
const MAX_MEMORY: usize = 256 * 1024;
/// How often a part may be repeated, with what is around it.
const MOST_REPETITIONS: u32 = 1000;
/// How many parentheses may be open.
const DEEPEST: usize = 100;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expression {
    regex: Regex,
    /// The names of groups, by their number.
    names: Vec<(String, usize)>,
}

/// A text that is no regular expression of Go, or one that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the regular expression is not valid, or too large: use RE2 syntax")]
pub struct NoExpression;

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`NoExpression`].
    pub fn compile(pattern: &str) -> Result<Self, NoExpression> {
        let (translated, names) = translate(pattern).ok_or(NoExpression)?;
        let built = RegexBuilder::new(&translated).size_limit(MAX_MEMORY).dfa_size_limit(MAX_MEMORY).build();
        let regex = built.map_err(|_quotes_the_text| NoExpression)?;
        Ok(Expression { regex, names })
    }

    /// The compiled expression. Its groups have numbers only.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Whether it matches anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What a replacement of its matches is made of, with Go's `$1`, `${name}` and `$$`.
    pub fn parts(&self, replacement: &[u8]) -> Vec<Part> {
        replacement::parts(replacement, &self.names)
    }
}

/// The translation, and the names of its groups; `None` if it is no expression.
fn translate(pattern: &str) -> Option<(String, Vec<(String, usize)>)> {
    let mut parser =
        Parser { rest: pattern, text: String::new(), names: Vec::new(), groups: 0, depth: 0, is_swapped: false };
    parser.alternatives()?;
    parser.rest.is_empty().then_some((parser.text, parser.names))
}

struct Parser<'p> {
    rest: &'p str,
    text: String,
    names: Vec<(String, usize)>,
    groups: usize,
    depth: usize,
    /// Whether `*?` takes much and `*` little: the flag `U`.
    is_swapped: bool,
}

impl Parser<'_> {
    /// Up to the end or a closing parenthesis. Gives the most repetitions of any part.
    fn alternatives(&mut self) -> Option<u32> {
        let mut most = 1;
        // What a repetition would repeat, and whether it is one itself.
        let mut last: Option<Last> = None;
        while let Some(character) = self.rest.chars().next() {
            match character {
                ')' => break,
                '|' => {
                    self.take(1);
                    self.text.push('|');
                    last = None;
                }
                '*' | '+' | '?' => {
                    let repeated = last.filter(|last| !last.is_repetition)?;
                    last = Some(self.repeat(repeated, 1, repeated.repetitions));
                }
                '{' if let Some((least, greatest, length)) = repetition(self.rest) => {
                    let repeated = last.filter(|last| !last.is_repetition)?;
                    let count = greatest.unwrap_or(least).max(1);
                    let repetitions = repeated.repetitions.checked_mul(count)?;
                    let is_order = greatest.is_none_or(|greatest| least <= greatest);
                    if !is_order || least > MOST_REPETITIONS || repetitions > MOST_REPETITIONS {
                        return None;
                    }
                    most = most.max(repetitions);
                    last = Some(self.repeat(repeated, length, repetitions));
                }
                _ => {
                    let start = self.text.len();
                    last = match self.atom(character)? {
                        Some(Atom { last, repetitions }) => {
                            most = most.max(repetitions);
                            let (start, end) = (start + last, self.text.len());
                            Some(Last { start, end, is_swapped: self.is_swapped, is_repetition: false, repetitions })
                        }
                        // What follows repeats what stands before.
                        None => last.map(|last| Last { is_repetition: false, ..last }),
                    };
                }
            }
        }
        Some(most)
    }

    /// Writes a repetition, which has this length, after what it repeats.
    fn repeat(&mut self, what: Last, length: usize, repetitions: u32) -> Last {
        let quantifier = &self.rest[..length];
        self.take(length);
        let has_mark = self.rest.starts_with('?');
        self.take(usize::from(has_mark));
        let (start, before) = (what.start, self.text.len());
        if what.end == before {
            self.text.push_str(quantifier);
            self.text.push_str(if has_mark { "?" } else { "" });
        } else {
            // There are flags between. They decide how much it takes, and nothing else of it.
            let mark = if has_mark == (what.is_swapped == self.is_swapped) { "?" } else { "" };
            self.text.insert_str(what.end, &format!("){quantifier}{mark}"));
            self.text.insert_str(start, "(?:");
        }
        let end = what.end + self.text.len() - before;
        Last { start, end, is_swapped: what.is_swapped, is_repetition: true, repetitions }
    }

    /// Anything that can be repeated; `Some(None)` for what cannot: flags, and an empty quotation.
    fn atom(&mut self, character: char) -> Option<Option<Atom>> {
        match character {
            '(' => return self.group(),
            '\\' if self.rest.starts_with("\\Q") => return Some(self.quotation()),
            '[' => self.class()?,
            '.' | '^' | '$' => {
                self.take(1);
                self.text.push(character);
            }
            '\\' => self.escape()?,
            other => {
                self.take(other.len_utf8());
                self.literal(other);
            }
        }
        Some(Some(Atom { last: 0, repetitions: 1 }))
    }

    fn group(&mut self) -> Option<Option<Atom>> {
        let was_swapped = self.is_swapped;
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        if let Some(inner) = self.rest.strip_prefix("(?P<").or_else(|| self.rest.strip_prefix("(?<")) {
            let (name, after) = inner.split_once('>')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            self.names.push((is_name.then(|| name.to_owned())?, self.groups + 1));
            self.rest = after;
            self.groups += 1;
            self.text.push('(');
        } else if let Some(inner) = self.rest.strip_prefix("(?") {
            let length = inner.find([':', ')'])?;
            let (flags, after) = inner.split_at(length);
            if !are_flags(flags, after.starts_with(':')) {
                return None;
            }
            let (on, off) = flags.split_once('-').unwrap_or((flags, ""));
            self.is_swapped = (self.is_swapped || on.contains('U')) && !off.contains('U');
            self.text.push_str("(?");
            self.text.push_str(flags);
            let ends = after.starts_with(')');
            self.text.push(if ends { ')' } else { ':' });
            self.rest = &after[1..];
            if ends {
                self.depth -= 1;
                return Some(None);
            }
        } else {
            self.take(1);
            self.groups += 1;
            self.text.push('(');
        }
        let repetitions = self.alternatives()?;
        self.rest = self.rest.strip_prefix(')')?;
        self.text.push(')');
        self.depth -= 1;
        self.is_swapped = was_swapped;
        Some(Some(Atom { last: 0, repetitions }))
    }

    /// A repetition after it repeats its last character.
    fn quotation(&mut self) -> Option<Atom> {
        let quoted = &self.rest[2..];
        let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        self.rest = after;
        let (start, mut last) = (self.text.len(), None);
        for character in literal.chars() {
            last = Some(self.text.len() - start);
            self.literal(character);
        }
        last.map(|last| Atom { last, repetitions: 1 })
    }

    /// Outside of a class.
    fn escape(&mut self) -> Option<()> {
        let kind = self.rest.chars().nth(1)?;
        match kind {
            'A' | 'z' => {
                self.text.push_str(&self.rest[..2]);
                self.take(2);
            }
            'b' | 'B' => {
                self.text.push_str(if kind == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
                self.take(2);
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                let is_negated = kind.is_ascii_uppercase();
                self.text.push_str(if is_negated { "[^" } else { "[" });
                self.text.push_str(perl_class(kind.to_ascii_lowercase()));
                self.text.push(']');
                self.take(2);
            }
            'p' | 'P' => self.unicode_class()?,
            _ => {
                let character = self.escaped_character()?;
                self.literal(character);
            }
        }
        Some(())
    }

    /// `\pL`, `\p{Greek}`, `\P{^Greek}`.
    fn unicode_class(&mut self) -> Option<()> {
        let is_negated = self.rest.starts_with("\\P");
        let after = &self.rest[2..];
        let (name, length) = match after.strip_prefix('{') {
            Some(inner) => {
                let (name, _) = inner.split_once('}')?;
                (name, name.len() + 2)
            }
            None => {
                let length = after.chars().next()?.len_utf8();
                (&after[..length], length)
            }
        };
        let (name, is_inverted) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let is_known = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_known {
            return None;
        }
        self.text.push_str(if is_negated == is_inverted { "\\p{" } else { "\\P{" });
        self.text.push_str(name);
        self.text.push('}');
        self.rest = &after[length..];
        Some(())
    }

    /// A character that is written with a backslash.
    fn escaped_character(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        characters.next();
        let kind = characters.next()?;
        let after = &self.rest[1 + kind.len_utf8()..];
        let (character, rest) = match kind {
            'a' => ('\u{7}', after),
            'f' => ('\u{c}', after),
            'n' => ('\n', after),
            'r' => ('\r', after),
            't' => ('\t', after),
            'v' => ('\u{b}', after),
            'x' => match after.strip_prefix('{') {
                Some(inner) => {
                    let (digits, rest) = inner.split_once('}')?;
                    (code(digits, 16, 8)?, rest)
                }
                None => {
                    let (digits, rest) = after.split_at_checked(2)?;
                    (code(digits, 16, 2)?, rest)
                }
            },
            // One digit alone would be a back-reference.
            '1'..='7' if !after.starts_with(|next: char| next.is_digit(8)) => return None,
            '0'..='7' => {
                let more = after.bytes().take(2).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
                (code(&self.rest[1..2 + more], 8, 3)?, &after[more..])
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => (other, after),
            _ => return None,
        };
        self.rest = rest;
        Some(character)
    }

    fn class(&mut self) -> Option<()> {
        self.take(1);
        self.text.push('[');
        if self.rest.starts_with('^') {
            self.take(1);
            self.text.push('^');
        }
        let mut is_first = true;
        loop {
            if self.rest.starts_with(']') && !is_first {
                self.take(1);
                self.text.push(']');
                return Some(());
            }
            is_first = false;
            if let Some(inner) = self.rest.strip_prefix("[:")
                && let Some(length) = inner.find(":]")
            {
                self.posix_class(length + 2)?;
                continue;
            }
            let kind = self.rest.strip_prefix('\\').and_then(|after| after.chars().next());
            match kind {
                Some('p' | 'P') => self.unicode_class()?,
                Some(kind @ ('d' | 's' | 'w')) => {
                    self.text.push_str(perl_class(kind));
                    self.take(2);
                }
                Some(kind @ ('D' | 'S' | 'W')) => {
                    self.text.push_str("[^");
                    self.text.push_str(perl_class(kind.to_ascii_lowercase()));
                    self.text.push(']');
                    self.take(2);
                }
                _ => self.range()?,
            }
        }
    }

    /// `[:alpha:]` or `[:^alpha:]`, up to this place.
    fn posix_class(&mut self, end: usize) -> Option<()> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let name = &self.rest[2..end];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return None;
        }
        self.text.push_str(&self.rest[..end + 2]);
        self.take(end + 2);
        Some(())
    }

    /// A character of a class, or the first and the last of several.
    fn range(&mut self) -> Option<()> {
        let low = self.class_character()?;
        self.class_literal(low);
        if self.rest.starts_with('-') && self.rest.len() >= 2 && !self.rest.starts_with("-]") {
            self.take(1);
            let high = self.class_character().filter(|high| low <= *high)?;
            self.text.push('-');
            self.class_literal(high);
        }
        Some(())
    }

    fn class_character(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        if character == '\\' {
            return self.escaped_character();
        }
        self.take(character.len_utf8());
        Some(character)
    }

    fn class_literal(&mut self, character: char) {
        if character.is_ascii_punctuation() {
            self.text.push('\\');
        }
        self.text.push(character);
    }

    fn literal(&mut self, character: char) {
        if regex_syntax_needs_escape(character) {
            self.text.push('\\');
        }
        self.text.push(character);
    }

    fn take(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }
}

/// What can be repeated.
#[derive(Clone, Copy)]
struct Atom {
    /// Where in its translation begins what a repetition repeats.
    last: usize,
    /// The most repetitions of any of its parts.
    repetitions: u32,
}

/// What a repetition would repeat: its place in the translation.
#[derive(Clone, Copy)]
struct Last {
    start: usize,
    end: usize,
    /// [`Parser::is_swapped`] there.
    is_swapped: bool,
    is_repetition: bool,
    repetitions: u32,
}

fn regex_syntax_needs_escape(character: char) -> bool {
    r"\.+*?()|[]{}^$#&-~".contains(character)
}

fn perl_class(kind: char) -> &'static str {
    match kind {
        'd' => "0-9",
        's' => r"\t\n\x0c\r ",
        _word => "0-9A-Za-z_",
    }
}

fn code(digits: &str, radix: u32, most: usize) -> Option<char> {
    let is_number = !digits.is_empty() && digits.len() <= most && digits.chars().all(|digit| digit.is_digit(radix));
    is_number.then(|| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32)).flatten()
}

/// `i`, `m`, `s` and `U`, of which some may be switched off. Alone they must say something.
fn are_flags(flags: &str, opens: bool) -> bool {
    let (on, off) = flags.split_once('-').map_or((flags, None), |(on, off)| (on, Some(off)));
    let are_known = |flags: &str| flags.chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U'));
    are_known(on) && off.is_none_or(|off| !off.is_empty() && are_known(off)) && (opens || !flags.is_empty())
}

/// `{2}`, `{2,}` or `{2,3}`: the bounds, and the length; `None` if it repeats nothing.
fn repetition(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let is_number = is_number && (digits.len() == 1 || !digits.starts_with('0'));
        is_number.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let length = inner.len() + 2;
    match inner.split_once(',') {
        None => number(inner).map(|count| (count, Some(count), length)),
        Some((least, "")) => number(least).map(|least| (least, None, length)),
        Some((least, most)) => Some((number(least)?, Some(number(most)?), length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_and_rust_write_differently_is_translated() {
        for (go, rust) in [
            (r"\w+\d\s", r"[0-9A-Za-z_]+[0-9][\t\n\x0c\r ]"),
            (r"a{,2}{", r"a\{,2\}\{"),
            (r"[a&&b]", r"[a\&\&b]"),
            (r"[\D\-]", r"[[^0-9]\-]"),
            (r"\Qa.b\E+", r"a\.b+"),
            (r"(?P<n>a)(?<n>b)", "(a)(b)"),
            (r"\101\x{41}\x41", "AAA"),
            (r"[[:alpha:]]\bx", r"[[:alpha:]](?-u:\b)x"),
            (r"\Bé", r"(?-u:\B)é"),
            ("[[:]x]", r"[\[\:]x\]"),
            ("ab(?i)+c", "a(?:b)+(?i)c"),
            ("a*(?U)*", "(?:a*)*?(?U)"),
            ("(?U)a(?-U)*?", "(?U)(?:a)*(?-U)"),
            ("(?U:a)(?i)*?", "(?:(?U:a))*?(?i)"),
            (r"\Qab\E(?s){2}", "a(?:b){2}(?s)"),
            (r"a\Q\E*", "a*"),
        ] {
            assert_eq!(translate(go).map(|(text, _)| text).as_deref(), Some(rust), "{go}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for wrong in [
            "a**",
            "a++",
            "*",
            "a|*",
            "(?i)*",
            "a|(?i)*",
            "a(?i)*+",
            "(",
            ")",
            "[a",
            "[b-a]",
            "[[:nope:]]",
            "a{1001}",
            "(a{100}){100}",
            r"\1",
            r"\Z",
            r"\u0041",
            "(?x)a",
            "(?=a)",
            "(?P<>a)",
            r"\pX",
            "(?i-)a",
        ] {
            assert_eq!(Expression::compile(wrong).err(), Some(NoExpression), "{wrong}");
        }
    }
}
