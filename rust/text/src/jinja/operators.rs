//! Binary and unary operators on every kind of value.

use super::ast::Binary;
use super::error::{fail, Kind, R};
use super::html;
use super::number::{self, Number};
use super::percent::percent;
use super::repr::str_of;
use super::value::{Seq, Text, Value, ViewKind};
use super::vm::Vm;

fn sign(op: Binary) -> &'static str {
    match op {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Mod => "%",
        Binary::Pow => "**",
    }
}

fn joined(vm: &Vm, a: &str, b: &str) -> R<Text> {
    vm.charge_text(a.len() + b.len())?;
    let mut text = String::with_capacity(a.len() + b.len());
    text.push_str(a);
    text.push_str(b);
    Ok(text.into())
}

fn add_texts(vm: &Vm, a: &Value, b: &Value) -> R<Value> {
    if let (Value::Str(a), Value::Str(b)) = (a, b) {
        return joined(vm, a, b).map(Value::Str);
    }
    let (a, b) = (html::escape_value(vm, a)?, html::escape_value(vm, b)?);
    joined(vm, &str_of(vm, &a)?, &str_of(vm, &b)?).map(Value::Markup)
}

fn add_items(vm: &Vm, a: &Seq, b: &Seq) -> R<Vec<Value>> {
    vm.charge_items(a.items.len() + b.items.len())?;
    Ok(a.items.iter().chain(&b.items).cloned().collect())
}

/// A sequence times an integer; None where `a` is no sequence or `b` no integer.
fn repeat(vm: &Vm, a: &Value, b: &Value) -> R<Option<Value>> {
    if !matches!(b, Value::Int(_) | Value::Big(_) | Value::Bool(_)) {
        return Ok(None);
    }
    let times = usize::try_from(number::small_index(b)?.max(0)).unwrap_or(usize::MAX);
    let items = |seq: &Seq| -> R<Vec<Value>> {
        vm.charge_items(seq.items.len().saturating_mul(times))?;
        let times = if seq.items.is_empty() { 0 } else { times };
        Ok((0..times).flat_map(|_| seq.items.iter().cloned()).collect())
    };
    Ok(Some(match a {
        Value::Str(text) | Value::Markup(text) => {
            vm.charge_text(text.len().saturating_mul(times))?;
            Value::str_like(a, if text.is_empty() { String::new() } else { text.repeat(times) })
        }
        Value::List(seq) => Value::list(items(seq)?)?,
        Value::Tuple(seq) => Value::tuple(items(seq)?)?,
        _ => return Ok(None),
    }))
}

pub fn binary(vm: &Vm, op: Binary, a: &Value, b: &Value) -> R<Value> {
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        return number::arithmetic(vm, op, &Number::Int(*a), &Number::Int(*b));
    }
    if let (Binary::Mod, Some(format)) = (op, a.as_text()) {
        let markup = matches!(a, Value::Markup(_));
        return percent(vm, format, b, markup).map(|text| Value::str_like(a, text));
    }
    for value in [a, b] {
        if let Value::Undefined(why) = value {
            return fail(Kind::Undefined, why.message());
        }
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return number::arithmetic(vm, op, &a, &b);
    }
    match (op, a, b) {
        (Binary::Add, Value::Str(_) | Value::Markup(_), Value::Str(_) | Value::Markup(_)) => {
            return add_texts(vm, a, b)
        }
        (Binary::Add, Value::List(a), Value::List(b)) => return Value::list(add_items(vm, a, b)?),
        (Binary::Add, Value::Tuple(a), Value::Tuple(b)) => return Value::tuple(add_items(vm, a, b)?),
        (Binary::Mul, ..) => {
            for (a, b) in [(a, b), (b, a)] {
                if let Some(product) = repeat(vm, a, b)? {
                    return Ok(product);
                }
            }
        }
        (Binary::Sub, Value::View(ViewKind::Keys | ViewKind::Items, _), _) => {
            return fail(Kind::Type, "sets, such as the difference of views, are not known here")
        }
        _ => {}
    }
    let (a, b) = (a.type_name(), b.type_name());
    fail(Kind::Type, format!("'{a}' and '{b}' cannot be combined with '{}'", sign(op)))
}

/// -value or +value.
pub fn unary(vm: &Vm, negate: bool, value: &Value) -> R<Value> {
    if let Value::Undefined(why) = value {
        return fail(Kind::Undefined, why.message());
    }
    match Number::of(value) {
        Some(number) if negate => Ok(number::negate(number)),
        Some(number @ Number::Float(_)) => Ok(number.value()),
        Some(number) => number::arithmetic(vm, Binary::Add, &number, &Number::Int(0)),
        None => fail(Kind::Type, format!("a {} has no sign", value.type_name())),
    }
}

/// a ~ b ~ ...: `escaped` where autoescape is on.
pub fn concat(vm: &Vm, parts: &[Value], escaped: bool) -> R<Value> {
    let markup = escaped && parts.iter().any(|part| matches!(part, Value::Markup(_)));
    let mut out = String::new();
    for part in parts {
        let part = if markup { html::escape_value(vm, part)? } else { part.clone() };
        let text = str_of(vm, &part)?;
        vm.charge_text(out.len() + text.len())?;
        out.push_str(&text);
    }
    Ok(if markup { Value::Markup(out.into()) } else { Value::str(out) })
}
