//! The simple patterns of names and of the `%` operator.

/// A pattern in which `*` stands for any text, `?` for any one character, and `\` before a
/// character for that character.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

/// How often a character may be compared.
const TURN_LIMIT: usize = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    AnyText,
    AnyOne,
    Exactly(char),
    Nothing,
}

impl Pattern {
    /// Reads a pattern; every text is one.
    pub(super) fn new(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            tokens.push(match character {
                '*' => Token::AnyText,
                '?' => Token::AnyOne,
                '\\' => characters.next().map_or_else(|| lone_backslash(&tokens), Token::Exactly),
                plain => Token::Exactly(plain),
            });
        }
        tokens.dedup_by(|token, before| *token == Token::AnyText && *before == Token::AnyText);
        Self { tokens }
    }

    /// Whether the whole of `text` fits. Like gjson, it gives up on what takes very long: then it does
    /// not fit.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut tokens = self.tokens.as_slice();
        let mut rest = text;
        // Where the last `*` stands, and the first character that it has not taken yet.
        let mut last_any_text = None;
        for _turn in 0..TURN_LIMIT {
            if let Some((Token::AnyText, after)) = tokens.split_first() {
                if after.is_empty() {
                    return true;
                }
                last_any_text = Some((after, rest));
                tokens = after;
            } else if tokens.is_empty() && rest.is_empty() {
                return true;
            } else if let Some((tokens_after, rest_after)) = match_one(tokens, rest) {
                (tokens, rest) = (tokens_after, rest_after);
            } else {
                let Some((after, untaken)) = last_any_text else { return false };
                let Some(fewer) = without_first(untaken) else { return false };
                last_any_text = Some((after, fewer));
                (tokens, rest) = (after, fewer);
            }
        }
        false
    }
}

/// A backslash at the end of a pattern: gjson compares what follows a `*` from its end, where it
/// takes the backslash as it stands. Without a `*` it finds nothing to be escaped, and nothing
/// matches.
fn lone_backslash(before: &[Token]) -> Token {
    if before.contains(&Token::AnyText) { Token::Exactly('\\') } else { Token::Nothing }
}

fn match_one<'t, 'r>(tokens: &'t [Token], rest: &'r str) -> Option<(&'t [Token], &'r str)> {
    let (token, tokens_after) = tokens.split_first()?;
    let first = rest.chars().next()?;
    let fits = match token {
        Token::AnyOne => true,
        Token::Exactly(wanted) => *wanted == first,
        Token::AnyText | Token::Nothing => false,
    };
    if fits { without_first(rest).map(|rest_after| (tokens_after, rest_after)) } else { None }
}

fn without_first(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next().map(|_| characters.as_str())
}
