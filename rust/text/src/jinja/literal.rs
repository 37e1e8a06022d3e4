//! Number and string literals of templates.

use num_bigint::BigInt;

/// Digits in groups joined by single underscores: the bytes of it.
fn digits(text: &str, digit: impl Fn(u8) -> bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if digit(bytes[at]) {
            at += 1;
        } else if bytes[at] == b'_' && at > 0 && bytes.get(at + 1).is_some_and(|b| digit(*b)) {
            at += 2;
        } else {
            break;
        }
    }
    at
}

fn decimal(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// The bytes of the float that `text` begins with; None when it is none, or an integer.
pub fn float_length(text: &str) -> Option<usize> {
    let whole = digits(text, decimal);
    let mut length = whole;
    if text[length..].starts_with('.') {
        let fraction = digits(&text[length + 1..], decimal);
        if fraction > 0 {
            length += 1 + fraction;
        }
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(&text[length + 1 + sign..], decimal);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    (length > whole).then_some(length)
}

/// The integer that `text`, which begins with a digit, begins with.
pub fn integer(text: &str) -> (usize, BigInt) {
    let prefix = text.get(..2).unwrap_or("").to_ascii_lowercase();
    let radix = match prefix.as_str() {
        "0x" => 16,
        "0o" => 8,
        "0b" => 2,
        _ => 10,
    };
    if radix != 10 {
        let body = text[2..].strip_prefix('_').unwrap_or(&text[2..]);
        let length = digits(body, |b| (b as char).is_digit(radix));
        if length > 0 {
            let value = BigInt::parse_bytes(body[..length].replace('_', "").as_bytes(), radix);
            return (text.len() - body.len() + length, value.unwrap_or_default());
        }
    }
    if text.starts_with('0') {
        return (digits(text, |b| b == b'0'), BigInt::default());
    }
    let length = digits(text, decimal);
    (length, text[..length].replace('_', "").parse().unwrap_or_default())
}

/// The bytes of the quoted string that `text` begins with.
pub fn string_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = *bytes.first().filter(|b| matches!(b, b'"' | b'\''))?;
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1 + text[at + 1..].chars().next()?.len_utf8(),
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// A string's text with Python's escapes replaced.
pub fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escape) = rest.chars().next() else {
            return Err("a string ends in a backslash".into());
        };
        let after = &rest[escape.len_utf8()..];
        let length = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if length > 0 {
            let code = after.get(..length).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
            let code = code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
            out.push(code.ok_or_else(|| format!("\\{escape} in a string needs {length} digits of a character"))?);
            rest = &after[length..];
            continue;
        }
        rest = after;
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(escape),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            '0'..='7' => {
                let mut code = escape as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(digit) = rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    rest = &rest[1..];
                }
                out.extend(char::from_u32(code));
            }
            'N' => return Err("\\N{...} in a string: names of characters are not known here; use \\u".into()),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}
