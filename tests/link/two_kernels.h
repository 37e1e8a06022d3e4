// A library of two kernels for the tests of containers: y = x - factor and y = x * factor + 0.5, with another
// factor in each variant.
#pragma once

#include <gtest/gtest.h>

#include "kernel/builder.h"
#include "support/native_kernels.h"

namespace mlc::link {

// y = x * factor + 0.5, and y = x - factor.
inline std::vector<kernel::Function> two_kernels(double factor) {
  std::vector<kernel::Function> functions;
  for (bool second : {false, true}) {
    kernel::KernelBuilder k(second ? "shift" : "scale");
    Dim n = Dim::symbol("n");
    kernel::BufferRef x = k.input("x", DType::kF32, n), y = k.output("y", DType::kF32, n);
    k.grid("i", n, [&](kernel::ExprRef i) {
      kernel::ExprRef v = k.load(x, i);
      k.store(y, i, second ? v - factor : v * factor + 0.5);
    });
    functions.push_back(k.finish());
  }
  return functions;
}

inline VariantCode make_variant(const Target& target, double factor) {
  std::string prefix = target.name + ".";
  std::vector<std::string> objects;
  for (const kernel::Function& kernel : two_kernels(factor))
    objects.push_back(lang::emit_object(kernel, target, {.symbol_prefix = prefix}).object);
  return {.header = "{\"name\": \"" + target.name + "\"}",
          .plan = std::string("plan\0of ", 8) + target.name,
          .objects = objects,
          .kernel_symbols = {prefix + "shift", prefix + "scale"}};
}

inline LinkInput make_input(const std::vector<Target>& targets) {
  LinkInput input{.triple = targets[0].triple, .soname = "model.so", .manifest = "{\"model_type\": \"toy\"}"};
  for (size_t i = 0; i < targets.size(); ++i)
    input.variants.push_back(make_variant(targets[i], 2.0 + static_cast<double>(i)));
  return input;
}

inline std::string link_or_fail(const LinkInput& input) {
  Result<std::string> library = link_library(input);
  EXPECT_TRUE(library.is_ok()) << library.status().message();
  return library.is_ok() ? *library : "";
}

// That a loaded library holds what was put in, and that the kernels of the variants that this machine can run
// compute.
inline void expect_kernels_compute(const MlcModelLibrary& library, const LinkInput& input) {
  ASSERT_EQ(library.variant_count, input.variants.size());
  const std::vector<Target> targets = host_architecture() == "x86_64" ? x86_64_targets() : aarch64_targets();
  for (size_t i = 0; i < input.variants.size(); ++i) {
    const MlcLibraryVariant& variant = library.variants[i];
    EXPECT_EQ(std::string(variant.header, variant.header_bytes), input.variants[i].header);
    EXPECT_EQ(std::string(variant.plan, variant.plan_bytes), input.variants[i].plan);
    ASSERT_EQ(variant.kernel_count, 2u);
    if (!missing_cpu_feature(targets[i].required).empty()) continue;
    float x = 10, y = 0;
    void* buffers[] = {&x, &y};
    int64_t n = 1;
    auto call = [&](int k) {
      reinterpret_cast<CpuKernel>(const_cast<void*>(variant.kernels[k]))(buffers, &n, 0, 1, nullptr);
    };
    float factor = 2.0f + static_cast<float>(i);
    call(0);
    EXPECT_EQ(y, 10 - factor);
    call(1);
    EXPECT_EQ(y, 10 * factor + 0.5f);
  }
}

}  // namespace mlc::link
