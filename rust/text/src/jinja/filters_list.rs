//! Filters on lists and dicts.

use super::args::Args;
use super::ast::Binary;
use super::compare::{equal, less, sort};
use super::error::{fail, Kind, R};
use super::filters::{folded, generator, keyed, lazily, Path};
use super::loops::{collect, iterate, length, FromFn, Owned};
use super::number::small_index;
use super::operators::binary;
use super::repr::str_of;
use super::strings;
use super::value::{Key, Source, Value, ViewKind};
use super::vm::Vm;
use super::{access, html};

pub fn apply(vm: &Vm, name: &str, value: &Value, args: Args) -> R<Value> {
    match name {
        "batch" => batch(value, args),
        "slice" => slice(value, args),
        "dictsort" => dictsort(vm, value, args),
        "groupby" => groupby(vm, value, args),
        "items" => {
            args.none(name)?;
            let dict = value.clone();
            generator("generator object do_items", &[value], move |_| match &dict {
                Value::Undefined(_) => Ok(None),
                Value::Dict(dict) => iterate(&Value::View(ViewKind::Items, dict.clone())).map(Some),
                _ => fail(Kind::Type, "items needs a dict"),
            })
        }
        "join" => join(vm, value, args),
        "max" | "min" => extreme(vm, name == "max", value, args),
        "sort" => {
            let mut args = args.bind(name, ["reverse", "case_sensitive", "attribute"], 0)?;
            let (reverse, case) = (args.strict_flag(0)?, args.flag(vm, 1, false)?);
            let paths = Path::several(args.take(2).as_ref());
            let key = |item: &Value| {
                let part = |path: &Path| path.get(vm, item, None).and_then(|key| folded(vm, key, case));
                Value::list(paths.iter().map(part).collect::<R<Vec<Value>>>()?)
            };
            let sorted = sort(vm, keyed(vm, value, key)?, reverse)?;
            Value::list(sorted.into_iter().map(|(_, item)| item).collect())
        }
        "sum" => sum(vm, value, args),
        "unique" => unique(vm, value, args),
        _ => {
            args.none(name)?;
            simple(vm, name, value)
        }
    }
}

fn simple(vm: &Vm, name: &str, value: &Value) -> R<Value> {
    match name {
        "count" | "length" => match length(vm, value)? {
            Some(length) => Ok(Value::Int(length as i64)),
            None => fail(Kind::Type, format!("a {} has no length", value.type_name())),
        },
        "first" => Ok(match iterate(value)?.next(vm)? {
            Some(item) => item,
            None => Value::hint("No first item, sequence was empty."),
        }),
        "last" => match reversed(vm, value)? {
            Some(mut items) => Ok(items.pop().unwrap_or_else(|| Value::hint("No last item, sequence was empty."))),
            None => fail(Kind::Type, format!("a {} has no last item", value.type_name())),
        },
        "list" => Value::list(collect(vm, value)?),
        "random" => {
            let Some(length) = length(vm, value)? else {
                return fail(Kind::Type, format!("a {} has no length", value.type_name()));
            };
            if length == 0 {
                return Ok(Value::hint("No random item, sequence was empty."));
            }
            access::subscript(vm, value, &Value::Int(vm.random(length) as i64))
        }
        _ => reverse(vm, value),
    }
}

/// The items in order, of what Python can go through backwards.
fn reversed(vm: &Vm, value: &Value) -> R<Option<Vec<Value>>> {
    let reversible = !matches!(value, Value::Iter(_) | Value::Loop(_)) && length(vm, value)?.is_some();
    if reversible { collect(vm, value).map(Some) } else { Ok(None) }
}

fn reverse(vm: &Vm, value: &Value) -> R<Value> {
    if let Some(text) = value.as_text() {
        return Ok(Value::str_like(value, strings::slice(text, None, None, -1)));
    }
    match reversed(vm, value)? {
        Some(mut items) => {
            items.reverse();
            let name = match value {
                Value::List(_) => "list_reverseiterator object",
                Value::Dict(_) | Value::View(..) => "dict_reversekeyiterator object",
                Value::Range(_) => "range_iterator object",
                _ => "reversed object",
            };
            Value::iter(name, &[value], Owned(items.into_iter()))
        }
        None => {
            let mut items = collect(vm, value)?;
            items.reverse();
            Value::list(items)
        }
    }
}

fn batch(value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("batch", ["linecount", "fill_with"], 1)?;
    let (size, fill) = (args.value(0), args.some(1));
    let iterated = value.clone();
    let held = [value, &size].map(Value::clone);
    let fills = fill.clone().unwrap_or(Value::None);
    generator("generator object do_batch", &[&held[0], &held[1], &fills], move |_| {
        let mut source = iterate(&iterated)?;
        let (size, fill) = (size.clone(), fill.clone());
        let mut row: Vec<Value> = Vec::new();
        let mut ended = false;
        Ok(Some(Box::new(FromFn(move |vm: &Vm| {
            while let Some(item) = if ended { None } else { source.next(vm)? } {
                vm.step()?;
                let full = equal(vm, &Value::Int(row.len() as i64), &size)?;
                let done = if full { Some(std::mem::take(&mut row)) } else { None };
                row.push(item);
                if let Some(done) = done {
                    return Value::list(done).map(Some);
                }
            }
            ended = true;
            if row.is_empty() {
                return Ok(None);
            }
            let mut last = std::mem::take(&mut row);
            if let Some(fill) = &fill {
                let missing = small_index(&size)?.saturating_sub(last.len() as i64).max(0) as usize;
                vm.charge_items(missing)?;
                last.extend(std::iter::repeat_n(fill.clone(), missing));
            }
            Value::list(last).map(Some)
        })) as Box<dyn Source>))
    })
}

fn slice(value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("slice", ["slices", "fill_with"], 1)?;
    let (slices, fill) = (args.value(0), args.some(1));
    let fills = fill.clone().unwrap_or(Value::None);
    let iterated = value.clone();
    lazily("generator object sync_do_slice", value, &[&fills], move |vm| {
        let items = collect(vm, &iterated)?;
        let slices = small_index(&slices)?;
        if slices == 0 {
            return fail(Kind::ZeroDivision, "slice needs at least one slice");
        }
        let slices = slices.max(0) as usize;
        let mut out = Vec::new();
        let mut at = 0;
        for number in 0..slices {
            vm.step()?;
            let longer = number < items.len() % slices;
            let end = at + items.len() / slices + usize::from(longer);
            let mut part = items[at..end].to_vec();
            part.extend(fill.iter().filter(|_| !longer).cloned());
            out.push(Value::list(part)?);
            at = end;
        }
        Ok(out)
    })
}

fn dictsort(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("dictsort", ["case_sensitive", "by", "reverse"], 0)?;
    let case = args.flag(vm, 0, false)?;
    let by = args.take(1).unwrap_or_else(|| Value::str("key"));
    let reverse = args.strict_flag(2)?;
    let at = match by.as_text().map(|by| by.to_string()).as_deref() {
        Some("key") => 0,
        Some("value") => 1,
        _ => return fail(Kind::Runtime, "dictsort sorts by 'key' or 'value'"),
    };
    let Value::Dict(dict) = value else {
        return fail(Kind::Type, format!("dictsort needs a dict, not a {}", value.type_name()));
    };
    let items = Value::View(ViewKind::Items, dict.clone());
    let key = |item: &Value| folded(vm, access::subscript(vm, item, &Value::Int(at))?, case);
    let sorted = sort(vm, keyed(vm, &items, key)?, reverse)?;
    Value::list(sorted.into_iter().map(|(_, item)| item).collect())
}

fn groupby(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("groupby", ["attribute", "default", "case_sensitive"], 1)?;
    let path = Path::of(Some(&args.value(0)));
    let default = args.some(1);
    let case = args.flag(vm, 2, false)?;
    let key = |item: &Value| folded(vm, path.get(vm, item, default.as_ref())?, case);
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in sort(vm, keyed(vm, value, key)?, false)? {
        match groups.last_mut() {
            Some((last, items)) if equal(vm, last, &key)? => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let mut out = Vec::new();
    for (key, items) in groups {
        let shown = if case { key } else { path.get(vm, &items[0], default.as_ref())? };
        out.push(Value::group(shown, items)?);
    }
    Value::list(out)
}

fn join(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("join", ["d", "attribute"], 0)?;
    let separator = args.take(0).unwrap_or_else(|| Value::str(""));
    let path = Path::of(args.take(1).as_ref());
    let mut items = collect(vm, value)?;
    for item in &mut items {
        *item = path.get(vm, item, None)?;
    }
    let autoescape = vm.autoescape.get();
    let marked = |value: &Value| matches!(value, Value::Markup(_));
    let markup = autoescape && (marked(&separator) || items.iter().any(marked));
    let mut out = String::new();
    let separator = if markup { html::escape_value(vm, &separator)? } else { separator };
    let separator = str_of(vm, &separator)?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(&separator);
        }
        let item = if markup { html::escape_value(vm, item)? } else { item.clone() };
        out.push_str(&str_of(vm, &item)?);
        vm.step()?;
        vm.charge_text(out.len() / 128)?;
    }
    vm.charge_text(out.len())?;
    Ok(if markup { Value::Markup(out.into()) } else { Value::str(out) })
}

fn extreme(vm: &Vm, largest: bool, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("min or max", ["case_sensitive", "attribute"], 0)?;
    let case = args.flag(vm, 0, false)?;
    let path = Path::of(args.take(1).as_ref());
    let mut best: Option<(Value, Value)> = None;
    for item in collect(vm, value)? {
        vm.step()?;
        let key = folded(vm, path.get(vm, &item, None)?, case)?;
        let better = match &best {
            None => true,
            Some((known, _)) if largest => less(vm, known, &key)?,
            Some((known, _)) => less(vm, &key, known)?,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(|| Value::hint("No aggregated item, sequence was empty."), |(_, item)| item))
}

fn sum(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("sum", ["attribute", "start"], 0)?;
    let path = Path::of(args.take(0).as_ref());
    let mut total = args.take(1).unwrap_or(Value::Int(0));
    if total.as_text().is_some() || matches!(total, Value::Bytes(_)) {
        return fail(Kind::Type, "sum does not join strs; use join");
    }
    let mut source = iterate(value)?;
    while let Some(item) = source.next(vm)? {
        vm.step()?;
        total = binary(vm, Binary::Add, &total, &path.get(vm, &item, None)?)?;
    }
    Ok(total)
}

fn unique(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("unique", ["case_sensitive", "attribute"], 0)?;
    let case = args.flag(vm, 0, false)?;
    let path = Path::of(args.take(1).as_ref());
    let iterated = value.clone();
    generator("generator object sync_do_unique", &[value], move |_| {
        let mut source = iterate(&iterated)?;
        let path = path.clone();
        let mut seen: std::collections::HashSet<Key> = std::collections::HashSet::new();
        Ok(Some(Box::new(FromFn(move |vm: &Vm| {
            while let Some(item) = source.next(vm)? {
                vm.step()?;
                if seen.insert(folded(vm, path.get(vm, &item, None)?, case)?.key()?) {
                    return Ok(Some(item));
                }
            }
            Ok(None)
        })) as Box<dyn Source>))
    })
}
