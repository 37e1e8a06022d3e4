// What most languages of the C family spell alike.
#include "lang/c/dialect.h"

#include <cmath>
#include <cstdio>
#include <map>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::lang {

using kernel::BinaryOp;
using kernel::Buffer;
using kernel::MathFn;
using kernel::Type;
using kernel::UnaryOp;

std::string variable_name(const std::string& name) { return name + "_"; }
std::string buffer_name(const Buffer& buffer) { return buffer.name + "_"; }
std::string dim_name(const std::string& dim) { return dim + "_"; }

std::string Dialect::declaration(const Type& type, const std::string& name, const std::string& value) const {
  return str("const ", this->type(type), " ", name, " = ", value);
}

std::string Dialect::register_array(const Buffer& buffer, const std::string& name) const {
  return str(type(buffer.element), " ", name, "[", buffer.size.constant(), "]");
}

std::string Dialect::loop(const Type& type, const std::string& name, const std::string& begin,
                          const std::string& end) const {
  return str("for (", this->type(type), " ", name, " = ", begin, "; ", name, " < ", end, "; ++", name, ") {");
}

std::string Dialect::fragment_array(const Buffer& buffer, const std::string&) const {
  internal_error(str("fragments ", buffer.name, " in a language without matrices"));
}

std::string Dialect::matrix(const kernel::Stmt& s, const std::string&) const {
  internal_error(str("a matrix statement on ", s.buffer->name, " in a language without matrices"));
}

std::string Dialect::type(const Type& type) const {
  static const std::map<DType, const char*> kNames = {
      {DType::kBool, "bool"}, {DType::kI32, "int"}, {DType::kU32, "uint"}, {DType::kF32, "float"}};
  auto name = kNames.find(type.dtype);
  internal_check(name != kNames.end(), "no device function has values of ", short_name(type.dtype));
  return type.lanes == 1 ? name->second : str(name->second, type.lanes);
}

std::string Dialect::int_constant(int64_t value, DType dtype) const {
  if (dtype == DType::kBool) return value ? "true" : "false";
  if (dtype == DType::kU32) return str(static_cast<uint32_t>(value), "u");
  if (value == INT32_MIN) return "(-2147483647 - 1)";
  return value < 0 ? str("(", value, ")") : str(value);
}

std::string Dialect::float_constant(double value) const {
  if (std::isnan(value)) return "NAN";
  if (std::isinf(value)) return value > 0 ? "INFINITY" : "(-INFINITY)";
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(static_cast<float>(value)));
  std::string number = text;
  if (number.find_first_of(".e") == std::string::npos) number += ".0";
  number += "f";
  return number[0] == '-' ? "(" + number + ")" : number;
}

std::string Dialect::vector(const Type& type, const std::vector<std::string>& lanes) const {
  return str(this->type(type), "(", join(lanes, ", "), ")");
}

std::string Dialect::broadcast(const Type& type, const std::string& scalar) const {
  return vector(type, {scalar});
}

std::string Dialect::lane(const Type& type, const std::string& value, int lane) const {
  return swizzle(type, value, {lane});
}

std::string Dialect::swizzle(const Type&, const std::string& value, const std::vector<int>& lanes) const {
  std::string text = value + ".";
  for (int lane : lanes) text += "xyzw"[lane];
  return text;
}

std::string Dialect::cast(const Type&, const Type& to, const std::string& value) const {
  return str(type(to), "(", value, ")");
}

std::string Dialect::element(const Buffer&, const std::string& name, const std::string& index) const {
  return str(name, "[", index, "]");
}

std::string Dialect::binary(BinaryOp, const char* spelled, const Type&, const std::string& a,
                            const std::string& b) const {
  return str("(", a, " ", spelled, " ", b, ")");
}

std::string Dialect::compare(const char* op, const Type&, const std::string& a, const std::string& b) const {
  return str("(", a, " ", op, " ", b, ")");
}

std::string Dialect::select(const Type& type, const std::string& condition, const std::string& a,
                            const std::string& b) const {
  if (type.lanes == 1) return str("(", condition, " ? ", a, " : ", b, ")");
  return str("select(", b, ", ", a, ", ", condition, ")");
}

std::string Dialect::min_max(BinaryOp op, const Type& type, const std::string& a,
                             const std::string& b) const {
  return str(type.dtype == DType::kF32 ? "f" : "", op == BinaryOp::kMin ? "min" : "max", "(", a, ", ", b,
             ")");
}

std::string Dialect::call(UnaryOp op, const Type& type, const std::string& a) const {
  if (op == UnaryOp::kAbs && type.dtype != DType::kF32) return str("abs(", a, ")");
  using enum UnaryOp;
  static const std::map<UnaryOp, const char*> kNames = {
      {kAbs, "fabs"}, {kSqrt, "sqrt"}, {kFloor, "floor"}, {kRoundEven, "rint"}};
  auto name = kNames.find(op);
  internal_check(name != kNames.end(), "an operator is no function");
  return str(name->second, "(", a, ")");
}

std::string Dialect::call(MathFn function, const std::string& a) const {
  if (function == MathFn::kReciprocal) return str("(1.0f / ", a, ")");
  using enum MathFn;
  static const std::map<MathFn, const char*> kNames = {
      {kExp, "exp"}, {kTanh, "tanh"}, {kErf, "erf"}, {kLog, "log"}, {kRsqrt, "rsqrt"}};
  return str(kNames.at(function), "(", a, ")");
}

std::string Dialect::dot4(bool, const std::string&, const std::string&, const std::string&) const {
  internal_error("a dot product of bytes in a language without it");
}

}  // namespace mlc::lang
