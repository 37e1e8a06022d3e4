//! Iteration: over every kind of value, and the variable `loop`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::For;
use super::error::{fail, Kind, R};
use super::value::{Dict, Iter, Range, Seq, Source, Text, Value, ViewKind};
use super::vm::{Frame, Vm};

/// A source made of a function.
pub struct FromFn<F>(pub F);

impl<F: FnMut(&Vm) -> R<Option<Value>>> Source for FromFn<F> {
    fn next(&mut self, vm: &Vm) -> R<Option<Value>> {
        (self.0)(vm)
    }
}

struct Items(Rc<Seq>, usize);

impl Source for Items {
    fn next(&mut self, _: &Vm) -> R<Option<Value>> {
        self.1 += 1;
        Ok(self.0.items.get(self.1 - 1).cloned())
    }
}

/// Values that are used up from the front.
pub struct Owned(pub std::vec::IntoIter<Value>);

impl Source for Owned {
    fn next(&mut self, _: &Vm) -> R<Option<Value>> {
        Ok(self.0.next())
    }
}

/// The characters of a str; those of Markup are plain.
struct Chars(Text, usize);

impl Source for Chars {
    fn next(&mut self, _: &Vm) -> R<Option<Value>> {
        let Some(c) = self.0[self.1..].chars().next() else { return Ok(None) };
        let text = &self.0[self.1..self.1 + c.len_utf8()];
        self.1 += text.len();
        Ok(Some(Value::str(text)))
    }
}

struct Entries(Rc<Dict>, ViewKind, usize);

impl Source for Entries {
    fn next(&mut self, _: &Vm) -> R<Option<Value>> {
        self.2 += 1;
        Ok(self.0.item(self.1, self.2 - 1))
    }
}

struct Numbers(Range, usize);

impl Source for Numbers {
    fn next(&mut self, _: &Vm) -> R<Option<Value>> {
        let more = self.1 < self.0.len();
        self.1 += 1;
        Ok(more.then(|| Value::Int(self.0.at(self.1 - 1))))
    }
}

struct Shared(Rc<Iter>);

impl Source for Shared {
    fn next(&mut self, vm: &Vm) -> R<Option<Value>> {
        vm.guard()?;
        match self.0.source.try_borrow_mut() {
            Ok(mut source) => source.next(vm),
            Err(_) => fail(Kind::Value, "an iterator uses itself"),
        }
    }
}

struct Rounds(Rc<Loop>);

impl Source for Rounds {
    fn next(&mut self, vm: &Vm) -> R<Option<Value>> {
        match self.0.advance(vm)? {
            Some(item) => Value::tuple(vec![item, Value::Loop(self.0.clone())]).map(Some),
            None => Ok(None),
        }
    }
}

/// iter(value).
pub fn iterate(value: &Value) -> R<Box<dyn Source>> {
    Ok(match value {
        Value::Undefined(_) => Box::new(Owned(Vec::new().into_iter())),
        Value::List(seq) | Value::Tuple(seq) => Box::new(Items(seq.clone(), 0)),
        Value::Str(text) | Value::Markup(text) => Box::new(Chars(text.clone(), 0)),
        Value::Dict(dict) => Box::new(Entries(dict.clone(), ViewKind::Keys, 0)),
        Value::View(kind, dict) => Box::new(Entries(dict.clone(), *kind, 0)),
        Value::Range(range) => Box::new(Numbers(**range, 0)),
        Value::Iter(iter) => Box::new(Shared(iter.clone())),
        Value::Loop(state) => Box::new(Rounds(state.clone())),
        Value::Bytes(bytes) => {
            let numbers: Vec<Value> = bytes.iter().map(|b| Value::Int(i64::from(*b))).collect();
            Box::new(Owned(numbers.into_iter()))
        }
        _ => return fail(Kind::Type, format!("'{}' object is not iterable", value.type_name())),
    })
}

/// list(value).
pub fn collect(vm: &Vm, value: &Value) -> R<Vec<Value>> {
    if let Value::List(seq) | Value::Tuple(seq) = value {
        vm.charge_items(seq.items.len())?;
        return Ok(seq.items.clone());
    }
    let mut source = iterate(value)?;
    let mut items = Vec::new();
    while let Some(item) = source.next(vm)? {
        vm.step()?;
        items.push(item);
    }
    Ok(items)
}

/// len(value); None when the kind has no length.
pub fn length(vm: &Vm, value: &Value) -> R<Option<usize>> {
    Ok(Some(match value {
        Value::Undefined(_) => 0,
        Value::List(seq) | Value::Tuple(seq) => seq.items.len(),
        Value::Str(text) | Value::Markup(text) => {
            vm.charge(text.len())?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::Dict(dict) | Value::View(_, dict) => dict.len(),
        Value::Range(range) => range.len(),
        Value::Loop(state) => state.length(vm)?,
        _ => return Ok(None),
    }))
}

/// The variable `loop` of a for statement.
pub struct Loop {
    source: RefCell<Box<dyn Source>>,
    /// Of the whole iterable, once it is known.
    length: Cell<Option<usize>>,
    after: RefCell<Option<Value>>,
    current: RefCell<Option<Value>>,
    before: RefCell<Option<Value>>,
    changed: RefCell<Option<Vec<Value>>>,
    pub index0: Cell<i64>,
    /// Where a recursive loop begins again: its node, the frame around it.
    pub recurse: Option<(Arc<For>, Rc<Frame>)>,
    pub depth0: i64,
    /// How deep the values inside nest.
    pub depth: u16,
}

impl Loop {
    pub fn new(
        source: Box<dyn Source>,
        length: Option<usize>,
        depth: u16,
        recurse: Option<(Arc<For>, Rc<Frame>)>,
        depth0: i64,
    ) -> Loop {
        Loop {
            source: RefCell::new(source),
            length: Cell::new(length),
            after: RefCell::default(),
            current: RefCell::default(),
            before: RefCell::default(),
            changed: RefCell::default(),
            index0: Cell::new(-1),
            recurse,
            depth0,
            depth: depth.saturating_add(1),
        }
    }

    fn pull(&self, vm: &Vm) -> R<Option<Value>> {
        match self.source.try_borrow_mut() {
            Ok(mut source) => source.next(vm),
            Err(_) => fail(Kind::Value, "a loop advances itself"),
        }
    }

    /// The next item, which becomes the current one.
    pub fn advance(&self, vm: &Vm) -> R<Option<Value>> {
        let waiting = self.after.borrow_mut().take();
        let item = match waiting {
            Some(item) => item,
            None => match self.pull(vm)? {
                Some(item) => item,
                None => return Ok(None),
            },
        };
        self.index0.set(self.index0.get() + 1);
        let previous = self.current.replace(Some(item.clone()));
        self.before.replace(previous);
        Ok(Some(item))
    }

    pub fn length(&self, vm: &Vm) -> R<usize> {
        if let Some(length) = self.length.get() {
            return Ok(length);
        }
        let mut rest = Vec::new();
        while let Some(item) = self.pull(vm)? {
            vm.step()?;
            rest.push(item);
        }
        let waiting = usize::from(self.after.borrow().is_some());
        let length = rest.len() + (self.index0.get() + 1) as usize + waiting;
        self.source.replace(Box::new(Owned(rest.into_iter())));
        self.length.set(Some(length));
        Ok(length)
    }

    fn peek(&self, vm: &Vm) -> R<Option<Value>> {
        if self.after.borrow().is_none() {
            let next = self.pull(vm)?;
            self.after.replace(next);
        }
        Ok(self.after.borrow().clone())
    }

    /// True when the values are not those of the last call.
    pub fn changed(self: &Rc<Self>, vm: &Vm, values: Vec<Value>) -> R<bool> {
        let last = self.changed.borrow().clone();
        let same = match last {
            Some(last) => super::compare::all_equal(vm, &last, &values)?,
            None => {
                vm.keep_loop(self);
                false
            }
        };
        if !same {
            self.changed.replace(Some(values));
        }
        Ok(!same)
    }

    /// Lets go of values that might hold the loop.
    pub fn forget(&self) {
        self.changed.take();
        self.after.take();
        self.current.take();
        self.before.take();
        if let Ok(mut source) = self.source.try_borrow_mut() {
            *source = Box::new(Owned(Vec::new().into_iter()));
        }
    }

    pub fn attribute(self: &Rc<Self>, vm: &Vm, name: &str) -> R<Option<Value>> {
        let index0 = self.index0.get();
        Ok(Some(match name {
            "index0" => Value::Int(index0),
            "index" => Value::Int(index0 + 1),
            "first" => Value::Bool(index0 == 0),
            "last" => Value::Bool(self.peek(vm)?.is_none()),
            "length" => Value::Int(self.length(vm)? as i64),
            "revindex" => Value::Int(self.length(vm)? as i64 - index0),
            "revindex0" => Value::Int(self.length(vm)? as i64 - index0 - 1),
            "depth0" => Value::Int(self.depth0),
            "depth" => Value::Int(self.depth0 + 1),
            "previtem" => match self.before.borrow().clone().filter(|_| index0 != 0) {
                Some(item) => item,
                None => Value::hint("there is no previous item"),
            },
            "nextitem" => self.peek(vm)?.unwrap_or_else(|| Value::hint("there is no next item")),
            "cycle" => Value::method(Value::Loop(self.clone()), "cycle")?,
            "changed" => Value::method(Value::Loop(self.clone()), "changed")?,
            _ => return Ok(None),
        }))
    }
}
