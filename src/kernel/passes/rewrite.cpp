// Rebuilds statements with rewritten expressions.
#include "kernel/passes/rewrite.h"

#include <map>

#include "base/strings.h"
#include "kernel/builder.h"

namespace mlc::kernel {
namespace {

class Rewriter {
 public:
  explicit Rewriter(const RewriteExpr& fn) : fn_(fn) {}

  std::vector<StmtRef> block(const std::vector<StmtRef>& list) {
    std::vector<StmtRef> out;
    for (const StmtRef& s : list) statement(s, out);
    return out;
  }

 private:
  // What does not change is kept, not copied.
  void statement(const StmtRef& s, std::vector<StmtRef>& out) {
    std::shared_ptr<Stmt> copy;
    auto changed = [&]() -> Stmt& {
      if (!copy) copy = std::make_shared<Stmt>(*s);
      return *copy;
    };
    std::map<const Expr*, ExprRef> done;  // a shared operand is rewritten, and named, once a statement
    NameValue name = [&](const std::string& hint, ExprRef value) {
      if (value->kind == ExprKind::kVar || value->kind == ExprKind::kIntConst ||
          value->kind == ExprKind::kFloatConst)
        return value;
      auto let = std::make_shared<Stmt>();
      let->kind = StmtKind::kLet;
      let->name = str(hint, "_r", next_++);
      ExprRef v = variable(let->name, value->type);
      let->value = std::move(value);
      out.push_back(std::move(let));
      return v;
    };
    for (ExprRef Stmt::* member : {&Stmt::value, &Stmt::index, &Stmt::mask, &Stmt::begin, &Stmt::extent}) {
      const ExprRef& e = (*s).*member;
      if (!e) continue;
      if (ExprRef result = expr(e, name, done); result != e) changed().*member = std::move(result);
    }
    for (std::vector<StmtRef> Stmt::* member : {&Stmt::body, &Stmt::otherwise})
      if (std::vector<StmtRef> list = block((*s).*member); list != (*s).*member)
        changed().*member = std::move(list);
    out.push_back(copy ? StmtRef(std::move(copy)) : s);
  }

  ExprRef expr(const ExprRef& e, const NameValue& name, std::map<const Expr*, ExprRef>& done) {
    if (e->operands.empty()) return fn_(e, name);
    const bool shared = e.use_count() > 1;
    if (shared)
      if (auto it = done.find(e.get()); it != done.end()) return it->second;
    std::shared_ptr<Expr> copy;  // once an operand has changed
    for (size_t i = 0; i < e->operands.size(); ++i) {
      ExprRef operand = expr(e->operands[i], name, done);
      if (operand == e->operands[i]) continue;
      if (!copy) copy = std::make_shared<Expr>(*e);
      copy->operands[i] = std::move(operand);
    }
    ExprRef result = fn_(copy ? ExprRef(copy) : e, name);
    if (shared) done[e.get()] = result;
    return result;
  }

  const RewriteExpr& fn_;
  int next_ = 0;
};

}  // namespace

Function rewrite(Function function, const RewriteExpr& rewrite_expr) {
  function.body = Rewriter(rewrite_expr).block(function.body);
  return function;
}

void for_each_statement(const std::vector<StmtRef>& body, const std::function<void(const Stmt&)>& visit) {
  for (const StmtRef& s : body) {
    visit(*s);
    for_each_statement(s->body, visit);
    for_each_statement(s->otherwise, visit);
  }
}

}  // namespace mlc::kernel
