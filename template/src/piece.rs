//! Templates that only put fields between texts.

use crate::error::Position;
use crate::syntax::Trees;
use crate::syntax::node::{Command, Node, Operand, Term};

/// A part of such a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text between actions.
    Plain(Vec<u8>),
    /// `{{ .a.b }}`.
    Field {
        /// The names, from left to right.
        path: Vec<String>,
        /// Where, in bytes.
        offset: usize,
    },
    /// `{{ index .a.b "name" }}`.
    Entry {
        /// The names, from left to right.
        path: Vec<String>,
        name: Vec<u8>,
        /// Where, in bytes.
        offset: usize,
    },
}

/// The pieces of a template, or where it has something else.
pub(crate) fn of(trees: &Trees, text: &[u8]) -> Result<Vec<Piece>, Position> {
    let piece = |node: &Node| match node {
        Node::Plain(plain) => Ok(Piece::Plain(plain.clone())),
        Node::Action(pipeline) => match pipeline.commands.as_slice() {
            [command] if pipeline.variables.is_empty() => of_command(command).ok_or(pipeline.offset),
            _several => Err(pipeline.offset),
        },
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => Err(branch.offset),
        Node::Template { offset, .. } => Err(*offset),
        Node::Break | Node::Continue => Err(0),
    };
    trees
        .get(Trees::MAIN)
        .into_iter()
        .flatten()
        .map(|node| piece(node).map_err(|offset| Position::in_text(text, offset)))
        .collect()
}

fn of_command(command: &Command) -> Option<Piece> {
    let offset = command.offset;
    match command.operands.as_slice() {
        [Operand { term: Term::Field(path), .. }] => Some(Piece::Field { path: path.clone(), offset }),
        [
            Operand { term: Term::Function(function), .. },
            Operand { term: Term::Field(path), .. },
            Operand { term: Term::Text(name), .. },
        ] if function == "index" => Some(Piece::Entry { path: path.clone(), name: name.clone(), offset }),
        _other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Template;

    fn pieces(text: &str) -> Result<Vec<Piece>, Position> {
        Template::parse(text).unwrap().pieces()
    }

    #[test]
    fn fields_and_entries_are_told_from_everything_else() {
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            pieces("a/{{ .b.c }}-{{- index .d `e/f` }}"),
            Ok(vec![
                Piece::Plain(b"a/".to_vec()),
                Piece::Field { path: path(&["b", "c"]), offset: 5 },
                Piece::Plain(b"-".to_vec()),
                Piece::Entry { path: path(&["d"]), name: b"e/f".to_vec(), offset: 17 },
            ])
        );
        for (text, column) in [
            ("a/{{ .b | upper }}", 6),
            ("{{ if .a }}x{{ end }}", 7),
            ("{{ index .a 1 }}", 4),
            ("{{ $x := .a }}", 4),
            ("{{ . }}", 4),
        ] {
            assert_eq!(pieces(text).map_err(|at| at.column).unwrap_err(), column, "{text}");
        }
    }
}
