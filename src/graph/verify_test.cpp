// Tests that the verifier finds each kind of broken graph.
#include "graph/verify.h"

#include <gtest/gtest.h>

#include "graph/parse.h"

namespace mlc::graph {
namespace {

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest()
      : module(parse_module(R"(module @toy {
          param @w : f32[4, 4]
          state $kv : paged {layers = 1, kv_heads = 1, key_dim = 4, value_dim = 4, page_size = 16, dtype = f32}
          func @f(%x: f32[rows, 4]) {
            %0: f32[rows, 4] = matmul(%x, @w)
            %1: f32[rows, 4] = map(%0) region(x + %x)
            return %1
          }
        })")),
        f(*module.functions[0]) {
    EXPECT_EQ(verify(module), "");
  }
  Module module;
  Function& f;
};

TEST_F(VerifyTest, UseBeforeDefinition) {
  std::swap(f.nodes[0], f.nodes[1]);
  EXPECT_EQ(verify(module),
            "function f: '%1: f32[rows, 4] = map(%0) region(x + %x)': uses 0 before its definition");
}

TEST_F(VerifyTest, WrongType) {
  f.nodes[0]->outputs[0]->type.shape[1] = 5;
  EXPECT_EQ(verify(module),
            "function f: '%0: f32[rows, 5] = matmul(%x, @w)': %0 is f32[rows, 5], expected f32[rows, 4]");
}

TEST_F(VerifyTest, DuplicateName) {
  f.nodes[1]->outputs[0]->name = "0";
  EXPECT_EQ(verify(module), "function f: value %0 exists twice");
}

TEST_F(VerifyTest, WrongProducer) {
  f.nodes[0]->outputs[0]->producer = f.nodes[1].get();
  EXPECT_EQ(verify(module), "function f: '%0: f32[rows, 4] = matmul(%x, @w)': %0 has another producer");
}

TEST_F(VerifyTest, ValueOfNoNode) {
  f.add_value(TensorType::plain(DType::kF32, {1}), nullptr);
  EXPECT_EQ(verify(module), "function f: owns 4 values but defines 3");
}

TEST_F(VerifyTest, OperandOfAnotherFunction) {
  module.functions.push_back(clone(f));
  module.functions[1]->name = "g";
  module.functions[1]->nodes[0]->inputs[0] = f.arguments[0];
  EXPECT_EQ(verify(module), "function g: '%0: f32[rows, 4] = matmul(%x, @w)': uses x before its definition");
}

TEST_F(VerifyTest, UnknownState) {
  f.nodes[1]->state = "kv";
  EXPECT_EQ(verify(module),
            "function f: '%1: f32[rows, 4] = map($kv, %0) region(x + %x)': takes no state, but names $kv");
}

TEST_F(VerifyTest, UnboundDimension) {
  module = parse_module(
      "module @m { param @t : f32[3, 4] func @f(%x: i32[(rows * 2)]) { %0: f32[(rows * 2), 4] = take(@t, %x) "
      "return %0 } }");
  EXPECT_EQ(verify(module), "function f: dimension 'rows' of i32[(rows * 2)] is bound by no argument");
}

TEST_F(VerifyTest, ResultsThatAreParameters) {
  f.results[0] = module.parameters[0].get();
  EXPECT_EQ(verify(module), "function f: returns parameter @w");
}

TEST_F(VerifyTest, Bodies) {
  module.functions.push_back(clone(f));
  EXPECT_EQ(verify(module), "module toy: function f: a body that serves all calls is not the last");
  f.guards = {{"rows", 1, 1}};
  EXPECT_EQ(verify(module), "");
  module.functions[1]->guards = {{"rows", 2, 0}};
  EXPECT_EQ(verify(module), "module toy: function f: the last body is guarded");
  module.functions[1]->guards = {{"rows", 1, 1}};
  module.functions.push_back(clone(f));
  module.functions[2]->guards.clear();
  EXPECT_EQ(verify(module), "module toy: function f: a body never runs");
  module.functions[1]->guards = {{"columns", 1, 1}};
  EXPECT_EQ(verify(module), "module toy: function f: no argument has the guard's dimension columns");
  module.functions.pop_back();
  module.functions[1]->guards.clear();
  module.functions[1]->arguments[0]->name = "y";
  EXPECT_EQ(verify(module), "module toy: function f: bodies differ in arguments or results");
}

TEST_F(VerifyTest, OtherNamesOfFunctions) {
  module.functions.push_back(std::make_unique<Function>());
  Function& other = *module.functions[1];
  other.name = "g";
  other.same_as = "f";
  EXPECT_EQ(verify(module), "");
  EXPECT_EQ(module.find_function("g"), module.find_function("f"));
  other.add_argument("x", TensorType::plain(DType::kF32, {Dim(1)}));
  EXPECT_EQ(verify(module), "module toy: function g is the same as f and has a body of its own");
  other.values.clear();
  other.same_as = "h";
  EXPECT_EQ(verify(module), "module toy: function g is to be the same as h, which is no function before it");
}

TEST_F(VerifyTest, OurOwnMistakesStopTheCompiler) {
  f.nodes[1]->op = "nonsense";
  EXPECT_DEATH(check_valid(module, "after a pass"), "after a pass: function f: .*unknown op 'nonsense'");
}

}  // namespace
}  // namespace mlc::graph
