//! Executes statements.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::args::Args;
use super::ast::{self, Block, Escape, Expr, ExprKind, For, Layout, Name, Output, Slot, Stmt, StmtKind};
use super::call::{call, text_value};
use super::error::{fail, Kind, R};
use super::eval::{arguments, at_line, eval, eval_printed, filter_text};
use super::globals::check_attribute;
use super::html;
use super::loops::{collect, iterate, length, FromFn, Loop};
use super::repr::str_of;
use super::value::{Macro, Source, Value};
use super::vm::{Frame, Vm};

/// How a body ended.
#[derive(Clone, Copy, PartialEq)]
pub enum Flow {
    Next,
    Break,
    Continue,
}

/// Renders the template.
pub fn root(vm: &Vm) -> R<String> {
    let template = vm.template.clone();
    let frame = Frame::entered(vm, &template.layout, None)?;
    vm.keep(&frame);
    if let Some(index) = template.self_slot {
        frame.set(Slot { up: 0, index }, Value::Block(None));
    }
    let mut out = String::new();
    body(vm, &template.body, &frame, &mut out)?;
    Ok(out)
}

pub fn body(vm: &Vm, stmts: &[Stmt], frame: &Rc<Frame>, out: &mut String) -> R<Flow> {
    vm.guard()?;
    for stmt in stmts {
        vm.step()?;
        let flow = statement(vm, &stmt.kind, frame, out).map_err(at_line(stmt.line))?;
        if flow != Flow::Next {
            return Ok(flow);
        }
    }
    Ok(Flow::Next)
}

fn statement(vm: &Vm, kind: &StmtKind, frame: &Rc<Frame>, out: &mut String) -> R<Flow> {
    match kind {
        StmtKind::Output(parts, escape) => output(vm, parts, *escape, frame, out)?,
        StmtKind::If(branches, otherwise) => {
            for (test, inner) in branches {
                if eval(vm, test, frame)?.truth(vm)? {
                    return body(vm, inner, frame, out);
                }
            }
            return body(vm, otherwise, frame, out);
        }
        StmtKind::For(node) => return for_loop(vm, node, frame, out),
        StmtKind::Set { target, value, exported } => {
            check_references(target, frame)?;
            let value = eval(vm, value, frame)?;
            assign(vm, target, value, frame)?;
            export(vm, exported, frame);
        }
        StmtKind::SetBlock { target, filter, body: inner, layout, exported } => {
            check_references(target, frame)?;
            return set_block(vm, (target, filter.as_ref()), (inner, layout), exported, frame);
        }
        StmtKind::With { targets, values, body: inner, layout } => {
            let scope = Frame::entered(vm, layout, Some(frame))?;
            for (target, value) in targets.iter().zip(values) {
                let value = eval(vm, value, frame)?;
                assign(vm, target, value, &scope)?;
            }
            return body(vm, inner, &scope, out);
        }
        StmtKind::Autoescape { value, body: inner, layout } => {
            let scope = Frame::entered(vm, layout, Some(frame))?;
            return autoescape(vm, value, inner, &scope, out);
        }
        StmtKind::Macro { node, target, exported } => {
            frame.set(target.slot, macro_value(vm, node, frame));
            let names = if *exported { std::slice::from_ref(target) } else { &[] };
            export(vm, names, frame);
        }
        StmtKind::CallBlock { call: called, node } => call_block(vm, called, node, frame, out)?,
        StmtKind::Generation { node } => {
            let text = call(vm, &macro_value(vm, node, frame), Args::default())?;
            vm.emit(out, &str_of(vm, &text)?)?;
        }
        StmtKind::FilterBlock { filter, body: inner, layout } => {
            return filter_block(vm, filter, inner, layout, frame, out);
        }
        StmtKind::Block(block) => block_statement(vm, block, frame, out)?,
        StmtKind::Other(tag, exprs, _) => {
            for expr in exprs {
                eval(vm, expr, frame)?;
            }
            return fail(Kind::Type, format!("'{tag}' asks for another template; a chat template stands alone"));
        }
        StmtKind::Break => return Ok(Flow::Break),
        StmtKind::Continue => return Ok(Flow::Continue),
    }
    Ok(Flow::Next)
}

fn set_block(
    vm: &Vm,
    (target, filter): (&Expr, Option<&Expr>),
    (inner, layout): (&[Stmt], &Layout),
    exported: &[Name],
    frame: &Rc<Frame>,
) -> R<Flow> {
    let scope = Frame::entered(vm, layout, Some(frame))?;
    let mut text = String::new();
    let flow = body(vm, inner, &scope, &mut text)?;
    if flow != Flow::Next {
        return Ok(flow);
    }
    let mut value = text_value(vm, text);
    if let Some(filter) = filter {
        value = filter_text(vm, filter, &value, &scope)?;
        if vm.autoescape.get() {
            value = Value::Markup(str_of(vm, &value)?);
        }
    }
    assign(vm, target, value, frame)?;
    export(vm, exported, frame);
    Ok(Flow::Next)
}

fn autoescape(vm: &Vm, value: &Expr, inner: &[Stmt], scope: &Rc<Frame>, out: &mut String) -> R<Flow> {
    let on = eval(vm, value, scope)?.truth(vm)?;
    let before = vm.autoescape.replace(on);
    let flow = body(vm, inner, scope, out);
    vm.autoescape.set(before);
    flow
}

fn filter_block(
    vm: &Vm,
    filter: &Expr,
    inner: &[Stmt],
    layout: &Layout,
    frame: &Rc<Frame>,
    out: &mut String,
) -> R<Flow> {
    let scope = Frame::entered(vm, layout, Some(frame))?;
    let mut text = String::new();
    let flow = body(vm, inner, &scope, &mut text)?;
    if flow == Flow::Next {
        let filtered = filter_text(vm, filter, &text_value(vm, text), &scope)?;
        emit_raw(vm, &filtered, out)?;
    }
    Ok(flow)
}

fn output(vm: &Vm, parts: &[Output], escape: Escape, frame: &Rc<Frame>, out: &mut String) -> R<()> {
    for part in parts {
        match part {
            Output::Data(text) => vm.emit(out, text)?,
            Output::Expr(expr) => {
                let value = eval_printed(vm, expr, frame)?;
                let escaped = escape == Escape::On || (escape == Escape::Dynamic && vm.autoescape.get());
                let value = if escaped { html::escape_value(vm, &value)? } else { value };
                let text = str_of(vm, &value).map_err(at_line(expr.line))?;
                vm.emit(out, &text).map_err(at_line(expr.line))?;
            }
        }
    }
    Ok(())
}

/// What a filter or call block gives joins the text only as a str.
fn emit_raw(vm: &Vm, value: &Value, out: &mut String) -> R<()> {
    match value.as_text() {
        Some(text) => vm.emit(out, text),
        None => fail(Kind::Type, format!("a block gives a {}, not a text", value.type_name())),
    }
}

/// Attributes are assigned only on namespaces.
fn check_references(target: &Expr, frame: &Rc<Frame>) -> R<()> {
    match &target.kind {
        ExprKind::NsRef(name, _) => match frame.get(name.slot, &name.name) {
            Value::Namespace(_) => Ok(()),
            _ => fail(Kind::Runtime, format!("'{}' is no namespace, so its attributes cannot be set", name.name)),
        },
        ExprKind::Tuple(items) => items.iter().try_for_each(|item| check_references(item, frame)),
        _ => Ok(()),
    }
}

fn assign(vm: &Vm, target: &Expr, value: Value, frame: &Rc<Frame>) -> R<()> {
    match &target.kind {
        ExprKind::Name(name) => frame.set(name.slot, value),
        ExprKind::NsRef(name, attribute) => {
            let Value::Namespace(namespace) = frame.get(name.slot, &name.name) else {
                return fail(Kind::Runtime, format!("'{}' is no namespace", name.name));
            };
            check_attribute(attribute)?;
            let old = namespace.attributes.borrow_mut().insert(attribute.clone(), value);
            drop(old);
        }
        ExprKind::Tuple(targets) => {
            let values = collect(vm, &value)?;
            if values.len() != targets.len() {
                return fail(Kind::Value, format!("{} values cannot be unpacked to {} names", values.len(), targets.len()));
            }
            for (target, value) in targets.iter().zip(values) {
                assign(vm, target, value, frame)?;
            }
        }
        _ => return fail(Kind::Runtime, "only names can be assigned to"),
    }
    Ok(())
}

/// Lets blocks see what the root has assigned.
fn export(vm: &Vm, names: &[Name], frame: &Rc<Frame>) {
    if names.is_empty() || vm.template.blocks.is_empty() {
        return;
    }
    for name in names {
        let value = frame.get(name.slot, &name.name);
        let old = vm.exported.borrow_mut().first_mut().map(|scope| scope.insert(name.name.clone(), value));
        drop(old);
    }
}

fn macro_value(vm: &Vm, node: &Arc<ast::Macro>, frame: &Rc<Frame>) -> Value {
    vm.keep(frame);
    Value::Macro(Rc::new(Macro { node: node.clone(), frame: frame.clone() }))
}

fn call_block(vm: &Vm, called: &Expr, node: &Arc<ast::Macro>, frame: &Rc<Frame>, out: &mut String) -> R<()> {
    let caller = macro_value(vm, node, frame);
    let ExprKind::Call(callee, given) = &called.kind else {
        return fail(Kind::Type, "a call block needs a call");
    };
    let callee = eval(vm, callee, frame)?;
    let mut args = arguments(vm, given, frame)?;
    if args.keyword.iter().any(|(name, _)| &**name == "caller") {
        return fail(Kind::Type, "a call block gives 'caller' itself");
    }
    args.keyword.push(("caller".into(), caller));
    let text = call(vm, &callee, args).map_err(at_line(called.line))?;
    emit_raw(vm, &text, out)
}

fn block_statement(vm: &Vm, block: &Block, frame: &Rc<Frame>, out: &mut String) -> R<()> {
    if block.required {
        return fail(Kind::Runtime, format!("the required block '{}' is not there", block.name));
    }
    if !block.scoped {
        return block_body(vm, block, out);
    }
    let mut visible = HashMap::new();
    for name in block.visible.iter().filter(|name| frame.has(name.slot)) {
        visible.insert(name.name.clone(), frame.get(name.slot, &name.name));
    }
    vm.exported.borrow_mut().push(visible);
    let result = block_body(vm, block, out);
    let gone = vm.exported.borrow_mut().pop();
    drop(gone);
    result
}

/// Renders a block's body in a frame of its own.
pub fn block_body(vm: &Vm, block: &Block, out: &mut String) -> R<()> {
    let frame = Frame::entered(vm, &block.layout, None)?;
    if let Some(index) = block.self_slot {
        frame.set(Slot { up: 0, index }, Value::Block(None));
    }
    if let Some(index) = block.super_slot {
        let missing = Value::hint(format!("there is no parent block called '{}'.", block.name));
        frame.set(Slot { up: 0, index }, missing);
    }
    body(vm, &block.body, &frame, out)?;
    Ok(())
}

fn for_loop(vm: &Vm, node: &Arc<For>, frame: &Rc<Frame>, out: &mut String) -> R<Flow> {
    let iterable = eval(vm, &node.iter, frame)?;
    if node.recursive {
        let text = recursive_loop(vm, node, frame, &iterable, 0)?;
        vm.emit(out, &text)?;
        return Ok(Flow::Next);
    }
    run_loop(vm, node, frame, &iterable, 0, out)
}

/// A recursive loop over `iterable`, rendered for itself.
pub fn recursive_loop(vm: &Vm, node: &Arc<For>, frame: &Rc<Frame>, iterable: &Value, depth0: i64) -> R<String> {
    vm.guard()?;
    let mut out = String::new();
    run_loop(vm, node, frame, iterable, depth0, &mut out)?;
    Ok(out)
}

/// The items that pass the loop's condition, tested as they are asked for.
fn filtered(vm: &Vm, node: &Arc<For>, frame: &Rc<Frame>, mut source: Box<dyn Source>) -> R<Box<dyn Source>> {
    let node = node.clone();
    let scope = Frame::entered(vm, &node.test_layout, Some(frame))?;
    Ok(Box::new(FromFn(move |vm: &Vm| {
        let Some(test) = &node.test else { return Ok(None) };
        while let Some(item) = source.next(vm)? {
            vm.step()?;
            assign(vm, &node.target, item.clone(), &scope)?;
            if eval(vm, test, &scope)?.truth(vm)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    })))
}

fn run_loop(
    vm: &Vm,
    node: &Arc<For>,
    frame: &Rc<Frame>,
    iterable: &Value,
    depth0: i64,
    out: &mut String,
) -> R<Flow> {
    let mut source = iterate(iterable)?;
    if node.test.is_some() {
        source = filtered(vm, node, frame, source)?;
    }
    let scope = Frame::entered(vm, &node.body_layout, Some(frame))?;
    let mut state = None;
    if let Some(index) = node.loop_slot {
        let length = if node.test.is_some() { None } else { length(vm, iterable)? };
        let recurse = node.recursive.then(|| (node.clone(), frame.clone()));
        let empty = Box::new(FromFn(|_: &Vm| Ok(None)));
        let source = std::mem::replace(&mut source, empty);
        let made = Rc::new(Loop::new(source, length, iterable.depth(), recurse, depth0));
        state = Some((made, Slot { up: 0, index }));
    }
    let mut empty = true;
    loop {
        vm.step()?;
        let next = match &state {
            Some((state, _)) => state.advance(vm)?,
            None => source.next(vm)?,
        };
        let Some(item) = next else { break };
        empty = false;
        scope.enter(vm, &node.body_layout);
        assign(vm, &node.target, item, &scope)?;
        if let Some((state, slot)) = &state {
            scope.set(*slot, Value::Loop(state.clone()));
        }
        if body(vm, &node.body, &scope, out)? == Flow::Break {
            break;
        }
    }
    scope.clear();
    if empty && !node.otherwise.is_empty() {
        let scope = Frame::entered(vm, &node.else_layout, Some(frame))?;
        return body(vm, &node.otherwise, &scope, out);
    }
    Ok(Flow::Next)
}
