// Tests of the text form: round trips over every op, type and attribute kind, and the errors of the parser.
#include <gtest/gtest.h>

#include "base/user_error.h"
#include "graph/ops/registry.h"
#include "graph/parse.h"
#include "graph/print.h"
#include "graph/verify.h"

namespace mlc::graph {
namespace {

// Valid and with every op.
constexpr const char* kEverything = R"(module @toy {
  param @model.embed-tokens/weight : q4g32.f16@tile8[50, 64]
  param @w3 : q3g40.bf16.kn@packed[64, 64]
  param @two : q4g32.f32@packed[128, 64]
  param @half : f16@tile16[64, 64]
  param @e1 : q4g32.f16@packed[64, 64, 64]
  param @heads : f16[4, 4, 6]
  param @n : f32[64]
  param @b : bf16[64]
  param @h : f32[4, 16]
  param @l.lora_A : f32[3, 64, 32]
  param @l.lora_B : f32[3, 16, 128]
  state $kv : paged {layers = 2, kv_heads = 1, key_dim = 32, value_dim = 32, page_size = 16, dtype = bf16}
  state $other : paged {layers = 1, kv_heads = 2, key_dim = 8, value_dim = 8, page_size = 4, dtype = f32}
  state $slots : slots {layers = 2, shift = 64, wkv4 = 192, wkv5 = 1024}
  func @step(%ids: i32[rows], %f: f32[rows, 32], %slots: i32[rows], %s: i32[rows], %p: i32[rows], %indptr: i32[(batch + 1)], %pages: i32[pages]) rows 2..16 {
    %0: f32[rows, 64] = take(@model.embed-tokens/weight, %ids)
    %1: q8g32[rows, 64] = rms_norm(%0, @n) {eps = 1e-05, output = "q8g32"}
    %2: f32[rows, 128] = matmul(%1, @two)
    %3: f32[rows, 64] = rope_append($kv, %2, %f, %slots) {head_dim = 32, heads = 2, interleaved = true, kv_heads = 1, layer = 1, rotary_dim = 32}
    %4: f32[rows, 64] = attention($kv, %3, %s, %p, %indptr, %pages) {alibi = 8.0, heads = 2, layer = 1, scale = 0.17677669529663687} region(tanh(x * 0.02) * 50.0 + bias)
    %40: f32[ceildiv(pages, 16), 68] = attention_part($kv, %3, %s, %p, %indptr, %pages) {heads = 2, layer = 1, part_pages = 16, scale = 0.17677669529663687}
    %41: q8g32[rows, 64] = attention_join(%40, %p) {heads = 2, output = "q8g32"}
    %5: q8g40[rows, 64] = quantize_q8(%4) {output = "q8g40"}
    %50: bf16@tiles16x32[rows, 64] = to_tiles(%4)
    %51: f32[rows, 64] = matmul(%50, @w3)
    %52: f32[rows, 64] = matmul(%4, @w3, @n, @b) {eps = 1e-05, norm = "layer_norm"} region(silu(x) + %4)
    %6: f32[rows, 64] = matmul(%5, @w3) region(silu(x + @b) * %0 + %4)
    %7: f32[rows, 64] = matmul(%6, @two) region(gelu_tanh(gate) * up)
    %8: f32[rows, 64] = layer_norm(%7, @n, @b) {eps = 1.0}
    %9: f32[rows, 64] = map(%8) region(x + %7)
    %10: f32[rows, 64] = map(%9) region(x * %7)
    %11: f32[rows, 64] = map(%10) region(x + @b)
    %12: f32[rows, 64] = map(%11) region(relu(x))
    %13: f32[rows, 32] = map(%12) region(gelu(gate) * up)
    %14: f32[rows, 32] = rope(%13, %f) {head_dim = 32, interleaved = false, rotary_dim = 32}
    kv_append($kv, %14, %13, %slots) {layer = 0}
    copy_pages($other, %pages, %pages)
    %130: f32[rows, 32] = map(%13) region(clamp(x, -7.0, inf) - (1.5 - x) / (tanh(x / 30.0) * 30.0))
    %15: f32[rows, 8] = slice(%14) {begin = 4, end = 12}
    %16: f16[rows, 8] = cast(%15) {dtype = "f16"}
    return %16, %9
  }
  func @step(%ids: i32[rows], %f: f32[rows, 32], %slots: i32[rows], %s: i32[rows], %p: i32[rows], %indptr: i32[(batch + 1)], %pages: i32[pages]) {
    %0: f32[rows, 8] = slice(%f) {begin = 0, end = 8}
    %1: f16[rows, 8] = cast(%0) {dtype = "f16"}
    %2: f32[rows, 64] = take(@half, %ids)
    return %1, %2
  }
  func @sample(%logits: f32[batch, 50], %settings: f32[batch, 3]) {
    %0: f32[batch, 50] = softmax(%logits, %settings)
    %1: i32[batch, 1] = sample(%0, %settings)
    return %1
  }
  func @experts(%x: f32[rows, 64]) {
    %0: i32[rows, 2], %1: f32[rows, 2] = route(%x) {k = 2, renormalize = true}
    %2: f32[(rows * 2), 32] = expert_matmul(%x, @e1, %0) region(silu(gate) * up)
    %3: i32[(rows * 2)], %4: i32[rows, 2], %5: i32[65] = group_slots(%0) {experts = 64}
    %6: q8g32[rows, 64] = quantize_q8(%x)
    %7: q8g32[(rows * 2), 64] = take(%6, %3)
    %8: f32[(rows * 2), 64] = expert_matmul(%7, @e1, %5) {k = 2}
    %9: f32[rows, 64] = expert_sum(%8, %1, %4)
    %10: f32[rows, 32] = expert_sum(%2, %1)
    return %9, %10
  }
  func @heads(%x: f32[rows, 32]) {
    %0: f32[rows, 24] = head_matmul(%x, @heads)
    return %0
  }
  func @recurrences(%x: f32[rows, 64], %indptr: i32[(batch + 1)], %ids: i32[batch]) {
    %0: f32[rows, 64] = token_shift($slots, %x, %indptr, %ids) {layer = 1, part = "shift"}
    %1: f32[rows, 64] = wkv4($slots, %0, %x, @n, @b, %indptr, %ids) {layer = 1, part = "wkv4"}
    %2: f32[rows, 64] = wkv5($slots, %0, %x, %1, @h, @h, %indptr, %ids) {layer = 1, part = "wkv5"}
    %3: f32[rows, 64] = layer_norm(%2, @n, @b) {eps = 1.0, groups = 4}
    copy_slots($slots, %ids, %ids)
    return %3
  }
  func @adapters(%x: f32[rows, 64], %adapter: i32[rows]) {
    %0: f32[rows, 32] = lora_shrink(%x, @l.lora_A, %adapter)
    %1: f32[rows, 128] = lora_expand(%0, @l.lora_B, %adapter) {parts = "64,64"}
    return %1
  }
  func @nothing() {
    return
  }
  func @steps = @step
}
)";

TEST(Text, RoundTripsEveryOp) {
  Module module = parse_module(kEverything);
  EXPECT_EQ(verify(module), "");
  EXPECT_EQ(print(module), kEverything);
  EXPECT_EQ(print(parse_module(print(module))), kEverything);
  std::map<std::string, int> seen;
  for (const auto& f : module.functions)
    for (const auto& n : f->nodes) ++seen[n->op];
  for (const std::string& op : op_names()) EXPECT_GT(seen[op], 0) << op << " is missing from this test";
}

TEST(Text, CloneIsEqualAndSeparate) {
  Module module = parse_module(kEverything);
  std::unique_ptr<Function> copy = clone(*module.functions[0]);
  EXPECT_EQ(print(*copy), print(*module.functions[0]));
  for (size_t i = 0; i < copy->nodes.size(); ++i)
    for (const Value* out : copy->nodes[i]->outputs) EXPECT_EQ(out->producer, copy->nodes[i].get());
  module.functions[0] = std::move(copy);
  EXPECT_EQ(verify(module), "");  // no value of the first function is left in use
  EXPECT_EQ(print(module), kEverything);
}

TEST(Text, AttributesKeepTheirKindAndBits) {
  const Attribute values[] = {true,
                              false,
                              int64_t{0},
                              INT64_MIN,
                              INT64_MAX,
                              0.0,
                              -0.0,
                              1.0,
                              1e-5,
                              5e-324,
                              1.7976931348623157e308,
                              1.0 / 3,
                              1e22,
                              std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity(),
                              std::string(),
                              std::string("a \"b\" \\ c\nd")};
  for (const Attribute& value : values) {
    std::string text = "module @m { func @f(%x: f32[1, 1]) { %0: f32[1, 1] = map(%x) {key = " + print(value) +
                       "} region(x + %x) return %0 } }";
    Attribute back = parse_module(text).functions[0]->nodes[0]->attributes.at("key");
    EXPECT_EQ(back.index(), value.index()) << text;
    EXPECT_EQ(print(back), print(value)) << text;
    if (value.index() != 2) {
      EXPECT_EQ(back, value) << text;
    }
  }
  EXPECT_EQ(print(Attribute(3.0)), "3.0");
  EXPECT_EQ(print(Attribute(1e-5)), "1e-05");
}

std::string error_of(const std::string& text) {
  try {
    parse_module(text, "a.txt");
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

TEST(Text, ErrorsNameTheLine) {
  EXPECT_EQ(error_of(""), "a.txt:1: expected 'module', found the end of the text");
  EXPECT_EQ(error_of("module @m {\n  parm @w : f32[1]\n}"),
            "a.txt:2: expected param, state, func or '}', found 'parm @w : f32[1]'");
  EXPECT_EQ(error_of("module @m {\n  param @w : f33[1]\n}"), "a.txt:2: unknown tensor type 'f33'");
  EXPECT_EQ(error_of("module @m {\n  param @w : f32[1 + 2]\n}"), "a.txt:2: '1 + 2' is no dimension");
  EXPECT_EQ(error_of("module @m {\n param @w : f32[1]\n param @w : f32[1]\n}"),
            "a.txt:3: parameter @w is defined twice");
  EXPECT_EQ(error_of("module @m {\n\n\n func @f(%first: f32[1]) { return %frist }}"),
            "a.txt:4: value %frist is not defined; did you mean 'first'?");
  EXPECT_EQ(error_of("module @m { func @f(%x: f32[1], %x: f32[1]) { return }}"),
            "a.txt:1: value %x is defined twice");
  EXPECT_EQ(error_of("module @m {} x"), "a.txt:1: text after the end of the module");
  EXPECT_EQ(error_of("module @m { state $s : paged {layer = 1}}"),
            "a.txt:1: unknown field 'layer' of a paged state; did you mean 'layers'?");
  EXPECT_EQ(
      error_of("module @m { func @f(%x: f32[1, 1]) { map(%x) {a = 1x} return }}"),
      "a.txt:1: '1x' is no attribute value; expected true, false, an integer, a real number or \"text\"");
  EXPECT_EQ(error_of("module @m { func @f(%x: f32[1, 1]) { map(%x) {a = \"x\n\"} return }}"),
            "a.txt:1: a text value does not end");
  auto region = [](const std::string& text) {
    return error_of("module @m { func @f(%x: f32[1, 1]) { map(%x) region(" + text + ") return }}");
  };
  EXPECT_EQ(region("x + "), "a.txt:1: expected a name, found ') return }}'");
  EXPECT_EQ(region("x x"), "a.txt:1: expected ')', found 'x) return }}'");
  EXPECT_EQ(region("%x[2]"), "a.txt:1: half 2 of an operand, expected 0 or 1");
  EXPECT_EQ(region(std::string(200, '(') + "x"),
            "a.txt:1: a region of more than 1000 terms, or 100 inside each other");
}

TEST(Text, EveryPrefixIsRefusedWithoutHarm) {
  std::string text = kEverything;
  text.resize(text.rfind('}'));
  for (size_t n = 0; n < text.size(); n += 7) EXPECT_NE(error_of(text.substr(0, n)), "") << n;
  EXPECT_NE(error_of("module @m { param @w : f32[" + std::string(100000, '(') + "1]}"), "");
  EXPECT_NE(error_of("module @m { param @w : f32[1,1,1,1,1,1,1,1,1]}"), "");
}

TEST(Text, CommentsAndMissingBoundsAreRead) {
  Module m = parse_module(
      "# a comment\nmodule @m { # more\n func @f(%x: f32[rows, 1]) rows ..4 { return %x }\n"
      " func @f(%x: f32[rows, 1]) rows 5.. { return %x } }");
  const Dim rows = Dim::symbol("rows");
  EXPECT_EQ(m.functions[0]->guard_of(rows).max, 4);
  EXPECT_EQ(m.functions[1]->guard_of(rows).min, 5);
  EXPECT_EQ(m.functions[1]->guard_of(rows).max, 0);
}

}  // namespace
}  // namespace mlc::graph
