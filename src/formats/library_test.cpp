// Tests of plans and library trailers: round trips, and that no damage goes unnoticed.
#include "formats/library.h"

#include <gtest/gtest.h>

#include "formats/plan.h"

namespace mlc {
namespace {

Plan small_plan() {
  Plan plan;
  plan.kernels = {"matmul", "repack"};
  plan.weights.push_back(
      {"w", {"w.q_weight", "w.q_scale"}, {"uint32", "float16"}, {{8, 4}, {8, 1}}, 160, 1, 2});
  plan.weights.push_back(plan.weights[0]);  // a piece: the last rows of each half
  plan.weights[1].rows = {{2, 2}, {6, 2}};
  plan.states.push_back({.name = "kv",
                         .layers = 2,
                         .page_size = 16,
                         .parts = {{"key", 3, 64, DType::kF16}, {"value", 3, 64, DType::kF16}}});
  Dim rows = Dim::symbol("rows");
  ExprId zero = plan.add_expression(0), n = plan.add_expression(rows),
         tiles = plan.add_expression(ceildiv(rows, 4));
  PlanFunction f;
  f.name = "decode";
  f.arguments = {{"x", DType::kF32, {n, tiles}}};
  f.results = {{"y", DType::kF32, {n}}};
  PlanCall call{.kernel = 0, .dims = {n}, .tiles = tiles, .scratch_bytes = 64};
  call.buffers = {{PlanBuffer::Space::kArgument, 0, zero, tiles}, {PlanBuffer::Space::kWeight, 0, zero, n}};
  f.bodies = {{{{0, 2, 16}, {plan.add_symbol("wanted"), 1, 1}}, zero, {call}}, {{}, zero, {call}}};
  plan.functions = {f};
  return plan;
}

TEST(Plans, RoundTrip) {
  std::string bytes = encode_plan(small_plan());
  Plan plan = decode_plan(bytes, "x.so").value();
  EXPECT_EQ(encode_plan(plan), bytes);
  EXPECT_EQ(plan.expressions[2].text(), "ceildiv(rows, 4)");
  EXPECT_NE(plan_text(plan).find("matmul(x+0, w+0)"), std::string::npos);
  const std::vector<PlanGuard>& guards = plan.functions[0].bodies[0].guards;
  ASSERT_EQ(guards.size(), 2u);
  EXPECT_EQ(plan.symbols[guards[1].symbol], "wanted");
  EXPECT_TRUE(guards[0].holds(2) && guards[0].holds(16) && !guards[0].holds(1) && !guards[0].holds(17));
}

TEST(Plans, PiecesAndBindingsAreKept) {
  Plan plan = decode_plan(encode_plan(small_plan()), "x.so").value();
  EXPECT_TRUE(plan.weights[0].rows.empty());
  ASSERT_EQ(plan.weights[1].rows.size(), 2u);
  EXPECT_EQ(plan.weights[1].rows[1].first, 6);
  EXPECT_EQ(plan.functions[0].bodies[0].calls[0].buffers[0].bytes, 2u);
  EXPECT_EQ(plan.functions[0].bodies[0].calls[0].buffers[1].bytes, 1u);
}

TEST(Plans, ScratchMemoryOfPreprocsIsKept) {
  Plan plan = small_plan();
  plan.weights[1].preproc_scratch_bytes = 640;
  const std::string bytes = encode_plan(plan);
  EXPECT_EQ(decode_plan(bytes, "x.so")->weights[0].preproc_scratch_bytes, 0);
  EXPECT_EQ(decode_plan(bytes, "x.so")->weights[1].preproc_scratch_bytes, 640);
  plan.weights[1].preproc_scratch_bytes = int64_t{1} << 40;
  EXPECT_FALSE(decode_plan(encode_plan(plan), "x.so").is_ok());
}

TEST(Plans, APieceOutsideOfItsSourceIsRefused) {
  for (PlanRows rows : {PlanRows{7, 2}, PlanRows{-1, 2}, PlanRows{0, 0}, PlanRows{INT64_MAX, INT64_MAX}}) {
    Plan plan = small_plan();
    plan.weights[1].rows = {rows};
    EXPECT_FALSE(decode_plan(encode_plan(plan), "x.so").is_ok()) << rows.first;
  }
}

TEST(Plans, OtherVersionsAreASentence) {
  for (const char* version : {"1", "3", "4", "6"}) {
    std::string bytes = encode_plan(small_plan());
    bytes.replace(7, 1, version);
    EXPECT_EQ(decode_plan(bytes, "x.so").status().message(),
              std::string("x.so: the library has plan format ") + version +
                  ", this mlc_llm reads format 5; compile the model again");
  }
}

TEST(Plans, TheLastBodyServesEverything) {
  Plan plan = small_plan();
  plan.functions[0].bodies.pop_back();
  EXPECT_FALSE(decode_plan(encode_plan(plan), "x.so").is_ok());
}

TEST(Plans, EveryTruncationAndEveryFlippedBitIsRefusedOrDecodes) {
  std::string bytes = encode_plan(small_plan());
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_plan(bytes.substr(0, n), "x.so").is_ok()) << n;
  for (size_t i = 0; i < bytes.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      auto plan = decode_plan(damaged, "x.so");
      if (plan.is_ok()) plan_text(*plan);  // must be safe to walk
    }
}

TEST(Libraries, DamageIsASentence) {
  std::string sealed = seal_library("object bytes", R"({"model_type": "llama"})");
  EXPECT_EQ(check_library_bytes(sealed, "x.so").value()["model_type"], "llama");
  for (size_t i = 0; i < sealed.size(); ++i) {
    if (i >= sealed.size() - 20 && i < sealed.size() - 8) continue;  // reserved fields are not read
    std::string damaged = sealed;
    damaged[i] ^= 1;
    EXPECT_FALSE(check_library_bytes(damaged, "x.so").is_ok()) << i;
  }
  EXPECT_FALSE(check_library_bytes(sealed.substr(0, sealed.size() - 1), "x.so").is_ok());
  EXPECT_FALSE(check_library_bytes("", "x.so").is_ok());
}

TEST(GpuKernels, BlobsReadBack) {
  for (const char* name : {"k", "k0_silu", "k12_rms_norm"}) {
    std::string blob =
        gpu_kernel_blob({.language = 2, .group_size = 64, .buffer_count = 3, .dim_count = 1, .written = 4},
                        name, std::string_view("\3\2\0\7", 4));
    EXPECT_EQ(blob.size() % 8, 5u);
    GpuKernelView view = read_gpu_kernel(blob.data(), GpuLanguage::kSpirv).value();
    EXPECT_EQ(view.name, name);
    EXPECT_EQ(view.code, std::string_view("\3\2\0\7", 4));
    EXPECT_EQ((view.code.data() - blob.data()) % 8, 0);
    EXPECT_EQ(view.header.written, 4u);
    EXPECT_FALSE(read_gpu_kernel(blob.data(), GpuLanguage::kOpenClC).is_ok());
  }
  std::string damaged = gpu_kernel_blob({.language = 1, .group_size = 0}, "k", "text");
  EXPECT_FALSE(read_gpu_kernel(damaged.data(), GpuLanguage::kOpenClC).is_ok());
}

}  // namespace
}  // namespace mlc
