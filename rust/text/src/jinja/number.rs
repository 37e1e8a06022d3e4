//! Arithmetic with Python's rules: integers without bound, signs of % and //, exact conversions.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{FromPrimitive, Pow, Signed, ToPrimitive, Zero};

use super::ast::Binary;
use super::error::{fail, Kind, R};
use super::value::{Key, Value};
use super::vm::Vm;

/// Bits an integer may have.
const MAX_BITS: u64 = 1 << 18;
/// Digits beyond which Python refuses to read or print an integer.
pub const MAX_DIGITS: usize = 4300;

#[derive(Clone, Debug)]
pub enum Number {
    Int(i64),
    Big(BigInt),
    Float(f64),
}

impl Number {
    /// What is a number to Python: bool, int, float.
    pub fn of(value: &Value) -> Option<Number> {
        Some(match value {
            Value::Bool(value) => Number::Int(i64::from(*value)),
            Value::Int(value) => Number::Int(*value),
            Value::Big(value) => Number::Big((**value).clone()),
            Value::Float(value) => Number::Float(*value),
            _ => return None,
        })
    }

    pub fn value(self) -> Value {
        match self {
            Number::Int(value) => Value::Int(value),
            Number::Big(value) => Value::big(value),
            Number::Float(value) => Value::Float(value),
        }
    }

    /// The integer; None for a float.
    pub fn big(&self) -> Option<BigInt> {
        match self {
            Number::Int(value) => Some(BigInt::from(*value)),
            Number::Big(value) => Some(value.clone()),
            Number::Float(_) => None,
        }
    }

    pub fn float(&self) -> R<f64> {
        match self {
            Number::Int(value) => Ok(*value as f64),
            Number::Float(value) => Ok(*value),
            Number::Big(value) => match value.to_f64().filter(|float| float.is_finite()) {
                Some(float) => Ok(float),
                None => fail(Kind::Overflow, "an integer is too large for a float"),
            },
        }
    }
}

/// An integer as Python wants it for indices and counts: int or bool.
pub fn index(value: &Value) -> R<BigInt> {
    match Number::of(value).and_then(|n| n.big()) {
        Some(value) => Ok(value),
        None => fail(Kind::Type, format!("'{}' object is not an integer", value.type_name())),
    }
}

/// index(), cut to what fits.
pub fn small_index(value: &Value) -> R<i64> {
    let big = index(value)?;
    Ok(big.to_i64().unwrap_or(if big.is_negative() { i64::MIN } else { i64::MAX }))
}

pub fn float_key(value: f64) -> Key {
    if value.fract() == 0.0 && value.is_finite() {
        if let Some(big) = BigInt::from_f64(value) {
            return big.to_i64().map_or(Key::Big(big), Key::Int);
        }
    }
    Key::Float(value.to_bits())
}

/// int(float).
pub fn truncate(value: f64) -> R<BigInt> {
    match BigInt::from_f64(value.trunc()) {
        Some(big) => Ok(big),
        None if value.is_nan() => fail(Kind::Value, "cannot convert float NaN to integer"),
        None => fail(Kind::Overflow, "cannot convert float infinity to integer"),
    }
}

fn checked(vm: &Vm, bits: u64) -> R<()> {
    if bits > MAX_BITS {
        return fail(Kind::Limit, format!("an integer grew past {MAX_BITS} bits"));
    }
    vm.charge((bits / 8) as usize * 16)
}

fn float_mod(a: f64, b: f64) -> R<f64> {
    if b == 0.0 {
        return fail(Kind::ZeroDivision, "float modulo");
    }
    let rest = a % b;
    Ok(if rest == 0.0 {
        0f64.copysign(b)
    } else if (b < 0.0) != (rest < 0.0) {
        rest + b
    } else {
        rest
    })
}

fn float_floordiv(a: f64, b: f64) -> R<f64> {
    if b == 0.0 {
        return fail(Kind::ZeroDivision, "float floor division by zero");
    }
    let rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 && (b < 0.0) != (rest < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return Ok(0f64.copysign(a / b));
    }
    let floor = quotient.floor();
    Ok(if quotient - floor > 0.5 { floor + 1.0 } else { floor })
}

fn float_pow(a: f64, b: f64) -> R<f64> {
    if a == 0.0 && b < 0.0 {
        return fail(Kind::ZeroDivision, "0.0 cannot be raised to a negative power");
    }
    if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 {
        return fail(Kind::Value, "complex numbers are not known here");
    }
    let result = a.powf(b);
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return fail(Kind::Overflow, "the result is too large for a float");
    }
    Ok(result)
}

/// int / int, rounded once.
fn true_div(a: &BigInt, b: &BigInt) -> R<f64> {
    if b.is_zero() {
        return fail(Kind::ZeroDivision, "division by zero");
    }
    let exact = |n: &BigInt| n.to_i64().filter(|n| n.unsigned_abs() <= 1 << 53);
    if let (Some(a), Some(b)) = (exact(a), exact(b)) {
        return Ok(a as f64 / b as f64);
    }
    let negative = (a.sign() == Sign::Minus) != (b.sign() == Sign::Minus);
    let (a, b) = (a.abs(), b.abs());
    // 66 or 67 bits of the quotient, the last one telling whether more follow.
    let shift = 66 - (a.bits() as i64 - b.bits() as i64);
    let (a, b) = if shift >= 0 { (a << shift, b) } else { (a, b << -shift) };
    let (quotient, rest) = a.div_rem(&b);
    let bits = quotient.to_u128().unwrap_or(0) | u128::from(!rest.is_zero());
    let scale = |n: i64| 2f64.powi((-n).clamp(-1000, 1000) as i32);
    let result = bits as f64 * scale(shift / 2) * scale(shift - shift / 2);
    if result.is_infinite() {
        return fail(Kind::Overflow, "the quotient is too large for a float");
    }
    Ok(if negative { -result } else { result })
}

fn int_pow(vm: &Vm, a: &BigInt, b: &BigInt) -> R<Number> {
    if b.is_negative() {
        let (a, b) = (Number::Big(a.clone()).float()?, Number::Big(b.clone()).float()?);
        return float_pow(a, b).map(Number::Float);
    }
    let small = a.bits() <= 1;
    let exponent = match b.to_u32() {
        Some(exponent) => exponent,
        None if small => u32::from(b.is_odd()) + 2, // only its parity matters to -1, 0 and 1
        None => return fail(Kind::Limit, format!("an integer grew past {MAX_BITS} bits")),
    };
    checked(vm, if small { 1 } else { a.bits().saturating_mul(u64::from(exponent)) })?;
    Ok(Number::Big(Pow::pow(a, if small { exponent % 2 + 2 * u32::from(exponent > 1) } else { exponent })))
}

fn int_op(vm: &Vm, op: Binary, a: &BigInt, b: &BigInt) -> R<Number> {
    let zero = b.is_zero() && matches!(op, Binary::FloorDiv | Binary::Mod);
    if zero {
        return fail(Kind::ZeroDivision, "integer division or modulo by zero");
    }
    checked(vm, if op == Binary::Mul { a.bits() + b.bits() } else { a.bits().max(b.bits()) })?;
    Ok(match op {
        Binary::Add => Number::Big(a + b),
        Binary::Sub => Number::Big(a - b),
        Binary::Mul => Number::Big(a * b),
        Binary::Div => Number::Float(true_div(a, b)?),
        Binary::FloorDiv => Number::Big(a.div_floor(b)),
        Binary::Mod => Number::Big(a.mod_floor(b)),
        Binary::Pow => int_pow(vm, a, b)?,
    })
}

fn small_op(op: Binary, a: i64, b: i64) -> Option<i64> {
    match op {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::FloorDiv if b != 0 && (a, b) != (i64::MIN, -1) => Some(Integer::div_floor(&a, &b)),
        Binary::Mod if b != 0 && (a, b) != (i64::MIN, -1) => Some(Integer::mod_floor(&a, &b)),
        _ => None,
    }
}

pub fn arithmetic(vm: &Vm, op: Binary, a: &Number, b: &Number) -> R<Value> {
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        if let Some(result) = small_op(op, *a, *b) {
            return Ok(Value::Int(result));
        }
    }
    if let (Some(a), Some(b)) = (a.big(), b.big()) {
        return int_op(vm, op, &a, &b).map(Number::value);
    }
    let (a, b) = (a.float()?, b.float()?);
    Ok(Value::Float(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div if b == 0.0 => return fail(Kind::ZeroDivision, "float division by zero"),
        Binary::Div => a / b,
        Binary::FloorDiv => float_floordiv(a, b)?,
        Binary::Mod => float_mod(a, b)?,
        Binary::Pow => float_pow(a, b)?,
    }))
}

pub fn negate(number: Number) -> Value {
    match number {
        Number::Int(value) => value.checked_neg().map_or_else(|| Value::big(-BigInt::from(value)), Value::Int),
        Number::Big(value) => Value::big(-value),
        Number::Float(value) => Value::Float(-value),
    }
}

/// How two numbers compare; None for NaN.
pub fn compare(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
        (Number::Float(a), b) => compare_float(*a, b),
        (a, Number::Float(b)) => compare_float(*b, a).map(std::cmp::Ordering::reverse),
        (a, b) => Some(a.big()?.cmp(&b.big()?)),
    }
}

fn compare_float(a: f64, b: &Number) -> Option<std::cmp::Ordering> {
    if a.is_nan() {
        return None;
    }
    let Some(whole) = BigInt::from_f64(a.floor()) else {
        return a.partial_cmp(&0.0);
    };
    let order = whole.cmp(&b.big()?);
    Some(if order.is_eq() && a.fract() != 0.0 { std::cmp::Ordering::Greater } else { order })
}

/// round(float, digits), correct for the exact value, ties to even.
fn round_float(value: f64, digits: i64) -> R<f64> {
    if !value.is_finite() || value == 0.0 || digits > 400 {
        return Ok(value);
    }
    if digits >= 0 {
        return Ok(format!("{value:.*}", digits as usize).parse().unwrap_or(value));
    }
    let exponent: i64 = format!("{value:e}").rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    let kept = exponent + digits; // digits behind the first one that stay
    if kept < -1 {
        return Ok(0f64.copysign(value));
    }
    if kept == -1 {
        let half = BigInt::from(5) * Pow::pow(BigInt::from(10), exponent.max(0) as u32);
        let up = BigInt::from_f64(value.abs().ceil()).is_some_and(|whole| whole > half);
        let unit: f64 = if up { format!("1e{}", exponent + 1).parse().unwrap_or(f64::INFINITY) } else { 0.0 };
        return Ok(unit.copysign(value));
    }
    let result: f64 = format!("{value:.*e}", kept as usize).parse().unwrap_or(value);
    if result.is_infinite() {
        return fail(Kind::Overflow, "the rounded value is too large for a float");
    }
    Ok(result)
}

/// round(number, digits).
pub fn round(vm: &Vm, number: Number, digits: i64) -> R<Value> {
    let whole = match number {
        Number::Float(value) => return round_float(value, digits).map(Value::Float),
        number => number.big().unwrap_or_default(),
    };
    if digits >= 0 {
        return Ok(Value::big(whole));
    }
    let places = digits.unsigned_abs();
    if places > whole.bits() {
        return Ok(Value::Int(0));
    }
    checked(vm, places * 4)?;
    let unit = Pow::pow(BigInt::from(10), places as u32);
    let (quotient, rest) = whole.div_mod_floor(&unit);
    let up = match (rest * BigInt::from(2)).cmp(&unit) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient.is_odd(),
    };
    Ok(Value::big((quotient + BigInt::from(i32::from(up))) * unit))
}

/// An integer's digits; a value error beyond what Python prints.
pub fn decimal(value: &BigInt) -> R<String> {
    if value.bits() > 3 * MAX_DIGITS as u64 {
        let text = if value.bits() > 20_000 { String::new() } else { value.to_string() };
        if text.is_empty() || text.trim_start_matches('-').len() > MAX_DIGITS {
            return fail(Kind::Value, format!("an integer of more than {MAX_DIGITS} digits is not printed"));
        }
        return Ok(text);
    }
    Ok(value.to_string())
}
