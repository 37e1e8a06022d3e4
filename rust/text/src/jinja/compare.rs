//! Equality, order and membership as Python has them.

use std::cmp::Ordering;

use super::ast::Compare;
use super::error::{fail, Kind, R};
use super::loops::{collect, iterate};
use super::number::{self, Number};
use super::value::{Dict, Value, ViewKind};
use super::vm::Vm;

/// a is b, as far as templates can tell.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Str(a), Value::Str(b)) => std::sync::Arc::ptr_eq(a, b) || (a == b && a.chars().nth(1).is_none()),
        (Value::Markup(a), Value::Markup(b)) => std::sync::Arc::ptr_eq(a, b),
        (Value::Big(a), Value::Big(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::View(..), Value::View(..)) => false, // made anew by each call
        _ => {
            std::mem::discriminant(a) == std::mem::discriminant(b) && a.address() != 0 && a.address() == b.address()
        }
    }
}

fn dicts_equal(vm: &Vm, a: &Dict, b: &Dict) -> R<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, (_, value)) in &a.map {
        match b.map.get(key) {
            Some((_, other)) if equal(vm, value, other)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

pub fn all_equal(vm: &Vm, a: &[Value], b: &[Value]) -> R<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !same(a, b) && !equal(vm, a, b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// a == b.
pub fn equal(vm: &Vm, a: &Value, b: &Value) -> R<bool> {
    if let (Some(a), Some(b)) = (a.as_text(), b.as_text()) {
        vm.charge(a.len().min(b.len()))?;
        return Ok(a == b);
    }
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => return Ok(a == b),
        (Value::Undefined(_), Value::Undefined(_)) => return Ok(true),
        (Value::Bytes(a), Value::Bytes(b)) => return Ok(a == b),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            vm.step()?;
            vm.guard()?;
            return all_equal(vm, &a.items, &b.items);
        }
        (Value::Dict(a), Value::Dict(b)) => {
            vm.step()?;
            vm.guard()?;
            return dicts_equal(vm, a, b);
        }
        (Value::Range(_), Value::Range(_)) => return Ok(a.key()? == b.key()?),
        (Value::View(x, p), Value::View(y, q)) if *x != ViewKind::Values && *y != ViewKind::Values => {
            if p.len() != q.len() {
                return Ok(false);
            }
            return view_contains_all(vm, a, b);
        }
        (Value::Method(x), Value::Method(y)) => return Ok(x.name == y.name && same(&x.object, &y.object)),
        _ => {}
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(number::compare(&a, &b) == Some(Ordering::Equal));
    }
    Ok(same(a, b))
}

fn view_contains_all(vm: &Vm, view: &Value, other: &Value) -> R<bool> {
    for item in collect(vm, view)? {
        if !contains(vm, other, &item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two values that have one; None for NaN.
fn order(vm: &Vm, a: &Value, b: &Value) -> R<Option<Ordering>> {
    if let (Some(a), Some(b)) = (a.as_text(), b.as_text()) {
        vm.charge(a.len().min(b.len()))?;
        return Ok(Some(a.cmp(b))); // UTF-8 sorts as code points do
    }
    match (a, b) {
        (Value::Bytes(a), Value::Bytes(b)) => return Ok(Some(a.cmp(b))),
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            vm.step()?;
            vm.guard()?;
            for (a, b) in x.items.iter().zip(&y.items) {
                if !same(a, b) && !equal(vm, a, b)? {
                    return order(vm, a, b);
                }
            }
            return Ok(Some(x.items.len().cmp(&y.items.len())));
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(number::compare(&a, &b));
    }
    for value in [a, b] {
        if let Value::Undefined(why) = value {
            return fail(Kind::Undefined, why.message());
        }
    }
    fail(Kind::Type, format!("'{}' and '{}' have no order", a.type_name(), b.type_name()))
}

/// a < b.
pub fn less(vm: &Vm, a: &Value, b: &Value) -> R<bool> {
    Ok(order(vm, a, b)? == Some(Ordering::Less))
}

pub fn compare(vm: &Vm, op: Compare, a: &Value, b: &Value) -> R<bool> {
    match op {
        Compare::Eq => return equal(vm, a, b),
        Compare::Ne => return Ok(!equal(vm, a, b)?),
        Compare::In => return contains(vm, b, a),
        Compare::NotIn => return Ok(!contains(vm, b, a)?),
        _ => {}
    }
    if let (Value::View(x, p), Value::View(y, q)) = (a, b) {
        if *x != ViewKind::Values && *y != ViewKind::Values {
            return compare_views(vm, op, (a, p.len()), (b, q.len()));
        }
    }
    let order = order(vm, a, b)?;
    Ok(order.is_some_and(|order| match op {
        Compare::Lt => order.is_lt(),
        Compare::Le => order.is_le(),
        Compare::Gt => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// Views of dicts compare as sets.
fn compare_views(vm: &Vm, op: Compare, a: (&Value, usize), b: (&Value, usize)) -> R<bool> {
    let (small, large) = if matches!(op, Compare::Lt | Compare::Le) { (a, b) } else { (b, a) };
    let strict = matches!(op, Compare::Lt | Compare::Gt);
    let fits = if strict { small.1 < large.1 } else { small.1 <= large.1 };
    Ok(fits && view_contains_all(vm, small.0, large.0)?)
}

/// item in container.
pub fn contains(vm: &Vm, container: &Value, item: &Value) -> R<bool> {
    match container {
        Value::Str(text) | Value::Markup(text) => {
            vm.charge(text.len())?;
            match item.as_text() {
                Some(part) => Ok(text.contains(&**part)),
                None => fail(Kind::Type, format!("a str has no '{}' in it", item.type_name())),
            }
        }
        Value::Dict(dict) | Value::View(ViewKind::Keys, dict) => Ok(dict.get(item)?.is_some()),
        Value::View(ViewKind::Items, dict) => match item {
            Value::Tuple(pair) if pair.items.len() == 2 => match dict.get(&pair.items[0])? {
                Some(value) => equal(vm, value, &pair.items[1]),
                None => Ok(false),
            },
            _ => Ok(false),
        },
        _ => {
            let mut source = iterate(container)?;
            while let Some(found) = source.next(vm)? {
                vm.step()?;
                if same(&found, item) || equal(vm, &found, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Sorts stably; `less` tells whether its first argument comes before its second.
pub fn sort_by<T>(vm: &Vm, items: Vec<T>, less: &dyn Fn(&T, &T) -> R<bool>) -> R<Vec<T>> {
    let mut runs: Vec<Vec<T>> = items.into_iter().map(|item| vec![item]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len() / 2 + 1);
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(vm, left, right, less)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default())
}

fn merge<T>(vm: &Vm, left: Vec<T>, right: Vec<T>, less: &dyn Fn(&T, &T) -> R<bool>) -> R<Vec<T>> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        vm.step()?;
        out.extend(if less(b, a)? { right.next() } else { left.next() });
    }
    out.extend(left);
    out.extend(right);
    Ok(out)
}

/// sorted(items, key=..., reverse=...) for pairs of key and item.
pub fn sort(vm: &Vm, keyed: Vec<(Value, Value)>, reverse: bool) -> R<Vec<(Value, Value)>> {
    sort_by(vm, keyed, &|a, b| if reverse { less(vm, &b.0, &a.0) } else { less(vm, &a.0, &b.0) })
}
