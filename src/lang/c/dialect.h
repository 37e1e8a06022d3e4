// What one language of the C family spells in its own way. Statements, scopes and temporaries are
// lang/c/printer.h; a new language derives from Dialect and writes one file.
//
// Kernels are device functions (kernel/ir.h): values are bool, i32, u32 and f32 with 1, 2 or 4 lanes. A mask,
// a bool with several lanes, is held as type() likes; lane() of it is a bool.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel/ir.h"

namespace mlc::lang {

// What a load or store accesses: a pointer or array by name, the index as text.
struct Place {
  const kernel::Buffer* buffer = nullptr;
  std::string name, index;  // index counts the buffer's elements; aligned to the access's lanes
  kernel::Type type;        // of the access
  bool whole_element() const { return type == buffer->element; }
};

class Dialect {
 public:
  virtual ~Dialect() = default;

  // Pragmas and functions that kernels may call; printed once before the kernels of a file.
  virtual std::string prelude() const = 0;
  // From the kernel's attributes to its opening brace, then lines that give every buffer (buffer_name) and
  // dim (dim_name) its name. `threads` run a group.
  virtual std::string begin_kernel(const kernel::Function& function, int64_t threads) const = 0;
  // A declaration without its semicolon.
  virtual std::string shared_array(const kernel::Buffer& buffer, const std::string& name) const = 0;
  virtual std::string group_index() const = 0;   // i32
  virtual std::string thread_index() const = 0;  // i32
  virtual std::string barrier() const = 0;       // a statement without its semicolon

  virtual std::string type(const kernel::Type& type) const = 0;
  // Scalars.
  virtual std::string int_constant(int64_t value, DType dtype) const = 0;
  virtual std::string float_constant(double value) const = 0;
  // A vector of scalars; of one scalar in every lane; one lane of it; its lanes in another order.
  virtual std::string vector(const kernel::Type& type, const std::vector<std::string>& lanes) const = 0;
  virtual std::string broadcast(const kernel::Type& type, const std::string& scalar) const = 0;
  virtual std::string lane(const kernel::Type& type, const std::string& value, int lane) const = 0;
  virtual std::string swizzle(const kernel::Type& type, const std::string& value,
                              const std::vector<int>& lanes) const = 0;

  virtual std::string cast(const kernel::Type& from, const kernel::Type& to,
                           const std::string& value) const = 0;
  virtual std::string bitcast(const kernel::Type& from, const kernel::Type& to,
                              const std::string& value) const = 0;
  virtual std::string unpack_half(const std::string& word) const = 0;
  virtual std::string pack_half(const std::string& pair) const = 0;
  virtual std::string load(const Place& place) const = 0;
  virtual std::string store(const Place& place, const std::string& value) const = 0;

  // A comparison of operands of `type`; a mask when they have lanes. `op` is C's operator.
  virtual std::string compare(const char* op, const kernel::Type& type, const std::string& a,
                              const std::string& b) const = 0;
  virtual std::string select(const kernel::Type& type, const std::string& condition, const std::string& a,
                             const std::string& b) const = 0;
  // Calls of built-in functions: the name of kMin's and kMax's; kAbs, and on f32 kSqrt, kFloor, kRoundEven;
  // math that expand_math left.
  virtual const char* min_max(kernel::BinaryOp op, const kernel::Type& type) const = 0;
  virtual std::string call(kernel::UnaryOp op, const kernel::Type& type, const std::string& a) const = 0;
  virtual std::string call(kernel::MathFn function, const std::string& a) const = 0;
  // Four products of bytes added to an i32; `a` and `b` are the u32 words that hold them.
  virtual std::string dot4(bool unsigned_a, const std::string& a, const std::string& b,
                           const std::string& sum) const = 0;
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
