//! Builds the tree.

use std::collections::BTreeMap;

use super::lexer::Lexer;
use super::node::{Branch, Command, Node, Operand, Pipeline, Term};
use super::number;
use super::token::{Keyword, Kind, Token};
use crate::error::{Fault, Problem};
use crate::format::unquoted;
use crate::functions;

/// How many parentheses, and how many blocks, may be open at once. Go's own limit for the former is
/// 10,000; this is what our stack is for.
const DEEPEST: usize = 100;

/// All templates of a text, by name; its own is that of [`Trees::MAIN`].
#[derive(Clone, Debug, Default)]
pub struct Trees(BTreeMap<Vec<u8>, Vec<Node>>);

impl Trees {
    /// The name of the text itself, which no template has that is not UTF-8.
    pub const MAIN: &'static [u8] = b"\xff";

    /// The template of a name.
    pub fn get(&self, name: &[u8]) -> Option<&[Node]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// All templates.
    pub fn all(&self) -> impl Iterator<Item = &[Node]> {
        self.0.values().map(Vec::as_slice)
    }

    /// Adds a template. A later one replaces what is empty; what is empty replaces nothing.
    fn add(&mut self, name: Vec<u8>, nodes: Vec<Node>) -> Result<(), Problem> {
        match self.0.get(&name) {
            Some(present) if !is_empty(present) => match is_empty(&nodes) {
                true => Ok(()),
                false => {
                    let name = String::from_utf8_lossy(&name);
                    Err(Problem::Syntax(format!("the template {name:?} is defined twice")))
                }
            },
            Some(_) | None => {
                self.0.insert(name, nodes);
                Ok(())
            }
        }
    }
}

/// Parses a text.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &[u8]) -> Result<Trees, Fault> {
    let mut parser = Parser {
        text,
        lexer: Lexer::new(text),
        ahead: Vec::new(),
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        trees: Trees::default(),
    };
    let nodes = parser.top()?;
    parser.add(Trees::MAIN.to_vec(), nodes, text.len())?;
    Ok(parser.trees)
}

struct Parser<'t> {
    text: &'t [u8],
    lexer: Lexer<'t>,
    /// Tokens that were looked at; the last one is next.
    ahead: Vec<Token<'t>>,
    variables: Vec<String>,
    /// How many ranges are open.
    ranges: usize,
    /// How many blocks and parentheses are open.
    depth: usize,
    trees: Trees,
}

/// How a list of nodes ends.
enum Ended {
    End,
    Else,
}

impl<'t> Parser<'t> {
    fn top(&mut self) -> Result<Vec<Node>, Fault> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::End => return Ok(nodes),
                Kind::Open if self.peek()?.kind == Kind::Keyword(Keyword::Define) => {
                    self.next_word()?;
                    self.definition()?;
                }
                _ => {
                    self.back(token);
                    match self.part()? {
                        Part::Node(node) => nodes.push(node),
                        Part::End(Ended::End, offset) => return Err(self.fault("an end without a beginning", offset)),
                        Part::End(Ended::Else, offset) => return Err(self.fault("an else without an if", offset)),
                    }
                }
            }
        }
    }

    /// `{{define "name"}} … {{end}}`.
    fn definition(&mut self) -> Result<(), Fault> {
        let name = self.template_name()?;
        self.expect_close("define")?;
        self.isolated(name)
    }

    /// The body of a template of its own: no variable and no loop of the outside is known in it.
    fn isolated(&mut self, name: Vec<u8>) -> Result<(), Fault> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, ended, offset) = self.list()?;
        if let Ended::Else = ended {
            return Err(self.fault("an else without an if", offset));
        }
        (self.variables, self.ranges) = (variables, ranges);
        self.add(name, nodes, offset)
    }

    fn add(&mut self, name: Vec<u8>, nodes: Vec<Node>, offset: usize) -> Result<(), Fault> {
        self.trees.add(name, nodes).map_err(|problem| problem.at(self.text, offset))
    }

    /// Nodes up to an end or an else.
    fn list(&mut self) -> Result<(Vec<Node>, Ended, usize), Fault> {
        let mut nodes = Vec::new();
        self.descend()?;
        loop {
            match self.part()? {
                Part::Node(node) => nodes.push(node),
                Part::End(ended, offset) => {
                    self.depth -= 1;
                    return Ok((nodes, ended, offset));
                }
            }
        }
    }

    fn part(&mut self) -> Result<Part, Fault> {
        let token = self.next_word()?;
        match token.kind {
            Kind::Plain => Ok(Part::Node(Node::Plain(token.text.to_vec()))),
            Kind::Open => self.action(token.offset),
            Kind::End => Err(self.fault("the template ends before an {{end}}", token.offset)),
            _ => Err(self.unexpected(&token, "here")),
        }
    }

    fn action(&mut self, offset: usize) -> Result<Part, Fault> {
        let token = self.next_word()?;
        let Kind::Keyword(keyword) = token.kind else {
            self.back(token);
            let pipeline = self.pipeline("an action", Kind::Close)?;
            return Ok(Part::Node(Node::Action(pipeline)));
        };
        match keyword {
            Keyword::If => self.control("if").map(|branch| Part::Node(Node::If(branch))),
            Keyword::With => self.control("with").map(|branch| Part::Node(Node::With(branch))),
            Keyword::Range => self.control("range").map(|branch| Part::Node(Node::Range(branch))),
            Keyword::End => {
                self.expect_close("end")?;
                Ok(Part::End(Ended::End, offset))
            }
            Keyword::Else => {
                let next = self.peek()?;
                if !matches!(next.kind, Kind::Keyword(Keyword::If | Keyword::With)) {
                    self.expect_close("else")?;
                }
                Ok(Part::End(Ended::Else, offset))
            }
            Keyword::Break => self.jump("break", Node::Break, offset),
            Keyword::Continue => self.jump("continue", Node::Continue, offset),
            Keyword::Template => {
                let name = self.template_name()?;
                let token = self.next_word()?;
                let data = match token.kind {
                    Kind::Close => None,
                    _ => {
                        self.back(token);
                        Some(self.pipeline("template", Kind::Close)?)
                    }
                };
                Ok(Part::Node(Node::Template { offset, name, data }))
            }
            Keyword::Block => {
                let name = self.template_name()?;
                let data = self.pipeline("block", Kind::Close)?;
                self.isolated(name.clone())?;
                Ok(Part::Node(Node::Template { offset, name, data: Some(data) }))
            }
            Keyword::Define => Err(self.fault("a define stands at the top, not within another block", offset)),
            Keyword::Nil => {
                self.back(token);
                let pipeline = self.pipeline("an action", Kind::Close)?;
                Ok(Part::Node(Node::Action(pipeline)))
            }
        }
    }

    fn jump(&mut self, word: &str, node: Node, offset: usize) -> Result<Part, Fault> {
        self.expect_close(word)?;
        match self.ranges {
            0 => Err(self.fault(&format!("a {word} outside of a range"), offset)),
            _ => Ok(Part::Node(node)),
        }
    }

    /// `if`, `with` or `range`, up to its end.
    fn control(&mut self, word: &str) -> Result<Branch, Fault> {
        let known = self.variables.len();
        let pipeline = self.pipeline(word, Kind::Close)?;
        let offset = pipeline.offset;
        let is_range = word == "range";
        self.ranges += usize::from(is_range);
        let (body, ended, _) = self.list()?;
        self.ranges -= usize::from(is_range);
        let otherwise = match ended {
            Ended::End => Vec::new(),
            Ended::Else => self.otherwise(word)?,
        };
        self.variables.truncate(known);
        Ok(Branch { offset, pipeline, body, otherwise })
    }

    /// After an else. One end closes an if, and all else-ifs that follow it.
    fn otherwise(&mut self, word: &str) -> Result<Vec<Node>, Fault> {
        let token = self.next()?;
        match (word, token.kind) {
            ("if", Kind::Keyword(Keyword::If)) => {
                self.descend()?;
                let branch = self.control("if")?;
                self.depth -= 1;
                return Ok(vec![Node::If(branch)]);
            }
            ("with", Kind::Keyword(Keyword::With)) => {
                self.descend()?;
                let branch = self.control("with")?;
                self.depth -= 1;
                return Ok(vec![Node::With(branch)]);
            }
            _ => self.back(token),
        }
        let (nodes, ended, offset) = self.list()?;
        match ended {
            Ended::End => Ok(nodes),
            Ended::Else => Err(self.fault("a second else", offset)),
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipeline, Fault> {
        let offset = self.peek()?.offset;
        let (variables, assigns) = self.declared(context)?;
        let mut pipeline = Pipeline { offset, variables, assigns, commands: Vec::new() };
        loop {
            let token = self.next_word()?;
            if token.kind == end {
                break;
            }
            match token.kind {
                Kind::Bool
                | Kind::Character
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Keyword(Keyword::Nil)
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::OpenParenthesis => {
                    self.back(token);
                    pipeline.commands.push(self.command()?);
                }
                _ => return Err(self.unexpected(&token, &format!("in {context}"))),
            }
        }
        self.check(&pipeline, context)?;
        Ok(pipeline)
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declared(&mut self, context: &str) -> Result<(Vec<String>, bool), Fault> {
        let mut variables = Vec::new();
        loop {
            let variable = self.next_word()?;
            if variable.kind != Kind::Variable {
                self.back(variable);
                return Ok((variables, false));
            }
            let after = self.next()?;
            let next = if after.kind == Kind::Space { self.next_word()? } else { after };
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.declare(&variable, &mut variables);
                    return Ok((variables, next.kind == Kind::Assign));
                }
                Kind::Comma => {
                    self.declare(&variable, &mut variables);
                    let follows = self.peek()?;
                    let is_second = context == "range" && variables.len() < 2;
                    match follows.kind {
                        Kind::Variable | Kind::Close | Kind::CloseParenthesis if is_second => {}
                        _ if is_second => return Err(self.fault("a range sets variables only", follows.offset)),
                        _ => return Err(self.fault("too many variables are set at once", next.offset)),
                    }
                }
                _ => {
                    self.back(next);
                    if after.kind == Kind::Space {
                        self.back(after);
                    }
                    self.back(variable);
                    return Ok((variables, false));
                }
            }
        }
    }

    fn declare(&mut self, variable: &Token<'_>, into: &mut Vec<String>) {
        let name = name(variable.text);
        self.variables.push(name.clone());
        into.push(name);
    }

    fn check(&self, pipeline: &Pipeline, context: &str) -> Result<(), Fault> {
        if pipeline.commands.is_empty() {
            return Err(self.fault(&format!("a value is missing in {context}"), pipeline.offset));
        }
        for command in &pipeline.commands[1..] {
            if !command.operands[0].term.takes_input() {
                return Err(self.fault("after | a function follows", command.offset));
            }
        }
        Ok(())
    }

    /// Operands with spaces between them, up to a pipe or the end.
    fn command(&mut self) -> Result<Command, Fault> {
        let offset = self.peek()?.offset;
        let mut operands = Vec::new();
        loop {
            self.peek()?;
            operands.extend(self.operand()?);
            let token = self.next()?;
            match token.kind {
                Kind::Space => {}
                Kind::Close | Kind::CloseParenthesis => {
                    self.back(token);
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&token, "after a value: put a space between two")),
            }
        }
        match operands.is_empty() {
            true => Err(self.fault("a command is empty", offset)),
            false => Ok(Command { offset, operands }),
        }
    }

    /// A term, with fields behind it.
    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let Some(operand) = self.term()? else { return Ok(None) };
        let mut fields = Vec::new();
        loop {
            let token = self.next()?;
            if token.kind != Kind::Field {
                self.back(token);
                break;
            }
            fields.push(name(&token.text[1..]));
        }
        if fields.is_empty() {
            return Ok(Some(operand));
        }
        let offset = operand.offset;
        let term = match operand.term {
            Term::Field(mut names) => {
                names.append(&mut fields);
                Term::Field(names)
            }
            Term::Variable(variable, mut names) => {
                names.append(&mut fields);
                Term::Variable(variable, names)
            }
            Term::Function(_) | Term::Pipeline(_) | Term::Chain(..) => Term::Chain(Box::new(operand), fields),
            Term::Bool(_) | Term::Number(_) | Term::Text(_) | Term::Nil | Term::Dot => {
                return Err(self.fault("a constant has no fields", offset));
            }
        };
        Ok(Some(Operand { offset, term }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Fault> {
        let token = self.next_word()?;
        let offset = token.offset;
        let term = match token.kind {
            Kind::Identifier => self.function(&token)?,
            Kind::Dot => Term::Dot,
            Kind::Keyword(Keyword::Nil) => Term::Nil,
            Kind::Variable => self.variable(&token)?,
            Kind::Field => Term::Field(vec![name(&token.text[1..])]),
            Kind::Bool => Term::Bool(token.text == b"true"),
            Kind::Character => match number::of_character(token.text) {
                Some(number) => Term::Number(number),
                None => return Err(self.fault("not a character", offset)),
            },
            Kind::Number => {
                number::of_number(token.text).map(Term::Number).map_err(|problem| self.fault(problem, offset))?
            }
            Kind::Complex => return Err(self.fault("complex numbers are not supported", offset)),
            Kind::Quoted | Kind::Raw => match unquoted(token.text) {
                Some(text) => Term::Text(text),
                None => return Err(self.fault("a text has an escape that means nothing", offset)),
            },
            Kind::OpenParenthesis => {
                self.descend()?;
                let pipeline = self.pipeline("parentheses", Kind::CloseParenthesis)?;
                self.depth -= 1;
                Term::Pipeline(pipeline)
            }
            _ => {
                self.back(token);
                return Ok(None);
            }
        };
        Ok(Some(Operand { offset, term }))
    }

    fn function(&self, token: &Token<'_>) -> Result<Term, Fault> {
        let name = name(token.text);
        match functions::find(&name) {
            Some(_) => Ok(Term::Function(name)),
            None => {
                let nearest = functions::nearest(&name);
                Err(Problem::NoFunction { name, nearest }.at(self.text, token.offset))
            }
        }
    }

    fn variable(&self, token: &Token<'_>) -> Result<Term, Fault> {
        let name = name(token.text);
        match self.variables.contains(&name) {
            true => Ok(Term::Variable(name, Vec::new())),
            false => Err(self.fault(&format!("there is no variable {name}"), token.offset)),
        }
    }

    fn template_name(&mut self) -> Result<Vec<u8>, Fault> {
        let token = self.next_word()?;
        let name = match token.kind {
            Kind::Quoted | Kind::Raw => unquoted(token.text),
            _ => return Err(self.unexpected(&token, "where the name of a template belongs")),
        };
        name.ok_or_else(|| self.fault("a text has an escape that means nothing", token.offset))
    }

    fn expect_close(&mut self, context: &str) -> Result<(), Fault> {
        let token = self.next_word()?;
        match token.kind {
            Kind::Close => Ok(()),
            _ => Err(self.unexpected(&token, &format!("in {context}"))),
        }
    }

    fn descend(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        match self.depth > DEEPEST {
            true => Err(Problem::TooDeep { limit: DEEPEST }.at(self.text, self.peek()?.offset)),
            false => Ok(()),
        }
    }

    fn next(&mut self) -> Result<Token<'t>, Fault> {
        match self.ahead.pop() {
            Some(token) => Ok(token),
            None => self.lexer.next(),
        }
    }

    /// The next token that is no space.
    fn next_word(&mut self) -> Result<Token<'t>, Fault> {
        loop {
            let token = self.next()?;
            if token.kind != Kind::Space {
                return Ok(token);
            }
        }
    }

    /// The next token that is no space, which stays next. The spaces before it are gone.
    fn peek(&mut self) -> Result<Token<'t>, Fault> {
        let token = self.next_word()?;
        self.back(token);
        Ok(token)
    }

    fn back(&mut self, token: Token<'t>) {
        self.ahead.push(token);
    }

    fn unexpected(&self, token: &Token<'_>, context: &str) -> Fault {
        self.fault(&format!("unexpected {} {context}", token.described()), token.offset)
    }

    fn fault(&self, problem: &str, offset: usize) -> Fault {
        Problem::Syntax(problem.to_owned()).at(self.text, offset)
    }
}

enum Part {
    Node(Node),
    End(Ended, usize),
}

fn name(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Whether a template has nothing but spaces in it.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Plain(text) if text.trim_ascii().is_empty()))
}
