//! PEM as Go's `encoding/pem` reads and writes it. The crates for PEM disagree with Go on what is
//! around and between blocks, which `filterPEM` makes visible, so the framing is read here.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{Call, Function, encoding, fixed};
use crate::error::Problem;
use crate::value::{Type, Value};

const TEXT: Type = Type::Text;
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";
/// The most bytes of a text with blocks: a Secret holds no more.
pub const MOST_BYTES: usize = 1 << 20;
/// The most blocks of a text. Certificates are compared with each other.
const MOST_BLOCKS: usize = 100;

pub const FUNCTIONS: &[Function] = &[fixed("filterPEM", &[TEXT, TEXT], filter)];

pub struct Block {
    pub kind: Vec<u8>,
    headers: BTreeMap<Vec<u8>, Vec<u8>>,
    pub content: Zeroizing<Vec<u8>>,
}

impl Block {
    pub fn new(kind: &str, content: &[u8]) -> Self {
        Block { kind: kind.as_bytes().to_vec(), headers: BTreeMap::new(), content: Zeroizing::new(content.to_vec()) }
    }

    /// As PEM, with `Proc-Type` before other headers, as RFC 1421 wants it.
    pub fn write(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(&[BEGIN, &self.kind, b"-----\n"].concat());
        let (first, others): (Vec<_>, Vec<_>) = self.headers.iter().partition(|(key, _)| *key == b"Proc-Type");
        for (key, value) in first.into_iter().chain(others) {
            text.extend_from_slice(&[key, &b": "[..], value, b"\n"].concat());
        }
        if !self.headers.is_empty() {
            text.push(b'\n');
        }
        let encoded = Zeroizing::new(encoding::to_base64(&self.content));
        for line in encoded.chunks(64) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(&[&END[1..], &self.kind, b"-----\n"].concat());
    }

    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(2 * self.content.len() + 100);
        self.write(&mut text);
        text
    }
}

/// The blocks of a text, and what is left after the last one; an error if there are too many.
pub fn blocks<'t>(call: &mut Call<'_>, text: &'t [u8]) -> Result<(Vec<Block>, &'t [u8]), Problem> {
    if text.len() > MOST_BYTES {
        return call.refuse(format!("the text has more than {MOST_BYTES} bytes"));
    }
    call.purse.make(2 * text.len())?;
    let (mut blocks, mut rest) = (Vec::new(), text);
    while let Some((block, after)) = first(rest) {
        blocks.push(block);
        check_count(call, blocks.len())?;
        rest = after;
    }
    Ok((blocks, rest))
}

/// An error if these are too many blocks or certificates.
pub fn check_count(call: &Call<'_>, count: usize) -> Result<(), Problem> {
    match count > MOST_BLOCKS {
        true => call.refuse(format!("there are more than {MOST_BLOCKS} blocks or certificates")),
        false => Ok(()),
    }
}

/// What is before the first block does not count.
pub fn from_first_block(text: &[u8]) -> &[u8] {
    let at = text.windows(BEGIN.len() - 1).position(|window| window == &BEGIN[..BEGIN.len() - 1]);
    &text[at.unwrap_or(0)..]
}

/// The first block that is well-formed, and what follows its last line. Each step moves past a
/// line that ends a block, so it takes linear time.
pub fn first(text: &[u8]) -> Option<(Block, &[u8])> {
    let mut at = 0;
    loop {
        let end = at + find(&text[at..], END)?;
        let after_end = end + END.len();
        let read = match begin(text, at, end) {
            Some(kind_at) => Reading { text, end, after_end, at: kind_at }.block(),
            None => Read::Skip,
        };
        match read {
            Read::Block(block, rest) => return Some((block, rest)),
            Read::Skip => at = after_end,
            Read::Nothing => return None,
        }
    }
}

/// Past the last `-----BEGIN ` before an end, if it begins a line.
fn begin(text: &[u8], from: usize, end: usize) -> Option<usize> {
    let before = &text[from..end];
    let at = before.windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
    (at == 0 || before[at - 1] == b'\n').then_some(from + at + BEGIN.len())
}

enum Read<'t> {
    Block(Block, &'t [u8]),
    /// It is no block; another may follow.
    Skip,
    /// It is no block, and Go looks no further.
    Nothing,
}

/// A block between its begin and the line that ends it.
struct Reading<'t> {
    text: &'t [u8],
    /// The line break before the last line.
    end: usize,
    /// Where the type stands in the last line.
    after_end: usize,
    at: usize,
}

impl<'t> Reading<'t> {
    fn block(mut self) -> Read<'t> {
        let (line, length) = line(&self.text[self.at..]);
        self.at += length;
        let Some(kind) = line.strip_suffix(DASHES) else { return Read::Skip };
        let Some(headers) = self.headers() else { return Read::Nothing };
        if !headers.is_empty() && self.at > self.end {
            // The last line looked like a header: Go is past it and gives up.
            return if self.at > self.after_end { Read::Nothing } else { Read::Skip };
        }
        if !self.ends_with(kind) {
            return Read::Skip;
        }
        // An empty block has its last line directly after its first one.
        let body = self.text.get(self.at..self.end).unwrap_or_default();
        let body: Zeroizing<Vec<u8>> =
            Zeroizing::new(body.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\t')).collect());
        let Some(content) = encoding::base64(&body).map(Zeroizing::new) else { return Read::Skip };
        let last = &self.text[self.end + 1..];
        let (_, length) = self::line(last);
        Read::Block(Block { kind: kind.to_vec(), headers, content }, &last[length..])
    }

    /// The lines with a colon; `None` if the text ends with them.
    fn headers(&mut self) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut headers = BTreeMap::new();
        loop {
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return None;
            }
            let (line, length) = line(rest);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Some(headers) };
            headers.insert(line[..colon].trim_ascii().to_vec(), line[colon + 1..].trim_ascii().to_vec());
            self.at += length;
        }
    }

    /// Whether the last line has this type, and nothing but blanks after it.
    fn ends_with(&self, kind: &[u8]) -> bool {
        let after = self.text[self.after_end..].strip_prefix(kind).and_then(|rest| rest.strip_prefix(DASHES));
        after.is_some_and(|rest| line(rest).0.is_empty())
    }
}

/// The first line without blanks at its end, and its length with the line break.
fn line(text: &[u8]) -> (&[u8], usize) {
    let (line, length) = match text.iter().position(|byte| *byte == b'\n') {
        Some(at) => (text[..at].strip_suffix(b"\r").unwrap_or(&text[..at]), at + 1),
        None => (text, text.len()),
    };
    let kept = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    (&line[..kept], length)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn filter(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (kind, text) = (call.text(0), call.text(1));
    let (blocks, rest) = blocks(call, from_first_block(&text))?;
    let mut kept = Vec::with_capacity(text.len());
    for block in blocks.iter().filter(|block| block.kind.eq_ignore_ascii_case(&kind)) {
        block.write(&mut kept);
    }
    if kept.is_empty() && !rest.is_empty() {
        return call.refuse("there is no such block, and other text");
    }
    Ok(Value::text(kept))
}
