//! Parses expressions; statements are in statements.rs.

use std::sync::Arc;

use super::ast::{children, Args, Binary, Compare, Const, Expr, ExprKind, Name, Slot};
use super::error::{syntax, R};
use super::lexer::Token;
use super::value::Text;
use super::vm::stack_address;

/// Expressions and statements nest at most so deep.
const MAX_NESTING: u32 = 150;
/// Chains such as a + b + c or x|f|g count too: Python compiles no longer ones either.
const MAX_DEPTH: u16 = 200;

/// Bytes of the stack that parsing may take.
const MAX_STACK: usize = 256 << 10;

// How tightly operators bind.
const OR: u8 = 0;
const AND: u8 = 1;
const NOT: u8 = 2;
const COMPARISON: u8 = 3;
const SUM: u8 = 4;
const CONCAT: u8 = 5;
const PRODUCT: u8 = 6;
const POWER: u8 = 7;

pub struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    nesting: u32,
    stack: usize,
}

/// What may end a tuple without parentheses besides the end of its tag.
#[derive(Clone, Copy, PartialEq)]
pub enum TupleEnd {
    Tag,
    In,
    Recursive,
}

fn name_of(text: &str) -> Name {
    Name { name: text.into(), slot: Slot::default() }
}

impl Parser {
    pub fn new(tokens: Vec<(Token, u32)>) -> Parser {
        Parser { tokens, at: 0, nesting: 0, stack: stack_address() }
    }

    pub fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    pub fn next(&mut self) -> Token {
        if self.at + 1 == self.tokens.len() {
            return Token::Eof;
        }
        self.at += 1;
        std::mem::replace(&mut self.tokens[self.at - 1].0, Token::Eof)
    }

    pub fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Token::Op(found) if *found == op)
    }

    pub fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    pub fn skip_name(&mut self, name: &str) -> bool {
        let found = self.peek().is_name(name);
        if found {
            self.next();
        }
        found
    }

    pub fn unexpected<T>(&self, expected: &str) -> R<T> {
        syntax(self.line(), format!("found {} where {expected} is expected", self.peek().describe()))
    }

    pub fn expect_op(&mut self, op: &str) -> R<()> {
        if self.skip_op(op) { Ok(()) } else { self.unexpected(&format!("'{op}'")) }
    }

    pub fn expect(&mut self, token: Token) -> R<()> {
        if *self.peek() == token {
            self.next();
            return Ok(());
        }
        self.unexpected(&format!("'{}'", token.describe()))
    }

    pub fn expect_name(&mut self) -> R<String> {
        match self.peek() {
            Token::Name(_) => match self.next() {
                Token::Name(name) => Ok(name),
                _ => Ok(String::new()),
            },
            _ => self.unexpected("a name"),
        }
    }

    /// Runs one level deeper.
    pub fn nested<T>(&mut self, parse: impl FnOnce(&mut Parser) -> R<T>) -> R<T> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING || self.stack.abs_diff(stack_address()) > MAX_STACK {
            return syntax(self.line(), format!("the template nests deeper than {MAX_NESTING} levels"));
        }
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    pub fn expr_at(&self, line: u32, kind: ExprKind) -> R<Expr> {
        let mut depth = 0;
        children(&kind, &mut |child| depth = depth.max(child.depth));
        if depth >= MAX_DEPTH {
            return syntax(line, format!("an expression is longer than {MAX_DEPTH} operations"));
        }
        Ok(Expr { kind, line, depth: depth + 1 })
    }

    pub fn expression(&mut self, with_condition: bool) -> R<Expr> {
        self.nested(|p| {
            let line = p.line();
            let mut value = p.binary(0)?;
            while with_condition && p.skip_name("if") {
                let test = p.binary(0)?;
                let otherwise = if p.skip_name("else") { Some(Box::new(p.expression(true)?)) } else { None };
                value = p.expr_at(line, ExprKind::Cond(Box::new(test), Box::new(value), otherwise))?;
            }
            Ok(value)
        })
    }

    /// Operators that bind as tightly as `level` or tighter.
    fn binary(&mut self, level: u8) -> R<Expr> {
        let line = self.line();
        let mut left = if level <= NOT && self.skip_name("not") {
            let value = Box::new(self.nested(|p| p.binary(NOT))?);
            self.expr_at(line, ExprKind::Not(value))?
        } else {
            self.unary(true)?
        };
        loop {
            let found = self.operator();
            left = match found {
                Some((own, _)) if own < level => return Ok(left),
                None => return Ok(left),
                Some((COMPARISON, _)) => self.comparison(line, left)?,
                Some((CONCAT, _)) => self.concat(line, left)?,
                Some((own, operator)) => {
                    self.next();
                    let right = Box::new(self.binary(own + 1)?);
                    let left = Box::new(left);
                    let kind = match operator {
                        Some(operator) => ExprKind::Binary(operator, left, right),
                        None if own == OR => ExprKind::Or(left, right),
                        None => ExprKind::And(left, right),
                    };
                    self.expr_at(line, kind)?
                }
            };
        }
    }

    /// How tightly the operator that stands here binds, and which one it is if it calculates.
    fn operator(&self) -> Option<(u8, Option<Binary>)> {
        let calculates = |level, operator| Some((level, Some(operator)));
        match self.peek() {
            Token::Op("+") => calculates(SUM, Binary::Add),
            Token::Op("-") => calculates(SUM, Binary::Sub),
            Token::Op("*") => calculates(PRODUCT, Binary::Mul),
            Token::Op("/") => calculates(PRODUCT, Binary::Div),
            Token::Op("//") => calculates(PRODUCT, Binary::FloorDiv),
            Token::Op("%") => calculates(PRODUCT, Binary::Mod),
            Token::Op("**") => calculates(POWER, Binary::Pow),
            Token::Op("~") => Some((CONCAT, None)),
            Token::Name(name) if name == "or" => Some((OR, None)),
            Token::Name(name) if name == "and" => Some((AND, None)),
            _ => self.comparator().map(|_| (COMPARISON, None)),
        }
    }

    fn comparator(&self) -> Option<Compare> {
        Some(match self.peek() {
            Token::Op("==") => Compare::Eq,
            Token::Op("!=") => Compare::Ne,
            Token::Op("<") => Compare::Lt,
            Token::Op("<=") => Compare::Le,
            Token::Op(">") => Compare::Gt,
            Token::Op(">=") => Compare::Ge,
            token if token.is_name("in") => Compare::In,
            token if token.is_name("not") && self.peek_second().is_name("in") => Compare::NotIn,
            _ => return None,
        })
    }

    fn comparison(&mut self, line: u32, first: Expr) -> R<Expr> {
        let mut rest = Vec::new();
        while let Some(comparator) = self.comparator() {
            self.next();
            if comparator == Compare::NotIn {
                self.next();
            }
            rest.push((comparator, self.binary(SUM)?));
        }
        self.expr_at(line, ExprKind::Compare(Box::new(first), rest))
    }

    fn concat(&mut self, line: u32, first: Expr) -> R<Expr> {
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.binary(PRODUCT)?);
        }
        self.expr_at(line, ExprKind::Concat(parts, false))
    }

    fn unary(&mut self, with_filter: bool) -> R<Expr> {
        let line = self.line();
        let value = if self.skip_op("-") {
            let value = Box::new(self.nested(|p| p.unary(false))?);
            self.expr_at(line, ExprKind::Neg(value))?
        } else if self.skip_op("+") {
            let value = Box::new(self.nested(|p| p.unary(false))?);
            self.expr_at(line, ExprKind::Pos(value))?
        } else {
            self.primary(false)?
        };
        let value = self.postfix(value)?;
        if with_filter { self.filters_and_tests(value) } else { Ok(value) }
    }

    /// `targets`: names may carry an attribute, `ns.attr`.
    pub fn primary(&mut self, targets: bool) -> R<Expr> {
        let line = self.line();
        let kind = match self.peek() {
            Token::Name(_) => {
                let name = self.expect_name()?;
                match name.as_str() {
                    "true" | "True" => ExprKind::Const(Const::Bool(true)),
                    "false" | "False" => ExprKind::Const(Const::Bool(false)),
                    "none" | "None" => ExprKind::Const(Const::None),
                    _ if targets && self.skip_op(".") => {
                        ExprKind::NsRef(name_of(&name), self.expect_name()?.into())
                    }
                    _ => ExprKind::Name(name_of(&name)),
                }
            }
            Token::Str(_) => {
                let mut text = String::new();
                while let Token::Str(_) = self.peek() {
                    if let Token::Str(part) = self.next() {
                        text.push_str(&part);
                    }
                }
                ExprKind::Const(Const::Str(text.into()))
            }
            Token::Int(_) | Token::Float(_) => ExprKind::Const(self.next().constant().unwrap_or(Const::None)),
            Token::Op("(") => {
                self.next();
                let inner = self.nested(|p| p.tuple(true, TupleEnd::Tag, true))?;
                self.expect_op(")")?;
                return Ok(inner);
            }
            Token::Op("[") => {
                self.next();
                let items = self.items("]", |p| p.expression(true))?;
                ExprKind::List(items)
            }
            Token::Op("{") => {
                self.next();
                let pairs = self.items("}", |p| {
                    let key = p.expression(true)?;
                    p.expect_op(":")?;
                    Ok((key, p.expression(true)?))
                })?;
                ExprKind::Dict(pairs)
            }
            _ => return self.unexpected("an expression"),
        };
        self.expr_at(line, kind)
    }

    /// What commas separate, up to `close`; a comma may end it.
    fn items<T>(&mut self, close: &str, mut parse: impl FnMut(&mut Parser) -> R<T>) -> R<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_op(close) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.is_op(close) {
                    break;
                }
            }
            items.push(parse(self)?);
        }
        self.expect_op(close)?;
        Ok(items)
    }

    fn at_tuple_end(&self, end: TupleEnd) -> bool {
        match self.peek() {
            Token::VariableEnd | Token::BlockEnd | Token::Op(")") => true,
            Token::Name(name) => {
                (end == TupleEnd::In && name == "in") || (end == TupleEnd::Recursive && name == "recursive")
            }
            _ => false,
        }
    }

    /// An expression, or a tuple where commas follow. `parentheses`: it may be empty.
    pub fn tuple(&mut self, with_condition: bool, end: TupleEnd, parentheses: bool) -> R<Expr> {
        self.tuple_of(end, parentheses, |p| p.expression(with_condition))
    }

    /// The target of an assignment: names, tuples of names, with `attributes` also ns.attr.
    pub fn target(&mut self, end: TupleEnd, attributes: bool) -> R<Expr> {
        let target = self.tuple_of(end, false, |p| p.primary(attributes))?;
        self.check_target(&target)?;
        Ok(target)
    }

    fn check_target(&self, target: &Expr) -> R<()> {
        match &target.kind {
            ExprKind::Name(_) | ExprKind::NsRef(..) => Ok(()),
            ExprKind::Tuple(items) => items.iter().try_for_each(|item| self.check_target(item)),
            _ => syntax(target.line, "only a name can be assigned to"),
        }
    }

    fn tuple_of(
        &mut self,
        end: TupleEnd,
        parentheses: bool,
        mut parse: impl FnMut(&mut Parser) -> R<Expr>,
    ) -> R<Expr> {
        let line = self.line();
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            if self.at_tuple_end(end) {
                break;
            }
            items.push(parse(self)?);
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if is_tuple || (items.is_empty() && parentheses) {
            return self.expr_at(line, ExprKind::Tuple(items));
        }
        match items.pop() {
            Some(only) => Ok(only),
            None => self.unexpected("an expression"),
        }
    }

    fn postfix(&mut self, mut value: Expr) -> R<Expr> {
        loop {
            value = match self.peek() {
                Token::Op(".") => self.attribute(value)?,
                Token::Op("[") => self.subscript(value)?,
                Token::Op("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn filters_and_tests(&mut self, mut value: Expr) -> R<Expr> {
        loop {
            value = match self.peek() {
                Token::Op("|") => match self.filters(Some(value))? {
                    Some(filtered) => filtered,
                    None => return self.unexpected("a filter"),
                },
                Token::Op("(") => self.call(value)?,
                token if token.is_name("is") => self.test(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn attribute(&mut self, value: Expr) -> R<Expr> {
        let line = self.line();
        self.next();
        match self.peek() {
            Token::Name(_) => {
                let name = self.expect_name()?;
                self.expr_at(line, ExprKind::Attr(Box::new(value), name.into()))
            }
            Token::Int(_) => {
                let index = ExprKind::Const(self.next().constant().unwrap_or(Const::None));
                let index = self.expr_at(line, index)?;
                self.expr_at(line, ExprKind::Item(Box::new(value), Box::new(index)))
            }
            _ => self.unexpected("a name or number"),
        }
    }

    fn subscript(&mut self, value: Expr) -> R<Expr> {
        let line = self.line();
        self.next();
        let mut slice = None;
        let mut items = Vec::new();
        while !self.is_op("]") {
            if !items.is_empty() || slice.is_some() {
                self.expect_op(",")?;
                if slice.is_some() {
                    return syntax(line, "a slice stands alone between brackets");
                }
            }
            let start = if self.is_op(":") { None } else { Some(Box::new(self.expression(true)?)) };
            if self.skip_op(":") {
                let mut bounds = [start, None, None];
                for bound in 1..3 {
                    if bound == 2 && !self.skip_op(":") {
                        break;
                    }
                    if !self.is_op(":") && !self.is_op("]") && !self.is_op(",") {
                        bounds[bound] = Some(Box::new(self.expression(true)?));
                    }
                }
                slice = Some(bounds);
            } else {
                items.extend(start.map(|e| *e));
            }
        }
        self.next();
        if let Some(bounds) = slice {
            if !items.is_empty() {
                return syntax(line, "a slice stands alone between brackets");
            }
            return self.expr_at(line, ExprKind::Slice(Box::new(value), bounds));
        }
        let index = match items.pop() {
            Some(only) if items.is_empty() => only,
            last => {
                items.extend(last);
                self.expr_at(line, ExprKind::Tuple(items))?
            }
        };
        self.expr_at(line, ExprKind::Item(Box::new(value), Box::new(index)))
    }

    fn call(&mut self, callee: Expr) -> R<Expr> {
        let line = self.line();
        let args = self.arguments()?;
        self.expr_at(line, ExprKind::Call(Box::new(callee), args))
    }

    fn arguments(&mut self) -> R<Args> {
        let line = self.line();
        self.expect_op("(")?;
        let mut args = Args::default();
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            let keyword = matches!(self.peek(), Token::Name(_)) && *self.peek_second() == Token::Op("=");
            let ordered = if self.skip_op("*") {
                let ordered = args.star.is_none() && args.star_star.is_none();
                args.star = Some(Box::new(self.expression(true)?));
                ordered
            } else if self.skip_op("**") {
                let ordered = args.star_star.is_none();
                args.star_star = Some(Box::new(self.expression(true)?));
                ordered
            } else if keyword {
                let name: Text = Arc::from(self.expect_name()?);
                self.next();
                if args.keyword.iter().any(|(known, _)| *known == name) {
                    return syntax(line, format!("the argument '{name}' is given twice"));
                }
                args.keyword.push((name, self.expression(true)?));
                args.star_star.is_none()
            } else {
                args.positional.push(self.expression(true)?);
                args.star.is_none() && args.star_star.is_none() && args.keyword.is_empty()
            };
            if !ordered {
                return syntax(line, "positional arguments come before keyword ones, which come before ** ones");
            }
        }
        self.next();
        Ok(args)
    }

    /// `name` or `a.b` of a filter or test.
    fn dotted(&mut self) -> R<Text> {
        let mut name = self.expect_name()?;
        while self.skip_op(".") {
            name = name + "." + &self.expect_name()?;
        }
        Ok(name.into())
    }

    /// The filters that follow; None when none does and `value` is absent.
    pub fn filters(&mut self, mut value: Option<Expr>) -> R<Option<Expr>> {
        while self.skip_op("|") {
            value = Some(self.one_filter(value)?);
        }
        Ok(value)
    }

    pub fn one_filter(&mut self, value: Option<Expr>) -> R<Expr> {
        let line = self.line();
        let name = self.dotted()?;
        let args = if self.is_op("(") { self.arguments()? } else { Args::default() };
        self.expr_at(line, ExprKind::Filter(value.map(Box::new), name, args))
    }

    fn test(&mut self, value: Expr) -> R<Expr> {
        let line = self.line();
        self.next();
        let negated = self.skip_name("not");
        let name = self.dotted()?;
        let mut args = Args::default();
        match self.peek() {
            Token::Op("(") => args = self.arguments()?,
            Token::Name(next) if next == "is" => return syntax(line, "tests with 'is' cannot be chained"),
            Token::Name(next) if matches!(next.as_str(), "else" | "or" | "and") => {}
            Token::Name(_) | Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{") => {
                let argument = self.primary(false)?;
                args.positional.push(self.postfix(argument)?);
            }
            _ => {}
        }
        let test = self.expr_at(line, ExprKind::Test(Box::new(value), name, args))?;
        if negated { self.expr_at(line, ExprKind::Not(Box::new(test))) } else { Ok(test) }
    }
}
