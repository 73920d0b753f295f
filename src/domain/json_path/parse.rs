//! From the text of a path to its steps.

use std::collections::HashMap;

use super::components::{
    ElementComponent, NameComponent, QueryText, Tail, element_component, name_component, split_at_pipe,
};
use super::construct::at_start_of_expression;
use super::pattern::Pattern;
use super::query::Test;
use super::steps::{ArrayReading, Condition, Expression, Name, Next, ObjectReading, Query, Step, StepId};
use super::{HASH_LIMIT, JsonPath, PathFault, STEP_LIMIT};

pub(super) fn parse(text: &str) -> Result<JsonPath, PathFault> {
    if text.matches('#').count() > HASH_LIMIT {
        return Err(PathFault::TooDeep);
    }
    let mut parser = Parser::default();
    let start = parser.expression(Piece { text, meant: true })?;
    let mut steps = Vec::new();
    while let Some(piece) = parser.pieces.get(steps.len()) {
        if steps.len() == STEP_LIMIT {
            return Err(PathFault::TooDeep);
        }
        steps.push(parser.step(*piece)?);
    }
    Ok(JsonPath { steps, start })
}

/// The text of a step with all that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Piece<'p> {
    text: &'p str,
    /// The path is meant so. A piece that is not meant comes from reading the text of a query as
    /// names, or an escaped name as positions: a construct that shows up there refuses nothing, it
    /// just finds nothing.
    meant: bool,
}

/// Gives each different piece one step, so that both readings of a step lead to the same next one.
#[derive(Debug, Default)]
struct Parser<'p> {
    /// In the order of their steps.
    pieces: Vec<Piece<'p>>,
    ids: HashMap<Piece<'p>, StepId>,
}

impl<'p> Parser<'p> {
    fn expression(&mut self, piece: Piece<'p>) -> Result<Expression, PathFault> {
        if let Some(construct) = at_start_of_expression(piece.text) {
            return Err(PathFault::Unsupported { construct });
        }
        let lines = piece.text.strip_prefix("..");
        let step = self.step_of(Piece { text: lines.unwrap_or(piece.text), ..piece });
        Ok(Expression { lines: lines.is_some(), step })
    }

    fn step_of(&mut self, piece: Piece<'p>) -> StepId {
        *self.ids.entry(piece).or_insert_with(|| {
            self.pieces.push(piece);
            StepId(self.pieces.len() - 1)
        })
    }

    fn step(&mut self, piece: Piece<'p>) -> Result<Step, PathFault> {
        let elements = element_component(piece.text);
        let for_array =
            matches!(elements, ElementComponent::Length(_) | ElementComponent::Each(_) | ElementComponent::Query(_, _));
        let (array_meant, object_meant) = (piece.meant && for_array, piece.meant && !for_array);
        let array = self.array_reading(elements, array_meant);
        let object = self.object_reading(name_component(piece.text), object_meant);
        Ok(Step { array: if_meant(array, array_meant)?, object: if_meant(object, object_meant)? })
    }

    fn object_reading(&mut self, component: NameComponent<'p>, meant: bool) -> Result<ObjectReading, PathFault> {
        let NameComponent { name, wild, tail } = component;
        let name = if wild { Name::Like(Pattern::new(&name)) } else { Name::Exactly(name) };
        Ok(ObjectReading { name, next: self.next(tail, meant)? })
    }

    fn array_reading(&mut self, component: ElementComponent<'p>, meant: bool) -> Result<ArrayReading, PathFault> {
        match component {
            ElementComponent::Position(position, tail) => {
                Ok(ArrayReading::Element { position, next: self.next(tail, meant)? })
            }
            ElementComponent::Length(tail) => Ok(ArrayReading::Length { pipe: self.pipe(tail, meant)? }),
            ElementComponent::Each(text) => {
                let (path, pipe) = self.for_each(text, meant)?;
                Ok(ArrayReading::Each { path, pipe })
            }
            ElementComponent::Query(query, tail) => self.query(query, tail, meant),
            ElementComponent::BrokenQuery => self.query_without_condition(),
        }
    }

    fn query(&mut self, query: QueryText<'p>, tail: Tail<'p>, meant: bool) -> Result<ArrayReading, PathFault> {
        let condition = Condition {
            path: self.expression(Piece { text: query.path, meant })?,
            of_scalars: query.path.is_empty(),
            test: Test::parse(query.test, query.escaped),
        };
        let (rest, pipe) = match tail {
            Tail::Dot(text) => {
                let (path, pipe) = self.for_each(text, meant)?;
                (Some(path), pipe)
            }
            tail => (None, self.pipe(tail, meant)?),
        };
        Ok(ArrayReading::Query(Query { condition, all: query.all(), rest, pipe }))
    }

    fn query_without_condition(&mut self) -> Result<ArrayReading, PathFault> {
        let path = self.expression(Piece { text: "", meant: false })?;
        let condition = Condition { path, of_scalars: true, test: Test::Exists };
        Ok(ArrayReading::Query(Query { condition, all: false, rest: None, pipe: None }))
    }

    /// The expression for each element, and the one for the list of their results.
    fn for_each(&mut self, text: &'p str, meant: bool) -> Result<(Expression, Option<Expression>), PathFault> {
        let (path, pipe) = split_at_pipe(text);
        let path = self.expression(Piece { text: path, meant })?;
        let pipe = pipe.map(|text| self.expression(Piece { text, meant })).transpose()?;
        Ok((path, pipe))
    }

    fn next(&mut self, tail: Tail<'p>, meant: bool) -> Result<Next, PathFault> {
        match tail {
            Tail::End => Ok(Next::End),
            Tail::Dot(text) => Ok(Next::Into(self.step_of(Piece { text, meant }))),
            Tail::Pipe(text) => self.expression(Piece { text, meant }).map(Next::Pipe),
        }
    }

    fn pipe(&mut self, tail: Tail<'p>, meant: bool) -> Result<Option<Expression>, PathFault> {
        match tail {
            Tail::Pipe(text) => self.expression(Piece { text, meant }).map(Some),
            Tail::End | Tail::Dot(_) => Ok(None),
        }
    }
}

/// A reading that is not meant and holds a construct finds nothing.
fn if_meant<T: Default>(reading: Result<T, PathFault>, meant: bool) -> Result<T, PathFault> {
    match reading {
        Err(_) if !meant => Ok(T::default()),
        reading => reading,
    }
}
