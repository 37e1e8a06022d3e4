// The hot loops of the int8 matmul and of attention over int8 keys and values as machine code: each holds the
// instruction that its target is chosen for, once per product of the register tile, and keeps the tile in
// registers.
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "base/strings.h"
#include "graph/builder.h"
#include "graph/passes/choose_layouts.h"
#include "kernel/lower/lower.h"
#include "kernel/pipeline.h"
#include "kernel/schedule/cpu/matmul_table.h"
#include "lang/llvm/emit.h"

namespace mlc::lang {
namespace {

struct Hot {
  const char *target, *instruction;
};
const Hot kHot[] = {
    {"x86_64-avx512vnni", "vpdpbusd.*%zmm"}, {"x86_64-avx512", "vpmaddubsw.*%zmm"},
    {"x86_64-avxvnni", "vpdpbusd.*%ymm"},    {"x86_64-avx2", "vpmaddubsw.*%ymm"},
    {"x86_64-amx", "vpdpbusd.*%zmm"},        {"aarch64-dotprod", "sdot\tv[0-9]+\\.4s"},
    {"aarch64-i8mm", "usdot\tv[0-9]+\\.4s"},
};

const Target& target_named(const std::string& name) {
  static const std::vector<Target> all = [] {
    std::vector<Target> list = x86_64_targets();
    for (const Target& t : aarch64_targets()) list.push_back(t);
    return list;
  }();
  for (const Target& t : all)
    if (t.name == name) return t;
  internal_error("no target " + name);
}

// Assembly of x f32[rows, k] -> `conversion` -> matmul with a q4f16_1 or q3f16_1 weight [n, k], the latter.
std::string matmul_assembly(const Target& target, int bits, int64_t min_rows, int64_t max_rows, bool gated,
                            const std::string& conversion = "quantize_q8") {
  graph::Module module;
  module.functions.push_back(std::make_unique<graph::Function>());
  graph::Function& f = *module.functions[0];
  graph::GraphBuilder g(module, f);
  WeightFormat format{WeightFormat::Kind::kGroup, DType::kF16, bits, bits == 3 ? 40 : 32};
  graph::Value* weight = g.parameter("w", {graph::TensorType::Kind::kGroup, format, "packed", {1024, 2048}});
  graph::Value* x = f.add_argument("x", graph::TensorType::plain(DType::kF32, {Dim::symbol("rows"), 2048}));
  graph::Attributes attributes;
  if (conversion == "quantize_q8") attributes["output"] = graph::TensorType::q8({}, format).element_text();
  g.matmul(g.op(conversion, {x}, attributes)[0], weight);
  graph::Node& node = *f.nodes.back();
  if (gated) {
    then(node.region, [](graph::RegionBuilder& r) { return r.call("silu", r.gate()) * r.up(); });
    node.outputs[0]->type.shape[1] = 512;
  }
  graph::choose_layouts(module, target);
  kernel::LowerOptions options;
  options.target = &target, options.min_rows = min_rows, options.max_rows = max_rows;
  kernel::Function k =
      kernel::run_passes(kernel::lower_node(node, module, options).function, {.target = &target, .dump = {}});
  return emit_object(k, target, {.keep_text = true, .symbol_prefix = {}}).assembly;
}

int count(const std::string& text, const std::string& pattern) {
  std::regex regex(pattern);
  return static_cast<int>(
      std::distance(std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()));
}

// The basic block with the most matches of `instruction`.
std::string hottest_block(const std::string& assembly, const std::string& instruction) {
  std::istringstream lines(assembly);
  std::string line, block, hottest;
  int most = -1;
  auto close = [&] {
    if (int matches = count(block, instruction); matches > most) most = matches, hottest = block;
    block.clear();
  };
  while (std::getline(lines, line)) {
    if (line.rfind(".L", 0) == 0) close();
    block += line + "\n";
  }
  close();
  return hottest;
}

int vector_spills(const std::string& code) { return count(code, "(16|32|64)-byte (Folded )?(Spill|Reload)"); }

// tiles: products of register tiles, of which each holds one for every step of a group.
void expect_hot(const Hot& hot, int bits, int64_t min_rows, int64_t max_rows, bool gated, int tiles) {
  std::string assembly = matmul_assembly(target_named(hot.target), bits, min_rows, max_rows, gated);
  std::string block = hottest_block(assembly, hot.instruction);
  SCOPED_TRACE(str(hot.target, " ", bits, " bits, rows ", min_rows, "..", max_rows, gated ? " gated" : ""));
  EXPECT_EQ(count(block, hot.instruction), (bits == 3 ? 10 : 8) * tiles) << block;
  EXPECT_LE(vector_spills(block), 2) << block;
  EXPECT_LE(count(block, "(Folded )?(Spill|Reload)"), 4) << block;  // of addresses
}

TEST(HotKernels, OneRow) {
  for (const Hot& hot : kHot)
    for (int bits : {4, 3})
      for (bool gated : {false, true}) expect_hot(hot, bits, 1, 1, gated, gated ? 2 : 1);
}

TEST(HotKernels, FewRows) {
  for (const Hot& hot : kHot)
    for (int bits : {4, 3})
      for (bool gated : {false, true}) {
        const kernel::MatmulSchedule& s = kernel::matmul_schedule(target_named(hot.target));
        expect_hot(hot, bits, 2, 16, gated, s.few_rows * s.few_vectors);
      }
}

TEST(HotKernels, ManyRows) {
  for (const Hot& hot : kHot)
    for (int bits : {4, 3})
      for (bool gated : {false, true}) {
        const kernel::MatmulSchedule& s = kernel::matmul_schedule(target_named(hot.target));
        expect_hot(hot, bits, 17, 0, gated, s.panel_rows * s.panel_vectors);
      }
}

// On a matrix unit: two by two products of tiles a group, each of which two products share; the tiles are set
// up and given back once a call, and weights are rounded by an instruction.
TEST(HotKernels, ManyRowsOnAMatrixUnit) {
  for (bool gated : {false, true}) {
    std::string assembly = matmul_assembly(target_named("x86_64-amx"), 4, 17, 0, gated, "to_tiles");
    std::string block = hottest_block(assembly, "tdpbf16ps");
    SCOPED_TRACE(gated ? "gated" : "");
    EXPECT_EQ(count(block, "tdpbf16ps"), 4) << block;
    EXPECT_EQ(count(block, "tileloadd"), 4) << block;
    EXPECT_EQ(count(block, "Spill|Reload"), 0) << block;
    EXPECT_EQ(count(assembly, "ldtilecfg"), 1);
    EXPECT_EQ(count(assembly, "tilerelease"), 1);
    std::string expansion = hottest_block(assembly, "vcvtne2ps2bf16");
    EXPECT_EQ(count(expansion, "vcvtne2ps2bf16.*%zmm"), 16 * kernel::kMatrixSchedule.panel_vectors)
        << expansion;  // pairs of k
    EXPECT_LE(vector_spills(expansion), 2) << expansion;
  }
}

// With one vector of weights, activation codes reach it as an operand in memory: no instruction broadcasts
// them.
TEST(HotKernels, DotsBroadcastFromMemory) {
  std::string assembly = matmul_assembly(target_named("x86_64-avx512vnni"), 4, 1, 1, false);
  std::string block = hottest_block(assembly, "vpdpbusd");
  EXPECT_EQ(count(block, "vpdpbusd.*\\{1to16\\}"), count(block, "vpdpbusd")) << block;
}

// Assembly of attention over a cache of codes, 9 heads of 64 that share 3 key/value heads.
std::string attention_assembly(const Target& target, int64_t max_rows) {
  graph::Module module;
  module.states.push_back(graph::PagedState::of_heads("kv", 2, 3, 64, 16, DType::kI8));
  module.functions.push_back(std::make_unique<graph::Function>());
  graph::Function& f = *module.functions[0];
  graph::GraphBuilder g(module, f);
  auto argument = [&](const std::string& name, DType dtype, graph::Shape shape) {
    return f.add_argument(name, graph::TensorType::plain(dtype, std::move(shape)));
  };
  const Dim rows = Dim::symbol("rows");
  g.attention("kv", 1,
              {.q = argument("q", DType::kF32, {rows, 9 * 64}),
               .row_sequence = argument("sequences", DType::kI32, {rows}),
               .limits = argument("limits", DType::kI32, {rows}),
               .page_indptr = argument("indptr", DType::kI32, {Dim::symbol("batch") + 1}),
               .page_ids = argument("pages", DType::kI32, {Dim::symbol("pages")})},
              {.heads = 9, .scale = 0.125});
  kernel::LowerOptions options;
  options.target = &target, options.min_rows = max_rows == 1 ? 1 : 0, options.max_rows = max_rows;
  kernel::Function k = kernel::run_passes(kernel::lower_node(*f.nodes.back(), module, options).function,
                                          {.target = &target, .dump = {}});
  return emit_object(k, target, {.keep_text = true, .symbol_prefix = {}}).assembly;
}

// Products of 16-bit pairs: of one row 3 queries meet 8 pairs of a head's keys at once, and 4 pairs of
// tokens' values.
TEST(HotKernels, CodedAttention) {
  const Hot hot[] = {{"x86_64-avx512vnni", "vpdpwssd.*%zmm"},
                     {"x86_64-avx512", "vpmaddwd.*%zmm"},
                     {"x86_64-avx2", "vpmaddwd.*%ymm"}};
  for (const Hot& h : hot)
    for (int64_t max_rows : {1, 0}) {
      std::string block = hottest_block(attention_assembly(target_named(h.target), max_rows), h.instruction);
      block = block.substr(0, block.find("\n\tj"));  // the loop without what follows it
      SCOPED_TRACE(str(h.target, " rows up to ", max_rows));
      EXPECT_EQ(count(block, h.instruction), max_rows == 1                                   ? 48
                                             : target_named(h.target).vector_registers >= 32 ? 96
                                                                                             : 80)
          << block;
      EXPECT_LE(vector_spills(block), 2) << block;
    }
}

}  // namespace
}  // namespace mlc::lang
