// The table of quantization schemes.
#include "formats/quant/scheme.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc {
namespace {

QuantScheme unquantized(std::string name, DType dtype) {
  return {std::move(name), dtype, false, WeightFormat::plain(dtype), false, false};
}

QuantScheme grouped(std::string name, int bits, DType dtype, bool transposed,
                    bool embedding_and_final = true) {
  return {
      std::move(name),    dtype, true, WeightFormat::grouped(bits, dtype, transposed), embedding_and_final,
      embedding_and_final};
}

// Under its own name, or where a scheme of today has that name, under one that ends in the year.
QuantScheme of_2023(std::string name, int bits, bool transposed) {
  return {std::move(name), DType::kF16, true, WeightFormat::grouped_2023(bits, transposed), true, true};
}

QuantScheme float8(std::string name, DType dtype, const WeightFormat& format) {
  return {std::move(name), dtype, true, format, false, false};
}

}  // namespace

WeightFormat QuantScheme::format_of(WeightRole role, bool quantizable) const {
  bool wanted = role == WeightRole::kLinear || (role == WeightRole::kEmbedding && embedding) ||
                (role == WeightRole::kFinalLinear && final_linear);
  if (!quantized || !quantizable || !wanted) return WeightFormat::plain(model_dtype);
  WeightFormat format = linear;
  if (role == WeightRole::kEmbedding) format.transposed = false;
  return format;
}

const std::vector<QuantScheme>& quant_schemes() {
  using Code = WeightFormat::Code;
  static const std::vector<QuantScheme> schemes = {
      float8("e4m3_e4m3_f16", DType::kF16, WeightFormat::float8(Code::kE4M3, true)),
      float8("e4m3_e4m3_f16_max_calibrate", DType::kF16, WeightFormat::float8(Code::kE4M3)),
      float8("e5m2_e5m2_f16", DType::kF16, WeightFormat::float8(Code::kE5M2)),
      float8("fp8_e4m3fn_bf16_block_scale", DType::kBF16, WeightFormat::float8_blocks()),
      unquantized("q0bf16", DType::kBF16),
      unquantized("q0f16", DType::kF16),
      unquantized("q0f32", DType::kF32),
      grouped("q3f16_0", 3, DType::kF16, true),
      of_2023("q3f16_0_2023", 3, true),
      grouped("q3f16_1", 3, DType::kF16, false),
      of_2023("q3f16_1_2023", 3, false),
      grouped("q4bf16_0", 4, DType::kBF16, true),
      grouped("q4bf16_1", 4, DType::kBF16, false),
      grouped("q4f16_0", 4, DType::kF16, true),
      of_2023("q4f16_0_2023", 4, true),
      grouped("q4f16_1", 4, DType::kF16, false),
      of_2023("q4f16_1_2023", 4, false),
      grouped("q4f16_2", 4, DType::kF16, false, false),
      {"q4f16_autoawq", DType::kF16, true, WeightFormat::awq(), false, false},
      {"q4f16_autoawq_g32", DType::kF16, true, WeightFormat::awq(32), false, false},
      {"q4f16_autoawq_g64", DType::kF16, true, WeightFormat::awq(64), false, false},
      {"q4f32_0", DType::kF32, true, WeightFormat::paired(true), true, true},
      grouped("q4f32_1", 4, DType::kF32, false),
      {"q4f32_1_2023", DType::kF32, true, WeightFormat::paired(false), true, true},
      of_2023("q8f16_1", 8, false),
  };
  return schemes;
}

Result<QuantScheme> find_quant_scheme(const std::string& name) {
  if (name == "q4f16_awq") return find_quant_scheme("q4f16_autoawq");
  std::vector<std::string> names;
  for (const QuantScheme& s : quant_schemes()) {
    if (s.name == name) return s;
    names.push_back(s.name);
  }
  // "q4f16" means the layout that most models are published in.
  std::string usual = name + "_1";
  bool exists = std::find(names.begin(), names.end(), usual) != names.end();
  return Status::error(str("--quantization: unknown quantization '", name, "', expected one of ",
                           join(names, ", "), did_you_mean(exists ? usual : name, names)));
}

}  // namespace mlc
