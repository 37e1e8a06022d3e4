//! transformers' filter tojson: json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False).

use std::fmt::Write;

use super::args::Args;
use super::compare::sort;
use super::error::{fail, Kind, R};
use super::loops::collect;
use super::number::{decimal, small_index};
use super::repr;
use super::value::{Dict, Text, Value};
use super::vm::Vm;

/// Layout; `indent` None means one line.
struct Style {
    ascii: bool,
    indent: Option<Text>,
    item_separator: Text,
    key_separator: Text,
    sort_keys: bool,
}

pub fn to_json(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"], 0)?;
    let ascii = args.flag(vm, 0, false)?;
    let indent = match args.some(1) {
        None => None,
        Some(Value::Str(text) | Value::Markup(text)) => Some(text),
        Some(width) => {
            let width = small_index(&width)?.max(0) as usize;
            vm.charge_text(width)?;
            Some(" ".repeat(width).into())
        }
    };
    let mut separators: [Text; 2] = [if indent.is_some() { "," } else { ", " }.into(), ": ".into()];
    if let Some(pair) = args.some(2) {
        let pair = collect(vm, &pair)?;
        let [item, key] = pair.as_slice() else { return fail(Kind::Value, "tojson: separators are two strs") };
        separators = [super::args::text(item, "a separator")?, super::args::text(key, "a separator")?];
    }
    let sort_keys = args.flag(vm, 3, false)?;
    let [item_separator, key_separator] = separators;
    let style = Style { ascii, indent, item_separator, key_separator, sort_keys };
    let mut out = String::new();
    write(vm, value, &style, 0, &mut out)?;
    Ok(Value::str(out))
}

fn string(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ascii && (c as u32) > 0x7e) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn float(value: f64) -> String {
    match repr::float(value).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        text => text.into(),
    }
}

fn key_text(key: &Value) -> R<Text> {
    Ok(match key {
        Value::Str(text) | Value::Markup(text) => text.clone(),
        Value::None => "null".into(),
        Value::Bool(value) => if *value { "true" } else { "false" }.into(),
        Value::Int(value) => value.to_string().into(),
        Value::Big(value) => decimal(value)?.into(),
        Value::Float(value) => float(*value).into(),
        other => return fail(Kind::Type, format!("tojson: a key of type {} is not JSON", other.type_name())),
    })
}

fn new_line(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn object(vm: &Vm, dict: &Dict, style: &Style, depth: usize, out: &mut String) -> R<()> {
    let mut entries: Vec<(Value, Value)> = dict.map.values().cloned().collect();
    if style.sort_keys {
        entries = sort(vm, entries, false)?;
    }
    out.push('{');
    for (i, (key, item)) in entries.iter().enumerate() {
        if i > 0 {
            out.push_str(&style.item_separator);
        }
        new_line(style, depth + 1, out);
        string(&key_text(key)?, style.ascii, out);
        out.push_str(&style.key_separator);
        write(vm, item, style, depth + 1, out)?;
    }
    if !entries.is_empty() {
        new_line(style, depth, out);
    }
    out.push('}');
    Ok(())
}

fn write(vm: &Vm, value: &Value, style: &Style, depth: usize, out: &mut String) -> R<()> {
    vm.step()?;
    vm.guard()?;
    let before = out.len();
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Big(value) => out.push_str(&decimal(value)?),
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Str(text) | Value::Markup(text) => string(text, style.ascii, out),
        Value::Dict(dict) => object(vm, dict, style, depth, out)?,
        Value::List(seq) | Value::Tuple(seq) => {
            out.push('[');
            for (i, item) in seq.items.iter().enumerate() {
                if i > 0 {
                    out.push_str(&style.item_separator);
                }
                new_line(style, depth + 1, out);
                write(vm, item, style, depth + 1, out)?;
            }
            if !seq.items.is_empty() {
                new_line(style, depth, out);
            }
            out.push(']');
        }
        other => {
            return fail(Kind::Type, format!("tojson: a value of type {} is not JSON", other.type_name()));
        }
    }
    vm.charge_text(out.len() - before)?;
    vm.charge_text(out.len() / 64)
}
