//! Splits a template into tokens. Trim markers are dealt with here; the parser never sees them.

use super::token::{Keyword, Kind, Token};
use crate::error::{Fault, Problem};
use crate::go_text;

const OPEN: &[u8] = b"{{";
const CLOSE: &[u8] = b"}}";
const OPEN_COMMENT: &[u8] = b"/*";
const CLOSE_COMMENT: &[u8] = b"*/";

/// Reads tokens from left to right.
pub struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    is_in_action: bool,
    /// How many parentheses are open.
    depth: usize,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Lexer { text, at: 0, is_in_action: false, depth: 0 }
    }

    /// The next token; at the end, always [`Kind::End`].
    pub fn next(&mut self) -> Result<Token<'t>, Fault> {
        match self.is_in_action {
            true => self.in_action(),
            false => self.plain(),
        }
    }

    fn plain(&mut self) -> Result<Token<'t>, Fault> {
        loop {
            let start = self.at;
            let Some(length) = position(self.rest(), OPEN) else {
                self.at = self.text.len();
                let kind = if start == self.at { Kind::End } else { Kind::Plain };
                return Ok(self.token(kind, start));
            };
            self.at += length;
            let trims = is_left_marker(&self.text[self.at + OPEN.len()..]);
            let plain = &self.text[start..self.at];
            let plain = if trims { trimmed_end(plain) } else { plain };
            if !plain.is_empty() {
                return Ok(Token { kind: Kind::Plain, offset: start, text: plain });
            }
            let inner = self.at + OPEN.len() + if trims { 2 } else { 0 };
            if self.text[inner..].starts_with(OPEN_COMMENT) {
                self.comment(inner)?;
                continue;
            }
            let open = Token { kind: Kind::Open, offset: self.at, text: &self.text[self.at..self.at + OPEN.len()] };
            self.at = inner;
            (self.is_in_action, self.depth) = (true, 0);
            return Ok(open);
        }
    }

    fn comment(&mut self, inner: usize) -> Result<(), Fault> {
        let start = inner + OPEN_COMMENT.len();
        let Some(length) = position(&self.text[start..], CLOSE_COMMENT) else {
            return Err(self.fault("a comment is not closed: end it with */}}", self.at));
        };
        let end = start + length + CLOSE_COMMENT.len();
        let Some(close) = closing(&self.text[end..]) else {
            return Err(self.fault("a comment fills its whole action: put */ directly before }}", self.at));
        };
        self.at = end + close.length;
        if close.trims {
            self.skip_spaces();
        }
        Ok(())
    }

    fn in_action(&mut self) -> Result<Token<'t>, Fault> {
        let start = self.at;
        if let Some(close) = closing(self.rest()) {
            return self.close(close);
        }
        let Some((character, _, length)) = go_text::first(self.rest()) else {
            return Err(self.fault("an action is not closed: end it with }}", start));
        };
        self.at += length;
        match character {
            _ if is_space(character) => self.space(start),
            '=' => Ok(self.token(Kind::Assign, start)),
            ':' if self.accept(b'=') => Ok(self.token(Kind::Declare, start)),
            ':' => Err(self.fault("expected :=", start)),
            '|' => Ok(self.token(Kind::Pipe, start)),
            '"' => self.quoted(start, b'"', Kind::Quoted, "a text is not closed"),
            '\'' => self.quoted(start, b'\'', Kind::Character, "a character is not closed"),
            '`' => self.raw(start),
            '$' if self.is_terminated() => Ok(self.token(Kind::Variable, start)),
            '$' => self.word(start, Kind::Variable),
            '.' if !self.rest().first().is_some_and(u8::is_ascii_digit) => match self.is_terminated() {
                true => Ok(self.token(Kind::Dot, start)),
                false => self.word(start, Kind::Field),
            },
            '.' | '+' | '-' | '0'..='9' => {
                self.at = start;
                self.number(start)
            }
            _ if is_word(character) => {
                self.at = start;
                self.identifier(start)
            }
            '(' => {
                self.depth += 1;
                Ok(self.token(Kind::OpenParenthesis, start))
            }
            ')' => {
                let Some(depth) = self.depth.checked_sub(1) else {
                    return Err(self.fault("a parenthesis is closed that was not opened", start));
                };
                self.depth = depth;
                Ok(self.token(Kind::CloseParenthesis, start))
            }
            ',' => Ok(self.token(Kind::Comma, start)),
            _ if character.is_ascii() && go_text::is_print(character) => Ok(self.token(Kind::Other, start)),
            _ => Err(self.fault(&format!("{character:?} means nothing in an action"), start)),
        }
    }

    fn close(&mut self, close: Closing) -> Result<Token<'t>, Fault> {
        if self.depth > 0 {
            return Err(self.fault("a parenthesis is not closed", self.at));
        }
        let offset = self.at;
        self.at += close.length;
        let token = Token { kind: Kind::Close, offset, text: CLOSE };
        if close.trims {
            self.skip_spaces();
        }
        self.is_in_action = false;
        Ok(token)
    }

    /// Spaces; the one before a trim marker is part of the end of the action.
    fn space(&mut self, start: usize) -> Result<Token<'t>, Fault> {
        while self.rest().first().is_some_and(|byte| is_space(char::from(*byte))) {
            self.at += 1;
        }
        if let Some(close) = closing(&self.text[self.at - 1..]).filter(|close| close.trims) {
            self.at -= 1;
            if self.at == start {
                return self.close(close);
            }
        }
        Ok(self.token(Kind::Space, start))
    }

    fn quoted(&mut self, start: usize, quote: u8, kind: Kind, unclosed: &str) -> Result<Token<'t>, Fault> {
        let mut is_escaped = false;
        loop {
            match self.rest().first() {
                None | Some(b'\n') => return Err(self.fault(unclosed, start)),
                Some(byte) => {
                    self.at += 1;
                    match (is_escaped, *byte) {
                        (true, _) => is_escaped = false,
                        (false, b'\\') => is_escaped = true,
                        (false, byte) if byte == quote => return Ok(self.token(kind, start)),
                        (false, _) => {}
                    }
                }
            }
        }
    }

    fn raw(&mut self, start: usize) -> Result<Token<'t>, Fault> {
        match self.rest().iter().position(|byte| *byte == b'`') {
            Some(length) => {
                self.at += length + 1;
                Ok(self.token(Kind::Raw, start))
            }
            None => Err(self.fault("a text between back quotes is not closed", start)),
        }
    }

    fn identifier(&mut self, start: usize) -> Result<Token<'t>, Fault> {
        let token = self.word(start, Kind::Identifier)?;
        let kind = match (Keyword::of(token.text), token.text) {
            (Some(keyword), _) => Kind::Keyword(keyword),
            (None, b"true" | b"false") => Kind::Bool,
            (None, _) => Kind::Identifier,
        };
        Ok(Token { kind, ..token })
    }

    /// Letters, digits and underscores.
    fn word(&mut self, start: usize, kind: Kind) -> Result<Token<'t>, Fault> {
        while let Some((character, _, length)) = go_text::first(self.rest())
            && is_word(character)
        {
            self.at += length;
        }
        match self.is_terminated() {
            true => Ok(self.token(kind, start)),
            false => Err(self.bad_character()),
        }
    }

    fn bad_character(&self) -> Fault {
        let character = go_text::first(self.rest()).map_or(go_text::REPLACEMENT, |(character, _, _)| character);
        let name = String::from_utf8_lossy(&self.text[..self.at]);
        match (character, name.ends_with('.') || name.ends_with('$')) {
            ('-', false) => self.fault("a name has no '-': write (index . \"the-name\")", self.at),
            _ => self.fault(&format!("{character:?} is no part of a name"), self.at),
        }
    }

    fn number(&mut self, start: usize) -> Result<Token<'t>, Fault> {
        let bad = |lexer: &Self| lexer.fault("not a number", start);
        if !self.scan_number() {
            return Err(bad(self));
        }
        if !matches!(self.rest().first(), Some(b'+' | b'-')) {
            return Ok(self.token(Kind::Number, start));
        }
        match self.scan_number() && self.text[self.at - 1] == b'i' {
            true => Ok(self.token(Kind::Complex, start)),
            false => Err(bad(self)),
        }
    }

    fn scan_number(&mut self) -> bool {
        self.accept_any(b"+-");
        let mut digits: &[u8] = b"0123456789_";
        if self.accept(b'0') {
            if self.accept_any(b"xX") {
                digits = b"0123456789abcdefABCDEF_";
            } else if self.accept_any(b"oO") {
                digits = b"01234567_";
            } else if self.accept_any(b"bB") {
                digits = b"01_";
            }
        }
        self.accept_run(digits);
        if self.accept(b'.') {
            self.accept_run(digits);
        }
        let exponent: &[u8] = match digits.len() {
            11 => b"eE",
            23 => b"pP",
            _ => b"",
        };
        if self.accept_any(exponent) {
            self.accept_any(b"+-");
            self.accept_run(b"0123456789_");
        }
        self.accept(b'i');
        !go_text::first(self.rest()).is_some_and(|(character, _, _)| is_word(character))
    }

    /// Whether a name may end here.
    fn is_terminated(&self) -> bool {
        match go_text::first(self.rest()) {
            None | Some(('.' | ',' | '|' | ':' | ')' | '(', _, _)) => true,
            Some((character, _, _)) => is_space(character) || self.rest().starts_with(CLOSE),
        }
    }

    fn rest(&self) -> &'t [u8] {
        &self.text[self.at..]
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.accept_any(&[byte])
    }

    fn accept_any(&mut self, bytes: &[u8]) -> bool {
        let is_one = self.rest().first().is_some_and(|next| bytes.contains(next));
        self.at += usize::from(is_one);
        is_one
    }

    fn accept_run(&mut self, bytes: &[u8]) {
        while self.accept_any(bytes) {}
    }

    fn skip_spaces(&mut self) {
        self.accept_run(b" \t\r\n");
    }

    fn token(&self, kind: Kind, start: usize) -> Token<'t> {
        Token { kind, offset: start, text: &self.text[start..self.at] }
    }

    fn fault(&self, problem: &str, offset: usize) -> Fault {
        Problem::Syntax(problem.to_owned()).at(self.text, offset)
    }
}

/// The end of an action.
#[derive(Clone, Copy)]
struct Closing {
    length: usize,
    trims: bool,
}

fn closing(text: &[u8]) -> Option<Closing> {
    match text {
        [space, b'-', rest @ ..] if is_space(char::from(*space)) && rest.starts_with(CLOSE) => {
            Some(Closing { length: 2 + CLOSE.len(), trims: true })
        }
        _ if text.starts_with(CLOSE) => Some(Closing { length: CLOSE.len(), trims: false }),
        _ => None,
    }
}

fn is_left_marker(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space(char::from(*space)))
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_word(character: char) -> bool {
    character == '_' || go_text::is_letter(character) || go_text::is_digit(character)
}

fn trimmed_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_space(char::from(*byte))).map_or(0, |last| last + 1);
    &text[..end]
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
