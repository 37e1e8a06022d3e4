// Thread-bound kernel IR: text, the rules of verify, and the interpreter's lockstep, subgroups and race
// finder.
#include <gtest/gtest.h>

#include <numeric>

#include "base/half.h"
#include "kernel/builder.h"
#include "kernel/interpret.h"
#include "kernel/parse.h"
#include "kernel/passes/narrow_indices.h"
#include "kernel/passes/unify_accesses.h"
#include "kernel/print.h"
#include "kernel/verify.h"

namespace mlc::kernel {
namespace {

// Sums 64 elements of a row with a shared tree between subgroups.
const char kRowSum[] =
    R"(kernel @row_sum(%x: f32[(rows * 64)], %y: out f32[rows]) dims(rows) tiles(rows) scratch(0) subgroups(4) {
  grid %row = 0, $rows {
    shared %part: f32[4]
    thread %t = 0, 16 {
      registers %acc: f32x4[1]
      let %v = %x[((%row * 64) + (%t * 4))]:f32x4
      %acc[0] = (%v * %v)
      let %one = ((%v + shuffle(%acc[0])[0, 1, 2, 3]) - (%v * %v))
      let %s = ((shuffle(%one)[0] + shuffle(%one)[1]) + (shuffle(%one)[2] + shuffle(%one)[3]))
      let %all = subgroup_add(%s)
      let %next = subgroup_xor(%all, 1)
      let %low = subgroup_broadcast(%next, 2)
      if ((%t % 4) == 0) {
        %part[(%t // 4)] = max(%all, %low)
      }
      barrier
      if (%t == 0) {
        serial %i = 1, 3 {
          %part[0] = (%part[0] + %part[%i])
        }
        %y[%row] = %part[0]
      }
    }
  }
}
)";

std::vector<float> run(const Function& f, std::vector<float> x, int64_t rows) {
  std::vector<float> y(static_cast<size_t>(rows));
  std::vector<HostBuffer> buffers = {{x.data(), int64_t(x.size() * 4)}, {y.data(), rows * 4}};
  interpret(f, buffers, std::vector<int64_t>{rows});
  return y;
}

TEST(Threads, TextRoundTripsAndIsValid) {
  Function f = parse(kRowSum);
  EXPECT_EQ(print(f), kRowSum);
  EXPECT_EQ(verify(f), "");
  EXPECT_EQ(thread_count(f), 16);
}

TEST(Threads, RunInLockstepWithSubgroups) {
  std::vector<float> x(128);
  std::iota(x.begin(), x.end(), 0.0f);
  for (bool narrow : {false, true}) {
    Function f = parse(kRowSum);
    if (narrow) f = unify_accesses(narrow_indices(f));
    EXPECT_EQ(verify(f), "");
    if (narrow) {
      EXPECT_EQ(verify_device(f), "");
      EXPECT_EQ(print(f).find("//"), std::string::npos) << "divisions by powers of two are shifts";
      EXPECT_EQ(print(parse(print(f))), print(f));
    }
    EXPECT_EQ(run(f, x, 2), (std::vector<float>{2016, 6112}));
  }
}

TEST(Threads, HalvesArePackedInWords) {
  const char text[] =
      R"(kernel @halves(%x: u32[4], %y: out u32[4]) dims() tiles(1) scratch(0) {
  grid %g = 0, 1 {
    thread %t = 0, 4 {
      let %v = unpack_half(%x[%t])
      %y[%t] = pack_half((%v * 2:f32x2))
    }
  }
}
)";
  Function f = parse(text);
  EXPECT_EQ(print(f), text);
  EXPECT_EQ(verify(f), "");
  std::vector<uint16_t> x, y(8);
  for (int i = 0; i < 8; ++i) x.push_back(f32_to_f16(float(i) - 3.5f));
  std::vector<HostBuffer> buffers = {{x.data(), 16}, {y.data(), 16}};
  interpret(f, buffers, {});
  for (int i = 0; i < 8; ++i) EXPECT_EQ(f16_to_f32(y[size_t(i)]), 2 * (float(i) - 3.5f));
}

// -3.5 .. 3.5 times 2, and 0.25 and 1 more in the low and the high half.
TEST(Threads, HalvesAreMultipliedInWords) {
  const char text[] =
      R"(kernel @halves(%x: u32[4], %y: out u32[4]) dims() tiles(1) scratch(0) {
  grid %g = 0, 1 {
    thread %t = 0, 4 {
      %y[%t] = half_fma(%x[%t], 1073758208:u32, 1006646272:u32)
    }
  }
}
)";
  Function f = parse(text);
  EXPECT_EQ(print(f), text);
  EXPECT_EQ(verify(f), "");
  std::vector<uint16_t> x, y(8);
  for (int i = 0; i < 8; ++i) x.push_back(f32_to_f16(float(i) - 3.5f));
  std::vector<HostBuffer> buffers = {{x.data(), 16}, {y.data(), 16}};
  interpret(f, buffers, {});
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(f16_to_f32(y[size_t(i)]), 2 * (float(i) - 3.5f) + (i % 2 ? 1.0f : 0.25f));
}

Function with_body(const std::string& body, const std::string& shared = "",
                   const std::string& head = " subgroups(4)") {
  return parse("kernel @k(%x: f32[16], %n: i32[16], %y: out f32[16]) dims(rows) tiles(1) scratch(0)" + head +
               " { grid %g = 0, 1 { " + shared + " thread %t = 0, 16 { " + body + " } } }");
}

TEST(Threads, BarriersStandInUniformFlow) {
  EXPECT_EQ(verify(with_body("serial %i = 0, cast(%n[%g]):i64 { barrier }")), "");
  EXPECT_EQ(verify(with_body("let %c = %x[0] if (%c < 1:f32) { barrier }")), "");
  EXPECT_NE(verify(with_body("let %c = %s[0] if (%c < 1:f32) { barrier }", "shared %s: f32[4]")), "");
  EXPECT_NE(verify(with_body("if (%t < 3) { barrier }")), "");
  EXPECT_NE(verify(with_body("serial %i = 0, %t { barrier }")), "");
  EXPECT_NE(verify(with_body("let %c = %y[0] if (%c < 1:f32) { barrier }")), "") << "an output may change";
  EXPECT_NE(verify(with_body("let %a = %x[%t] if (%a < 1:f32) { let %b = subgroup_add(%a) }")), "");
  EXPECT_NE(verify(with_body("let %a = %x[%t] let %b = subgroup_add(%a) if (%b < 1:f32) { barrier }")), "");
}

TEST(Threads, ShapeIsChecked) {
  EXPECT_NE(verify(with_body("shared %s: f32[4]")), "");
  EXPECT_NE(verify(with_body("thread %u = 0, 4 { barrier }")), "");
  EXPECT_NE(verify(with_body("let %a = (subgroup_add(%x[%t]) + 1:f32)")), "");
  EXPECT_NE(verify(with_body("let %a = subgroup_xor(%x[%t], 4)")), "");
  EXPECT_NE(verify(with_body("let %a = subgroup_add(%x[%t])", "", "")), "");
  EXPECT_NE(verify(with_body("barrier", "", " subgroups(3)")), "");
  EXPECT_NE(
      verify(parse(
          "kernel @k(%y: out f32[1]) dims() tiles(1) scratch(0) { let %a = 1 grid %g = 0, 1 { thread %t "
          "= 0, 16 { barrier } } }")),
      "");
}

TEST(Threads, DeviceFunctionsAreSmall) {
  auto problem = [](const std::string& body) {
    return verify_device(unify_accesses(narrow_indices(with_body(body))));
  };
  EXPECT_EQ(problem("let %a = %x[(%t * 4)]:f32x4 %y[%t] = shuffle(%a)[2]"), "");
  EXPECT_NE(problem("let %a = %x[%t]:f32x8"), "");
  EXPECT_NE(problem("let %a = reduce_add(%x[%t]:f32x4)"), "");
  EXPECT_NE(problem("let %a = cast(%x[%t]):f16"), "");
  EXPECT_NE(problem("%y[%t, (ramp(%t, 1):i64x2 < broadcast($rows):i64x2)] = %x[%t]:f32x2"), "");
  EXPECT_NE(verify_device(with_body("let %a = %t")), "") << "i64 is left";
  auto mixed = [](const std::string& body) { return verify_device(narrow_indices(with_body(body))); };
  EXPECT_NE(mixed("let %a = %x[(%t * 4)]:f32x4"), "") << "a vector of words";
  EXPECT_NE(mixed("%y[(%t * 2)] = shuffle(%x[%t], %x[%t])[0, 1]"), "");
}

void interpret_body(const std::string& body, const std::string& shared = "shared %s: f32[16]") {
  Function f = with_body(body, shared);
  ASSERT_EQ(verify(f), "");
  std::vector<float> x(16), y(16);
  std::vector<int32_t> n(16);
  std::vector<HostBuffer> buffers = {{x.data(), 64}, {n.data(), 64}, {y.data(), 64}};
  interpret(f, buffers, std::vector<int64_t>{1});
}

TEST(ThreadsDeathTest, RacesAreFound) {
  interpret_body("%s[%t] = %x[%t] barrier %y[%t] = %s[((%t + 1) % 16)]");
  EXPECT_DEATH(interpret_body("%s[%t] = %x[%t] %y[%t] = %s[((%t + 1) % 16)]"), "race on %s");
  EXPECT_DEATH(interpret_body("%s[%t] = %x[%t] barrier let %a = %s[((%t + 1) % 16)] %s[%t] = %a"),
               "race on %s");
  EXPECT_DEATH(interpret_body("%y[0] = %x[%t]"), "race on %y");
  interpret_body("%y[%t] = %x[%t] barrier let %a = %y[((%t + 3) % 16)] barrier %y[%t] = %a");
}

TEST(ThreadsDeathTest, UnalignedVectorsAreFound) {
  EXPECT_DEATH(interpret_body("let %a = %x[min(%t, 12)]:f32x4"), "not aligned");
}

TEST(ThreadsDeathTest, RacesBetweenGroupsAreFound) {
  const char text[] = R"(kernel @k(%y: out f32[16]) dims() tiles(2) scratch(0) {
  grid %g = 0, 2 { thread %t = 0, 8 { %y[(%t + (%g * 7))] = 1:f32 } }
})";
  std::vector<float> y(16);
  std::vector<HostBuffer> buffers = {{y.data(), 64}};
  EXPECT_DEATH(interpret(parse(text), buffers, {}), "race on %y at byte 28");
}

// Two subgroups of four lanes multiply x [4, 2] by y [2, 4] and add, four times over: halves in, f32 out.
const char kMatrix[] =
    R"(kernel @matrix(%x: u32[4], %y: u32[4], %z: out f32[32]) dims() tiles(1) scratch(0) subgroups(4) {
  grid %g = 0, 1 {
    shared %left: u32[4]
    shared %right: u32x2[2]
    shared %sums: f32[48]
    thread %t = 0, 8 {
      if (%t < 4) {
        %left[%t] = %x[%t]
      }
      if (%t < 2) {
        %right[%t] = %y[(%t * 2)]:u32x2
      }
      fragments %a: a f16 4 by 2[1]
      fragments %b: b f16 2 by 4[1]
      fragments %c: sum f32 4 by 4[2]
      matrix clear %c[1]
      barrier
      matrix load %a[0] from %left[0] rows 1
      matrix load %b[0] from %right[0] rows 1
      serial %i = 0, 4 {
        matrix add %c[1] %a[0] by %b[0]
      }
      matrix store %c[1] to %sums[((%t // 4) * 24)] columns 6
      barrier
      serial %i2 = 0, 4 {
        %z[((%t * 4) + %i2)] = %sums[(((%t // 4) * 24) + (((%t % 4) * 6) + %i2))]
      }
    }
  }
}
)";

TEST(Matrices, TextRoundTripsAndIsValid) {
  Function f = parse(kMatrix);
  EXPECT_EQ(print(f), kMatrix);
  EXPECT_EQ(verify(f), "");
  EXPECT_EQ(verify_device(unify_accesses(narrow_indices(f))), "");
}

TEST(Matrices, MultiplyAndAdd) {
  std::vector<uint16_t> x, y;
  for (int i = 0; i < 8; ++i) x.push_back(f32_to_f16(float(i + 1))), y.push_back(f32_to_f16(float(3 - i)));
  std::vector<float> z(32);
  std::vector<HostBuffer> buffers = {{x.data(), 16}, {y.data(), 16}, {z.data(), 128}};
  interpret(parse(kMatrix), buffers, {});
  for (int subgroup = 0; subgroup < 2; ++subgroup)
    for (int column = 0; column < 4; ++column)  // stored by columns
      for (int row = 0; row < 4; ++row) {
        int product = (2 * row + 1) * (3 - column) + (2 * row + 2) * (3 - column - 4);
        EXPECT_EQ(z[size_t(subgroup * 16 + column * 4 + row)], float(4 * product)) << row << ", " << column;
      }
}

Function changed(const std::string& from, const std::string& to) {
  std::string text = kMatrix;
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return parse(text.replace(at, from.size(), to));
}

TEST(Matrices, WrongOnesAreRefused) {
  const std::pair<const char*, const char*> kChanges[] = {
      {"fragments %a: a f16", "fragments %a: a f32"},                // halves only
      {"fragments %a: a f16 4 by 2", "fragments %a: a f16 4 by 4"},  // no product
      {"fragments %a: a", "fragments %a: b"},                        // another role
      {"%c[1] %a[0] by", "%c[2] %a[0] by"},                          // no such fragment
      {"from %left[0] rows 1", "from %sums[0] rows 1"},              // f32 memory for halves
      {"from %right[0] rows 1", "from %right[0] rows 0"},            // lines that overlap
      {"matrix store %c[1] to", "matrix store %b[0] to"},            // halves are not stored
      {"serial %i = 0, 4", "serial %i = 0, %t"},                     // not uniform
      {" subgroups(4)", ""}};                                        // nobody to share it
  for (const auto& [from, to] : kChanges) EXPECT_NE(verify(changed(from, to)), "") << to;
}

TEST(MatricesDeathTest, LanesThatDisagreeAndPlacesOutsideAreBugs) {
  std::vector<uint16_t> x(8), y(8);
  std::vector<float> z(32);
  std::vector<HostBuffer> buffers = {{x.data(), 16}, {y.data(), 16}, {z.data(), 128}};
  EXPECT_DEATH(interpret(changed("[((%t // 4) * 24)]", "[%t]"), buffers, {}), "different places");
  EXPECT_DEATH(interpret(changed("[((%t // 4) * 24)]", "[((%t // 4) * 32)]"), buffers, {}), "which has 192");
  EXPECT_DEATH(interpret(changed("[((%t // 4) * 24)]", "[((%t // 4) * 8)]"), buffers, {}), "race on %sums");
}

}  // namespace
}  // namespace mlc::kernel
