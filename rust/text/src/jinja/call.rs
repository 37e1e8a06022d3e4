//! Calls: macros, loops, blocks and everything else that can be called.

use std::rc::Rc;

use super::args::Args;
use super::error::{fail, Kind, R};
use super::eval::eval;
use super::exec::{self, Flow};
use super::methods;
use super::value::{Dict, Macro, Undefined, Value};
use super::vm::{Frame, Vm};

pub fn call(vm: &Vm, callee: &Value, mut args: Args) -> R<Value> {
    vm.step()?;
    vm.guard()?;
    args.keyword.retain(|(name, _)| !matches!(&**name, "_loop_vars" | "_block_vars"));
    match callee {
        Value::Method(method) => methods::call(vm, method, args),
        Value::Function(function) => function.call(vm, args),
        Value::Macro(called) => call_macro(vm, called, args),
        Value::Loop(state) => {
            let iterable = args.bind("loop", ["iterable"], 1)?.value(0);
            let Some((node, frame)) = &state.recurse else {
                return fail(Kind::Type, "only a loop marked 'recursive' can be called");
            };
            let text = exec::recursive_loop(vm, node, frame, &iterable, state.depth0 + 1)?;
            Ok(text_value(vm, text))
        }
        Value::Joiner(joiner) => {
            args.none("joiner")?;
            Ok(if joiner.used.replace(true) { joiner.separator.clone() } else { Value::str("") })
        }
        Value::Block(Some(name)) => {
            args.none("block")?;
            let Some(block) = vm.template.blocks.iter().find(|block| block.name == *name).cloned() else {
                return fail(Kind::Runtime, "the block is missing");
            };
            let mut out = String::new();
            exec::block_body(vm, &block, &mut out)?;
            Ok(text_value(vm, out))
        }
        Value::Undefined(why) => fail(Kind::Undefined, why.message()),
        other => fail(Kind::Type, format!("a {} cannot be called", other.type_name())),
    }
}

/// A rendered text: Markup where autoescape is on.
pub fn text_value(vm: &Vm, text: String) -> Value {
    if vm.autoescape.get() { Value::Markup(text.into()) } else { Value::str(text) }
}

fn call_macro(vm: &Vm, called: &Rc<Macro>, args: Args) -> R<Value> {
    let frame = Frame::entered(vm, &called.node.layout, Some(&called.frame))?;
    bind(vm, called, &frame, args)?;
    let mut out = String::new();
    match exec::body(vm, &called.node.body, &frame, &mut out)? {
        Flow::Next | Flow::Break | Flow::Continue => Ok(text_value(vm, out)),
    }
}

/// Gives a macro's parameters their values.
fn bind(vm: &Vm, called: &Macro, frame: &Rc<Frame>, args: Args) -> R<()> {
    let node = &called.node;
    let name = node.name.as_deref().unwrap_or("caller");
    let Args { mut positional, mut keyword } = args;
    let more = positional.split_off(positional.len().min(node.params.len()));
    let given = positional.len();
    let mut take = |name: &str| {
        let at = keyword.iter().position(|(known, _)| &**known == name)?;
        Some(keyword.remove(at).1)
    };
    for (param, value) in node.params.iter().zip(positional) {
        frame.set(param.slot, value);
    }
    for param in &node.params[given..] {
        if let Some(value) = take(&param.name) {
            frame.set(param.slot, value);
        }
    }
    let own = node.params.iter().any(|param| &*param.name == "caller");
    if let Some(slot) = node.caller.filter(|_| !own) {
        let missing = || Value::hint("No caller defined");
        let caller = take("caller").filter(|value| !value.is_none()).unwrap_or_else(missing);
        frame.set(super::ast::Slot { up: 0, index: slot }, caller);
    }
    if let Some(slot) = node.kwargs {
        let mut dict = Dict::new();
        for (name, value) in std::mem::take(&mut keyword) {
            dict.insert(Value::Str(name), value)?;
        }
        frame.set(super::ast::Slot { up: 0, index: slot }, Value::dict(dict));
    } else if let Some((unknown, _)) = keyword.first() {
        return fail(Kind::Type, format!("the macro '{name}' takes no argument '{unknown}'"));
    }
    if let Some(slot) = node.varargs {
        frame.set(super::ast::Slot { up: 0, index: slot }, Value::tuple(more)?);
    } else if !more.is_empty() {
        return fail(Kind::Type, format!("the macro '{name}' takes at most {} arguments", node.params.len()));
    }
    let optional = node.params.len() - node.defaults.len();
    for (at, param) in node.params.iter().enumerate() {
        if frame.has(param.slot) {
            continue;
        }
        let value = match at.checked_sub(optional) {
            Some(default) => eval(vm, &node.defaults[default], frame)?,
            None => {
                let text = format!("parameter '{}' was not provided", param.name);
                Value::undefined(Undefined::Hint(text))
            }
        };
        frame.set(param.slot, value);
    }
    Ok(())
}
