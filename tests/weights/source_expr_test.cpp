// Any range of an expression's result, read by runs, holds what the whole expression holds there.
#include "formats/source_expr.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "base/file.h"
#include "base/half.h"
#include "base/strings.h"
#include "formats/build_files.h"
#include "support/temp_folder.h"
#include "support/whole_source.h"
#include "weights/block.h"

namespace mlc::weights {
namespace {

using mlc::testing::evaluate;
using mlc::testing::TempFolder;
using mlc::testing::WholeTensor;
using Shape = std::vector<int64_t>;

// Tensors of a checkpoint in one dtype, with numbers that differ from each other.
struct Tensors {
  std::map<std::string, WholeTensor> by_name;
  DType dtype = DType::kF32;

  SourceExpr add(const Shape& shape) {
    const std::string name = str("t", by_name.size());
    WholeTensor& t = by_name[name];
    t.shape = shape, t.read_as = dtype;
    for (int64_t i = 0; i < shape_elements(shape); ++i) {
      float v = std::sin(static_cast<float>(i) * 0.37f + static_cast<float>(by_name.size())) * 2;
      t.values.push_back(dtype == DType::kF32 ? v : bf16_to_f32(f32_to_bf16(v)));
    }
    return SourceExpr::of(name);
  }

  std::string safetensors() const {
    Json header = Json::object();
    std::string data;
    for (const auto& [name, t] : by_name) {
      const size_t begin = data.size();
      std::vector<uint16_t> halves;
      for (float v : t.values) halves.push_back(f32_to_bf16(v));
      data += dtype == DType::kF32 ? mlc::testing::packed(t.values) : mlc::testing::packed(halves);
      header[name] = {{"dtype", dtype == DType::kF32 ? "F32" : "BF16"},
                      {"shape", t.shape},
                      {"data_offsets", {begin, data.size()}}};
    }
    return mlc::testing::safetensors(header.dump(), data);
  }
};

// A random expression of that shape.
class Grower {
 public:
  explicit Grower(uint64_t seed, Tensors& tensors) : draw_(seed), tensors_(tensors) {}

  int64_t draw(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(draw_() % static_cast<uint64_t>(high - low + 1));
  }

  SourceExpr grow(const Shape& shape, int depth) {
    if (depth == 0) return tensors_.add(shape);
    const size_t axis = static_cast<size_t>(draw(0, static_cast<int64_t>(shape.size()) - 1));
    Shape inner = shape;
    switch (draw(0, 9)) {
      case 0:
      case 1: return joined(shape, axis, depth);
      case 2: {
        const int64_t before = draw(0, 3), after = draw(0, 3), length = before + shape[axis] + after;
        inner[axis] = length;
        return SourceExpr::slice(grow(inner, depth - 1), static_cast<int>(axis), length, before,
                                 before + shape[axis]);
      }
      case 3:
        if (shape.size() == 3) {
          std::vector<SourceExpr> parts;
          inner.erase(inner.begin());
          for (int64_t i = 0; i < shape[0]; ++i) parts.push_back(grow(inner, depth - 1));
          return SourceExpr::stack(std::move(parts));
        }
        [[fallthrough]];
      case 4:
        if (shape.size() < 2) return grow(shape, depth - 1);
        std::swap(inner[inner.size() - 1], inner[inner.size() - 2]);
        return SourceExpr::transpose(grow(inner, depth - 1));
      case 5:
      case 6: return permuted(shape, axis, depth);
      case 7:
        return SourceExpr::reshape(grow({shape_elements(shape)}, depth - 1), {shape_elements(shape)}, shape);
      case 8: return SourceExpr::plus_one(grow(shape, depth - 1));
      default: return SourceExpr::scale(grow(shape, depth - 1), 0.25);
    }
  }

 private:
  SourceExpr joined(const Shape& shape, size_t axis, int depth) {
    std::vector<SourceExpr> parts;
    for (int64_t left = shape[axis]; left > 0;) {
      Shape part = shape;
      part[axis] = draw(1, left);
      left -= part[axis];
      parts.push_back(grow(part, depth - 1));
    }
    return SourceExpr::concat(std::move(parts), static_cast<int>(axis));
  }

  SourceExpr permuted(const Shape& shape, size_t axis, int depth) {
    std::vector<int64_t> dims;
    int64_t rest = shape[axis];
    for (int64_t divisor : {2, 3, 2})
      if (rest % divisor == 0) dims.push_back(divisor), rest /= divisor;
    dims.push_back(rest);
    std::vector<int> order;
    for (size_t i = 0; i < dims.size(); ++i) order.push_back(static_cast<int>(i));
    for (size_t i = order.size(); i-- > 1;)
      std::swap(order[i], order[static_cast<size_t>(draw(0, static_cast<int64_t>(i)))]);
    return SourceExpr::permute(grow(shape, depth - 1), static_cast<int>(axis), dims, order);
  }

  std::mt19937_64 draw_;
  Tensors& tensors_;
};

class SourceExprs : public ::testing::Test {
 protected:
  // The parameter's plan under q0f16 or q0f32, and the checkpoint.
  ParameterPlan plan_of(const SourceExpr& expr, const Shape& shape, const Tensors& tensors,
                        const char* scheme) {
    checkpoint_ = Checkpoint::open(folder_.write("model.safetensors", tensors.safetensors())).value();
    frontend::Parameter p{.name = "p.weight", .shape = shape, .source = expr};
    auto plan = make_plan({p}, {}, *find_quant_scheme(scheme), checkpoint_.get(), "FILE");
    EXPECT_TRUE(plan.is_ok()) << plan.status().message();
    return plan->parameters.at(0);
  }

  TempFolder folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(SourceExprs, AnyRangeHoldsWhatTheWholeHolds) {
  for (uint64_t seed = 0; seed < 120; ++seed) {
    Tensors tensors;
    tensors.dtype = seed % 3 == 0 ? DType::kBF16 : DType::kF32;
    Grower grower(seed, tensors);
    const Shape shapes[] = {{12}, {6, 10}, {24, 7}, {3, 6, 8}};
    const Shape shape = shapes[seed % 4];
    const SourceExpr expr = grower.grow(shape, static_cast<int>(seed % 5));
    const char* scheme = seed % 2 ? "q0f16" : "q0f32";
    const ParameterPlan plan = plan_of(expr, shape, tensors, scheme);
    std::vector<float> whole =
        evaluate(expr, [&](const std::string& name) { return tensors.by_name.at(name); }, plan.dtype).values;
    for (float& v : whole)
      if (plan.dtype == DType::kF16) v = f16_to_f32(f32_to_f16(v));
    for (int i = 0; i < 6; ++i) {
      const int64_t begin = i == 0 ? 0 : grower.draw(0, plan.rows - 1),
                    end = i == 0 ? plan.rows : grower.draw(begin + 1, plan.rows);
      std::vector<std::byte> scratch;
      std::vector<float> values;
      read_values(plan, *checkpoint_, begin, end, scratch, values);
      const std::vector<float> expected(whole.begin() + begin * plan.row_size,
                                        whole.begin() + end * plan.row_size);
      ASSERT_EQ(values, expected) << "seed " << seed << " rows " << begin << ".." << end;
    }
  }
}

// A block of a weight must not fall apart into elements.
TEST_F(SourceExprs, RowsAreFewRuns) {
  Tensors tensors;
  SourceExpr fused = SourceExpr::concat({tensors.add({40, 8}), tensors.add({24, 8})});
  EXPECT_EQ(source_runs(plan_of(fused, {64, 8}, tensors, "q0f16").source, 0, 64 * 8).size(), 2u);
  SourceExpr heads = SourceExpr::permute(tensors.add({48, 8}), 0, {4, 3, 4}, {1, 0, 2});
  EXPECT_EQ(source_runs(plan_of(heads, {48, 8}, tensors, "q0f16").source, 0, 48 * 8).size(), 12u);
  SourceExpr turned = SourceExpr::transpose(tensors.add({16, 10}));
  const auto runs = source_runs(plan_of(turned, {10, 16}, tensors, "q0f16").source, 0, 160);
  ASSERT_EQ(runs.size(), 10u);
  EXPECT_EQ(runs[3].begin, 3);
  EXPECT_EQ(runs[3].stride, 10);
  SourceExpr experts = SourceExpr::stack({tensors.add({6, 8}), tensors.add({6, 8})});
  EXPECT_EQ(source_runs(plan_of(experts, {2, 6, 8}, tensors, "q0f16").source, 0, 96).size(), 2u);
}

// gemma's norms: bfloat16(x + 1); scaled weights: in the parameter's own dtype.
TEST_F(SourceExprs, StepsRoundWhereTheOriginalDoes) {
  Tensors tensors;
  tensors.dtype = DType::kBF16;
  SourceExpr norm = SourceExpr::plus_one(tensors.add({1}));
  tensors.by_name["t0"].values = {0x1p-9f};
  ParameterPlan plan = plan_of(norm, {1}, tensors, "q0f32");
  std::vector<std::byte> scratch;
  std::vector<float> values;
  read_values(plan, *checkpoint_, 0, 1, scratch, values);
  EXPECT_EQ(values[0], 1.0f);
  Tensors wide;
  SourceExpr scaled = SourceExpr::scale(wide.add({1}), 0.5);
  wide.by_name["t0"].values = {0x1.8p-24f + 0x1p-40f};  // to float16: 2 * 2^-24, halved: 2^-24
  plan = plan_of(scaled, {1}, wide, "q0f16");
  read_values(plan, *checkpoint_, 0, 1, scratch, values);
  EXPECT_EQ(values[0], 0x1p-24f);
}

TEST_F(SourceExprs, WrongShapesNameTheTensor) {
  auto error = [&](const SourceExpr& expr, const Shape& shape, const Tensors& tensors) {
    checkpoint_ = Checkpoint::open(folder_.write("model.safetensors", tensors.safetensors())).value();
    frontend::Parameter p{.name = "p.weight", .shape = shape, .source = expr};
    auto plan = make_plan({p}, {}, *find_quant_scheme("q0f16"), checkpoint_.get(), "FILE");
    const std::string message = plan.is_ok() ? "ok" : plan.status().message();
    return message.substr(message.find(": tensor") + 2);
  };
  Tensors t;
  SourceExpr turned = SourceExpr::transpose(t.add({16, 10}));
  EXPECT_EQ(error(turned, {16, 10}, t),
            "tensor 't0' has shape [16, 10], expected [10, 16] for p.weight; does config.json belong to this "
            "checkpoint?");
  SourceExpr experts = SourceExpr::stack(
      {SourceExpr::rows_of({"t0", "t1"}), SourceExpr::concat({t.add({16, 10}), t.add({8, 12})})});
  EXPECT_EQ(error(experts, {2, 30, 10}, t),
            "tensors t0 + t1 have shapes [16, 10] + [16, 10], expected [30, 10] together for p.weight");
  EXPECT_EQ(error(SourceExpr::slice(SourceExpr::of("t0"), 0, 20, 4, 8), {4, 10}, t),
            "tensor 't0' has shape [16, 10], expected [20, 10] for p.weight; does config.json belong to this "
            "checkpoint?");
}

}  // namespace
}  // namespace mlc::weights
