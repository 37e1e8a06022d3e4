//! What the parser makes of a template. Names are resolved to slots of frames by resolve.rs.

use num_bigint::BigInt;
use std::sync::Arc;

use super::value::Text;

#[derive(Debug)]
pub enum Const {
    None,
    Bool(bool),
    Int(i64),
    Big(BigInt),
    Float(f64),
    Str(Text),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

/// Where a variable is: so many frames up, in that slot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slot {
    pub up: u32,
    pub index: u32,
}

#[derive(Debug)]
pub struct Name {
    pub name: Text,
    pub slot: Slot,
}

#[derive(Debug, Default)]
pub struct Args {
    pub positional: Vec<Expr>,
    pub keyword: Vec<(Text, Expr)>,
    pub star: Option<Box<Expr>>,
    pub star_star: Option<Box<Expr>>,
}

#[derive(Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub line: u32,
    /// 1 for a leaf; bounded by the parser.
    pub depth: u16,
}

#[derive(Debug)]
pub enum ExprKind {
    Const(Const),
    Name(Name),
    /// `ns.attr`, only as a target of assignments.
    NsRef(Name, Text),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    Pos(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Compare, Expr)>),
    /// Parts, and whether they are escaped and the result is Markup.
    Concat(Vec<Expr>, bool),
    /// (test, then, else)
    Cond(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    Attr(Box<Expr>, Text),
    Item(Box<Expr>, Box<Expr>),
    /// start, stop, step
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Args),
    /// The value is absent where a filter is applied to a block.
    Filter(Option<Box<Expr>>, Text, Args),
    Test(Box<Expr>, Text, Args),
}

/// How a frame's slot gets its value when the frame is entered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    Parameter,
    Undefined,
    Resolve,
    Alias(Slot),
}

/// The variables of one frame, in slot order.
#[derive(Debug, Default)]
pub struct Layout {
    pub loads: Vec<(Text, Load)>,
}

#[derive(Debug)]
pub struct For {
    pub target: Expr,
    pub iter: Expr,
    pub test: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
    pub line: u32,
    /// The slot of `loop` in the body's frame; None when the body does not use it.
    pub loop_slot: Option<u32>,
    pub body_layout: Layout,
    pub test_layout: Layout,
    pub else_layout: Layout,
}

#[derive(Debug)]
pub struct Macro {
    /// None: the body of a call block.
    pub name: Option<Text>,
    pub params: Vec<Name>,
    /// For the last parameters.
    pub defaults: Vec<Expr>,
    pub body: Vec<Stmt>,
    pub line: u32,
    pub layout: Layout,
    /// Slots of the special parameters, where the body uses them.
    pub caller: Option<u32>,
    pub kwargs: Option<u32>,
    pub varargs: Option<u32>,
}

#[derive(Debug)]
pub struct Block {
    pub name: Text,
    pub scoped: bool,
    pub required: bool,
    pub body: Vec<Stmt>,
    pub layout: Layout,
    /// Slots of `self` and `super`, where the body uses them.
    pub self_slot: Option<u32>,
    pub super_slot: Option<u32>,
    /// Variables of the frames around it, for a scoped block.
    pub visible: Vec<Name>,
}

/// Whether expressions are escaped for HTML: decided by the autoescape statement around the code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Escape {
    Off,
    On,
    /// As the statement's value says at run time.
    Dynamic,
}

#[derive(Debug)]
pub enum Output {
    Data(Text),
    Expr(Expr),
}

#[derive(Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub line: u32,
}

#[derive(Debug)]
pub enum StmtKind {
    Output(Vec<Output>, Escape),
    For(Arc<For>),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    /// `exported`: names that blocks see.
    Set { target: Expr, value: Expr, exported: Vec<Name> },
    SetBlock { target: Expr, filter: Option<Expr>, body: Vec<Stmt>, layout: Layout, exported: Vec<Name> },
    With { targets: Vec<Expr>, values: Vec<Expr>, body: Vec<Stmt>, layout: Layout },
    Autoescape { value: Expr, body: Vec<Stmt>, layout: Layout },
    Macro { node: Arc<Macro>, target: Name, exported: bool },
    CallBlock { call: Expr, node: Arc<Macro> },
    /// transformers marks assistant text with it; it prints its body.
    Generation { node: Arc<Macro> },
    FilterBlock { filter: Expr, body: Vec<Stmt>, layout: Layout },
    Block(Arc<Block>),
    /// extends, include and import: there are no other templates.
    Other(&'static str, Vec<Expr>, Vec<Name>),
    Break,
    Continue,
}

#[derive(Debug, Default)]
pub struct Template {
    pub body: Vec<Stmt>,
    pub layout: Layout,
    pub blocks: Vec<Arc<Block>>,
    /// The slot of `self` in the root frame.
    pub self_slot: Option<u32>,
}

/// Calls `visit` with each expression directly inside `kind`.
pub fn children<'e>(kind: &'e ExprKind, visit: &mut dyn FnMut(&'e Expr)) {
    match kind {
        ExprKind::Const(_) | ExprKind::Name(_) | ExprKind::NsRef(..) => {}
        ExprKind::Tuple(items) | ExprKind::List(items) | ExprKind::Concat(items, _) => items.iter().for_each(visit),
        ExprKind::Dict(pairs) => pairs.iter().for_each(|(key, value)| {
            visit(key);
            visit(value);
        }),
        ExprKind::Not(value) | ExprKind::Neg(value) | ExprKind::Pos(value) | ExprKind::Attr(value, _) => visit(value),
        ExprKind::And(a, b) | ExprKind::Or(a, b) | ExprKind::Binary(_, a, b) | ExprKind::Item(a, b) => {
            visit(a);
            visit(b);
        }
        ExprKind::Compare(first, rest) => {
            visit(first);
            rest.iter().for_each(|(_, value)| visit(value));
        }
        ExprKind::Cond(test, then, otherwise) => {
            visit(test);
            visit(then);
            otherwise.iter().for_each(|value| visit(value));
        }
        ExprKind::Slice(value, bounds) => {
            visit(value);
            bounds.iter().flatten().for_each(|bound| visit(bound));
        }
        ExprKind::Call(callee, args) => {
            visit(callee);
            arguments(args, visit);
        }
        ExprKind::Filter(value, _, args) => {
            value.iter().for_each(|value| visit(value));
            arguments(args, visit);
        }
        ExprKind::Test(value, _, args) => {
            visit(value);
            arguments(args, visit);
        }
    }
}

fn arguments<'e>(args: &'e Args, visit: &mut dyn FnMut(&'e Expr)) {
    args.positional.iter().for_each(&mut *visit);
    args.keyword.iter().for_each(|(_, value)| visit(value));
    args.star.iter().for_each(|value| visit(value));
    args.star_star.iter().for_each(|value| visit(value));
}
