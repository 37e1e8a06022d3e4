//! What each frame of a template reads and assigns, by jinja2's rules, which say where a name is looked up.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{children, Expr, ExprKind, Layout, Load, Macro, Output, Slot, Stmt, StmtKind};
use super::value::Text;

#[derive(Clone, Default)]
pub struct Symbols {
    refs: BTreeSet<u32>,
    loads: BTreeMap<u32, Load>,
    pub stores: BTreeSet<u32>,
}

#[derive(Default)]
pub struct Frame {
    /// Slot numbers by name; branches of an if share them.
    slots: BTreeMap<Text, u32>,
    pub names: Vec<Text>,
    pub symbols: Symbols,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Use {
    Load,
    Store,
    Param,
}

#[derive(Default)]
pub struct Scopes {
    pub frames: Vec<Frame>,
}

/// Calls `visit` with each name in jinja2's order; blocks inside only if `blocks` is set.
pub fn scan(stmts: &[Stmt], blocks: bool, visit: &mut dyn FnMut(&str, Use)) {
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

pub fn scan_expr(expr: &Expr, how: Use, visit: &mut dyn FnMut(&str, Use)) {
    if let ExprKind::Name(name) = &expr.kind {
        visit(&name.name, how);
    }
    children(&expr.kind, &mut |child| scan_expr(child, how, visit));
}

/// Whether the statements read `wanted` before they assign it.
pub fn reads(stmts: &[Stmt], wanted: &str) -> bool {
    let (mut found, mut hidden) = (false, false);
    scan(stmts, false, &mut |name, how| {
        if name == wanted {
            found |= how == Use::Load && !hidden;
            hidden |= how != Use::Load;
        }
    });
    found
}

pub fn has_scoped_block(stmts: &[Stmt]) -> bool {
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

impl Scopes {
    pub fn slot(&mut self, name: &str) -> u32 {
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
    pub fn find(&self, name: &str, skip: u32) -> Option<Slot> {
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

    pub fn parameter(&mut self, name: &str) -> u32 {
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
    pub fn special(&mut self, body: &[Stmt], name: &str) -> Option<u32> {
        reads(body, name).then(|| self.parameter(name))
    }

    pub fn analyze_expr(&mut self, expr: &Expr, how: Use) {
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

    pub fn analyze(&mut self, stmts: &[Stmt]) {
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
    fn branch(&mut self, analyze: impl FnOnce(&mut Scopes)) -> Symbols {
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

    pub fn enter(&mut self) {
        self.frames.push(Frame::default());
    }

    pub fn leave(&mut self) -> Layout {
        let frame = self.frames.pop().unwrap_or_default();
        let load = |slot: usize| frame.symbols.loads.get(&(slot as u32)).copied().unwrap_or(Load::Undefined);
        Layout { loads: frame.names.iter().enumerate().map(|(slot, name)| (name.clone(), load(slot))).collect() }
    }
}
