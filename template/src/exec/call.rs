//! Calls functions.

use super::Walk;
use crate::error::Fault;
use crate::functions::{Call, Function, Kind};
use crate::syntax::node::Operand;
use crate::value::{Type, Value};

/// How many bytes of its texts a function reads in one step.
const BYTES_A_STEP: usize = 1024;

impl Walk<'_> {
    /// Calls a function. `input` is the result of the command before it, and the last argument.
    pub(super) fn call(
        &mut self,
        function: &'static Function,
        offset: usize,
        arguments: &[Operand],
        dot: &Value,
        input: Option<Value>,
    ) -> Result<Value, Fault> {
        if let Some(problem) = function.misses(arguments.len() + usize::from(input.is_some())) {
            return Err(self.fault(problem));
        }
        if let Kind::And | Kind::Or = function.kind {
            return self.until(function, arguments, dot, input);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for (index, argument) in arguments.iter().enumerate() {
            values.push(self.argument(function.name, parameter(function, index), argument, dot)?);
        }
        self.offset = offset;
        if let Some(input) = input {
            values.push(self.assigned(function.name, parameter(function, values.len()), input)?);
        }
        let Kind::Plain(run) = function.kind else { return Ok(Value::Nil) };
        let read: usize = values.iter().filter_map(Value::as_text).map(|text| text.len()).sum();
        self.spend(1 + read / BYTES_A_STEP)?;
        let mut call = Call { name: function.name, arguments: values, purse: &mut self.purse };
        let result = run(&mut call).and_then(|made| {
            call.purse.make(made.as_text().map_or(0, |text| text.len()))?;
            Ok(made)
        });
        result.map_err(|problem| self.fault(problem))
    }

    /// `and` and `or` evaluate no more arguments than they need.
    fn until(
        &mut self,
        function: &'static Function,
        arguments: &[Operand],
        dot: &Value,
        input: Option<Value>,
    ) -> Result<Value, Fault> {
        let ends_with = matches!(function.kind, Kind::Or);
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.argument(function.name, Type::Reflect, argument, dot)?;
            if value.is_true() == ends_with {
                return Ok(value);
            }
        }
        Ok(input.unwrap_or(value))
    }
}

/// The type of the parameter of this number.
fn parameter(function: &Function, index: usize) -> Type {
    function.takes.get(index).copied().or(function.rest).unwrap_or(Type::Any)
}
