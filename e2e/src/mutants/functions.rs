//! Where functions are in a source file. A scanner of words and brackets is enough for that: what
//! it takes for a function and is none makes a program that does not compile, and the fault is then
//! tried by itself.

use std::ops::Range;

/// A function that is inside of no other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// From the word before its `fn` to its opening brace.
    pub signature: Range<usize>,
    /// What stands between its braces.
    pub body: Range<usize>,
}

/// The outermost functions, in their order.
pub(super) fn outermost(source: &str) -> Vec<Function> {
    let tokens = tokens(source);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        // A type such as `fn(u8)` has no name.
        let is_named = tokens.get(at + 1).is_some_and(|next| is_word(&source[next.clone()]));
        if &source[tokens[at].clone()] != "fn" || !is_named {
            at += 1;
            continue;
        }
        let start = tokens[at.saturating_sub(1)].start;
        let Some(open) = opening_brace(source, &tokens, at + 2) else {
            at += 2;
            continue;
        };
        let Some(close) = closing(source, &tokens, open) else { return found };
        found.push(Function { signature: start..tokens[open].start, body: tokens[open].end..tokens[close].start });
        at = close + 1;
    }
    found
}

/// The brace that opens the body of a function; none where it is only declared.
fn opening_brace(source: &str, tokens: &[Range<usize>], mut at: usize) -> Option<usize> {
    loop {
        match &source[tokens.get(at)?.clone()] {
            "{" => return Some(at),
            ";" => return None,
            "(" | "[" => at = closing(source, tokens, at)? + 1,
            _ => at += 1,
        }
    }
}

/// The bracket that closes the one at `open`.
fn closing(source: &str, tokens: &[Range<usize>], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match &source[token.clone()] {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Words and brackets, without those in comments, strings and characters.
fn tokens(source: &str) -> Vec<Range<usize>> {
    let (bytes, mut tokens, mut at) = (source.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let rest = &source.as_bytes()[at..];
        let end = match byte {
            b'/' if rest.starts_with(b"//") => at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with(b"/*") => at + block_comment(rest),
            b'"' => at + string(rest),
            b'\'' => at + character(rest),
            _ if byte.is_ascii_alphanumeric() || byte == b'_' => {
                let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                let word = &rest[..length];
                match raw_string(word, &rest[length..]) {
                    Some(string) => at + length + string,
                    None => {
                        tokens.push(at..at + length);
                        at + length
                    }
                }
            }
            b'{' | b'}' | b'(' | b')' | b'[' | b']' | b';' => {
                tokens.push(at..at + 1);
                at + 1
            }
            _ => at + 1,
        };
        at = end;
    }
    tokens
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character, or the tick of a lifetime.
fn character(text: &[u8]) -> usize {
    let plain = std::str::from_utf8(&text[1..text.len().min(5)]);
    let first = match plain {
        Ok(plain) => plain.chars().next(),
        // Cut in the middle of a later character.
        Err(error) => std::str::from_utf8(&text[1..=error.valid_up_to()]).ok().and_then(|plain| plain.chars().next()),
    };
    match first {
        Some('\\') => 2 + text[2..].iter().skip(1).position(|&byte| byte == b'\'').map_or(0, |at| at + 2),
        Some(first) if text.get(1 + first.len_utf8()) == Some(&b'\'') => 2 + first.len_utf8(),
        _ => 1,
    }
}

/// The length of a raw string behind its letters.
fn raw_string(word: &[u8], text: &[u8]) -> Option<usize> {
    if !matches!(word, b"r" | b"br" | b"cr") {
        return None;
    }
    let hashes = text.iter().take_while(|byte| **byte == b'#').count();
    if text.get(hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let inside = &text[hashes + 1..];
    let length = inside.windows(end.len()).position(|window| window == end).unwrap_or(inside.len());
    Some(hashes + 1 + length + end.len())
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_whatever_stands_in_strings_comments_and_types() {
        let source = r###"
            //! fn no() {}
            struct S { f: fn(u8) -> [u8; 2] }
            trait T { fn declared(&self, of: [u8; 3]); }
            impl<'a> S {
                pub const fn one(&'a self, c: char) -> bool { c == '}' || c == '\'' || c == '{' }
                /* fn { /* nested */ */
                async fn two(f: impl Fn() -> [u8; 2]) -> R where F: Fn(u8) { fn inner() {} "}" ; r#"}"}"# }
            }
            fn é() { 'é' ; '→' }
        "###;
        let found = outermost(source);
        let bodies: Vec<&str> = found.iter().map(|function| source[function.body.clone()].trim()).collect();
        assert_eq!(
            bodies,
            [r"c == '}' || c == '\'' || c == '{'", r###"fn inner() {} "}" ; r#"}"}"#"###],
            "a name that is not ASCII is no name of ours"
        );
        assert!(source[found[0].signature.clone()].starts_with("const fn one("));
        assert!(source[found[1].signature.clone()].starts_with("async fn two("));
    }

    #[test]
    fn every_function_of_ours_is_found_as_the_compiler_finds_it() {
        let file = crate::lab::repository().join("src/push/step.rs");
        let source = std::fs::read_to_string(file).unwrap();
        let lines = source.lines().filter(|line| {
            let line = line.trim_start();
            ["fn ", "pub fn ", "pub(super) fn ", "async fn "].iter().any(|start| line.starts_with(start))
        });
        let found = outermost(&source);
        assert!(found.len() > 10 && found.len() <= lines.count());
        for function in found {
            assert!(source[..function.body.start].ends_with('{') && source[function.body.end..].starts_with('}'));
        }
    }
}
