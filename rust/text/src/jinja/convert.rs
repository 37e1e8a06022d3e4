//! int() and float().

use num_bigint::BigInt;
use num_traits::Num;

use super::chars::{decimal_value, is_space};
use super::error::{fail, Kind, R};
use super::number::{self, Number, MAX_DIGITS};
use super::value::Value;

fn undefined<T>(value: &Value, otherwise: &str) -> R<T> {
    match value {
        Value::Undefined(why) => fail(Kind::Undefined, why.message()),
        _ => fail(Kind::Type, format!("a {} is {otherwise}", value.type_name())),
    }
}

/// The text with decimal digits of any script as ASCII ones, trimmed.
fn plain(text: &str) -> String {
    let digit = |c: char| decimal_value(c).and_then(|d| char::from_digit(d, 10)).unwrap_or(c);
    text.trim_matches(is_space).chars().map(|c| if c.is_ascii() { c } else { digit(c) }).collect()
}

/// Without underscores that stand between digits; None when one stands elsewhere.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let between = |i: usize| {
        i > 0 && bytes[i - 1].is_ascii_alphanumeric() && bytes.get(i + 1).is_some_and(u8::is_ascii_alphanumeric)
    };
    let sound = bytes.iter().enumerate().all(|(i, b)| *b != b'_' || between(i));
    sound.then(|| text.replace('_', ""))
}

/// int(text, base).
pub fn parse_int(text: &str, base: i64) -> R<BigInt> {
    if base != 0 && !(2..=36).contains(&base) {
        return fail(Kind::Value, "the base of an integer is 0 or from 2 to 36");
    }
    let invalid = || fail(Kind::Value, format!("'{}' is no integer", text.chars().take(40).collect::<String>()));
    let text = plain(text);
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefix = body.get(..2).unwrap_or("").to_ascii_lowercase();
    let of_prefix = match prefix.as_str() {
        "0x" => 16,
        "0o" => 8,
        "0b" => 2,
        _ => 0,
    };
    let (radix, digits) = if of_prefix != 0 && (base == 0 || base == of_prefix) {
        (of_prefix, body[2..].strip_prefix('_').unwrap_or(&body[2..]))
    } else {
        (if base == 0 { 10 } else { base }, body)
    };
    let Some(digits) = without_underscores(digits) else { return invalid() };
    let zeros = digits.starts_with('0') && digits.contains(|c| c != '0');
    if digits.is_empty() || digits.starts_with(['+', '-']) || (base == 0 && of_prefix == 0 && zeros) {
        return invalid();
    }
    if digits.len() > MAX_DIGITS && !(radix as u64).is_power_of_two() {
        return fail(Kind::Value, format!("an integer of more than {MAX_DIGITS} digits is not read"));
    }
    match BigInt::from_str_radix(&digits, radix as u32) {
        Ok(value) => Ok(if negative { -value } else { value }),
        Err(_) => invalid(),
    }
}

/// float(text).
pub fn parse_float(text: &str) -> R<f64> {
    let plain = plain(text);
    let unsigned = plain.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let known = matches!(unsigned.as_str(), "inf" | "infinity" | "nan");
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-' | b'_'));
    let digits = without_underscores(&plain).filter(|_| known || numeric);
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(value) => Ok(value),
        None => fail(Kind::Value, format!("'{}' is no number", text.chars().take(40).collect::<String>())),
    }
}

/// int(value).
pub fn to_int(value: &Value) -> R<Value> {
    if let Some(text) = value.as_text() {
        return parse_int(text, 10).map(Value::big);
    }
    match Number::of(value) {
        Some(Number::Float(float)) => number::truncate(float).map(Value::big),
        Some(number) => Ok(number.value()),
        None => undefined(value, "no integer"),
    }
}

/// float(value).
pub fn to_float(value: &Value) -> R<f64> {
    match value.as_text() {
        Some(text) => parse_float(text),
        None => to_float_strict(value),
    }
}

/// float(value) for numbers only.
pub fn to_float_strict(value: &Value) -> R<f64> {
    match Number::of(value) {
        Some(number) => number.float(),
        None => undefined(value, "no number"),
    }
}
