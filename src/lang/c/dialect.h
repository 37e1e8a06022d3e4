// What one language of the C family spells in its own way. Statements, scopes and temporaries are
// lang/c/printer.h; a new language derives from Dialect and writes one file. What most of them spell alike is
// written here; OpenCL C, MSL and CUDA C override little, WGSL more.
//
// Kernels are device functions (kernel/ir.h): values are bool, i32, u32 and f32 with 1, 2 or 4 lanes. A mask,
// a bool with several lanes, is held as type() likes; lane() of it is a bool.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel/ir.h"

namespace mlc::lang {

class Dialect {
 public:
  virtual ~Dialect() = default;

  // Pragmas and functions that the kernel may call; printed once before it.
  virtual std::string prelude(const kernel::Function& function) const = 0;
  // From the kernel's attributes to its opening brace, then lines that give every buffer (buffer_name) and
  // dim (dim_name) its name. `threads` run a group.
  virtual std::string begin_kernel(const kernel::Function& function, int64_t threads) const = 0;
  virtual std::string group_index() const = 0;   // i32
  virtual std::string thread_index() const = 0;  // i32
  virtual std::string barrier() const = 0;       // a statement without its semicolon
  // Whether a launch may have groups past the last (kernel/ir.h, GPU ABI): they leave at once.
  virtual bool launches_in_rows() const { return true; }

  // Declarations without their semicolons: a value, arrays of a thread and of a group. Shared arrays stand
  // before the kernel or at its top.
  virtual std::string declaration(const kernel::Type& type, const std::string& name,
                                  const std::string& value) const;
  virtual std::string register_array(const kernel::Buffer& buffer, const std::string& name) const;
  virtual std::string shared_array(const kernel::Buffer& buffer, const std::string& name) const = 0;
  virtual bool shared_before_kernel() const { return false; }
  // A loop over [begin, end) up to its opening brace.
  virtual std::string loop(const kernel::Type& type, const std::string& name, const std::string& begin,
                           const std::string& end) const;
  // Matrices of a subgroup: the array of a kFragment buffer, and what a kMatrix statement does, both without
  // semicolon. `begin` is the text of the statement's. Internal error where the language has none.
  virtual std::string fragment_array(const kernel::Buffer& buffer, const std::string& name) const;
  virtual std::string matrix(const kernel::Stmt& s, const std::string& begin) const;

  virtual std::string type(const kernel::Type& type) const;
  // Scalars.
  virtual std::string int_constant(int64_t value, DType dtype) const;
  virtual std::string float_constant(double value) const;
  // A vector of scalars; of one scalar in every lane; one lane of it; its lanes in another order.
  virtual std::string vector(const kernel::Type& type, const std::vector<std::string>& lanes) const;
  virtual std::string broadcast(const kernel::Type& type, const std::string& scalar) const;
  virtual std::string lane(const kernel::Type& type, const std::string& value, int lane) const;
  virtual std::string swizzle(const kernel::Type& type, const std::string& value,
                              const std::vector<int>& lanes) const;

  virtual std::string cast(const kernel::Type& from, const kernel::Type& to, const std::string& value) const;
  virtual std::string bitcast(const kernel::Type& from, const kernel::Type& to,
                              const std::string& value) const = 0;
  virtual std::string unpack_half(const std::string& word) const = 0;
  virtual std::string pack_half(const std::string& pair) const = 0;
  // The element of an array, to be read or assigned.
  virtual std::string element(const kernel::Buffer& buffer, const std::string& name,
                              const std::string& index) const;

  // An operator of arithmetic or bits on two operands of `type`; `spelled` is C's.
  virtual std::string binary(kernel::BinaryOp op, const char* spelled, const kernel::Type& type,
                             const std::string& a, const std::string& b) const;
  // A comparison of operands of `type`; a mask when they have lanes. `op` is C's operator.
  virtual std::string compare(const char* op, const kernel::Type& type, const std::string& a,
                              const std::string& b) const;
  virtual std::string select(const kernel::Type& type, const std::string& condition, const std::string& a,
                             const std::string& b) const;
  // Calls of built-in functions: kMin and kMax; kAbs, and on f32 kSqrt, kFloor, kRoundEven; math that
  // expand_math left.
  virtual std::string min_max(kernel::BinaryOp op, const kernel::Type& type, const std::string& a,
                              const std::string& b) const;
  virtual std::string call(kernel::UnaryOp op, const kernel::Type& type, const std::string& a) const;
  virtual std::string call(kernel::MathFn function, const std::string& a) const;
  // Four products of bytes added to an i32; `a` and `b` are the u32 words that hold them. Internal error
  // where the language has none: legalize leaves no such node for its targets.
  virtual std::string dot4(bool unsigned_a, const std::string& a, const std::string& b,
                           const std::string& sum) const;
  virtual std::string subgroup(kernel::BinaryOp op, const kernel::Type& type,
                               const std::string& value) const = 0;
  virtual std::string subgroup_xor(const kernel::Type& type, const std::string& value,
                                   int64_t mask) const = 0;
  virtual std::string subgroup_broadcast(const kernel::Type& type, const std::string& value,
                                         int64_t lane) const = 0;
};

// Names that no keyword or built-in function has: the IR's name and an underscore.
std::string variable_name(const std::string& name);
std::string buffer_name(const kernel::Buffer& buffer);
std::string dim_name(const std::string& dim);

}  // namespace mlc::lang
