//! What str methods and filters do to texts.

use super::chars::is_space;
use super::value::Text;

/// Characters that end a line for str.splitlines.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// str.splitlines(keepends).
pub fn split_lines(text: &str, keep: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(at) = rest.find(is_line_end) else {
            lines.push(rest);
            break;
        };
        let width = rest[at..].chars().next().map_or(1, char::len_utf8);
        let end = if rest[at..].starts_with("\r\n") { at + 2 } else { at + width };
        lines.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    lines
}

/// str.split(): at runs of whitespace.
fn split_blank(text: &str, limit: i64) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = if limit >= 0 && parts.len() as i64 >= limit { None } else { rest.find(is_space) };
        let Some(end) = end else {
            parts.push(if limit >= 0 && parts.len() as i64 >= limit { rest } else { rest.trim_end_matches(is_space) });
            break;
        };
        parts.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    parts
}

fn rsplit_blank(text: &str, limit: i64) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        let at = if limit >= 0 && parts.len() as i64 >= limit { None } else { rest.rfind(is_space) };
        let Some(at) = at else {
            parts.push(rest);
            break;
        };
        let width = rest[at..].chars().next().map_or(1, char::len_utf8);
        parts.push(&rest[at + width..]);
        rest = rest[..at].trim_end_matches(is_space);
    }
    parts.reverse();
    parts
}

/// str.split and str.rsplit; a negative limit is none. The separator must not be empty.
pub fn split<'t>(text: &'t str, separator: Option<&str>, limit: i64, from_right: bool) -> Vec<&'t str> {
    let pieces = usize::try_from(limit).map_or(usize::MAX, |limit| limit.saturating_add(1));
    match (separator, from_right) {
        (None, false) => split_blank(text, limit),
        (None, true) => rsplit_blank(text, limit),
        (Some(separator), false) => text.splitn(pieces, separator).collect(),
        (Some(separator), true) => {
            let mut parts: Vec<&str> = text.rsplitn(pieces, separator).collect();
            parts.reverse();
            parts
        }
    }
}

/// str.strip and its one-sided forms.
pub fn strip<'t>(text: &'t str, chars: Option<&str>, left: bool, right: bool) -> &'t str {
    let drop = |c: char| chars.map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if left { text.trim_start_matches(drop) } else { text };
    if right { text.trim_end_matches(drop) } else { text }
}

/// The byte where the character at `index` begins; the end for one past the last.
pub fn byte_at(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

/// text[start:stop] with both clamped as Python does, and the index of its first character; None where start lies
/// behind the end.
pub fn window(text: &str, start: Option<i64>, stop: Option<i64>) -> Option<(&str, usize)> {
    if start.is_none() && stop.is_none() {
        return Some((text, 0));
    }
    let length = text.chars().count() as i64;
    let clamp = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (start, stop) = (clamp(start.unwrap_or(0)), clamp(stop.unwrap_or(length)).min(length));
    if start > length || start > stop {
        return None;
    }
    Some((&text[byte_at(text, start as usize)..byte_at(text, stop as usize)], start as usize))
}

/// str.replace; a negative count is none.
pub fn replace(text: &str, old: &str, new: &str, count: i64) -> String {
    match usize::try_from(count) {
        Ok(count) if old.is_empty() => {
            let mut out = String::new();
            let mut left = count;
            for c in text.chars() {
                if left > 0 {
                    out.push_str(new);
                    left -= 1;
                }
                out.push(c);
            }
            if left > 0 {
                out.push_str(new);
            }
            out
        }
        Ok(count) => text.replacen(old, new, count),
        Err(_) => text.replace(old, new),
    }
}

/// str.expandtabs.
pub fn expand_tabs(text: &str, size: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let blanks = if size > 0 { size - column % size } else { 0 };
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            _ => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

/// str.center: with an odd rest, the left side gets more only where the width is odd.
pub fn center(text: &str, width: usize, fill: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let left = missing / 2 + (missing & width & 1);
    let pad = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
    format!("{}{text}{}", pad(left), pad(missing - left))
}

pub fn justify(text: &str, width: usize, fill: char, right: bool) -> String {
    let pad: String = std::iter::repeat_n(fill, width.saturating_sub(text.chars().count())).collect();
    if right { pad + text } else { text.to_string() + &pad }
}

/// str.zfill.
pub fn zfill(text: &str, width: usize) -> String {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = &text[..text.len() - digits.len()];
    format!("{sign}{}{digits}", "0".repeat(width.saturating_sub(text.chars().count())))
}

/// The positions a slice takes of something with `length` items.
pub fn slice_positions(length: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> Vec<usize> {
    let length = length as i64;
    let (lowest, highest) = if step < 0 { (-1, length - 1) } else { (0, length) };
    let clamp = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(lowest, highest);
    let start = start.map_or(if step < 0 { highest } else { lowest }, clamp);
    let stop = stop.map_or(if step < 0 { lowest } else { highest }, clamp);
    let mut positions = Vec::new();
    let mut at = start;
    while if step < 0 { at > stop } else { at < stop } {
        positions.push(at as usize);
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    positions
}

/// The characters at the positions of a slice.
pub fn slice(text: &Text, start: Option<i64>, stop: Option<i64>, step: i64) -> Text {
    if step == 1 {
        return match window(text, start, stop) {
            Some((part, _)) if part.len() == text.len() => text.clone(),
            Some((part, _)) => part.into(),
            None => "".into(),
        };
    }
    let chars: Vec<char> = text.chars().collect();
    let positions = slice_positions(chars.len(), start, stop, step);
    positions.into_iter().map(|at| chars[at]).collect::<String>().into()
}
