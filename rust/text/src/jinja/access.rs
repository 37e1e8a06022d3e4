//! Attributes, items and slices, with the order of looking that jinja2's sandbox has.

use std::rc::Rc;

use super::error::{fail, Error, Kind, R};
use super::methods;
use super::number::{self, Number};
use super::repr;
use super::strings;
use super::value::{Range, Text, Undefined, Value};
use super::vm::Vm;

fn missing_attribute(object: &Value, name: &Text) -> Value {
    Value::undefined(Undefined::Attribute(object.type_name(), name.clone()))
}

/// The Python attribute of an object; None when it has none of that name.
fn attribute(vm: &Vm, object: &Value, name: &Text) -> R<Option<Value>> {
    if let Value::Undefined(why) = object {
        return fail(Kind::Undefined, why.message());
    }
    if let Value::Namespace(namespace) = object {
        return Ok(namespace.attributes.borrow().get(name).cloned());
    }
    if methods::is_mutation(object, name) {
        return Ok(Some(Value::undefined(Undefined::Unsafe(object.type_name(), name.clone()))));
    }
    if let Value::Loop(state) = object {
        return state.attribute(vm, name);
    }
    if let Some(value) = methods::property(vm, object, name)? {
        return Ok(Some(value));
    }
    match methods::find(object, name) {
        Some(method) => Value::method(object.clone(), method).map(Some),
        None => Ok(None),
    }
}

/// object.name: the attribute, else the item.
pub fn get_attribute(vm: &Vm, object: &Value, name: &Text) -> R<Value> {
    if let Value::Dict(dict) = object {
        // Most common: a key that is no method's name.
        if methods::find(object, name).is_none() && !methods::is_mutation(object, name) {
            if let Some(value) = dict.get_str(name) {
                return Ok(value.clone());
            }
        }
    }
    if let Some(value) = attribute(vm, object, name)? {
        return Ok(value);
    }
    lookup(vm, object, &Value::Str(name.clone())).map(|found| found.unwrap_or_else(|| missing_attribute(object, name)))
}

/// The filter attr: the attribute only.
pub fn only_attribute(vm: &Vm, object: &Value, name: &Text) -> R<Value> {
    Ok(attribute(vm, object, name)?.unwrap_or_else(|| missing_attribute(object, name)))
}

fn is_lookup_failure(error: &Error) -> bool {
    matches!(error.kind, Kind::Type | Kind::Lookup)
}

/// The item; None where Python raises TypeError, IndexError or KeyError.
fn lookup(vm: &Vm, object: &Value, key: &Value) -> R<Option<Value>> {
    match subscript(vm, object, key) {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_lookup_failure(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// object[key]: the item, else the attribute of that name.
pub fn get_item(vm: &Vm, object: &Value, key: &Value) -> R<Value> {
    if let Some(value) = lookup(vm, object, key)? {
        return Ok(value);
    }
    let Some(name) = key.as_text() else {
        let name = repr::repr(vm, key)?;
        return Ok(Value::undefined(Undefined::Element(object.type_name(), name)));
    };
    Ok(attribute(vm, object, name)?.unwrap_or_else(|| missing_attribute(object, name)))
}

/// The position that an index means.
fn position(index: &Value, length: usize) -> R<usize> {
    let index = number::small_index(index)?;
    let at = if index < 0 { index.saturating_add(length as i64) } else { index };
    if at < 0 || at >= length as i64 {
        return fail(Kind::Lookup, "index out of range");
    }
    Ok(at as usize)
}

/// Python's object[key], which fails where there is none.
pub fn subscript(vm: &Vm, object: &Value, key: &Value) -> R<Value> {
    match object {
        Value::Undefined(why) => fail(Kind::Undefined, why.message()),
        Value::Dict(dict) => match dict.get(key)? {
            Some(value) => Ok(value.clone()),
            None => fail(Kind::Lookup, format!("the key {} is missing", repr::repr(vm, key)?)),
        },
        Value::List(seq) | Value::Tuple(seq) => Ok(seq.items[position(key, seq.items.len())?].clone()),
        Value::Str(text) | Value::Markup(text) => {
            number::index(key)?;
            vm.charge(text.len())?;
            let at = position(key, text.chars().count())?;
            let begin = strings::byte_at(text, at);
            let width = text[begin..].chars().next().map_or(0, char::len_utf8);
            Ok(Value::str_like(object, &text[begin..begin + width]))
        }
        Value::Range(range) => Ok(Value::Int(range.at(position(key, range.len())?))),
        Value::Bytes(bytes) => Ok(Value::Int(i64::from(bytes[position(key, bytes.len())?]))),
        _ => fail(Kind::Type, format!("'{}' object has no items", object.type_name())),
    }
}

fn bound(value: &Value) -> R<Option<i64>> {
    if value.is_none() {
        return Ok(None);
    }
    match Number::of(value) {
        Some(Number::Int(_) | Number::Big(_)) => number::small_index(value).map(Some),
        _ => fail(Kind::Type, format!("a slice has a {} where an integer or None is expected", value.type_name())),
    }
}

/// object[start:stop:step].
pub fn slice(vm: &Vm, object: &Value, bounds: &[Value; 3]) -> R<Value> {
    if let Value::Undefined(why) = object {
        return fail(Kind::Undefined, why.message());
    }
    let sliced = matches!(
        object,
        Value::Str(_) | Value::Markup(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) | Value::Bytes(_)
    );
    if !sliced {
        return fail(Kind::Type, format!("'{}' object cannot be sliced", object.type_name()));
    }
    let (start, stop) = (bound(&bounds[0])?, bound(&bounds[1])?);
    let step = bound(&bounds[2])?.unwrap_or(1);
    if step == 0 {
        return fail(Kind::Value, "the step of a slice is zero");
    }
    if let Some(text) = object.as_text() {
        vm.charge(text.len())?;
        return Ok(Value::str_like(object, strings::slice(text, start, stop, step)));
    }
    match object {
        Value::Range(range) => Ok(slice_range(range, start, stop, step)),
        Value::Bytes(bytes) => {
            let positions = strings::slice_positions(bytes.len(), start, stop, step);
            Ok(Value::Bytes(Rc::new(positions.into_iter().map(|at| bytes[at]).collect())))
        }
        Value::List(seq) | Value::Tuple(seq) => {
            let positions = strings::slice_positions(seq.items.len(), start, stop, step);
            vm.charge_items(positions.len())?;
            let items = positions.into_iter().map(|at| seq.items[at].clone()).collect();
            if matches!(object, Value::List(_)) { Value::list(items) } else { Value::tuple(items) }
        }
        _ => fail(Kind::Type, "cannot be sliced"),
    }
}

fn slice_range(range: &Range, start: Option<i64>, stop: Option<i64>, step: i64) -> Value {
    let length = range.len() as i64;
    let (lowest, highest) = if step < 0 { (-1, length - 1) } else { (0, length) };
    let clamp = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(lowest, highest);
    let start = start.map_or(if step < 0 { highest } else { lowest }, clamp);
    let stop = stop.map_or(if step < 0 { lowest } else { highest }, clamp);
    let at = |index: i64| range.start.wrapping_add(range.step.wrapping_mul(index));
    let step = range.step.wrapping_mul(step);
    Value::Range(Rc::new(Range { start: at(start), stop: at(stop), step }))
}
