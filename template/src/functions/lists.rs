//! Sprig's functions of lists. None of them changes a list.

use super::convert::{is_deeply_equal, is_empty, to_int};
use super::{Call, Function, fixed, variadic};
use crate::error::Problem;
use crate::value::{List, Type, Value};

const ANY: Type = Type::Any;

pub const FUNCTIONS: &[Function] = &[
    variadic("list", &[], ANY, list),
    variadic("tuple", &[], ANY, list),
    fixed("append", &[ANY, ANY], push),
    fixed("push", &[ANY, ANY], push),
    fixed("mustAppend", &[ANY, ANY], push),
    fixed("mustPush", &[ANY, ANY], push),
    fixed("prepend", &[ANY, ANY], prepend),
    fixed("mustPrepend", &[ANY, ANY], prepend),
    fixed("first", &[ANY], |call| Ok(items(call, 0)?.first().cloned().unwrap_or(Value::Nil))),
    fixed("mustFirst", &[ANY], |call| Ok(items(call, 0)?.first().cloned().unwrap_or(Value::Nil))),
    fixed("last", &[ANY], |call| Ok(items(call, 0)?.last().cloned().unwrap_or(Value::Nil))),
    fixed("mustLast", &[ANY], |call| Ok(items(call, 0)?.last().cloned().unwrap_or(Value::Nil))),
    fixed("rest", &[ANY], |call| part(call, |items| &items[1..])),
    fixed("mustRest", &[ANY], |call| part(call, |items| &items[1..])),
    fixed("initial", &[ANY], |call| part(call, |items| &items[..items.len() - 1])),
    fixed("mustInitial", &[ANY], |call| part(call, |items| &items[..items.len() - 1])),
    fixed("reverse", &[ANY], |call| Ok(Value::list(items(call, 0)?.iter().rev().cloned().collect()))),
    fixed("mustReverse", &[ANY], |call| Ok(Value::list(items(call, 0)?.iter().rev().cloned().collect()))),
    fixed("uniq", &[ANY], unique),
    fixed("mustUniq", &[ANY], unique),
    fixed("compact", &[ANY], compact),
    fixed("mustCompact", &[ANY], compact),
    variadic("without", &[ANY], ANY, without),
    variadic("mustWithout", &[ANY], ANY, without),
    fixed("has", &[ANY, ANY], has),
    fixed("mustHas", &[ANY, ANY], has),
    variadic("slice", &[ANY], ANY, slice),
    variadic("mustSlice", &[ANY], ANY, slice),
    variadic("concat", &[], ANY, concat),
    fixed("chunk", &[Type::Int, ANY], chunk),
    fixed("mustChunk", &[Type::Int, ANY], chunk),
    fixed("until", &[Type::Int], |call| {
        let count = call.int(0);
        numbers(call, 0, count, if count < 0 { -1 } else { 1 }).map(number_list)
    }),
    fixed("untilStep", &[Type::Int, Type::Int, Type::Int], |call| {
        let (start, stop, step) = (call.int(0), call.int(1), call.int(2));
        numbers(call, start, stop, step).map(number_list)
    }),
    variadic("seq", &[], Type::Int, sequence),
];

fn list(call: &mut Call<'_>) -> Result<Value, Problem> {
    Ok(Value::list(std::mem::take(&mut call.arguments)))
}

/// The list that is this argument.
fn items(call: &mut Call<'_>, index: usize) -> Result<List, Problem> {
    match call.arguments.get(index) {
        Some(Value::List(list)) => {
            let list = list.clone();
            call.purse.step(list.len())?;
            Ok(list)
        }
        other => {
            let kind = other.map_or_else(String::new, Value::kind_name);
            call.refuse(format!("takes a list, and gets {kind}"))
        }
    }
}

fn push(call: &mut Call<'_>) -> Result<Value, Problem> {
    let mut items = items(call, 0)?.to_vec();
    items.push(call.value(1));
    Ok(Value::list(items))
}

fn prepend(call: &mut Call<'_>) -> Result<Value, Problem> {
    let list = items(call, 0)?;
    Ok(Value::list([&[call.value(1)], &list[..]].concat()))
}

/// A part of a list; nil if it is empty.
fn part(call: &mut Call<'_>, of: fn(&[Value]) -> &[Value]) -> Result<Value, Problem> {
    let list = items(call, 0)?;
    Ok(match list.is_empty() {
        true => Value::List(List::nil(Type::Any)),
        false => Value::list(of(&list).to_vec()),
    })
}

fn contains(call: &mut Call<'_>, list: &[Value], needle: &Value) -> Result<bool, Problem> {
    for item in list {
        if is_deeply_equal(needle, item, call.purse)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unique(call: &mut Call<'_>) -> Result<Value, Problem> {
    let mut kept = Vec::new();
    for item in items(call, 0)?.iter() {
        if !contains(call, &kept, item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn compact(call: &mut Call<'_>) -> Result<Value, Problem> {
    Ok(Value::list(items(call, 0)?.iter().filter(|item| !is_empty(item)).cloned().collect()))
}

fn without(call: &mut Call<'_>) -> Result<Value, Problem> {
    let list = items(call, 0)?;
    let omitted = call.rest(1).to_vec();
    let mut kept = Vec::new();
    for item in list.iter() {
        if !contains(call, &omitted, item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn has(call: &mut Call<'_>) -> Result<Value, Problem> {
    if let Value::Nil | Value::NilInterface = call.value(1) {
        return Ok(Value::Bool(false));
    }
    let list = items(call, 1)?;
    let needle = call.value(0);
    contains(call, &list, &needle).map(Value::Bool)
}

fn slice(call: &mut Call<'_>) -> Result<Value, Problem> {
    let list = items(call, 0)?;
    if list.is_empty() {
        return Ok(Value::Nil);
    }
    let indices = call.rest(1);
    let start = indices.first().map_or(0, to_int);
    let end = indices.get(1).map_or(list.len() as i64, to_int);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    match range.and_then(|(start, end)| list.get(start..end)) {
        Some(part) => Ok(Value::List(List::of(list.element(), part.to_vec()))),
        None => call.refuse("the indices are not within the list"),
    }
}

fn concat(call: &mut Call<'_>) -> Result<Value, Problem> {
    let mut all = Vec::new();
    for index in 0..call.arguments.len() {
        all.extend_from_slice(&items(call, index)?);
    }
    Ok(match all.is_empty() {
        true => Value::List(List::nil(Type::Any)),
        false => Value::list(all),
    })
}

fn chunk(call: &mut Call<'_>) -> Result<Value, Problem> {
    let list = items(call, 1)?;
    let size = call.int(0);
    let chunks = match usize::try_from(size) {
        Ok(size) if size > 0 => list.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect(),
        // Sprig's arithmetic with a negative size.
        Err(_) if list.len() == 1 => vec![Value::list(list.to_vec())],
        Err(_) if list.len() > 1 && (list.len() as u64 - 1) <= size.unsigned_abs() => Vec::new(),
        _ => return call.refuse("a size is at least 1"),
    };
    Ok(Value::List(List::of(Type::ANY_LIST, chunks)))
}

/// From `start` to before `stop`.
fn numbers(call: &mut Call<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Problem> {
    let mut numbers = Vec::new();
    let mut number = start;
    while step > 0 && number < stop || step < 0 && number > stop && stop < start {
        call.purse.step(1)?;
        numbers.push(number);
        let Some(next) = number.checked_add(step) else { break };
        number = next;
    }
    Ok(numbers)
}

fn number_list(numbers: Vec<i64>) -> Value {
    Value::List(List::of(Type::Int, numbers.into_iter().map(Value::int).collect()))
}

/// `seq FIRST INCREMENT LAST`, as the program of that name.
fn sequence(call: &mut Call<'_>) -> Result<Value, Problem> {
    let parameters: Vec<i64> = (0..call.arguments.len()).map(|index| call.int(index)).collect();
    let (start, step, end) = match parameters[..] {
        [end] => (1, if end < 1 { -1 } else { 1 }, end),
        [start, end] => (start, if end < start { -1 } else { 1 }, end),
        [start, step, end] if end < start && step > 0 => return Ok(Value::text("")),
        [start, step, end] => (start, step, end),
        _ => return Ok(Value::text("")),
    };
    let direction = if end < start { -1 } else { 1 };
    let numbers = numbers(call, start, end.saturating_add(direction), step)?;
    let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    Ok(Value::text(texts.join(" ")))
}
