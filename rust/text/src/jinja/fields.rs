//! str.format and format_map: replacement fields, looked up as the sandbox looks up attributes and items.

use super::access;
use super::args::Args;
use super::error::{fail, Kind, R};
use super::format::format_value;
use super::html;
use super::percent::ascii;
use super::repr;
use super::value::{Text, Value};
use super::vm::Vm;

struct Field<'t> {
    name: &'t str,
    conversion: Option<char>,
    spec: &'t str,
}

enum Piece<'t> {
    Literal(&'t str),
    Field(Field<'t>),
}

fn broken<T>(message: &str) -> R<T> {
    fail(Kind::Value, format!("a format string {message}"))
}

/// The piece `text` begins with, and what follows it.
fn piece(text: &str) -> R<(Piece<'_>, &str)> {
    let Some(brace) = text.find(['{', '}']) else { return Ok((Piece::Literal(text), "")) };
    if brace > 0 {
        return Ok((Piece::Literal(&text[..brace]), &text[brace..]));
    }
    if text.starts_with("{{") || text.starts_with("}}") {
        return Ok((Piece::Literal(&text[..1]), &text[2..]));
    }
    if text.starts_with('}') {
        return broken("has a single '}'");
    }
    let (field, rest) = field(&text[1..])?;
    Ok((Piece::Field(field), rest))
}

/// The field whose text begins behind its `{`.
fn field(text: &str) -> R<(Field<'_>, &str)> {
    let mut brackets = false;
    let mut end = None;
    for (at, c) in text.char_indices() {
        match c {
            '{' => return broken("has '{' in the name of a field"),
            '[' => brackets = true,
            ']' => brackets = false,
            '}' | ':' | '!' if !brackets => {
                end = Some((at, c));
                break;
            }
            _ => {}
        }
    }
    let Some((at, mark)) = end else { return broken("has a field that is not closed") };
    let (name, mut rest) = (&text[..at], &text[at + 1..]);
    let mut conversion = None;
    if mark == '}' {
        return Ok((Field { name, conversion, spec: "" }, rest));
    }
    if mark == '!' {
        conversion = rest.chars().next();
        rest = &rest[conversion.map_or(0, char::len_utf8)..];
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((Field { name, conversion, spec: "" }, after));
        }
        let Some(after) = rest.strip_prefix(':') else { return broken("lacks ':' after a conversion") };
        rest = after;
    }
    let mut depth = 1;
    for (at, c) in rest.char_indices() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return Ok((Field { name, conversion, spec: &rest[..at] }, &rest[at + 1..]));
        }
    }
    broken("has a field that is not closed")
}

struct Formatter<'v> {
    vm: &'v Vm,
    args: &'v [Value],
    /// Gives the value of a name.
    named: &'v dyn Fn(&str) -> R<Value>,
    /// None once fields are numbered by hand.
    automatic: Option<usize>,
    markup: bool,
}

impl Formatter<'_> {
    fn run(&mut self, text: &str, depth: i32, out: &mut String) -> R<()> {
        if depth < 0 {
            return broken("nests fields too deeply");
        }
        let mut rest = text;
        while !rest.is_empty() {
            self.vm.step()?;
            let (piece, after) = piece(rest)?;
            rest = after;
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(field) => self.field(&field, depth, out)?,
            }
            self.vm.charge_text(out.len() / 16)?;
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, depth: i32, out: &mut String) -> R<()> {
        let numbered = !field.name.is_empty() && field.name.chars().all(super::chars::is_digit);
        let automatic;
        let name = match (field.name.is_empty(), self.automatic) {
            (true, Some(next)) => {
                self.automatic = Some(next + 1);
                automatic = next.to_string();
                &automatic
            }
            (true, None) => return broken("numbers fields both by hand and not"),
            (false, Some(next)) if numbered && next > 0 => return broken("numbers fields both by hand and not"),
            _ => {
                if numbered {
                    self.automatic = None;
                }
                field.name
            }
        };
        let value = self.lookup(name)?;
        let value = match field.conversion {
            None => value,
            Some('s') => Value::Str(repr::str_of(self.vm, &value)?),
            Some('r') => Value::str(repr::repr(self.vm, &value)?),
            Some('a') => Value::str(ascii(&repr::repr(self.vm, &value)?)),
            Some(other) => return broken(&format!("has the unknown conversion '{other}'")),
        };
        let mut spec = String::new();
        self.run(field.spec, depth - 1, &mut spec)?;
        match &value {
            Value::Markup(_) if self.markup && !spec.is_empty() => return broken("gives Markup a format"),
            Value::Markup(text) if self.markup => out.push_str(text),
            _ => {
                let text = format_value(self.vm, &value, &spec)?;
                out.push_str(&if self.markup { html::escape(&text).into() } else { text });
            }
        }
        Ok(())
    }

    /// The value of a field's name such as `0.role[text]`.
    fn lookup(&self, name: &str) -> R<Value> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let mut value = match number(first) {
            Some(at) => match self.args.get(at) {
                Some(value) => value.clone(),
                None => return fail(Kind::Lookup, format!("the format has no value {at}")),
            },
            None => (self.named)(first)?,
        };
        while !rest.is_empty() {
            self.vm.step()?;
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 {
                    return broken("has an empty attribute");
                }
                value = access::get_attribute(self.vm, &value, &after[..end].into())?;
                rest = &after[end..];
            } else if let Some(after) = rest.strip_prefix('[') {
                let Some(end) = after.find(']') else { return broken("lacks ']'") };
                if end == 0 {
                    return broken("has an empty index");
                }
                let key = &after[..end];
                let key = number(key).map_or_else(|| Value::str(key), |at| Value::Int(at as i64));
                value = access::get_item(self.vm, &value, &key)?;
                rest = &after[end + 1..];
            } else {
                return broken("has something else than '.' or '[' after ']'");
            }
        }
        Ok(value)
    }
}

fn run(vm: &Vm, object: &Value, text: &str, args: &[Value], named: &dyn Fn(&str) -> R<Value>) -> R<Value> {
    let markup = matches!(object, Value::Markup(_));
    let mut out = String::new();
    Formatter { vm, args, named, automatic: Some(0), markup }.run(text, 2, &mut out)?;
    vm.charge_text(out.len())?;
    Ok(Value::str_like(object, out))
}

/// text.format(*args, **kwargs).
pub fn format(vm: &Vm, object: &Value, text: &Text, args: &Args) -> R<Value> {
    run(vm, object, text, &args.positional, &|name| {
        match args.keyword.iter().find(|(known, _)| &**known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => fail(Kind::Lookup, format!("the format has no value '{name}'")),
        }
    })
}

/// text.format_map(mapping).
pub fn format_map(vm: &Vm, object: &Value, text: &Text, mapping: &Value) -> R<Value> {
    run(vm, object, text, &[], &|name| access::subscript(vm, mapping, &Value::str(name)))
}
