// One graph node under test: its operands as host tensors and as bytes in memory, lowered for a target, run by the kernel
// interpreter and as machine code, and compared with the graph's reference meaning.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "formats/plan.h"
#include "formats/quant/group.h"
#include "formats/quant/plain.h"
#include "graph/builder.h"
#include "graph/ops/registry.h"
#include "kernel/interpret.h"
#include "kernel/lower/lower.h"
#include "kernel/pipeline.h"
#include "support/native_kernels.h"

namespace mlc::testing {

using Bytes = std::vector<uint8_t>;

class OpCase {
 public:
  explicit OpCase(std::map<std::string, int64_t> dims) : dims_(std::move(dims)) {
    module.functions.push_back(std::make_unique<graph::Function>());
    module.functions[0]->name = "f";
    g = std::make_unique<graph::GraphBuilder>(module, *module.functions[0]);
  }

  graph::Module module;
  std::unique_ptr<graph::GraphBuilder> g;
  kernel::LowerOptions options;
  std::map<std::string, graph::HostState> states;
  int codes_may_differ = 0;  // by how much q8g32 codes may

  // f32 [rows symbol, columns]; inside a wider value when stride > columns: its other columns hold NaN.
  graph::Value* matrix(const Dim& rows, int64_t columns, const std::vector<float>& values, int64_t stride = 0,
                       int64_t offset = 0) {
    int64_t count = static_cast<int64_t>(values.size()) / columns;
    graph::Value* v = argument(graph::TensorType::plain(DType::kF32, {rows, columns}));
    logical_[v] = {DType::kF32, {count, columns}, values, {}};
    if (stride == 0) stride = columns;
    std::vector<float> wide(static_cast<size_t>(count * stride), NAN);
    for (int64_t r = 0; r < count; ++r)
      std::copy_n(values.begin() + r * columns, columns, wide.begin() + r * stride + offset);
    physical_[v] = bytes_of(wide);
    views_[v] = stride == columns ? kernel::View{} : kernel::View{stride, offset};
    return v;
  }

  graph::Value* indices(const Dim& rows, const std::vector<int32_t>& values) {
    graph::Value* v = argument(graph::TensorType::plain(DType::kI32, {rows}));
    logical_[v] = {DType::kI32, {static_cast<int64_t>(values.size())}, {}, values};
    physical_[v] = bytes_of(values);
    return v;
  }

  // A plain parameter: values are rounded to dtype.
  graph::Value* parameter(DType dtype, std::vector<int64_t> shape, std::vector<float> values) {
    graph::Shape dims(shape.begin(), shape.end());
    graph::Value* v = g->parameter("p" + std::to_string(module.parameters.size()), graph::TensorType::plain(dtype, dims));
    round_floats(dtype, values);
    Bytes bytes(values.size() * static_cast<size_t>(size_of(dtype)));
    encode_floats(dtype, values, reinterpret_cast<std::byte*>(bytes.data()));
    physical_[v] = std::move(bytes);
    logical_[v] = {DType::kF32, std::move(shape), std::move(values), {}};
    return v;
  }

  // A group-quantized [n, k] parameter in a layout, made by the repack kernel from the file's arrays.
  graph::Value* quantized(const WeightFormat& format, const std::string& layout, int64_t n, int64_t k,
                          const std::vector<float>& values) {
    graph::TensorType type{graph::TensorType::Kind::kGroup, format, layout, {n, k}};
    graph::Value* v = g->parameter("p" + std::to_string(module.parameters.size()), type);
    std::vector<float> real(values.size());
    auto [words, scales] = pack(format, n, k, values, real);
    logical_[v] = {DType::kF32, {n, k}, real, {}};
    physical_[v] = repack(type, words, scales);
    return v;
  }

  // A state of `pages` pages, filled with `values` or, past them, NaN.
  void state(graph::KvCache cache, int64_t pages) {
    dims_[kPoolPages] = pages;
    std::vector<float> values(static_cast<size_t>(cache.layers * pages * cache.page_elements()), NAN);
    states[cache.name] = {cache, pages, values};
    module.states.push_back(cache);
  }

  const graph::HostTensor& logical(const graph::Value* v) const { return logical_.at(v); }

  // expected, actual, element; called for each output and each state element.
  using Compare = std::function<void(float expected, float actual, int64_t index, const std::string& what)>;

  // Runs the last node of the function for every target and both executors.
  void run(const Compare& compare, const std::vector<Target>& targets = runnable_targets()) {
    const graph::Node& node = *module.functions[0]->nodes.back();
    auto expected_states = states;
    std::vector<graph::HostTensor> expected = reference(node, expected_states);
    for (const Target& target : targets)
      for (bool native : {false, true}) {
        SCOPED_TRACE(target.name + (native ? " native" : " interpreted"));
        auto actual_states = states;
        std::vector<graph::HostTensor> actual = execute(node, target, native, actual_states);
        for (size_t o = 0; o < actual.size(); ++o) check(expected[o], actual[o], compare);
        for (auto& [name, s] : actual_states) {
          const std::vector<float>& e = expected_states.at(name).values;
          for (size_t i = 0; i < e.size(); ++i)
            if (!(std::isnan(e[i]) && std::isnan(s.values[i]))) compare(e[i], s.values[i], static_cast<int64_t>(i), name);
        }
      }
  }

  // Runs the graph's meaning of a node and keeps its outputs as operands of later nodes (q8g32 activations).
  void evaluate_last() {
    const graph::Node& node = *module.functions[0]->nodes.back();
    std::vector<graph::HostTensor> out = reference(node, states);
    for (size_t i = 0; i < out.size(); ++i) {
      logical_[node.outputs[i]] = out[i];
      physical_[node.outputs[i]] = q8_bytes(out[i]);
    }
  }

 private:
  graph::Value* argument(graph::TensorType type) {
    graph::Function& f = *module.functions[0];
    return f.add_argument("a" + std::to_string(f.arguments.size()), std::move(type));
  }

  template <typename T>
  static Bytes bytes_of(const std::vector<T>& values) {
    Bytes out(values.size() * sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), values.data(), out.size());
    return out;
  }

  static std::pair<std::vector<uint32_t>, Bytes> pack(const WeightFormat& format, int64_t n, int64_t k,
                                                      const std::vector<float>& values, std::vector<float>& real) {
    auto words = static_cast<size_t>(format.words(k)), groups = static_cast<size_t>(format.groups(k));
    auto rows = static_cast<size_t>(n), size = static_cast<size_t>(size_of(format.dtype)), columns = static_cast<size_t>(k);
    std::vector<uint32_t> codes(rows * words), transposed_codes(rows * words);
    Bytes scales(rows * groups * size), transposed_scales(scales.size());
    for (size_t r = 0; r < rows; ++r) {
      std::vector<float> row(values.begin() + static_cast<int64_t>(r * columns), values.begin() + static_cast<int64_t>((r + 1) * columns));
      round_floats(format.dtype, row);
      auto* scale = reinterpret_cast<std::byte*>(&scales[r * groups * size]);
      quantize_row(format, row, &codes[r * words], scale);
      dequantize(format, &codes[r * words], scale, std::span<float>(&real[r * columns], columns));
      for (size_t w = 0; w < words; ++w) transposed_codes[w * rows + r] = codes[r * words + w];
      for (size_t gr = 0; gr < groups; ++gr)
        std::memcpy(&transposed_scales[(gr * rows + r) * size], &scales[(r * groups + gr) * size], size);
    }
    if (format.transposed) return {transposed_codes, transposed_scales};
    return {codes, scales};
  }

  // (code - zero point) * scale, not rounded to the model's dtype: kernels keep f32.
  static void dequantize(const WeightFormat& format, const uint32_t* words, const std::byte* scales, std::span<float> row) {
    for (size_t i = 0; i < row.size(); ++i) {
      size_t per_word = static_cast<size_t>(format.codes_per_word());
      float scale = 0;
      decode_floats(format.dtype, scales + i / static_cast<size_t>(format.group) * static_cast<size_t>(size_of(format.dtype)),
                    std::span<float>(&scale, 1));
      int code = static_cast<int>(words[i / per_word] >> (i % per_word * static_cast<size_t>(format.bits))) & ((1 << format.bits) - 1);
      row[i] = static_cast<float>(code - format.zero_point()) * scale;
    }
  }

  static Bytes repack(const graph::TensorType& type, const std::vector<uint32_t>& words, const Bytes& scales) {
    kernel::Function f = *kernel::lower_preproc(type, x86_64_targets().back());
    Bytes out(static_cast<size_t>(kernel::layout_bytes(type)), 0xEE), codes = bytes_of(words), scale = scales;
    std::vector<kernel::HostBuffer> buffers = {{codes.data(), int64_t(codes.size())},
                                               {scale.data(), int64_t(scale.size())},
                                               {out.data(), int64_t(out.size())}};
    kernel::interpret(f, buffers, {});
    return out;
  }

  static Bytes q8_bytes(const graph::HostTensor& t) {
    int64_t groups = (t.shape[1] + 31) / 32;
    Bytes out(static_cast<size_t>(t.shape[0] * groups * 40));
    for (int64_t r = 0; r < t.shape[0]; ++r) {
      uint8_t* row = out.data() + r * groups * 40;
      std::vector<int32_t> sums(static_cast<size_t>(groups));
      for (int64_t c = 0; c < t.shape[1]; ++c) {
        int32_t code = t.ints[static_cast<size_t>(r * t.shape[1] + c)];
        row[c] = static_cast<uint8_t>(code);
        sums[static_cast<size_t>(c / 32)] += code;
      }
      std::memcpy(row + groups * 32, &t.floats[static_cast<size_t>(r * groups)], static_cast<size_t>(groups * 4));
      std::memcpy(row + groups * 36, sums.data(), static_cast<size_t>(groups * 4));
    }
    return out;
  }

  static graph::HostTensor q8_tensor(const Bytes& bytes, int64_t rows, int64_t columns) {
    graph::HostTensor t{DType::kI8, {rows, columns}, {}, {}};
    int64_t groups = (columns + 31) / 32;
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = bytes.data() + r * groups * 40;
      for (int64_t c = 0; c < columns; ++c) t.ints.push_back(static_cast<int8_t>(row[c]));
      for (int64_t gr = 0; gr < groups; ++gr) {
        float scale;
        int32_t sum, expected = 0;
        std::memcpy(&scale, row + groups * 32 + gr * 4, 4);
        std::memcpy(&sum, row + groups * 36 + gr * 4, 4);
        t.floats.push_back(scale);
        for (int64_t c = gr * 32; c < std::min(columns, gr * 32 + 32); ++c) expected += static_cast<int8_t>(row[c]);
        for (int64_t c = columns; c < gr * 32 + 32; ++c) EXPECT_EQ(row[c], 0) << "padding of row " << r;
        EXPECT_EQ(sum, expected) << "sum of row " << r << " group " << gr;
      }
    }
    return t;
  }

  std::vector<graph::HostTensor> reference(const graph::Node& node, std::map<std::string, graph::HostState>& to) {
    std::vector<const graph::HostTensor*> inputs, operands;
    for (const graph::Value* v : node.inputs) inputs.push_back(&logical_.at(v));
    for (const graph::EpilogueStep& s : node.epilogue) operands.push_back(s.operand ? &logical_.at(s.operand) : nullptr);
    graph::InterpretContext context{to};
    return graph::find_op(node.op)->interpret(node, inputs, operands, context);
  }

  void check(const graph::HostTensor& e, const graph::HostTensor& a, const Compare& compare) const {
    ASSERT_EQ(e.floats.size(), a.floats.size());
    ASSERT_EQ(e.ints.size(), a.ints.size());
    for (size_t i = 0; i < e.ints.size(); ++i) ASSERT_NEAR(e.ints[i], a.ints[i], codes_may_differ) << "code " << i;
    for (size_t i = 0; i < e.floats.size(); ++i) compare(e.floats[i], a.floats[i], static_cast<int64_t>(i), "output");
  }

  std::vector<graph::HostTensor> execute(const graph::Node& node, const Target& target, bool native,
                                         std::map<std::string, graph::HostState>& to) {
    kernel::LowerOptions o = options;
    o.target = &target;
    for (const graph::Value* v : node.inputs) o.input_views.push_back(views_[v]);
    kernel::Function f = kernel::run_passes(kernel::lower_node(node, module, o).function, {.target = &target, .dump = {}});
    std::vector<Bytes> memory;
    for (const graph::Value* v : node.inputs) memory.push_back(physical_.at(v));
    for (const graph::EpilogueStep& s : node.epilogue)
      if (s.operand) memory.push_back(physical_.at(s.operand));
    if (!node.state.empty()) memory.push_back(state_bytes(to.at(node.state), node));
    size_t state_index = memory.size() - 1;
    for (const graph::Value* v : node.outputs)
      memory.emplace_back(static_cast<size_t>(*kernel::activation_bytes(v->type).evaluate(dims_)), 0xFF);
    run_kernel(f, target, native, memory);
    if (!node.state.empty()) read_state(memory[state_index], to.at(node.state), node);
    std::vector<graph::HostTensor> out;
    for (size_t i = 0; i < node.outputs.size(); ++i)
      out.push_back(tensor(memory[memory.size() - node.outputs.size() + i], node.outputs[i]->type));
    return out;
  }

  void run_kernel(const kernel::Function& f, const Target& target, bool native, std::vector<Bytes>& memory) {
    std::vector<int64_t> values;
    for (const std::string& d : f.dims) values.push_back(dims_.at(d));
    if (!native) {
      std::vector<kernel::HostBuffer> buffers;
      for (Bytes& b : memory) buffers.push_back({b.data(), static_cast<int64_t>(b.size())});
      return kernel::interpret(f, buffers, values);
    }
    std::vector<void*> pointers;
    for (Bytes& b : memory) pointers.push_back(b.data());
    NativeKernels({f}, target).run(f.name, pointers, values, *f.tiles.evaluate(dims_));
  }

  graph::HostTensor tensor(const Bytes& bytes, const graph::TensorType& type) {
    std::vector<int64_t> shape;
    for (const Dim& d : type.shape) shape.push_back(*d.evaluate(dims_));
    if (type.kind == graph::TensorType::Kind::kQ8Activation) return q8_tensor(bytes, shape[0], shape[1]);
    graph::HostTensor t{type.dtype(), shape, {}, {}};
    t.floats.resize(static_cast<size_t>(t.elements()));
    decode_floats(type.dtype(), reinterpret_cast<const std::byte*>(bytes.data()), t.floats);
    return t;
  }

  // Ops with a layer see that layer's slab.
  static std::pair<size_t, size_t> slab(const graph::HostState& s, const graph::Node& node) {
    auto size = static_cast<size_t>(s.pages * s.cache.page_elements());
    if (!node.attributes.count("layer")) return {0, s.values.size()};
    return {static_cast<size_t>(node.get_int("layer")) * size, size};
  }
  static Bytes state_bytes(const graph::HostState& s, const graph::Node& node) {
    auto [begin, count] = slab(s, node);
    Bytes out(count * static_cast<size_t>(size_of(s.cache.dtype)));
    encode_floats(s.cache.dtype, std::span<const float>(&s.values[begin], count), reinterpret_cast<std::byte*>(out.data()));
    return out;
  }
  static void read_state(const Bytes& bytes, graph::HostState& s, const graph::Node& node) {
    auto [begin, count] = slab(s, node);
    decode_floats(s.cache.dtype, reinterpret_cast<const std::byte*>(bytes.data()), std::span<float>(&s.values[begin], count));
  }

  std::map<std::string, int64_t> dims_;
  std::map<const graph::Value*, graph::HostTensor> logical_;
  std::map<const graph::Value*, Bytes> physical_;
  std::map<const graph::Value*, kernel::View> views_;
};

}  // namespace mlc::testing
