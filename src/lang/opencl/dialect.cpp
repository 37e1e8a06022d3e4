// OpenCL C 1.2.
#include "lang/opencl/dialect.h"

#include "base/strings.h"
#include "lang/c/printer.h"
#include "lang/language.h"

namespace mlc::lang {

using kernel::BinaryOp;
using kernel::Buffer;
using kernel::Function;
using kernel::Type;
using kernel::UnaryOp;

namespace {

// One rounding for each operation, as the IR says. Halves go through memory of the thread: cl_khr_fp16 is not
// needed for vload_half and vstore_half.
constexpr const char* kPrelude = R"(#ifndef MLC_PRELUDE
#define MLC_PRELUDE
#pragma OPENCL FP_CONTRACT OFF
float2 mlc_unpack_half(uint word) { return vload_half2(0, (const __private half*)&word); }
uint mlc_pack_half(float2 pair) { uint word; vstore_half2_rte(pair, 0, (__private half*)&word); return word; }
#endif
)";

// Sub-group functions are an extension whose pragma is an error where it is unknown.
constexpr const char* kSubgroupPrelude = R"(#ifndef MLC_SUBGROUPS
#define MLC_SUBGROUPS
#pragma OPENCL EXTENSION cl_khr_subgroups : enable
#pragma OPENCL EXTENSION cl_khr_subgroup_shuffle : enable
#endif
)";

bool is_mask(const Type& type) { return type.dtype == DType::kBool && type.lanes > 1; }

class OpenClDialect : public Dialect {
 public:
  std::string prelude(const Function& function) const override {
    return str(kPrelude, function.subgroup_size ? kSubgroupPrelude : "");
  }
  std::string begin_kernel(const Function& function, int64_t threads) const override;
  std::string shared_array(const Buffer& buffer, const std::string& name) const override;
  std::string group_index() const override { return "(int)get_group_id(0)"; }
  std::string thread_index() const override { return "(int)get_local_id(0)"; }
  bool launches_in_rows() const override { return false; }  // a grid of any length in one dimension
  std::string barrier() const override { return "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)"; }
  std::string type(const Type& type) const override;
  std::string vector(const Type& type, const std::vector<std::string>& lanes) const override;
  std::string lane(const Type& type, const std::string& value, int lane) const override;
  std::string cast(const Type& from, const Type& to, const std::string& value) const override;
  std::string bitcast(const Type&, const Type& to, const std::string& value) const override {
    return str("as_", type(to), "(", value, ")");
  }
  std::string unpack_half(const std::string& a) const override { return "mlc_unpack_half(" + a + ")"; }
  std::string pack_half(const std::string& a) const override { return "mlc_pack_half(" + a + ")"; }
  std::string call(UnaryOp op, const Type& type, const std::string& a) const override;
  using Dialect::call;
  std::string dot4(bool unsigned_a, const std::string& a, const std::string& b,
                   const std::string& sum) const override;
  std::string subgroup(BinaryOp op, const Type& type, const std::string& value) const override;
  std::string subgroup_xor(const Type& type, const std::string& value, int64_t mask) const override;
  std::string subgroup_broadcast(const Type& type, const std::string& value, int64_t lane) const override;

 private:
  // function(lane of value) for every lane; the extensions have scalar functions only.
  std::string lanewise(const Type& type, const std::string& value, const std::string& before,
                       const std::string& after) const;
};

// A buffer is a memory object and a byte offset in it (formats/library.h).
std::string OpenClDialect::begin_kernel(const Function& function, int64_t threads) const {
  std::vector<std::string> arguments;
  std::string names;
  auto qualified = [&](const Buffer& b) { return str("__global ", b.writable ? "" : "const "); };
  // Two buffers may be one when the kernel works in place.
  auto restricted = [&](size_t i) { return !function.in_place || (i > 0 && !function.buffers[i]->writable); };
  for (size_t i = 0; i < function.buffers.size(); ++i) {
    const Buffer& b = *function.buffers[i];
    std::string pointer = str(qualified(b), type(b.element), "*", restricted(i) ? " restrict" : "");
    arguments.push_back(str(qualified(b), "char* m", i));
    names += str("  ", pointer, " ", buffer_name(b), " = (", qualified(b), type(b.element), "*)(m", i, " + o",
                 i, ");\n");
  }
  for (const std::string& dim : function.dims) arguments.push_back("int " + dim_name(dim));
  for (size_t i = 0; i < function.buffers.size(); ++i) arguments.push_back(str("long o", i));
  return str("__kernel __attribute__((reqd_work_group_size(", threads, ", 1, 1)))\nvoid ", function.name, "(",
             join(arguments, ", "), ") {\n", names);
}

std::string OpenClDialect::shared_array(const Buffer& buffer, const std::string& name) const {
  return str("__local ", type(buffer.element), " ", name, "[", buffer.size.constant(), "]");
}

// Comparisons of vectors give ints, all bits set for true.
std::string OpenClDialect::type(const Type& type) const {
  return Dialect::type(is_mask(type) ? type.with_dtype(DType::kI32) : type);
}

std::string OpenClDialect::vector(const Type& type, const std::vector<std::string>& lanes) const {
  if (!is_mask(type)) return str("((", this->type(type), ")(", join(lanes, ", "), "))");
  std::vector<std::string> masks;
  for (const std::string& lane : lanes) masks.push_back(str("(", lane, " ? -1 : 0)"));
  return str("((", this->type(type), ")(", join(masks, ", "), "))");
}

std::string OpenClDialect::lane(const Type& type, const std::string& value, int lane) const {
  std::string one = swizzle(type, value, {lane});
  return is_mask(type) ? str("(", one, " != 0)") : one;
}

std::string OpenClDialect::cast(const Type& from, const Type& to, const std::string& value) const {
  if (is_mask(to)) return str("(", value, " != 0)");
  std::string text = is_mask(from) ? str("(-", value, ")") : value;
  if (to.dtype == DType::kBool) return str("(", value, " != 0)");
  return str("convert_", type(to), from.lanes == 1 && from.dtype == DType::kBool ? "((int)" : "(", text, ")");
}

std::string OpenClDialect::call(UnaryOp op, const Type& type, const std::string& a) const {
  std::string text = Dialect::call(op, type, a);  // abs of ints is unsigned
  return op == UnaryOp::kAbs && type.dtype != DType::kF32 ? str("as_", this->type(type), "(", text, ")")
                                                          : text;
}

// cl_khr_integer_dot_product's packed form.
std::string OpenClDialect::dot4(bool unsigned_a, const std::string& a, const std::string& b,
                                const std::string& sum) const {
  return str("(", sum, " + ", unsigned_a ? "dot_4x8packed_us_int" : "dot_4x8packed_ss_int", "(", a, ", ", b,
             "))");
}

std::string OpenClDialect::lanewise(const Type& type, const std::string& value, const std::string& before,
                                    const std::string& after) const {
  if (type.lanes == 1) return before + value + after;
  std::vector<std::string> lanes;
  for (int i = 0; i < type.lanes; ++i) lanes.push_back(before + lane(type, value, i) + after);
  return vector(type, lanes);
}

std::string OpenClDialect::subgroup(BinaryOp op, const Type& type, const std::string& value) const {
  const char* name = op == BinaryOp::kAdd ? "add" : op == BinaryOp::kMin ? "min" : "max";
  return lanewise(type, value, str("sub_group_reduce_", name, "("), ")");
}

std::string OpenClDialect::subgroup_xor(const Type& type, const std::string& value, int64_t mask) const {
  return lanewise(type, value, "sub_group_shuffle_xor(", str(", ", mask, "u)"));
}

std::string OpenClDialect::subgroup_broadcast(const Type& type, const std::string& value,
                                              int64_t lane) const {
  return lanewise(type, value, "sub_group_broadcast(", str(", ", lane, "u)"));
}

std::string emit(const Function& function, const Target&) { return print_opencl(function); }

}  // namespace

std::string print_opencl(const Function& function) { return print_c(function, OpenClDialect()); }

const Language& opencl_language() {
  static const Language kOpenCl = {"opencl", GpuLanguage::kOpenClC, emit, as_it_is};
  return kOpenCl;
}

}  // namespace mlc::lang
