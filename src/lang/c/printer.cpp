// Statements of the C family.
#include "lang/c/printer.h"

#include "base/check.h"
#include "base/strings.h"
#include "kernel/verify.h"
#include "lang/c/emitter.h"

namespace mlc::lang {

using kernel::ExprKind;
using kernel::ExprRef;
using kernel::LoopKind;
using kernel::Scope;
using kernel::Stmt;
using kernel::StmtKind;
using kernel::StmtRef;

std::string print_c(const kernel::Function& function, const Dialect& dialect) {
  std::string problem = kernel::verify_device(function);
  internal_check(problem.empty(), "kernel ", function.name, " is not ready for a GPU language: ", problem);
  return dialect.prelude(function) + CEmitter(function, dialect).run();
}

std::string CEmitter::run() {
  if (d_.shared_before_kernel())
    for (const StmtRef& s : kernel_.body[0]->body)
      if (s->kind == StmtKind::kAlloc) out_ << d_.shared_array(*s->buffer, buffer_name(*s->buffer)) << ";\n";
  out_ << d_.begin_kernel(kernel_, kernel::thread_count(kernel_));
  for (const StmtRef& s : kernel_.body) statement(*s);
  out_ << "}\n";
  return out_.str();
}

void CEmitter::line(const std::string& text) {
  out_ << std::string(static_cast<size_t>(indent_), ' ') << text << "\n";
}

void CEmitter::block(const std::vector<StmtRef>& statements) {
  indent_ += 2;
  for (const StmtRef& s : statements) statement(*s);
  indent_ -= 2;
}

void CEmitter::statement(const Stmt& s) {
  switch (s.kind) {
    case StmtKind::kLet: return let(s);
    case StmtKind::kStore: return store(s);
    case StmtKind::kFor: return loop(s);
    case StmtKind::kIf: return branch(s);
    case StmtKind::kBlock:
      line("{");
      block(s.body);
      return line("}");
    case StmtKind::kAlloc: return alloc(s);
    case StmtKind::kBarrier: return line(d_.barrier() + ";");
    case StmtKind::kMatrix: return matrix(s);
    case StmtKind::kScatter:
    case StmtKind::kPrefetch: break;
  }
  internal_error(str("kernel ", kernel_.name, ": a statement that no device function has"));
}

// Forgets what earlier statements computed (a store may have changed what loads see) and finds what this one
// uses twice.
void CEmitter::begin_statement(const std::vector<ExprRef>& roots) {
  uses_.clear();
  memo_.clear();
  for (const ExprRef& root : roots) count_uses(root);
}

void CEmitter::count_uses(const ExprRef& e) {
  if (++uses_[e.get()] > 1) return;
  for (const ExprRef& operand : e->operands) count_uses(operand);
}

void CEmitter::let(const Stmt& s) {
  begin_statement({s.value});
  std::string text = value(s.value);
  if (is_bits(*s.value)) bits_.insert(s.name);
  line(d_.declaration(s.value->type, variable_name(s.name), text) + ";");
}

void CEmitter::loop(const Stmt& s) {
  begin_statement({s.begin, s.extent});
  switch (s.loop) {
    case LoopKind::kGrid:
      line(d_.declaration(s.begin->type, variable_name(s.name), d_.group_index()) + ";");
      if (d_.launches_in_rows())
        line(str("if (", variable_name(s.name), " >= ", atom(s.extent), ") { return; }"));
      return inner(s);
    case LoopKind::kThread:
      line(d_.declaration(s.begin->type, variable_name(s.name), d_.thread_index()) + ";");
      return inner(s);
    case LoopKind::kSerial: return serial_loop(s);
    case LoopKind::kUnrolled: break;
  }
  internal_error(str("kernel ", kernel_.name, ": an unrolled loop is left"));
}

// Bound loops open no scope: shared arrays stay at the kernel's top, where some languages want them.
void CEmitter::inner(const Stmt& s) {
  for (const StmtRef& of_it : s.body) statement(*of_it);
}

void CEmitter::serial_loop(const Stmt& s) {
  const kernel::Type& type = s.begin->type;
  std::string name = variable_name(s.name), begin = atom(s.begin), end;
  bool constant = s.begin->kind == ExprKind::kIntConst && s.extent->kind == ExprKind::kIntConst;
  if (constant) {
    end = d_.int_constant(s.begin->int_value + s.extent->int_value, type.dtype);
  } else {
    end = atom(s.extent);
    bool from_zero = s.begin->kind == ExprKind::kIntConst && s.begin->int_value == 0;
    if (!from_zero) end = temporary(type, str(begin, " + ", end));
  }
  line(d_.loop(type, name, begin, end));
  block(s.body);
  line("}");
}

void CEmitter::branch(const Stmt& s) {
  begin_statement({s.value});
  line(str("if (", value(s.value), ") {"));
  block(s.body);
  if (!s.otherwise.empty()) {
    line("} else {");
    block(s.otherwise);
  }
  line("}");
}

void CEmitter::alloc(const Stmt& s) {
  const kernel::Buffer& b = *s.buffer;
  if (b.scope == Scope::kShared && d_.shared_before_kernel()) return;
  const std::string name = buffer_name(b);
  line((b.scope == Scope::kShared     ? d_.shared_array(b, name)
        : b.scope == Scope::kFragment ? d_.fragment_array(b, name)
                                      : d_.register_array(b, name)) +
       ";");
}

void CEmitter::matrix(const Stmt& s) {
  if (!s.begin) return line(d_.matrix(s, "") + ";");
  begin_statement({s.begin});
  line(d_.matrix(s, value(s.begin)) + ";");
}

void CEmitter::store(const Stmt& s) {
  begin_statement({s.value, s.index});
  std::string to = element(s.buffer, s.index), text = value(s.value);  // both may print temporaries first
  line(str(to, " = ", text, ";"));
}

}  // namespace mlc::lang
