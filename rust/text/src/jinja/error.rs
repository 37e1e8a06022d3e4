//! Errors of templates: which kind of Python exception it stands for, what happened, and the line.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Syntax,
    Undefined,
    Type,
    Value,
    Lookup,
    Overflow,
    ZeroDivision,
    Runtime,
    /// raise_exception: the template refuses the conversation; the message is the template's own.
    Raised,
    /// A bound of this library: steps, nesting, size.
    Limit,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Syntax => "syntax error",
            Kind::Undefined => "undefined value",
            Kind::Type => "type error",
            Kind::Value => "value error",
            Kind::Lookup => "lookup error",
            Kind::Overflow => "overflow",
            Kind::ZeroDivision => "division by zero",
            Kind::Runtime => "template error",
            Kind::Raised | Kind::Limit => "",
        }
    }
}

#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    /// 0: not known yet.
    pub line: u32,
}

pub type R<T> = Result<T, Box<Error>>;

pub fn error(kind: Kind, message: impl Into<String>) -> Box<Error> {
    Box::new(Error { kind, message: message.into(), line: 0 })
}

pub fn fail<T>(kind: Kind, message: impl Into<String>) -> R<T> {
    Err(error(kind, message))
}

pub fn syntax<T>(line: u32, message: impl Into<String>) -> R<T> {
    Err(Box::new(Error { kind: Kind::Syntax, message: message.into(), line }))
}

impl Error {
    /// One sentence without control characters: where, what, and what was found.
    pub fn sentence(&self) -> String {
        const LONGEST: usize = 2000;
        let words = self.kind.words();
        let text = match self.kind {
            Kind::Raised => format!("the template refuses this conversation: {}", self.message),
            Kind::Limit => format!("line {}: {}", self.line.max(1), self.message),
            _ => format!("line {}: {words}: {}", self.line.max(1), self.message),
        };
        let mut out = String::new();
        for c in text.chars() {
            if out.len() > LONGEST {
                return out + "...";
            }
            out.push(if (c as u32) < 32 || c == '\u{7f}' { ' ' } else { c });
        }
        out
    }
}
