//! The values of templates, as Python has them: immutable but for namespaces, cyclers, joiners and iterators.

use indexmap::{Equivalent, IndexMap};
use num_bigint::BigInt;
use num_traits::ToPrimitive;
use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::Macro as MacroNode;
use super::error::{fail, Kind, R};
use super::globals::Function;
use super::loops::Loop;
use super::vm::{Frame, Vm};

pub type Text = Arc<str>;

/// Containers nest at most so deep, so that no walk over a value exhausts the stack.
const MAX_DEPTH: u16 = 200;

#[derive(Clone)]
pub enum Value {
    Undefined(Rc<Undefined>),
    None,
    Bool(bool),
    Int(i64),
    /// Only what does not fit Int.
    Big(Rc<BigInt>),
    Float(f64),
    Str(Text),
    /// A str that is marked safe for HTML.
    Markup(Text),
    Bytes(Rc<Vec<u8>>),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    Dict(Rc<Dict>),
    Range(Rc<Range>),
    View(ViewKind, Rc<Dict>),
    Iter(Rc<Iter>),
    Namespace(Rc<Namespace>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
    Macro(Rc<Macro>),
    Loop(Rc<Loop>),
    Method(Rc<Method>),
    Function(Function),
    /// `self`, and one block of it: None is `self`.
    Block(Option<Text>),
}

/// Why a value is undefined; what is printed is empty.
pub enum Undefined {
    Hint(String),
    Name(Text),
    Attribute(&'static str, Text),
    Element(&'static str, String),
    Unsafe(&'static str, Text),
}

pub struct Seq {
    pub items: Vec<Value>,
    depth: u16,
    /// What groupby yields: a tuple with the attributes `grouper` and `list`.
    pub group: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    Keys,
    Values,
    Items,
}

#[derive(Clone, Copy)]
pub struct Range {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
}

impl Range {
    pub fn len(&self) -> usize {
        let (low, high) = if self.step > 0 { (self.start, self.stop) } else { (self.stop, self.start) };
        let span = i128::from(high) - i128::from(low);
        let step = i128::from(self.step).abs();
        if span <= 0 { 0 } else { ((span + step - 1) / step).min(i128::from(u32::MAX)) as usize }
    }

    pub fn at(&self, index: usize) -> i64 {
        self.start.wrapping_add(self.step.wrapping_mul(index as i64))
    }
}

/// Gives the items of an iteration one by one.
pub trait Source {
    fn next(&mut self, vm: &Vm) -> R<Option<Value>>;
}

/// A Python iterator: used up once. `name` is its type, a blank, and the rest of its repr.
pub struct Iter {
    pub name: &'static str,
    pub source: RefCell<Box<dyn Source>>,
    depth: u16,
}

pub struct Namespace {
    pub attributes: RefCell<IndexMap<Text, Value>>,
}

pub struct Cycler {
    pub items: Rc<Seq>,
    pub position: Cell<usize>,
}

pub struct Joiner {
    pub separator: Value,
    pub used: Cell<bool>,
}

pub struct Macro {
    pub node: Arc<MacroNode>,
    pub frame: Rc<Frame>,
}

pub struct Method {
    pub object: Value,
    pub name: &'static str,
}

/// What a dict compares keys by; equal Python values give equal keys.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    None,
    Undefined,
    Int(i64),
    Big(BigInt),
    Float(u64),
    Str(Text),
    Bytes(Vec<u8>),
    Tuple(Vec<Key>),
    Object(usize),
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::None => 0u8.hash(state),
            Key::Undefined => 1u8.hash(state),
            Key::Int(n) => n.hash(state),
            Key::Big(n) => n.hash(state),
            Key::Float(bits) => bits.hash(state),
            Key::Str(text) => text.hash(state),
            Key::Bytes(bytes) => bytes.hash(state),
            Key::Tuple(keys) => keys.hash(state),
            Key::Object(address) => address.hash(state),
        }
    }
}

/// A str key that is only borrowed.
#[derive(Hash)]
pub struct StrKey<'a>(pub &'a str);

impl Equivalent<Key> for StrKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(key, Key::Str(text) if **text == *self.0)
    }
}

#[derive(Default)]
pub struct Dict {
    pub map: IndexMap<Key, (Value, Value)>,
    depth: u16,
}

impl Dict {
    pub fn new() -> Dict {
        Dict::default()
    }

    pub fn insert(&mut self, key: Value, value: Value) -> R<()> {
        let hashed = key.key()?;
        self.depth = self.depth.max(nested(key.depth().max(value.depth()))?);
        match self.map.get_mut(&hashed) {
            Some(entry) => entry.1 = value, // the first key stays
            None => {
                self.map.insert(hashed, (key, value));
            }
        }
        Ok(())
    }

    pub fn get(&self, key: &Value) -> R<Option<&Value>> {
        if let Value::Str(text) | Value::Markup(text) = key {
            return Ok(self.get_str(text));
        }
        Ok(self.map.get(&key.key()?).map(|entry| &entry.1))
    }

    pub fn get_str(&self, key: &str) -> Option<&Value> {
        self.map.get(&StrKey(key)).map(|entry| &entry.1)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn item(&self, kind: ViewKind, index: usize) -> Option<Value> {
        let (key, value) = self.map.get_index(index)?.1;
        Some(match kind {
            ViewKind::Keys => key.clone(),
            ViewKind::Values => value.clone(),
            // The pair is at most as deep as the dict itself.
            ViewKind::Items => Value::Tuple(Rc::new(Seq {
                items: vec![key.clone(), value.clone()],
                depth: self.depth,
                group: false,
            })),
        })
    }
}

fn nested(depth: u16) -> R<u16> {
    if depth >= MAX_DEPTH {
        return fail(Kind::Limit, format!("a value is nested deeper than {MAX_DEPTH} levels"));
    }
    Ok(depth + 1)
}

fn seq(items: Vec<Value>, group: bool) -> R<Rc<Seq>> {
    let depth = nested(items.iter().map(Value::depth).max().unwrap_or(0))?;
    Ok(Rc::new(Seq { items, depth, group }))
}

impl Value {
    pub fn str(text: impl Into<Text>) -> Value {
        Value::Str(text.into())
    }

    /// A str, or Markup where `like` is one.
    pub fn str_like(like: &Value, text: impl Into<Text>) -> Value {
        if matches!(like, Value::Markup(_)) { Value::Markup(text.into()) } else { Value::Str(text.into()) }
    }

    pub fn list(items: Vec<Value>) -> R<Value> {
        Ok(Value::List(seq(items, false)?))
    }

    pub fn tuple(items: Vec<Value>) -> R<Value> {
        Ok(Value::Tuple(seq(items, false)?))
    }

    pub fn group(key: Value, items: Vec<Value>) -> R<Value> {
        Ok(Value::Tuple(seq(vec![key, Value::list(items)?], true)?))
    }

    pub fn cycler(items: Vec<Value>) -> R<Value> {
        Ok(Value::Cycler(Rc::new(Cycler { items: seq(items, false)?, position: Cell::new(0) })))
    }

    pub fn dict(dict: Dict) -> Value {
        Value::Dict(Rc::new(dict))
    }

    /// An iterator that keeps `held` alive.
    pub fn iter(name: &'static str, held: &[&Value], source: impl Source + 'static) -> R<Value> {
        let depth = nested(held.iter().map(|v| v.depth()).max().unwrap_or(0))?;
        Ok(Value::Iter(Rc::new(Iter { name, source: RefCell::new(Box::new(source)), depth })))
    }

    pub fn method(object: Value, name: &'static str) -> R<Value> {
        nested(object.depth())?;
        Ok(Value::Method(Rc::new(Method { object, name })))
    }

    pub fn big(value: BigInt) -> Value {
        match value.to_i64() {
            Some(small) => Value::Int(small),
            None => Value::Big(Rc::new(value)),
        }
    }

    pub fn undefined(why: Undefined) -> Value {
        Value::Undefined(Rc::new(why))
    }

    pub fn hint(text: impl Into<String>) -> Value {
        Value::undefined(Undefined::Hint(text.into()))
    }

    pub fn depth(&self) -> u16 {
        match self {
            Value::List(seq) | Value::Tuple(seq) => seq.depth,
            Value::Dict(dict) | Value::View(_, dict) => dict.depth,
            Value::Iter(iter) => iter.depth,
            Value::Cycler(cycler) => cycler.items.depth,
            Value::Joiner(joiner) => joiner.separator.depth().saturating_add(1),
            Value::Method(method) => method.object.depth().saturating_add(1),
            Value::Loop(state) => state.depth,
            _ => 0,
        }
    }

    /// The text of a str or Markup.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Value::Str(text) | Value::Markup(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Value::None)
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// bool(value).
    pub fn truth(&self, vm: &Vm) -> R<bool> {
        Ok(match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(text) | Value::Markup(text) => !text.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(seq) | Value::Tuple(seq) => !seq.items.is_empty(),
            Value::Dict(dict) | Value::View(_, dict) => dict.len() > 0,
            Value::Range(range) => range.len() > 0,
            Value::Loop(state) => state.length(vm)? > 0,
            _ => true,
        })
    }

    /// type(value).__name__.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Markup(_) => "Markup",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Range(_) => "range",
            Value::View(ViewKind::Keys, _) => "dict_keys",
            Value::View(ViewKind::Values, _) => "dict_values",
            Value::View(ViewKind::Items, _) => "dict_items",
            Value::Iter(iter) => iter.name.split(' ').next().unwrap_or(iter.name),
            Value::Namespace(_) => "Namespace",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
            Value::Macro(_) => "Macro",
            Value::Loop(_) => "LoopContext",
            Value::Method(_) => "method",
            Value::Function(_) => "function",
            Value::Block(_) => "TemplateReference",
        }
    }

    /// Where an object lives, for those that are equal only to themselves.
    pub fn address(&self) -> usize {
        match self {
            Value::Undefined(x) => Rc::as_ptr(x) as usize,
            Value::List(x) | Value::Tuple(x) => Rc::as_ptr(x) as usize,
            Value::Dict(x) => Rc::as_ptr(x) as usize,
            Value::Range(x) => Rc::as_ptr(x) as usize,
            Value::Iter(x) => Rc::as_ptr(x) as usize,
            Value::Namespace(x) => Rc::as_ptr(x) as usize,
            Value::Cycler(x) => Rc::as_ptr(x) as usize,
            Value::Joiner(x) => Rc::as_ptr(x) as usize,
            Value::Macro(x) => Rc::as_ptr(x) as usize,
            Value::Loop(x) => Rc::as_ptr(x) as usize,
            Value::Method(x) => Rc::as_ptr(x) as usize,
            Value::View(_, x) => Rc::as_ptr(x) as usize,
            Value::Function(function) => *function as usize + 1,
            _ => 0,
        }
    }

    /// hash(value), as the key of a dict; a type error for what cannot be hashed.
    pub fn key(&self) -> R<Key> {
        Ok(match self {
            Value::None => Key::None,
            Value::Undefined(_) => Key::Undefined,
            Value::Bool(value) => Key::Int(i64::from(*value)),
            Value::Int(value) => Key::Int(*value),
            Value::Big(value) => Key::Big((**value).clone()),
            Value::Float(value) => super::number::float_key(*value),
            Value::Str(text) | Value::Markup(text) => Key::Str(text.clone()),
            Value::Bytes(bytes) => Key::Bytes((**bytes).clone()),
            Value::Tuple(seq) => Key::Tuple(seq.items.iter().map(Value::key).collect::<R<_>>()?),
            Value::Range(range) if range.len() == 0 => Key::Tuple(vec![Key::Object(2)]),
            Value::Range(range) => {
                let numbers = [range.len() as i64, range.start, if range.len() > 1 { range.step } else { 0 }];
                Key::Tuple(std::iter::once(Key::Object(2)).chain(numbers.map(Key::Int)).collect())
            }
            Value::List(_) | Value::Dict(_) | Value::View(ViewKind::Keys | ViewKind::Items, _) => {
                return fail(Kind::Type, format!("unhashable type: '{}'", self.type_name()))
            }
            other => Key::Object(other.address()),
        })
    }
}

impl Undefined {
    pub fn message(&self) -> String {
        match self {
            Undefined::Hint(text) => text.clone(),
            Undefined::Name(name) => format!("'{name}' is undefined"),
            Undefined::Attribute(kind, name) => format!("'{kind} object' has no attribute '{name}'"),
            Undefined::Element(kind, name) => format!("{kind} object has no element {name}"),
            Undefined::Unsafe(kind, name) => format!("attribute '{name}' of a {kind} is not for templates"),
        }
    }
}
