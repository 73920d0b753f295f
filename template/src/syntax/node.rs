//! The tree of a template.

use super::number::Number;

/// A part of a template.
#[derive(Clone, Debug)]
pub enum Node {
    /// Text between actions.
    Plain(Vec<u8>),
    /// Shows a value, or sets a variable.
    Action(Pipeline),
    /// `{{if}}`.
    If(Branch),
    /// `{{with}}`.
    With(Branch),
    /// `{{range}}`.
    Range(Branch),
    /// `{{break}}`.
    Break,
    /// `{{continue}}`.
    Continue,
    /// `{{template}}`, or where a `{{block}}` is.
    Template {
        /// In bytes.
        offset: usize,
        name: Vec<u8>,
        data: Option<Pipeline>,
    },
}

/// A condition and what follows from it.
#[derive(Clone, Debug)]
pub struct Branch {
    /// In bytes.
    pub offset: usize,
    pub pipeline: Pipeline,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// Commands, each with the result of the one before as its last argument.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// In bytes.
    pub offset: usize,
    /// The variables that it sets, at most two.
    pub variables: Vec<String>,
    /// Whether the variables exist already.
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// An operand, and its arguments.
#[derive(Clone, Debug)]
pub struct Command {
    /// In bytes.
    pub offset: usize,
    pub operands: Vec<Operand>,
}

/// A part of a command.
#[derive(Clone, Debug)]
pub struct Operand {
    /// In bytes.
    pub offset: usize,
    pub term: Term,
}

/// What an operand is.
#[derive(Clone, Debug)]
pub enum Term {
    Bool(bool),
    Number(Number),
    Text(Vec<u8>),
    Nil,
    /// `.`.
    Dot,
    /// `.a.b`.
    Field(Vec<String>),
    /// `$x.a.b`: the variable, and fields.
    Variable(String, Vec<String>),
    /// The name of a function.
    Function(String),
    /// In parentheses.
    Pipeline(Pipeline),
    /// `(…).a.b`, or `function.a.b`.
    Chain(Box<Operand>, Vec<String>),
}

impl Term {
    /// Whether it can be the second command of a pipeline.
    pub fn takes_input(&self) -> bool {
        !matches!(self, Term::Bool(_) | Term::Number(_) | Term::Text(_) | Term::Nil | Term::Dot)
    }
}
