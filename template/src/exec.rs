//! Walks the tree of a template.

mod call;
mod operand;

use crate::budget::Purse;
use crate::error::{Fault, Problem};
use crate::format;
use crate::syntax::Trees;
use crate::syntax::node::{Branch, Node, Pipeline};
use crate::value::{Output, Value};

/// Renders a template.
pub fn render(trees: &Trees, text: &[u8], data: Value, purse: Purse) -> Result<Output, Fault> {
    let main = trees.get(Trees::MAIN).unwrap_or_default();
    let mut walk = Walk { trees, text, purse, output: Output::default(), variables: Vec::new(), offset: 0 };
    walk.variables.push(("$".to_owned(), data.clone()));
    walk.nodes(main, &data)?;
    Ok(walk.output)
}

/// One rendering.
struct Walk<'t> {
    trees: &'t Trees,
    text: &'t [u8],
    purse: Purse,
    output: Output,
    variables: Vec<(String, Value)>,
    /// Of the node that is walked, in bytes.
    offset: usize,
}

/// Where to go after a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl Walk<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Fault> {
        self.spend(1)?;
        match node {
            Node::Plain(text) => self.write(text)?,
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.offset = pipeline.offset;
                    let shown = format::shown(&value, &mut self.purse).map_err(|problem| self.fault(problem))?;
                    self.write(&shown)?;
                }
            }
            Node::If(branch) => return self.scoped(|walk| walk.choose(branch, dot, false)),
            Node::With(branch) => return self.scoped(|walk| walk.choose(branch, dot, true)),
            Node::Range(branch) => return self.scoped(|walk| walk.range(branch, dot)),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Template { offset, name, data } => self.template(*offset, name, data.as_ref(), dot)?,
        }
        Ok(Flow::Next)
    }

    /// Variables that are set within a block end with it.
    fn scoped<T>(&mut self, walk: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let known = self.variables.len();
        let result = walk(self)?;
        self.variables.truncate(known);
        Ok(result)
    }

    fn choose(&mut self, branch: &Branch, dot: &Value, is_with: bool) -> Result<Flow, Fault> {
        let value = self.pipeline(&branch.pipeline, dot)?;
        match (value.is_true(), is_with) {
            (true, true) => self.nodes(&branch.body, &value),
            (true, false) => self.nodes(&branch.body, dot),
            (false, _) => self.nodes(&branch.otherwise, dot),
        }
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Fault> {
        let value = self.pipeline(&branch.pipeline, dot)?;
        self.offset = branch.offset;
        let is_empty = match &value {
            Value::Nil | Value::NilInterface => true,
            Value::List(list) => {
                let mut items = list.iter().enumerate().map(|(index, item)| (Value::int(index as i64), within(item)));
                self.iterate(branch, &mut items)?
            }
            Value::Map(map) => {
                let entries = map.entries();
                let mut items = entries.iter().map(|(key, item)| (Value::Text(key.clone()), within(item)));
                self.iterate(branch, &mut items)?
            }
            Value::Int(..) | Value::Uint(..) if branch.pipeline.variables.len() > 1 => {
                return Err(self.fault(Problem::Run("a range over a number sets one variable only".to_owned())));
            }
            Value::Int(most, kind) => {
                self.iterate(branch, &mut (0..*most).map(|number| (Value::Nil, Value::Int(number, *kind))))?
            }
            Value::Uint(most, kind) => {
                self.iterate(branch, &mut (0..*most).map(|number| (Value::Nil, Value::Uint(number, *kind))))?
            }
            Value::Bool(_) | Value::Float(_) | Value::Text(_) | Value::Object(_) => {
                let kind = value.kind_name();
                return Err(self.fault(Problem::Run(format!("a range cannot go over a value of type {kind}"))));
            }
        };
        // A break ends this range and none around it.
        match is_empty {
            true => self.nodes(&branch.otherwise, dot),
            false => Ok(Flow::Next),
        }
    }

    /// Says whether there was nothing to iterate over.
    fn iterate(&mut self, branch: &Branch, items: &mut dyn Iterator<Item = (Value, Value)>) -> Result<bool, Fault> {
        let mut is_empty = true;
        for (index, item) in items {
            is_empty = false;
            self.spend(1)?;
            let flow = self.scoped(|walk| {
                walk.set_loop_variables(&branch.pipeline, index, item.clone())?;
                walk.nodes(&branch.body, &item)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(is_empty)
    }

    /// With two variables, the first one is the index. With one, it is the item.
    fn set_loop_variables(&mut self, pipeline: &Pipeline, index: Value, item: Value) -> Result<(), Fault> {
        let values = match pipeline.variables.len() {
            0 => return Ok(()),
            1 => vec![item],
            _ => vec![index, item],
        };
        for (name, value) in pipeline.variables.iter().zip(values) {
            self.set(name, value, pipeline.assigns)?;
        }
        Ok(())
    }

    fn template(&mut self, offset: usize, name: &[u8], data: Option<&Pipeline>, dot: &Value) -> Result<(), Fault> {
        self.offset = offset;
        let trees = self.trees;
        let Some(nodes) = trees.get(name) else {
            return Err(self.fault(Problem::NoTemplate(String::from_utf8_lossy(name).into_owned())));
        };
        let data = match data {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Nil,
        };
        self.offset = offset;
        self.purse.descend().map_err(|problem| self.fault(problem))?;
        let variables = std::mem::replace(&mut self.variables, vec![("$".to_owned(), data.clone())]);
        self.nodes(nodes, &data)?;
        self.variables = variables;
        self.purse.ascend();
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let mut value = None;
        for command in &pipeline.commands {
            self.spend(1)?;
            let result = self.command(command, dot, value)?;
            // What comes out of an interface is what is in it.
            value = Some(if let Value::NilInterface = result { Value::Nil } else { result });
        }
        let value = value.unwrap_or(Value::Nil);
        self.offset = pipeline.offset;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns)?;
        }
        Ok(value)
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) -> Result<(), Fault> {
        if !assigns {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, present)) => {
                *present = value;
                Ok(())
            }
            None => Err(self.no_variable(name)),
        }
    }

    fn variable(&self, name: &str) -> Result<Value, Fault> {
        let known = self.variables.iter().rev().find(|(known, _)| known == name);
        known.map(|(_, value)| value.clone()).ok_or_else(|| self.no_variable(name))
    }

    fn no_variable(&self, name: &str) -> Fault {
        self.fault(Problem::Run(format!("the variable {name} is not set on this way through the template")))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let length = self.output.len() + bytes.len();
        self.purse.output(length).map_err(|problem| self.fault(problem))?;
        grow(&mut self.output, bytes.len());
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        self.purse.step(steps).map_err(|problem| self.fault(problem))
    }

    fn fault(&self, problem: Problem) -> Fault {
        problem.at(self.text, self.offset)
    }
}

/// An element as it comes out of a list or a map.
fn within(item: &Value) -> Value {
    match item {
        Value::Nil => Value::NilInterface,
        other => other.clone(),
    }
}

/// Makes room, and wipes what is left behind.
fn grow(output: &mut Output, more: usize) {
    if output.capacity() - output.len() < more {
        let mut larger = Output::new(Vec::with_capacity((output.len() + more).next_power_of_two()));
        larger.extend_from_slice(output);
        *output = larger;
    }
}
