//! The functions that a template may call: Go's own, those of Sprig 3 without I/O, and those of
//! External Secrets Operator.

mod authorities;
mod builtins;
mod cases;
mod certificates;
mod convert;
mod dates;
mod decimals;
mod defaults;
mod dicts;
mod duration;
mod encoding;
mod hashes;
pub mod json;
mod jwk;
mod keys;
mod layout;
mod lists;
mod numbers;
mod passwords;
mod paths;
mod pem;
mod pkcs12;
mod pkcs12_cost;
mod random;
mod regexes;
mod strings;
mod urls;
mod versions;
mod yaml_reader;
mod yaml_scalar;
mod yaml_writer;

pub use yaml_reader::read as read_yaml;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::budget::Purse;
use crate::error::{self, Problem};
use crate::value::{List, Map, Text, Type, Value};

/// A function, with Go's types of its parameters. They decide which arguments it takes.
pub struct Function {
    pub name: &'static str,
    /// The parameters.
    pub takes: &'static [Type],
    /// The type of any further arguments, if there may be more.
    pub rest: Option<Type>,
    pub kind: Kind,
}

impl Function {
    /// What is wrong with a call that gives it so many arguments.
    pub fn misses(&self, gets: usize) -> Option<Problem> {
        let fixed = self.takes.len();
        let is_right = match self.rest {
            Some(_) => gets >= fixed,
            None => gets == fixed,
        };
        let plural = if fixed == 1 { "" } else { "s" };
        let least = if self.rest.is_some() { "at least " } else { "" };
        let wants = format!("{least}{fixed} argument{plural}");
        (!is_right).then(|| Problem::Arity { function: self.name.to_owned(), wants, gets })
    }
}

/// How a function is evaluated.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Its arguments first.
    Plain(fn(&mut Call<'_>) -> Result<Value, Problem>),
    /// Up to the first argument that is false.
    And,
    /// Up to the first argument that is true.
    Or,
}

/// One call. The arguments have the types of the parameters.
pub struct Call<'p> {
    pub name: &'static str,
    pub arguments: Vec<Value>,
    pub purse: &'p mut Purse,
}

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    TABLE.get(name).copied()
}

/// The name of the function whose name is most like this one.
pub fn nearest(name: &str) -> Option<String> {
    error::nearest(name, TABLE.keys().copied())
}

/// The names of all functions, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.keys().copied()
}

static TABLE: LazyLock<BTreeMap<&'static str, &'static Function>> = LazyLock::new(|| {
    // A later one replaces an earlier one: Sprig's `slice` is not Go's.
    let all = [
        builtins::FUNCTIONS,
        strings::FUNCTIONS,
        defaults::FUNCTIONS,
        lists::FUNCTIONS,
        dicts::FUNCTIONS,
        encoding::FUNCTIONS,
        numbers::FUNCTIONS,
        regexes::FUNCTIONS,
        paths::FUNCTIONS,
        urls::FUNCTIONS,
        decimals::FUNCTIONS,
        hashes::FUNCTIONS,
        dates::FUNCTIONS,
        versions::FUNCTIONS,
        random::FUNCTIONS,
        passwords::FUNCTIONS,
        keys::FUNCTIONS,
        authorities::FUNCTIONS,
        pem::FUNCTIONS,
        certificates::FUNCTIONS,
        jwk::FUNCTIONS,
        pkcs12::FUNCTIONS,
    ]
    .into_iter()
    .flatten();
    all.map(|function| (function.name, function)).collect()
});

/// A function with a fixed number of arguments.
pub const fn fixed(
    name: &'static str,
    takes: &'static [Type],
    run: fn(&mut Call<'_>) -> Result<Value, Problem>,
) -> Function {
    Function { name, takes, rest: None, kind: Kind::Plain(run) }
}

/// A function with any number of further arguments.
pub const fn variadic(
    name: &'static str,
    takes: &'static [Type],
    rest: Type,
    run: fn(&mut Call<'_>) -> Result<Value, Problem>,
) -> Function {
    Function { name, takes, rest: Some(rest), kind: Kind::Plain(run) }
}

impl Call<'_> {
    /// An argument.
    pub fn value(&self, index: usize) -> Value {
        self.arguments.get(index).cloned().unwrap_or(Value::Nil)
    }

    /// An argument of type `string`.
    pub fn text(&self, index: usize) -> Text {
        match self.arguments.get(index) {
            Some(Value::Text(text)) => text.clone(),
            _ => Text::default(),
        }
    }

    /// An argument of type `int` or `int64`.
    pub fn int(&self, index: usize) -> i64 {
        match self.arguments.get(index) {
            Some(Value::Int(number, _)) => *number,
            Some(Value::Uint(number, _)) => i64::try_from(*number).unwrap_or(i64::MAX),
            _ => 0,
        }
    }

    /// An argument of type `bool`.
    pub fn bool(&self, index: usize) -> bool {
        matches!(self.arguments.get(index), Some(Value::Bool(true)))
    }

    /// An argument of a type of lists.
    pub fn list(&self, index: usize) -> List {
        match self.arguments.get(index) {
            Some(Value::List(list)) => list.clone(),
            _ => List::nil(Type::Any),
        }
    }

    /// An argument of a type of maps.
    pub fn map(&self, index: usize) -> Map {
        match self.arguments.get(index) {
            Some(Value::Map(map)) => map.clone(),
            _ => Map::nil(Type::Any),
        }
    }

    /// The further arguments, from this one on.
    pub fn rest(&self, from: usize) -> &[Value] {
        self.arguments.get(from..).unwrap_or_default()
    }

    /// That the function does not take these arguments. The cause quotes no value.
    pub fn refuse<T>(&self, cause: impl Into<String>) -> Result<T, Problem> {
        Err(Problem::Call { function: self.name.to_owned(), cause: cause.into() })
    }
}
