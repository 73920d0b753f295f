//! The values of a template: Go's types, as far as a template can reach them. Texts are byte strings,
//! are shared and never copied, and are wiped when the last holder drops them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use zeroize::{Zeroize, Zeroizing};

/// A rendered text. It is wiped when dropped.
pub type Output = Zeroizing<Vec<u8>>;

/// Go's words for types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`.
    Any,
    /// A value of any type that is not looked at before the call, `reflect.Value`.
    Reflect,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `int64`.
    Int64,
    /// `uint8`.
    Uint8,
    /// `uint32`.
    Uint32,
    /// `uint64`.
    Uint64,
    /// `float64`.
    Float,
    /// `string`.
    Text,
    /// A slice.
    List(&'static Type),
    /// A map with string keys.
    Map(&'static Type),
    /// A type with methods or fields, by its name.
    Object(&'static str),
}

impl Type {
    /// `[]interface {}`.
    pub const ANY_LIST: Type = Type::List(&Type::Any);
    /// `[]string`.
    pub const TEXT_LIST: Type = Type::List(&Type::Text);
    /// `map[string]interface {}`.
    pub const DICT: Type = Type::Map(&Type::Any);
    /// `map[string]string`.
    pub const TEXT_MAP: Type = Type::Map(&Type::Text);

    /// Whether nil is a value of it.
    pub fn has_nil(self) -> bool {
        match self {
            Type::Any | Type::Reflect | Type::List(_) | Type::Map(_) => true,
            Type::Object(name) => name.starts_with('*'),
            Type::Bool
            | Type::Int
            | Type::Int64
            | Type::Uint8
            | Type::Uint32
            | Type::Uint64
            | Type::Float
            | Type::Text => false,
        }
    }

    /// Its value for nothing.
    pub fn zero(self) -> Value {
        match self {
            Type::Any | Type::Reflect | Type::Object(_) => Value::Nil,
            Type::Bool => Value::Bool(false),
            Type::Int | Type::Int64 => Value::Int(0, self),
            Type::Uint8 | Type::Uint32 | Type::Uint64 => Value::Uint(0, self),
            Type::Float => Value::Float(0.0),
            Type::Text => Value::Text(Text::default()),
            Type::List(element) => Value::List(List::nil(*element)),
            Type::Map(element) => Value::Map(Map::nil(*element)),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Any => f.write_str("interface {}"),
            Type::Reflect => f.write_str("reflect.Value"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Int64 => f.write_str("int64"),
            Type::Uint8 => f.write_str("uint8"),
            Type::Uint32 => f.write_str("uint32"),
            Type::Uint64 => f.write_str("uint64"),
            Type::Float => f.write_str("float64"),
            Type::Text => f.write_str("string"),
            Type::List(element) => write!(f, "[]{element}"),
            Type::Map(element) => write!(f, "map[string]{element}"),
            Type::Object(name) => f.write_str(name),
        }
    }
}

/// A value. It has no `Debug`: it may be a secret.
#[derive(Clone)]
pub enum Value {
    /// No value at all, or an untyped nil.
    Nil,
    /// A nil that came out of an `interface {}`: it is no nil map and no nil slice.
    NilInterface,
    /// `bool`.
    Bool(bool),
    /// A signed integer of this type.
    Int(i64, Type),
    /// An unsigned integer of this type.
    Uint(u64, Type),
    /// `float64`.
    Float(f64),
    /// `string`.
    Text(Text),
    /// A slice.
    List(List),
    /// A map.
    Map(Map),
    /// What has methods or fields.
    Object(Rc<dyn Object>),
}

/// A value with methods or fields.
pub trait Object {
    /// Go's word for its type.
    fn name(&self) -> &'static str;
    /// The method or field of this name, called with these arguments; `None` if there is none.
    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>>;
    /// As Go's `fmt` prints it with `%v`.
    fn print(&self) -> Vec<u8>;
    /// As itself, for functions that take it.
    fn as_any(&self) -> &dyn std::any::Any;
    /// As Go's `encoding/json` writes it.
    fn json(&self) -> Vec<u8>;
}

impl Value {
    /// An `int`.
    pub fn int(number: i64) -> Self {
        Value::Int(number, Type::Int)
    }

    /// An `int64`.
    pub fn int64(number: i64) -> Self {
        Value::Int(number, Type::Int64)
    }

    /// A text.
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Value::Text(Text::new(bytes.into()))
    }

    /// An `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(List::of(Type::Any, items))
    }

    /// A `[]string`.
    pub fn texts(texts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Value::List(List::of(Type::Text, texts.into_iter().map(Value::text).collect()))
    }

    /// A `map[string]interface {}`.
    pub fn dict(entries: BTreeMap<Text, Value>) -> Self {
        Value::Map(Map::of(Type::Any, entries))
    }

    /// Its type; `None` for nil.
    pub fn kind(&self) -> Option<Type> {
        Some(match self {
            Value::Nil | Value::NilInterface => return None,
            Value::Bool(_) => Type::Bool,
            Value::Int(_, kind) | Value::Uint(_, kind) => *kind,
            Value::Float(_) => Type::Float,
            Value::Text(_) => Type::Text,
            Value::List(list) => list.kind(),
            Value::Map(map) => map.kind(),
            Value::Object(object) => Type::Object(object.name()),
        })
    }

    /// Its type in words.
    pub fn kind_name(&self) -> String {
        self.kind().map_or_else(|| "nil".to_owned(), |kind| kind.to_string())
    }

    /// Whether it is a nil of any type.
    pub fn is_nil(&self) -> bool {
        match self {
            Value::Nil | Value::NilInterface => true,
            Value::List(list) => list.is_nil(),
            Value::Map(map) => map.is_nil(),
            Value::Bool(_) | Value::Int(..) | Value::Uint(..) | Value::Float(_) | Value::Text(_) | Value::Object(_) => {
                false
            }
        }
    }

    /// What `if` makes of it.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil | Value::NilInterface => false,
            Value::Bool(truth) => *truth,
            Value::Int(number, _) => *number != 0,
            Value::Uint(number, _) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => map.len() > 0,
            Value::Object(_) => true,
        }
    }

    /// The bytes of a text.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Bytes that a template may show, and nothing else may.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Rc<Wiped>);

#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Text {
    /// Takes these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Text(Rc::new(Wiped(bytes)))
    }
}

impl Default for Text {
    fn default() -> Self {
        Text::new(Vec::new())
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.0
    }
}

impl std::borrow::Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text::new(text.as_bytes().to_vec())
    }
}

/// A slice. Templates cannot change one, so it is shared.
#[derive(Clone)]
pub struct List {
    element: Type,
    items: Option<Rc<[Value]>>,
}

impl List {
    /// With these items.
    pub fn of(element: Type, items: Vec<Value>) -> Self {
        List { element, items: Some(items.into()) }
    }

    /// The nil of its type.
    pub fn nil(element: Type) -> Self {
        List { element, items: None }
    }

    /// Whether it is nil, not only empty.
    pub fn is_nil(&self) -> bool {
        self.items.is_none()
    }

    /// The type of its elements.
    pub fn element(&self) -> Type {
        self.element
    }

    fn kind(&self) -> Type {
        match self.element {
            Type::Any => Type::ANY_LIST,
            Type::Text => Type::TEXT_LIST,
            Type::Int => Type::List(&Type::Int),
            Type::List(_) => Type::List(&Type::ANY_LIST),
            Type::Map(_) => Type::List(&Type::DICT),
            // No function makes slices of anything else.
            _ => Type::ANY_LIST,
        }
    }
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        self.items.as_deref().unwrap_or_default()
    }
}

/// A map. Whoever holds it sees what functions such as `set` change.
#[derive(Clone)]
pub struct Map {
    element: Type,
    entries: Option<Rc<RefCell<BTreeMap<Text, Value>>>>,
}

impl Map {
    /// With these entries.
    pub fn of(element: Type, entries: BTreeMap<Text, Value>) -> Self {
        Map { element, entries: Some(Rc::new(RefCell::new(entries))) }
    }

    /// The nil of its type.
    pub fn nil(element: Type) -> Self {
        Map { element, entries: None }
    }

    /// Whether it is nil, not only empty.
    pub fn is_nil(&self) -> bool {
        self.entries.is_none()
    }

    /// The type of its elements.
    pub fn element(&self) -> Type {
        self.element
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.borrow().len())
    }

    /// The element at a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.entries.as_ref()?.borrow().get(key).cloned()
    }

    /// Its entries, in the order of the keys.
    pub fn entries(&self) -> BTreeMap<Text, Value> {
        self.entries.as_ref().map(|entries| entries.borrow().clone()).unwrap_or_default()
    }

    /// Its keys, in order.
    pub fn keys(&self) -> Vec<Text> {
        self.entries.as_ref().map(|entries| entries.borrow().keys().cloned().collect()).unwrap_or_default()
    }

    /// Sets an element; false for nil, which holds nothing.
    pub fn set(&self, key: Text, value: Value) -> bool {
        let Some(entries) = &self.entries else { return false };
        entries.borrow_mut().insert(key, value);
        true
    }

    /// Removes an element.
    pub fn remove(&self, key: &[u8]) {
        if let Some(entries) = &self.entries {
            entries.borrow_mut().remove(key);
        }
    }

    /// Whether both are one map.
    pub fn is(&self, other: &Map) -> bool {
        match (&self.entries, &other.entries) {
            (Some(one), Some(other)) => Rc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Drops its entries.
    pub fn clear(&self) {
        if let Some(entries) = &self.entries {
            let taken = std::mem::take(&mut *entries.borrow_mut());
            drop(taken);
        }
    }

    fn kind(&self) -> Type {
        match self.element {
            Type::Text => Type::TEXT_MAP,
            // No function makes maps of anything else.
            _ => Type::DICT,
        }
    }
}

/// The values that a template is rendered from, `.` at its top: a map of texts.
pub struct Data(Map);

impl Data {
    /// These values.
    pub fn of<'v>(values: impl IntoIterator<Item = (&'v str, &'v [u8])>) -> Self {
        let text = |(name, value): (&str, &[u8])| (Text::from(name), Value::text(value));
        Data(Map::of(Type::Text, values.into_iter().map(text).collect()))
    }

    pub(crate) fn root(&self) -> Value {
        Value::Map(self.0.clone())
    }
}
