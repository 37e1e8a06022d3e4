// The emission of one kernel into a SPIR-V module: the state that expressions and statements share.
#pragma once

#include <string>
#include <unordered_map>

#include "kernel/ir.h"
#include "lang/spirv/module.h"

namespace mlc::lang::spirv {

class FunctionEmitter {
 public:
  explicit FunctionEmitter(const kernel::Function& kernel);
  Words run();

 private:
  // stmt.cpp
  void emit_entry();
  void emit_group();
  void emit_block(const std::vector<kernel::StmtRef>& statements);
  void emit_statement(const kernel::Stmt& s);
  void emit_for(const kernel::Stmt& s);
  void emit_if(const kernel::Stmt& s);
  void emit_barrier();
  void begin_label(Id label);
  void branch(Id label) { append(body_, Op::kBranch, {label}); }

  // memory.cpp: a pointer to element `index` of a buffer.
  Id pointer(const kernel::BufferRef& buffer, const kernel::ExprRef& index);
  Id variable_of(const kernel::BufferRef& buffer);
  Id element_of(const kernel::Buffer& buffer);
  void declare(const kernel::BufferRef& buffer);
  size_t binding_of(const kernel::Buffer& buffer) const;

  // What follows the pointer of a load or store of a buffer under the memory model in use.
  Words memory_operands(const kernel::BufferRef& buffer) const;

  // matrix.cpp
  void emit_matrix(const kernel::Stmt& s);
  Id fragment_type(const kernel::Buffer& fragments);
  Id fragment_variable(const kernel::FragmentRef& f) const;

  // expr.cpp; value() computes each distinct node of one statement once.
  Id value(const kernel::ExprRef& e);
  Id emit(const kernel::Expr& e);
  Id emit_constant(const kernel::Expr& e);
  Id emit_unary(const kernel::Expr& e);
  Id emit_binary(const kernel::Expr& e);
  Id emit_cast(const kernel::Expr& e);
  Id emit_broadcast(const kernel::Expr& e);
  Id emit_shuffle(const kernel::Expr& e);
  Id emit_dot4(const kernel::Expr& e);
  Id emit_call(const kernel::Expr& e);
  Id emit_subgroup(const kernel::Expr& e);
  Op binary_op(const kernel::Expr& e) const;

  Id type_of(const kernel::Type& type);
  Id instruction(Op op, Id type, const Words& operands);
  Id glsl(Glsl function, Id type, const Words& operands);
  Id splat(const kernel::Type& type, Id scalar);
  [[noreturn]] void fail(const std::string& what) const;

  const kernel::Function& kernel_;
  ModuleBuilder module_;
  Words variables_, body_;  // of the function: its variables, then the rest of its blocks
  Id entry_ = 0, label_ = 0, group_ = 0, thread_ = 0;
  std::vector<Id> inputs_;
  std::unordered_map<std::string, Id> names_, dims_;  // variables and dimensions in scope
  std::unordered_map<const kernel::Expr*, Id> memo_;
  std::unordered_map<const kernel::Buffer*, Id> variables_of_;            // of buffers
  std::unordered_map<const kernel::Buffer*, std::vector<Id>> registers_;  // a variable per element
};

}  // namespace mlc::lang::spirv
