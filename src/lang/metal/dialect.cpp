// The Metal Shading Language 2.4 (Apple's "Metal Shading Language Specification"; chapters in brackets).
#include "lang/metal/dialect.h"

#include "base/strings.h"
#include "lang/c/printer.h"
#include "lang/language.h"

namespace mlc::lang {

using kernel::BinaryOp;
using kernel::Buffer;
using kernel::Fragment;
using kernel::FragmentRef;
using kernel::Function;
using kernel::MatrixOp;
using kernel::MatrixOrder;
using kernel::Stmt;
using kernel::Type;

namespace {

// One rounding for each operation, as the IR says; the library is compiled without fast math too.
constexpr const char* kPrelude = R"(#ifndef MLC_PRELUDE
#define MLC_PRELUDE
#include <metal_stdlib>
using namespace metal;
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
inline float2 mlc_unpack_half(uint word) { return float2(as_type<half2>(word)); }
inline uint mlc_pack_half(float2 pair) { return as_type<uint>(half2(pair)); }
#endif
)";

class MetalDialect : public Dialect {
 public:
  std::string prelude(const Function&) const override { return kPrelude; }
  std::string begin_kernel(const Function& function, int64_t threads) const override;
  std::string shared_array(const Buffer& buffer, const std::string& name) const override {
    return "threadgroup " + register_array(buffer, name);
  }
  std::string fragment_array(const Buffer& buffer, const std::string& name) const override;
  std::string matrix(const Stmt& s, const std::string& begin) const override;
  std::string group_index() const override {
    return str("int(group_at.x + group_at.y * ", kernel::kGroupsPerRow, "u)");
  }
  std::string thread_index() const override { return "int(thread_at)"; }
  std::string barrier() const override {
    return "threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device)";
  }
  std::string bitcast(const Type&, const Type& to, const std::string& value) const override {
    return str("as_type<", type(to), ">(", value, ")");
  }
  std::string unpack_half(const std::string& a) const override { return "mlc_unpack_half(" + a + ")"; }
  std::string pack_half(const std::string& a) const override { return "mlc_pack_half(" + a + ")"; }
  std::string subgroup(BinaryOp op, const Type&, const std::string& value) const override {
    return str("simd_", op == BinaryOp::kAdd ? "sum" : op == BinaryOp::kMin ? "min" : "max", "(", value, ")");
  }
  std::string subgroup_xor(const Type&, const std::string& value, int64_t mask) const override {
    return str("simd_shuffle_xor(", value, ", ushort(", mask, "))");
  }
  std::string subgroup_broadcast(const Type&, const std::string& value, int64_t lane) const override {
    return str("simd_broadcast(", value, ", ushort(", lane, "))");
  }
};

std::string MetalDialect::begin_kernel(const Function& function, int64_t threads) const {
  std::vector<std::string> arguments;
  for (const kernel::BufferRef& b : function.buffers)
    arguments.push_back(str("device ", b->writable ? "" : "const ", type(b->element), "* ", buffer_name(*b),
                            " [[buffer(", arguments.size(), ")]]"));
  arguments.push_back(str("constant int* dims_at [[buffer(", arguments.size(), ")]]"));
  arguments.push_back("uint3 group_at [[threadgroup_position_in_grid]]");
  arguments.push_back("uint thread_at [[thread_index_in_threadgroup]]");
  std::string text = str("[[max_total_threads_per_threadgroup(", threads, ")]] kernel void ", function.name,
                         "(", join(arguments, ", "), ") {\n");
  for (size_t i = 0; i < function.dims.size(); ++i)
    text += str("  const int ", dim_name(function.dims[i]), " = dims_at[", i, "];\n");
  return text;
}

// Matrices of a SIMD-group (2.3): a square of 8 by 8, whatever its role.
std::string MetalDialect::fragment_array(const Buffer& buffer, const std::string& name) const {
  return str("simdgroup_", buffer.element.dtype == DType::kF16 ? "half" : "float", "8x8 ", name, "[",
             buffer.size.constant(), "]");
}

// SIMD-group matrix functions (6.7). Of halves two lie in a word of memory, and lines are counted in elements
// of the matrix.
std::string MetalDialect::matrix(const Stmt& s, const std::string& begin) const {
  auto name = [](const FragmentRef& f) { return str(buffer_name(*f.buffer), "[", f.index, "]"); };
  const std::string it = name({s.buffer, s.index->int_value});
  if (s.matrix == MatrixOp::kClear) return str(it, " = make_filled_simdgroup_matrix<float, 8, 8>(0.0f)");
  if (s.matrix == MatrixOp::kMultiply)
    return str("simdgroup_multiply_accumulate(", it, ", ", name(s.factors[0]), ", ", name(s.factors[1]), ", ",
               it, ")");
  const bool halves = s.buffer->element.dtype == DType::kF16;
  const int64_t line = s.stride * s.memory->element.lanes * (halves ? 2 : 1);
  std::string place = str("&", buffer_name(*s.memory), "[", begin, "]");
  if (halves) place = str("(threadgroup const half*)(", place, ")");
  return str("simdgroup_", s.matrix == MatrixOp::kLoad ? "load" : "store", "(", it, ", ", place, ", ", line,
             ", ulong2(0, 0), ", s.order == MatrixOrder::kColumns ? "true" : "false", ")");
}

std::string emit(const Function& function, const Target&) { return print_metal(function); }

}  // namespace

std::string print_metal(const Function& function) { return print_c(function, MetalDialect()); }

const Language& metal_language() {
  static const Language kMetal = {"metal", GpuLanguage::kMetal, emit, as_it_is};
  return kMetal;
}

}  // namespace mlc::lang
