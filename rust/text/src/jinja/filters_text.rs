//! Filters on texts and numbers.

use num_traits::Signed;

use super::args::{text, Args};
use super::ast::Binary;
use super::chars::{self, is_word};
use super::convert;
use super::error::{fail, Kind, R};
use super::html;
use super::loops::length;
use super::number::{self, arithmetic, Number};
use super::operators::binary;
use super::repr::{pretty, str_of};
use super::str_methods;
use super::strings;
use super::value::{Dict, Text, Value};
use super::vm::Vm;
use super::wrap;

/// soft_str: Markup stays Markup.
fn soft(vm: &Vm, value: &Value) -> R<Value> {
    Ok(match value {
        Value::Str(_) | Value::Markup(_) => value.clone(),
        other => Value::Str(str_of(vm, other)?),
    })
}

/// A method of str on the value as a str.
fn method(vm: &Vm, value: &Value, name: &str, args: Args) -> R<Value> {
    let value = soft(vm, value)?;
    let this = text(&value, "a text")?;
    str_methods::call(vm, &value, &this, name, args)
}

pub fn apply(vm: &Vm, name: &str, value: &Value, args: Args) -> R<Value> {
    match name {
        "center" => {
            let width = args.bind(name, ["width"], 0)?.take(0).unwrap_or(Value::Int(80));
            method(vm, value, name, Args::of(vec![width]))
        }
        "trim" => {
            let chars = args.bind(name, ["chars"], 0)?.take(0).unwrap_or(Value::None);
            method(vm, value, "strip", Args::of(vec![chars]))
        }
        "capitalize" | "lower" | "upper" => method(vm, value, name, args),
        "filesizeformat" => {
            let binary = args.bind(name, ["binary"], 0)?.flag(vm, 0, false)?;
            file_size(convert::to_float(value)?, binary).map(Value::str)
        }
        "float" => {
            let default = args.bind(name, ["default"], 0)?.take(0).unwrap_or(Value::Float(0.0));
            match convert::to_float(value) {
                Ok(value) => Ok(Value::Float(value)),
                Err(error) if matches!(error.kind, Kind::Type | Kind::Value) => Ok(default),
                Err(error) => Err(error),
            }
        }
        "int" => int(value, args),
        "format" => {
            let given = if args.keyword.is_empty() {
                Value::tuple(args.positional)?
            } else if args.positional.is_empty() {
                let mut dict = Dict::new();
                for (name, value) in args.keyword {
                    dict.insert(Value::Str(name), value)?;
                }
                Value::dict(dict)
            } else {
                return fail(Kind::Runtime, "format takes either positional or keyword arguments");
            };
            binary(vm, Binary::Mod, &soft(vm, value)?, &given)
        }
        "indent" => indent(vm, value, args),
        "replace" => replace(vm, value, args),
        "round" => round(vm, value, args),
        "truncate" => truncate(vm, value, args),
        "wordwrap" => wordwrap(vm, value, args),
        _ => {
            args.none(name)?;
            simple(vm, name, value)
        }
    }
}

fn simple(vm: &Vm, name: &str, value: &Value) -> R<Value> {
    Ok(match name {
        "abs" => match Number::of(value) {
            Some(Number::Float(value)) => Value::Float(value.abs()),
            Some(number) => Value::big(number.big().unwrap_or_default().abs()),
            None => return fail(Kind::Type, format!("abs of a {}", value.type_name())),
        },
        "e" | "escape" => html::escape_value(vm, value)?,
        "forceescape" => html::escape_value(vm, &Value::Str(str_of(vm, value)?))?,
        "pprint" => Value::str(pretty(vm, value)?),
        "safe" => Value::Markup((&*str_of(vm, value)?).into()), // another object than a Markup value
        "string" => soft(vm, value)?,
        "striptags" => {
            let text = str_of(vm, value)?;
            vm.charge(text.len() * 16)?; // references cost more than letters
            Value::str(html::strip_tags(&text))
        }
        "title" => Value::str(title(&str_of(vm, value)?)),
        "wordcount" => {
            let text = str_of(vm, value)?;
            Value::Int(text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).count() as i64)
        }
        _ => return fail(Kind::Runtime, format!("there is no filter '{name}'")),
    })
}

/// Words begin behind blanks, hyphens and opening brackets.
fn title(text: &str) -> String {
    let starts = |c: char| chars::is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        out.extend(first.to_uppercase());
        let apart = starts(first);
        let end = rest.find(|c| starts(c) != apart).unwrap_or(rest.len());
        out.push_str(&chars::lower(&rest[first.len_utf8()..end]));
        rest = &rest[end..];
    }
    out
}

fn file_size(bytes: f64, binary: bool) -> R<String> {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok("1 Byte".into());
    }
    if bytes < base {
        return Ok(format!("{} Bytes", number::truncate(bytes)?));
    }
    let mut unit = base;
    let mut shown = String::new();
    for (i, prefix) in ["k", "M", "G", "T", "P", "E", "Z", "Y"].iter().enumerate() {
        unit = if binary { unit * base } else { format!("1e{}", 3 * (i + 2)).parse().unwrap_or(f64::INFINITY) };
        let name = if binary { format!("{}iB", prefix.to_uppercase()) } else { format!("{prefix}B") };
        let digits = super::format::float_digits(base * bytes / unit, 'f', 1, false);
        shown = format!("{digits} {name}");
        if bytes < unit {
            break;
        }
    }
    Ok(shown)
}

fn int(value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("int", ["default", "base"], 0)?;
    let default = args.take(0).unwrap_or(Value::Int(0));
    let base = args.take(1).unwrap_or(Value::Int(10));
    let first = match value.as_text() {
        Some(text) => number::small_index(&base).and_then(|base| convert::parse_int(text, base)).map(Value::big),
        None => convert::to_int(value),
    };
    let caught = |kind: Kind| matches!(kind, Kind::Type | Kind::Value);
    match first {
        Ok(value) => return Ok(value),
        Err(error) if !caught(error.kind) => return Err(error),
        Err(_) => {}
    }
    match convert::to_float(value).and_then(number::truncate) {
        Ok(value) => Ok(Value::big(value)),
        Err(error) if caught(error.kind) || error.kind == Kind::Overflow => Ok(default),
        Err(error) => Err(error),
    }
}

fn round(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("round", ["precision", "method"], 0)?;
    let precision = args.take(0).unwrap_or(Value::Int(0));
    let method = args.take(1).unwrap_or_else(|| Value::str("common"));
    let method: Text = match method.as_text() {
        Some(method) if matches!(&**method, "common" | "ceil" | "floor") => method.clone(),
        _ => return fail(Kind::Runtime, "round knows the methods common, ceil and floor"),
    };
    let Some(number) = Number::of(value) else {
        return match value {
            Value::Undefined(why) => fail(Kind::Undefined, why.message()),
            _ => fail(Kind::Type, format!("a {} cannot be rounded", value.type_name())),
        };
    };
    if &*method == "common" {
        if precision.is_none() {
            let rounded = number::round(vm, number, 0)?;
            return convert::to_int(&rounded);
        }
        return number::round(vm, number, number::small_index(&precision)?);
    }
    let part = |value: Value| Number::of(&value).map_or_else(|| fail(Kind::Type, "no number"), Ok);
    let Some(precision) = Number::of(&precision) else { return fail(Kind::Type, "the precision is no number") };
    let scale = part(arithmetic(vm, Binary::Pow, &Number::Int(10), &precision)?)?;
    let whole = match part(arithmetic(vm, Binary::Mul, &number, &scale)?)? {
        Number::Float(value) => {
            part(Value::big(number::truncate(if &*method == "ceil" { value.ceil() } else { value.floor() })?))?
        }
        whole => whole,
    };
    arithmetic(vm, Binary::Div, &whole, &scale)
}

fn replace(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("replace", ["old", "new", "count"], 2)?;
    let (old, new) = (args.value(0), args.value(1));
    let count = args.int_or_none(2)?.unwrap_or(-1);
    if !vm.autoescape.get() {
        let replaced =
            str_methods::replaced(vm, &str_of(vm, value)?, &str_of(vm, &old)?, &str_of(vm, &new)?, count)?;
        return Ok(Value::str(replaced));
    }
    let marked = |value: &Value| matches!(value, Value::Markup(_));
    let value = if marked(&old) || (marked(&new) && !marked(value)) {
        html::escape_value(vm, value)?
    } else {
        soft(vm, value)?
    };
    method(vm, &value, "replace", Args::of(vec![soft(vm, &old)?, soft(vm, &new)?, Value::Int(count)]))
}

fn indent(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("indent", ["width", "first", "blank"], 0)?;
    let width = args.take(0).unwrap_or(Value::Int(4));
    let (first, blank) = (args.flag(vm, 1, false)?, args.flag(vm, 2, false)?);
    let pad = match width.as_text() {
        Some(pad) => pad.clone(),
        None => {
            let width = number::small_index(&width)?.max(0) as usize;
            vm.charge_text(width)?;
            " ".repeat(width).into()
        }
    };
    let this = text(value, "what indent gets")?;
    let whole = format!("{this}\n");
    let lines = strings::split_lines(&whole, false);
    vm.charge_text(this.len().saturating_add(lines.len().saturating_mul(pad.len() + 1)))?;
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if (i == 0 && first) || (i > 0 && (blank || !line.is_empty())) {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    Ok(Value::str_like(value, out))
}

fn truncate(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let limit = args.take(0).unwrap_or(Value::Int(255));
    let room = convert::to_float_strict(&limit)?;
    let kill = args.flag(vm, 1, false)?;
    let end = args.take(2).unwrap_or_else(|| Value::str("..."));
    let leeway = args.some(3).map_or(Ok(5.0), |leeway| convert::to_float_strict(&leeway))?;
    let Some(end_length) = length(vm, &end)? else { return fail(Kind::Type, "the end of truncate is no str") };
    if room < end_length as f64 || leeway < 0.0 {
        return fail(Kind::Value, format!("truncate: the length is below {end_length}, or the leeway below 0"));
    }
    match length(vm, value)? {
        Some(length) if length as f64 <= room + leeway => return Ok(value.clone()),
        Some(_) => {}
        None => return fail(Kind::Type, format!("a {} has no length", value.type_name())),
    }
    let limit = number::small_index(&limit)?;
    let this = text(value, "what truncate gets")?;
    let cut = strings::slice(&this, None, Some(limit - end_length as i64), 1);
    let kept = if kill { &cut } else { cut.rsplit_once(' ').map_or(&*cut, |(head, _)| head) };
    binary(vm, Binary::Add, &Value::str_like(value, kept), &end)
}

fn wordwrap(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let mut args = args.bind("wordwrap", names, 0)?;
    let width = args.take(0).unwrap_or(Value::Int(79));
    let long = args.flag(vm, 1, true)?;
    let joint = args.text_or_none(2)?.unwrap_or_else(|| "\n".into());
    let hyphens = args.flag(vm, 3, true)?;
    let this = text(value, "what wordwrap gets")?;
    vm.charge(this.len() * 16)?;
    let mut lines = Vec::new();
    for line in strings::split_lines(&this, false) {
        let width = number::small_index(&width)?;
        if width <= 0 {
            return fail(Kind::Value, "the width of wordwrap must be above 0");
        }
        let wrapped = wrap::wrap(line, width as usize, long, hyphens);
        if wrapped.is_empty() {
            lines.push(String::new());
        }
        lines.extend(wrapped);
    }
    vm.charge_text(this.len().saturating_add(lines.len().saturating_mul(joint.len())))?;
    Ok(Value::str(lines.join(&joint)))
}
