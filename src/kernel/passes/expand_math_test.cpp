// The math expansions against libm in f64, over every exponent and sign.
#include "kernel/passes/expand_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernel/builder.h"
#include "kernel/interpret.h"
#include "kernel/verify.h"

namespace mlc::kernel {
namespace {

// Bits as an integer that counts floats in order.
int64_t ordinal(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits < 0 ? int64_t{INT32_MIN} - bits : bits;
}

struct MathCase {
  const char* name;
  MathFn fn;
  double (*exact)(double);
  int64_t ulp;
};

class Math : public ::testing::TestWithParam<MathCase> {};

double exact_rsqrt(double x) { return 1 / std::sqrt(x); }
double exact_reciprocal(double x) { return 1 / x; }

TEST_P(Math, StaysWithinItsBound) {
  constexpr int kCount = 1 << 16;
  KernelBuilder k("math");
  BufferRef x = k.input("x", DType::kF32, kCount), y = k.output("y", DType::kF32, kCount);
  k.grid("i", kCount / 16,
         [&](ExprRef i) { k.store(y, i * 16, call(GetParam().fn, k.load(x, i * 16, 16))); });
  Function f = expand_math(k.finish());
  ASSERT_EQ(verify(f), "");
  std::vector<float> in(kCount), out(kCount);
  for (int i = 0; i < kCount; ++i) {  // every exponent and sign, mantissas spread by a multiplicative hash
    uint32_t bits = static_cast<uint32_t>(i) << 16 | (static_cast<uint32_t>(i) * 40503u & 0xFFFFu);
    std::memcpy(&in[static_cast<size_t>(i)], &bits, 4);
  }
  for (int i = 0; i < 2048; ++i) in[static_cast<size_t>(i)] = float(i - 1024) / 97.0f;  // where it matters
  std::vector<HostBuffer> buffers = {{in.data(), kCount * 4}, {out.data(), kCount * 4}};
  interpret(f, buffers, {});
  for (size_t i = 0; i < in.size(); ++i) {
    auto expected = static_cast<float>(GetParam().exact(static_cast<double>(in[i])));
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(out[i])) << in[i] << " gave " << out[i];
    else
      ASSERT_LE(std::abs(ordinal(expected) - ordinal(out[i])), GetParam().ulp)
          << in[i] << " gave " << out[i] << ", exact " << expected;
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, Math,
                         ::testing::Values(MathCase{"exp", MathFn::kExp, std::exp, 2},
                                           MathCase{"tanh", MathFn::kTanh, std::tanh, 3},
                                           MathCase{"erf", MathFn::kErf, std::erf, 3},
                                           MathCase{"log", MathFn::kLog, std::log, 2},
                                           MathCase{"rsqrt", MathFn::kRsqrt, exact_rsqrt, 2},
                                           MathCase{"reciprocal", MathFn::kReciprocal, exact_reciprocal, 0}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace mlc::kernel
