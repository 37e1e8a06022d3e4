//! The tests behind `is`.

use super::args::Args;
use super::ast::{Binary, Compare};
use super::chars;
use super::compare::{compare, contains, equal, same};
use super::error::{fail, Kind, R};
use super::loops::{iterate, length};
use super::operators::binary;
use super::repr::str_of;
use super::value::Value;
use super::vm::Vm;
use super::filters;

const NAMES: [&str; 39] = [
    "odd", "even", "divisibleby", "defined", "undefined", "filter", "test", "none", "boolean", "false", "true",
    "integer", "float", "lower", "upper", "string", "mapping", "number", "sequence", "iterable", "callable", "sameas",
    "escaped", "in", "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt", "lessthan",
    "<=", "le",
];

pub fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

fn comparison(name: &str) -> Option<Compare> {
    Some(match name {
        "==" | "eq" | "equalto" => Compare::Eq,
        "!=" | "ne" => Compare::Ne,
        ">" | "gt" | "greaterthan" => Compare::Gt,
        ">=" | "ge" => Compare::Ge,
        "<" | "lt" | "lessthan" => Compare::Lt,
        "<=" | "le" => Compare::Le,
        _ => return None,
    })
}

/// What can be called; calling an undefined value fails only then.
pub fn is_callable(value: &Value) -> bool {
    matches!(
        value,
        Value::Undefined(_) | Value::Macro(_) | Value::Method(_) | Value::Function(_) | Value::Joiner(_) | Value::Loop(_)
    ) || matches!(value, Value::Block(Some(_)))
}

pub fn apply(vm: &Vm, name: &str, value: &Value, args: Args) -> R<bool> {
    if let Some(operator) = comparison(name) {
        let other = args.bind(name, ["_other"], 1)?.value(0);
        return compare(vm, operator, value, &other);
    }
    match name {
        "divisibleby" => {
            let divisor = args.bind(name, ["num"], 1)?.value(0);
            return equal(vm, &binary(vm, Binary::Mod, value, &divisor)?, &Value::Int(0));
        }
        "sameas" => return Ok(same(value, &args.bind(name, ["other"], 1)?.value(0))),
        "in" => return contains(vm, &args.bind(name, ["seq"], 1)?.value(0), value),
        _ => args.none(name)?,
    }
    Ok(match name {
        "odd" | "even" => {
            let rest = binary(vm, Binary::Mod, value, &Value::Int(2))?;
            equal(vm, &rest, &Value::Int(i64::from(name == "odd")))?
        }
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "filter" | "test" => {
            value.key()?;
            let found = if name == "filter" { filters::exists } else { exists };
            value.as_text().is_some_and(|name| found(name))
        }
        "none" => value.is_none(),
        "boolean" => matches!(value, Value::Bool(_)),
        "false" => matches!(value, Value::Bool(false)),
        "true" => matches!(value, Value::Bool(true)),
        "integer" => matches!(value, Value::Int(_) | Value::Big(_)),
        "float" => matches!(value, Value::Float(_)),
        "lower" => chars::all_cased(&str_of(vm, value)?, char::is_lowercase),
        "upper" => chars::all_cased(&str_of(vm, value)?, char::is_uppercase),
        "string" => value.as_text().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        "number" => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_)),
        "sequence" => !matches!(value, Value::View(..) | Value::Loop(_)) && length(vm, value)?.is_some(),
        "iterable" => iterate(value).is_ok(),
        "callable" => is_callable(value),
        "escaped" => matches!(value, Value::Markup(_)),
        _ => return fail(Kind::Runtime, format!("there is no test '{name}'")),
    })
}
