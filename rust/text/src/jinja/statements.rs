//! Parses statements: what stands between `{%` and `%}`, and the text around it.

use std::sync::Arc;

use super::ast::{
    Block, Escape, Expr, ExprKind, For, Layout, Macro, Name, Output, Slot, Stmt, StmtKind, Template,
};
use super::error::{syntax, R};
use super::lexer::{tokenize, Token};
use super::parser::{Parser, TupleEnd};
use super::value::Text;

/// Parses a template whose line breaks are `\n`; names are not resolved yet.
pub fn parse(source: &str) -> R<Template> {
    let mut parser = Parser::new(tokenize(source)?);
    let body = parser.statements(&[])?;
    Ok(Template { body, ..Template::default() })
}

fn unresolved(name: impl Into<Text>) -> Name {
    Name { name: name.into(), slot: Slot::default() }
}

impl Parser {
    /// Statements and text up to one of `ends`, which stays; up to the end of the template without `ends`.
    fn statements(&mut self, ends: &[&str]) -> R<Vec<Stmt>> {
        let mut body: Vec<Stmt> = Vec::new();
        let mut output = Vec::new();
        loop {
            let line = self.line();
            match self.peek() {
                Token::Data(_) => {
                    if let Token::Data(text) = self.next() {
                        output.push(Output::Data(text.into()));
                    }
                }
                Token::VariableBegin => {
                    self.next();
                    output.push(Output::Expr(self.tuple(true, TupleEnd::Tag, false)?));
                    self.expect(Token::VariableEnd)?;
                }
                Token::BlockBegin => {
                    if !output.is_empty() {
                        body.push(Stmt { kind: StmtKind::Output(std::mem::take(&mut output), Escape::Off), line });
                    }
                    self.next();
                    if ends.iter().any(|end| self.peek().is_name(end)) {
                        return Ok(body);
                    }
                    let kind = self.nested(|p| p.statement())?;
                    body.push(Stmt { kind, line });
                    self.expect(Token::BlockEnd)?;
                }
                _ => {
                    if !ends.is_empty() {
                        return syntax(line, format!("the template ends where {} is expected", ends.join(" or ")));
                    }
                    if !output.is_empty() {
                        body.push(Stmt { kind: StmtKind::Output(output, Escape::Off), line });
                    }
                    return Ok(body);
                }
            }
        }
    }

    /// The body of a statement, after its head.
    fn body(&mut self, ends: &[&str]) -> R<Vec<Stmt>> {
        self.skip_op(":");
        self.expect(Token::BlockEnd)?;
        self.statements(ends)
    }

    fn body_to_end(&mut self, end: &str) -> R<Vec<Stmt>> {
        let body = self.body(&[end])?;
        self.next();
        Ok(body)
    }

    fn statement(&mut self) -> R<StmtKind> {
        let line = self.line();
        let word = self.expect_name()?;
        match word.as_str() {
            "for" => self.for_loop(line),
            "if" => self.condition_statement(),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => self.macro_definition(line),
            "call" => self.call_block(line),
            "filter" => {
                let filter = self.one_filter(None)?;
                let filter = self.filters(Some(filter))?.map_or_else(|| self.unexpected("a filter"), Ok)?;
                let body = self.body_to_end("endfilter")?;
                Ok(StmtKind::FilterBlock { filter, body, layout: Layout::default() })
            }
            "generation" => {
                let body = self.body_to_end("endgeneration")?;
                Ok(StmtKind::Generation { node: self.anonymous(body, Vec::new(), Vec::new(), line) })
            }
            "autoescape" => {
                let value = self.expression(true)?;
                let body = self.body_to_end("endautoescape")?;
                Ok(StmtKind::Autoescape { value, body, layout: Layout::default() })
            }
            "print" => {
                let mut output = Vec::new();
                while *self.peek() != Token::BlockEnd {
                    if !output.is_empty() {
                        self.expect_op(",")?;
                    }
                    output.push(Output::Expr(self.expression(true)?));
                }
                Ok(StmtKind::Output(output, Escape::Off))
            }
            "block" => self.block(),
            "break" => Ok(StmtKind::Break),
            "continue" => Ok(StmtKind::Continue),
            "extends" => Ok(StmtKind::Other("extends", vec![self.expression(true)?], Vec::new())),
            "include" => self.include(),
            "import" => self.import(),
            "from" => self.from_import(),
            _ => syntax(line, format!("unknown tag '{word}'")),
        }
    }

    fn anonymous(&self, body: Vec<Stmt>, params: Vec<Name>, defaults: Vec<Expr>, line: u32) -> Arc<Macro> {
        Arc::new(Macro {
            name: None,
            params,
            defaults,
            body,
            line,
            layout: Layout::default(),
            caller: None,
            kwargs: None,
            varargs: None,
        })
    }

    fn for_loop(&mut self, line: u32) -> R<StmtKind> {
        let target = self.target(TupleEnd::In, false)?;
        if !self.skip_name("in") {
            return self.unexpected("'in'");
        }
        let iter = self.tuple(false, TupleEnd::Recursive, false)?;
        let test = if self.skip_name("if") { Some(self.expression(true)?) } else { None };
        let recursive = self.skip_name("recursive");
        let body = self.body(&["endfor", "else"])?;
        let otherwise = if self.next().is_name("endfor") { Vec::new() } else { self.body_to_end("endfor")? };
        Ok(StmtKind::For(Arc::new(For {
            target,
            iter,
            test,
            recursive,
            body,
            otherwise,
            line,
            loop_slot: None,
            body_layout: Layout::default(),
            test_layout: Layout::default(),
            else_layout: Layout::default(),
        })))
    }

    fn condition_statement(&mut self) -> R<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false, TupleEnd::Tag, false)?;
            branches.push((test, self.body(&["elif", "else", "endif"])?));
            let end = self.next();
            if end.is_name("elif") {
                continue;
            }
            let otherwise = if end.is_name("else") { self.body_to_end("endif")? } else { Vec::new() };
            return Ok(StmtKind::If(branches, otherwise));
        }
    }

    fn set(&mut self) -> R<StmtKind> {
        let target = self.target(TupleEnd::Tag, true)?;
        if self.skip_op("=") {
            let value = self.tuple(true, TupleEnd::Tag, false)?;
            return Ok(StmtKind::Set { target, value, exported: Vec::new() });
        }
        let filter = self.filters(None)?;
        let body = self.body_to_end("endset")?;
        Ok(StmtKind::SetBlock { target, filter, body, layout: Layout::default(), exported: Vec::new() })
    }

    fn with(&mut self) -> R<StmtKind> {
        let (mut targets, mut values) = (Vec::new(), Vec::new());
        while *self.peek() != Token::BlockEnd {
            if !targets.is_empty() {
                self.expect_op(",")?;
            }
            targets.push(self.target(TupleEnd::Tag, false)?);
            self.expect_op("=")?;
            values.push(self.expression(true)?);
        }
        let body = self.body_to_end("endwith")?;
        Ok(StmtKind::With { targets, values, body, layout: Layout::default() })
    }

    /// A name that can be assigned to.
    fn plain_name(&mut self) -> R<String> {
        let line = self.line();
        let name = self.expect_name()?;
        match name.as_str() {
            "true" | "false" | "none" | "True" | "False" | "None" => {
                syntax(line, format!("'{name}' cannot be assigned to"))
            }
            _ => Ok(name),
        }
    }

    fn signature(&mut self) -> R<(Vec<Name>, Vec<Expr>)> {
        let (mut params, mut defaults): (Vec<Name>, Vec<Expr>) = (Vec::new(), Vec::new());
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            let line = self.line();
            let name = self.plain_name()?;
            if params.iter().any(|param| *param.name == *name) {
                return syntax(line, format!("the parameter '{name}' stands twice"));
            }
            if self.skip_op("=") {
                defaults.push(self.expression(true)?);
            } else if !defaults.is_empty() {
                return syntax(line, "a parameter without a default follows one with a default");
            }
            params.push(unresolved(name));
        }
        self.next();
        Ok((params, defaults))
    }

    fn macro_definition(&mut self, line: u32) -> R<StmtKind> {
        let name = self.plain_name()?;
        let (params, defaults) = self.signature()?;
        let body = self.body_to_end("endmacro")?;
        let target = unresolved(name.as_str());
        let node = Macro {
            name: Some(name.into()),
            params,
            defaults,
            body,
            line,
            layout: Layout::default(),
            caller: None,
            kwargs: None,
            varargs: None,
        };
        Ok(StmtKind::Macro { node: Arc::new(node), target, exported: false })
    }

    fn call_block(&mut self, line: u32) -> R<StmtKind> {
        let (params, defaults) = if self.is_op("(") { self.signature()? } else { Default::default() };
        let call = self.expression(true)?;
        if !matches!(call.kind, ExprKind::Call(..)) {
            return syntax(line, "a call block needs a call");
        }
        let body = self.body_to_end("endcall")?;
        Ok(StmtKind::CallBlock { call, node: self.anonymous(body, params, defaults, line) })
    }

    fn block(&mut self) -> R<StmtKind> {
        let line = self.line();
        let name = self.expect_name()?;
        let scoped = self.skip_name("scoped");
        let required = self.skip_name("required");
        let body = self.body_to_end("endblock")?;
        let blank = |stmt: &Stmt| match &stmt.kind {
            StmtKind::Output(parts, _) => {
                parts.iter().all(|part| matches!(part, Output::Data(text) if text.trim().is_empty()))
            }
            _ => false,
        };
        if required && !body.iter().all(blank) {
            return syntax(line, "a required block holds only comments and whitespace");
        }
        self.skip_name(&name);
        Ok(StmtKind::Block(Arc::new(Block {
            name: name.into(),
            scoped,
            required,
            body,
            layout: Layout::default(),
            self_slot: None,
            super_slot: None,
            visible: Vec::new(),
        })))
    }

    /// `with context` or `without context`.
    fn skip_context(&mut self) -> R<bool> {
        let found = self.peek().is_name("with") || self.peek().is_name("without");
        if found {
            self.next();
            if !self.skip_name("context") {
                return self.unexpected("'context'");
            }
        }
        Ok(found)
    }

    fn include(&mut self) -> R<StmtKind> {
        let template = self.expression(true)?;
        if self.skip_name("ignore") && !self.skip_name("missing") {
            return self.unexpected("'missing'");
        }
        self.skip_context()?;
        Ok(StmtKind::Other("include", vec![template], Vec::new()))
    }

    fn import(&mut self) -> R<StmtKind> {
        let template = self.expression(true)?;
        if !self.skip_name("as") {
            return self.unexpected("'as'");
        }
        let name = unresolved(self.plain_name()?);
        self.skip_context()?;
        Ok(StmtKind::Other("import", vec![template], vec![name]))
    }

    fn from_import(&mut self) -> R<StmtKind> {
        let template = self.expression(true)?;
        if !self.skip_name("import") {
            return self.unexpected("'import'");
        }
        let mut names = Vec::new();
        loop {
            if !names.is_empty() {
                self.expect_op(",")?;
            }
            if self.skip_context()? {
                break;
            }
            let line = self.line();
            let name = self.plain_name()?;
            if name.starts_with('_') {
                return syntax(line, "names that begin with an underscore cannot be imported");
            }
            names.push(unresolved(if self.skip_name("as") { self.plain_name()? } else { name }));
            if self.skip_context()? || !self.is_op(",") {
                break;
            }
        }
        Ok(StmtKind::Other("from", vec![template], names))
    }
}
