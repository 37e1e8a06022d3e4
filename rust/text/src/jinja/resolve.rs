//! Gives every name its slot, by jinja2's rules of scopes, and refuses what jinja2 refuses to compile.
//!
//! A frame is the body of a template, block, loop, macro, with, filter or set block. A name that a frame assigns
//! anywhere is the frame's own from its first line on; on entry it is copied from the frame around it, or undefined.
//! Other names are those of the frames around it, or variables of the context, looked up when the frame is entered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ast::{
    Block, Const, Escape, Expr, ExprKind, For, Layout, Load, Macro, Name, Output, Slot, Stmt, StmtKind, Template,
};
use super::error::{syntax, R};
use super::parser::children;
use super::value::Text;
use super::{filters, tests};

#[derive(Clone, Default)]
struct Symbols {
    refs: BTreeSet<u32>,
    loads: BTreeMap<u32, Load>,
    stores: BTreeSet<u32>,
}

#[derive(Default)]
struct Frame {
    /// Slot numbers by name; branches of an if share them.
    slots: BTreeMap<Text, u32>,
    names: Vec<Text>,
    symbols: Symbols,
}

/// Where code stands.
#[derive(Clone, Copy)]
struct Place {
    /// Assignments are seen by blocks.
    toplevel: bool,
    /// Inside an if: unknown filters and tests fail only when they are reached.
    soft: bool,
    /// break and continue have a loop.
    in_loop: bool,
    escape: Escape,
}

const ROOT: Place = Place { toplevel: true, soft: false, in_loop: false, escape: Escape::Off };

impl Place {
    fn inner(self) -> Place {
        Place { toplevel: false, soft: false, ..self }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Use {
    Load,
    Store,
    Param,
}

#[derive(Default)]
pub struct Resolver {
    frames: Vec<Frame>,
    blocks: Vec<Arc<Block>>,
}

pub fn resolve(template: &mut Template) -> R<()> {
    let mut resolver = Resolver::default();
    resolver.frames.push(Frame::default());
    template.self_slot = resolver.special(&template.body, "self");
    resolver.analyze(&template.body);
    resolver.body(&mut template.body, ROOT)?;
    template.layout = resolver.leave();
    template.blocks = resolver.blocks;
    Ok(())
}

/// Calls `visit` with each name in jinja2's order; blocks inside only if `blocks` is set.
fn scan(stmts: &[Stmt], blocks: bool, visit: &mut dyn FnMut(&str, Use)) {
    for stmt in stmts {
        match &stmt.kind {
            StmtKind::Output(parts, _) => parts.iter().for_each(|part| {
                if let Output::Expr(expr) = part {
                    scan_expr(expr, Use::Load, visit);
                }
            }),
            StmtKind::For(node) => {
                scan_expr(&node.target, Use::Store, visit);
                scan_expr(&node.iter, Use::Load, visit);
                scan(&node.body, blocks, visit);
                scan(&node.otherwise, blocks, visit);
                node.test.iter().for_each(|test| scan_expr(test, Use::Load, visit));
            }
            StmtKind::If(branches, otherwise) => {
                branches.iter().for_each(|(test, body)| {
                    scan_expr(test, Use::Load, visit);
                    scan(body, blocks, visit);
                });
                scan(otherwise, blocks, visit);
            }
            StmtKind::Set { target, value, .. } => {
                scan_expr(target, Use::Store, visit);
                scan_expr(value, Use::Load, visit);
            }
            StmtKind::SetBlock { target, filter, body, .. } => {
                scan_expr(target, Use::Store, visit);
                filter.iter().for_each(|filter| scan_expr(filter, Use::Load, visit));
                scan(body, blocks, visit);
            }
            StmtKind::With { targets, values, body, .. } => {
                targets.iter().for_each(|target| scan_expr(target, Use::Param, visit));
                values.iter().for_each(|value| scan_expr(value, Use::Load, visit));
                scan(body, blocks, visit);
            }
            StmtKind::Autoescape { value, body, .. } => {
                scan_expr(value, Use::Load, visit);
                scan(body, blocks, visit);
            }
            StmtKind::Macro { node, .. } | StmtKind::Generation { node } => scan_macro(node, blocks, visit),
            StmtKind::CallBlock { call, node } => {
                scan_expr(call, Use::Load, visit);
                scan_macro(node, blocks, visit);
            }
            StmtKind::FilterBlock { filter, body, .. } => {
                scan(body, blocks, visit);
                scan_expr(filter, Use::Load, visit);
            }
            StmtKind::Block(block) if blocks => scan(&block.body, blocks, visit),
            StmtKind::Other(_, exprs, _) => exprs.iter().for_each(|expr| scan_expr(expr, Use::Load, visit)),
            StmtKind::Block(_) | StmtKind::Break | StmtKind::Continue => {}
        }
    }
}

fn scan_macro(node: &Macro, blocks: bool, visit: &mut dyn FnMut(&str, Use)) {
    node.params.iter().for_each(|param| visit(&param.name, Use::Param));
    node.defaults.iter().for_each(|default| scan_expr(default, Use::Load, visit));
    scan(&node.body, blocks, visit);
}

fn scan_expr(expr: &Expr, how: Use, visit: &mut dyn FnMut(&str, Use)) {
    if let ExprKind::Name(name) = &expr.kind {
        visit(&name.name, how);
    }
    children(&expr.kind, &mut |child| scan_expr(child, how, visit));
}

/// Whether the statements read `wanted` before they assign it.
fn reads(stmts: &[Stmt], wanted: &str) -> bool {
    let (mut found, mut hidden) = (false, false);
    scan(stmts, false, &mut |name, how| {
        if name == wanted {
            found |= how == Use::Load && !hidden;
            hidden |= how != Use::Load;
        }
    });
    found
}

fn has_scoped_block(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|stmt| match &stmt.kind {
        StmtKind::Block(block) => block.scoped || has_scoped_block(&block.body),
        StmtKind::For(node) => has_scoped_block(&node.body) || has_scoped_block(&node.otherwise),
        StmtKind::If(branches, otherwise) => {
            branches.iter().any(|(_, body)| has_scoped_block(body)) || has_scoped_block(otherwise)
        }
        StmtKind::SetBlock { body, .. }
        | StmtKind::With { body, .. }
        | StmtKind::Autoescape { body, .. }
        | StmtKind::FilterBlock { body, .. } => has_scoped_block(body),
        StmtKind::Macro { node, .. } | StmtKind::CallBlock { node, .. } | StmtKind::Generation { node } => {
            has_scoped_block(&node.body)
        }
        _ => false,
    })
}

/// What an autoescape statement with this value makes of the code inside.
fn escape_of(value: &Expr) -> Escape {
    let on = match &value.kind {
        ExprKind::Const(Const::Bool(on)) => *on,
        ExprKind::Const(Const::None | Const::Int(0)) => false,
        ExprKind::Const(_) => true,
        _ => return Escape::Dynamic,
    };
    if on { Escape::On } else { Escape::Off }
}

fn unique<T>(node: &mut Arc<T>) -> R<&mut T> {
    Arc::get_mut(node).map_or_else(|| syntax(0, "a node of the template is shared"), Ok)
}

// Finding out what a frame reads and assigns.
impl Resolver {
    fn slot(&mut self, name: &str) -> u32 {
        let Some(frame) = self.frames.last_mut() else { return 0 };
        if let Some(slot) = frame.slots.get(name) {
            return *slot;
        }
        let slot = frame.names.len() as u32;
        let name: Text = name.into();
        frame.names.push(name.clone());
        frame.slots.insert(name, slot);
        slot
    }

    fn symbols(&mut self) -> &mut Symbols {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last].symbols
    }

    /// Where the name is, seen from `skip` frames further out.
    fn find(&self, name: &str, skip: u32) -> Option<Slot> {
        for (up, frame) in self.frames.iter().rev().enumerate().skip(skip as usize) {
            if let Some(index) = frame.slots.get(name).filter(|slot| frame.symbols.refs.contains(slot)) {
                return Some(Slot { up: up as u32, index: *index });
            }
        }
        None
    }

    fn define(&mut self, name: &str, load: Load) -> u32 {
        let slot = self.slot(name);
        let symbols = self.symbols();
        symbols.refs.insert(slot);
        symbols.loads.insert(slot, load);
        slot
    }

    fn parameter(&mut self, name: &str) -> u32 {
        let slot = self.define(name, Load::Parameter);
        self.symbols().stores.insert(slot);
        slot
    }

    fn store(&mut self, name: &str) {
        let slot = self.slot(name);
        self.symbols().stores.insert(slot);
        if !self.symbols().refs.contains(&slot) {
            let load = self.find(name, 1).map_or(Load::Undefined, Load::Alias);
            self.define(name, load);
        }
    }

    fn load(&mut self, name: &str) {
        if self.find(name, 0).is_none() {
            self.define(name, Load::Resolve);
        }
    }

    /// A parameter that exists only where the body reads it.
    fn special(&mut self, body: &[Stmt], name: &str) -> Option<u32> {
        reads(body, name).then(|| self.parameter(name))
    }

    fn analyze_expr(&mut self, expr: &Expr, how: Use) {
        scan_expr(expr, how, &mut |name, how| match how {
            Use::Load => self.load(name),
            Use::Store => self.store(name),
            Use::Param => {
                self.parameter(name);
            }
        });
        self.analyze_references(expr);
    }

    /// Namespaces that a target assigns attributes of.
    fn analyze_references(&mut self, target: &Expr) {
        match &target.kind {
            ExprKind::NsRef(name, _) => self.load(&name.name),
            ExprKind::Tuple(items) => items.iter().for_each(|item| self.analyze_references(item)),
            _ => {}
        }
    }

    fn analyze(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match &stmt.kind {
                StmtKind::Output(parts, _) => parts.iter().for_each(|part| {
                    if let Output::Expr(expr) = part {
                        self.analyze_expr(expr, Use::Load);
                    }
                }),
                StmtKind::For(node) => self.analyze_expr(&node.iter, Use::Load),
                StmtKind::If(branches, otherwise) => self.analyze_if(branches, otherwise),
                StmtKind::Set { target, value, .. } => {
                    self.analyze_expr(value, Use::Load);
                    self.analyze_expr(target, Use::Store);
                }
                StmtKind::SetBlock { target, .. } => self.analyze_expr(target, Use::Store),
                StmtKind::With { values, .. } => values.iter().for_each(|v| self.analyze_expr(v, Use::Load)),
                StmtKind::Macro { target, .. } => self.store(&target.name),
                StmtKind::CallBlock { call, .. } => self.analyze_expr(call, Use::Load),
                StmtKind::FilterBlock { filter, .. } => self.analyze_expr(filter, Use::Load),
                StmtKind::Other(_, exprs, names) => {
                    exprs.iter().for_each(|expr| self.analyze_expr(expr, Use::Load));
                    names.iter().for_each(|name| self.store(&name.name));
                }
                StmtKind::Autoescape { .. }
                | StmtKind::Generation { .. }
                | StmtKind::Block(_)
                | StmtKind::Break
                | StmtKind::Continue => {}
            }
        }
    }

    /// Runs `analyze` on a copy of the symbols.
    fn branch(&mut self, analyze: impl FnOnce(&mut Resolver)) -> Symbols {
        let original = self.symbols().clone();
        analyze(self);
        std::mem::replace(self.symbols(), original)
    }

    fn analyze_if(&mut self, branches: &[(Expr, Vec<Stmt>)], otherwise: &[Stmt]) {
        let Some(((test, body), others)) = branches.split_first() else { return };
        self.analyze_expr(test, Use::Load);
        let first = self.branch(|r| r.analyze(body));
        let middle = self.branch(|r| {
            for (test, body) in others {
                r.analyze_expr(test, Use::Load);
                let inner = r.branch(|r| r.analyze(body));
                r.merge([inner]);
            }
        });
        let last = self.branch(|r| r.analyze(otherwise));
        self.merge([first, middle, last]);
    }

    /// A name that only some branches assign is looked up outside when the frame is entered.
    fn merge<const N: usize>(&mut self, branches: [Symbols; N]) {
        let before = self.symbols().stores.clone();
        let mut stored = BTreeSet::new();
        for branch in branches {
            stored.extend(branch.stores.iter().filter(|slot| !before.contains(slot)));
            let symbols = self.symbols();
            symbols.refs.extend(branch.refs);
            symbols.loads.extend(branch.loads);
            symbols.stores.extend(branch.stores);
        }
        for slot in stored {
            let name = self.frames.last().map(|frame| frame.names[slot as usize].clone()).unwrap_or_default();
            let load = self.find(&name, 1).map_or(Load::Resolve, Load::Alias);
            self.symbols().loads.insert(slot, load);
        }
    }

    fn leave(&mut self) -> Layout {
        let frame = self.frames.pop().unwrap_or_default();
        let load = |slot: usize| frame.symbols.loads.get(&(slot as u32)).copied().unwrap_or(Load::Undefined);
        Layout { loads: frame.names.iter().enumerate().map(|(slot, name)| (name.clone(), load(slot))).collect() }
    }
}

// Giving names their slots.
impl Resolver {
    fn name(&self, name: &mut Name, line: u32) -> R<()> {
        let Some(slot) = self.find(&name.name, 0) else {
            return syntax(line, format!("'{}' is used here but nowhere else; jinja2 does not compile this", name.name));
        };
        name.slot = slot;
        Ok(())
    }

    fn expr(&self, expr: &mut Expr, place: Place) -> R<()> {
        let line = expr.line;
        let mut inside = place;
        match &mut expr.kind {
            ExprKind::Name(name) | ExprKind::NsRef(name, _) => return self.name(name, line),
            ExprKind::Filter(_, name, _) if !place.soft && !filters::exists(name) => {
                return syntax(line, format!("there is no filter '{name}'"));
            }
            ExprKind::Test(_, name, _) if !place.soft && !tests::exists(name) => {
                return syntax(line, format!("there is no test '{name}'"));
            }
            ExprKind::Cond(..) => inside.soft = true,
            ExprKind::Concat(_, escaped) => *escaped = place.escape == Escape::On,
            _ => {}
        }
        self.children(&mut expr.kind, inside)
    }

    fn children(&self, kind: &mut ExprKind, place: Place) -> R<()> {
        match kind {
            ExprKind::Const(_) | ExprKind::Name(_) | ExprKind::NsRef(..) => Ok(()),
            ExprKind::Tuple(items) | ExprKind::List(items) | ExprKind::Concat(items, _) => self.exprs(items, place),
            ExprKind::Dict(pairs) => pairs.iter_mut().try_for_each(|(key, value)| {
                self.expr(key, place)?;
                self.expr(value, place)
            }),
            ExprKind::Not(value) | ExprKind::Neg(value) | ExprKind::Pos(value) | ExprKind::Attr(value, _) => {
                self.expr(value, place)
            }
            ExprKind::And(a, b) | ExprKind::Or(a, b) | ExprKind::Binary(_, a, b) | ExprKind::Item(a, b) => {
                self.expr(a, place)?;
                self.expr(b, place)
            }
            ExprKind::Compare(first, rest) => {
                self.expr(first, place)?;
                rest.iter_mut().try_for_each(|(_, value)| self.expr(value, place))
            }
            ExprKind::Cond(test, then, otherwise) => {
                self.expr(test, place)?;
                self.expr(then, place)?;
                otherwise.iter_mut().try_for_each(|value| self.expr(value, place))
            }
            ExprKind::Slice(value, bounds) => {
                self.expr(value, place)?;
                bounds.iter_mut().flatten().try_for_each(|bound| self.expr(bound, place))
            }
            ExprKind::Call(callee, args) => {
                self.expr(callee, place)?;
                self.args(args, place)
            }
            ExprKind::Filter(value, _, args) => {
                value.iter_mut().try_for_each(|value| self.expr(value, place))?;
                self.args(args, place)
            }
            ExprKind::Test(value, _, args) => {
                self.expr(value, place)?;
                self.args(args, place)
            }
        }
    }

    fn args(&self, args: &mut super::ast::Args, place: Place) -> R<()> {
        self.exprs(&mut args.positional, place)?;
        args.keyword.iter_mut().try_for_each(|(_, value)| self.expr(value, place))?;
        args.star.iter_mut().try_for_each(|value| self.expr(value, place))?;
        args.star_star.iter_mut().try_for_each(|value| self.expr(value, place))
    }

    fn exprs(&self, exprs: &mut [Expr], place: Place) -> R<()> {
        exprs.iter_mut().try_for_each(|expr| self.expr(expr, place))
    }

    /// The names a target assigns, resolved, for blocks to see.
    fn exported(&self, target: &Expr, place: Place) -> Vec<Name> {
        let mut names = Vec::new();
        if place.toplevel {
            scan_expr(target, Use::Store, &mut |name, _| {
                let slot = self.find(name, 0).unwrap_or_default();
                names.push(Name { name: name.into(), slot });
            });
        }
        names
    }

    /// Resolves the body of a new frame after `prepare` and the analysis of the body.
    fn frame(
        &mut self,
        body: &mut Vec<Stmt>,
        place: Place,
        prepare: impl FnOnce(&mut Resolver),
        more: impl FnOnce(&mut Resolver) -> R<()>,
    ) -> R<Layout> {
        self.frames.push(Frame::default());
        prepare(self);
        self.analyze(body);
        more(self)?;
        self.body(body, place)?;
        Ok(self.leave())
    }

    fn body(&mut self, stmts: &mut [Stmt], place: Place) -> R<()> {
        for stmt in stmts {
            self.stmt(&mut stmt.kind, stmt.line, place)?;
        }
        Ok(())
    }

    fn stmt(&mut self, kind: &mut StmtKind, line: u32, place: Place) -> R<()> {
        match kind {
            StmtKind::Output(parts, escape) => {
                *escape = place.escape;
                parts.iter_mut().try_for_each(|part| match part {
                    Output::Expr(expr) => self.expr(expr, place),
                    Output::Data(_) => Ok(()),
                })
            }
            StmtKind::For(node) => self.for_loop(unique(node)?, place),
            StmtKind::If(branches, otherwise) => {
                let place = Place { soft: true, ..place };
                for (test, body) in branches {
                    self.expr(test, place)?;
                    self.body(body, place)?;
                }
                self.body(otherwise, place)
            }
            StmtKind::Set { target, value, exported } => {
                self.expr(target, place)?;
                self.expr(value, place)?;
                *exported = self.exported(target, place);
                Ok(())
            }
            StmtKind::SetBlock { target, filter, body, layout, exported } => {
                self.expr(target, place)?;
                *exported = self.exported(target, place);
                let filter = filter.iter_mut();
                *layout = self.frame(body, place.inner(), |_| (), |r| {
                    filter.into_iter().try_for_each(|filter| r.expr(filter, place.inner()))
                })?;
                Ok(())
            }
            StmtKind::With { targets, values, body, layout } => {
                self.exprs(values, place)?;
                let names: Vec<Expr> = std::mem::take(targets);
                let declared = &names;
                *layout = self.frame(
                    body,
                    place.inner(),
                    |r| declared.iter().for_each(|target| r.analyze_expr(target, Use::Param)),
                    |_| Ok(()),
                )?;
                *targets = names;
                self.with_targets(targets, layout)
            }
            StmtKind::Autoescape { value, body, layout } => {
                self.frames.push(Frame::default());
                self.analyze_expr(value, Use::Load);
                self.analyze(body);
                self.expr(value, place.inner())?;
                let escape = escape_of(value);
                self.body(body, Place { escape, ..place.inner() })?;
                *layout = self.leave();
                Ok(())
            }
            StmtKind::Macro { node, target, exported } => {
                self.macro_body(unique(node)?, place)?;
                *exported = place.toplevel;
                self.name(target, line)
            }
            StmtKind::Generation { node } => self.macro_body(unique(node)?, place),
            StmtKind::CallBlock { call, node } => {
                self.macro_body(unique(node)?, place)?;
                self.expr(call, place)
            }
            StmtKind::FilterBlock { filter, body, layout } => {
                self.frames.push(Frame::default());
                self.analyze(body);
                self.analyze_expr(filter, Use::Load);
                self.body(body, place.inner())?;
                self.expr(filter, place.inner())?;
                *layout = self.leave();
                Ok(())
            }
            StmtKind::Block(node) => self.block(node, line),
            StmtKind::Other(tag, exprs, _) => {
                if *tag == "extends" && !place.toplevel {
                    return syntax(line, "extends stands only outside of other statements");
                }
                self.exprs(exprs, place)
            }
            StmtKind::Break | StmtKind::Continue if !place.in_loop => {
                syntax(line, "break and continue stand only in loops")
            }
            StmtKind::Break | StmtKind::Continue => Ok(()),
        }
    }

    /// The targets' slots in the frame that has been left.
    fn with_targets(&self, targets: &mut [Expr], layout: &Layout) -> R<()> {
        for target in targets {
            match &mut target.kind {
                ExprKind::Name(name) => {
                    let index = layout.loads.iter().position(|(known, _)| *known == name.name).unwrap_or(0);
                    name.slot = Slot { up: 0, index: index as u32 };
                }
                ExprKind::Tuple(items) => self.with_targets(items, layout)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn for_loop(&mut self, node: &mut For, place: Place) -> R<()> {
        self.expr(&mut node.iter, place)?;
        let mut assigns_loop = false;
        let mut check = |name: &str, how| assigns_loop |= name == "loop" && how == Use::Store;
        scan_expr(&node.target, Use::Store, &mut check);
        scan(&node.body, true, &mut check);
        scan(&node.otherwise, true, &mut check);
        if assigns_loop {
            return syntax(node.line, "'loop' cannot be assigned to inside of a loop");
        }
        let inner = place.inner();
        if let Some(test) = &mut node.test {
            self.frames.push(Frame::default());
            self.analyze_expr(&node.target, Use::Param);
            self.analyze_expr(test, Use::Load);
            self.expr(test, inner)?;
            node.test_layout = self.leave();
        }
        let scoped = has_scoped_block(&node.body) || has_scoped_block(&node.otherwise);
        self.frames.push(Frame::default());
        self.analyze_expr(&node.target, Use::Param); // first, for the slots it has in the test's frame
        if node.recursive || scoped || reads(&node.body, "loop") {
            node.loop_slot = Some(self.parameter("loop"));
        }
        self.analyze(&node.body);
        self.expr(&mut node.target, inner)?;
        self.body(&mut node.body, Place { in_loop: true, ..inner })?;
        node.body_layout = self.leave();
        let else_place = Place { in_loop: place.in_loop && !node.recursive, ..inner };
        node.else_layout = self.frame(&mut node.otherwise, else_place, |_| (), |_| Ok(()))?;
        Ok(())
    }

    fn macro_body(&mut self, node: &mut Macro, place: Place) -> R<()> {
        let place = Place { in_loop: false, ..place.inner() };
        self.frames.push(Frame::default());
        for param in &node.params {
            self.parameter(&param.name);
        }
        node.defaults.iter().for_each(|default| self.analyze_expr(default, Use::Load));
        self.analyze(&node.body);
        let given = |name: &str| node.params.iter().position(|param| *param.name == *name);
        if reads(&node.body, "caller") {
            match given("caller") {
                None => node.caller = Some(self.parameter("caller")),
                Some(at) if at + node.defaults.len() >= node.params.len() => node.caller = Some(self.slot("caller")),
                Some(_) => return syntax(node.line, "the parameter 'caller' needs a default"),
            }
        }
        if reads(&node.body, "kwargs") && given("kwargs").is_none() {
            node.kwargs = Some(self.parameter("kwargs"));
        }
        if reads(&node.body, "varargs") && given("varargs").is_none() {
            node.varargs = Some(self.parameter("varargs"));
        }
        for param in &mut node.params {
            self.name(param, node.line)?;
        }
        for default in &mut node.defaults {
            self.expr(default, place)?;
        }
        self.body(&mut node.body, place)?;
        node.layout = self.leave();
        Ok(())
    }

    fn block(&mut self, node: &mut Arc<Block>, line: u32) -> R<()> {
        if self.blocks.iter().any(|known| known.name == node.name) {
            return syntax(line, format!("the block '{}' stands twice", node.name));
        }
        let block = unique(node)?;
        if block.scoped {
            for (up, frame) in self.frames.iter().rev().enumerate() {
                for slot in &frame.symbols.stores {
                    let name = &frame.names[*slot as usize];
                    if !block.visible.iter().any(|known| known.name == *name) {
                        let slot = Slot { up: up as u32, index: *slot };
                        block.visible.push(Name { name: name.clone(), slot });
                    }
                }
            }
        }
        let outer = std::mem::take(&mut self.frames);
        self.frames.push(Frame::default());
        block.self_slot = self.special(&block.body, "self");
        block.super_slot = self.special(&block.body, "super");
        self.analyze(&block.body);
        self.body(&mut block.body, Place { toplevel: false, ..ROOT })?;
        block.layout = self.leave();
        self.frames = outer;
        self.blocks.push(node.clone());
        Ok(())
    }
}
