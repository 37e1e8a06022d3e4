// Every construct of kernel IR, compiled for each CPU variant this machine runs, against the interpreter:
// equal bits.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "emit/microkernel.h"
#include "kernel/builder.h"
#include "kernel/interpret.h"
#include "support/native_kernels.h"

namespace mlc::kernel {
namespace {

const Dim kRows = Dim::symbol("rows");

// Inputs are bytes; outputs are compared byte for byte unless they are NaNs of the output's type.
struct Case {
  Function function;
  std::vector<std::vector<uint8_t>> inputs;
  std::vector<size_t> output_bytes;
  std::vector<int64_t> dims;
  int64_t tiles = 1;
};

bool equal_floats(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  for (size_t i = 0; i + 4 <= a.size(); i += 4) {
    float x, y;
    std::memcpy(&x, &a[i], 4), std::memcpy(&y, &b[i], 4);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (std::memcmp(&x, &y, 4) != 0) {
      ADD_FAILURE() << "element " << i / 4 << ": native " << x << ", interpreter " << y;
      return false;
    }
  }
  return true;
}

std::vector<std::vector<uint8_t>> expected_outputs(const Case& c) {
  std::vector<std::vector<uint8_t>> outputs, inputs = c.inputs;
  for (size_t bytes : c.output_bytes) outputs.emplace_back(bytes, 0xEE);
  std::vector<HostBuffer> host;
  for (auto& input : inputs) host.push_back({input.data(), static_cast<int64_t>(input.size())});
  for (auto& output : outputs) host.push_back({output.data(), static_cast<int64_t>(output.size())});
  interpret(c.function, host, c.dims);
  return outputs;
}

KernelCall call_of(const Case& c, size_t index) {
  KernelCall call{.kernel = index, .tiles = c.tiles, .dims = c.dims, .buffers = c.inputs};
  for (size_t bytes : c.output_bytes) call.buffers.emplace_back(bytes, 0xEE);
  return call;
}

// Compiles all cases (names differ) into one library per target.
void check_on(const std::vector<Case>& cases, bool floats, const std::vector<Target>& targets) {
  std::vector<Function> functions;
  std::vector<std::vector<std::vector<uint8_t>>> expected;
  for (const Case& c : cases) functions.push_back(c.function), expected.push_back(expected_outputs(c));
  for (const Target& target : targets) {
    NativeKernels native(functions, target);
    std::vector<KernelCall> calls;
    for (size_t n = 0; n < cases.size(); ++n) calls.push_back(call_of(cases[n], n));
    native.run_calls(calls);
    for (size_t n = 0; n < cases.size(); ++n) {
      SCOPED_TRACE(target.name + " " + functions[n].name);
      for (size_t i = 0; i < expected[n].size(); ++i) {
        const auto& actual = calls[n].buffers[cases[n].inputs.size() + i];
        if (floats)
          EXPECT_TRUE(equal_floats(actual, expected[n][i]));
        else
          EXPECT_EQ(actual, expected[n][i]);
      }
    }
  }
}

void check(const std::vector<Case>& cases, bool floats) { check_on(cases, floats, testable_targets()); }

template <typename T>
std::vector<uint8_t> bytes_of(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<uint8_t> random_bytes(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  return bytes;
}

// Ordinary, tiny, halfway, huge and special floats, 64 of them.
std::vector<float> floats() {
  std::vector<float> v = {0.0f,        -0.0f, 0.5f,          -0.5f,         1.5f,        -1.5f,    2.5f,
                          0.49999997f, -0.3f, 8388607.5f,    8388609.0f,    -8388608.5f, 65504.0f, 65519.9f,
                          65520.0f,    1e-8f, 5.9604645e-8f, 2.9802322e-8f, 6.1e-5f,     3.4e38f,  INFINITY,
                          -INFINITY,   NAN,   1e-40f,        2049.0f,       2051.0f};
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 10);
  while (v.size() < 64) v.push_back(normal(random));
  return v;
}

// out[row, i] = f(x[row, i .. i+lanes)) over a row of 64 f32.
Case float_case(const char* name, int lanes, const std::function<ExprRef(ExprRef)>& f,
                DType out = DType::kF32) {
  KernelBuilder k(str(name, lanes));
  BufferRef x = k.input("x", DType::kF32, kRows * 64), y = k.output("y", out, kRows * 64);
  k.grid("row", kRows, [&](ExprRef row) {
    k.loop("i", 0, 64 / lanes, LoopKind::kSerial, [&](ExprRef i) {
      ExprRef at = row * int_const(64) + i * int_const(lanes);
      k.store(y, at, f(k.load(x, at, lanes)));
    });
  });
  std::vector<float> input = floats();
  input.insert(input.end(), input.rbegin(), input.rend());
  return {k.finish(), {bytes_of(input)}, {static_cast<size_t>(128 * size_of(out))}, {2}, 2};
}

TEST(RunKernels, ComputesFloatsLikeTheInterpreter) {
  std::vector<Case> cases;
  for (int lanes : {1, 4, 16}) {
    auto add = [&](const char* name, const std::function<ExprRef(ExprRef)>& f) {
      cases.push_back(float_case(name, lanes, f));
    };
    add("floor", [](ExprRef x) { return unary(UnaryOp::kFloor, x); });
    add("even", [](ExprRef x) { return unary(UnaryOp::kRoundEven, x); });
    add("neg", [](ExprRef x) { return unary(UnaryOp::kNeg, x); });
    add("sqrt", [](ExprRef x) { return unary(UnaryOp::kSqrt, unary(UnaryOp::kAbs, x)); });
    add("min", [](ExprRef x) { return binary(BinaryOp::kMin, x, float_const(1.0)); });
    add("max", [](ExprRef x) { return binary(BinaryOp::kMax, float_const(1.0), x); });
    add("max_of_nan", [](ExprRef x) { return binary(BinaryOp::kMax, x, x * 0.0 + 3.0); });
    add("f16", [](ExprRef x) { return cast(cast(x, DType::kF16), DType::kF32); });
    add("bf16", [](ExprRef x) {  // of normal numbers that stay finite
      ExprRef finite =
          binary(BinaryOp::kMax, binary(BinaryOp::kMin, x, float_const(3e38)), float_const(-3e38));
      ExprRef normal =
          select(less(unary(UnaryOp::kAbs, finite), float_const(1e-37)), float_const(0, x->type), finite);
      return cast(cast(normal, DType::kBF16), DType::kF32);
    });
    if (lanes < 16) add("any_bf16", [](ExprRef x) { return cast(cast(x, DType::kBF16), DType::kF32); });
    add("is_less", [](ExprRef x) { return select(less(x, float_const(0.5)), x, x * 2.0); });
    add("from_int", [](ExprRef x) {
      return cast(cast(binary(BinaryOp::kMax, binary(BinaryOp::kMin, x, float_const(99)), float_const(-99)),
                       DType::kI8),
                  DType::kF32);
    });
    if (lanes == 1) continue;
    add("sum", [&](ExprRef x) { return broadcast(reduce(BinaryOp::kAdd, x), lanes); });
    add("greatest", [&](ExprRef x) { return broadcast(reduce(BinaryOp::kMax, x), lanes); });
  }
  check(cases, true);
}

// Integers: y = f(a, b) on i32 vectors of any bits.
Case int_case(const char* name, const std::function<ExprRef(ExprRef, ExprRef)>& f,
              DType dtype = DType::kI32) {
  KernelBuilder k(str(name, "_", short_name(dtype)));
  int lanes = 16 / size_of(dtype);
  BufferRef a = k.input("a", dtype, kRows * lanes), b = k.input("b", dtype, kRows * lanes);
  BufferRef y = k.output("y", dtype, kRows * lanes);
  k.grid("row", kRows, [&](ExprRef row) {
    ExprRef at = row * int_const(lanes);
    k.store(y, at, f(k.load(a, at, lanes), k.load(b, at, lanes)));
  });
  return {k.finish(), {random_bytes(16 * 7, 1), random_bytes(16 * 7, 2)}, {16 * 7}, {7}, 7};
}

TEST(RunKernels, IntegersWrapAndDivideDown) {
  std::vector<Case> cases;
  for (DType t : {DType::kI8, DType::kU8, DType::kI16, DType::kU16, DType::kI32, DType::kU32, DType::kI64,
                  DType::kU64}) {
    auto constant = [&](int64_t v, ExprRef like) { return int_const(v, like->type); };
    cases.push_back(int_case("add", [](ExprRef a, ExprRef b) { return a + b; }, t));
    cases.push_back(int_case("mul", [](ExprRef a, ExprRef b) { return a * b - a; }, t));
    cases.push_back(int_case(
        "div7", [&](ExprRef a, ExprRef) { return binary(BinaryOp::kFloorDiv, a, constant(7, a)); }, t));
    cases.push_back(
        int_case("mod8", [&](ExprRef a, ExprRef) { return binary(BinaryOp::kMod, a, constant(8, a)); }, t));
    cases.push_back(int_case(
        "mod",
        [&](ExprRef a, ExprRef b) {
          return binary(BinaryOp::kMod, a,
                        binary(BinaryOp::kOr, binary(BinaryOp::kAnd, b, constant(63, b)), constant(1, b)));
        },
        t));
    cases.push_back(
        int_case("shr", [&](ExprRef a, ExprRef) { return binary(BinaryOp::kShr, a, constant(3, a)); }, t));
    cases.push_back(int_case("select", [](ExprRef a, ExprRef b) { return select(less(a, b), a, b); }, t));
    cases.push_back(int_case("max", [](ExprRef a, ExprRef b) { return binary(BinaryOp::kMax, a, b); }, t));
  }
  check(cases, false);
}

TEST(RunKernels, MovesLanes) {
  std::vector<Case> cases;
  cases.push_back(int_case("interleave", [](ExprRef a, ExprRef b) { return shuffle({a, b}, {0, 4, 1, 5}); }));
  cases.push_back(int_case("four", [](ExprRef a, ExprRef b) {
    return shuffle({extract(a, 3), extract(b, 2), extract(a, 1), extract(b, 0)}, {2, 0, 3, 1});
  }));
  cases.push_back(
      int_case("mixed", [](ExprRef a, ExprRef b) { return shuffle({a, extract(b, 1), b}, {4, 0, 8, 5}); }));
  cases.push_back(int_case("bits", [](ExprRef a, ExprRef b) {
    ExprRef bytes = bitcast(a, {DType::kU8, 16});
    return bitcast(binary(BinaryOp::kAnd, bytes, int_const(0x0F, {DType::kU8, 16})), {DType::kI32, 4}) + b;
  }));
  cases.push_back(
      int_case("ramp", [](ExprRef a, ExprRef) { return a + ramp(int_const(5, {DType::kI32, 1}), -3, 4); }));
  check(cases, false);
}

TEST(RunKernels, StoresToSharedAndRegisterBuffersInOrder) {
  KernelBuilder k("prefix");  // y[row] = running sums of x[row], through a scratch row and a register array
  BufferRef x = k.input("x", DType::kI32, kRows * 16), y = k.output("y", DType::kI32, kRows * 16);
  k.grid("row", kRows, [&](ExprRef row) {
    BufferRef padding = k.shared("padding", DType::kU8, 3);
    BufferRef line = k.shared("line", DType::kI32, 16);
    BufferRef sum = k.registers("sum", {DType::kI32, 1}, 2);
    k.store(padding, int_const(0), int_const(1, {DType::kU8, 1}));
    k.store(sum, int_const(0), int_const(0, {DType::kI32, 1}));
    k.loop("u", 0, 16, LoopKind::kSerial, [&](ExprRef i) {
      k.store(sum, int_const(0), k.load(sum, int_const(0)) + k.load(x, row * int_const(16) + i));
      k.store(line, i, k.load(sum, int_const(0)));
    });
    k.loop("v", 0, 4, LoopKind::kUnrolled, [&](ExprRef i) {
      k.branch(
          less(row, int_const(2)),
          [&] { k.store(y, row * int_const(16) + i * int_const(4), k.load(line, i * int_const(4), 4)); },
          [&] { k.store(y, row * int_const(16) + i * int_const(4), k.load(line, int_const(0), 4)); });
    });
  });
  check({{k.finish(), {random_bytes(4 * 16 * 5, 3)}, {4 * 16 * 5}, {5}, 5}}, false);
}

TEST(RunKernels, LoadsAnyTypeFromBytes) {
  KernelBuilder k("views");  // an i32 at an odd byte, and two floats
  BufferRef x = k.input("x", DType::kU8, kRows * 13), y = k.output("y", DType::kI32, kRows * 3);
  k.grid("row", kRows, [&](ExprRef row) {
    k.store(y, row * int_const(3), k.load_as({DType::kI32, 1}, x, row * int_const(13) + int_const(1)));
    ExprRef pair = k.load_as({DType::kF32, 2}, x, row * int_const(13) + int_const(5));
    k.store(y, row * int_const(3) + int_const(1), bitcast(pair, {DType::kI32, 2}));
  });
  check({{k.finish(), {random_bytes(13 * 4, 4)}, {4 * 3 * 4}, {4}, 4}}, false);
}

TEST(RunKernels, MaskedLanesTouchNothing) {
  KernelBuilder k("masked");  // rows of 11, in vectors of 8
  BufferRef x = k.input("x", DType::kF32, kRows * 11), y = k.output("y", DType::kF32, kRows * 11);
  k.grid("row", kRows, [&](ExprRef row) {
    k.loop("i", 0, 2, LoopKind::kSerial, [&](ExprRef i) {
      ExprRef lane = ramp(i * int_const(8), 1, 8);
      ExprRef mask = less(lane, broadcast(int_const(11), 8));
      ExprRef at = row * int_const(11) + i * int_const(8);
      k.store(y, at, k.load(x, at, 8, mask) * 2.0, mask);
    });
  });
  std::vector<float> input(33);
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i) - 16;
  check({{k.finish(), {bytes_of(input)}, {33 * 4}, {3}, 3}}, true);
}

TEST(RunKernels, GathersByIndex) {
  KernelBuilder k("gather");
  BufferRef table = k.input("table", DType::kF32, 16), index = k.input("index", DType::kI32, kRows * 8);
  BufferRef y = k.output("y", DType::kF32, kRows * 8);
  k.grid("row", kRows, [&](ExprRef row) {
    ExprRef at = row * int_const(8);
    k.store(y, at, k.gather(table, k.load(index, at, 8)));
  });
  std::vector<float> values(16);
  for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(i * i);
  std::vector<int32_t> indices(24);
  for (int i = 0; i < 24; ++i) indices[i] = (i * 7) % 16;
  check({{k.finish(), {bytes_of(values), bytes_of(indices)}, {24 * 4}, {3}, 3}}, true);
}

// Dot products of random bytes on every runnable target that has them.
TEST(RunKernels, DotsEqualTheInterpreter) {
  constexpr int kRowCount = 5;
  auto run = [&](const Function& f, bool arm, size_t in_bytes, size_t out_bytes, auto... features) {
    std::vector<Target> targets = testable_targets();
    std::erase_if(targets, [&](const Target& t) {
      return (t.triple.rfind("aarch64", 0) == 0) != arm || t.vector_bytes < static_cast<int>(in_bytes) ||
             !((t.*features) && ...);
    });
    check_on({{f,
               {random_bytes(in_bytes * kRowCount, 5), random_bytes(in_bytes * kRowCount, 6)},
               {out_bytes * kRowCount},
               {kRowCount},
               kRowCount}},
             false, targets);
  };
  for (bool is_signed : {false, true})
    run(dot4_rows(4, is_signed), true, 16, 16, is_signed ? &Target::dot4_s8s8 : &Target::dot4_u8s8);
  for (int lanes : {4, 8, 16}) run(dot4_rows(lanes, false), false, 4 * lanes, 4 * lanes, &Target::dot4_u8s8);
  for (int lanes : {8, 16}) run(dot2_rows(lanes, true), false, 2 * lanes, 2 * lanes, &Target::dot2_u8s8);
  run(dot2_rows(4, false), false, 16, 16, &Target::dot2_i16);
  run(dot2_rows(8, false), false, 32, 32, &Target::dot2_i16, &Target::dot2_u8s8);
}

}  // namespace
}  // namespace mlc::kernel
