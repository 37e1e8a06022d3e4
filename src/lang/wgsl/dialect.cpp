// The WebGPU Shading Language (W3C's specification; chapters in brackets).
#include "lang/wgsl/dialect.h"

#include <cmath>
#include <map>
#include <set>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "lang/c/printer.h"
#include "lang/language.h"

namespace mlc::lang {

using kernel::BinaryOp;
using kernel::Buffer;
using kernel::ExprKind;
using kernel::ExprRef;
using kernel::Function;
using kernel::StmtKind;
using kernel::Type;
using kernel::UnaryOp;

namespace {

// A constant expression must not be NaN or infinite (15.7.2), a variable may.
constexpr const char* kNotFinite =
    "var<private> mlc_nan: u32 = 0x7FC00000u;\nvar<private> mlc_infinity: u32 = 0x7F800000u;\n";

// The buffers that control flow around barriers and subgroup operations rests on.
class Deciding {
 public:
  explicit Deciding(const Function& function) { meets(function.body); }
  bool contains(const Buffer& b) const { return deciding_.contains(&b); }

 private:
  using Buffers = std::set<const Buffer*>;
  void add(const ExprRef& e, Buffers& to) {
    if (e->kind == ExprKind::kLoad) to.insert(e->buffer.get());
    if (e->kind == ExprKind::kVar) to.insert(variables_[e->name].begin(), variables_[e->name].end());
    for (const ExprRef& operand : e->operands) add(operand, to);
  }
  // Whether the threads of a group meet in these statements.
  bool meets(const std::vector<kernel::StmtRef>& statements) {
    bool any = false;
    for (const kernel::StmtRef& s : statements) {
      if (s->kind == StmtKind::kLet) {
        add(s->value, variables_[s->name]);
        any |= kernel::is_subgroup(*s->value);
      }
      if (s->kind == StmtKind::kFor)
        for (const ExprRef& bound : {s->begin, s->extent}) add(bound, variables_[s->name]);
      const bool then = meets(s->body), inside = meets(s->otherwise) || then;
      if (inside && s->kind == StmtKind::kIf) add(s->value, deciding_);
      if (inside && s->kind == StmtKind::kFor)
        deciding_.insert(variables_[s->name].begin(), variables_[s->name].end());
      any |= inside || s->kind == StmtKind::kBarrier;
    }
    return any;
  }
  std::map<std::string, Buffers> variables_;  // what they were computed from
  Buffers deciding_;
};

class WgslDialect : public Dialect {
 public:
  std::string prelude(const Function& function) const override {
    return str(function.subgroup_size ? "enable subgroups;\n" : "", kNotFinite);
  }
  std::string begin_kernel(const Function& function, int64_t threads) const override;
  std::string group_index() const override {
    return str("i32(group_at.x + group_at.y * ", kernel::kGroupsPerRow, "u)");
  }
  std::string thread_index() const override { return "i32(thread_at)"; }
  // Each orders one kind of memory (17.11).
  std::string barrier() const override { return "storageBarrier(); workgroupBarrier()"; }
  std::string declaration(const Type& type, const std::string& name,
                          const std::string& value) const override {
    return str("let ", name, ": ", this->type(type), " = ", value);
  }
  std::string register_array(const Buffer& buffer, const std::string& name) const override {
    return str("var ", array(buffer, name));
  }
  std::string shared_array(const Buffer& buffer, const std::string& name) const override {
    return str("var<workgroup> ", array(buffer, name));
  }
  bool shared_before_kernel() const override { return true; }
  std::string loop(const Type& type, const std::string& name, const std::string& begin,
                   const std::string& end) const override {
    return str("for (var ", name, ": ", this->type(type), " = ", begin, "; ", name, " < ", end, "; ", name,
               "++) {");
  }
  std::string type(const Type& type) const override;
  std::string int_constant(int64_t value, DType dtype) const override;
  std::string float_constant(double value) const override;
  std::string bitcast(const Type&, const Type& to, const std::string& value) const override {
    return str("bitcast<", type(to), ">(", value, ")");
  }
  std::string unpack_half(const std::string& word) const override {
    return str("unpack2x16float(", word, ")");
  }
  std::string pack_half(const std::string& pair) const override { return str("pack2x16float(", pair, ")"); }
  std::string binary(BinaryOp op, const char* spelled, const Type& type, const std::string& a,
                     const std::string& b) const override;
  std::string select(const Type&, const std::string& condition, const std::string& a,
                     const std::string& b) const override {
    return str("select(", b, ", ", a, ", ", condition, ")");
  }
  std::string min_max(BinaryOp op, const Type& type, const std::string& a,
                      const std::string& b) const override;
  std::string call(UnaryOp op, const Type& type, const std::string& a) const override;
  using Dialect::call;
  std::string dot4(bool unsigned_a, const std::string& a, const std::string& b,
                   const std::string& sum) const override;
  std::string subgroup(BinaryOp op, const Type&, const std::string& value) const override {
    return str("subgroup",
               op == BinaryOp::kAdd   ? "Add"
               : op == BinaryOp::kMin ? "Min"
                                      : "Max",
               "(", value, ")");
  }
  std::string subgroup_xor(const Type&, const std::string& value, int64_t mask) const override {
    return str("subgroupShuffleXor(", value, ", ", mask, "u)");
  }
  std::string subgroup_broadcast(const Type&, const std::string& value, int64_t lane) const override {
    return str("subgroupBroadcast(", value, ", ", lane, "u)");
  }

 private:
  std::string array(const Buffer& buffer, const std::string& name) const {
    return str(name, ": array<", type(buffer.element), ", ", buffer.size.constant(), ">");
  }
};

// What control flow rests on is read-only, which makes its loads uniform (15.2), and so is all of i32, which
// steps are told in one buffer. Other inputs may lie in one buffer with what the kernel writes, where WebGPU
// wants all of a dispatch's bindings writable.
std::string WgslDialect::begin_kernel(const Function& function, int64_t threads) const {
  std::string text, dims;
  size_t binding = 0;
  const Deciding deciding(function);
  for (const kernel::BufferRef& b : function.buffers) {
    const bool reads = !b->writable && (b->element.dtype == DType::kI32 || deciding.contains(*b));
    text += str("@group(0) @binding(", binding++, ") var<storage, ", reads ? "read" : "read_write", "> ",
                buffer_name(*b), ": array<", type(b->element), ">;\n");
  }
  for (const std::string& dim : function.dims) dims += str(dims.empty() ? "" : ", ", dim_name(dim), ": i32");
  if (!dims.empty())
    text +=
        str("struct Dims { ", dims, " }\n@group(0) @binding(", binding, ") var<uniform> dims_at: Dims;\n");
  text += str("@compute @workgroup_size(", threads, ")\nfn ", function.name,
              "(@builtin(workgroup_id) group_at: vec3<u32>, @builtin(local_invocation_index) thread_at: u32) "
              "{\n");
  for (const std::string& dim : function.dims)
    text += str("  let ", dim_name(dim), ": i32 = dims_at.", dim_name(dim), ";\n");
  return text;
}

std::string WgslDialect::type(const Type& type) const {
  const std::string scalar = type.dtype == DType::kBool ? "bool" : std::string(short_name(type.dtype));
  return type.lanes == 1 ? scalar : str("vec", type.lanes, "<", scalar, ">");
}

std::string WgslDialect::int_constant(int64_t value, DType dtype) const {
  if (dtype != DType::kI32) return Dialect::int_constant(value, dtype);
  if (value == INT32_MIN) return "(-2147483647i - 1i)";
  return value < 0 ? str("(", value, "i)") : str(value, "i");
}

std::string WgslDialect::float_constant(double value) const {
  if (std::isfinite(value)) return Dialect::float_constant(value);
  return std::isnan(value) ? "bitcast<f32>(mlc_nan)"
                           : str(value > 0 ? "" : "(-", "bitcast<f32>(mlc_infinity)", value > 0 ? "" : ")");
}

// Shifts count in u32 (8.9); bools have no ^ (8.5).
std::string WgslDialect::binary(BinaryOp op, const char* spelled, const Type& type, const std::string& a,
                                const std::string& b) const {
  const bool shift = op == BinaryOp::kShl || op == BinaryOp::kShr;
  if (shift && type.dtype != DType::kU32)
    return str("(", a, " ", spelled, " ", this->type(type.with_dtype(DType::kU32)), "(", b, "))");
  if (op == BinaryOp::kXor && type.dtype == DType::kBool) return compare("!=", type, a, b);
  return Dialect::binary(op, spelled, type, a, b);
}

// Of floats `min` may give either operand where one is NaN (17.5.41); the other one is wanted.
std::string WgslDialect::min_max(BinaryOp op, const Type&, const std::string& a, const std::string& b) const {
  return str(op == BinaryOp::kMin ? "min" : "max", "(", a, ", ", b, ")");
}

std::string WgslDialect::call(UnaryOp op, const Type&, const std::string& a) const {
  using enum UnaryOp;
  static const std::map<UnaryOp, const char*> kNames = {
      {kAbs, "abs"}, {kSqrt, "sqrt"}, {kFloor, "floor"}, {kRoundEven, "round"}};
  auto name = kNames.find(op);
  internal_check(name != kNames.end(), "an operator is no function");
  return str(name->second, "(", a, ")");
}

// Packed integer dot products (17.5.16): both operands signed.
std::string WgslDialect::dot4(bool unsigned_a, const std::string& a, const std::string& b,
                              const std::string& sum) const {
  internal_check(!unsigned_a, "WGSL has no dot product of unsigned and signed bytes");
  return str("(", sum, " + dot4I8Packed(", a, ", ", b, "))");
}

std::string emit(const Function& function, const Target&) { return print_wgsl(function); }

}  // namespace

std::string print_wgsl(const Function& function) {
  if (function.buffers.size() > static_cast<size_t>(kWebGpuStorageBuffers))
    throw UserError(str("--device webgpu: kernel ", function.name, " binds ", function.buffers.size(),
                        " buffers, WebGPU grants ", kWebGpuStorageBuffers,
                        "; use another device, or a model whose attention keeps less"));
  return print_c(function, WgslDialect());
}

const Language& wgsl_language() {
  static const Language kWgsl = {"webgpu", GpuLanguage::kWgsl, emit, as_it_is};
  return kWgsl;
}

}  // namespace mlc::lang
