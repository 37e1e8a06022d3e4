//! The format specifications of str.format and format(): `[[fill]align][sign][z][#][0][width][,][.precision][type]`.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use super::error::{fail, Kind, R};
use super::number::{self, Number};
use super::repr;
use super::value::{Text, Value};
use super::vm::Vm;

/// Widths and precisions beyond it are refused.
const MAX_WIDTH: usize = 1 << 20;

#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    no_negative_zero: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn count(chars: &mut std::iter::Peekable<std::str::Chars>) -> R<Option<usize>> {
    let mut value = None;
    while let Some(digit) = chars.peek().and_then(|c| super::chars::decimal_value(*c)) {
        chars.next();
        value = Some(value.unwrap_or(0usize).saturating_mul(10).saturating_add(digit as usize));
    }
    match value {
        Some(value) if value > MAX_WIDTH => fail(Kind::Limit, format!("a format is wider than {MAX_WIDTH}")),
        value => Ok(value),
    }
}

fn parse(spec: &str) -> R<Spec> {
    let mut out = Spec::default();
    let is_align = |c: &char| matches!(c, '<' | '>' | '=' | '^');
    let mut chars = spec.chars().peekable();
    let mut ahead = spec.chars();
    let (first, second) = (ahead.next(), ahead.next());
    if second.filter(is_align).is_some() {
        (out.fill, out.align) = (first, second);
        chars.next();
        chars.next();
    } else if first.filter(is_align).is_some() {
        out.align = chars.next();
    }
    out.sign = chars.next_if(|c| matches!(c, '+' | '-' | ' '));
    out.no_negative_zero = chars.next_if(|c| *c == 'z').is_some();
    out.alternate = chars.next_if(|c| *c == '#').is_some();
    if out.fill.is_none() && chars.next_if(|c| *c == '0').is_some() {
        out.zero = true;
        out.fill = Some('0');
    }
    out.width = count(&mut chars)?.unwrap_or(0);
    out.group = chars.next_if(|c| matches!(c, ',' | '_'));
    if out.group.is_some() && chars.peek().is_some_and(|c| matches!(c, ',' | '_')) {
        return fail(Kind::Value, "a format cannot have both ',' and '_'");
    }
    if chars.next_if(|c| *c == '.').is_some() {
        out.precision = count(&mut chars)?;
        if out.precision.is_none() {
            return fail(Kind::Value, "a format has a '.' without a precision");
        }
    }
    out.kind = chars.next();
    if chars.next().is_some() {
        return fail(Kind::Value, format!("invalid format specifier '{spec}'"));
    }
    Ok(out)
}

/// Digits of a float without sign, as the types e, f, g and their capitals give them.
pub fn float_digits(value: f64, kind: char, precision: usize, alternate: bool) -> String {
    let upper = kind.is_ascii_uppercase();
    let value = value.abs();
    let text = if !value.is_finite() {
        if value.is_nan() { "nan".to_string() } else { "inf".to_string() }
    } else {
        match kind.to_ascii_lowercase() {
            'e' => scientific(value, precision, alternate),
            'f' => {
                let (exact, zeros) = exact_part(precision);
                let text = format!("{value:.exact$}") + &zeros;
                if alternate && precision == 0 { text + "." } else { text }
            }
            _ => general(value, precision.max(1), alternate),
        }
    };
    if upper { text.to_uppercase() } else { text }
}

/// The digits that a float can have behind its point, and the zeros that follow them.
fn exact_part(precision: usize) -> (usize, String) {
    const LONGEST: usize = 1100;
    (precision.min(LONGEST), "0".repeat(precision.saturating_sub(LONGEST)))
}

fn scientific(value: f64, precision: usize, alternate: bool) -> String {
    let (exact, zeros) = exact_part(precision);
    let text = format!("{value:.exact$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let point = if alternate && precision == 0 { "." } else { "" };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{zeros}{point}e{sign}{:02}", exponent.abs())
}

fn general(value: f64, precision: usize, alternate: bool) -> String {
    let precision = precision.min(1100); // no float has more digits
    let rounded = format!("{value:.*e}", precision - 1);
    let exponent: i64 = rounded.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    let fixed = (-4..precision as i64).contains(&exponent);
    let text = if fixed {
        format!("{value:.*}", (precision as i64 - 1 - exponent).max(0) as usize)
    } else {
        scientific(value, precision - 1, false)
    };
    let (mut digits, tail) = match text.split_once('e') {
        Some((digits, tail)) => (digits.to_string(), format!("e{tail}")),
        None => (text, String::new()),
    };
    if alternate {
        if !digits.contains('.') {
            digits.push('.');
        }
    } else if digits.contains('.') {
        digits.truncate(digits.trim_end_matches('0').trim_end_matches('.').len());
    }
    digits + &tail
}

/// Groups the leading digits; `min` digits and separators at least, filled with zeros.
fn grouped(digits: &str, group: char, every: usize, min: usize) -> String {
    let mut out: Vec<char> = Vec::new();
    let mut digits = digits.chars().rev().peekable();
    let mut run = 0;
    while digits.peek().is_some() || out.len() < min {
        if run == every {
            out.push(group);
            run = 0;
        }
        out.push(digits.next().unwrap_or('0'));
        run += 1;
    }
    out.iter().rev().collect()
}

fn padded(vm: &Vm, spec: &Spec, align: char, sign: &str, body: &str) -> R<String> {
    let length = sign.chars().count() + body.chars().count();
    let missing = spec.width.saturating_sub(length);
    let fill = spec.fill.unwrap_or(' ');
    vm.charge_text(missing * fill.len_utf8() + body.len())?;
    let pad = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
    Ok(match align {
        '<' => format!("{sign}{body}{}", pad(missing)),
        '^' => format!("{}{sign}{body}{}", pad(missing / 2), pad(missing - missing / 2)),
        '=' => format!("{sign}{}{body}", pad(missing)),
        _ => format!("{}{sign}{body}", pad(missing)),
    })
}

fn sign_of(negative: bool, spec: &Spec) -> &'static str {
    match spec.sign {
        _ if negative => "-",
        Some('+') => "+",
        Some(' ') => " ",
        _ => "",
    }
}

/// `prefix` is 0x and the like; `rest` what follows the grouped digits.
fn number_text(
    vm: &Vm,
    spec: &Spec,
    sign: &str,
    prefix: &str,
    (digits, rest): (&str, &str),
    every: usize,
) -> R<String> {
    let sign = format!("{sign}{prefix}");
    let align = spec.align.unwrap_or(if spec.zero { '=' } else { '>' });
    let body = match spec.group {
        Some(group) => {
            let fills = align == '=' && spec.fill == Some('0');
            let min = if fills { spec.width.saturating_sub(sign.len() + rest.len()) } else { 0 };
            vm.charge_text(digits.len() * 2 + min)?;
            grouped(digits, group, every, min)
        }
        None => digits.to_string(),
    };
    padded(vm, spec, align, &sign, &format!("{body}{rest}"))
}

fn format_int(vm: &Vm, spec: &Spec, value: &BigInt) -> R<String> {
    let kind = spec.kind.unwrap_or('d');
    if spec.precision.is_some() || spec.no_negative_zero {
        return fail(Kind::Value, "an integer is formatted with a precision");
    }
    if kind == 'c' {
        if spec.sign.is_some() || spec.alternate || spec.group.is_some() {
            return fail(Kind::Value, "the format 'c' takes no sign, '#' or ','");
        }
        let Some(c) = value.to_u32().and_then(char::from_u32) else {
            return fail(Kind::Overflow, "the format 'c' needs a character's number");
        };
        return padded(vm, spec, spec.align.unwrap_or('<'), "", &c.to_string());
    }
    let (radix, prefix) = match kind {
        'b' => (2, "0b"),
        'o' => (8, "0o"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        _ => (10, ""),
    };
    if (spec.group == Some(',') && radix != 10) || (spec.group.is_some() && kind == 'n') {
        return fail(Kind::Value, format!("the format '{kind}' cannot have ','"));
    }
    vm.charge(value.bits() as usize)?;
    let magnitude = value.abs();
    let digits = if radix == 10 { number::decimal(&magnitude)? } else { magnitude.to_str_radix(radix) };
    let digits = if kind == 'X' { digits.to_uppercase() } else { digits };
    let prefix = if spec.alternate { prefix } else { "" };
    let every = if radix == 10 { 3 } else { 4 };
    number_text(vm, spec, sign_of(value.is_negative(), spec), prefix, (&digits, ""), every)
}

fn format_float(vm: &Vm, spec: &Spec, value: f64) -> R<String> {
    let kind = spec.kind;
    if kind == Some('n') && spec.group.is_some() {
        return fail(Kind::Value, "the format 'n' cannot have ','");
    }
    let precision = spec.precision.unwrap_or(6);
    vm.charge_text(precision)?;
    let mut text = match kind {
        None if spec.precision.is_none() => {
            let text = repr::float(value.abs());
            if spec.alternate && !text.contains('.') && value.is_finite() { text.replacen('e', ".e", 1) } else { text }
        }
        None => shortest_with_point(value, precision, spec.alternate),
        Some('%') => float_digits(value * 100.0, 'f', precision, spec.alternate),
        Some('n') => float_digits(value, 'g', precision, spec.alternate),
        Some(kind) => float_digits(value, kind, precision, spec.alternate),
    };
    if kind == Some('%') {
        text.push('%');
    }
    let zero = spec.no_negative_zero && !text.contains(|c: char| ('1'..='9').contains(&c) || c.is_alphabetic());
    let sign = sign_of(value.is_sign_negative() && !value.is_nan() && !zero, spec);
    let whole = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(whole);
    if digits.is_empty() {
        let align = spec.align.unwrap_or(if spec.zero { '=' } else { '>' });
        return padded(vm, spec, align, sign, rest); // inf and nan are not grouped
    }
    number_text(vm, spec, sign, "", (digits, rest), 3)
}

/// No type but a precision: like g, with a digit behind the point.
fn shortest_with_point(value: f64, precision: usize, alternate: bool) -> String {
    let precision = precision.max(1);
    let text = float_digits(value, 'g', precision, alternate);
    if !value.is_finite() || text.contains(['.', 'e']) {
        return text;
    }
    // As many digits as the precision: the exponent form leaves room for the point.
    if text.len() >= precision { float_digits(value, 'e', precision - 1, alternate) } else { text + ".0" }
}

fn format_text(vm: &Vm, spec: &Spec, text: &str) -> R<String> {
    if !matches!(spec.kind, None | Some('s')) {
        return fail(Kind::Value, "a str is formatted with a type that is not 's'");
    }
    if spec.sign.is_some() || spec.alternate || spec.group.is_some() || spec.no_negative_zero || spec.align == Some('=')
    {
        return fail(Kind::Value, "a str is formatted with what is meant for numbers");
    }
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.into(),
    };
    padded(vm, spec, spec.align.unwrap_or('<'), "", &cut)
}

/// format(value, spec).
pub fn format_value(vm: &Vm, value: &Value, spec: &str) -> R<Text> {
    if spec.is_empty() {
        return repr::str_of(vm, value);
    }
    if let Some(text) = value.as_text() {
        return Ok(format_text(vm, &parse(spec)?, text)?.into());
    }
    let Some(number) = Number::of(value) else {
        return fail(Kind::Type, format!("a {} takes no format '{spec}'", value.type_name()));
    };
    let parsed = parse(spec)?;
    let formatted = match (number.big(), parsed.kind) {
        (Some(whole), None | Some('b' | 'c' | 'd' | 'o' | 'x' | 'X' | 'n')) => format_int(vm, &parsed, &whole),
        (whole, kind) if matches!(kind, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) || whole.is_none() => {
            if !matches!(kind, None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%')) {
                return fail(Kind::Value, format!("a float is formatted with an unknown type in '{spec}'"));
            }
            format_float(vm, &parsed, number.float()?)
        }
        _ => fail(Kind::Value, format!("an int is formatted with an unknown type in '{spec}'")),
    }?;
    Ok(formatted.into())
}
