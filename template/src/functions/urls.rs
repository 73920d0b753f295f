//! Sprig's functions of URLs, which take Go's view of them.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use super::strings::find;
use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::value::{Map, Text, Type, Value};

pub const FUNCTIONS: &[Function] = &[
    fixed("urlParse", &[Type::Text], |call| {
        let text = call.text(0);
        match Url::parse(&text) {
            Some(url) => Ok(url.dict()),
            None => call.refuse("the text is no URL"),
        }
    }),
    fixed("urlJoin", &[Type::DICT], join),
];

/// The parts of a URL, decoded but for the query.
#[derive(Default)]
struct Url {
    scheme: Vec<u8>,
    opaque: Vec<u8>,
    /// Encoded.
    user: Vec<u8>,
    host: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    fragment: Vec<u8>,
}

/// A part of a URL, which decides what is escaped in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    User,
    Host,
    Zone,
    Fragment,
}

impl Url {
    fn parse(text: &[u8]) -> Option<Self> {
        let (text, fragment) = cut(text, b'#');
        let mut url = Url::default();
        if text.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
            return None;
        }
        url.fragment = unescaped(fragment, Part::Fragment)?;
        if text == b"*" {
            url.path = b"*".to_vec();
            return Some(url);
        }
        let (scheme, rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (rest, query) = cut(rest, b'?');
        url.query = query.to_vec();
        if !rest.starts_with(b"/") {
            if !scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Some(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return None;
            }
        }
        let has_authority = rest.starts_with(b"//") && (!scheme.is_empty() || !rest.starts_with(b"///"));
        let mut path = rest;
        if has_authority {
            let authority = &rest[2..];
            let end = authority.iter().position(|byte| *byte == b'/').unwrap_or(authority.len());
            path = &authority[end..];
            url.authority(&authority[..end])?;
        }
        url.path = unescaped(path, Part::Path)?;
        Some(url)
    }

    fn authority(&mut self, authority: &[u8]) -> Option<()> {
        let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else {
            self.host = host(authority, &self.scheme)?;
            return Some(());
        };
        self.host = host(&authority[at + 1..], &self.scheme)?;
        self.user = user(&authority[..at])?;
        Some(())
    }

    fn dict(self) -> Value {
        let hostname = hostname(&self.host);
        let parts = [
            ("scheme", self.scheme),
            ("host", self.host),
            ("hostname", hostname),
            ("path", self.path),
            ("query", self.query),
            ("opaque", self.opaque),
            ("fragment", self.fragment),
            ("userinfo", self.user),
        ];
        let entries: BTreeMap<Text, Value> =
            parts.into_iter().map(|(name, part)| (Text::from(name), Value::text(part))).collect();
        Value::dict(entries)
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if !self.scheme.is_empty() {
            text.extend_from_slice(&self.scheme);
            text.push(b':');
        }
        if !self.opaque.is_empty() {
            text.extend_from_slice(&self.opaque);
        } else {
            self.push_place(&mut text);
        }
        if !self.query.is_empty() {
            text.push(b'?');
            text.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            text.push(b'#');
            text.extend_from_slice(&escaped(&self.fragment, Part::Fragment));
        }
        text
    }

    /// The authority and the path.
    fn push_place(&self, text: &mut Vec<u8>) {
        let has_place = !self.host.is_empty() || !self.path.is_empty() || !self.user.is_empty();
        if has_place && (!self.scheme.is_empty() || !self.host.is_empty() || !self.user.is_empty()) {
            text.extend_from_slice(b"//");
            if !self.user.is_empty() {
                text.extend_from_slice(&self.user);
                text.push(b'@');
            }
            text.extend_from_slice(&escaped(&self.host, Part::Host));
        }
        let path = match &self.path[..] {
            b"*" => b"*".to_vec(),
            path => escaped(path, Part::Path),
        };
        if !path.is_empty() && !path.starts_with(b"/") && !self.host.is_empty() {
            text.push(b'/');
        }
        // Otherwise the first part would be read as a scheme.
        if text.is_empty() && cut(&path, b'/').0.contains(&b':') {
            text.extend_from_slice(b"./");
        }
        text.extend_from_slice(&path);
    }
}

fn join(call: &mut Call<'_>) -> Result<Value, Problem> {
    let map = call.map(0);
    let mut url = Url {
        scheme: entry(call, &map, "scheme")?,
        host: entry(call, &map, "host")?,
        path: entry(call, &map, "path")?,
        query: entry(call, &map, "query")?,
        opaque: entry(call, &map, "opaque")?,
        fragment: entry(call, &map, "fragment")?,
        user: Vec::new(),
    };
    let user = entry(call, &map, "userinfo")?;
    if !user.is_empty() {
        match Url::parse(&[b"proto://", &user[..], b"@host"].concat()) {
            Some(parsed) => url.user = parsed.user,
            None => return call.refuse("userinfo is not what a URL has before its host"),
        }
    }
    Ok(Value::text(url.text()))
}

fn entry(call: &Call<'_>, map: &Map, key: &str) -> Result<Vec<u8>, Problem> {
    match map.get(key.as_bytes()) {
        None => Ok(Vec::new()),
        Some(Value::Text(text)) => Ok(text.to_vec()),
        Some(other) => call.refuse(format!("{key} is a string, and not {}", other.kind_name())),
    }
}

fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == at) {
        Some(index) => (&text[..index], &text[index + 1..]),
        None => (text, b""),
    }
}

/// The scheme, if there is one, and what follows it; `None` if a colon comes first.
fn scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    for (index, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' => return (index > 0).then(|| (&text[..index], &text[index + 1..])),
            _ => break,
        }
    }
    Some((b"", text))
}

fn user(text: &[u8]) -> Option<Vec<u8>> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    if !text.iter().all(is_allowed) {
        return None;
    }
    let (name, password) = cut(text, b':');
    let mut user = escaped(&unescaped(name, Part::User)?, Part::User);
    if text.contains(&b':') {
        user.push(b':');
        user.extend_from_slice(&escaped(&unescaped(password, Part::User)?, Part::User));
    }
    Some(user)
}

fn host(text: &[u8], scheme: &[u8]) -> Option<Vec<u8>> {
    match text.iter().rposition(|byte| *byte == b'[') {
        Some(0) => return literal(text),
        Some(_) => return None,
        None => {}
    }
    if let Some(first) = text.iter().position(|byte| *byte == b':') {
        let last = text.iter().rposition(|byte| *byte == b':').unwrap_or(first);
        let port = if matches!(scheme, b"http" | b"https") { first } else { last };
        if !is_port(&text[port..]) {
            return None;
        }
    }
    unescaped(text, Part::Host)
}

/// `[::1]:80`.
fn literal(text: &[u8]) -> Option<Vec<u8>> {
    let close = text.iter().rposition(|byte| *byte == b']')?;
    let (inner, port) = (&text[1..close], &text[close + 1..]);
    if !is_port(port) {
        return None;
    }
    let zone = find(inner, b"%25").unwrap_or(inner.len());
    let mut name = unescaped(&inner[..zone], Part::Host)?;
    name.extend_from_slice(&unescaped(&inner[zone..], Part::Zone)?);
    let address = std::str::from_utf8(&name).ok()?;
    let (address, zone) = address.split_once('%').map_or((address, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().ok()?;
    if zone == Some("") {
        return None;
    }
    Some([b"[", &name[..], b"]", port].concat())
}

fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The host without its port, and without brackets.
fn hostname(host: &[u8]) -> Vec<u8> {
    if let [b'[', rest @ ..] = host
        && let Some(close) = rest.iter().position(|byte| *byte == b']')
    {
        return rest[..close].to_vec();
    }
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if is_port(&host[colon..]) => host[..colon].to_vec(),
        Some(_) | None => host.to_vec(),
    }
}

fn unescaped(text: &[u8], part: Part) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, part) {
            (b'%', _) => {
                let (code, after) = after.split_at_checked(2)?;
                let code = std::str::from_utf8(code).ok().filter(|code| !code.starts_with('+'))?;
                let code = u8::from_str_radix(code, 16).ok()?;
                let is_refused = match part {
                    Part::Host => code < 0x80 && code != b'%',
                    Part::Zone => code != b'%' && code != b' ' && is_escaped(code, Part::Host),
                    Part::Path | Part::User | Part::Fragment => false,
                };
                if is_refused {
                    return None;
                }
                plain.push(code);
                rest = after;
            }
            (byte, Part::Host | Part::Zone) if byte.is_ascii() && is_escaped(*byte, part) => return None,
            (byte, _) => plain.push(*byte),
        }
    }
    Some(plain)
}

fn escaped(text: &[u8], part: Part) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match is_escaped(*byte, part) {
            true => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            false => escaped.push(*byte),
        }
    }
    escaped
}

fn is_escaped(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return false;
    }
    let allowed: &[u8] = match part {
        Part::Host | Part::Zone => b"!$&'()*+,;=:[]<>\"",
        Part::Path => b"$&+,/:;=@",
        Part::User => b"$&+,;=",
        Part::Fragment => b"!$&()*+,/:;=?@",
    };
    !allowed.contains(&byte)
}
