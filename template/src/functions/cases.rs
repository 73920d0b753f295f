//! Letter case and words: `title`, `camelcase`, `snakecase` and the like.

use crate::go_text;

pub fn upper(text: &[u8]) -> Vec<u8> {
    go_text::map(text, go_text::to_upper)
}

pub fn lower(text: &[u8]) -> Vec<u8> {
    go_text::map(text, go_text::to_lower)
}

/// Go's `strings.Title`: letters and digits make a word, and so does an underscore.
pub fn title(text: &[u8]) -> Vec<u8> {
    let mut titled = Vec::with_capacity(text.len());
    let mut before = ' ';
    for character in go_text::characters(text) {
        let to = if is_separator(before) { go_text::to_title(character) } else { character };
        go_text::push(&mut titled, to);
        before = character;
    }
    titled
}

fn is_separator(character: char) -> bool {
    match character {
        '_' => false,
        _ if character.is_ascii() => !character.is_ascii_alphanumeric(),
        _ if go_text::is_letter(character) || go_text::is_digit(character) => false,
        _ => go_text::is_space(character),
    }
}

/// The first letter of each word in lower case.
pub fn untitle(text: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(text.len());
    let mut after_gap = true;
    for character in go_text::characters(text) {
        let is_gap = go_text::is_space(character);
        go_text::push(&mut changed, if after_gap && !is_gap { go_text::to_lower(character) } else { character });
        after_gap = is_gap;
    }
    changed
}

/// Upper case to lower case and back; a lower case letter at the start of a word to title case.
pub fn swap(text: &[u8]) -> Vec<u8> {
    let mut swapped = Vec::with_capacity(text.len());
    let mut after_gap = true;
    for character in go_text::characters(text) {
        let to = match (go_text::is_upper(character) || go_text::is_title(character), go_text::is_lower(character)) {
            (true, _) => go_text::to_lower(character),
            (false, true) if after_gap => go_text::to_title(character),
            (false, true) => go_text::to_upper(character),
            (false, false) => character,
        };
        after_gap = match to == character && !go_text::is_lower(character) && !go_text::is_upper(character) {
            true => go_text::is_space(character),
            false => false,
        };
        go_text::push(&mut swapped, to);
    }
    swapped
}

fn is_connector(character: char) -> bool {
    matches!(character, '-' | '_') || go_text::is_space(character)
}

/// `some_words` as `SomeWords`.
pub fn pascal(text: &[u8]) -> Vec<u8> {
    let characters: Vec<char> = go_text::characters(text).collect();
    let mut result = Vec::with_capacity(text.len());
    let Some(start) = characters.iter().position(|character| !is_connector(*character)) else {
        // The library that Sprig uses repeats the last one.
        return characters.iter().chain(characters.last()).collect::<String>().into_bytes();
    };
    for connector in &characters[..start] {
        go_text::push(&mut result, *connector);
    }
    let mut is_first_upper = go_text::is_upper(characters[start]);
    let mut current = go_text::to_upper(characters[start]);
    for next in &characters[start + 1..] {
        let before = std::mem::replace(&mut current, *next);
        if is_connector(current) && is_connector(before) {
            go_text::push(&mut result, before);
            continue;
        }
        if is_connector(before) {
            is_first_upper = go_text::is_upper(current);
            current = go_text::to_upper(current);
            continue;
        }
        if is_first_upper {
            match go_text::is_upper(current) {
                true => current = go_text::to_lower(current),
                false => is_first_upper = false,
            }
        }
        go_text::push(&mut result, before);
    }
    go_text::push(&mut result, current);
    result
}

/// What a run of characters is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Nothing,
    Number,
    Upper,
    Letters,
    Connector,
    Punctuation,
    Other,
}

/// `SomeWords` as `some_words`, with this connector.
pub fn connected(text: &[u8], connector: char) -> Vec<u8> {
    let letters = letters(text);
    if letters.is_empty() {
        return text.to_vec();
    }
    let mut words = Words { rest: &letters };
    let mut result = Vec::with_capacity(text.len());
    let (mut kind, mut word) = words.next();
    while !words.rest.is_empty() {
        if kind != Word::Connector {
            append(&mut result, kind, word, connector);
        }
        let (before, last) = (kind, word);
        (kind, word) = words.next();
        match before {
            Word::Number => {
                while matches!(kind, Word::Letters | Word::Number) {
                    append(&mut result, kind, word, connector);
                    (kind, word) = words.next();
                }
                if !matches!(kind, Word::Nothing | Word::Punctuation | Word::Connector) {
                    go_text::push(&mut result, connector);
                }
            }
            Word::Connector => append(&mut result, before, last, connector),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    go_text::push(&mut result, connector);
                }
            }
            _ if words.rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word) = words.next();
                // A number belongs to the word before it, unless lower case letters follow.
                if kind != Word::Letters {
                    append(&mut result, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        go_text::push(&mut result, connector);
                    }
                    continue;
                }
                go_text::push(&mut result, connector);
                append(&mut result, Word::Number, number, connector);
                while matches!(kind, Word::Letters | Word::Number) {
                    append(&mut result, kind, word, connector);
                    (kind, word) = words.next();
                }
                if !matches!(kind, Word::Nothing | Word::Connector | Word::Punctuation) {
                    go_text::push(&mut result, connector);
                }
            }
        }
    }
    append(&mut result, kind, word, connector);
    result
}

/// A character, with its bytes. Bytes that belong to no character are part of the next one, or of the
/// last.
struct Letter<'t> {
    character: char,
    bytes: &'t [u8],
}

fn letters(text: &[u8]) -> Vec<Letter<'_>> {
    let mut letters: Vec<Letter<'_>> = Vec::new();
    let (mut start, mut at) = (0, 0);
    for (character, bytes) in go_text::spans(text) {
        at += bytes.len();
        if character != go_text::REPLACEMENT {
            letters.push(Letter { character, bytes: &text[start..at] });
            start = at;
        }
    }
    if let Some(last) = letters.last_mut() {
        let length = last.bytes.len() + at - start;
        last.bytes = &text[at - length..];
    }
    letters
}

fn append(result: &mut Vec<u8>, kind: Word, word: &[Letter<'_>], connector: char) {
    for letter in word {
        if !matches!(kind, Word::Connector | Word::Upper) {
            result.extend_from_slice(letter.bytes);
            continue;
        }
        for character in go_text::characters(letter.bytes) {
            let to = if is_connector(character) { connector } else { go_text::to_lower(character) };
            go_text::push(result, to);
        }
    }
}

struct Words<'c, 't> {
    rest: &'c [Letter<'t>],
}

impl<'c, 't> Words<'c, 't> {
    fn next(&mut self) -> (Word, &'c [Letter<'t>]) {
        let Some(first) = self.rest.first() else { return (Word::Nothing, &[]) };
        let (kind, length) = match &first.character {
            first if is_connector(*first) => (Word::Connector, self.run(is_connector)),
            first if go_text::is_punctuation(*first) => (Word::Punctuation, self.run(go_text::is_punctuation)),
            first if go_text::is_upper(*first) => (Word::Upper, self.upper()),
            first if is_alphabet(*first) => (Word::Letters, self.run(is_small)),
            first if go_text::is_number(*first) => (Word::Number, self.run(go_text::is_number)),
            _ => (Word::Other, self.run(is_other)),
        };
        let (word, rest) = self.rest.split_at(length.max(1));
        self.rest = rest;
        (kind, word)
    }

    /// Capitals; the last one begins a word of its own, if small letters follow it.
    fn upper(&self) -> usize {
        let capitals = self.run(go_text::is_upper);
        let follows = self.rest.get(capitals).is_some_and(|next| is_alphabet(next.character));
        match (follows, capitals) {
            (false, _) => capitals,
            (true, 1) => 1 + self.rest[1..].iter().take_while(|next| is_small(next.character)).count(),
            (true, _) => capitals - 1,
        }
    }

    fn run(&self, is: impl Fn(char) -> bool) -> usize {
        self.rest.iter().take_while(|letter| is(letter.character)).count()
    }
}

fn is_small(character: char) -> bool {
    is_alphabet(character) && !go_text::is_upper(character)
}

/// A letter of a script that has words.
fn is_alphabet(character: char) -> bool {
    let is_chinese = matches!(character,
        '\u{3400}'..='\u{4db5}' | '\u{4e00}'..='\u{9fcc}' | '\u{20000}'..='\u{2b81d}');
    go_text::is_letter(character) && !is_chinese
}

fn is_other(character: char) -> bool {
    let is_word = is_alphabet(character) || go_text::is_number(character);
    !is_word && !is_connector(character) && !go_text::is_punctuation(character)
}
