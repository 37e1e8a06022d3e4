//! Chat templates: minijinja set up to render what jinja2 with Hugging Face transformers' settings renders.
//!
//! transformers renders in an immutable sandbox with trim_blocks and lstrip_blocks on, autoescape off, loop controls, a
//! `{% generation %}` block, and the extra names `raise_exception`, `strftime_now` and its own `tojson`.

use std::io;

use minijinja::value::{from_args, Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::python::{self, JsonStyle};

/// Instructions one rendering may execute: long histories need about 1e5; 1e7 ends an endless loop within seconds.
const FUEL: u64 = 10_000_000;
/// Bytes one rendering may produce.
const MAX_OUTPUT: usize = 64 << 20;
const NAME: &str = "chat_template";

pub struct ChatTemplate {
    source: String,
}

impl ChatTemplate {
    /// Reads and checks the source; a syntax error names its line.
    pub fn new(source: &[u8]) -> Result<ChatTemplate, String> {
        let text = std::str::from_utf8(source).map_err(|_| "the template is not UTF-8".to_string())?;
        let unix = text.replace("\r\n", "\n").replace('\r', "\n");
        let template = ChatTemplate { source: replace_generation_tags(&unix) };
        template.environment([2000, 1, 1, 0, 0, 0, 1]).map(|_| ()).map_err(|e| describe(&e))?;
        Ok(template)
    }

    /// The prompt for a JSON object of variables. `clock` is what strftime_now prints (python::strftime).
    pub fn render(&self, context: &[u8], clock: [i32; 7]) -> Result<String, String> {
        let json: serde_json::Value =
            serde_json::from_slice(context).map_err(|e| format!("the template's variables are not JSON: {e}"))?;
        let environment = self.environment(clock).map_err(|e| describe(&e))?;
        let template = environment.get_template(NAME).map_err(|e| describe(&e))?;
        let mut output = Limited(Vec::new());
        template.render_captured_to(Value::from_serialize(&json), &mut output).map_err(|e| describe(&e))?;
        String::from_utf8(output.0).map_err(|e| e.to_string())
    }

    fn environment(&self, clock: [i32; 7]) -> Result<Environment<'_>, Error> {
        let mut env = Environment::new();
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_fuel(Some(FUEL));
        env.set_unknown_method_callback(method);
        env.set_formatter(|out, _, value| out.write_str(&python::str_of(value)).map_err(Error::from));
        env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
        });
        env.add_function("strftime_now", move |format: String| python::strftime(&format, clock));
        env.add_filter("tojson", tojson);
        env.add_filter("string", |value: &Value| python::str_of(value));
        env.add_filter("upper", |value: &Value| python::str_of(value).to_uppercase());
        env.add_filter("lower", |value: &Value| python::str_of(value).to_lowercase());
        env.add_filter("replace", replace);
        env.add_filter("int", |value: &Value, default: Option<i64>| {
            number(value).map_or(default.unwrap_or(0), |n| n as i64)
        });
        env.add_filter("float", |value: &Value, default: Option<f64>| number(value).or(default).unwrap_or(0.0));
        env.add_filter("wordcount", |value: &Value| python::str_of(value).split_whitespace().count());
        env.add_filter("join", join);
        env.add_filter("indent", indent);
        env.add_filter("e", escape);
        env.add_filter("escape", escape);
        env.add_filter("length", length);
        env.add_filter("count", length);
        env.add_filter("trim", |value: &Value, chars: Option<String>| strip(&python::str_of(value), chars, true, true));
        env.add_test("sequence", |v: &Value| matches!(v.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map));
        env.add_test("iterable", |v: &Value| {
            matches!(v.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Undefined)
        });
        env.add_test("number", |v: &Value| matches!(v.kind(), ValueKind::Number | ValueKind::Bool));
        env.add_test("callable", |v: &Value| {
            matches!(v.kind(), ValueKind::Plain) && v.as_object().is_some()
        });
        env.add_template(NAME, &self.source)?;
        Ok(env)
    }
}

/// Marks an error raised by the template itself, whose text is shown without minijinja's frame.
const RAISED: &str = "\u{1}raised:";

/// One sentence: where, what, and what to do.
fn describe(error: &Error) -> String {
    let mut deepest = error;
    while let Some(inner) = std::error::Error::source(deepest).and_then(|s| s.downcast_ref::<Error>()) {
        deepest = inner;
    }
    if let Some(message) = deepest.detail().and_then(|d| d.strip_prefix(RAISED)) {
        return format!("the template refuses this conversation: {message}");
    }
    let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
    if deepest.kind() == ErrorKind::OutOfFuel {
        return format!("{line}stopped after {FUEL} steps; the template loops endlessly or is far too large");
    }
    let kind = deepest.kind().to_string();
    match (deepest.detail(), std::error::Error::source(deepest)) {
        (_, Some(cause)) => format!("{line}{kind}: {cause}"),
        (Some(detail), None) => format!("{line}{kind}: {detail}"),
        (None, None) => format!("{line}{kind}"),
    }
}

/// Collects at most MAX_OUTPUT bytes.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other(format!("the prompt grew past {} MiB", MAX_OUTPUT >> 20)));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The byte after the tag that starts at `start` with `{%` or `{{` and closes with `close`, skipping string literals.
fn tag_end(source: &str, start: usize, close: &str) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut i = start + 2;
    while i < bytes.len() {
        match bytes[i] {
            quote @ (b'"' | b'\'') => {
                i += 1;
                while i < bytes.len() && bytes[i] != quote {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                i += 1;
            }
            _ if bytes[i..].starts_with(close.as_bytes()) => return Some(i + close.len()),
            _ => i += 1,
        }
    }
    None
}

/// `{% generation %}` marks assistant text for training; it renders its body in a scope of its own, which is what an
/// empty `{% with %}` does. Whitespace marks stay as they are; comments, strings and raw blocks are left alone.
fn replace_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = 0;
    while let Some(found) = source[rest..].find('{') {
        let start = rest + found;
        out.push_str(&source[rest..start]);
        let tail = &source[start..];
        let end = if tail.starts_with("{#") {
            tail.find("#}").map(|e| start + e + 2)
        } else if tail.starts_with("{%") {
            tag_end(source, start, "%}")
        } else if tail.starts_with("{{") {
            tag_end(source, start, "}}")
        } else {
            Some(start + 1)
        };
        let Some(end) = end else {
            out.push_str(tail);
            return out;
        };
        let tag = &source[start..end];
        let word = tag.trim_start_matches("{%").trim_start_matches(['-', '+']).trim_end_matches("%}");
        let word = word.trim_end_matches(['-', '+']).trim();
        rest = end;
        match word {
            "generation" if tag.starts_with("{%") => out.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" if tag.starts_with("{%") => out.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            "raw" if tag.starts_with("{%") => {
                out.push_str(tag);
                let close = source[end..].find("endraw").map_or(source.len(), |at| end + at);
                out.push_str(&source[end..close]);
                rest = close;
            }
            _ => out.push_str(tag),
        }
    }
    out.push_str(&source[rest..]);
    out
}

/// transformers' tojson: json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False).
fn tojson(value: &Value, positional: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let argument = |index: usize, name: &str| -> Result<Option<Value>, Error> {
        let given = match positional.get(index) {
            Some(value) => Some(value.clone()),
            None => kwargs.get::<Option<Value>>(name)?,
        };
        Ok(given.filter(|v| !v.is_none() && !v.is_undefined()))
    };
    let indent = match argument(1, "indent")? {
        None => None,
        Some(v) if v.as_str().is_some() => v.as_str().map(str::to_string),
        Some(v) => Some(" ".repeat(v.as_i64().unwrap_or(0).clamp(0, 64) as usize)),
    };
    let mut separators = (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string());
    if let Some(pair) = argument(2, "separators")? {
        separators = (python::str_of(&pair.get_item_by_index(0)?), python::str_of(&pair.get_item_by_index(1)?));
    }
    let style = JsonStyle {
        ascii: argument(0, "ensure_ascii")?.is_some_and(|v| v.is_true()),
        indent,
        item_separator: separators.0,
        key_separator: separators.1,
        sort_keys: argument(3, "sort_keys")?.is_some_and(|v| v.is_true()),
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    python::write_json(value, &style, 0, &mut out)?;
    Ok(Value::from(out))
}

fn join(value: &Value, separator: Option<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let separator = match separator {
        Some(s) => Some(s),
        None => kwargs.get::<Option<Value>>("d")?,
    };
    let separator = separator.map_or(String::new(), |s| python::str_of(&s));
    let attribute: Option<Value> = kwargs.get("attribute")?;
    kwargs.assert_all_used()?;
    let mut out = String::new();
    for (i, item) in value.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(&separator);
        }
        out += &python::str_of(&match &attribute {
            Some(name) => item.get_item(name)?,
            None => item,
        });
    }
    Ok(out)
}

/// jinja2's indent(s, width=4, first=False, blank=False): the last line keeps its newline.
fn indent(value: &Value, positional: Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let argument = |index: usize, name: &str| -> Result<Option<Value>, Error> {
        match positional.get(index) {
            Some(value) => Ok(Some(value.clone())),
            None => kwargs.get::<Option<Value>>(name),
        }
    };
    let pad = match argument(0, "width")? {
        None => "    ".to_string(),
        Some(v) if v.as_str().is_some() => v.as_str().unwrap_or_default().to_string(),
        Some(v) => " ".repeat(v.as_i64().unwrap_or(4).clamp(0, 1024) as usize),
    };
    let first = argument(1, "first")?.is_some_and(|v| v.is_true());
    let blank = argument(2, "blank")?.is_some_and(|v| v.is_true());
    kwargs.assert_all_used()?;
    let mut out = String::new();
    for (i, line) in python::str_of(value).split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if (i == 0 && first) || (i > 0 && (blank || !line.is_empty())) {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// The number that a value or its text is.
fn number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(if value.is_true() { 1.0 } else { 0.0 }),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => value.as_str().and_then(|text| text.trim().parse().ok()),
    }
}

/// str(value).replace(old, new[, count]).
fn replace(value: &Value, old: &Value, new: &Value, count: Option<i64>) -> String {
    let (text, old, new) = (python::str_of(value), python::str_of(old), python::str_of(new));
    match count {
        Some(count) if count >= 0 => text.replacen(&old, &new, count as usize),
        _ => text.replace(&old, &new),
    }
}

fn escape(value: &Value) -> String {
    let text = python::str_of(value);
    text.replace('&', "&amp;").replace('>', "&gt;").replace('<', "&lt;").replace('\'', "&#39;").replace('"', "&#34;")
}

fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    let missing = || Error::new(ErrorKind::InvalidOperation, format!("a value of type {} has no length", value.kind()));
    value.len().ok_or_else(missing)
}

/// str.strip and its one-sided forms: without `chars`, Python's whitespace (Unicode's and U+001C..U+001F).
fn strip(text: &str, chars: Option<String>, left: bool, right: bool) -> String {
    let drop = |c: char| match &chars {
        Some(set) => set.contains(c),
        None => c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c),
    };
    let text = if left { text.trim_start_matches(drop) } else { text };
    let text = if right { text.trim_end_matches(drop) } else { text };
    text.to_string()
}

/// str.find and str.rfind count characters, not bytes.
fn find(text: &str, what: &str, last: bool) -> i64 {
    let at = if last { text.rfind(what) } else { text.find(what) };
    at.map_or(-1, |at| text[..at].chars().count() as i64)
}

/// Python methods on strings and mappings; what is not here is minijinja's pycompat.
fn method(state: &State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if name == "index" && value.kind() == ValueKind::Seq {
        let (what,): (Value,) = from_args(args)?;
        let missing = || Error::new(ErrorKind::InvalidOperation, "the list has no such item");
        return value.try_iter()?.position(|item| item == what).map(Value::from).ok_or_else(missing);
    }
    let Some(text) = value.as_str() else {
        return unknown_method_callback(state, value, name, args);
    };
    let optional = |args: &[Value]| -> Result<Option<String>, Error> { Ok(from_args::<(Option<String>,)>(args)?.0) };
    Ok(match name {
        "strip" => Value::from(strip(text, optional(args)?, true, true)),
        "lstrip" => Value::from(strip(text, optional(args)?, true, false)),
        "rstrip" => Value::from(strip(text, optional(args)?, false, true)),
        "find" | "index" => Value::from(find(text, from_args::<(&str,)>(args)?.0, false)),
        "rfind" | "rindex" => Value::from(find(text, from_args::<(&str,)>(args)?.0, true)),
        "isdigit" | "isnumeric" | "isalnum" | "isalpha" | "isspace" if text.is_empty() => Value::from(false),
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "rsplit" => {
            let (separator, limit): (&str, Option<i64>) = from_args(args)?;
            let limit = limit.filter(|n| *n >= 0).map_or(usize::MAX, |n| n as usize + 1);
            let mut parts: Vec<&str> = text.rsplitn(limit, separator).collect();
            parts.reverse();
            parts.into_iter().map(Value::from).collect()
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            let (head, tail) = text.split_once(separator).unwrap_or((text, ""));
            let middle = if head.len() == text.len() { "" } else { separator };
            [head, middle, tail].into_iter().map(Value::from).collect()
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let digits = text.trim_start_matches(['-', '+']);
            let sign = &text[..text.len() - digits.len()];
            let zeros = width.min(1024).saturating_sub(text.chars().count());
            Value::from(format!("{sign}{}{digits}", "0".repeat(zeros)))
        }
        "join" => Value::from(join(&from_args::<(Value,)>(args)?.0, Some(value.clone()), Kwargs::from_iter(std::iter::empty::<(&str, Value)>()))?),
        _ => return unknown_method_callback(state, value, name, args),
    })
}
