// Tests of the interpreter: attention against a direct formula over scattered pages, and its checks of
// arguments.
#include "graph/interpret.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/user_error.h"
#include "graph/parse.h"
#include "graph/verify.h"
#include "support/toy_graph.h"

namespace mlc::graph {
namespace {

constexpr const char* kAttention = R"(module @toy {
  state $kv : paged {layers = 2, kv_heads = 2, key_dim = 8, value_dim = 8, page_size = 16, dtype = f32}
  func @f(%q: f32[rows, 32], %k: f32[rows, 16], %v: f32[rows, 16], %row_slots: i32[rows], %row_sequence: i32[rows],
          %limits: i32[rows], %page_indptr: i32[(batch + 1)], %page_ids: i32[pages]) {
    kv_append($kv, %k, %v, %row_slots) {layer = 1}
    %0: f32[rows, 32] = attention($kv, %q, %row_sequence, %limits, %page_indptr, %page_ids) {heads = 4, layer = 1, scale = 0.3}
    return %0
  }
})";

const HostTensor& no_parameters(const std::string&) { std::abort(); }

// softmax(scale q k) v over the rows 0..position of the same sequence, straight from the inputs.
std::vector<double> expected_head(const HostTensor& q, const HostTensor& k, const HostTensor& v,
                                  int64_t first, int64_t row, int64_t head) {
  std::vector<double> weights, out(8);
  double total = 0;
  for (int64_t t = first; t <= row; ++t) {
    double score = 0;
    for (int d = 0; d < 8; ++d)
      score += double{q.floats[row * 32 + head * 8 + d]} * k.floats[t * 16 + head / 2 * 8 + d];
    weights.push_back(std::exp(0.3 * score));
    total += weights.back();
  }
  for (int64_t t = first; t <= row; ++t)
    for (int d = 0; d < 8; ++d) out[d] += weights[t - first] / total * v.floats[t * 16 + head / 2 * 8 + d];
  return out;
}

TEST(Interpret, AttentionFollowsItsFormulaOverScatteredPages) {
  Module module = parse_module(kAttention);
  ASSERT_EQ(verify(module), "");
  std::vector<testing::ToyTokens> batch;
  for (int64_t length : {1, 3, 17, 0, 32, 33}) batch.push_back({0, std::vector<int32_t>(length, 0)});
  // A sequence without rows asks for no logits: its logit_positions entry is not an argument here.
  auto arguments = testing::toy_arguments({}, batch, 24, 4);
  std::mt19937 random(3);
  int64_t rows = arguments["limits"].shape[0];
  for (const char* name : {"input_ids", "logit_positions", "rope_factors"}) arguments.erase(name);
  arguments["q"] = {DType::kF32, {rows, 32}, testing::random_floats(rows * 32, 2, random), {}};
  arguments["k"] = {DType::kF32, {rows, 16}, testing::random_floats(rows * 16, 2, random), {}};
  arguments["v"] = {DType::kF32, {rows, 16}, testing::random_floats(rows * 16, 2, random), {}};
  auto states = make_states(module, 24);
  HostTensor out = interpret(module, "f", arguments, no_parameters, states)[0];
  int64_t first = 0;
  for (int64_t row = 0; row < rows; ++row) {
    if (arguments["limits"].ints[row] == 1) first = row;
    for (int64_t head = 0; head < 4; ++head) {
      std::vector<double> expected =
          expected_head(arguments["q"], arguments["k"], arguments["v"], first, row, head);
      for (int d = 0; d < 8; ++d)
        ASSERT_NEAR(out.floats[row * 32 + head * 8 + d], expected[d], 1e-6) << row << " " << head;
    }
  }
}

class InterpretErrors : public ::testing::Test {
 protected:
  std::string error_of(const std::string& function, const std::map<std::string, HostTensor>& arguments) {
    std::map<std::string, HostState> states;
    try {
      interpret(module, function, arguments, no_parameters, states);
    } catch (const UserError& e) {
      return e.what();
    }
    return "";
  }
  static HostTensor floats(std::vector<int64_t> shape) {
    HostTensor t{DType::kF32, shape, {}, {}};
    t.floats.resize(static_cast<size_t>(t.elements()));
    return t;
  }
  Module module = parse_module(R"(module @toy {
    func @f(%a: f32[rows, 2], %b: f32[rows, 2], %i: i32[(batch + 1)]) {
      %0: f32[rows, 2] = map(%a) region(x + %b)
      %1: f32[(batch + 1), 2] = take(%0, %i)
      return %1
    }
  })");
};

TEST_F(InterpretErrors, NameTheArgument) {
  HostTensor one{DType::kI32, {1}, {}, {0}};
  EXPECT_EQ(error_of("f", {{"a", floats({1, 2})}, {"b", floats({1, 2})}, {"i", one}}), "");
  EXPECT_EQ(error_of("f", {{"a", floats({1, 2})}, {"i", one}}), "f: argument %b is missing");
  EXPECT_EQ(error_of("f", {{"a", floats({1, 2})}, {"b", one}, {"i", one}}),
            "f: argument %b is i32[1], expected f32[rows, 2]");
  EXPECT_EQ(error_of("f", {{"a", floats({1, 2})}, {"b", floats({3, 2})}, {"i", one}}),
            "f: argument %b is f32[3, 2], expected f32[rows, 2] where dimension 0 is 1");
  EXPECT_EQ(error_of("g", {}), "g: the module toy has no function of this name; did you mean 'f'?");
  one.ints[0] = 1;
  EXPECT_EQ(error_of("f", {{"a", floats({1, 2})}, {"b", floats({1, 2})}, {"i", one}}),
            "f: %1: f32[(batch + 1), 2] = take(%0, %i): take: index 1 of a table of 1 rows");
}

}  // namespace
}  // namespace mlc::graph
