// OpenCL C 1.2.
#include "lang/opencl/dialect.h"

#include <cmath>
#include <cstdio>
#include <map>

#include "base/check.h"
#include "base/strings.h"
#include "lang/c/printer.h"

namespace mlc::lang {

using kernel::BinaryOp;
using kernel::Buffer;
using kernel::Function;
using kernel::MathFn;
using kernel::Scope;
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

const char* scalar_name(DType t) {
  static const std::map<DType, const char*> kNames = {
      {DType::kBool, "bool"}, {DType::kI32, "int"}, {DType::kU32, "uint"}, {DType::kF32, "float"}};
  auto name = kNames.find(t);
  internal_check(name != kNames.end(), "OpenCL C: no device function has values of ", short_name(t));
  return name->second;
}

constexpr const char* kLaneNames = "xyzw";

std::string address_space(Scope scope) { return scope == Scope::kShared ? "__local" : "__global"; }

bool is_mask(const Type& type) { return type.dtype == DType::kBool && type.lanes > 1; }

}  // namespace

std::string OpenClDialect::prelude() const { return kPrelude; }

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

std::string OpenClDialect::group_index() const { return "(int)get_group_id(0)"; }
std::string OpenClDialect::thread_index() const { return "(int)get_local_id(0)"; }
std::string OpenClDialect::barrier() const { return "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)"; }

// Comparisons of vectors give ints, all bits set for true.
std::string OpenClDialect::type(const Type& type) const {
  const char* scalar = is_mask(type) ? "int" : scalar_name(type.dtype);
  return type.lanes == 1 ? scalar : str(scalar, type.lanes);
}

std::string OpenClDialect::int_constant(int64_t value, DType dtype) const {
  if (dtype == DType::kBool) return value ? "true" : "false";
  if (dtype == DType::kU32) return str(static_cast<uint32_t>(value), "u");
  if (value == INT32_MIN) return "(-2147483647 - 1)";
  return value < 0 ? str("(", value, ")") : str(value);
}

std::string OpenClDialect::float_constant(double value) const {
  if (std::isnan(value)) return "NAN";
  if (std::isinf(value)) return value > 0 ? "INFINITY" : "(-INFINITY)";
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(static_cast<float>(value)));
  std::string number = text;
  if (number.find_first_of(".e") == std::string::npos) number += ".0";
  number += "f";
  return number[0] == '-' ? "(" + number + ")" : number;
}

std::string OpenClDialect::vector(const Type& type, const std::vector<std::string>& lanes) const {
  if (!is_mask(type)) return str("((", this->type(type), ")(", join(lanes, ", "), "))");
  std::vector<std::string> masks;
  for (const std::string& lane : lanes) masks.push_back(str("(", lane, " ? -1 : 0)"));
  return str("((", this->type(type), ")(", join(masks, ", "), "))");
}

std::string OpenClDialect::broadcast(const Type& type, const std::string& scalar) const {
  return vector(type, {scalar});
}

std::string OpenClDialect::lane(const Type& type, const std::string& value, int lane) const {
  std::string one = str(value, ".", kLaneNames[lane]);
  return is_mask(type) ? str("(", one, " != 0)") : one;
}

std::string OpenClDialect::swizzle(const Type&, const std::string& value,
                                   const std::vector<int>& lanes) const {
  std::string text = value + ".";
  for (int lane : lanes) text += kLaneNames[lane];
  return text;
}

std::string OpenClDialect::cast(const Type& from, const Type& to, const std::string& value) const {
  if (is_mask(to)) return str("(", value, " != 0)");
  std::string text = is_mask(from) ? str("(-", value, ")") : value;
  if (to.dtype == DType::kBool) return str("(", value, " != 0)");
  return str("convert_", type(to), from.lanes == 1 && from.dtype == DType::kBool ? "((int)" : "(", text, ")");
}

std::string OpenClDialect::bitcast(const Type&, const Type& to, const std::string& value) const {
  return str("as_", type(to), "(", value, ")");
}

std::string OpenClDialect::unpack_half(const std::string& a) const { return "mlc_unpack_half(" + a + ")"; }
std::string OpenClDialect::pack_half(const std::string& a) const { return "mlc_pack_half(" + a + ")"; }

namespace {

// `pointer[index]`, or the whole vector that begins at that element.
std::string access(const Place& place, const std::string& vector_type) {
  std::string element = str(place.name, "[", place.index, "]");
  if (place.whole_element()) return element;
  bool writable = place.buffer->writable || place.buffer->scope != Scope::kGlobal;
  return str("*(", address_space(place.buffer->scope), writable ? " " : " const ", vector_type, "*)(&",
             element, ")");
}

}  // namespace

std::string OpenClDialect::load(const Place& place) const {
  std::string text = access(place, type(place.type));
  return place.whole_element() ? text : "(" + text + ")";
}

std::string OpenClDialect::store(const Place& place, const std::string& value) const {
  return str(access(place, type(place.type)), " = ", value);
}

std::string OpenClDialect::compare(const char* op, const Type&, const std::string& a,
                                   const std::string& b) const {
  return str("(", a, " ", op, " ", b, ")");
}

std::string OpenClDialect::select(const Type& type, const std::string& condition, const std::string& a,
                                  const std::string& b) const {
  if (type.lanes == 1) return str("(", condition, " ? ", a, " : ", b, ")");
  return str("select(", b, ", ", a, ", ", condition, ")");
}

const char* OpenClDialect::min_max(BinaryOp op, const Type& type) const {
  bool floats = type.dtype == DType::kF32;
  return op == BinaryOp::kMin ? (floats ? "fmin" : "min") : (floats ? "fmax" : "max");
}

std::string OpenClDialect::call(UnaryOp op, const Type& type, const std::string& a) const {
  if (op == UnaryOp::kAbs && type.dtype != DType::kF32) return str("as_", this->type(type), "(abs(", a, "))");
  using enum UnaryOp;
  static const std::map<UnaryOp, const char*> kNames = {
      {kAbs, "fabs"}, {kSqrt, "sqrt"}, {kFloor, "floor"}, {kRoundEven, "rint"}};
  auto name = kNames.find(op);
  internal_check(name != kNames.end(), "OpenCL C: an operator is no function");
  return str(name->second, "(", a, ")");
}

std::string OpenClDialect::call(MathFn function, const std::string& a) const {
  if (function == MathFn::kReciprocal) return str("(1.0f / ", a, ")");
  using enum MathFn;
  static const std::map<MathFn, const char*> kNames = {
      {kExp, "exp"}, {kTanh, "tanh"}, {kErf, "erf"}, {kLog, "log"}, {kRsqrt, "rsqrt"}};
  return str(kNames.at(function), "(", a, ")");
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

std::string print_opencl(const Function& function) {
  OpenClDialect dialect;
  return str(dialect.prelude(), function.subgroup_size ? kSubgroupPrelude : "", print_c(function, dialect));
}

}  // namespace mlc::lang
