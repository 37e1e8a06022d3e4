//! `%` on strings, printf-style.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use super::error::{error, fail, Error, Kind, R};
use super::format::float_digits;
use super::html;
use super::number::{self, Number};
use super::repr;
use super::value::{Text, Value};
use super::vm::Vm;

#[derive(Default)]
struct Flags {
    left: bool,
    zero: bool,
    alternate: bool,
    plus: bool,
    blank: bool,
    width: usize,
    precision: Option<usize>,
}

/// The values that a format takes: those of a tuple in turn, or one value, or those of a mapping by name.
struct Source<'v> {
    args: &'v Value,
    taken: usize,
    named: bool,
    /// The format is Markup: texts are escaped.
    markup: bool,
}

fn short() -> Box<Error> {
    error(Kind::Type, "not enough values for the format")
}

impl Source<'_> {
    fn next(&mut self) -> R<Value> {
        self.taken += 1;
        match self.args {
            Value::Tuple(seq) => seq.items.get(self.taken - 1).cloned().ok_or_else(short),
            value if self.taken == 1 => Ok(value.clone()),
            _ => Err(short()),
        }
    }

    fn is_mapping(&self) -> bool {
        matches!(self.args, Value::List(_) | Value::Dict(_) | Value::Range(_) | Value::Bytes(_) | Value::Undefined(_))
    }

    fn get(&mut self, vm: &Vm, name: &str) -> R<Value> {
        self.named = true;
        self.taken = 1; // an unnamed conversion behind a named one has no value
        if !self.is_mapping() {
            return fail(Kind::Type, "the format needs a mapping");
        }
        super::access::subscript(vm, self.args, &Value::str(name))
    }

    fn all_used(&self) -> bool {
        match self.args {
            Value::Tuple(seq) => self.taken >= seq.items.len(),
            _ => self.taken > 0 || self.named || self.is_mapping(),
        }
    }

    fn count(&mut self) -> R<i64> {
        match self.next()? {
            value @ (Value::Int(_) | Value::Bool(_) | Value::Big(_)) => number::small_index(&value),
            _ => fail(Kind::Type, "'*' in a format needs an integer"),
        }
    }
}

type Chars<'t> = std::iter::Peekable<std::str::Chars<'t>>;

fn digits(chars: &mut Chars) -> usize {
    let mut value = 0usize;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        value = value.saturating_mul(10).saturating_add(digit as usize);
        chars.next();
    }
    value
}

fn bounded(value: usize) -> R<usize> {
    if value > 1 << 20 {
        return fail(Kind::Limit, "a format is wider than 1048576");
    }
    Ok(value)
}

fn flags(chars: &mut Chars, source: &mut Source) -> R<Flags> {
    let mut flags = Flags::default();
    loop {
        match chars.peek() {
            Some('-') => flags.left = true,
            Some('+') => flags.plus = true,
            Some(' ') => flags.blank = true,
            Some('#') => flags.alternate = true,
            Some('0') => flags.zero = true,
            _ => break,
        }
        chars.next();
    }
    if chars.next_if_eq(&'*').is_some() {
        let width = source.count()?;
        flags.left |= width < 0;
        flags.width = bounded(width.unsigned_abs() as usize)?;
    } else {
        flags.width = bounded(digits(chars))?;
    }
    if chars.next_if_eq(&'.').is_some() {
        let precision =
            if chars.next_if_eq(&'*').is_some() { source.count()?.max(0) as usize } else { digits(chars) };
        flags.precision = Some(bounded(precision)?);
    }
    chars.next_if(|c| matches!(c, 'h' | 'l' | 'L'));
    Ok(flags)
}

/// The name in `(name)`, which may hold balanced parentheses.
fn name(chars: &mut Chars) -> R<String> {
    let mut depth = 1;
    let mut name = String::new();
    for c in chars.by_ref() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(name);
        }
        name.push(c);
    }
    fail(Kind::Value, "a name in a format is not closed")
}

/// `format % args`.
pub fn percent(vm: &Vm, format: &str, args: &Value, markup: bool) -> R<Text> {
    let mut out = String::new();
    let mut source = Source { args, taken: 0, named: false, markup };
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        vm.step()?;
        let mut value = None;
        if chars.next_if_eq(&'(').is_some() {
            let name = name(&mut chars)?;
            value = Some(source.get(vm, &name)?);
        }
        let flags = flags(&mut chars, &mut source)?;
        let Some(kind) = chars.next() else {
            return fail(Kind::Value, "a format ends within a conversion");
        };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match value {
            Some(value) => value,
            None => source.next()?,
        };
        vm.charge_text(out.len().max(flags.width).max(flags.precision.unwrap_or(0)))?;
        convert(vm, kind, &flags, &value, source.markup, &mut out)?;
        vm.charge_text(out.len())?;
    }
    if !source.all_used() {
        return fail(Kind::Type, "not all values were used by the format");
    }
    Ok(out.into())
}

fn convert(vm: &Vm, kind: char, flags: &Flags, value: &Value, markup: bool, out: &mut String) -> R<()> {
    match kind {
        's' | 'r' | 'a' => {
            let text = match kind {
                's' => repr::str_of(vm, value)?.to_string(),
                'r' => repr::repr(vm, value)?,
                _ => ascii(&repr::repr(vm, value)?),
            };
            let text = match (markup, value, kind) {
                (false, ..) | (true, Value::Markup(_), 's') => text,
                _ => html::escape(&text),
            };
            let cut: String = text.chars().take(flags.precision.unwrap_or(usize::MAX)).collect();
            pad(flags, "", &cut, false, out);
        }
        'c' => {
            let c = match value.as_text() {
                Some(text) if text.chars().count() == 1 => text.to_string(),
                Some(_) => return fail(Kind::Type, "%c needs one character"),
                None => match number::small_index(value)?.to_u32().and_then(char::from_u32) {
                    Some(c) => c.to_string(),
                    None => return fail(Kind::Overflow, "%c needs a character's number"),
                },
            };
            pad(flags, "", &c, false, out);
        }
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => integer(vm, kind, flags, value, out)?,
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = super::convert::to_float_strict(value)?;
            let body = float_digits(number, kind, flags.precision.unwrap_or(6), flags.alternate);
            let negative = number.is_sign_negative() && !number.is_nan();
            pad(flags, sign(flags, negative), &body, flags.zero, out);
        }
        other => return fail(Kind::Value, format!("a format has the unknown conversion '%{other}'")),
    }
    Ok(())
}

fn sign(flags: &Flags, negative: bool) -> &'static str {
    match (negative, flags.plus, flags.blank) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

fn integer(vm: &Vm, kind: char, flags: &Flags, value: &Value, out: &mut String) -> R<()> {
    let whole: BigInt = match (Number::of(value), kind) {
        (Some(Number::Float(float)), 'd' | 'i' | 'u') => number::truncate(float)?,
        (Some(number), _) => match number.big() {
            Some(whole) => whole,
            None => return fail(Kind::Type, format!("%{kind} needs an integer, not a float")),
        },
        _ => return fail(Kind::Type, format!("%{kind} needs a number, not a {}", value.type_name())),
    };
    vm.charge(whole.bits() as usize)?;
    let magnitude = whole.abs();
    let (digits, prefix) = match kind {
        'o' => (magnitude.to_str_radix(8), "0o"),
        'x' => (magnitude.to_str_radix(16), "0x"),
        'X' => (magnitude.to_str_radix(16).to_uppercase(), "0X"),
        _ => (number::decimal(&magnitude)?, ""),
    };
    let zeros = flags.precision.unwrap_or(0).saturating_sub(digits.len());
    let digits = "0".repeat(zeros) + &digits;
    let prefix = if flags.alternate { prefix } else { "" };
    let lead = format!("{}{prefix}", sign(flags, whole.is_negative()));
    pad(flags, &lead, &digits, flags.zero, out);
    Ok(())
}

/// Appends `lead` and `body` in the format's width; zeros go between them.
fn pad(flags: &Flags, lead: &str, body: &str, zeros: bool, out: &mut String) {
    let missing = flags.width.saturating_sub(lead.chars().count() + body.chars().count());
    let fill = |c: char, out: &mut String| out.extend(std::iter::repeat_n(c, missing));
    if !flags.left && !zeros {
        fill(' ', out);
    }
    out.push_str(lead);
    if !flags.left && zeros {
        fill('0', out);
    }
    out.push_str(body);
    if flags.left {
        fill(' ', out);
    }
}

/// ascii(): repr with everything beyond ASCII escaped.
pub fn ascii(repr: &str) -> String {
    let mut out = String::new();
    for c in repr.chars() {
        match c as u32 {
            0..=0x7f => out.push(c),
            code @ 0x80..=0xff => out.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}
