//! Methods and properties of the other kinds, and which ones the sandbox refuses.

use num_bigint::BigInt;
use num_traits::{One, Pow, Signed};

use super::args::Args;
use super::ast::Binary;
use super::compare::equal;
use super::error::{fail, Kind, R};
use super::globals::Function;
use super::number::{self, Number};
use super::str_methods;
use super::value::{Dict, Method, Text, Value, ViewKind};
use super::vm::Vm;

const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];
const LIST: [&str; 3] = ["copy", "count", "index"];
const COUNTED: [&str; 2] = ["count", "index"];
const INT: [&str; 4] = ["as_integer_ratio", "bit_count", "bit_length", "conjugate"];
const FLOAT: [&str; 4] = ["as_integer_ratio", "conjugate", "hex", "is_integer"];
const BYTES: [&str; 2] = ["decode", "hex"];
const DICT_MUTATIONS: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const LIST_MUTATIONS: [&str; 8] = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];

/// The method's own name, if objects of this kind have it and templates may call it.
pub fn find(object: &Value, name: &str) -> Option<&'static str> {
    let names: &[&'static str] = match object {
        Value::Str(_) => &str_methods::NAMES,
        Value::Markup(_) => {
            if let Some(found) = str_methods::MARKUP_NAMES.iter().find(|known| **known == name) {
                return Some(found);
            }
            &str_methods::NAMES
        }
        Value::Dict(_) => &DICT,
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(_) => &COUNTED,
        Value::Int(_) | Value::Big(_) | Value::Bool(_) => &INT,
        Value::Float(_) => &FLOAT,
        Value::View(ViewKind::Keys | ViewKind::Items, _) => &["isdisjoint"],
        Value::Cycler(_) => &["next", "reset"],
        Value::Bytes(_) => &BYTES,
        Value::Function(Function::Dict) => &["fromkeys"],
        _ => &[],
    };
    names.iter().find(|known| **known == name).copied()
}

/// What would change the object: the immutable sandbox hides it.
pub fn is_mutation(object: &Value, name: &str) -> bool {
    match object {
        Value::Dict(_) => DICT_MUTATIONS.contains(&name),
        Value::List(_) => LIST_MUTATIONS.contains(&name),
        _ => false,
    }
}

/// An attribute that is no method.
pub fn property(vm: &Vm, object: &Value, name: &str) -> R<Option<Value>> {
    Ok(Some(match (object, name) {
        (Value::Range(range), "start") => Value::Int(range.start),
        (Value::Range(range), "stop") => Value::Int(range.stop),
        (Value::Range(range), "step") => Value::Int(range.step),
        (Value::Tuple(seq), "grouper") if seq.group => seq.items[0].clone(),
        (Value::Tuple(seq), "list") if seq.group => seq.items[1].clone(),
        (Value::Bool(_) | Value::Int(_) | Value::Big(_), "real" | "numerator") => {
            number::arithmetic(vm, Binary::Add, &numeric(object)?, &Number::Int(0))?
        }
        (Value::Bool(_) | Value::Int(_) | Value::Big(_), "imag") => Value::Int(0),
        (Value::Bool(_) | Value::Int(_) | Value::Big(_), "denominator") => Value::Int(1),
        (Value::Float(_), "real") => object.clone(),
        (Value::Float(_), "imag") => Value::Float(0.0),
        (Value::View(_, dict), "mapping") => Value::Dict(dict.clone()),
        (Value::Cycler(cycler), "current") => cycler.items.items[cycler.position.get()].clone(),
        (Value::Cycler(cycler), "pos") => Value::Int(cycler.position.get() as i64),
        (Value::Cycler(cycler), "items") => Value::Tuple(cycler.items.clone()),
        (Value::Joiner(joiner), "sep") => joiner.separator.clone(),
        (Value::Joiner(joiner), "used") => Value::Bool(joiner.used.get()),
        (Value::Macro(called), name) => return macro_property(called, name),
        (Value::Block(None), name) => {
            let block = vm.template.blocks.iter().find(|block| *block.name == *name);
            match block {
                Some(block) => Value::Block(Some(block.name.clone())),
                None => return Ok(None),
            }
        }
        (Value::Block(Some(name)), "super") => Value::hint(format!("there is no parent block called '{name}'.")),
        _ => return Ok(None),
    }))
}

fn macro_property(called: &super::value::Macro, name: &str) -> R<Option<Value>> {
    let node = &called.node;
    Ok(Some(match name {
        "name" => node.name.clone().map_or(Value::None, Value::Str),
        "arguments" => Value::tuple(node.params.iter().map(|param| Value::Str(param.name.clone())).collect())?,
        "catch_kwargs" => Value::Bool(node.kwargs.is_some()),
        "catch_varargs" => Value::Bool(node.varargs.is_some()),
        "caller" => Value::Bool(node.caller.is_some()),
        "explicit_caller" => Value::Bool(node.params.iter().any(|param| &*param.name == "caller")),
        _ => return Ok(None),
    }))
}

fn numeric(value: &Value) -> R<Number> {
    match Number::of(value) {
        Some(number) => Ok(number),
        None => fail(Kind::Type, "a number is expected"),
    }
}

/// Calls a bound method.
pub fn call(vm: &Vm, method: &Method, args: Args) -> R<Value> {
    let (object, name) = (&method.object, method.name);
    match object {
        Value::Str(text) | Value::Markup(text) => str_methods::call(vm, object, text, name, args),
        Value::Dict(dict) => call_dict(vm, object, dict, name, args),
        Value::Function(_) => from_keys(vm, args),
        Value::List(_) if name == "copy" => {
            args.none(name)?;
            Ok(object.clone())
        }
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => count_or_index(vm, object, name, args),
        Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_) => call_number(vm, object, name, args),
        Value::View(..) => {
            let other = args.bind(name, ["_other"], 1)?.value(0);
            for item in super::loops::collect(vm, &other)? {
                if super::compare::contains(vm, object, &item)? {
                    return Ok(Value::Bool(false));
                }
            }
            Ok(Value::Bool(true))
        }
        Value::Cycler(cycler) => {
            args.none(name)?;
            let at = cycler.position.get();
            if name == "reset" {
                cycler.position.set(0);
                return Ok(Value::None);
            }
            cycler.position.set((at + 1) % cycler.items.items.len());
            Ok(cycler.items.items[at].clone())
        }
        Value::Loop(state) if name == "changed" => {
            no_keywords(name, &args)?;
            state.changed(vm, args.positional).map(Value::Bool)
        }
        Value::Loop(state) => {
            no_keywords(name, &args)?;
            if args.positional.is_empty() {
                return fail(Kind::Type, "no items for cycling given");
            }
            let at = state.index0.get().rem_euclid(args.positional.len() as i64);
            Ok(args.positional[at as usize].clone())
        }
        Value::Bytes(bytes) => call_bytes(bytes, name, args),
        _ => fail(Kind::Type, format!("a {} has no method '{name}'", object.type_name())),
    }
}

pub fn no_keywords(function: &str, args: &Args) -> R<()> {
    match args.keyword.first() {
        Some((name, _)) => fail(Kind::Type, format!("{function} takes no argument '{name}'")),
        None => Ok(()),
    }
}

fn call_dict(vm: &Vm, object: &Value, dict: &std::rc::Rc<Dict>, name: &str, args: Args) -> R<Value> {
    match name {
        "get" => {
            let mut args = args.bind(name, ["_key", "_default"], 1)?;
            let found = dict.get(&args.value(0))?.cloned();
            Ok(found.unwrap_or_else(|| args.value(1)))
        }
        "fromkeys" => from_keys(vm, args),
        _ => {
            args.none(name)?;
            Ok(match name {
                "items" => Value::View(ViewKind::Items, dict.clone()),
                "keys" => Value::View(ViewKind::Keys, dict.clone()),
                "values" => Value::View(ViewKind::Values, dict.clone()),
                _ => object.clone(),
            })
        }
    }
}

fn from_keys(vm: &Vm, args: Args) -> R<Value> {
    let mut args = args.bind("fromkeys", ["_iterable", "_value"], 1)?;
    let keys = super::loops::collect(vm, &args.value(0))?;
    let value = args.value(1);
    let mut dict = Dict::new();
    for key in keys {
        dict.insert(key, value.clone())?;
    }
    Ok(Value::dict(dict))
}

fn count_or_index(vm: &Vm, object: &Value, name: &str, args: Args) -> R<Value> {
    let mut args = args.bind(name, ["_value", "_start", "_stop"], 1)?;
    let wanted = args.value(0);
    let (start, stop) = (args.take(1), args.take(2));
    let ranged = start.is_some() || stop.is_some();
    if ranged && (name == "count" || matches!(object, Value::Range(_))) {
        return fail(Kind::Type, format!("{name} takes one argument"));
    }
    let items = super::loops::collect(vm, object)?;
    let clamp = |value: Option<Value>, default: i64| -> R<usize> {
        let at = value.map_or(Ok(default), |value| number::small_index(&value))?;
        let at = if at < 0 { at.saturating_add(items.len() as i64).max(0) } else { at };
        Ok((at as usize).min(items.len()))
    };
    let (start, stop) = (clamp(start, 0)?, clamp(stop, i64::MAX)?);
    let mut count = 0;
    for (at, item) in items.iter().enumerate().take(stop).skip(start) {
        vm.step()?;
        if super::compare::same(item, &wanted) || equal(vm, item, &wanted)? {
            if name == "index" {
                return Ok(Value::Int(at as i64));
            }
            count += 1;
        }
    }
    if name == "index" { fail(Kind::Value, "the value is not in the list") } else { Ok(Value::Int(count)) }
}

fn call_number(vm: &Vm, object: &Value, name: &str, args: Args) -> R<Value> {
    args.none(name)?;
    let number = numeric(object)?;
    let whole = match (&number, name) {
        (Number::Float(value), "is_integer") => return Ok(Value::Bool(value.is_finite() && value.fract() == 0.0)),
        (Number::Float(value), "hex") => return Ok(Value::str(hex(*value))),
        (Number::Float(value), "as_integer_ratio") => return ratio(*value),
        (number, "conjugate") => {
            return number::arithmetic(vm, Binary::Add, number, &Number::Int(0)).map(|sum| match object {
                Value::Float(_) => object.clone(),
                _ => sum,
            })
        }
        (number, _) => number.big().unwrap_or_default(),
    };
    match name {
        "bit_length" => Ok(Value::Int(whole.bits() as i64)),
        "bit_count" => Ok(Value::Int(whole.abs().to_u64_digits().1.iter().map(|d| i64::from(d.count_ones())).sum())),
        _ => Value::tuple(vec![Value::big(whole), Value::Int(1)]),
    }
}

/// The mantissa as an integer, and the power of two it is multiplied by.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

fn ratio(value: f64) -> R<Value> {
    if !value.is_finite() {
        let kind = if value.is_nan() { Kind::Value } else { Kind::Overflow };
        return fail(kind, "infinity and NaN have no integer ratio");
    }
    let (mantissa, exponent) = parts(value);
    let zeros = if mantissa == 0 { 0 } else { (mantissa.trailing_zeros() as i32).min((-exponent).max(0)) };
    let exponent = if mantissa == 0 { 0 } else { exponent + zeros };
    let mantissa = BigInt::from(mantissa >> zeros) * if value < 0.0 { -1 } else { 1 };
    let power = Pow::pow(BigInt::from(2), exponent.unsigned_abs());
    let (top, bottom) = if exponent >= 0 { (mantissa * power, BigInt::one()) } else { (mantissa, power) };
    Value::tuple(vec![Value::big(top), Value::big(bottom)])
}

fn hex(value: f64) -> String {
    if !value.is_finite() {
        return super::repr::float(value);
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value == 0.0 {
        return format!("{sign}0x0.0p+0");
    }
    let (mantissa, exponent) = parts(value);
    let lead = mantissa >> 52;
    let power = exponent + 52;
    let direction = if power < 0 { '-' } else { '+' };
    format!("{sign}0x{lead}.{:013x}p{direction}{}", mantissa & ((1 << 52) - 1), power.abs())
}

fn call_bytes(bytes: &[u8], name: &str, args: Args) -> R<Value> {
    if name == "hex" {
        args.none(name)?;
        return Ok(Value::str(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()));
    }
    let mut args = args.bind(name, ["encoding", "errors"], 0)?;
    let encoding = args.take(0).map_or(Ok(Text::from("utf-8")), |value| super::args::text(&value, "the encoding"))?;
    match encoding.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::str(text)),
            Err(_) => fail(Kind::Value, "the bytes are not UTF-8"),
        },
        "latin-1" | "latin1" | "iso-8859-1" => Ok(Value::str(bytes.iter().map(|b| *b as char).collect::<String>())),
        "ascii" if bytes.is_ascii() => Ok(Value::str(bytes.iter().map(|b| *b as char).collect::<String>())),
        _ => fail(Kind::Lookup, format!("the bytes cannot be read as '{encoding}'")),
    }
}
