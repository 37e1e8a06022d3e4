// Facts of the generated code: the instruction a node must become, spills, frames, order; for x86-64 and
// aarch64.
#include <gtest/gtest.h>

#include <regex>

#include "base/target/wasm.h"
#include "base/threads.h"
#include "emit/microkernel.h"
#include "lang/llvm/emit.h"

namespace mlc::lang {
namespace {

using kernel::Function;

Target target_named(const std::string& name) {
  for (const auto& list : {x86_64_targets(), aarch64_targets(), wasm_targets()})
    for (const Target& t : list)
      if (t.name == name) return t;
  internal_error("no target " + name);
}

ObjectCode compile(const Function& f, const std::string& target) {
  return emit_object(f, target_named(target), {.keep_text = true});
}

int count(const std::string& text, const std::string& pattern) {
  std::regex regex(pattern);
  return static_cast<int>(
      std::distance(std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()));
}

// Moves of vector registers to or from the stack.
int vector_spills(const std::string& assembly) {
  return count(assembly, "(16|32|64)-byte (Folded )?(Spill|Reload)");
}

TEST(GeneratedCode, Int16TileKeepsItsRegisters) {
  ObjectCode code = compile(kernel::int16_tile(6), "x86_64-avx2");
  EXPECT_EQ(count(code.assembly, "vpmaddubsw"), 96);
  EXPECT_EQ(count(code.assembly, "vpaddw"), 84);  // 12 accumulators start with a product: 96 - 12
  EXPECT_EQ(count(code.assembly, "vpmaddwd"), 12);
  EXPECT_EQ(count(code.assembly, "vfmadd"), 12);
  EXPECT_EQ(count(code.assembly, "vcvtdq2ps"), 12);
  EXPECT_LE(count(code.assembly, "vpbroadcastd|vbroadcastss"), 48);
  EXPECT_EQ(vector_spills(code.assembly), 0) << code.assembly;
  EXPECT_EQ(vector_spills(compile(kernel::int16_tile(5), "x86_64-avx2").assembly), 0);
}

TEST(GeneratedCode, ChainsOfAddsStayLinear) {
  std::string assembly = compile(kernel::int16_tile(6), "x86_64-avx2").assembly;
  // The first sum comes after the 12 first products and one more, not after all 96.
  std::string before = assembly.substr(0, assembly.find("vpaddw"));
  EXPECT_LE(count(before, "vpmaddubsw"), 14);
}

TEST(GeneratedCode, DotsBecomeOneInstruction) {
  struct Row {
    Function function;
    const char *target, *instruction;
  };
  const Row rows[] = {
      {kernel::dot4_rows(16, false), "x86_64-avx512vnni", "vpdpbusd.*%zmm"},
      {kernel::dot4_rows(8, false), "x86_64-avx512vnni", "vpdpbusd.*%ymm"},
      {kernel::dot4_rows(4, false), "x86_64-avx512vnni", "vpdpbusd.*%xmm"},
      {kernel::dot4_rows(8, false), "x86_64-avxvnni", "\\{vex\\}\\s+vpdpbusd.*%ymm"},
      {kernel::dot4_rows(4, true), "aarch64-dotprod", "sdot\tv[0-9]+\\.4s"},
      {kernel::dot4_rows(4, false), "aarch64-i8mm", "usdot\tv[0-9]+\\.4s"},
      {kernel::dot2_rows(32, true), "x86_64-avx512", "vpmaddubsw.*%zmm"},
      {kernel::dot2_rows(16, true), "x86_64-avx2", "vpmaddubsw.*%ymm"},
      {kernel::dot2_rows(4, false), "x86_64-generic", "pmaddwd.*%xmm"},
      {kernel::dot2_rows(8, false), "x86_64-avx2", "vpmaddwd.*%ymm"},
      {kernel::dot2_rows(16, false), "x86_64-avx512", "vpmaddwd.*%zmm"},
      {kernel::dot2_rows(4, false), "wasm32-simd128", "i32x4.dot_i16x8_s"},
  };
  for (const Row& row : rows) {
    std::string assembly = compile(row.function, row.target).assembly;
    EXPECT_EQ(count(assembly, row.instruction), 1) << row.target << "\n" << assembly;
  }
}

TEST(GeneratedCodeDeathTest, MissingDotIsOurError) {
  EXPECT_DEATH(compile(kernel::dot4_rows(4, true), "x86_64-avx2"), "has no dot product i8x16 -> i32x4");
}

TEST(GeneratedCode, TargetWithoutCodeGeneratorIsTheUsersError) {
  Target target = target_named("x86_64-avx2");
  target.triple = "vax-dec-bsd";
  EXPECT_ANY_THROW(emit_object(kernel::dot2_rows(8, false), target, {}));
}

TEST(GeneratedCodeDeathTest, LargeFrameIsOurError) {
  kernel::KernelBuilder k("large");
  kernel::BufferRef y = k.output("y", DType::kF32, 2048);
  k.grid("tile", 1, [&](kernel::ExprRef) {
    kernel::BufferRef r = k.registers("r", {DType::kF32, 1}, 2048);
    for (int pass = 0; pass < 2; ++pass)
      k.loop("i", 0, 2048, kernel::LoopKind::kSerial, [&](kernel::ExprRef i) {
        if (pass == 0)
          k.store(r, i, k.load(y, i));
        else
          k.store(y, kernel::int_const(2047) - i, k.load(r, i));
      });
  });
  Function f = k.finish();
  EXPECT_DEATH(compile(f, "x86_64-avx2"), "kernel large has a stack frame of");
}

TEST(GeneratedCode, AccumulatorsInMemoryStayThere) {
  // 12 accumulators are loaded (as fma operands) and stored in each group: none is kept in a register over
  // the loop.
  std::string assembly = compile(kernel::int16_tile(6), "x86_64-avx2").assembly;
  size_t loop = assembly.find("Loop Header");
  ASSERT_NE(loop, std::string::npos);
  EXPECT_EQ(count(assembly.substr(loop), "vmovups\t%ymm[0-9]+, [0-9]*\\(%r"), 12) << assembly;
}

// Sums tiles of 9 x 4 vectors. Without hoisting, the address in the inner loop is a sum of two registers.
TEST(GeneratedCode, IndexArithmeticLeavesLoops) {
  using kernel::int_const;
  kernel::KernelBuilder k("tiled");
  Dim rows = Dim::symbol("rows");
  kernel::Type f32x8{DType::kF32, 8};
  kernel::BufferRef w = k.input("w", DType::kF32, rows * 72), y = k.output("y", DType::kF32, rows);
  k.grid("row", rows, [&](kernel::ExprRef row) {
    kernel::BufferRef sum = k.registers("sum", f32x8, 1);
    k.store(sum, int_const(0), kernel::float_const(0, f32x8));
    k.loop("g", 0, 9, kernel::LoopKind::kSerial, [&](kernel::ExprRef g) {
      k.loop("i", 0, 4, kernel::LoopKind::kSerial, [&](kernel::ExprRef i) {
        kernel::ExprRef tile = kernel::binary(kernel::BinaryOp::kFloorDiv, row * int_const(8), int_const(8));
        kernel::ExprRef at = (tile * int_const(9) + g) * int_const(64) + i * int_const(8);
        k.store(sum, int_const(0), k.load(sum, int_const(0)) + k.load(w, at, 8));
      });
    });
    k.store(y, row, kernel::reduce(kernel::BinaryOp::kAdd, k.load(sum, int_const(0))));
  });
  std::string assembly = compile(k.finish(), "x86_64-avx2").assembly;
  size_t inner = assembly.find("Inner Loop Header");
  ASSERT_NE(inner, std::string::npos);
  std::string loop = assembly.substr(inner, assembly.find("i_3.end", inner) - inner);
  EXPECT_EQ(count(loop, "vaddps\t\\(%r[0-9a-z]+\\), "), 1) << assembly;
  EXPECT_EQ(vector_spills(assembly), 0);
}

TEST(GeneratedCode, EqualInputsGiveEqualBytes) {
  for (const char* target : {"x86_64-avx512vnni", "aarch64-i8mm"})
    EXPECT_EQ(compile(kernel::dot4_rows(4, false), target).object,
              compile(kernel::dot4_rows(4, false), target).object);
}

TEST(GeneratedCode, KernelsCompileTogether) {
  const Function kernel = kernel::dot2_rows(4, false);
  const std::vector<Target> targets = x86_64_targets();
  auto emit = [&](const Target& target) {
    return emit_object(kernel, target, {.symbol_prefix = target.name + "."}).object;
  };
  std::vector<std::string> objects(targets.size());
  parallel_for(4, static_cast<int64_t>(targets.size()),
               [&](int64_t i) { objects[static_cast<size_t>(i)] = emit(targets[static_cast<size_t>(i)]); });
  for (size_t i = 0; i < targets.size(); ++i) {
    EXPECT_NE(objects[i].find(targets[i].name + ".dot2_rows"), std::string::npos);
    EXPECT_EQ(objects[i], emit(targets[i]));
  }
}

}  // namespace
}  // namespace mlc::lang
