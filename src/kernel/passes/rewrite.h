// What passes share: rebuilding a function's statements with some expressions replaced.
#pragma once

#include <functional>
#include <string>

#include "kernel/ir.h"

namespace mlc::kernel {

// Names a value in front of the statement being rewritten; returns the variable.
using NameValue = std::function<ExprRef(const std::string& hint, ExprRef value)>;

// What stands for `expr`, whose operands are already rewritten; returns `expr` itself to keep it.
using RewriteExpr = std::function<ExprRef(const ExprRef& expr, const NameValue& name)>;

// Rewrites every expression of the function, operands first.
Function rewrite(Function function, const RewriteExpr& rewrite_expr);

// Calls visit for every statement, outer ones first.
void for_each_statement(const std::vector<StmtRef>& body, const std::function<void(const Stmt&)>& visit);

}  // namespace mlc::kernel
