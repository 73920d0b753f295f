//! Sprig's functions of paths. Those for the system's paths do the same, as on Linux.

use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::value::{Type, Value};

const TEXT: Type = Type::Text;

pub const FUNCTIONS: &[Function] = &[
    fixed("base", &[TEXT], |call| changed(call, base)),
    fixed("osBase", &[TEXT], |call| changed(call, base)),
    fixed("dir", &[TEXT], |call| changed(call, folder)),
    fixed("osDir", &[TEXT], |call| changed(call, folder)),
    fixed("clean", &[TEXT], |call| changed(call, clean)),
    fixed("osClean", &[TEXT], |call| changed(call, clean)),
    fixed("ext", &[TEXT], |call| changed(call, extension)),
    fixed("osExt", &[TEXT], |call| changed(call, extension)),
    fixed("isAbs", &[TEXT], |call| Ok(Value::Bool(call.text(0).starts_with(b"/")))),
    fixed("osIsAbs", &[TEXT], |call| Ok(Value::Bool(call.text(0).starts_with(b"/")))),
];

fn changed(call: &mut Call<'_>, change: fn(&[u8]) -> Vec<u8>) -> Result<Value, Problem> {
    Ok(Value::text(change(&call.text(0))))
}

/// The last part.
fn base(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let Some(last) = path.iter().rposition(|byte| *byte != b'/') else { return b"/".to_vec() };
    let path = &path[..=last];
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    path[start..].to_vec()
}

/// All but the last part.
fn folder(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    clean(&path[..end])
}

/// From the last dot of the last part.
fn extension(path: &[u8]) -> Vec<u8> {
    for (index, byte) in path.iter().enumerate().rev() {
        match byte {
            b'/' => break,
            b'.' => return path[index..].to_vec(),
            _ => {}
        }
    }
    Vec::new()
}

/// The shortest path that leads to the same place.
fn clean(path: &[u8]) -> Vec<u8> {
    let is_rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => {
                    parts.pop();
                }
                _ if is_rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (is_rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
