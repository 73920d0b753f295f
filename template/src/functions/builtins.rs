//! Go's own functions: logic, comparison, indexing, printing, escaping.

use std::cmp::Ordering;

use zeroize::Zeroizing;

use super::{Call, Function, Kind, fixed, variadic};
use crate::error::Problem;
use crate::format;
use crate::go_text;
use crate::value::{Type, Value};

const ANY: Type = Type::Reflect;

pub const FUNCTIONS: &[Function] = &[
    Function { name: "and", takes: &[ANY], rest: Some(ANY), kind: Kind::And },
    Function { name: "or", takes: &[ANY], rest: Some(ANY), kind: Kind::Or },
    fixed("not", &[ANY], |call| Ok(Value::Bool(!call.value(0).is_true()))),
    variadic("eq", &[ANY], ANY, |call| is_equal_to_any(call).map(Value::Bool)),
    fixed("ne", &[ANY, ANY], |call| is_equal_to_any(call).map(|equal| Value::Bool(!equal))),
    fixed("lt", &[ANY, ANY], |call| is_less(call).map(Value::Bool)),
    fixed("le", &[ANY, ANY], |call| Ok(Value::Bool(is_less(call)? || is_equal_to_any(call)?))),
    fixed("gt", &[ANY, ANY], |call| Ok(Value::Bool(!(is_less(call)? || is_equal_to_any(call)?)))),
    fixed("ge", &[ANY, ANY], |call| is_less(call).map(|less| Value::Bool(!less))),
    variadic("index", &[ANY], ANY, index),
    fixed("len", &[ANY], length),
    variadic("call", &[ANY], ANY, |call| call.refuse("there is nothing to call")),
    variadic("print", &[], Type::Any, |call| printed(call, format::sprint)),
    variadic("println", &[], Type::Any, |call| printed(call, format::sprintln)),
    variadic("printf", &[Type::Text], Type::Any, |call| {
        let text = format::sprintf(&call.text(0), &call.arguments[1..], call.purse)?;
        Ok(text_of(text))
    }),
    variadic("html", &[], Type::Any, |call| escaped(call, html)),
    variadic("js", &[], Type::Any, |call| escaped(call, js)),
    variadic("urlquery", &[], Type::Any, |call| escaped(call, url_query)),
];

type Print = fn(&[Value], &mut crate::budget::Purse) -> Result<Zeroizing<Vec<u8>>, Problem>;

fn printed(call: &mut Call<'_>, print: Print) -> Result<Value, Problem> {
    print(&call.arguments, call.purse).map(text_of)
}

fn escaped(call: &mut Call<'_>, escape: fn(&[u8]) -> Vec<u8>) -> Result<Value, Problem> {
    let text = match &call.arguments[..] {
        [Value::Text(text)] => Zeroizing::new(text.to_vec()),
        // A nil that is shown alone has no value.
        [Value::Nil | Value::NilInterface] => Zeroizing::new(b"<no value>".to_vec()),
        several => {
            let shown = |value: &Value| match value {
                Value::Nil | Value::NilInterface => Value::text("<no value>"),
                other => other.clone(),
            };
            let several: Vec<Value> = several.iter().map(shown).collect();
            format::sprint(&several, call.purse)?
        }
    };
    call.purse.make(6 * text.len())?;
    Ok(Value::text(escape(&text)))
}

fn text_of(mut text: Zeroizing<Vec<u8>>) -> Value {
    Value::text(std::mem::take(&mut *text))
}

/// Whether the first argument equals one of the others.
fn is_equal_to_any(call: &Call<'_>) -> Result<bool, Problem> {
    let [first, others @ ..] = &call.arguments[..] else { return call.refuse("there is nothing to compare") };
    if others.is_empty() {
        return call.refuse("there is nothing to compare with");
    }
    for other in others {
        if is_equal(call, first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_equal(call: &Call<'_>, one: &Value, other: &Value) -> Result<bool, Problem> {
    Ok(match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => one == other,
        (Value::Int(one, _), Value::Int(other, _)) => one == other,
        (Value::Uint(one, _), Value::Uint(other, _)) => one == other,
        (Value::Int(int, _), Value::Uint(uint, _)) | (Value::Uint(uint, _), Value::Int(int, _)) => {
            u64::try_from(*int).is_ok_and(|int| int == *uint)
        }
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::Nil | Value::NilInterface, Value::Nil | Value::NilInterface) => true,
        (Value::Nil | Value::NilInterface, other) | (other, Value::Nil | Value::NilInterface) => match other {
            Value::List(_) | Value::Map(_) => other.is_nil(),
            _ => false,
        },
        (Value::List(one), Value::List(other)) if one.is_nil() || other.is_nil() => one.is_nil() == other.is_nil(),
        (Value::Map(one), Value::Map(other)) if one.is_nil() || other.is_nil() => one.is_nil() == other.is_nil(),
        // Pointers are equal if they are the same.
        (Value::Object(one), Value::Object(other)) if one.name() == other.name() => match one.name().starts_with('*') {
            true => std::rc::Rc::ptr_eq(one, other),
            false => one.print() == other.print(),
        },
        _ => {
            let (one, other) = (one.kind_name(), other.kind_name());
            return call.refuse(format!("{one} and {other} cannot be compared"));
        }
    })
}

fn is_less(call: &Call<'_>) -> Result<bool, Problem> {
    let (one, other) = (call.value(0), call.value(1));
    let order = match (&one, &other) {
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (Value::Int(one, _), Value::Int(other, _)) => Some(one.cmp(other)),
        (Value::Uint(one, _), Value::Uint(other, _)) => Some(one.cmp(other)),
        (Value::Int(int, _), Value::Uint(uint, _)) => Some(i128::from(*int).cmp(&i128::from(*uint))),
        (Value::Uint(uint, _), Value::Int(int, _)) => Some(i128::from(*uint).cmp(&i128::from(*int))),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        _ => {
            let (one, other) = (one.kind_name(), other.kind_name());
            return call.refuse(format!("{one} and {other} have no order"));
        }
    };
    Ok(order == Some(Ordering::Less))
}

/// `index x 1 "a"` is `x[1]["a"]`.
fn index(call: &mut Call<'_>) -> Result<Value, Problem> {
    let mut item = call.value(0);
    if item.is_nil() && !matches!(item, Value::List(_) | Value::Map(_)) {
        return call.refuse("nil has no elements");
    }
    for key in call.rest(1) {
        item = match (&item, key) {
            (Value::List(list), _) => {
                let at = position(call, key, list.len())?;
                match list.get(at) {
                    Some(element) => element.clone(),
                    None => return call.refuse("the index is out of range"),
                }
            }
            (Value::Text(text), _) => {
                let at = position(call, key, text.len())?;
                match text.get(at) {
                    Some(byte) => Value::Uint(u64::from(*byte), Type::Uint8),
                    None => return call.refuse("the index is out of range"),
                }
            }
            (Value::Map(map), Value::Text(key)) => map.get(key).unwrap_or_else(|| map.element().zero()),
            (Value::Map(_), key) => {
                return call.refuse(format!("the key of a map is a string, and not {}", key.kind_name()));
            }
            (other, _) => return call.refuse(format!("{} has no elements", other.kind_name())),
        };
    }
    Ok(item)
}

/// An index, which may be the length.
fn position(call: &Call<'_>, index: &Value, length: usize) -> Result<usize, Problem> {
    let at = match index {
        Value::Int(number, _) => usize::try_from(*number).ok(),
        Value::Uint(number, _) => usize::try_from(*number).ok(),
        other => return call.refuse(format!("{} is no index", other.kind_name())),
    };
    match at.filter(|at| *at <= length) {
        Some(at) => Ok(at),
        None => call.refuse("the index is out of range"),
    }
}

fn length(call: &mut Call<'_>) -> Result<Value, Problem> {
    let length = match call.value(0) {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return call.refuse(format!("{} has no length", other.kind_name())),
    };
    Ok(Value::int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn html(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => escaped.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => escaped.extend_from_slice(b"&#34;"),
            b'\'' => escaped.extend_from_slice(b"&#39;"),
            b'&' => escaped.extend_from_slice(b"&amp;"),
            b'<' => escaped.extend_from_slice(b"&lt;"),
            b'>' => escaped.extend_from_slice(b"&gt;"),
            other => escaped.push(*other),
        }
    }
    escaped
}

fn js(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for (character, bytes) in go_text::spans(text) {
        match character {
            '\\' => escaped.extend_from_slice(b"\\\\"),
            '\'' => escaped.extend_from_slice(b"\\'"),
            '"' => escaped.extend_from_slice(b"\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\u{1f}' => {
                escaped.extend_from_slice(format!("\\u{:04X}", u32::from(character)).as_bytes());
            }
            other if other.is_ascii() || go_text::is_print(other) => escaped.extend_from_slice(bytes),
            other => escaped.extend_from_slice(format!("\\u{:04X}", u32::from(other)).as_bytes()),
        }
    }
    escaped
}

/// As in the query of a URL.
pub fn url_query(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(*byte),
            b' ' => escaped.push(b'+'),
            other => escaped.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
    escaped
}
