// Prefill matmuls on matrix units against the graph's meaning, for each class of device that has one, run by
// the interpreter, which also checks alignment, races and barriers, and in test_suite_cuda as PTX by the fake
// driver; and what they do to memory. No software driver here offers matrix units.
#include <gtest/gtest.h>

#include "kernel/count.h"
#include "kernel/interpret.h"
#include "kernel/lower/gpu/weight.h"
#include "kernel/passes/rewrite.h"
#include "ops/expert_case.h"
#include "ops/tolerance.h"
#include "support/gpu_devices.h"
#include "support/gpu_kernels.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"
#ifdef MLC_TEST_CUDA
#include "simulate/cuda/fake_driver.h"
#endif

namespace mlc::testing {
namespace {

const Dim kRows = Dim::symbol("rows");
#ifdef MLC_TEST_CUDA
const std::vector<std::string> kClasses = {"cuda-sm75", "cuda-sm80"};
#else
const std::vector<std::string> kClasses = {"vulkan-nvidia", "vulkan-amd", "vulkan-intel", "cuda-sm75",
                                           "cuda-sm80"};
#endif

WeightFormat group(int bits, DType dtype, bool transposed = false) {
  return {WeightFormat::Kind::kGroup, dtype, bits, bits == 3 ? 40 : 32, transposed};
}

struct Shape {
  int64_t rows, n, k;
};

int64_t matrices(const kernel::Function& f) {
  int64_t count = 0;
  kernel::for_each_statement(f.body,
                             [&](const kernel::Stmt& s) { count += s.kind == kernel::StmtKind::kMatrix; });
  return count;
}

// x [rows, k] by w [n, k], bias and gate where `gated`, in the body for many rows.
void add_matmul(OpCase& c, const WeightFormat& f, const Shape& s, bool gated = false) {
  std::mt19937 random(static_cast<unsigned>(s.rows * 31 + s.n * 7 + s.k));
  graph::Value* x = c.matrix(kRows, s.k, random_floats(s.rows * s.k, 2, random), s.k + 8, 4);
  graph::Value* w = c.quantized(f, kernel::kLaneLayout, s.n, s.k, random_floats(s.n * s.k, 1, random));
  c.g->matmul(x, w);
  c.options.min_rows = 17;
  const double sum = absolute_sum(c.logical(x), c.logical(w));
  c.rule = {
      .tolerance = matrix_error(s.k, sum) + elementwise_error(sum + 1), .relative = false, .hard = true};
  if (!gated) return;
  graph::Node& node = *c.module.functions[0]->nodes.back();
  graph::Value* bias = c.parameter(DType::kF16, {s.n}, random_floats(s.n, 1, random));
  then(node.region, [&](graph::RegionBuilder& r) { return r.x() + r.operand(bias); });
  then(node.region, [](graph::RegionBuilder& r) { return r.call("silu", r.gate()) * r.up(); });
  node.outputs[0]->type.shape[1] = s.n / 2;
  c.rule.tolerance *= 2 * (sum + 2);
}

std::vector<Bytes> padded(const OpCase& op) {
  std::vector<Bytes> memory = op.memory();
  for (Bytes& b : memory) b.resize((b.size() + 3) / 4 * 4, 0xFF);
  return memory;
}

std::vector<kernel::HostBuffer> views(std::vector<Bytes>& memory) {
  std::vector<kernel::HostBuffer> buffers;
  for (Bytes& b : memory) buffers.push_back({b.data(), static_cast<int64_t>(b.size())});
  return buffers;
}

#ifdef MLC_TEST_CUDA
void run(kernel::Function& f, const OpCase& op, std::vector<Bytes>& memory, const Target& target) {
  FakeCudaDriver driver;
  runtime::DevicePtr device = runtime::open_device("cuda").value();
  f.name = "k0";
  GpuVariant variant({f}, target);
  const auto loaded = device->load_kernels(device->self, *variant);
  ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
  const Status status = launch_once(*device, *loaded, 0, memory, op.dims(f), op.tiles(f));
  EXPECT_TRUE(status.is_ok()) << status.message();
  device->unload_kernels(device->self, *loaded);
  EXPECT_EQ(driver.complaints(), std::vector<std::string>());
}
#else
void run(kernel::Function& f, const OpCase& op, std::vector<Bytes>& memory, const Target&) {
  kernel::interpret(f, views(memory), op.dims(f));
}
#endif

void expect_meaning(OpCase& op, const std::string& what) {
  for (const std::string& device : kClasses) {
    kernel::Function f = op.lower(class_target(device, true));
    EXPECT_GT(matrices(f), 0) << what << " on " << device;
    std::vector<Bytes> memory = padded(op);
    run(f, op, memory, class_target(device, true));
    const std::vector<Bytes> sizes = op.memory();
    for (size_t i = 0; i < memory.size(); ++i) memory[i].resize(sizes[i].size());
    EXPECT_EQ(op.difference(memory), "") << what << " on " << device;
  }
}

// Sizes around the tile of 64 by 64, a last group that is not full, every kind of 4-bit weight.
TEST(GpuMatrix, HasTheMeaningOfMatmul) {
  for (const WeightFormat& f : {group(4, DType::kF16), group(4, DType::kBF16, true), group(4, DType::kF32)})
    for (Shape s : {Shape{17, 63, 36}, {64, 64, 64}, {65, 130, 32}, {70, 34, 100}}) {
      OpCase c({{"rows", s.rows}});
      add_matmul(c, f, s);
      expect_meaning(c, str(f.text(), " rows ", s.rows, " n ", s.n, " k ", s.k));
    }
}

TEST(GpuMatrix, GatesPairsOfRows) {
  for (int64_t n : {64, 140}) {
    OpCase c({{"rows", 19}});
    add_matmul(c, group(4, DType::kF16), {19, n, 64}, true);
    expect_meaning(c, str("gated n ", n));
  }
}

// 40 rows of two slots: runs that end within a tile, and an expert without rows.
TEST(GpuMatrix, TakesTheRunsOfExperts) {
  OpCase c({{"rows", 40}});
  add_expert_matmul([&](const std::string&, const auto&) -> OpCase& { return c; }, {40, 2, 4, 70, 64},
                    {group(4, DType::kF16), kernel::kLaneLayout}, Slots::kGrouped);
  c.options.min_rows = 17;
  c.rule.tolerance = matrix_error(64, 2 * 64.0) + elementwise_error(2 * 64.0);  // |x| <= 2, |w| <= 1
  expect_meaning(c, "experts");
}

// Groups of 40 are no multiple of the unit's depth, few rows leave its tiles empty, and other variants have
// no unit.
TEST(GpuMatrix, IsUsedWhereItFits) {
  const Target unit = class_target("vulkan-nvidia", true);
  OpCase three({{"rows", 20}}), few({{"rows", 9}}), four({{"rows", 20}});
  add_matmul(three, group(3, DType::kF16), {20, 64, 80});
  add_matmul(few, group(4, DType::kF16), {9, 64, 64});
  few.options.min_rows = 2, few.options.max_rows = 16;
  add_matmul(four, group(4, DType::kF16), {20, 64, 64});
  EXPECT_EQ(matrices(three.lower(unit)), 0);
  EXPECT_EQ(matrices(few.lower(unit)), 0);
  EXPECT_GT(matrices(four.lower(unit)), 0);
  for (const char* device : {"vulkan-nvidia", "vulkan-software", "opencl-nvidia"})
    EXPECT_EQ(matrices(four.lower(class_target(device))), 0) << device;
}

// Weights and activations come once for each tile; the halves in shared memory lie so that no two lanes want
// a bank at once.
TEST(GpuMatrix, MovesWhatItsTilesNeed) {
  for (const std::string& device : kClasses) {
    const Target target = class_target(device, true);
    const kernel::GpuSchedule& s = kernel::gpu_schedule(target);
    OpCase c({{"rows", 128}});
    std::mt19937 random(1);
    c.g->matmul(c.matrix(kRows, 128, random_floats(128 * 128, 1, random)),
                c.quantized(group(4, DType::kF16), kernel::kLaneLayout, 128, 128,
                            random_floats(128 * 128, 1, random)));
    c.options.min_rows = 17;
    kernel::Function f = c.lower(target);
    std::vector<Bytes> memory = padded(c);
    kernel::KernelCount count = kernel::count(f, views(memory), c.dims(f));
    const double tiles = 128.0 / s.matrix_width * (128.0 / s.matrix_height), k = 128;
    const double ideal = tiles * k * (s.matrix_width * 4.5 / 8 + s.matrix_height * 4.0) + 128 * 128 * 4;
    EXPECT_LE(double(count.moved()), 1.2 * ideal) << device;
    EXPECT_EQ(count.conflicts(), 0) << device;
    // A subgroup's matrices of k columns of both tiles, once for each row of its own matrices.
    const MatrixUnit& u = target.matrix_unit;
    const double per_subgroup = 2 * k * (s.matrix_per_m * u.rows + s.matrix_per_n * u.columns);
    const double subgroups = s.matrix_width / double(s.matrix_per_n * u.columns) *
                             (s.matrix_height / double(s.matrix_per_m * u.rows));
    EXPECT_EQ(double(count.find("inputs").loaded + count.find("weights").loaded),
              tiles * subgroups * per_subgroup)
        << device;
  }
}

// A driver may round sums more often or in another order; a unit that skips a step of depth or takes a wrong
// row must not pass.
TEST(GpuMatrix, AWrongProductIsSeen) {
  OpCase c({{"rows", 64}});
  add_matmul(c, group(4, DType::kF16), {64, 64, 64});
  kernel::Function f = c.lower(class_target("vulkan-nvidia", true));
  int changed = 0;
  kernel::for_each_statement(f.body, [&](const kernel::Stmt& s) {
    if (s.kind != kernel::StmtKind::kMatrix || s.matrix != kernel::MatrixOp::kMultiply || changed++) return;
    const_cast<kernel::Stmt&>(s).matrix = kernel::MatrixOp::kClear;
  });
  std::vector<Bytes> memory = padded(c);
  kernel::interpret(f, views(memory), c.dims(f));
  EXPECT_NE(c.difference(memory), "");
}

}  // namespace
}  // namespace mlc::testing
