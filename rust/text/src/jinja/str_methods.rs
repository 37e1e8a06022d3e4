//! The methods of str and Markup.

use std::rc::Rc;

use super::args::{text, Args};
use super::chars;
use super::error::{fail, Kind, R};
use super::fields;
use super::html;
use super::loops::collect;
use super::number;
use super::strings;
use super::value::{Dict, Text, Value};
use super::vm::Vm;

pub const NAMES: [&str; 47] = [
    "capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "format_map",
    "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
    "isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "maketrans", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
];

/// Further ones of Markup.
pub const MARKUP_NAMES: [&str; 3] = ["escape", "striptags", "unescape"];

fn classes(name: &str) -> Option<(fn(char) -> bool, bool)> {
    Some(match name {
        "isalnum" => (chars::is_alnum, false),
        "isalpha" => (chars::is_alpha, false),
        "isascii" => (|c| c.is_ascii(), true),
        "isdecimal" => (chars::is_decimal, false),
        "isdigit" => (chars::is_digit, false),
        "isnumeric" => (chars::is_numeric, false),
        "isprintable" => (chars::is_printable, true),
        "isspace" => (chars::is_space, false),
        _ => return None,
    })
}

fn case(name: &str, text: &str) -> Option<String> {
    Some(match name {
        "capitalize" => chars::capitalize(text),
        "casefold" => chars::casefold(text),
        "lower" => chars::lower(text),
        "swapcase" => chars::swapcase(text),
        "title" => chars::title(text),
        "upper" => text.to_uppercase(),
        _ => return None,
    })
}

pub fn call(vm: &Vm, object: &Value, this: &Text, name: &str, args: Args) -> R<Value> {
    vm.charge(this.len() * 2)?;
    if let Some((class, empty)) = classes(name) {
        args.none(name)?;
        return Ok(Value::Bool(if this.is_empty() { empty } else { this.chars().all(class) }));
    }
    if let Some(text) = case(name, this) {
        args.none(name)?;
        return Ok(Value::str_like(object, text));
    }
    match name {
        "islower" | "isupper" | "istitle" | "isidentifier" => {
            args.none(name)?;
            Ok(Value::Bool(match name {
                "islower" => chars::all_cased(this, char::is_lowercase),
                "isupper" => chars::all_cased(this, char::is_uppercase),
                "istitle" => chars::is_title_text(this),
                _ => chars::is_identifier(this),
            }))
        }
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs" => widen(vm, object, this, name, args),
        "count" | "find" | "index" | "rfind" | "rindex" => search(this, name, args),
        "startswith" | "endswith" => affix(this, name == "startswith", args),
        "strip" | "lstrip" | "rstrip" => {
            let chars = args.bind(name, ["_chars"], 0)?.text_or_none(0)?;
            let stripped = strings::strip(this, chars.as_deref(), name != "rstrip", name != "lstrip");
            Ok(Value::str_like(object, stripped))
        }
        "split" | "rsplit" | "splitlines" => split(vm, object, this, name, args),
        "partition" | "rpartition" => partition(object, this, name, args),
        "removeprefix" | "removesuffix" => {
            let part = args.bind(name, ["_part"], 1)?.text(0)?;
            let rest =
                if name == "removeprefix" { this.strip_prefix(&*part) } else { this.strip_suffix(&*part) };
            Ok(Value::str_like(object, rest.unwrap_or(this)))
        }
        "replace" => replace(vm, object, this, args),
        "join" => join(vm, object, this, args),
        "encode" => encode(this, args),
        "format" => fields::format(vm, object, this, &args),
        "format_map" => {
            let mapping = args.bind(name, ["_mapping"], 1)?.value(0);
            fields::format_map(vm, object, this, &mapping)
        }
        "maketrans" => maketrans(args),
        "translate" => translate(vm, object, this, args),
        "escape" => Ok(html::escape_value(vm, &args.bind(name, ["_s"], 1)?.value(0))?),
        "striptags" | "unescape" => {
            args.none(name)?;
            vm.charge(this.len() * 16)?;
            Ok(Value::str(if name == "striptags" { html::strip_tags(this) } else { html::unescape(this) }))
        }
        _ => fail(Kind::Type, format!("a str has no method '{name}'")),
    }
}

fn widen(vm: &Vm, object: &Value, this: &Text, name: &str, args: Args) -> R<Value> {
    if name == "expandtabs" {
        let size = args.bind(name, ["tabsize"], 0)?.int(0, 8)?.max(0) as usize;
        let tabs = this.bytes().filter(|b| *b == b'\t').count();
        vm.charge_text(this.len() + tabs.saturating_mul(size))?;
        return Ok(Value::str_like(object, strings::expand_tabs(this, size)));
    }
    let mut args = args.bind(name, ["_width", "_fill"], 1)?;
    let width = number::small_index(&args.value(0))?.max(0) as usize;
    vm.charge_text(width.saturating_mul(4).max(this.len()))?;
    let fill = args.take(1).map(|fill| text(&fill, "the fill character")).transpose()?;
    let fill = match fill {
        Some(_) if name == "zfill" => return fail(Kind::Type, "zfill takes one argument"),
        Some(fill) if matches!(object, Value::Markup(_)) => html::escape(&fill).into(),
        Some(fill) => fill,
        None => " ".into(),
    };
    let mut characters = fill.chars();
    let (Some(fill), None) = (characters.next(), characters.next()) else {
        return fail(Kind::Type, "the fill character must be exactly one");
    };
    Ok(Value::str_like(object, match name {
        "center" => strings::center(this, width, fill),
        "zfill" => strings::zfill(this, width),
        _ => strings::justify(this, width, fill, name == "rjust"),
    }))
}

fn search(this: &Text, name: &str, args: Args) -> R<Value> {
    let mut args = args.bind(name, ["_what", "_start", "_end"], 1)?;
    let what = args.text(0)?;
    let (start, stop) = (args.int_or_none(1)?, args.int_or_none(2)?);
    let window = strings::window(this, start, stop);
    if name == "count" {
        let count = window.map_or(0, |(part, _)| match what.is_empty() {
            true => part.chars().count() + 1,
            false => part.matches(&*what).count(),
        });
        return Ok(Value::Int(count as i64));
    }
    let found = window.and_then(|(part, offset)| {
        let at = if name.starts_with('r') { part.rfind(&*what) } else { part.find(&*what) };
        at.map(|at| offset + part[..at].chars().count())
    });
    match found {
        Some(at) => Ok(Value::Int(at as i64)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => fail(Kind::Value, "substring not found"),
    }
}

fn affix(this: &Text, start: bool, args: Args) -> R<Value> {
    let mut args = args.bind("startswith or endswith", ["_part", "_start", "_end"], 1)?;
    let parts = match args.value(0) {
        Value::Tuple(seq) => seq.items.iter().map(|part| text(part, "a part")).collect::<R<Vec<Text>>>()?,
        part => vec![text(&part, "a part")?],
    };
    let (from, to) = (args.int_or_none(1)?, args.int_or_none(2)?);
    let Some((window, _)) = strings::window(this, from, to) else { return Ok(Value::Bool(false)) };
    let has = |part: &Text| if start { window.starts_with(&**part) } else { window.ends_with(&**part) };
    Ok(Value::Bool(parts.iter().any(has)))
}

fn texts(vm: &Vm, object: &Value, parts: Vec<&str>) -> R<Value> {
    vm.charge_items(parts.len())?;
    Value::list(parts.into_iter().map(|part| Value::str_like(object, part)).collect())
}

fn split(vm: &Vm, object: &Value, this: &Text, name: &str, args: Args) -> R<Value> {
    if name == "splitlines" {
        let keep = args.bind(name, ["keepends"], 0)?.strict_flag(0)?;
        return texts(vm, object, strings::split_lines(this, keep));
    }
    let mut args = args.bind(name, ["sep", "maxsplit"], 0)?;
    let separator = args.text_or_none(0)?;
    let limit = args.int(1, -1)?;
    if separator.as_deref() == Some("") {
        return fail(Kind::Value, "the separator is empty");
    }
    texts(vm, object, strings::split(this, separator.as_deref(), limit, name == "rsplit"))
}

fn partition(object: &Value, this: &Text, name: &str, args: Args) -> R<Value> {
    let separator = args.bind(name, ["_sep"], 1)?.text(0)?;
    if separator.is_empty() {
        return fail(Kind::Value, "the separator is empty");
    }
    let last = name == "rpartition";
    let found = if last { this.rsplit_once(&*separator) } else { this.split_once(&*separator) };
    let parts: [&str; 3] = match found {
        Some((head, tail)) => [head, &separator, tail],
        None if last => ["", "", this],
        None => [this, "", ""],
    };
    Value::tuple(parts.into_iter().map(|part| Value::str_like(object, part)).collect())
}

fn replace(vm: &Vm, object: &Value, this: &Text, args: Args) -> R<Value> {
    let mut args = args.bind("replace", ["_old", "_new", "_count"], 2)?;
    let (old, new) = (args.text(0)?, args.value(1));
    let count = args.int(2, -1)?;
    let new = match object {
        Value::Markup(_) => text(&html::escape_value(vm, &new)?, "an argument")?,
        _ => text(&new, "an argument")?,
    };
    replaced(vm, this, &old, &new, count).map(|text| Value::str_like(object, text))
}

/// strings::replace() within the bounds of texts.
pub fn replaced(vm: &Vm, this: &str, old: &str, new: &str, count: i64) -> R<String> {
    let places = if old.is_empty() { this.chars().count() + 1 } else { this.matches(old).count() };
    let places = usize::try_from(count).map_or(places, |count| places.min(count));
    vm.charge_text(this.len().saturating_add(places.saturating_mul(new.len())))?;
    Ok(strings::replace(this, old, new, count))
}

fn join(vm: &Vm, object: &Value, this: &Text, args: Args) -> R<Value> {
    let items = collect(vm, &args.bind("join", ["_iterable"], 1)?.value(0))?;
    let markup = matches!(object, Value::Markup(_));
    let mut out = String::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(this);
        }
        match item.as_text() {
            _ if markup => out.push_str(&text(&html::escape_value(vm, item)?, "an item")?),
            Some(text) => out.push_str(text),
            None => return fail(Kind::Type, format!("join: item {i} is a {}, not a str", item.type_name())),
        }
        vm.charge_text(out.len())?;
    }
    Ok(Value::str_like(object, out))
}

fn encode(this: &Text, args: Args) -> R<Value> {
    let mut args = args.bind("encode", ["encoding", "errors"], 0)?;
    let encoding = args.take(0).map_or(Ok("utf-8".into()), |value| text(&value, "the encoding"))?;
    let errors = args.take(1).map_or(Ok("strict".into()), |value| text(&value, "the errors' name"))?;
    let highest = match encoding.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" => return Ok(Value::Bytes(Rc::new(this.as_bytes().to_vec()))),
        "ascii" | "us-ascii" => 0x7f,
        "latin-1" | "latin1" | "iso-8859-1" => 0xff,
        _ => return fail(Kind::Lookup, format!("the encoding '{encoding}' is not known here")),
    };
    let mut out = Vec::new();
    for c in this.chars() {
        match (c as u32 <= highest, &*errors) {
            (true, _) => out.push(c as u32 as u8),
            (_, "ignore") => {}
            (_, "replace") => out.push(b'?'),
            (_, "xmlcharrefreplace") => out.extend(format!("&#{};", c as u32).bytes()),
            (_, "backslashreplace") => out.extend(super::percent::ascii(&c.to_string()).bytes()),
            _ => return fail(Kind::Value, format!("'{c}' is not in the encoding '{encoding}'")),
        }
    }
    Ok(Value::Bytes(Rc::new(out)))
}

fn code(c: char) -> Value {
    Value::Int(i64::from(c as u32))
}

fn maketrans(args: Args) -> R<Value> {
    let mut args = args.bind("maketrans", ["_x", "_y", "_z"], 1)?;
    let mut table = Dict::new();
    let first = args.value(0);
    let Some(to) = args.take(1) else {
        let Value::Dict(dict) = &first else { return fail(Kind::Type, "maketrans needs a dict, or two strs") };
        for (key, value) in dict.map.values() {
            let key = match key.as_text() {
                Some(text) if text.chars().count() == 1 => code(text.chars().next().unwrap_or(' ')),
                Some(_) => return fail(Kind::Value, "a key of maketrans is longer than one character"),
                None => Value::Int(number::small_index(key)?),
            };
            table.insert(key, value.clone())?;
        }
        return Ok(Value::dict(table));
    };
    let (from, to) = (text(&first, "an argument")?, text(&to, "an argument")?);
    if from.chars().count() != to.chars().count() {
        return fail(Kind::Value, "the first two arguments of maketrans must be equally long");
    }
    for (from, to) in from.chars().zip(to.chars()) {
        table.insert(code(from), code(to))?;
    }
    for gone in args.take(2).map_or(Ok("".into()), |value| text(&value, "an argument"))?.chars() {
        table.insert(code(gone), Value::None)?;
    }
    Ok(Value::dict(table))
}

fn translate(vm: &Vm, object: &Value, this: &Text, args: Args) -> R<Value> {
    let table = args.bind("translate", ["_table"], 1)?.value(0);
    let mut out = String::new();
    for c in this.chars() {
        vm.step()?;
        match super::access::subscript(vm, &table, &code(c)) {
            Ok(Value::None) => {}
            Ok(Value::Str(text) | Value::Markup(text)) => out.push_str(&text),
            Ok(value) => match u32::try_from(number::small_index(&value)?).ok().and_then(char::from_u32) {
                Some(c) => out.push(c),
                None => return fail(Kind::Value, "translate: not a character's number"),
            },
            Err(error) if error.kind == Kind::Lookup => out.push(c),
            Err(error) => return Err(error),
        }
        vm.charge_text(out.len() / 64)?;
    }
    vm.charge_text(out.len())?;
    Ok(Value::str_like(object, out))
}
