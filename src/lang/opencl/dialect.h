// OpenCL C 1.2: a thin dialect of the C family, and the blobs of a variant's kernels.
#pragma once

#include <string>
#include <vector>

#include "base/target/target.h"
#include "kernel/ir.h"
#include "lang/c/dialect.h"

namespace mlc::lang {

class OpenClDialect : public Dialect {
 public:
  std::string prelude() const override;
  std::string begin_kernel(const kernel::Function& function, int64_t threads) const override;
  std::string shared_array(const kernel::Buffer& buffer, const std::string& name) const override;
  std::string group_index() const override;
  std::string thread_index() const override;
  std::string barrier() const override;
  std::string type(const kernel::Type& type) const override;
  std::string int_constant(int64_t value, DType dtype) const override;
  std::string float_constant(double value) const override;
  std::string vector(const kernel::Type& type, const std::vector<std::string>& lanes) const override;
  std::string broadcast(const kernel::Type& type, const std::string& scalar) const override;
  std::string lane(const kernel::Type& type, const std::string& value, int lane) const override;
  std::string swizzle(const kernel::Type& type, const std::string& value,
                      const std::vector<int>& lanes) const override;
  std::string cast(const kernel::Type& from, const kernel::Type& to, const std::string& value) const override;
  std::string bitcast(const kernel::Type& from, const kernel::Type& to,
                      const std::string& value) const override;
  std::string unpack_half(const std::string& word) const override;
  std::string pack_half(const std::string& pair) const override;
  std::string load(const Place& place) const override;
  std::string store(const Place& place, const std::string& value) const override;
  std::string compare(const char* op, const kernel::Type& type, const std::string& a,
                      const std::string& b) const override;
  std::string select(const kernel::Type& type, const std::string& condition, const std::string& a,
                     const std::string& b) const override;
  const char* min_max(kernel::BinaryOp op, const kernel::Type& type) const override;
  std::string call(kernel::UnaryOp op, const kernel::Type& type, const std::string& a) const override;
  std::string call(kernel::MathFn function, const std::string& a) const override;
  std::string dot4(bool unsigned_a, const std::string& a, const std::string& b,
                   const std::string& sum) const override;
  std::string subgroup(kernel::BinaryOp op, const kernel::Type& type,
                       const std::string& value) const override;
  std::string subgroup_xor(const kernel::Type& type, const std::string& value, int64_t mask) const override;
  std::string subgroup_broadcast(const kernel::Type& type, const std::string& value,
                                 int64_t lane) const override;

 private:
  // function(lane of value) for every lane; the extensions have scalar functions only.
  std::string lanewise(const kernel::Type& type, const std::string& value, const std::string& before,
                       const std::string& after) const;
};

// The text of one kernel that compiles by itself: the prelude, guarded so that texts can be joined, and the
// kernel.
std::string print_opencl(const kernel::Function& function);

}  // namespace mlc::lang
