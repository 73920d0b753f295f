//! Sprig's semantic versions, with the constraints of Masterminds' library: `~1.2`, `^1`, `1.x`,
//! `>=1 <2 || 3`, `1.2 - 1.4`. The `semver` crate knows another language of constraints.

use std::any::Any;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::LazyLock;

use regex::Regex;

use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::value::{Object, Type, Value};

const TEXT: Type = Type::Text;
const VERSION: &str =
    r"v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const PATTERN: &str = r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";

pub const FUNCTIONS: &[Function] = &[
    fixed("semver", &[TEXT], |call| {
        let version = Version::parse(&call.text(0));
        match version {
            Some(version) => Ok(Value::Object(Rc::new(version))),
            None => call.refuse("the text is no semantic version"),
        }
    }),
    fixed("semverCompare", &[TEXT, TEXT], compare),
];

fn compare(call: &mut Call<'_>) -> Result<Value, Problem> {
    let Some(constraints) = constraints(&call.text(0)) else {
        return call.refuse("the first argument is no constraint of versions");
    };
    match Version::parse(&call.text(1)) {
        Some(version) => Ok(Value::Bool(constraints.iter().any(|all| allow(all, &version)))),
        None => call.refuse("the text is no semantic version"),
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre: String,
    metadata: String,
    original: String,
}

impl Version {
    fn parse(text: &[u8]) -> Option<Self> {
        static FORM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("^{VERSION}$")).ok());
        let text = std::str::from_utf8(text).ok()?;
        let parts = FORM.as_ref()?.captures(text)?;
        let part = |index: usize| parts.get(index).map_or("", |part| part.as_str());
        let number = |index: usize| match part(index).trim_start_matches('.') {
            "" => Some(0),
            digits => digits.parse().ok(),
        };
        let has_leading_zero =
            |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|digit| digit.is_ascii_digit());
        let pre = part(5).to_owned();
        if pre.split('.').any(has_leading_zero) {
            return None;
        }
        Some(Version {
            numbers: [number(1)?, number(2)?, number(3)?],
            pre,
            metadata: part(8).to_owned(),
            original: text.to_owned(),
        })
    }

    fn compare(&self, other: &Version) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| compare_pre(&self.pre, &other.pre))
    }

    fn text(&self) -> String {
        let [major, minor, patch] = self.numbers;
        let pre = if self.pre.is_empty() { String::new() } else { format!("-{}", self.pre) };
        let metadata = if self.metadata.is_empty() { String::new() } else { format!("+{}", self.metadata) };
        format!("{major}.{minor}.{patch}{pre}{metadata}")
    }

    /// The next version; a leading `v` of the text stays.
    fn next(&self, numbers: [u64; 3]) -> Version {
        let mut next = Version { numbers, ..Version::default() };
        let prefix = if self.original.starts_with('v') { "v" } else { "" };
        next.original = format!("{prefix}{}", next.text());
        next
    }

    fn of(argument: &Value) -> Option<&Version> {
        match argument {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }
}

impl Object for Version {
    fn name(&self) -> &'static str {
        "*semver.Version"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        let [major, minor, patch] = self.numbers;
        let number = |number: u64| Value::Uint(number, Type::Uint64);
        let object = |version: Version| Value::Object(Rc::new(version));
        let value = match (name, arguments) {
            ("Major", []) => number(major),
            ("Minor", []) => number(minor),
            ("Patch", []) => number(patch),
            ("Prerelease", []) => Value::text(self.pre.clone()),
            ("Metadata", []) => Value::text(self.metadata.clone()),
            ("Original", []) => Value::text(self.original.clone()),
            ("String", []) => Value::text(self.text()),
            ("IncMajor", []) => object(self.next([major.wrapping_add(1), 0, 0])),
            ("IncMinor", []) => object(self.next([major, minor.wrapping_add(1), 0])),
            ("IncPatch", []) if !self.pre.is_empty() => object(self.next(self.numbers)),
            ("IncPatch", []) => object(self.next([major, minor, patch.wrapping_add(1)])),
            ("Compare" | "Equal" | "LessThan" | "GreaterThan", [other]) => match Version::of(other) {
                Some(other) => compared(name, self.compare(other)),
                None => return Some(Err("takes a version".to_owned())),
            },
            (
                "Major" | "Minor" | "Patch" | "Prerelease" | "Metadata" | "Original" | "String" | "IncMajor"
                | "IncMinor" | "IncPatch" | "Compare" | "Equal" | "LessThan" | "GreaterThan",
                _,
            ) => return Some(Err("takes another number of arguments".to_owned())),
            _ => return None,
        };
        Some(Ok(value))
    }

    fn print(&self) -> Vec<u8> {
        self.text().into_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn json(&self) -> Vec<u8> {
        format!("\"{}\"", self.text()).into_bytes()
    }
}

fn compared(method: &str, order: Ordering) -> Value {
    match method {
        "Equal" => Value::Bool(order == Ordering::Equal),
        "LessThan" => Value::Bool(order == Ordering::Less),
        "GreaterThan" => Value::Bool(order == Ordering::Greater),
        _compare => Value::int(order as i64),
    }
}

/// A version that is not yet released is before the one that is.
fn compare_pre(one: &str, other: &str) -> Ordering {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        let order = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (Some(one), Some(other)) => match (one.parse::<u64>(), other.parse::<u64>()) {
                (Ok(one), Ok(other)) => one.cmp(&other),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => one.cmp(other),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// One constraint: an operator and a version, of which numbers may be open.
struct Constraint {
    operator: String,
    version: Version,
    /// Some number is open.
    is_open: bool,
    is_minor_open: bool,
    is_patch_open: bool,
}

/// Of these, one group must allow a version with all its constraints.
fn constraints(text: &[u8]) -> Option<Vec<Vec<Constraint>>> {
    static RANGE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(&format!(r"\s*({PATTERN})\s+-\s+({PATTERN})\s*")).ok());
    static ALL: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let one = format!(r"\s*({OPERATORS})\s*({PATTERN})\s*");
        let more = format!(r"(?:\s+|,\s*)({OPERATORS})\s*({PATTERN})\s*");
        Regex::new(&format!("^({one})({more})*$")).ok()
    });
    static ONE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!(r"({OPERATORS})\s*({PATTERN})")).ok());
    let text = std::str::from_utf8(text).ok()?;
    let text = RANGE.as_ref()?.replace_all(text, ">= $1, <= $11 ");
    let group = |group: &str| {
        if !ALL.as_ref()?.is_match(group) {
            return None;
        }
        ONE.as_ref()?.find_iter(group).map(|one| Constraint::parse(one.as_str())).collect()
    };
    text.split("||").map(group).collect()
}

impl Constraint {
    fn parse(text: &str) -> Option<Self> {
        static FORM: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(&format!(r"^\s*({OPERATORS})\s*({PATTERN})\s*$")).ok());
        let parts = FORM.as_ref()?.captures(text)?;
        let part = |index: usize| parts.get(index).map_or("", |part| part.as_str());
        let is_open = |part: &str| matches!(part.trim_start_matches('.'), "" | "x" | "X" | "*");
        let (major, minor, patch, pre) = (part(3), part(4), part(5), part(6));
        let (version, is_minor_open, is_patch_open) = match () {
            () if is_open(major) => (format!("0.0.0{pre}"), false, false),
            () if is_open(minor) => (format!("{major}.0.0{pre}"), true, false),
            () if is_open(patch) => (format!("{major}{minor}.0{pre}"), false, true),
            () => (part(2).to_owned(), false, false),
        };
        let any_open = is_open(major) || is_open(minor) || is_open(patch);
        let version = Version::parse(version.as_bytes())?;
        Some(Constraint { operator: part(1).to_owned(), version, is_open: any_open, is_minor_open, is_patch_open })
    }

    fn allows(&self, version: &Version) -> bool {
        let order = version.compare(&self.version);
        let ([major, minor, patch], [wanted_major, wanted_minor, wanted_patch]) =
            (version.numbers, self.version.numbers);
        match self.operator.as_str() {
            "" | "=" if !self.is_open => order == Ordering::Equal,
            "" | "=" | "~" | "~>" => {
                let is_anything = self.version.numbers == [0; 3] && !self.is_minor_open && !self.is_patch_open;
                order != Ordering::Less
                    && (is_anything || major == wanted_major && (minor == wanted_minor || self.is_minor_open))
            }
            "!=" => self.differs(version),
            ">" if !self.is_open => order == Ordering::Greater,
            ">" => match (major.cmp(&wanted_major), self.is_minor_open, self.is_patch_open) {
                (Ordering::Greater, _, _) => true,
                (Ordering::Less, _, _) | (Ordering::Equal, true, _) => false,
                (Ordering::Equal, false, true) => minor > wanted_minor,
                (Ordering::Equal, false, false) => order == Ordering::Greater,
            },
            "<" => order == Ordering::Less,
            ">=" | "=>" => order != Ordering::Less,
            "<=" | "=<" if !self.is_open => order != Ordering::Greater,
            "<=" | "=<" => {
                major < wanted_major || major == wanted_major && (minor <= wanted_minor || self.is_minor_open)
            }
            // The first number that is not 0 stays.
            "^" if order == Ordering::Less => false,
            "^" if wanted_major > 0 || self.is_minor_open => major == wanted_major,
            "^" if major > 0 => false,
            "^" if wanted_minor > 0 || self.is_patch_open => minor == wanted_minor,
            "^" if minor > 0 => false,
            _caret => patch == wanted_patch,
        }
    }

    fn differs(&self, version: &Version) -> bool {
        let ([major, minor, patch], [wanted_major, wanted_minor, wanted_patch]) =
            (version.numbers, self.version.numbers);
        if !self.is_open {
            return version.compare(&self.version) != Ordering::Equal;
        }
        if major != wanted_major || minor != wanted_minor && !self.is_minor_open {
            return true;
        }
        if self.is_minor_open {
            return false;
        }
        if !self.is_patch_open {
            return patch != wanted_patch || version.compare(&self.version) != Ordering::Equal;
        }
        compare_pre(&version.pre, &self.version.pre) != Ordering::Equal
    }
}

/// A version that is not yet released fits only where a constraint names one.
fn allow(all: &[Constraint], version: &Version) -> bool {
    let names_pre = all.iter().any(|constraint| !constraint.version.pre.is_empty());
    (version.pre.is_empty() || names_pre) && all.iter().all(|constraint| constraint.allows(version))
}
