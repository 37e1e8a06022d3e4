//! Python's textwrap.wrap, as the filter wordwrap calls it.

use super::chars::{is_decimal, is_space, is_word};

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_letter(c: char) -> bool {
    is_word(c) && !is_decimal(c)
}

fn is_word_or_mark(c: char) -> bool {
    is_word(c) || matches!(c, '!' | '"' | '\'' | '&' | '.' | ',' | '?')
}

/// The line in pieces that may be parted: words, blanks, parts of hyphenated words, dashes.
fn pieces(text: &[char], hyphens: bool) -> Vec<Vec<char>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = if is_blank(text[at]) {
            (at..text.len()).find(|i| !is_blank(text[*i])).unwrap_or(text.len())
        } else if !hyphens {
            (at..text.len()).find(|i| is_blank(text[*i])).unwrap_or(text.len())
        } else {
            word_end(text, at)
        };
        out.push(text[at..end].to_vec());
        at = end;
    }
    out
}

/// The end of the dash of two or more hyphens between words that begins at `at`.
fn dash_end(text: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|i| text[i]).filter(|c| is_word_or_mark(*c));
    before?;
    let end = (at..text.len()).find(|i| text[*i] != '-').unwrap_or(text.len());
    (end >= at + 2 && text.get(end).is_some_and(|c| is_word(*c))).then_some(end)
}

fn word_end(text: &[char], begin: usize) -> usize {
    if let Some(end) = dash_end(text, begin) {
        return end;
    }
    let letter = |i: usize| text.get(i).is_some_and(|c| is_letter(*c));
    for at in begin + 1..text.len() {
        if is_blank(text[at]) {
            return at;
        }
        if text[at] == '-' {
            let behind = at + 1;
            let after_two = at >= 2 && letter(at - 1) && letter(at - 2);
            let after_part =
                at >= 3 && letter(at - 3) && text[at - 2] == '-' && letter(at - 1);
            let goes_on = letter(behind)
                && (letter(behind + 1) || (text.get(behind + 1) == Some(&'-') && letter(behind + 2)));
            if (after_two || after_part) && goes_on {
                return behind;
            }
            if dash_end(text, at).is_some() {
                return at;
            }
        }
    }
    text.len()
}

fn blank(piece: &[char]) -> bool {
    piece.iter().all(|c| is_space(*c))
}

/// Lines of at most `width` characters, above 0; words that are longer are broken if `long` is set.
pub fn wrap(line: &str, width: usize, long: bool, hyphens: bool) -> Vec<String> {
    let text: Vec<char> = line.chars().collect();
    let mut rest = pieces(&text, hyphens);
    rest.reverse();
    let mut lines: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let mut current: Vec<Vec<char>> = Vec::new();
        let mut length = 0;
        if !lines.is_empty() && rest.last().is_some_and(|piece| blank(piece)) {
            rest.pop();
        }
        while let Some(piece) = rest.pop_if(|piece| length + piece.len() <= width) {
            length += piece.len();
            current.push(piece);
        }
        if let Some(piece) = rest.last_mut().filter(|piece| piece.len() > width) {
            if long {
                let room = width - length;
                let end = hyphen_within(piece, room).filter(|_| hyphens).unwrap_or(room);
                let tail = piece.split_off(end);
                current.push(std::mem::replace(piece, tail));
            } else if current.is_empty() {
                current.extend(rest.pop());
            }
        }
        if current.last().is_some_and(|piece| blank(piece)) {
            current.pop();
        }
        if !current.is_empty() {
            lines.push(current.concat().iter().collect());
        }
    }
    lines
}

/// Behind the last hyphen in the first `room` characters, if others come before it.
fn hyphen_within(piece: &[char], room: usize) -> Option<usize> {
    let at = piece[..room.min(piece.len())].iter().rposition(|c| *c == '-')?;
    piece[..at].iter().any(|c| *c != '-').then_some(at + 1)
}
