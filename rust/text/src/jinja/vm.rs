//! One rendering: its bounds, the variables, and what it must take apart at the end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Layout, Load, Slot, Template};
use super::error::{fail, Kind, R};
use super::globals::Function;
use super::loops::Loop;
use super::value::{Dict, Namespace, Text, Undefined, Value};

/// Steps one rendering may take: long histories need about 1e5; 1e7 ends an endless loop within seconds.
const FUEL: u64 = 10_000_000;
/// Bytes that are made or read for the price of one step.
const BYTES_PER_STEP: usize = 128;
/// Bytes one text may have, and so what one rendering may produce.
pub const MAX_TEXT: usize = 64 << 20;
/// Bytes of the stack a rendering may take.
const MAX_STACK: usize = 400 << 10;

/// The variables of one body.
pub struct Frame {
    slots: RefCell<Vec<Option<Value>>>,
    parent: Option<Rc<Frame>>,
    kept: Cell<bool>,
}

pub struct Vm {
    pub template: Arc<Template>,
    pub autoescape: Cell<bool>,
    /// Only constants are evaluated, as jinja2 does when it compiles (eval_printed).
    pub constant: Cell<bool>,
    /// year, month 1..12, day, hour, minute, second, day of the year 1..366
    pub clock: [i32; 7],
    variables: Dict,
    /// Variables that blocks see: what the root assigns, and what scoped blocks bring along.
    pub exported: RefCell<Vec<HashMap<Text, Value>>>,
    fuel: Cell<u64>,
    stack: usize,
    seed: Cell<u64>,
    // Everything that could hold itself, directly or not; emptied at the end.
    frames: RefCell<Vec<Rc<Frame>>>,
    namespaces: RefCell<Vec<Rc<Namespace>>>,
    loops: RefCell<Vec<Rc<Loop>>>,
}

impl Drop for Vm {
    fn drop(&mut self) {
        for frame in self.frames.borrow().iter() {
            frame.clear();
        }
        for namespace in self.namespaces.borrow().iter() {
            let attributes = namespace.attributes.take();
            drop(attributes);
        }
        for state in self.loops.borrow().iter() {
            state.forget();
        }
    }
}

/// An address near the top of the stack.
#[inline(never)]
pub fn stack_address() -> usize {
    let here = 0u8;
    std::hint::black_box(&here) as *const u8 as usize
}

impl Vm {
    pub fn new(template: Arc<Template>, variables: Dict, clock: [i32; 7]) -> Vm {
        Vm {
            template,
            autoescape: Cell::new(false),
            constant: Cell::new(false),
            clock,
            variables,
            exported: RefCell::new(vec![HashMap::new()]),
            fuel: Cell::new(FUEL),
            stack: stack_address(),
            seed: Cell::new(0x9e37_79b9_7f4a_7c15),
            frames: RefCell::default(),
            namespaces: RefCell::default(),
            loops: RefCell::default(),
        }
    }

    fn spend(&self, steps: u64) -> R<()> {
        match self.fuel.get().checked_sub(steps) {
            Some(left) => {
                self.fuel.set(left);
                Ok(())
            }
            None => fail(
                Kind::Limit,
                format!("stopped after {FUEL} steps; the template loops endlessly or is far too large"),
            ),
        }
    }

    /// Accounts for one step.
    pub fn step(&self) -> R<()> {
        self.spend(1)
    }

    /// Accounts for bytes that are read or made; call it before making them.
    pub fn charge(&self, bytes: usize) -> R<()> {
        self.spend((bytes / BYTES_PER_STEP) as u64)
    }

    /// charge() for a text that is about to be made.
    pub fn charge_text(&self, bytes: usize) -> R<()> {
        if bytes > MAX_TEXT {
            return fail(Kind::Limit, format!("a text grew past {} MiB", MAX_TEXT >> 20));
        }
        self.charge(bytes)
    }

    /// charge() for a list that is about to be made.
    pub fn charge_items(&self, items: usize) -> R<()> {
        if items > MAX_TEXT / 8 {
            return fail(Kind::Limit, format!("a list grew past {} items", MAX_TEXT / 8));
        }
        self.charge(items * 24)
    }

    /// Refuses to go deeper when the stack is used up.
    pub fn guard(&self) -> R<()> {
        if self.stack.abs_diff(stack_address()) > MAX_STACK {
            return fail(Kind::Limit, "the recursion of macros, loops or values is too deep");
        }
        Ok(())
    }

    /// Appends to what is rendered.
    pub fn emit(&self, out: &mut String, text: &str) -> R<()> {
        if out.len() + text.len() > MAX_TEXT {
            return fail(Kind::Limit, format!("the prompt grew past {} MiB", MAX_TEXT >> 20));
        }
        self.charge(text.len())?;
        out.push_str(text);
        Ok(())
    }

    /// A number below `bound`, for the filter random and lipsum: the same ones in every rendering.
    pub fn random(&self, bound: usize) -> usize {
        let mut seed = self.seed.get();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.seed.set(seed);
        (seed % bound.max(1) as u64) as usize
    }

    pub fn namespace(&self, attributes: Vec<(Text, Value)>) -> Value {
        let namespace = Rc::new(Namespace { attributes: RefCell::new(attributes.into_iter().collect()) });
        self.namespaces.borrow_mut().push(namespace.clone());
        Value::Namespace(namespace)
    }

    /// Keeps a frame that a macro holds until the end.
    pub fn keep(&self, frame: &Rc<Frame>) {
        let mut next = Some(frame);
        while let Some(frame) = next.filter(|frame| !frame.kept.replace(true)) {
            self.frames.borrow_mut().push(frame.clone());
            next = frame.parent.as_ref();
        }
    }

    pub fn keep_loop(&self, state: &Rc<Loop>) {
        self.loops.borrow_mut().push(state.clone());
    }

    /// A variable of the context or a global; None when there is none.
    pub fn resolve(&self, name: &str) -> Option<Value> {
        for scope in self.exported.borrow().iter().rev() {
            if let Some(value) = scope.get(name) {
                return Some(value.clone());
            }
        }
        if let Some(value) = self.variables.get_str(name) {
            return Some(value.clone());
        }
        Function::global(name).map(Value::Function)
    }
}

impl Frame {
    pub fn new(layout: &Layout, parent: Option<&Rc<Frame>>) -> Rc<Frame> {
        let slots = RefCell::new(vec![None; layout.loads.len()]);
        Rc::new(Frame { slots, parent: parent.cloned(), kept: Cell::new(false) })
    }

    /// A new frame with its variables loaded.
    pub fn entered(vm: &Vm, layout: &Layout, parent: Option<&Rc<Frame>>) -> R<Rc<Frame>> {
        vm.charge(64 + layout.loads.len() * 24)?;
        let frame = Frame::new(layout, parent);
        frame.enter(vm, layout);
        Ok(frame)
    }

    /// Loads what is not a parameter.
    pub fn enter(&self, vm: &Vm, layout: &Layout) {
        for (index, (name, load)) in layout.loads.iter().enumerate() {
            let value = match load {
                Load::Parameter => continue,
                Load::Undefined => None,
                Load::Resolve => vm.resolve(name),
                Load::Alias(slot) => self.raw(*slot),
            };
            self.slots.borrow_mut()[index] = value;
        }
    }

    pub fn clear(&self) {
        let slots: Vec<Option<Value>> = self.slots.borrow_mut().iter_mut().map(Option::take).collect();
        drop(slots);
    }

    fn raw(&self, slot: Slot) -> Option<Value> {
        let mut frame = self;
        for _ in 0..slot.up {
            frame = frame.parent.as_deref()?;
        }
        frame.slots.borrow().get(slot.index as usize).cloned().flatten()
    }

    /// The variable, undefined when nothing has assigned it.
    pub fn get(&self, slot: Slot, name: &Text) -> Value {
        self.raw(slot).unwrap_or_else(|| Value::undefined(Undefined::Name(name.clone())))
    }

    pub fn has(&self, slot: Slot) -> bool {
        self.raw(slot).is_some()
    }

    pub fn set(&self, slot: Slot, value: Value) {
        let mut frame = self;
        for _ in 0..slot.up {
            match frame.parent.as_deref() {
                Some(parent) => frame = parent,
                None => return,
            }
        }
        let old = frame.slots.borrow_mut().get_mut(slot.index as usize).map(|place| place.replace(value));
        drop(old);
    }
}
