// Names of element types.
#include "base/dtype.h"

namespace mlc {
namespace {

struct Names {
  DType type;
  std::string_view long_name, short_name;
};

constexpr Names kNames[] = {
    {DType::kBool, "bool", "bool"},
    {DType::kI8, "int8", "i8"},
    {DType::kI16, "int16", "i16"},
    {DType::kI32, "int32", "i32"},
    {DType::kI64, "int64", "i64"},
    {DType::kU8, "uint8", "u8"},
    {DType::kU16, "uint16", "u16"},
    {DType::kU32, "uint32", "u32"},
    {DType::kU64, "uint64", "u64"},
    {DType::kF16, "float16", "f16"},
    {DType::kBF16, "bfloat16", "bf16"},
    {DType::kF32, "float32", "f32"},
    {DType::kF64, "float64", "f64"},
    {DType::kF8E4M3, "float8_e4m3fn", "f8e4m3"},
    {DType::kF8E5M2, "float8_e5m2", "f8e5m2"},
};

}  // namespace

std::string_view long_name(DType t) { return kNames[static_cast<int>(t)].long_name; }
std::string_view short_name(DType t) { return kNames[static_cast<int>(t)].short_name; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (const Names& n : kNames)
    if (name == n.long_name || name == n.short_name) return n.type;
  return std::nullopt;
}

}  // namespace mlc
