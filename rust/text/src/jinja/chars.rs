//! Python's view of characters: classes, case mappings and whitespace.

use regex::Regex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

/// str.isspace and what split and strip drop: Unicode's whitespace and U+001C..U+001F.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// A Unicode class that std does not know, from the tables of the regex crate.
struct Class {
    pattern: &'static str,
    regex: OnceLock<Option<Regex>>,
    /// The last answers: twice the character, plus 1 for yes.
    known: [AtomicU32; 256],
}

impl Class {
    const fn new(pattern: &'static str) -> Class {
        Class { pattern, regex: OnceLock::new(), known: [const { AtomicU32::new(u32::MAX) }; 256] }
    }

    fn has(&self, c: char) -> bool {
        let place = &self.known[c as usize % 256];
        let last = place.load(Ordering::Relaxed);
        if last >> 1 == c as u32 {
            return last & 1 == 1;
        }
        let regex = self.regex.get_or_init(|| Regex::new(self.pattern).ok());
        let has = regex.as_ref().is_some_and(|r| r.is_match(c.encode_utf8(&mut [0; 4])));
        place.store((c as u32) << 1 | u32::from(has), Ordering::Relaxed);
        has
    }
}

static LETTER: Class = Class::new(r"^\p{L}$");
static DECIMAL: Class = Class::new(r"^\p{Nd}$");
static NUMBER: Class = Class::new(r"^\p{N}$");
static TITLE: Class = Class::new(r"^\p{Lt}$");
static NAME_START: Class = Class::new(r"^\p{XID_Start}$");
static NAME_PART: Class = Class::new(r"^\p{XID_Continue}$");
static HIDDEN: Class = Class::new(r"^[\p{C}\p{Zl}\p{Zp}\p{Zs}]$");

/// Characters with Numeric_Type=Digit that are not decimals: superscripts, circled digits and the like.
const DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3), (0xb9, 0xb9), (0x1369, 0x1371), (0x19da, 0x19da), (0x2070, 0x2070), (0x2074, 0x2079),
    (0x2080, 0x2089), (0x2460, 0x2468), (0x2474, 0x247c), (0x2488, 0x2490), (0x24ea, 0x24ea), (0x24f5, 0x24fd),
    (0x24ff, 0x24ff), (0x2776, 0x277e), (0x2780, 0x2788), (0x278a, 0x2792), (0x10a40, 0x10a43),
    (0x10e60, 0x10e68), (0x11052, 0x1105a), (0x1f100, 0x1f10a),
];

/// Ideographs with a numeric value.
const NUMERALS: &str = "㐅㒃㠪㭍一七万三九二五世亿什仟仨伍佰億兆兩八六十千卄卅升卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬\
                        貮貳贰阡陆陌陸零";

pub fn is_alpha(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { LETTER.has(c) }
}

pub fn is_decimal(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { DECIMAL.has(c) }
}

/// The value of a decimal digit of any script.
pub fn decimal_value(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    // Decimals of one script are ten neighbours in order of their values.
    let below = |n: u32| char::from_u32(c as u32 - n).is_some_and(is_decimal);
    is_decimal(c).then(|| (1..10).take_while(|n| below(*n)).count() as u32)
}

pub fn is_digit(c: char) -> bool {
    is_decimal(c) || DIGITS.iter().any(|(low, high)| (*low..=*high).contains(&(c as u32)))
}

pub fn is_numeric(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { NUMBER.has(c) || NUMERALS.contains(c) }
}

pub fn is_alnum(c: char) -> bool {
    is_alpha(c) || is_numeric(c)
}

/// `\w` of Python's re.
pub fn is_word(c: char) -> bool {
    c == '_' || is_alnum(c)
}

pub fn is_printable(c: char) -> bool {
    if c.is_ascii() { (' '..='~').contains(&c) } else { !HIDDEN.has(c) }
}

pub fn is_title(c: char) -> bool {
    !c.is_ascii() && TITLE.has(c)
}

pub fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || is_title(c)
}

/// What names consist of; it may be more than identifiers allow.
pub fn is_name_part(c: char) -> bool {
    is_word(c) || (!c.is_ascii() && NAME_PART.has(c))
}

pub fn is_identifier(text: &str) -> bool {
    let start = |c: char| c == '_' || if c.is_ascii() { c.is_ascii_alphabetic() } else { NAME_START.has(c) };
    let part = |c: char| c == '_' || if c.is_ascii() { c.is_ascii_alphanumeric() } else { NAME_PART.has(c) };
    let mut chars = text.chars();
    chars.next().is_some_and(start) && chars.all(part)
}

/// The titlecase mapping of one character.
fn push_title(c: char, out: &mut String) {
    let code = c as u32;
    match code {
        0x1c4..=0x1c6 => out.push('\u{1c5}'),
        0x1c7..=0x1c9 => out.push('\u{1c8}'),
        0x1ca..=0x1cc => out.push('\u{1cb}'),
        0x1f1..=0x1f3 => out.push('\u{1f2}'),
        0x10d0..=0x10fa | 0x10fd..=0x10ff => out.push(c), // Georgian has no titlecase
        0x1f80..=0x1faf => out.extend(char::from_u32(code | 8)),
        0x1fb3 | 0x1fc3 | 0x1ff3 => out.extend(char::from_u32(code + 9)),
        0x1fbc | 0x1fcc | 0x1ffc => out.push(c),
        _ => {
            let mut cased = false;
            for upper in c.to_uppercase() {
                if !cased {
                    out.push(upper);
                    cased = is_cased(upper);
                } else if upper == '\u{399}' && c != '\u{390}' && c != '\u{3b0}' {
                    out.push('\u{345}');
                } else {
                    out.extend(upper.to_lowercase());
                }
            }
        }
    }
}

/// Lowercase of the character at `at`: a capital sigma at the end of a word is a final one.
fn push_lower(chars: &[char], at: usize, out: &mut String) {
    if chars[at] != '\u{3a3}' {
        out.extend(chars[at].to_lowercase());
        return;
    }
    let ignored = |c: &char| matches!(c, '\'' | '.' | ':' | '^' | '`' | '\u{a8}' | '\u{ad}' | '\u{b7}' | '\u{2019}');
    let before = chars[..at].iter().rev().find(|c| !ignored(c)).is_some_and(|c| is_cased(*c));
    let after = chars[at + 1..].iter().find(|c| !ignored(c)).is_some_and(|c| is_cased(*c));
    out.push(if before && !after { '\u{3c2}' } else { '\u{3c3}' });
}

pub fn lower(text: &str) -> String {
    text.to_lowercase()
}

/// str.title: words are runs of cased characters.
pub fn title(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for (i, c) in chars.iter().enumerate() {
        if inside {
            push_lower(&chars, i, &mut out);
        } else {
            push_title(*c, &mut out);
        }
        inside = is_cased(*c);
    }
    out
}

pub fn capitalize(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    for (i, c) in chars.iter().enumerate() {
        if i == 0 {
            push_title(*c, &mut out);
        } else {
            push_lower(&chars, i, &mut out);
        }
    }
    out
}

pub fn swapcase(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    for (i, c) in chars.iter().enumerate() {
        if c.is_uppercase() {
            push_lower(&chars, i, &mut out);
        } else if c.is_lowercase() {
            out.extend(c.to_uppercase());
        } else {
            out.push(*c);
        }
    }
    out
}

/// Full case folding.
pub fn casefold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c as u32 {
            0x131 | 0x13a0..=0x13f5 => out.push(c),
            0x1e9e => out.push_str("ss"),
            0x13f8..=0x13fd | 0xab70..=0xabbf => out.extend(c.to_uppercase()), // Cherokee folds to capitals
            _ => c.to_uppercase().for_each(|upper| out.extend(upper.to_lowercase())),
        }
    }
    out
}

/// str.islower, str.isupper: at least one cased character and none of the other case.
pub fn all_cased(text: &str, wanted: fn(char) -> bool) -> bool {
    let mut cased = text.chars().filter(|c| is_cased(*c)).peekable();
    cased.peek().is_some() && cased.all(wanted)
}

pub fn is_title_text(text: &str) -> bool {
    let (mut any, mut inside) = (false, false);
    for c in text.chars() {
        let upper = c.is_uppercase() || is_title(c);
        if upper == inside && (upper || c.is_lowercase()) {
            return false;
        }
        inside = upper || c.is_lowercase();
        any |= inside;
    }
    any
}
