//! Gives every name its slot, by jinja2's rules of scopes, and refuses what jinja2 refuses to compile.
//!
//! A frame is the body of a template, block, loop, macro, with, filter or set block. A name that a frame assigns
//! anywhere is the frame's own from its first line on; on entry it is copied from the frame around it, or undefined.
//! Other names are those of the frames around it, or variables of the context, looked up when the frame is entered.

use std::sync::Arc;

use super::ast::{
    Args, Block, Const, Escape, Expr, ExprKind, For, Layout, Macro, Name, Output, Slot, Stmt, StmtKind, Template,
};
use super::error::{syntax, R};
use super::scopes::{has_scoped_block, reads, scan, scan_expr, Scopes, Use};
use super::{filters, tests};

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

#[derive(Default)]
struct Resolver {
    scopes: Scopes,
    blocks: Vec<Arc<Block>>,
}

pub fn resolve(template: &mut Template) -> R<()> {
    let mut resolver = Resolver::default();
    resolver.scopes.enter();
    template.self_slot = resolver.scopes.special(&template.body, "self");
    resolver.scopes.analyze(&template.body);
    resolver.body(&mut template.body, ROOT)?;
    template.layout = resolver.scopes.leave();
    template.blocks = resolver.blocks;
    Ok(())
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

impl Resolver {
    fn name(&self, name: &mut Name, line: u32) -> R<()> {
        let Some(slot) = self.scopes.find(&name.name, 0) else {
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

    fn args(&self, args: &mut Args, place: Place) -> R<()> {
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
                let slot = self.scopes.find(name, 0).unwrap_or_default();
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
        self.scopes.enter();
        prepare(self);
        self.scopes.analyze(body);
        more(self)?;
        self.body(body, place)?;
        Ok(self.scopes.leave())
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
                *layout = self.frame(body, place.inner(), |_| (), |r| {
                    filter.iter_mut().try_for_each(|filter| r.expr(filter, place.inner()))
                })?;
                Ok(())
            }
            StmtKind::With { targets, values, body, layout } => self.with(targets, values, (body, layout), place),
            StmtKind::Autoescape { value, body, layout } => self.autoescape(value, (body, layout), place),
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
            StmtKind::FilterBlock { filter, body, layout } => self.filter_block(filter, (body, layout), place),
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

    fn autoescape(&mut self, value: &mut Expr, (body, layout): (&mut [Stmt], &mut Layout), place: Place) -> R<()> {
        let inner = place.inner();
        self.scopes.enter();
        self.scopes.analyze_expr(value, Use::Load);
        self.scopes.analyze(body);
        self.expr(value, inner)?;
        self.body(body, Place { escape: escape_of(value), ..inner })?;
        *layout = self.scopes.leave();
        Ok(())
    }

    /// The filter's arguments belong to the block's frame too.
    fn filter_block(&mut self, filter: &mut Expr, (body, layout): (&mut [Stmt], &mut Layout), place: Place) -> R<()> {
        self.scopes.enter();
        self.scopes.analyze(body);
        self.scopes.analyze_expr(filter, Use::Load);
        self.body(body, place.inner())?;
        self.expr(filter, place.inner())?;
        *layout = self.scopes.leave();
        Ok(())
    }

    fn with(
        &mut self,
        targets: &mut [Expr],
        values: &mut [Expr],
        (body, layout): (&mut Vec<Stmt>, &mut Layout),
        place: Place,
    ) -> R<()> {
        self.exprs(values, place)?;
        let declare = |r: &mut Resolver| targets.iter().for_each(|t| r.scopes.analyze_expr(t, Use::Param));
        *layout = self.frame(body, place.inner(), declare, |_| Ok(()))?;
        self.with_targets(targets, layout)
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
            self.scopes.enter();
            self.scopes.analyze_expr(&node.target, Use::Param);
            self.scopes.analyze_expr(test, Use::Load);
            self.expr(test, inner)?;
            node.test_layout = self.scopes.leave();
        }
        let scoped = has_scoped_block(&node.body) || has_scoped_block(&node.otherwise);
        self.scopes.enter();
        self.scopes.analyze_expr(&node.target, Use::Param); // first, for the slots it has in the test's frame
        if node.recursive || scoped || reads(&node.body, "loop") {
            node.loop_slot = Some(self.scopes.parameter("loop"));
        }
        self.scopes.analyze(&node.body);
        self.expr(&mut node.target, inner)?;
        self.body(&mut node.body, Place { in_loop: true, ..inner })?;
        node.body_layout = self.scopes.leave();
        let else_place = Place { in_loop: place.in_loop && !node.recursive, ..inner };
        node.else_layout = self.frame(&mut node.otherwise, else_place, |_| (), |_| Ok(()))?;
        Ok(())
    }

    fn macro_body(&mut self, node: &mut Macro, place: Place) -> R<()> {
        let place = Place { in_loop: false, ..place.inner() };
        self.scopes.enter();
        for param in &node.params {
            self.scopes.parameter(&param.name);
        }
        node.defaults.iter().for_each(|default| self.scopes.analyze_expr(default, Use::Load));
        self.scopes.analyze(&node.body);
        let given = |name: &str| node.params.iter().position(|param| *param.name == *name);
        if reads(&node.body, "caller") {
            match given("caller") {
                None => node.caller = Some(self.scopes.parameter("caller")),
                Some(at) if at + node.defaults.len() >= node.params.len() => node.caller = Some(self.scopes.slot("caller")),
                Some(_) => return syntax(node.line, "the parameter 'caller' needs a default"),
            }
        }
        if reads(&node.body, "kwargs") && given("kwargs").is_none() {
            node.kwargs = Some(self.scopes.parameter("kwargs"));
        }
        if reads(&node.body, "varargs") && given("varargs").is_none() {
            node.varargs = Some(self.scopes.parameter("varargs"));
        }
        for param in &mut node.params {
            self.name(param, node.line)?;
        }
        for default in &mut node.defaults {
            self.expr(default, place)?;
        }
        self.body(&mut node.body, place)?;
        node.layout = self.scopes.leave();
        Ok(())
    }

    fn block(&mut self, node: &mut Arc<Block>, line: u32) -> R<()> {
        if self.blocks.iter().any(|known| known.name == node.name) {
            return syntax(line, format!("the block '{}' stands twice", node.name));
        }
        let block = unique(node)?;
        if block.scoped {
            for (up, frame) in self.scopes.frames.iter().rev().enumerate() {
                for slot in &frame.symbols.stores {
                    let name = &frame.names[*slot as usize];
                    if !block.visible.iter().any(|known| known.name == *name) {
                        let slot = Slot { up: up as u32, index: *slot };
                        block.visible.push(Name { name: name.clone(), slot });
                    }
                }
            }
        }
        let outer = std::mem::take(&mut self.scopes.frames);
        self.scopes.enter();
        block.self_slot = self.scopes.special(&block.body, "self");
        block.super_slot = self.scopes.special(&block.body, "super");
        self.scopes.analyze(&block.body);
        self.body(&mut block.body, Place { toplevel: false, ..ROOT })?;
        block.layout = self.scopes.leave();
        self.scopes.frames = outer;
        self.blocks.push(node.clone());
        Ok(())
    }
}
