//! Arguments of a call and how they meet the parameters of a builtin.

use super::error::{fail, Kind, R};
use super::number;
use super::value::{Text, Value};
use super::vm::Vm;

#[derive(Default)]
pub struct Args {
    pub positional: Vec<Value>,
    pub keyword: Vec<(Text, Value)>,
}

/// Arguments in the order of the parameters; None for those not given.
pub struct Bound<const N: usize>(pub [Option<Value>; N]);

impl Args {
    pub fn of(positional: Vec<Value>) -> Args {
        Args { positional, keyword: Vec::new() }
    }

    /// `required`: so many of the first parameters must be given. A parameter whose name begins with an underscore is
    /// positional only.
    pub fn bind<const N: usize>(self, function: &str, params: [&str; N], required: usize) -> R<Bound<N>> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            return fail(Kind::Type, format!("{function} takes at most {N} arguments"));
        }
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.keyword {
            let Some(at) = params.iter().position(|param| *param == &*name && !param.starts_with('_')) else {
                return fail(Kind::Type, format!("{function} takes no argument '{name}'"));
            };
            if bound[at].replace(value).is_some() {
                return fail(Kind::Type, format!("{function} gets its argument '{name}' twice"));
            }
        }
        if let Some(missing) = bound.iter().take(required).position(Option::is_none) {
            let name = params[missing].trim_start_matches('_');
            return fail(Kind::Type, format!("{function} needs its argument '{name}'"));
        }
        Ok(Bound(bound))
    }

    pub fn none(self, function: &str) -> R<()> {
        self.bind::<0>(function, [], 0).map(|_| ())
    }
}

pub fn text(value: &Value, what: &str) -> R<Text> {
    match value.as_text() {
        Some(text) => Ok(text.clone()),
        None => fail(Kind::Type, format!("{what} must be a str, not a {}", value.type_name())),
    }
}

impl<const N: usize> Bound<N> {
    pub fn take(&mut self, at: usize) -> Option<Value> {
        self.0[at].take()
    }

    /// The argument, unless it is absent or None.
    pub fn some(&mut self, at: usize) -> Option<Value> {
        self.take(at).filter(|value| !value.is_none())
    }

    /// The required argument.
    pub fn value(&mut self, at: usize) -> Value {
        self.take(at).unwrap_or(Value::None)
    }

    pub fn text(&mut self, at: usize) -> R<Text> {
        text(&self.value(at), "an argument")
    }

    /// A str; None when it is absent or None.
    pub fn text_or_none(&mut self, at: usize) -> R<Option<Text>> {
        self.some(at).map(|value| text(&value, "an argument")).transpose()
    }

    pub fn int(&mut self, at: usize, default: i64) -> R<i64> {
        self.take(at).map_or(Ok(default), |value| number::small_index(&value))
    }

    /// An integer; None when it is absent or None.
    pub fn int_or_none(&mut self, at: usize) -> R<Option<i64>> {
        self.some(at).map(|value| number::small_index(&value)).transpose()
    }

    /// A flag that Python takes only as an integer or bool.
    pub fn strict_flag(&mut self, at: usize) -> R<bool> {
        Ok(self.int(at, 0)? != 0)
    }

    pub fn flag(&mut self, vm: &Vm, at: usize, default: bool) -> R<bool> {
        self.take(at).map_or(Ok(default), |value| value.truth(vm))
    }
}
