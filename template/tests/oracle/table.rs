//! Counts agreement with Go by the functions that a template calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

/// How many cases were compared, and how many of them agree; by function, and of all.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<&'static str, Count>,
    all: Count,
}

/// Cases, of which some agree, and some others differ on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub cases: usize,
    pub agree: usize,
    pub left_out: usize,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Agrees,
    Differs,
    LeftOut,
}

impl Table {
    /// Counts a case for each function of its template, and once for all.
    pub fn add(&mut self, template: &[u8], verdict: Verdict) {
        self.all.add(verdict);
        for function in functions_of(template) {
            self.rows.entry(function).or_default().add(verdict);
        }
    }

    /// All cases together.
    pub fn all(&self) -> Count {
        self.all
    }

    /// The functions of the engine that no case calls.
    pub fn uncalled(&self) -> Vec<&'static str> {
        waypost_template::function_names().filter(|name| !self.rows.contains_key(name)).collect()
    }
}

impl Count {
    fn add(&mut self, verdict: Verdict) {
        self.cases += 1;
        match verdict {
            Verdict::Agrees => self.agree += 1,
            Verdict::LeftOut => self.left_out += 1,
            Verdict::Differs => {}
        }
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:28} {:>7} {:>7} {:>7} {:>9}", "function", "cases", "agree", "differ", "left out")?;
        for (name, count) in self.rows.iter().map(|(name, count)| (*name, count)).chain([("all cases", &self.all)]) {
            let Count { cases, agree, left_out } = *count;
            let differ = cases - agree - left_out;
            writeln!(formatter, "{name:28} {cases:7} {agree:7} {differ:7} {left_out:9}")?;
        }
        Ok(())
    }
}

/// The functions that stand in a template's actions, outside of its constants and comments.
fn functions_of(template: &[u8]) -> BTreeSet<&'static str> {
    let known: BTreeMap<&str, &'static str> = waypost_template::function_names().map(|name| (name, name)).collect();
    words(&String::from_utf8_lossy(template)).into_iter().filter_map(|word| known.get(word).copied()).collect()
}

fn words(template: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = template;
    while let Some((_, action)) = rest.split_once("{{") {
        rest = action;
        while !rest.is_empty() && !rest.starts_with("}}") {
            let length = token(rest);
            if rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
                words.push(&rest[..length]);
            }
            rest = &rest[length..];
        }
    }
    words
}

/// The length of what stands first in an action: a constant, a comment, a name with its dots or its
/// dollar sign, or one character.
fn token(text: &str) -> usize {
    let is_part = |character: char| character == '_' || character.is_alphanumeric();
    let first = text.chars().next().map_or(0, char::len_utf8);
    let after = |end: &str| text[first..].find(end).map_or(text.len(), |at| first + at + end.len());
    match text.as_bytes() {
        [b'`', ..] => after("`"),
        [b'/', b'*', ..] => after("*/"),
        [quote @ (b'"' | b'\''), ..] => quoted(text.as_bytes(), *quote),
        [b'.' | b'$', ..] => text[1..].find(|next| !is_part(next)).map_or(text.len(), |at| at + 1),
        [letter, ..] if is_part(char::from(*letter)) => {
            text.find(|next| !is_part(next)).unwrap_or(text.len()).max(first)
        }
        _ => first,
    }
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}
