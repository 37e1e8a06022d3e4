// One graph node under test: its operands as host tensors and as bytes in memory, its kernel for a target,
// and the comparison of what a call left in memory with the graph's reference meaning. op_batch.h runs the
// calls.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/strings.h"
#include "formats/plan.h"
#include "formats/quant/float8.h"
#include "formats/quant/group.h"
#include "formats/quant/plain.h"
#include "formats/quant/reader.h"
#include "graph/builder.h"
#include "graph/ops/math.h"
#include "graph/ops/registry.h"
#include "kernel/interpret.h"
#include "kernel/lower/lower.h"
#include "kernel/pipeline.h"

namespace mlc::testing {

using Bytes = std::vector<uint8_t>;

// How far a result may be from the meaning of its op.
struct Rule {
  double tolerance = 0;
  bool relative = false;  // the tolerance is for magnitudes up to 1 and grows with them
  bool hard = false;      // NaN and infinities are expected where the meaning has them
  int codes = 0;          // by how much codes of activations may differ

  bool agrees(float expected, float actual) const {
    if (hard && std::isnan(expected)) return std::isnan(actual);
    if (hard && std::isinf(expected)) return expected == actual;
    double scale = relative ? std::max(1.0, std::fabs(double{expected})) : 1.0;
    return std::fabs(double{expected} - double{actual}) <= tolerance * scale;  // false for any NaN
  }
};

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
  bool layers_apart = false;  // in the cache's memory: as GPUs have it
  Rule rule;

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
    graph::Value* v =
        g->parameter("p" + std::to_string(module.parameters.size()), graph::TensorType::plain(dtype, dims));
    round_floats(dtype, values);
    Bytes bytes(values.size() * static_cast<size_t>(size_of(dtype)));
    encode_floats(dtype, values, reinterpret_cast<std::byte*>(bytes.data()));
    physical_[v] = std::move(bytes);
    logical_[v] = {DType::kF32, std::move(shape), std::move(values), {}};
    return v;
  }

  // An i32 [rows symbol, k].
  graph::Value* slots(const Dim& rows, int64_t k, const std::vector<int32_t>& values) {
    graph::Value* v = argument(graph::TensorType::plain(DType::kI32, {rows, k}));
    logical_[v] = {DType::kI32, {static_cast<int64_t>(values.size()) / k, k}, {}, values};
    physical_[v] = bytes_of(values);
    return v;
  }

  // A quantized [n, k] parameter, or one [experts, n, k], in a layout, made by the repack kernel from the
  // file's records: `values` packed, or random codes in a format that has no quantizer.
  graph::Value* quantized(const WeightFormat& format, const std::string& layout, int64_t n, int64_t k,
                          const std::vector<float>& values, int64_t experts = 0) {
    graph::TensorType type{graph::TensorType::Kind::kGroup, format, layout, {n, k}};
    std::vector<int64_t> shape = {n, k};
    if (experts) {
      type.shape.insert(type.shape.begin(), experts), shape.insert(shape.begin(), experts);
      n *= experts;
    }
    graph::Value* v = g->parameter("p" + std::to_string(module.parameters.size()), type);
    std::vector<Bytes> records =
        format.is_imported() ? random_records(format, n, k) : pack(format, n, k, values);
    std::vector<std::span<const std::byte>> spans;
    for (const Bytes& record : records) spans.push_back(std::as_bytes(std::span(record)));
    std::vector<float> real(values.size());
    read_weight(format, n, k, spans, real);
    logical_[v] = {DType::kF32, shape, real, {}};
    physical_[v] = repack(type, std::move(records));
    return v;
  }

  // A state of `pages` pages, filled with `values` or, past them, NaN.
  void state(graph::PagedState cache, int64_t pages) {
    dims_[kPoolPages] = pages;
    std::vector<float> values(static_cast<size_t>(cache.layers * pages * cache.page_elements()), NAN);
    states[cache.name] = {cache, pages, values};
    module.states.push_back(cache);
  }

  // A state of `count` slots, filled with NaN.
  void slot_state(const graph::SlotState& state, int64_t count) {
    dims_[kPoolSlots] = count;
    std::vector<float> values(static_cast<size_t>(state.layers * count * state.slot_elements()), NAN);
    states[state.name] = {{}, count, values, state};
    module.slot_states.push_back(state);
  }

  const graph::HostTensor& logical(const graph::Value* v) const { return logical_.at(v); }

  // The last node lowered for a target, legal for it; named "k".
  kernel::Function lower(const Target& target) const {
    kernel::LowerOptions o = options;
    o.target = &target;
    for (const auto* operands : {&node().inputs, &node().region.operands})
      for (const graph::Value* v : *operands)
        o.input_views.push_back(views_.count(v) ? views_.at(v) : kernel::View{});
    kernel::Function f =
        kernel::run_passes(kernel::lower_node(node(), module, o).function, {.target = &target, .dump = {}});
    f.name = "k";
    return f;
  }

  std::vector<int64_t> dims(const kernel::Function& f) const {
    std::vector<int64_t> values;
    for (const std::string& d : f.dims) values.push_back(dims_.at(d));
    return values;
  }
  int64_t tiles(const kernel::Function& f) const { return *f.tiles.evaluate(dims_); }

  // The buffers of a call before it; outputs hold 0xFF.
  std::vector<Bytes> memory() const {
    std::vector<Bytes> out;
    for (const graph::Value* v : node().inputs) out.push_back(physical_.at(v));
    for (const graph::Value* v : node().region.operands) out.push_back(physical_.at(v));
    if (!node().state.empty()) out.push_back(state_bytes(states.at(node().state)));
    for (const graph::Value* v : node().outputs)
      out.emplace_back(static_cast<size_t>(*v->type.bytes().evaluate(dims_)), 0xFF);
    return out;
  }

  // The first element where the buffers after a call differ from the node's meaning by more than the rule
  // allows, or "".
  std::string difference(const std::vector<Bytes>& after) {
    if (!expected_) {
      expected_.emplace(Expected{{}, states});
      expected_->outputs = reference(node(), expected_->states);
    }
    size_t outputs = node().outputs.size();
    std::string found;
    for (size_t i = 0; i < outputs && found.empty(); ++i)
      found = tensor_difference(expected_->outputs[i], after[after.size() - outputs + i],
                                node().outputs[i]->type);
    if (!found.empty() || node().state.empty()) return found;
    graph::HostState s = states.at(node().state);
    read_state(after[after.size() - outputs - 1], s);
    const std::vector<float>& e = expected_->states.at(node().state).values;
    for (size_t i = 0; i < e.size(); ++i)
      if (!(std::isnan(e[i]) && std::isnan(s.values[i])) && !rule.agrees(e[i], s.values[i]))
        return str("state element ", i, ": expected ", e[i], ", got ", s.values[i]);
    return "";
  }

  // Runs the graph's meaning of a node and keeps its outputs as operands of later nodes (quantized and tiled
  // activations).
  void evaluate_last() {
    std::vector<graph::HostTensor> out = reference(node(), states);
    for (size_t i = 0; i < out.size(); ++i) {
      const graph::TensorType& type = node().outputs[i]->type;
      logical_[node().outputs[i]] = out[i];
      physical_[node().outputs[i]] = type.dtype() == DType::kI32 ? bytes_of(out[i].ints)
                                     : type.is_tiled()           ? tile_bytes(type, out[i])
                                                                 : q8_bytes(type.format, out[i]);
    }
  }

 private:
  struct Expected {
    std::vector<graph::HostTensor> outputs;
    std::map<std::string, graph::HostState> states;
  };

  const graph::Node& node() const { return *module.functions[0]->nodes.back(); }

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

  static std::vector<Bytes> pack(const WeightFormat& format, int64_t n, int64_t k,
                                 const std::vector<float>& values) {
    if (format.is_float8()) {
      std::vector<Bytes> records;
      for (const std::vector<std::byte>& packed : pack_float8(format, n, k, values)) {
        records.emplace_back(packed.size());
        std::memcpy(records.back().data(), packed.data(), packed.size());
      }
      return records;
    }
    const auto word_size = static_cast<size_t>(size_of(format.container));
    auto words = static_cast<size_t>(format.words(k)), groups = static_cast<size_t>(format.groups(k));
    auto rows = static_cast<size_t>(n), columns = static_cast<size_t>(k);
    const auto size = static_cast<size_t>(size_of(format_records(format, {n, k})[1].dtype));
    Bytes codes(word_size * rows * words), scales(rows * groups * size), row_codes(word_size * words),
        row_scales(groups * size);
    for (size_t r = 0; r < rows; ++r) {
      std::vector<float> row(values.begin() + static_cast<int64_t>(r * columns),
                             values.begin() + static_cast<int64_t>((r + 1) * columns));
      round_floats(format.dtype, row);
      quantize_row(format, row, reinterpret_cast<uint32_t*>(row_codes.data()),
                   reinterpret_cast<std::byte*>(row_scales.data()));
      auto place = [&](const Bytes& from, size_t count, size_t bytes, Bytes& to) {
        for (size_t i = 0; i < count; ++i)
          std::memcpy(&to[(format.transposed ? i * rows + r : r * count + i) * bytes], &from[i * bytes],
                      bytes);
      };
      place(row_codes, words, word_size, codes);
      place(row_scales, groups, size, scales);
    }
    return {codes, scales};
  }

  // Any bits are codes; scales are halves of up to 1/16.
  static std::vector<Bytes> random_records(const WeightFormat& format, int64_t n, int64_t k) {
    std::mt19937 random(static_cast<unsigned>(n * 31 + k));
    std::vector<Bytes> records;
    for (const FormatRecord& record : format_records(format, {n, k})) {
      std::vector<uint16_t> halves(
          static_cast<size_t>(record.shape[0] * record.shape[1] * size_of(record.dtype) / 2));
      for (uint16_t& half : halves)
        half = record.part == FormatRecord::Part::kScales
                   ? f32_to_f16(static_cast<float>(random() % 1024 + 1) * 0x1p-14f)
                   : static_cast<uint16_t>(random());
      records.push_back(bytes_of(halves));
    }
    return records;
  }

  static Bytes repack(const graph::TensorType& type, std::vector<Bytes> records) {
    kernel::Function f = *kernel::lower_preproc(type, x86_64_targets().back());
    Bytes out(static_cast<size_t>(kernel::layout_bytes(type)), 0xEE);
    std::vector<kernel::HostBuffer> buffers;
    if (type.format.input_scale) records.pop_back();  // no part of the weight
    for (Bytes& record : records) {
      record.resize((record.size() + 3) / 4 * 4);  // devices have whole words
      buffers.push_back({record.data(), int64_t(record.size())});
    }
    buffers.push_back({out.data(), int64_t(out.size())});
    kernel::interpret(f, buffers, {});
    return out;
  }

  static Bytes q8_bytes(const WeightFormat& weights, const graph::HostTensor& t) {
    const int64_t size = weights.group, groups = weights.groups(t.shape[1]);
    Bytes out(static_cast<size_t>(t.shape[0] * groups * (size + 8)));
    for (int64_t r = 0; r < t.shape[0]; ++r) {
      uint8_t* row = out.data() + r * groups * (size + 8);
      std::vector<int32_t> starts(static_cast<size_t>(groups));
      for (int64_t c = 0; c < t.shape[1]; ++c) {
        int32_t code = t.ints[static_cast<size_t>(r * t.shape[1] + c)];
        row[c] = static_cast<uint8_t>(code);
        starts[static_cast<size_t>(c / size)] -= weights.zero_point() * code;
      }
      std::memcpy(row + groups * size, &t.floats[static_cast<size_t>(r * groups)],
                  static_cast<size_t>(groups * 4));
      std::memcpy(row + groups * (size + 4), starts.data(), static_cast<size_t>(groups * 4));
    }
    return out;
  }

  // Where an element of a tiled activation lies (graph/ir.h).
  static size_t tile_place(int64_t columns, int64_t row, int64_t column) {
    int64_t tile = row / graph::kTileRows * ((columns + graph::kTileColumns - 1) / graph::kTileColumns) +
                   column / graph::kTileColumns;
    return static_cast<size_t>((tile * graph::kTileRows + row % graph::kTileRows) * graph::kTileColumns +
                               column % graph::kTileColumns);
  }

  // Rows past the last hold NaN.
  Bytes tile_bytes(const graph::TensorType& type, const graph::HostTensor& t) const {
    Bytes out(static_cast<size_t>(*type.bytes().evaluate(dims_)), 0xFF);
    int64_t columns = t.shape[1],
            padded = (columns + graph::kTileColumns - 1) / graph::kTileColumns * graph::kTileColumns;
    for (int64_t r = 0; r < t.shape[0]; ++r)
      for (int64_t c = 0; c < padded; ++c) {
        uint16_t bits = c < columns ? f32_to_bf16(t.floats[static_cast<size_t>(r * columns + c)]) : 0;
        std::memcpy(&out[2 * tile_place(columns, r, c)], &bits, 2);
      }
    return out;
  }

  static graph::HostTensor tile_tensor(const Bytes& bytes, int64_t rows, int64_t columns,
                                       std::string& problem) {
    graph::HostTensor t{DType::kF32, {rows, columns}, {}, {}};
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < (columns + graph::kTileColumns - 1) / graph::kTileColumns * graph::kTileColumns;
           ++c) {
        uint16_t bits;
        std::memcpy(&bits, &bytes[2 * tile_place(columns, r, c)], 2);
        if (c < columns)
          t.floats.push_back(bf16_to_f32(bits));
        else if (bits != 0)
          problem = str("padding of row ", r, " is ", bits);
      }
    return t;
  }

  // Reads a quantized activation; `problem` tells of padding that is not zero or a start that is not its
  // group's.
  static graph::HostTensor q8_tensor(const WeightFormat& weights, const Bytes& bytes, int64_t rows,
                                     int64_t columns, std::string& problem) {
    graph::HostTensor t{DType::kI8, {rows, columns}, {}, {}};
    const int64_t size = weights.group, groups = weights.groups(columns);
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = bytes.data() + r * groups * (size + 8);
      for (int64_t c = 0; c < columns; ++c) t.ints.push_back(static_cast<int8_t>(row[c]));
      for (int64_t gr = 0; gr < groups; ++gr) {
        float scale;
        int32_t start, expected = 0;
        std::memcpy(&scale, row + groups * size + gr * 4, 4);
        std::memcpy(&start, row + groups * (size + 4) + gr * 4, 4);
        t.floats.push_back(scale);
        for (int64_t c = gr * size; c < std::min(columns, (gr + 1) * size); ++c)
          expected -= weights.zero_point() * static_cast<int8_t>(row[c]);
        for (int64_t c = columns; c < (gr + 1) * size; ++c)
          if (row[c] != 0) problem = str("padding of row ", r, " is ", int{row[c]});
        if (start != expected)
          problem = str("start of row ", r, " group ", gr, " is ", start, ", its codes give ", expected);
      }
    }
    return t;
  }

  std::vector<graph::HostTensor> reference(const graph::Node& n,
                                           std::map<std::string, graph::HostState>& to) const {
    std::vector<const graph::HostTensor*> inputs, operands;
    for (const graph::Value* v : n.inputs) inputs.push_back(&logical_.at(v));
    for (const graph::Value* v : n.region.operands) operands.push_back(&logical_.at(v));
    graph::InterpretContext context{to};
    return graph::find_op(n.op)->interpret(n, inputs, operands, context);
  }

  std::string tensor_difference(const graph::HostTensor& e, const Bytes& bytes,
                                const graph::TensorType& type) const {
    std::string problem;
    graph::HostTensor a = tensor(bytes, type, problem);
    if (e.floats.size() != a.floats.size() || e.ints.size() != a.ints.size())
      return str(a.floats.size(), " floats and ", a.ints.size(), " codes, expected ", e.floats.size(),
                 " and ", e.ints.size());
    for (size_t i = 0; i < e.ints.size(); ++i)
      if (std::abs(e.ints[i] - a.ints[i]) > rule.codes)
        return str("code ", i, ": expected ", e.ints[i], ", got ", a.ints[i]);
    for (size_t i = 0; i < e.floats.size(); ++i)
      if (!rule.agrees(e.floats[i], a.floats[i]))
        return str("element ", i, ": expected ", e.floats[i], ", got ", a.floats[i], ", tolerance ",
                   rule.tolerance);
    return problem;
  }

  graph::HostTensor tensor(const Bytes& bytes, const graph::TensorType& type, std::string& problem) const {
    std::vector<int64_t> shape;
    for (const Dim& d : type.shape) shape.push_back(*d.evaluate(dims_));
    if (type.kind == graph::TensorType::Kind::kQ8Activation)
      return q8_tensor(type.format, bytes, shape[0], shape[1], problem);
    if (type.is_tiled()) return tile_tensor(bytes, shape[0], shape[1], problem);
    graph::HostTensor t{type.dtype(), shape, {}, {}};
    if (type.dtype() == DType::kI32) {
      t.ints.resize(bytes.size() / 4);
      std::memcpy(t.ints.data(), bytes.data(), bytes.size());
      return t;
    }
    t.floats.resize(static_cast<size_t>(t.elements()));
    decode_floats(type.dtype(), reinterpret_cast<const std::byte*>(bytes.data()), t.floats);
    return t;
  }

  // What the kernel sees of a cache, in the order of memory: indices layer * pages + page of pages of one
  // layer.
  std::vector<size_t> blocks(const graph::HostState& s) const {
    auto layers = static_cast<size_t>(s.cache.layers), pages = static_cast<size_t>(s.pages);
    auto layer = static_cast<size_t>(node().get_int_or("layer", 0));
    std::vector<size_t> out;
    for (size_t i = 0; i < layers * pages; ++i)
      out.push_back(layers_apart ? i : i % layers * pages + i / layers);
    out.erase(out.begin(), out.begin() + static_cast<long>(layers_apart ? layer * pages : layer));
    if (layers_apart && node().attributes.count("layer")) out.resize(pages);
    return out;
  }
  // The slots that the kernel sees: of the node's layer, or of all.
  std::span<const float> slots_seen(const graph::HostState& s) const {
    const std::span<const float> all(s.values);
    if (!node().attributes.count("layer")) return all;
    const size_t layer = all.size() / static_cast<size_t>(s.slots.layers);
    return all.subspan(static_cast<size_t>(node().get_int("layer")) * layer, layer);
  }
  Bytes state_bytes(const graph::HostState& s) const {
    if (s.slots.layers > 0) return bytes_of(std::vector(slots_seen(s).begin(), slots_seen(s).end()));
    auto elements = static_cast<size_t>(s.cache.page_elements());
    Bytes out;
    for (size_t block : blocks(s)) {
      Bytes bytes = page_bytes(s.cache, {s.values.data() + block * elements, elements});
      out.insert(out.end(), bytes.begin(), bytes.end());
    }
    return out;
  }
  void read_state(const Bytes& bytes, graph::HostState& s) const {
    if (s.slots.layers > 0) {
      const auto first = static_cast<size_t>(slots_seen(s).data() - s.values.data());
      std::memcpy(s.values.data() + first, bytes.data(), bytes.size());
      return;
    }
    auto elements = static_cast<size_t>(s.cache.page_elements());
    const std::vector<size_t> order = blocks(s);
    const size_t size = bytes.size() / order.size();
    for (size_t i = 0; i < order.size(); ++i)
      read_page(s.cache, {bytes.data() + i * size, size}, {s.values.data() + order[i] * elements, elements});
  }
  // One page of one layer.
  static Bytes page_bytes(const graph::PagedState& c, std::span<const float> values) {
    if (c.dtype == DType::kI8) return coded_page_bytes(c, values);
    Bytes out(values.size() * static_cast<size_t>(size_of(c.dtype)));
    std::vector<float> moved(values.size());
    for_each_cached(c, [&](size_t meaning, size_t kernel) { moved[kernel] = values[meaning]; });
    encode_floats(c.dtype, moved, reinterpret_cast<std::byte*>(out.data()));
    return out;
  }
  static Bytes coded_page_bytes(const graph::PagedState& c, std::span<const float> values) {
    auto n = static_cast<size_t>(c.key_dim);
    Bytes out(values.size() / n * (n + 4));
    std::vector<int32_t> codes(n);
    for (size_t v = 0; v < values.size() / n; ++v) {
      float scale = graph::quantize_group(&values[v * n], c.key_dim, codes.data());
      std::memcpy(&out[coded_scale(c, v)], &scale, 4);
      for (size_t d = 0; d < n; ++d) out[coded_element(c, v, d)] = static_cast<uint8_t>(codes[d]);
    }
    return out;
  }
  static void read_page(const graph::PagedState& c, std::span<const uint8_t> bytes, std::span<float> values) {
    if (c.dtype == DType::kI8) return read_coded_page(c, bytes, values);
    std::vector<float> moved(values.size());
    decode_floats(c.dtype, reinterpret_cast<const std::byte*>(bytes.data()), moved);
    for_each_cached(c, [&](size_t meaning, size_t kernel) { values[meaning] = moved[kernel]; });
  }
  static void read_coded_page(const graph::PagedState& c, std::span<const uint8_t> bytes,
                              std::span<float> values) {
    auto n = static_cast<size_t>(c.key_dim);
    for (size_t v = 0; v < values.size() / n; ++v) {
      float scale = 1;
      std::memcpy(&scale, &bytes[coded_scale(c, v)], 4);
      for (size_t d = 0; d < n; ++d)
        values[v * n + d] = static_cast<float>(static_cast<int8_t>(bytes[coded_element(c, v, d)])) * scale;
    }
  }
  // Calls visit(where the graph's meaning has an element, where kernels have it): K of a page, but of
  // latents, is [token][d] in the meaning and [d][token] in memory (kernel/lower/cache.h).
  static void for_each_cached(const graph::PagedState& c, const std::function<void(size_t, size_t)>& visit) {
    auto tokens = static_cast<size_t>(c.page_size), size = static_cast<size_t>(c.key_dim);
    const size_t count = static_cast<size_t>(c.page_elements());
    const size_t keys = c.latent ? 0 : static_cast<size_t>(c.kv_heads) * tokens * size;
    for (size_t i = 0; i < count; ++i) {
      size_t token = i / size % tokens, d = i % size, head = i - token * size - d;
      visit(i, i < keys ? head + d * tokens + token : i);
    }
  }
  // Where a page of codes has the scale and the elements of vector v = (V * kv_heads + head) * page_size +
  // token: per head K [d / 2][token][2], V [token / 2][d][2] and the two kinds of scales.
  static size_t coded_head(const graph::PagedState& c, size_t v) {
    auto tokens = static_cast<size_t>(c.page_size), heads = static_cast<size_t>(c.kv_heads);
    return v / tokens % heads * 2 * tokens * (static_cast<size_t>(c.key_dim) + 4);
  }
  static bool is_coded_value(const graph::PagedState& c, size_t v) {
    return v >= static_cast<size_t>(c.page_size * c.kv_heads);
  }
  static size_t coded_scale(const graph::PagedState& c, size_t v) {
    auto tokens = static_cast<size_t>(c.page_size), n = static_cast<size_t>(c.key_dim);
    return coded_head(c, v) + 2 * tokens * n + (is_coded_value(c, v) ? 4 * tokens : 0) + 4 * (v % tokens);
  }
  static size_t coded_element(const graph::PagedState& c, size_t v, size_t d) {
    auto tokens = static_cast<size_t>(c.page_size), n = static_cast<size_t>(c.key_dim), token = v % tokens;
    size_t head = coded_head(c, v);
    if (is_coded_value(c, v)) return head + tokens * n + (token / 2 * n + d) * 2 + token % 2;
    return head + (d / 2 * tokens + token) * 2 + d % 2;
  }

  std::map<std::string, int64_t> dims_;
  std::map<const graph::Value*, graph::HostTensor> logical_;
  std::map<const graph::Value*, Bytes> physical_;
  std::map<const graph::Value*, kernel::View> views_;
  std::optional<Expected> expected_;
};

}  // namespace mlc::testing
