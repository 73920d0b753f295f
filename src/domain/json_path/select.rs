//! The walk of a path's steps over a document.

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::scan::{Kind, Members, SPACE, Values, kind_of};
use super::steps::{ArrayReading, Condition, Expression, Next, ObjectReading, Query, Step, StepId};
use super::{JsonPath, Selected};

pub(super) fn select<'j>(path: &JsonPath, json: &'j str) -> Option<Selected<'j>> {
    let readable = if path.start.lines { is_row_of_documents(json) } else { is_document(json) };
    if readable { path.evaluate(path.start, json.trim_matches(SPACE)) } else { None }
}

fn is_document(json: &str) -> bool {
    serde_json::from_str::<&RawValue>(json).is_ok()
}

fn is_row_of_documents(json: &str) -> bool {
    serde_json::Deserializer::from_str(json).into_iter::<&RawValue>().all(|document| document.is_ok())
}

impl JsonPath {
    /// Evaluates an expression over a raw value, and what is piped over the result before it. It
    /// recurses only behind a `#`, of which a path holds few.
    fn evaluate<'j>(&self, expression: Expression, json: &'j str) -> Option<Selected<'j>> {
        let mut outcome = self.search(expression, json);
        while let Some(next) = outcome.pipe {
            outcome = match outcome.found {
                Some(Selected::Part(part)) => self.search(next, part),
                Some(Selected::Composed(composed)) => self.search(next, &composed).into_owned(),
                // A pipe works on nothing too: `..#` counts no documents there.
                None => self.search(next, ""),
            };
        }
        outcome.found
    }

    fn search<'j>(&self, expression: Expression, json: &'j str) -> Outcome<'j> {
        let mut search = Search { path: self, outcome: Outcome::default() };
        let first = if expression.lines {
            search.choose(&self.step(expression.step).array, Values::of_lines(json))
        } else {
            Move::Into(expression.step, json)
        };
        search.walk(first);
        search.outcome
    }

    fn meets(&self, condition: &Condition, element: &str) -> bool {
        match kind_of(element) {
            Kind::Object | Kind::Array => {
                let value = self.evaluate(condition.path, element);
                condition.test.accepts(value.as_ref().map(Selected::raw))
            }
            _ => condition.of_scalars && condition.test.accepts(Some(element)),
        }
    }

    fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }
}

/// What a search found, and the expression that the last piece to end the search's own path left
/// for it.
#[derive(Default)]
struct Outcome<'j> {
    found: Option<Selected<'j>>,
    pipe: Option<Expression>,
}

impl Outcome<'_> {
    fn into_owned<'long>(self) -> Outcome<'long> {
        Outcome { found: self.found.map(Selected::into_owned), pipe: self.pipe }
    }
}

/// One walk through a value, up to the first pipe.
///
/// It goes depth first: where a member leads to nothing, the next member that matches is tried. The
/// open objects are kept in a list of their own, so that the depth of path and document costs no
/// stack.
struct Search<'p, 'j> {
    path: &'p JsonPath,
    outcome: Outcome<'j>,
}

/// Where a walk goes next.
enum Move<'j> {
    Into(StepId, &'j str),
    Back,
    Done,
}

struct OpenObject<'p, 'j> {
    reading: &'p ObjectReading,
    members: Members<'j>,
}

impl<'p, 'j> Search<'p, 'j> {
    fn walk(&mut self, first: Move<'j>) {
        let mut next = first;
        let mut open = Vec::new();
        loop {
            next = match next {
                Move::Done => return,
                Move::Into(step, value) => self.enter(step, value, &mut open),
                Move::Back => match open.last_mut() {
                    Some(object) => self.try_member(object).unwrap_or_else(|| {
                        open.pop();
                        Move::Back
                    }),
                    None => return,
                },
            };
        }
    }

    fn enter(&mut self, step: StepId, value: &'j str, open: &mut Vec<OpenObject<'p, 'j>>) -> Move<'j> {
        let step = self.path.step(step);
        match kind_of(value) {
            Kind::Object => {
                self.leave_pipe(step.object.next.pipe());
                open.push(OpenObject { reading: &step.object, members: Members::of_object(value) });
                Move::Back
            }
            Kind::Array => self.choose(&step.array, Values::of_array(value)),
            _ => Move::Back,
        }
    }

    fn try_member(&mut self, object: &mut OpenObject<'p, 'j>) -> Option<Move<'j>> {
        let name = &object.reading.name;
        let (_, value) = object.members.find(|(raw_name, _)| name.matches(raw_name))?;
        Some(self.follow(object.reading.next, value))
    }

    fn follow(&mut self, next: Next, value: &'j str) -> Move<'j> {
        match next {
            Next::Into(step) => Move::Into(step, value),
            Next::End | Next::Pipe(_) => self.end_with(Some(Selected::Part(value))),
        }
    }

    fn choose(&mut self, reading: &ArrayReading, mut elements: Values<'j>) -> Move<'j> {
        match reading {
            ArrayReading::Element { position, next } => {
                self.leave_pipe(next.pipe());
                let element = position.and_then(|position| elements.nth(position));
                element.map_or(Move::Back, |element| self.follow(*next, element))
            }
            ArrayReading::Length { pipe } => {
                self.leave_pipe(*pipe);
                let length = elements.count().to_string();
                self.end_with(Some(Selected::Composed(Zeroizing::new(length))))
            }
            ArrayReading::Each { path, pipe } => {
                self.leave_pipe(*pipe);
                let results = elements.filter_map(|element| self.path.evaluate(*path, element)).collect();
                self.end_with(Some(list_of(results)))
            }
            ArrayReading::Query(query) => self.query(query, elements),
        }
    }

    fn query(&mut self, query: &Query, elements: Values<'j>) -> Move<'j> {
        if query.rest.is_none() {
            self.leave_pipe(query.pipe);
        }
        let path = self.path;
        let mut matches = elements.filter(|element| path.meets(&query.condition, element));
        if query.all {
            let results = matches.filter_map(|element| self.rest_of(query, element)).collect();
            // gjson walks on, and a member that comes later and has the query for a name would
            // count.
            self.outcome.found.get_or_insert_with(|| list_of(results));
            return Move::Back;
        }
        match matches.next() {
            Some(element) => {
                let result = self.rest_of(query, element);
                self.end_with(result)
            }
            None => Move::Back,
        }
    }

    /// What the path picks from an element that meets the query. Only such an element leaves the
    /// pipe behind a path.
    fn rest_of(&mut self, query: &Query, element: &'j str) -> Option<Selected<'j>> {
        match query.rest {
            None => Some(Selected::Part(element)),
            Some(rest) => {
                self.leave_pipe(query.pipe);
                self.path.evaluate(rest, element)
            }
        }
    }

    fn end_with(&mut self, found: Option<Selected<'j>>) -> Move<'j> {
        self.outcome.found = found;
        Move::Done
    }

    fn leave_pipe(&mut self, pipe: Option<Expression>) {
        self.outcome.pipe = pipe.or(self.outcome.pipe);
    }
}

impl Next {
    fn pipe(self) -> Option<Expression> {
        match self {
            Self::Pipe(expression) => Some(expression),
            Self::End | Self::Into(_) => None,
        }
    }
}

/// A JSON list of raw values. Its buffer is made at its full size and leaves no copy behind.
fn list_of(values: Vec<Selected<'_>>) -> Selected<'static> {
    let length = values.iter().map(|value| value.raw().len() + 1).sum::<usize>() + "[]".len();
    let mut list = Zeroizing::new(String::with_capacity(length));
    list.push('[');
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            list.push(',');
        }
        list.push_str(value.raw());
    }
    list.push(']');
    Selected::Composed(list)
}
