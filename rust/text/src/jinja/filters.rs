//! The filters: which there are, and those that look at attributes or apply other filters and tests.

use super::access;
use super::args::Args;
use super::chars;
use super::error::{error, fail, Kind, R};
use super::loops::{collect, iterate, FromFn};
use super::value::{Source, Text, Value};
use super::vm::Vm;
use super::{filters_list, filters_text, html, json, tests};

const NAMES: [&str; 54] = [
    "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape",
    "filesizeformat", "first", "float", "forceescape", "format", "groupby", "indent", "int", "join", "last", "length",
    "list", "lower", "items", "map", "min", "max", "pprint", "random", "reject", "rejectattr", "replace", "reverse",
    "round", "safe", "select", "selectattr", "slice", "sort", "string", "striptags", "sum", "title", "trim",
    "truncate", "unique", "upper", "urlencode", "urlize", "wordcount", "wordwrap", "xmlattr", "tojson",
];

pub fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

pub fn apply(vm: &Vm, name: &str, value: &Value, args: Args) -> R<Value> {
    vm.step()?;
    vm.guard()?;
    if let Some(text) = value.as_text() {
        vm.charge(text.len())?;
    }
    match name {
        "attr" => {
            let name = args.bind(name, ["name"], 1)?.text(0)?;
            access::only_attribute(vm, value, &name)
        }
        "d" | "default" => {
            let mut args = args.bind(name, ["default_value", "boolean"], 0)?;
            let missing = value.is_undefined() || (args.flag(vm, 1, false)? && !value.truth(vm)?);
            Ok(if missing { args.take(0).unwrap_or_else(|| Value::str("")) } else { value.clone() })
        }
        "map" => map(value, args),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, value, args),
        "tojson" => json::to_json(vm, value, args),
        "urlencode" => html::url_encode(vm, value, args),
        "urlize" => html::urlize(vm, value, args),
        "xmlattr" => html::xml_attributes(vm, value, args),
        "batch" | "count" | "dictsort" | "first" | "groupby" | "items" | "join" | "last" | "length" | "list" | "max"
        | "min" | "random" | "reverse" | "slice" | "sort" | "sum" | "unique" => {
            filters_list::apply(vm, name, value, args)
        }
        _ => filters_text::apply(vm, name, value, args),
    }
}

/// A path of attributes such as `address.city` or `0.name`.
#[derive(Clone)]
pub struct Path(Vec<Value>);

impl Path {
    pub fn of(attribute: Option<&Value>) -> Path {
        match attribute {
            None | Some(Value::None) => Path(Vec::new()),
            Some(Value::Str(text) | Value::Markup(text)) => Path(text.split('.').map(Path::part).collect()),
            Some(other) => Path(vec![other.clone()]),
        }
    }

    /// `a,b`: several paths.
    pub fn several(attribute: Option<&Value>) -> Vec<Path> {
        match attribute {
            Some(Value::Str(text) | Value::Markup(text)) => {
                text.split(',').map(|part| Path::of(Some(&Value::str(part)))).collect()
            }
            other => vec![Path::of(other)],
        }
    }

    fn part(text: &str) -> Value {
        let number = !text.is_empty() && text.chars().all(chars::is_digit);
        number.then(|| super::convert::parse_int(text, 10).ok()).flatten().map_or_else(|| Value::str(text), Value::big)
    }

    pub fn get(&self, vm: &Vm, item: &Value, default: Option<&Value>) -> R<Value> {
        let mut value = item.clone();
        for part in &self.0 {
            vm.step()?;
            value = access::get_item(vm, &value, part)?;
            if let Some(default) = default.filter(|default| value.is_undefined() && !default.is_none()) {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

/// Texts in lowercase, where case does not matter.
pub fn folded(vm: &Vm, value: Value, case_sensitive: bool) -> R<Value> {
    match value.as_text().filter(|_| !case_sensitive) {
        Some(text) => {
            vm.charge(text.len())?;
            Ok(Value::str_like(&value, chars::lower(text)))
        }
        None => Ok(value),
    }
}

/// A generator that begins to work when it is first asked: `start` makes the source. `name`: see value::Iter.
pub fn generator<S>(name: &'static str, held: &[&Value], mut start: S) -> R<Value>
where
    S: FnMut(&Vm) -> R<Option<Box<dyn Source>>> + 'static,
{
    let mut source: Option<Box<dyn Source>> = None;
    let mut started = false;
    Value::iter(name, held, FromFn(move |vm: &Vm| {
        if !started {
            started = true;
            source = start(vm)?;
        }
        match &mut source {
            Some(source) => source.next(vm),
            None => Ok(None),
        }
    }))
}

fn held<'v>(value: &'v Value, args: &'v Args) -> Vec<&'v Value> {
    let keyword = args.keyword.iter().map(|(_, value)| value);
    std::iter::once(value).chain(&args.positional).chain(keyword).collect()
}

fn copy(args: &Args) -> Args {
    Args { positional: args.positional.clone(), keyword: args.keyword.clone() }
}

/// The name of a filter or test that a filter applies.
fn name_of(value: &Value) -> R<Text> {
    match value.as_text() {
        Some(name) => Ok(name.clone()),
        None => fail(Kind::Runtime, format!("a filter or test is named by a {}", value.type_name())),
    }
}

fn map(value: &Value, mut args: Args) -> R<Value> {
    let iterated = value.clone();
    let held: Vec<Value> = held(value, &args).into_iter().cloned().collect();
    let held: Vec<&Value> = held.iter().collect();
    let mut start = move |vm: &Vm| -> R<Option<Box<dyn Source>>> {
        if !iterated.truth(vm)? {
            return Ok(None);
        }
        let by_attribute = args.positional.is_empty() && args.keyword.iter().any(|(name, _)| &**name == "attribute");
        if by_attribute {
            let mut bound = std::mem::take(&mut args).bind("map", ["attribute", "default"], 1)?;
            let (path, default) = (Path::of(Some(&bound.value(0))), bound.some(1));
            let mut source = iterate(&iterated)?;
            return Ok(Some(Box::new(FromFn(move |vm: &Vm| {
                source.next(vm)?.map(|item| path.get(vm, &item, default.as_ref())).transpose()
            }))));
        }
        if args.positional.is_empty() {
            return fail(Kind::Runtime, "map needs a filter or an attribute");
        }
        let name = name_of(&args.positional.remove(0))?;
        let args = std::mem::take(&mut args);
        let mut source = iterate(&iterated)?;
        Ok(Some(Box::new(FromFn(move |vm: &Vm| match source.next(vm)? {
            Some(item) => {
                if !exists(&name) {
                    return fail(Kind::Runtime, format!("there is no filter '{name}'"));
                }
                apply(vm, &name, &item, copy(&args)).map(Some)
            }
            None => Ok(None),
        }))))
    };
    generator("generator object sync_do_map", &held, move |vm| start(vm))
}

fn select(filter: &str, value: &Value, mut args: Args) -> R<Value> {
    let iterated = value.clone();
    let wanted = filter.starts_with("select");
    let by_attribute = filter.ends_with("attr");
    let held: Vec<Value> = held(value, &args).into_iter().cloned().collect();
    let held: Vec<&Value> = held.iter().collect();
    let mut start = move |vm: &Vm| -> R<Option<Box<dyn Source>>> {
        if !iterated.truth(vm)? {
            return Ok(None);
        }
        let mut args = std::mem::take(&mut args);
        let missing = || error(Kind::Runtime, "the name of an attribute is missing");
        let path = match by_attribute {
            true if args.positional.is_empty() => return Err(missing()),
            true => Path::of(Some(&args.positional.remove(0))),
            false => Path(Vec::new()),
        };
        let test = if args.positional.is_empty() { None } else { Some(name_of(&args.positional.remove(0))?) };
        let mut source = iterate(&iterated)?;
        Ok(Some(Box::new(FromFn(move |vm: &Vm| {
            while let Some(item) = source.next(vm)? {
                vm.step()?;
                let value = path.get(vm, &item, None)?;
                let holds = match &test {
                    None => value.truth(vm)?,
                    Some(name) if !tests::exists(name) => {
                        return fail(Kind::Runtime, format!("there is no test '{name}'"));
                    }
                    Some(name) => tests::apply(vm, name, &value, copy(&args))?,
                };
                if holds == wanted {
                    return Ok(Some(item));
                }
            }
            Ok(None)
        }))))
    };
    generator("generator object select_or_reject", &held, move |vm| start(vm))
}

/// A generator over what `make` gives when it is first asked.
pub fn lazily(name: &'static str, value: &Value, more: &[&Value], mut make: impl FnMut(&Vm) -> R<Vec<Value>> + 'static) -> R<Value> {
    let held: Vec<&Value> = std::iter::once(value).chain(more.iter().copied()).collect();
    generator(name, &held, move |vm| {
        let source: Box<dyn Source> = Box::new(super::loops::Owned(make(vm)?.into_iter()));
        Ok(Some(source))
    })
}

/// The items of a value with their keys for sorting.
pub fn keyed(vm: &Vm, value: &Value, key: impl Fn(&Value) -> R<Value>) -> R<Vec<(Value, Value)>> {
    collect(vm, value)?.into_iter().map(|item| Ok((key(&item)?, item))).collect()
}
