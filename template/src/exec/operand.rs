//! Evaluates commands and operands.

use super::{Walk, within};
use crate::error::{self, Fault, Problem};
use crate::functions;
use crate::syntax::node::{Command, Operand, Term};
use crate::value::{Map, Type, Value};

impl Walk<'_> {
    /// Evaluates a command. `input` is the result of the command before it.
    pub(super) fn command(&mut self, command: &Command, dot: &Value, input: Option<Value>) -> Result<Value, Fault> {
        let [first, arguments @ ..] = &command.operands[..] else { return Ok(Value::Nil) };
        self.offset = first.offset;
        match &first.term {
            Term::Function(name) => self.function(name, first.offset, arguments, dot, input),
            Term::Field(names) => self.fields(dot.clone(), names, arguments, dot, input),
            Term::Chain(operand, names) => {
                let receiver = self.receiver(operand, dot)?;
                self.offset = first.offset;
                self.fields(receiver, names, arguments, dot, input)
            }
            Term::Variable(name, names) if !names.is_empty() => {
                let receiver = self.variable(name)?;
                self.fields(receiver, names, arguments, dot, input)
            }
            _ if !arguments.is_empty() || input.is_some() => {
                Err(self.fault(Problem::Run("what is no function takes no arguments".to_owned())))
            }
            Term::Variable(name, _) => self.variable(name),
            Term::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Err(self.fault(Problem::Run("nil is no command".to_owned()))),
            Term::Bool(_) | Term::Number(_) | Term::Text(_) => self.constant(first),
        }
    }

    /// Evaluates an argument for a parameter of this type.
    pub(super) fn argument(
        &mut self,
        function: &str,
        wants: Type,
        operand: &Operand,
        dot: &Value,
    ) -> Result<Value, Fault> {
        self.offset = operand.offset;
        let value = match &operand.term {
            Term::Nil => {
                return match wants.has_nil() {
                    true => Ok(wants.zero()),
                    false => Err(self.wrong_type(function, wants, &Value::Nil)),
                };
            }
            Term::Bool(_) | Term::Number(_) | Term::Text(_) => return self.literal(function, wants, operand),
            Term::Dot => dot.clone(),
            Term::Field(names) => self.fields(dot.clone(), names, &[], dot, None)?,
            Term::Variable(name, names) if names.is_empty() => self.variable(name)?,
            Term::Variable(name, names) => {
                let receiver = self.variable(name)?;
                self.fields(receiver, names, &[], dot, None)?
            }
            Term::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            Term::Function(name) => self.function(name, operand.offset, &[], dot, None)?,
            Term::Chain(inner, names) => {
                let receiver = self.receiver(inner, dot)?;
                self.offset = operand.offset;
                self.fields(receiver, names, &[], dot, None)?
            }
        };
        self.offset = operand.offset;
        self.assigned(function, wants, value)
    }

    /// A value as an argument for a parameter of this type.
    pub(super) fn assigned(&self, function: &str, wants: Type, value: Value) -> Result<Value, Fault> {
        let fits = match (&value, wants) {
            (Value::Nil, _) if wants.has_nil() => return Ok(wants.zero()),
            (Value::Nil, _) => false,
            (_, Type::Any | Type::Reflect) => true,
            (_, _) => value.kind() == Some(wants),
        };
        match fits {
            true => Ok(value),
            false => Err(self.wrong_type(function, wants, &value)),
        }
    }

    /// What fields are taken from.
    fn receiver(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Fault> {
        self.offset = operand.offset;
        match &operand.term {
            Term::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Term::Function(name) => self.function(name, operand.offset, &[], dot, None),
            _ => Err(self.fault(Problem::Run("a constant has no fields".to_owned()))),
        }
    }

    /// `.a.b`, of which the last may be a method with arguments.
    fn fields(
        &mut self,
        mut receiver: Value,
        names: &[String],
        arguments: &[Operand],
        dot: &Value,
        input: Option<Value>,
    ) -> Result<Value, Fault> {
        let offset = self.offset;
        let Some((last, names)) = names.split_last() else { return Ok(receiver) };
        for name in names {
            receiver = self.field(&receiver, name, Vec::new())?;
        }
        let mut values = Vec::new();
        for argument in arguments {
            values.push(self.argument(last, Type::Any, argument, dot)?);
        }
        values.extend(input);
        self.offset = offset;
        self.field(&receiver, last, values)
    }

    fn field(&mut self, receiver: &Value, name: &str, arguments: Vec<Value>) -> Result<Value, Fault> {
        match receiver {
            Value::Nil | Value::NilInterface => {
                Err(self.fault(Problem::NoField { kind: "nil".to_owned(), field: name.to_owned() }))
            }
            Value::Object(object) => match object.member(name, &arguments) {
                Some(Ok(value)) => Ok(value),
                Some(Err(cause)) => Err(self.fault(Problem::Call { function: name.to_owned(), cause })),
                None => Err(self.no_field(receiver, name)),
            },
            Value::Map(_) if !arguments.is_empty() => {
                Err(self.fault(Problem::Run(format!("{name:?} is a value, and takes no arguments"))))
            }
            Value::Map(map) => match map.get(name.as_bytes()) {
                Some(value) => Ok(within(&value)),
                None => Err(self.no_key(map, name)),
            },
            _ => Err(self.no_field(receiver, name)),
        }
    }

    fn no_field(&self, receiver: &Value, name: &str) -> Fault {
        self.fault(Problem::NoField { kind: receiver.kind_name(), field: name.to_owned() })
    }

    fn no_key(&self, map: &Map, key: &str) -> Fault {
        let keys: Vec<String> = map.keys().iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        // The keys of other maps may be made of values.
        let nearest = match map.element() {
            Type::Text => error::nearest(key, keys.iter().map(String::as_str)),
            _ => None,
        };
        self.fault(Problem::NoKey { key: key.to_owned(), nearest })
    }

    fn function(
        &mut self,
        name: &str,
        offset: usize,
        arguments: &[Operand],
        dot: &Value,
        input: Option<Value>,
    ) -> Result<Value, Fault> {
        match functions::find(name) {
            Some(function) => self.call(function, offset, arguments, dot, input),
            None => Err(self.fault(Problem::NoFunction { name: name.to_owned(), nearest: None })),
        }
    }

    /// A constant where nothing decides its type.
    fn constant(&self, operand: &Operand) -> Result<Value, Fault> {
        match &operand.term {
            Term::Bool(truth) => Ok(Value::Bool(*truth)),
            Term::Text(text) => Ok(Value::text(text.clone())),
            Term::Number(number) => match (number.is_float, number.float, number.int) {
                (true, Some(float), _) => Ok(Value::Float(float)),
                (_, _, Some(int)) => Ok(Value::int(int)),
                _ => Err(self.fault(Problem::Run("a number is too large".to_owned()))),
            },
            _ => Ok(Value::Nil),
        }
    }

    /// A constant for a parameter of this type.
    fn literal(&self, function: &str, wants: Type, operand: &Operand) -> Result<Value, Fault> {
        let value = match (wants, &operand.term) {
            (Type::Any | Type::Reflect, _) => return self.constant(operand),
            (Type::Bool, Term::Bool(truth)) => Some(Value::Bool(*truth)),
            (Type::Text, Term::Text(text)) => Some(Value::text(text.clone())),
            (Type::Int | Type::Int64, Term::Number(number)) => number.int.map(|int| Value::Int(int, wants)),
            (Type::Float, Term::Number(number)) => number.float.map(Value::Float),
            (Type::Uint8 | Type::Uint32 | Type::Uint64, Term::Number(number)) => {
                number.uint.map(|uint| Value::Uint(uint, wants))
            }
            _ => None,
        };
        match value {
            Some(value) => Ok(value),
            None => Err(self.wrong_type(function, wants, &self.constant(operand)?)),
        }
    }

    fn wrong_type(&self, function: &str, wants: Type, gets: &Value) -> Fault {
        let (wants, gets) = (wants.to_string(), gets.kind_name());
        self.fault(Problem::Type { function: function.to_owned(), wants, gets })
    }
}
