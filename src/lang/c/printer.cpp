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

std::string variable_name(const std::string& name) { return name + "_"; }
std::string buffer_name(const kernel::Buffer& buffer) { return buffer.name + "_"; }
std::string dim_name(const std::string& dim) { return dim + "_"; }

std::string print_c(const kernel::Function& function, const Dialect& dialect) {
  std::string problem = kernel::verify_device(function);
  internal_check(problem.empty(), "kernel ", function.name, " is not ready for a GPU language: ", problem);
  return CEmitter(function, dialect).run();
}

std::string CEmitter::run() {
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
    case StmtKind::kScatter:
    case StmtKind::kPrefetch:
    case StmtKind::kMatrix: break;  // no language of the family has them yet
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
  line(str("const ", d_.type(s.value->type), " ", variable_name(s.name), " = ", text, ";"));
}

void CEmitter::loop(const Stmt& s) {
  begin_statement({s.begin, s.extent});
  switch (s.loop) {
    case LoopKind::kGrid: return bound_loop(s, d_.group_index());
    case LoopKind::kThread: return bound_loop(s, d_.thread_index());
    case LoopKind::kSerial: return serial_loop(s);
    case LoopKind::kUnrolled: break;
  }
  internal_error(str("kernel ", kernel_.name, ": an unrolled loop is left"));
}

// These open no scope: shared arrays stay at the kernel's top, where some languages want them.
void CEmitter::bound_loop(const Stmt& s, const std::string& index) {
  line(str("const ", d_.type(s.begin->type), " ", variable_name(s.name), " = ", index, ";"));
  for (const StmtRef& inner : s.body) statement(*inner);
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
  line(str("for (", d_.type(type), " ", name, " = ", begin, "; ", name, " < ", end, "; ++", name, ") {"));
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
  if (b.scope == Scope::kShared) return line(d_.shared_array(b, buffer_name(b)) + ";");
  line(str(d_.type(b.element), " ", buffer_name(b), "[", b.size.constant(), "];"));
}

void CEmitter::store(const Stmt& s) {
  begin_statement({s.value, s.index});
  Place to = place(s.buffer, s.value->type, s.index);
  std::string text = value(s.value);  // may print temporaries first
  line(d_.store(to, text) + ";");
}

}  // namespace mlc::lang
