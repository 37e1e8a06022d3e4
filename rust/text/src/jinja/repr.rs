//! str() and repr() of every value, and pprint's layout.

use std::fmt::Write;

use super::chars::is_printable;
use super::error::{fail, Kind, R};
use super::number::decimal;
use super::value::{Dict, Seq, Text, Value, ViewKind};
use super::vm::{Vm, MAX_TEXT};

/// What stands for the address of an object.
const ADDRESS: &str = "0x7f0000000000";

/// repr(float): shortest digits that round-trip; exponent form below 1e-4 and from 1e16 on.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// repr(str): single quotes unless the text has single quotes and no double ones. `ascii`: as ascii() prints it.
pub fn text(text: &str, ascii: bool, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) && (!ascii || c.is_ascii()) => out.push(c),
            c => escape(c as u32, out),
        }
    }
    out.push(quote);
}

fn escape(code: u32, out: &mut String) {
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

fn bytes(value: &[u8], out: &mut String) {
    let quote = if value.contains(&b'\'') && !value.contains(&b'"') { b'"' } else { b'\'' };
    out.push('b');
    out.push(quote as char);
    for byte in value {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b if *b == quote => {
                out.push('\\');
                out.push(quote as char);
            }
            b' '..=b'~' => out.push(*byte as char),
            b => escape(u32::from(*b), out),
        }
    }
    out.push(quote as char);
}

fn sequence(vm: &Vm, items: &[Value], brackets: [&str; 2], out: &mut String) -> R<()> {
    out.push_str(brackets[0]);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_repr(vm, item, out)?;
    }
    out.push_str(brackets[1]);
    Ok(())
}

fn tuple(vm: &Vm, seq: &Seq, out: &mut String) -> R<()> {
    sequence(vm, &seq.items, ["(", if seq.items.len() == 1 { ",)" } else { ")" }], out)
}

fn pairs<'v>(vm: &Vm, pairs: impl Iterator<Item = (&'v Value, &'v Value)>, out: &mut String) -> R<()> {
    out.push('{');
    for (i, (key, value)) in pairs.enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_repr(vm, key, out)?;
        out.push_str(": ");
        write_repr(vm, value, out)?;
    }
    out.push('}');
    Ok(())
}

fn view(vm: &Vm, kind: ViewKind, dict: &Dict, name: &str, out: &mut String) -> R<()> {
    let items: Vec<Value> = (0..dict.len()).filter_map(|i| dict.item(kind, i)).collect();
    out.push_str(name);
    sequence(vm, &items, ["([", "])"], out)
}

/// Appends repr(value).
pub fn write_repr(vm: &Vm, value: &Value, out: &mut String) -> R<()> {
    vm.step()?;
    vm.guard()?;
    if out.len() > MAX_TEXT {
        return fail(Kind::Limit, format!("a text grew past {} MiB", MAX_TEXT >> 20));
    }
    let before = out.len();
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Big(value) => {
            vm.charge(value.bits() as usize)?;
            out.push_str(&decimal(value)?);
        }
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Str(value) => text(value, false, out),
        Value::Markup(value) => {
            out.push_str("Markup(");
            text(value, false, out);
            out.push(')');
        }
        Value::Bytes(value) => bytes(value, out),
        Value::List(seq) => sequence(vm, &seq.items, ["[", "]"], out)?,
        Value::Tuple(seq) => tuple(vm, seq, out)?,
        Value::Dict(dict) => pairs(vm, dict.map.values().map(|(key, value)| (key, value)), out)?,
        Value::View(kind, dict) => view(vm, *kind, dict, value.type_name(), out)?,
        other => object(vm, other, out)?,
    }
    vm.charge(out.len() - before)
}

/// Appends repr() of what is no plain data.
fn object(vm: &Vm, value: &Value, out: &mut String) -> R<()> {
    match value {
        Value::Range(range) => {
            let _ = write!(out, "range({}, {}", range.start, range.stop);
            if range.step != 1 {
                let _ = write!(out, ", {}", range.step);
            }
            out.push(')');
        }
        Value::Namespace(namespace) => {
            let attributes = namespace.attributes.borrow().clone();
            let names: Vec<(Value, Value)> = attributes.into_iter().map(|(k, v)| (Value::Str(k), v)).collect();
            out.push_str("<Namespace ");
            pairs(vm, names.iter().map(|(key, value)| (key, value)), out)?;
            out.push('>');
        }
        Value::Macro(value) => {
            out.push_str("<Macro ");
            match &value.node.name {
                Some(name) => text(name, false, out),
                None => out.push_str("anonymous"),
            }
            out.push('>');
        }
        Value::Loop(state) => {
            let _ = write!(out, "<LoopContext {}/{}>", state.index0.get() + 1, state.length(vm)?);
        }
        Value::Function(function) if function.is_class() => {
            let _ = write!(out, "<class 'jinja2.utils.{}'>", function.python_name());
        }
        Value::Function(function) => {
            let _ = write!(out, "<function {} at {ADDRESS}>", function.python_name());
        }
        Value::Block(None) => out.push_str("<TemplateReference None>"),
        Value::Iter(iter) => {
            let _ = write!(out, "<{} at {ADDRESS}>", iter.name);
        }
        other => {
            let _ = write!(out, "<{} object at {ADDRESS}>", other.type_name());
        }
    }
    Ok(())
}

pub fn repr(vm: &Vm, value: &Value) -> R<String> {
    let mut out = String::new();
    write_repr(vm, value, &mut out)?;
    Ok(out)
}

/// str(value).
pub fn str_of(vm: &Vm, value: &Value) -> R<Text> {
    match value {
        Value::Str(text) | Value::Markup(text) => Ok(text.clone()),
        Value::Undefined(_) => Ok("".into()),
        other => Ok(repr(vm, other)?.into()),
    }
}

/// pprint.pformat(value): dicts sorted by key, and one item per line beyond 80 columns.
pub fn pretty(vm: &Vm, value: &Value) -> R<String> {
    let sorted = sorted_dicts(vm, value)?;
    let mut out = String::new();
    pretty_into(vm, &sorted, 0, 0, &mut out)?;
    Ok(out)
}

/// The value with every dict in it sorted.
fn sorted_dicts(vm: &Vm, value: &Value) -> R<Value> {
    vm.step()?;
    vm.guard()?;
    let items = |seq: &Seq| seq.items.iter().map(|item| sorted_dicts(vm, item)).collect::<R<Vec<Value>>>();
    Ok(match value {
        Value::List(seq) => Value::list(items(seq)?)?,
        Value::Tuple(seq) => Value::tuple(items(seq)?)?,
        Value::Dict(dict) => {
            let mut entries = Vec::with_capacity(dict.len());
            for (key, value) in dict.map.values() {
                // What has no order among the others goes by the name of its type.
                let order = match key {
                    Value::Bool(_) | Value::Int(_) | Value::Float(_) => (String::new(), key.clone()),
                    key => (key.type_name().to_string(), key.clone()),
                };
                entries.push((order, (key.clone(), sorted_dicts(vm, value)?)));
            }
            let entries = super::compare::sort_by(vm, entries, &|(a, _), (b, _)| {
                Ok(if a.0 == b.0 { super::compare::less(vm, &a.1, &b.1).unwrap_or(false) } else { a.0 < b.0 })
            })?;
            let mut sorted = Dict::new();
            for (_, (key, value)) in entries {
                sorted.insert(key, value)?;
            }
            Value::dict(sorted)
        }
        other => other.clone(),
    })
}

const WIDTH: usize = 80;

fn pretty_into(vm: &Vm, value: &Value, indent: usize, allowance: usize, out: &mut String) -> R<()> {
    vm.guard()?;
    let line = repr(vm, value)?;
    if line.chars().count() + indent + allowance <= WIDTH {
        out.push_str(&line);
        return Ok(());
    }
    match value {
        Value::Dict(dict) => {
            out.push('{');
            let last = dict.len().saturating_sub(1);
            for (i, (key, item)) in dict.map.values().enumerate() {
                let key = repr(vm, key)?;
                out.push_str(&key);
                out.push_str(": ");
                let inner = indent + key.chars().count() + 3;
                pretty_into(vm, item, inner, if i == last { allowance + 1 } else { 1 }, out)?;
                if i < last {
                    new_line(indent + 1, out);
                }
            }
            out.push('}');
        }
        Value::List(seq) => pretty_items(vm, &seq.items, ["[", "]"], (indent + 1, allowance + 1), out)?,
        Value::Tuple(seq) => {
            let close = if seq.items.len() == 1 { ",)" } else { ")" };
            pretty_items(vm, &seq.items, ["(", close], (indent + 1, allowance + close.len()), out)?;
        }
        Value::Str(text) if !text.is_empty() => pretty_text(text, indent, allowance, out),
        _ => out.push_str(&line),
    }
    Ok(())
}

fn new_line(indent: usize, out: &mut String) {
    out.push_str(",\n");
    out.extend(std::iter::repeat_n(' ', indent));
}

fn pretty_items(
    vm: &Vm,
    items: &[Value],
    brackets: [&str; 2],
    (indent, allowance): (usize, usize),
    out: &mut String,
) -> R<()> {
    out.push_str(brackets[0]);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            new_line(indent, out);
        }
        pretty_into(vm, item, indent, if i + 1 == items.len() { allowance } else { 1 }, out)?;
    }
    out.push_str(brackets[1]);
    Ok(())
}

/// A long str as several literals, cut at line ends and between words.
fn pretty_text(value: &str, indent: usize, allowance: usize, out: &mut String) {
    let quoted = |part: &str| {
        let mut out = String::new();
        text(part, false, &mut out);
        out
    };
    let width = |part: &str| quoted(part).chars().count();
    let top = indent == 0; // only the outermost str stands in parentheses
    let (indent, allowance) = if top { (indent + 1, allowance + 1) } else { (indent, allowance) };
    let room = WIDTH.saturating_sub(indent);
    let lines = super::strings::split_lines(value, true);
    let mut chunks = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let last_room = if i + 1 == lines.len() { room.saturating_sub(allowance) } else { room };
        if width(line) <= last_room {
            chunks.push(quoted(line));
            continue;
        }
        let parts = words(line);
        let mut current = String::new();
        for (j, part) in parts.iter().enumerate() {
            let candidate = format!("{current}{part}");
            let limit = if j + 1 == parts.len() && i + 1 == lines.len() { room.saturating_sub(allowance) } else { room };
            if width(&candidate) > limit && !current.is_empty() {
                chunks.push(quoted(&current));
                current = part.to_string();
            } else if width(&candidate) > limit {
                current = part.to_string();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(quoted(&current));
        }
    }
    if chunks.len() == 1 {
        out.push_str(&chunks[0]);
        return;
    }
    let separator = format!("\n{}", " ".repeat(indent));
    let joined = chunks.join(&separator);
    out.push_str(&if top { format!("({joined})") } else { joined });
}

/// Words, each with the whitespace behind it.
fn words(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.find(super::chars::is_space).unwrap_or(rest.len());
        let blank = rest[word..].find(|c| !super::chars::is_space(c)).map_or(rest.len(), |n| word + n);
        parts.push(&rest[..blank]);
        rest = &rest[blank..];
    }
    parts
}
