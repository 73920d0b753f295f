//! What the lexer makes of a text.

/// One token, with its bytes in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    pub kind: Kind,
    /// In bytes.
    pub offset: usize,
    pub text: &'t [u8],
}

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    End,
    /// Text between actions.
    Plain,
    Open,
    Close,
    Space,
    /// `=`.
    Assign,
    /// `:=`.
    Declare,
    Pipe,
    OpenParenthesis,
    CloseParenthesis,
    Comma,
    /// Another ASCII character that can be printed.
    Other,
    Bool,
    /// `'x'`.
    Character,
    Number,
    /// `1+2i`.
    Complex,
    /// `.`.
    Dot,
    /// `.name`.
    Field,
    /// `$` or `$name`.
    Variable,
    Identifier,
    /// `"text"`.
    Quoted,
    /// `` `text` ``.
    Raw,
    Keyword(Keyword),
}

/// A word with a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Keyword {
    /// The keyword of this spelling.
    pub fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"block" => Keyword::Block,
            b"break" => Keyword::Break,
            b"continue" => Keyword::Continue,
            b"define" => Keyword::Define,
            b"else" => Keyword::Else,
            b"end" => Keyword::End,
            b"if" => Keyword::If,
            b"nil" => Keyword::Nil,
            b"range" => Keyword::Range,
            b"template" => Keyword::Template,
            b"with" => Keyword::With,
            _ => return None,
        })
    }
}

impl Token<'_> {
    /// For messages.
    pub fn described(&self) -> String {
        let text = String::from_utf8_lossy(self.text);
        match self.kind {
            Kind::End => "the end of the template".to_owned(),
            Kind::Plain => "text".to_owned(),
            Kind::Space => "a space".to_owned(),
            Kind::Open | Kind::Close => format!("{:?}", text.trim()),
            _ => format!("{text:?}"),
        }
    }
}
