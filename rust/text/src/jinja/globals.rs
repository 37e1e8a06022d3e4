//! Global functions and classes.

use num_traits::ToPrimitive;
use std::rc::Rc;

use super::args::Args;
use super::error::{fail, Kind, R};
use super::html;
use super::loops::collect;
use super::methods::no_keywords;
use super::number::index;
use super::repr::str_of;
use super::strftime::strftime;
use super::value::{Dict, Joiner, Range, Text, Value};
use super::vm::Vm;

/// Items a range may have: the sandbox's bound.
const MAX_RANGE: usize = 100_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Range,
    Dict,
    Lipsum,
    Cycler,
    Joiner,
    Namespace,
    RaiseException,
    StrftimeNow,
}

impl Function {
    pub fn global(name: &str) -> Option<Function> {
        Some(match name {
            "range" => Function::Range,
            "dict" => Function::Dict,
            "lipsum" => Function::Lipsum,
            "cycler" => Function::Cycler,
            "joiner" => Function::Joiner,
            "namespace" => Function::Namespace,
            "raise_exception" => Function::RaiseException,
            "strftime_now" => Function::StrftimeNow,
            _ => return None,
        })
    }

    pub fn is_class(self) -> bool {
        matches!(self, Function::Cycler | Function::Joiner)
    }

    pub fn python_name(self) -> &'static str {
        match self {
            Function::Range => "safe_range",
            Function::Dict => "dict",
            Function::Lipsum => "generate_lorem_ipsum",
            Function::Cycler => "Cycler",
            Function::Joiner => "Joiner",
            Function::Namespace => "namespace",
            Function::RaiseException => "raise_exception",
            Function::StrftimeNow => "strftime_now",
        }
    }

    pub fn call(self, vm: &Vm, args: Args) -> R<Value> {
        match self {
            Function::Range => range(args),
            Function::Dict => {
                let mut dict = Dict::new();
                for (key, value) in pairs(vm, args, "dict")? {
                    dict.insert(key, value)?;
                }
                Ok(Value::dict(dict))
            }
            Function::Namespace => {
                let mut attributes: Vec<(Text, Value)> = Vec::new();
                for (key, value) in pairs(vm, args, "namespace")? {
                    if let Some(name) = key.as_text() {
                        check_attribute(name)?;
                        attributes.push((name.clone(), value));
                    }
                }
                Ok(vm.namespace(attributes))
            }
            Function::Cycler => {
                no_keywords("cycler", &args)?;
                if args.positional.is_empty() {
                    return fail(Kind::Runtime, "cycler needs at least one item");
                }
                Value::cycler(args.positional)
            }
            Function::Joiner => {
                let separator = args.bind("joiner", ["sep"], 0)?.take(0).unwrap_or_else(|| Value::str(", "));
                Ok(Value::Joiner(Rc::new(Joiner { separator, used: std::cell::Cell::new(false) })))
            }
            Function::RaiseException => {
                let message = args.bind("raise_exception", ["message"], 1)?.value(0);
                fail(Kind::Raised, str_of(vm, &message)?.to_string())
            }
            Function::StrftimeNow => {
                let format = args.bind("strftime_now", ["format"], 1)?.text(0)?;
                vm.charge_text(format.len().saturating_mul(12))?;
                Ok(Value::str(strftime(&format, vm.clock)))
            }
            Function::Lipsum => lipsum(vm, args),
        }
    }
}

/// transformers refuses such names on namespaces.
pub fn check_attribute(name: &str) -> R<()> {
    if name.starts_with('_') {
        return fail(Kind::Runtime, format!("a namespace cannot have the attribute '{name}': rename it"));
    }
    Ok(())
}

fn range(args: Args) -> R<Value> {
    let mut args = args.bind("range", ["_start", "_stop", "_step"], 1)?;
    let bound = |value: &Value| -> R<i64> {
        match index(value)?.to_i64() {
            Some(bound) => Ok(bound),
            None => fail(Kind::Overflow, "a range goes beyond 64 bits"),
        }
    };
    let first = bound(&args.value(0))?;
    let (start, stop) = match args.take(1) {
        Some(stop) => (first, bound(&stop)?),
        None => (0, first),
    };
    let step = args.take(2).map_or(Ok(1), |step| bound(&step))?;
    if step == 0 {
        return fail(Kind::Value, "the step of a range is zero");
    }
    let range = Range { start, stop, step };
    if range.len() > MAX_RANGE {
        return fail(Kind::Overflow, format!("a range has more than {MAX_RANGE} items"));
    }
    Ok(Value::Range(Rc::new(range)))
}

/// The pairs that dict(...) makes a dict of.
fn pairs(vm: &Vm, args: Args, function: &str) -> R<Vec<(Value, Value)>> {
    let keyword = args.keyword;
    let mut pairs = Vec::new();
    match Args::of(args.positional).bind(function, ["_mapping"], 0)?.take(0) {
        None => {}
        Some(Value::Dict(dict)) => pairs.extend(dict.map.values().cloned()),
        Some(other) => {
            for item in collect(vm, &other)? {
                vm.step()?;
                let pair = collect(vm, &item)?;
                let [key, value] = pair.as_slice() else {
                    return fail(Kind::Value, format!("{function} needs pairs of a key and a value"));
                };
                pairs.push((key.clone(), value.clone()));
            }
        }
    }
    pairs.extend(keyword.into_iter().map(|(name, value)| (Value::Str(name), value)));
    Ok(pairs)
}

const LOREM: &str = "a ac ad amet ante arcu at augue bibendum blandit class commodo condimentum congue consectetuer \
    consequat cras cum curabitur cursus dapibus diam dictum dis dolor donec dui duis egestas eget eleifend elementum \
    elit enim erat eros est et etiam eu euismod facilisis fames faucibus felis fringilla fusce gravida habitant hac \
    iaculis id imperdiet in integer interdum ipsum justo lacinia lacus laoreet lectus leo libero ligula lorem luctus \
    magna massa mattis mauris metus mi mollis montes morbi mus nam nec neque netus nibh nisi nisl non nulla nunc odio \
    orci ornare pede penatibus per porta porttitor posuere primis proin pulvinar purus quam quis quisque rhoncus \
    risus rutrum sagittis sapien sed sem semper senectus sit sociis sodales suscipit tellus tempor tempus tincidunt \
    tortor tristique turpis ullamcorper ultrices urna ut varius vehicula vel velit vestibulum vitae vivamus viverra \
    volutpat vulputate";

/// Filler text: `n` paragraphs of `min` to `max` - 1 words, in tags unless `html` is false.
fn lipsum(vm: &Vm, args: Args) -> R<Value> {
    let mut args = args.bind("lipsum", ["n", "html", "min", "max"], 0)?;
    let count = args.int(0, 5)?;
    let tags = args.flag(vm, 1, true)?;
    let (min, max) = (args.int(2, 20)?, args.int(3, 100)?);
    if count > 0 && max <= min {
        return fail(Kind::Value, "lipsum: max must be above min");
    }
    let words: Vec<&str> = LOREM.split_whitespace().collect();
    let mut paragraphs = Vec::new();
    for _ in 0..count.max(0) {
        let length = min + vm.random(usize::try_from(max - min).unwrap_or(1)) as i64;
        let mut text = String::new();
        for at in 0..length.max(0) {
            vm.step()?;
            let word = words[vm.random(words.len())];
            let begins = at % 12 == 0;
            if at > 0 {
                text.push_str(if begins { ". " } else { " " });
            }
            text.push_str(&if begins { super::chars::capitalize(word) } else { word.to_string() });
            vm.charge_text(word.len() * 4)?;
        }
        text.push('.');
        paragraphs.push(if tags { format!("<p>{}</p>", html::escape(&text)) } else { text });
    }
    let joined = paragraphs.join(if tags { "\n" } else { "\n\n" });
    Ok(if tags { Value::Markup(joined.into()) } else { Value::str(joined) })
}
