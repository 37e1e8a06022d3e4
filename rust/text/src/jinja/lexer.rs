//! Cuts a template into tokens by jinja2's rules with trim_blocks and lstrip_blocks on.

use num_bigint::BigInt;

use super::ast::Const;
use super::chars::{is_identifier, is_name_part, is_space};
use super::error::{syntax, R};
use super::literal;

#[derive(Debug, PartialEq)]
pub enum Token {
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(BigInt),
    Float(f64),
    Op(&'static str),
    Eof,
}

impl Token {
    pub fn is_name(&self, name: &str) -> bool {
        matches!(self, Token::Name(found) if found == name)
    }

    /// For error messages.
    pub fn describe(&self) -> String {
        match self {
            Token::Data(_) => "template text".into(),
            Token::VariableBegin => "{{".into(),
            Token::VariableEnd => "}}".into(),
            Token::BlockBegin => "{%".into(),
            Token::BlockEnd => "%}".into(),
            Token::Name(name) => name.clone(),
            Token::Str(_) => "a string".into(),
            Token::Int(value) => value.to_string(),
            Token::Float(value) => value.to_string(),
            Token::Op(op) => (*op).into(),
            Token::Eof => "the end of the template".into(),
        }
    }

    pub fn constant(self) -> Option<Const> {
        Some(match self {
            Token::Str(text) => Const::Str(text.into()),
            Token::Int(value) => i64::try_from(&value).map_or(Const::Big(value), Const::Int),
            Token::Float(value) => Const::Float(value),
            _ => return None,
        })
    }
}

/// What every tag begins with.
const BRACE: char = '\u{7b}';

/// Longer operators first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Variable,
    Block,
    Comment,
    Raw,
}

pub struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Brackets that are open inside the current tag, by what closes them.
    open: Vec<u8>,
    line_starting: bool,
    tokens: Vec<(Token, u32)>,
}

/// The tokens of a template with the line each begins on; the last one is Eof. Line breaks must be `\n` alone.
pub fn tokenize(source: &str) -> R<Vec<(Token, u32)>> {
    let source = source.strip_suffix('\n').unwrap_or(source);
    let mut lexer = Lexer { source, at: 0, line: 1, open: Vec::new(), line_starting: true, tokens: Vec::new() };
    while lexer.at < source.len() {
        lexer.root()?;
    }
    let line = lexer.line;
    lexer.tokens.push((Token::Eof, line));
    Ok(lexer.tokens)
}

/// The bytes of whitespace that `text` begins with.
fn spaces(text: &str) -> usize {
    text.find(|c| !is_space(c)).unwrap_or(text.len())
}

/// The end of the tag `{% word %}` that `text` begins with, for raw and endraw: the bytes up to its end, and its sign.
/// `trim`: `+%}` is known too, and a line break behind it goes.
fn word_tag(text: &str, word: &str, trim: bool) -> Option<(usize, Option<u8>)> {
    let rest = text.strip_prefix("{%")?;
    let sign = rest.bytes().next().filter(|b| matches!(b, b'-' | b'+'));
    let rest = &rest[usize::from(sign.is_some())..];
    let rest = rest[spaces(rest)..].strip_prefix(word)?;
    let rest = &rest[spaces(rest)..];
    let rest = if let Some(rest) = rest.strip_prefix("-%}") {
        &rest[spaces(rest)..]
    } else if let Some(rest) = rest.strip_prefix("+%}").filter(|_| trim) {
        rest
    } else {
        let rest = rest.strip_prefix("%}")?;
        rest.strip_prefix('\n').filter(|_| trim).unwrap_or(rest)
    };
    Some((text.len() - rest.len(), sign))
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    /// Moves on, counting lines.
    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.bytes().filter(|b| *b == b'\n').count() as u32;
        if bytes > 0 {
            self.line_starting = passed.ends_with('\n');
        }
        self.at += bytes;
    }

    /// Text up to the next tag, then the tag.
    fn root(&mut self) -> R<()> {
        let rest = self.rest();
        let mut from = 0;
        let (start, tag) = loop {
            let Some(found) = rest[from..].find(BRACE) else {
                self.push(Token::Data(rest.into()));
                self.advance(rest.len());
                return Ok(());
            };
            let start = from + found;
            match rest.as_bytes().get(start + 1) {
                Some(byte) if *byte == BRACE as u8 => break (start, Tag::Variable),
                Some(b'#') => break (start, Tag::Comment),
                Some(b'%') if word_tag(&rest[start..], "raw", false).is_some() => break (start, Tag::Raw),
                Some(b'%') => break (start, Tag::Block),
                _ => from = start + 1,
            }
        };
        let sign = rest.as_bytes().get(start + 2).copied().filter(|b| matches!(b, b'-' | b'+'));
        let text = self.stripped(&rest[..start], sign, tag);
        if !text.is_empty() {
            self.push(Token::Data(text.into()));
        }
        self.advance(start);
        match tag {
            Tag::Raw => self.raw(),
            Tag::Comment => {
                self.advance(2 + usize::from(sign.is_some()));
                self.comment()
            }
            Tag::Variable | Tag::Block => {
                self.advance(2 + usize::from(sign.is_some()));
                self.push(if tag == Tag::Block { Token::BlockBegin } else { Token::VariableBegin });
                self.inside(tag)
            }
        }
    }

    /// Text in front of a tag: `-` takes its whitespace, and lstrip_blocks the blanks on the tag's own line.
    fn stripped<'t>(&self, text: &'t str, sign: Option<u8>, tag: Tag) -> &'t str {
        match sign {
            Some(b'-') => text.trim_end_matches(is_space),
            None if tag != Tag::Variable => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let blank = text[line..].chars().all(is_space);
                if blank && (line > 0 || self.line_starting) { &text[..line] } else { text }
            }
            _ => text,
        }
    }

    fn raw(&mut self) -> R<()> {
        let (begin, _) = word_tag(self.rest(), "raw", false).unwrap_or((0, None));
        self.advance(begin);
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let start = from + found;
            if let Some((length, sign)) = word_tag(&rest[start..], "endraw", true) {
                let text = self.stripped(&rest[..start], sign, Tag::Raw);
                if !text.is_empty() {
                    self.push(Token::Data(text.into()));
                }
                self.advance(start + length);
                return Ok(());
            }
            from = start + 2;
        }
        if rest.is_empty() {
            return Ok(()); // jinja2 looks for the end only where something follows
        }
        syntax(self.line, "a raw block is not closed")
    }

    fn comment(&mut self) -> R<()> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(()); // as for raw blocks
        }
        let Some(end) = rest.find("#}") else {
            return syntax(self.line, "a comment is not closed");
        };
        let after = end + 2;
        let more = match rest[..end].bytes().last() {
            Some(b'-') => spaces(&rest[after..]),
            Some(b'+') => 0,
            _ => usize::from(rest[after..].starts_with('\n')),
        };
        self.advance(after + more);
        Ok(())
    }

    /// The bytes of the tag's end that stands here, if one does.
    fn end_of(&self, tag: Tag) -> Option<usize> {
        let rest = self.rest();
        let (plain, minus) = if tag == Tag::Block { ("%}", "-%}") } else { ("}}", "-}}") };
        if let Some(after) = rest.strip_prefix(minus) {
            return Some(3 + spaces(after));
        }
        if tag == Tag::Block && rest.starts_with("+%}") {
            return Some(3);
        }
        let after = rest.strip_prefix(plain)?;
        Some(2 + usize::from(tag == Tag::Block && after.starts_with('\n')))
    }

    /// Tokens up to the end of a tag.
    fn inside(&mut self, tag: Tag) -> R<()> {
        loop {
            if self.at >= self.source.len() {
                return Ok(()); // the parser misses the end of the tag
            }
            if self.open.is_empty() {
                if let Some(length) = self.end_of(tag) {
                    self.push(if tag == Tag::Block { Token::BlockEnd } else { Token::VariableEnd });
                    self.advance(length);
                    return Ok(());
                }
            }
            self.token()?;
        }
    }

    fn token(&mut self) -> R<()> {
        let rest = self.rest();
        let blank = spaces(rest);
        if blank > 0 {
            self.advance(blank);
            return Ok(());
        }
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_ascii_digit() {
            let after_dot = self.source[..self.at].ends_with('.');
            if let Some(length) = literal::float_length(rest).filter(|_| !after_dot) {
                let digits = rest[..length].replace('_', "");
                self.push(Token::Float(digits.parse().unwrap_or(f64::INFINITY)));
                self.advance(length);
            } else {
                let (length, value) = literal::integer(rest);
                self.push(Token::Int(value));
                self.advance(length);
            }
            return Ok(());
        }
        if is_name_part(first) {
            let length = rest.find(|c| !is_name_part(c)).unwrap_or(rest.len());
            let name = &rest[..length];
            if !is_identifier(name) {
                return syntax(self.line, format!("'{name}' is not a name"));
            }
            self.push(Token::Name(name.into()));
            self.advance(length);
            return Ok(());
        }
        if let Some(length) = literal::string_length(rest) {
            let text = literal::unescape(&rest[1..length - 1]).or_else(|why| syntax(self.line, why))?;
            self.push(Token::Str(text));
            self.advance(length);
            return Ok(());
        }
        self.operator(first)
    }

    fn operator(&mut self, first: char) -> R<()> {
        let rest = self.rest();
        let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) else {
            return syntax(self.line, format!("unexpected character '{first}'"));
        };
        match *op {
            "(" => self.open.push(b')'),
            "[" => self.open.push(b']'),
            "{" => self.open.push(BRACE as u8 + 2),
            ")" | "]" | "}" => {
                let expected = self.open.pop();
                if expected != op.bytes().next() {
                    return syntax(self.line, match expected {
                        Some(close) => format!("found '{op}' where '{}' is expected", close as char),
                        None => format!("'{op}' closes nothing"),
                    });
                }
            }
            _ => {}
        }
        self.push(Token::Op(op));
        self.advance(op.len());
        Ok(())
    }
}
