//! HTML: escaping, character references, tags, attributes and links.

use regex::Regex;
use std::collections::HashMap;
use std::sync::OnceLock;

use super::args::Args;
use super::chars::is_space;
use super::entities::ENTITIES;
use super::error::{fail, Kind, R};
use super::loops::collect;
use super::repr::str_of;
use super::value::{Text, Value};
use super::vm::Vm;

pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}

/// markupsafe.escape(value).
pub fn escape_value(vm: &Vm, value: &Value) -> R<Value> {
    if let Value::Markup(_) = value {
        return Ok(value.clone());
    }
    let text = str_of(vm, value)?;
    vm.charge_text(text.len().saturating_mul(5))?;
    Ok(Value::Markup(escape(&text).into()))
}

/// Windows-1252 at 0x80: what browsers make of such references.
const WINDOWS: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

fn numeric_reference(digits: &str, radix: u32) -> String {
    let significant = digits.trim_start_matches('0');
    let code = if significant.len() > 8 { u32::MAX } else { u32::from_str_radix(significant, radix).unwrap_or(0) };
    match code {
        0 | 0xd800..=0xdfff => "\u{fffd}".into(),
        0xd => "\r".into(),
        0x80..=0x9f => WINDOWS.chars().nth(code as usize - 0x80).map(String::from).unwrap_or_default(),
        1..=8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => String::new(),
        _ if code <= 0x10ffff && code & 0xfffe == 0xfffe => String::new(),
        _ => char::from_u32(code).unwrap_or('\u{fffd}').to_string(),
    }
}

/// Characters by name, and whether the name may stand without a semicolon.
static NAMED: OnceLock<HashMap<&str, (char, bool)>> = OnceLock::new();

fn named(name: &str, semicolon: bool) -> Option<char> {
    let table = NAMED.get_or_init(|| {
        let entry = |entry: &'static str| {
            let (name, code) = entry.split_once(':')?;
            let bare = name.strip_suffix('!');
            let c = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
            Some((bare.unwrap_or(name), (c, bare.is_some())))
        };
        ENTITIES.split(' ').filter_map(entry).collect()
    });
    table.get(name).filter(|(_, bare)| semicolon || *bare).map(|(c, _)| *c)
}

/// html.unescape for the references that HTML 4 names.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let hex = rest.starts_with("#x") || rest.starts_with("#X");
        let lead = if hex { 2 } else { usize::from(rest.starts_with('#')) };
        if lead > 0 {
            let radix = if hex { 16 } else { 10 };
            let digits = rest[lead..].find(|c: char| !c.is_digit(radix)).unwrap_or(rest.len() - lead);
            if digits == 0 {
                out.push('&');
                continue;
            }
            out.push_str(&numeric_reference(&rest[lead..lead + digits], radix));
            rest = &rest[lead + digits..];
            rest = rest.strip_prefix(';').unwrap_or(rest);
            continue;
        }
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()).min(32);
        let closed = rest[length..].starts_with(';');
        if let Some(c) = named(&rest[..length], true).filter(|_| closed) {
            out.push(c);
            rest = &rest[length + 1..];
            continue;
        }
        let prefix = (2..=length).rev().find_map(|end| named(&rest[..end], false).map(|c| (c, end)));
        match prefix {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

/// Markup.striptags: without tags and comments, blanks joined, references replaced.
pub fn strip_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (close, from) = if rest[start..].starts_with("<!--") { ("-->", start + 4) } else { (">", start) };
        let Some(end) = rest[from..].find(close) else { break };
        out.push_str(&rest[..start]);
        rest = &rest[from + end + close.len()..];
    }
    out.push_str(rest);
    let words: Vec<&str> = out.split(is_space).filter(|word| !word.is_empty()).collect();
    unescape(&words.join(" "))
}

pub fn xml_attributes(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let space = args.bind("xmlattr", ["autospace"], 0)?.flag(vm, 0, true)?;
    let Value::Dict(dict) = value else {
        return fail(Kind::Type, format!("xmlattr needs a dict, not a {}", value.type_name()));
    };
    let mut parts = Vec::new();
    for (key, value) in dict.map.values() {
        if value.is_none() || value.is_undefined() {
            continue;
        }
        let Some(name) = key.as_text() else { return fail(Kind::Type, "xmlattr: a name is not a str") };
        let blank = |c: char| matches!(c, ' ' | '\t'..='\r' | '/' | '>' | '=');
        if name.contains(blank) {
            return fail(Kind::Value, "xmlattr: a name has a character that attributes cannot have");
        }
        let (name, text) = (escape_value(vm, key)?, escape_value(vm, value)?);
        parts.push(format!("{}=\"{}\"", str_of(vm, &name)?, str_of(vm, &text)?));
    }
    let joined = parts.join(" ");
    let text = if space && !joined.is_empty() { format!(" {joined}") } else { joined };
    Ok(if vm.autoescape.get() { Value::Markup(text.into()) } else { Value::str(text) })
}

fn url_quote(vm: &Vm, value: &Value, query: bool) -> R<String> {
    let text;
    let bytes: &[u8] = if let Value::Bytes(bytes) = value {
        bytes
    } else {
        text = str_of(vm, value)?;
        text.as_bytes()
    };
    vm.charge_text(bytes.len() * 3)?;
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' ' if query => out.push('+'),
            b'/' if !query => out.push('/'),
            b if b.is_ascii_alphanumeric() || b"_.-~".contains(b) => out.push(*b as char),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    Ok(out)
}

pub fn url_encode(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    args.none("urlencode")?;
    let items = match value {
        Value::Str(_) | Value::Markup(_) => return url_quote(vm, value, false).map(Value::str),
        Value::Dict(dict) => collect(vm, &Value::View(super::value::ViewKind::Items, dict.clone()))?,
        other => match super::loops::iterate(other) {
            Ok(_) => collect(vm, other)?,
            Err(_) => return url_quote(vm, value, false).map(Value::str),
        },
    };
    let mut pairs = Vec::new();
    for item in items {
        let pair = collect(vm, &item)?;
        let [key, value] = pair.as_slice() else { return fail(Kind::Value, "urlencode needs pairs") };
        pairs.push(format!("{}={}", url_quote(vm, key, true)?, url_quote(vm, value, true)?));
    }
    Ok(Value::str(pairs.join("&")))
}

static LINK: OnceLock<Option<Regex>> = OnceLock::new();
static EMAIL: OnceLock<Option<Regex>> = OnceLock::new();
static SCHEME: OnceLock<Option<Regex>> = OnceLock::new();

fn matches(cell: &OnceLock<Option<Regex>>, pattern: &str, text: &str) -> bool {
    cell.get_or_init(|| Regex::new(pattern).ok()).as_ref().is_some_and(|regex| regex.is_match(text))
}

fn is_link(text: &str) -> bool {
    const PATTERN: &str = r"(?i)^((https?://|www\.)(([\w%-]+\.)+)?([a-z]{2,63}|xn--[\w%]{2,59})|([\w%-]{2,63}\.)+(com|net|int|edu|gov|org|info|mil)|(https?://)((\d{1,3}(\.\d{1,3}){3})|(\[([\da-f]{0,4}:){2}([\da-f]{0,4}:?){1,6}\])))(?::\d{1,5})?(?:[/?#]\S*)?\n?$";
    matches(&LINK, PATTERN, text)
}

fn is_email(text: &str) -> bool {
    matches(&EMAIL, r"^\S+@\w[\w.-]*\.\w+\n?$", text)
}

/// How links of urlize look.
struct LinkStyle {
    limit: Option<Value>,
    attributes: String,
    schemes: Vec<Text>,
}

impl LinkStyle {
    fn shown(&self, text: &str) -> R<String> {
        let Some(limit) = &self.limit else { return Ok(text.into()) };
        let limit = super::number::small_index(limit)?;
        Ok(if text.chars().count() as i64 > limit {
            format!("{}...", super::strings::slice(&text.into(), None, Some(limit), 1))
        } else {
            text.into()
        })
    }

    fn anchor(&self, target: &str, text: &str) -> String {
        format!("<a href=\"{target}\"{}>{text}</a>", self.attributes)
    }

    /// A word of escaped text, as a link if it is one.
    fn word(&self, word: &str) -> R<String> {
        let (head, mut middle, mut tail) = split_word(word);
        for (open, close) in [("(", ")"), ("<", ">"), ("&lt;", "&gt;")] {
            let opened = middle.matches(open).count();
            if opened <= middle.matches(close).count() {
                continue;
            }
            for _ in 0..opened.min(tail.matches(close).count()) {
                let end = tail.find(close).map_or(0, |at| at + close.len());
                middle.push_str(&tail[..end]);
                tail = tail[end..].to_string();
            }
        }
        let linked = if is_link(&middle) {
            let bare = !middle.starts_with("https://") && !middle.starts_with("http://");
            let target = if bare { format!("https://{middle}") } else { middle.clone() };
            self.anchor(&target, &self.shown(&middle)?)
        } else if let Some(address) = middle.strip_prefix("mailto:").filter(|address| is_email(address)) {
            format!("<a href=\"{middle}\">{address}</a>")
        } else if middle.contains('@')
            && !middle.starts_with("www.")
            && !middle.starts_with('@')
            && !middle.contains(':')
            && is_email(&middle)
        {
            format!("<a href=\"mailto:{middle}\">{middle}</a>")
        } else {
            let mut linked = middle.clone();
            for scheme in &self.schemes {
                if linked != **scheme && linked.starts_with(&**scheme) {
                    linked = self.anchor(&linked, &linked);
                }
            }
            linked
        };
        Ok(format!("{head}{linked}{tail}"))
    }
}

/// Brackets in front, the word, and punctuation behind.
fn split_word(word: &str) -> (String, String, String) {
    let mut rest = word;
    while let Some(after) = ["(", "<", "&lt;"].iter().find_map(|lead| rest.strip_prefix(lead)) {
        rest = after;
    }
    let head = &word[..word.len() - rest.len()];
    let mut middle = rest;
    while let Some(before) = [")", ">", ".", ",", "\n", "&gt;"].iter().find_map(|end| middle.strip_suffix(end)) {
        middle = before;
    }
    (head.into(), middle.into(), rest[middle.len()..].into())
}

pub fn urlize(vm: &Vm, value: &Value, args: Args) -> R<Value> {
    let mut args = args.bind("urlize", ["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"], 0)?;
    let limit = args.some(0);
    let nofollow = args.flag(vm, 1, false)?;
    let target = args.value(2);
    let given = match args.value(3) {
        given if given.truth(vm)? => Some(super::args::text(&given, "rel")?),
        _ => None,
    };
    let mut schemes = Vec::new();
    for scheme in args.some(4).map_or(Ok(Vec::new()), |schemes| collect(vm, &schemes))? {
        let scheme = super::args::text(&scheme, "a scheme")?;
        if !matches(&SCHEME, r"^[\w.+-]{2,}:/{0,2}$", &scheme) {
            return fail(Kind::Value, format!("'{scheme}' is not a valid URI scheme prefix"));
        }
        schemes.push(scheme);
    }
    let mut rel: Vec<&str> = given.as_deref().unwrap_or("").split(is_space).filter(|part| !part.is_empty()).collect();
    rel.push("noopener");
    if nofollow {
        rel.push("nofollow");
    }
    rel.sort_unstable();
    rel.dedup();
    let mut attributes = format!(" rel=\"{}\"", escape(&rel.join(" ")));
    if target.truth(vm)? {
        attributes += &format!(" target=\"{}\"", str_of(vm, &escape_value(vm, &target)?)?);
    }
    let escaped = str_of(vm, &escape_value(vm, value)?)?;
    let style = LinkStyle { limit, attributes, schemes };
    let mut out = String::new();
    let mut rest: &str = &escaped;
    while !rest.is_empty() {
        vm.step()?;
        let word = rest.find(is_space).unwrap_or(rest.len());
        vm.charge(word * 16)?;
        if word > 0 {
            out.push_str(&style.word(&rest[..word])?);
            vm.charge_text(out.len() / 64)?;
        }
        let blank = rest[word..].find(|c| !is_space(c)).map_or(rest.len(), |at| word + at);
        out.push_str(&rest[word..blank]);
        rest = &rest[blank..];
    }
    vm.charge_text(out.len())?;
    Ok(if vm.autoescape.get() { Value::Markup(out.into()) } else { Value::str(out) })
}
