//! Sprig's functions that choose, and that say what a value is.

use super::convert::{is_deeply_equal, is_empty};
use super::{Call, Function, fixed, variadic};
use crate::error::Problem;
use crate::value::{Type, Value};

const ANY: Type = Type::Any;
const TEXT: Type = Type::Text;

pub const FUNCTIONS: &[Function] = &[
    variadic("default", &[ANY], ANY, |call| {
        Ok(match call.arguments.get(1) {
            Some(given) if !is_empty(given) => given.clone(),
            Some(_) | None => call.value(0),
        })
    }),
    fixed("empty", &[ANY], |call| Ok(Value::Bool(is_empty(&call.value(0))))),
    variadic("coalesce", &[], ANY, |call| {
        Ok(call.arguments.iter().find(|value| !is_empty(value)).cloned().unwrap_or(Value::Nil))
    }),
    variadic("all", &[], ANY, |call| Ok(Value::Bool(!call.arguments.iter().any(is_empty)))),
    variadic("any", &[], ANY, |call| Ok(Value::Bool(call.arguments.iter().any(|value| !is_empty(value))))),
    fixed("ternary", &[ANY, ANY, Type::Bool], |call| Ok(if call.bool(2) { call.value(0) } else { call.value(1) })),
    fixed("fail", &[TEXT], |call| call.refuse("the template says that it cannot be rendered")),
    fixed("typeOf", &[ANY], |call| Ok(Value::text(type_of(&call.value(0))))),
    fixed("typeIs", &[TEXT, ANY], |call| {
        let wanted = call.text(0);
        Ok(Value::Bool(*wanted == *type_of(&call.value(1)).as_bytes()))
    }),
    fixed("typeIsLike", &[TEXT, ANY], |call| {
        let (wanted, kind) = (call.text(0), type_of(&call.value(1)));
        let kind = kind.as_bytes();
        Ok(Value::Bool(*wanted == *kind || kind.strip_prefix(b"*").is_some_and(|kind| *wanted == *kind)))
    }),
    fixed("kindOf", &[ANY], |call| Ok(Value::text(kind_of(&call.value(0))))),
    fixed("kindIs", &[TEXT, ANY], |call| {
        let wanted = call.text(0);
        Ok(Value::Bool(*wanted == *kind_of(&call.value(1)).as_bytes()))
    }),
    fixed("deepEqual", &[ANY, ANY], deep_equal),
];

fn deep_equal(call: &mut Call<'_>) -> Result<Value, Problem> {
    is_deeply_equal(&call.value(0), &call.value(1), call.purse).map(Value::Bool)
}

fn type_of(value: &Value) -> String {
    value.kind().map_or_else(|| "<nil>".to_owned(), |kind| kind.to_string())
}

/// Go's `reflect.Kind`.
fn kind_of(value: &Value) -> String {
    match value {
        Value::Nil | Value::NilInterface => "invalid".to_owned(),
        Value::List(_) => "slice".to_owned(),
        Value::Map(_) => "map".to_owned(),
        Value::Object(object) if object.name().starts_with('*') => "ptr".to_owned(),
        Value::Object(_) => "struct".to_owned(),
        other => other.kind_name(),
    }
}
