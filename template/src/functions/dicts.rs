//! Sprig's functions of dicts. `set`, `unset` and the merging ones change what they are given.

use std::collections::BTreeMap;

use super::convert::{is_empty, to_text};
use super::{Call, Function, fixed, variadic};
use crate::budget::Purse;
use crate::error::Problem;
use crate::value::{List, Map, Text, Type, Value};

const ANY: Type = Type::Any;
const TEXT: Type = Type::Text;
const DICT: Type = Type::DICT;

pub const FUNCTIONS: &[Function] = &[
    variadic("dict", &[], ANY, dict),
    fixed("get", &[DICT, TEXT], |call| {
        let key = call.text(1);
        Ok(call.map(0).get(&key).unwrap_or_else(|| Value::text("")))
    }),
    fixed("set", &[DICT, TEXT, ANY], |call| {
        let (map, key) = (call.map(0), call.text(1));
        call.purse.change(&map);
        match map.set(key, call.value(2)) {
            true => Ok(Value::Map(map)),
            false => call.refuse("nil takes no entries"),
        }
    }),
    fixed("unset", &[DICT, TEXT], |call| {
        let key = call.text(1);
        call.map(0).remove(&key);
        Ok(call.value(0))
    }),
    fixed("hasKey", &[DICT, TEXT], |call| {
        let key = call.text(1);
        Ok(Value::Bool(call.map(0).get(&key).is_some()))
    }),
    variadic("pluck", &[TEXT], DICT, |call| {
        let key = call.text(0);
        let found = (1..call.arguments.len()).filter_map(|index| call.map(index).get(&key));
        Ok(Value::list(found.collect()))
    }),
    variadic("keys", &[], DICT, |call| {
        let keys = (0..call.arguments.len()).flat_map(|index| call.map(index).keys()).map(Value::Text);
        Ok(Value::List(List::of(Type::Text, keys.collect())))
    }),
    fixed("values", &[DICT], |call| Ok(Value::list(call.map(0).entries().into_values().collect()))),
    variadic("pick", &[DICT], TEXT, |call| {
        let keys: Vec<Text> = (1..call.arguments.len()).map(|index| call.text(index)).collect();
        let kept = call.map(0).entries().into_iter().filter(|(key, _)| keys.contains(key));
        Ok(Value::dict(kept.collect()))
    }),
    variadic("omit", &[DICT], TEXT, |call| {
        let keys: Vec<Text> = (1..call.arguments.len()).map(|index| call.text(index)).collect();
        let kept = call.map(0).entries().into_iter().filter(|(key, _)| !keys.contains(key));
        Ok(Value::dict(kept.collect()))
    }),
    variadic("merge", &[DICT], DICT, |call| merge_all(call, false)),
    variadic("mustMerge", &[DICT], DICT, |call| merge_all(call, false)),
    variadic("mergeOverwrite", &[DICT], DICT, |call| merge_all(call, true)),
    variadic("mustMergeOverwrite", &[DICT], DICT, |call| merge_all(call, true)),
    variadic("dig", &[], ANY, dig),
    fixed("deepCopy", &[ANY], deep_copy),
    fixed("mustDeepCopy", &[ANY], deep_copy),
];

fn dict(call: &mut Call<'_>) -> Result<Value, Problem> {
    let arguments = std::mem::take(&mut call.arguments);
    let mut entries = BTreeMap::new();
    for pair in arguments.chunks(2) {
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::text(""));
        entries.insert(to_text(&pair[0], call.purse)?, value);
    }
    Ok(Value::dict(entries))
}

fn merge_all(call: &mut Call<'_>, overwrites: bool) -> Result<Value, Problem> {
    let has_source = (1..call.arguments.len()).any(|index| !call.map(index).is_nil());
    let first = match call.map(0) {
        nil if nil.is_nil() && has_source => Map::of(ANY, BTreeMap::new()),
        map => map,
    };
    for index in 1..call.arguments.len() {
        let from = call.map(index);
        merge(&first, &from, overwrites, call.purse)?;
    }
    Ok(Value::Map(first))
}

/// Maps are merged; anything else is taken where there is nothing, or overwritten.
fn merge(into: &Map, from: &Map, overwrites: bool, purse: &mut Purse) -> Result<(), Problem> {
    if into.is(from) {
        return Ok(());
    }
    purse.descend()?;
    purse.change(into);
    for (key, new) in from.entries() {
        purse.step(1)?;
        let present = into.get(&key);
        match (&present, &new) {
            (_, Value::Nil | Value::NilInterface) if overwrites => {
                into.set(key, Value::Nil);
            }
            (_, Value::Nil | Value::NilInterface) => {}
            (Some(Value::Map(inner)), Value::Map(new)) if !is_empty(&Value::Map(inner.clone())) => {
                merge(inner, new, overwrites, purse)?;
            }
            (Some(present), _) if !overwrites && !is_empty(present) => {}
            _ => {
                into.set(key, new);
            }
        }
    }
    purse.ascend();
    Ok(())
}

/// `dig "a" "b" default dict`.
fn dig(call: &mut Call<'_>) -> Result<Value, Problem> {
    let [keys @ .., default, from] = &call.arguments[..] else {
        return call.refuse("takes keys, a default and a dict");
    };
    if keys.is_empty() {
        return call.refuse("takes keys, a default and a dict");
    }
    if let Some(key) = keys.iter().find(|key| key.as_text().is_none()) {
        return call.refuse(format!("a key is a string, and not {}", key.kind_name()));
    }
    let mut found = from.clone();
    for key in keys.iter().filter_map(Value::as_text) {
        let Value::Map(map) = &found else {
            return call.refuse(format!("{} has no keys", found.kind_name()));
        };
        if map.element() != ANY {
            return call.refuse(format!("{} is no dict", found.kind_name()));
        }
        match map.get(key) {
            Some(next) => found = next,
            None => return Ok(default.clone()),
        }
    }
    Ok(found)
}

fn deep_copy(call: &mut Call<'_>) -> Result<Value, Problem> {
    if let Value::Nil | Value::NilInterface = call.value(0) {
        return call.refuse("nil cannot be copied");
    }
    copied(&call.value(0), call.purse)
}

fn copied(value: &Value, purse: &mut Purse) -> Result<Value, Problem> {
    purse.step(1)?;
    purse.descend()?;
    let copy = match value {
        Value::List(list) if !list.is_nil() => {
            let items: Result<Vec<Value>, Problem> = list.iter().map(|item| copied(item, purse)).collect();
            Value::List(List::of(list.element(), items?))
        }
        Value::Map(map) if !map.is_nil() => {
            let mut entries = BTreeMap::new();
            for (key, item) in map.entries() {
                entries.insert(key, copied(&item, purse)?);
            }
            Value::Map(Map::of(map.element(), entries))
        }
        other => other.clone(),
    };
    purse.ascend();
    Ok(copy)
}
