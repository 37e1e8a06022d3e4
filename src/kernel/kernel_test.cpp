// The kernel room on its own: text, verifier, interpreter.
#include <gtest/gtest.h>

#include <cstring>

#include "base/half.h"
#include "base/user_error.h"
#include "kernel/builder.h"
#include "kernel/interpret.h"
#include "kernel/parse.h"
#include "kernel/passes/legalize.h"
#include "kernel/pipeline.h"
#include "kernel/print.h"
#include "kernel/verify.h"

namespace mlc::kernel {
namespace {

// A CPU's matrices: z [4, 4] += x [4, 2] by y [2, 4] of bf16, twice; y lies in pairs of rows, sums in scratch
// memory.
const char kMatrix[] =
    R"(kernel @matrix(%x: bf16[24], %y: bf16[8], %z: out f32[16]) dims() tiles(1) scratch(64) {
  grid %g = 0, 1 {
    shared %s: f32[16]
    fragments %a: a bf16 4 by 2[1]
    fragments %b: b bf16 2 by 4[1]
    fragments %c: sum f32 4 by 4[2]
    matrix clear %c[1]
    matrix load %a[0] from %x[%g] rows 6
    matrix load %b[0] from %y[0] pairs 8
    serial %i = 0, 2 {
      matrix add %c[1] %a[0] by %b[0]
    }
    matrix store %c[1] to %s[0] rows 4
    serial %i2 = 0, 16 {
      %z[%i2] = %s[%i2]
    }
  }
}
)";

TEST(Matrices, OfACpuAreValidAndMultiply) {
  Function f = parse(kMatrix);
  EXPECT_EQ(print(f), kMatrix);
  EXPECT_EQ(verify(f), "");
  std::vector<uint16_t> x, y;
  for (int i = 0; i < 24; ++i) x.push_back(f32_to_bf16(float(i)));
  for (int i = 0; i < 8; ++i) y.push_back(f32_to_bf16(float(10 * i)));
  std::vector<float> z(16);
  std::vector<HostBuffer> buffers = {{x.data(), 48}, {y.data(), 16}, {z.data(), 64}};
  interpret(f, buffers, {});
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 4; ++column)  // y(k, column) is element 2 * column + k of the only line
      EXPECT_EQ(z[size_t(row * 4 + column)],
                float(2 * (6 * row * 20 * column + (6 * row + 1) * (20 * column + 10))))
          << row << ", " << column;
}

TEST(Matrices, OfACpuAreRefusedWhereTheyAreWrong) {
  const std::pair<const char*, const char*> kChanges[] = {
      {"fragments %a: a bf16", "fragments %a: a f16"},  // halves are for GPUs
      {"from %y[0] pairs 8", "from %z[0] pairs 8"},     // f32 memory
      {"from %x[%g] rows 6", "from %x[%g] pairs 6"},    // only b lies in pairs
      {"from %y[0] pairs 8", "from %y[0] pairs 7"},     // lines that overlap
      {"to %s[0] rows 4", "to %z[0] rows 4"}};          // sums go to scratch memory
  for (const auto& [from, to] : kChanges) {
    std::string text = kMatrix;
    size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    EXPECT_NE(verify(parse(text.replace(at, std::strlen(from), to))), "") << to;
  }
}

const char kEverything[] =
    R"(kernel @all(%x: f32[(rows * 64)], %w: u8[1024], %i: i32[rows], %y: out f32[(rows * 64)]) dims(rows) tiles(rows) scratch(64) in_place {
  grid %row = 0, $rows {
    registers %acc: f32x8[2]
    shared %s: f32[16]
    let %at = ((%row * 64) + (%row // 2))
    let %v = %x[%at]:f32x8
    let %m = (ramp(%row, 1):i64x8 < broadcast($rows):i64x8)
    let %u = %w[0]:u32x8
    let %b = bitcast((%u & 252645135:u32x8)):u8x32
    let %d = dot4(%b, bitcast(%b):i8x32, 0:i32x8)
    let %h = shuffle(%v, %v)[0, 9, 2, 11]
    unrolled %k = 0, 2 {
      %acc[%k] = fma(%v, inf:f32x8, -1.5:f32x8)
    }
    if (reduce_max(%v) >= 0:f32) {
      %y[%at, %m] = select(%m, exp(%acc[0]), neg(cast(%d):f32x8))
    } else {
      prefetch %x[(%at + 64)] 1
      barrier
    }
    serial %t = 0, min(%at, 3) {
      {
        scatter %y[ramp(0, 2):i64x4] = %h
        let %g = gather(%x, cast(%i[%row]:i32x4):i64x4)
      }
    }
  }
}
)";

TEST(Text, RoundTrips) {
  Function f = parse(kEverything);
  EXPECT_EQ(print(f), kEverything);
  EXPECT_EQ(verify(f), "");
}

TEST(Text, MistakesNameTheirLine) {
  auto message = [](std::string text) {
    try {
      parse(text);
    } catch (const UserError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message("kernel @f(%x: f32[4])\ndims() tiles(1) scratch(0) {\n  let %a = %b\n}"),
            "kernel text line 3: found '%b', expected a name that is defined");
  EXPECT_EQ(message("kernel @f(%x: f33[4])"), "kernel text line 1: found 'f33[4])', expected a type");
  EXPECT_EQ(message("kernel @f() dims() tiles(1) scratch(0) {} x"),
            "kernel text line 1: found 'x', expected the end");
}

std::string problem(const std::string& body) {
  return verify(
      parse("kernel @f(%x: f32[64], %y: out f32[64]) dims(rows) tiles(rows) scratch(0) {\n" + body + "\n}"));
}

TEST(Verify, SaysWhatIsWrong) {
  EXPECT_EQ(problem("grid %r = 0, 1 {\n let %a = %x[0]\n %y[0] = %a }"), "");
  EXPECT_EQ(problem("let %a = 1"), "there are 0 grid loops at the top, expected one");
  EXPECT_EQ(problem("grid %r = 0, 1 { %x[0] = 1:f32 }"), "a store to the input %x; in an access of %x[0]");
  EXPECT_EQ(problem("grid %r = 0, 1 { let %a = 1\n let %a = 2 }"),
            "name %a is defined twice; in the loop %r");
  EXPECT_EQ(problem("grid %r = 0, 1 { { let %a = 1 }\n let %b = %a }"),
            "%a is used where it is not defined; in let %b = %a");
  EXPECT_EQ(problem("grid %r = 0, 1 { let %a = (1 + 1:i32) }"),
            "operand types do not fit (1 + 1:i32): i64; in let %a = (1 + 1:i32)");
  EXPECT_EQ(problem("grid %r = 0, 1 { registers %a: f32[2]\n serial %i = 0, 2 { %a[%i] = 1:f32 } }"),
            "an index of the registers %a is not constant; in an access of %a[%i]");
  EXPECT_EQ(problem("grid %r = 0, $pages { }"), "dimension pages is not in dims(...); in the loop %r");
  EXPECT_EQ(problem("grid %r = 0, 1 { let %a = cast(%x[0]:f32x3):i32x3 }").substr(0, 22),
            "3 lanes are no power o");
}

TEST(Interpret, RunsTilesAndGuardsBounds) {
  Function f = parse(
      "kernel @f(%x: f32[(rows * 4)], %y: out f32[(rows * 4)]) dims(rows) tiles(rows) scratch(0) {\n"
      "grid %r = 0, $rows { %y[(%r * 4)] = (%x[(%r * 4)]:f32x4 * 2:f32x4) } }");
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8}, y(8);
  std::vector<HostBuffer> buffers = {{x.data(), 32}, {y.data(), 32}};
  std::vector<int64_t> dims = {2};
  Program program(f);
  EXPECT_EQ(program.tiles(dims), 2);
  program.run(buffers, dims, 1, 2);
  EXPECT_EQ(y, (std::vector<float>{0, 0, 0, 0, 10, 12, 14, 16}));
  Function past = parse(
      "kernel @past(%x: f32[8], %y: out f32[8]) dims() tiles(1) scratch(0) {\n"
      "grid %r = 0, 1 { %y[5] = %x[0]:f32x4 } }");
  EXPECT_DEATH(interpret(past, buffers, {}), "store of y at byte 20 of 32");
}

}  // namespace
}  // namespace mlc::kernel
