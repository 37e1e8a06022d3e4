// The emission of one kernel into an LLVM function, for any processor: types, expressions, statements,
// memory. What differs is virtual: cpu/emitter.h and gpu_emitter.h.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <map>
#include <string>
#include <unordered_map>

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::lang {

// Folds constants only: a folder that looks through operands would see loop variables before their back edge
// exists.
using Builder = llvm::IRBuilder<>;

// The LLVM type of values. f16, bf16 and f8 are held as their bits (i16, i8): LLVM would call a library for
// arithmetic on them; bool lanes are i1.
llvm::Type* value_type(llvm::LLVMContext& context, const kernel::Type& type);
// The same in memory: bool is a byte.
llvm::Type* memory_type(llvm::LLVMContext& context, const kernel::Type& type);
bool is_small_float(DType type);  // held as bits
bool is_arm(const Target& target);
bool is_wasm(const Target& target);

// convert.cpp: value conversions (kCast) and rounding, without library calls on any target.
struct ConversionTarget {
  bool f16_convert = false;      // fpext and fptrunc of half are instructions
  bool native_rounding = false;  // so are floor and round to even
  bool bf16_convert = false;     // and f32 to bf16, of 16 or 32 lanes
};
ConversionTarget conversion_target(const Target& target);
llvm::Value* convert(Builder& b, llvm::Value* value, const kernel::Type& from, const kernel::Type& to,
                     const ConversionTarget& target);
llvm::Value* round_even(Builder& b, llvm::Value* value, const ConversionTarget& target);
llvm::Value* round_down(Builder& b, llvm::Value* value, const ConversionTarget& target);

class FunctionEmitter {
 public:
  // `function` is declared, has no body yet and the parameters that emit_entry() reads.
  FunctionEmitter(const kernel::Function& kernel, const Target& target, llvm::Function* function);
  virtual ~FunctionEmitter() = default;
  void run();

 protected:
  // Where a buffer lies, and the alias metadata of its accesses (null for registers).
  struct Place {
    llvm::Value* base = nullptr;
    llvm::MDNode* scope = nullptr;
    llvm::MDNode* others = nullptr;
  };

  // What processors do each in their own way. emit_entry() gives places_ of global and shared buffers and
  // dims_; emit_level() a grid or thread loop; emit_special() what stands in no function below.
  virtual void emit_entry() = 0;
  virtual void finish() {}  // before the return
  virtual void emit_level(const kernel::Stmt& s) = 0;
  virtual void emit_special(const kernel::Stmt& s) = 0;
  virtual llvm::Value* emit_special(const kernel::Expr& e) = 0;
  virtual llvm::Value* float_min_max(bool is_min, llvm::Value* a, llvm::Value* b) = 0;
  virtual llvm::Value* float_divide(llvm::Value* a, llvm::Value* b) { return b_.CreateFDiv(a, b); }
  virtual llvm::Value* square_root(llvm::Value* a);
  // Of an access of `type`, known to be whole elements of the buffer.
  virtual llvm::Align alignment(const kernel::Buffer& buffer, const kernel::Type& type) const = 0;

  // stmt.cpp
  void make_alias_scopes();
  void emit_block(const std::vector<kernel::StmtRef>& statements);
  void emit_statement(const kernel::Stmt& s);
  void emit_for(const kernel::Stmt& s);
  void emit_counted(const kernel::Stmt& s);  // from its begin, `extent` times
  void emit_loop(const kernel::Stmt& s, llvm::Value* begin, llvm::Value* end);
  void emit_if(const kernel::Stmt& s);
  void emit_alloc(const kernel::Stmt& s);
  void emit_store(const kernel::Stmt& s);
  void emit_scatter(const kernel::Stmt& s);
  llvm::BasicBlock* new_block(const std::string& name);

  // expr.cpp; value() computes each distinct node of one statement once.
  llvm::Value* value(const kernel::ExprRef& e);
  llvm::Value* emit(const kernel::Expr& e);
  llvm::Value* emit_constant(const kernel::Expr& e);
  llvm::Value* emit_load(const kernel::Expr& e);
  llvm::Value* emit_gather(const kernel::Expr& e);
  llvm::Value* emit_unary(const kernel::Expr& e);
  llvm::Value* emit_binary(const kernel::Expr& e);
  llvm::Value* emit_fma(const kernel::Expr& e);
  llvm::Value* emit_ramp(const kernel::Expr& e);
  llvm::Value* emit_shuffle(const kernel::Expr& e);
  llvm::Value* emit_reduce(const kernel::Expr& e);
  llvm::Value* arithmetic(kernel::BinaryOp op, llvm::Value* a, llvm::Value* b, const kernel::Type& type);
  llvm::Value* float_arithmetic(kernel::BinaryOp op, llvm::Value* a, llvm::Value* b);
  llvm::Value* int_arithmetic(kernel::BinaryOp op, llvm::Value* a, llvm::Value* b, const kernel::Type& type);
  llvm::Value* compare(kernel::BinaryOp op, llvm::Value* a, llvm::Value* b, const kernel::Type& type);
  virtual llvm::Value* floor_divide(llvm::Value* a, llvm::Value* b, bool want_remainder);

  // Addresses: element `index` of the buffer, or byte `index` when a u8 buffer is accessed as another type.
  bool is_byte_view(const kernel::Buffer& buffer, const kernel::Type& type) const;
  llvm::Value* address(const kernel::BufferRef& buffer, const kernel::Type& type, llvm::Value* index);
  const Place& place(const kernel::BufferRef& buffer) const;
  void annotate(llvm::Instruction* access, const kernel::BufferRef& buffer);
  llvm::Value* from_memory(llvm::Value* loaded, const kernel::Type& type);
  llvm::Value* to_memory(llvm::Value* value, const kernel::Type& type);

  const kernel::Function& kernel_;
  const Target& target_;
  const ConversionTarget conversions_;
  llvm::LLVMContext& context_;
  llvm::Function* function_;
  Builder b_;
  std::unordered_map<std::string, llvm::Value*> variables_, dims_;
  std::unordered_map<const kernel::Buffer*, Place> places_;
  std::unordered_map<const kernel::Expr*, llvm::Value*> memo_;
};

}  // namespace mlc::lang
