//! jinja2 for chat templates: a parser and evaluator of its own.
//!
//! Templates run on the values, operators, methods and scopes of Python: tuples, integers without bound, `%` on strings,
//! generators that are used up, `repr` of everything, names that belong to a scope from its first line on. A library
//! with another value model, such as minijinja, cannot be brought to print what jinja2 prints; this one is compared with
//! jinja2 3.1.6 in the environment of transformers (tests/data/chat/jinja_cases.json).
//!
//! Templates are not trusted: steps, bytes, nesting and stack are bounded, and every error is one sentence.

mod access;
mod args;
mod ast;
mod call;
mod chars;
mod compare;
mod convert;
mod entities;
mod error;
mod eval;
mod exec;
mod fields;
mod filters;
mod filters_list;
mod filters_text;
mod format;
mod globals;
mod html;
mod json;
mod lexer;
mod literal;
mod loops;
mod methods;
mod number;
mod operators;
mod parser;
mod percent;
mod repr;
mod resolve;
mod scopes;
mod statements;
mod str_methods;
mod strftime;
mod strings;
mod tests;
mod value;
mod vm;
mod wrap;

use std::sync::Arc;

use error::R;
use value::{Dict, Value};

/// A parsed template; immutable, for any thread.
pub struct ChatTemplate {
    template: Arc<ast::Template>,
}

fn parse(source: &str) -> R<ast::Template> {
    let mut template = statements::parse(source)?;
    resolve::resolve(&mut template)?;
    Ok(template)
}

impl ChatTemplate {
    /// Reads and checks the source; a syntax error names its line.
    pub fn new(source: &[u8]) -> Result<ChatTemplate, String> {
        let text = std::str::from_utf8(source).map_err(|_| "the template is not UTF-8".to_string())?;
        let unix = text.replace("\r\n", "\n").replace('\r', "\n");
        let template = parse(&unix).map_err(|error| error.sentence())?;
        Ok(ChatTemplate { template: Arc::new(template) })
    }

    /// The prompt for a JSON object of variables. `clock` is what strftime_now prints (strftime.rs).
    pub fn render(&self, context: &[u8], clock: [i32; 7]) -> Result<String, String> {
        let json: serde_json::Value =
            serde_json::from_slice(context).map_err(|e| format!("the template's variables are not JSON: {e}"))?;
        let render = || {
            let Value::Dict(variables) = from_json(&json)? else { return Ok(String::new()) };
            let variables = std::rc::Rc::try_unwrap(variables).unwrap_or_default();
            exec::root(&vm::Vm::new(self.template.clone(), variables, clock))
        };
        render().map_err(|error| error.sentence())
    }
}

fn from_json(json: &serde_json::Value) -> R<Value> {
    Ok(match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::big(value.into()),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::str(text.as_str()),
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json).collect::<R<Vec<Value>>>()?)?,
        serde_json::Value::Object(entries) => {
            let mut dict = Dict::new();
            for (key, value) in entries {
                dict.insert(Value::str(key.as_str()), from_json(value)?)?;
            }
            Value::dict(dict)
        }
    })
}
