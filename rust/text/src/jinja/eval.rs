//! Evaluates expressions.

use std::rc::Rc;

use super::access;
use super::args::Args;
use super::ast::{self, Const, Expr, ExprKind};
use super::call::call;
use super::compare::compare;
use super::error::{fail, Error, Kind, R};
use super::filters;
use super::loops::collect;
use super::operators;
use super::tests;
use super::value::{Dict, Text, Value};
use super::vm::{Frame, Vm};

/// Adds the line where an error happened, unless it is known.
pub fn at_line(line: u32) -> impl Fn(Box<Error>) -> Box<Error> {
    move |mut error| {
        if error.line == 0 {
            error.line = line;
        }
        error
    }
}

fn constant(value: &Const) -> Value {
    match value {
        Const::None => Value::None,
        Const::Bool(value) => Value::Bool(*value),
        Const::Int(value) => Value::Int(*value),
        Const::Big(value) => Value::big(value.clone()),
        Const::Float(value) => Value::Float(*value),
        Const::Str(text) => Value::Str(text.clone()),
    }
}

/// What jinja2 works out when it compiles, if its operands allow it.
fn may_be_constant(kind: &ExprKind) -> bool {
    match kind {
        ExprKind::Name(_) | ExprKind::Call(..) => false,
        ExprKind::Filter(_, name, _) => {
            !matches!(&**name, "map" | "select" | "reject" | "selectattr" | "rejectattr" | "random")
        }
        _ => true,
    }
}

pub fn eval(vm: &Vm, expr: &Expr, frame: &Rc<Frame>) -> R<Value> {
    if vm.constant.get() && !may_be_constant(&expr.kind) {
        return fail(Kind::Runtime, "not a constant");
    }
    match &expr.kind {
        ExprKind::Const(value) => Ok(constant(value)),
        ExprKind::Name(name) => Ok(frame.get(name.slot, &name.name)),
        _ => {
            vm.step()?;
            vm.guard()?;
            match operation(vm, expr, frame) {
                Err(error) => as_constant(vm, expr, frame, error, false).map_err(at_line(expr.line)),
                value => value,
            }
        }
    }
}

/// jinja2 works constants out when it compiles, and there a slice that fails is undefined: the value of an expression
/// that has failed, if it is such a constant. `printed`: it may also be undefined itself.
fn as_constant(vm: &Vm, expr: &Expr, frame: &Rc<Frame>, error: Box<Error>, printed: bool) -> R<Value> {
    if !matches!(error.kind, Kind::Type | Kind::Lookup) || vm.constant.replace(true) {
        return Err(error);
    }
    let value = eval(vm, expr, frame);
    vm.constant.set(false);
    match value {
        Ok(value) if printed || !value.is_undefined() => Ok(value),
        _ => Err(error),
    }
}

/// Evaluates what is printed.
pub fn eval_printed(vm: &Vm, expr: &Expr, frame: &Rc<Frame>) -> R<Value> {
    match eval(vm, expr, frame) {
        Err(error) => as_constant(vm, expr, frame, error, true),
        value => value,
    }
}

fn operation(vm: &Vm, expr: &Expr, frame: &Rc<Frame>) -> R<Value> {
    match &expr.kind {
        ExprKind::Attr(object, name) => access::get_attribute(vm, &eval(vm, object, frame)?, name),
        ExprKind::Item(object, key) => {
            let object = eval(vm, object, frame)?;
            access::get_item(vm, &object, &eval(vm, key, frame)?)
        }
        ExprKind::Call(callee, given) => {
            let callee = eval(vm, callee, frame)?;
            call(vm, &callee, arguments(vm, given, frame)?)
        }
        ExprKind::Filter(Some(value), name, given) => {
            let value = eval(vm, value, frame)?;
            apply_filter(vm, name, &value, given, frame)
        }
        ExprKind::Test(value, name, given) => test(vm, value, name, given, frame),
        ExprKind::And(left, right) => {
            let left = eval(vm, left, frame)?;
            if left.truth(vm)? { eval(vm, right, frame) } else { Ok(left) }
        }
        ExprKind::Or(left, right) => {
            let left = eval(vm, left, frame)?;
            if left.truth(vm)? { Ok(left) } else { eval(vm, right, frame) }
        }
        ExprKind::Cond(test, then, otherwise) => match (eval(vm, test, frame)?.truth(vm)?, otherwise) {
            (true, _) => eval(vm, then, frame),
            (false, Some(otherwise)) => eval(vm, otherwise, frame),
            (false, None) => Ok(Value::hint("an inline if was false and has no else")),
        },
        ExprKind::Binary(op, left, right) => {
            let left = eval(vm, left, frame)?;
            operators::binary(vm, *op, &left, &eval(vm, right, frame)?)
        }
        ExprKind::Compare(first, rest) => comparison(vm, first, rest, frame),
        ExprKind::Not(value) => Ok(Value::Bool(!eval(vm, value, frame)?.truth(vm)?)),
        ExprKind::Neg(value) => operators::unary(vm, true, &eval(vm, value, frame)?),
        ExprKind::Pos(value) => operators::unary(vm, false, &eval(vm, value, frame)?),
        ExprKind::Concat(parts, escaped) => operators::concat(vm, &list(vm, parts, frame)?, *escaped),
        ExprKind::List(items) => Value::list(list(vm, items, frame)?),
        ExprKind::Tuple(items) => Value::tuple(list(vm, items, frame)?),
        ExprKind::Dict(pairs) => dict(vm, pairs, frame),
        ExprKind::Slice(object, bounds) => slice(vm, object, bounds, frame),
        ExprKind::Const(_) | ExprKind::Name(_) | ExprKind::NsRef(..) | ExprKind::Filter(None, ..) => {
            fail(Kind::Runtime, "an expression stands where it has no value")
        }
    }
}

fn list(vm: &Vm, items: &[Expr], frame: &Rc<Frame>) -> R<Vec<Value>> {
    items.iter().map(|item| eval(vm, item, frame)).collect()
}

fn dict(vm: &Vm, pairs: &[(Expr, Expr)], frame: &Rc<Frame>) -> R<Value> {
    let mut dict = Dict::new();
    for (key, value) in pairs {
        let key = eval(vm, key, frame)?;
        dict.insert(key, eval(vm, value, frame)?)?;
    }
    Ok(Value::dict(dict))
}

fn slice(vm: &Vm, object: &Expr, bounds: &[Option<Box<Expr>>; 3], frame: &Rc<Frame>) -> R<Value> {
    let object = eval(vm, object, frame)?;
    let mut values = [Value::None, Value::None, Value::None];
    for (value, bound) in values.iter_mut().zip(bounds) {
        if let Some(bound) = bound {
            *value = eval(vm, bound, frame)?;
        }
    }
    match access::slice(vm, &object, &values) {
        Err(error) if vm.constant.get() && matches!(error.kind, Kind::Type | Kind::Lookup) => {
            Ok(Value::hint("a constant cannot be sliced so"))
        }
        result => result,
    }
}

fn comparison(vm: &Vm, first: &Expr, rest: &[(ast::Compare, Expr)], frame: &Rc<Frame>) -> R<Value> {
    let mut left = eval(vm, first, frame)?;
    for (op, right) in rest {
        let right = eval(vm, right, frame)?;
        if !compare(vm, *op, &left, &right)? {
            return Ok(Value::Bool(false));
        }
        left = right;
    }
    Ok(Value::Bool(true))
}

fn test(vm: &Vm, value: &Expr, name: &Text, given: &ast::Args, frame: &Rc<Frame>) -> R<Value> {
    let value = eval(vm, value, frame)?;
    let args = arguments(vm, given, frame)?;
    tests::apply(vm, name, &value, args).map(Value::Bool)
}

/// Applies a filter to a value; used for filter and set blocks too.
pub fn apply_filter(vm: &Vm, name: &Text, value: &Value, given: &ast::Args, frame: &Rc<Frame>) -> R<Value> {
    if !filters::exists(name) {
        return fail(Kind::Runtime, format!("there is no filter '{name}'"));
    }
    let args = arguments(vm, given, frame)?;
    filters::apply(vm, name, value, args)
}

/// Applies the filters of a block to its text.
pub fn filter_text(vm: &Vm, filter: &Expr, text: &Value, frame: &Rc<Frame>) -> R<Value> {
    vm.guard()?;
    let ExprKind::Filter(inner, name, given) = &filter.kind else {
        return Ok(text.clone());
    };
    let value = match inner {
        Some(inner) => filter_text(vm, inner, text, frame)?,
        None => text.clone(),
    };
    apply_filter(vm, name, &value, given, frame).map_err(at_line(filter.line))
}

pub fn arguments(vm: &Vm, given: &ast::Args, frame: &Rc<Frame>) -> R<Args> {
    let mut args = Args::of(list(vm, &given.positional, frame)?);
    for (name, value) in &given.keyword {
        args.keyword.push((name.clone(), eval(vm, value, frame)?));
    }
    if let Some(star) = &given.star {
        args.positional.extend(collect(vm, &eval(vm, star, frame)?)?);
    }
    if let Some(star) = &given.star_star {
        let Value::Dict(dict) = eval(vm, star, frame)? else {
            return fail(Kind::Type, "what stands behind ** is no dict");
        };
        for (key, value) in dict.map.values() {
            let Some(name) = key.as_text() else { return fail(Kind::Type, "a key behind ** is not a str") };
            if args.keyword.iter().any(|(known, _)| known == name) {
                return fail(Kind::Type, format!("the argument '{name}' is given twice"));
            }
            args.keyword.push((name.clone(), value.clone()));
        }
    }
    Ok(args)
}
