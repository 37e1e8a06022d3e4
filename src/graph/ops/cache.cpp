// Ops that write the paged KV cache: kv_append, rope_append (rotate q and k of a fused qkv, append k and v),
// copy_pages. To a latent cache kv_append gives the values, which begin the keys, and what follows them.
#include "graph/ops/cache.h"

#include <algorithm>

#include "base/check.h"
#include "graph/ops/check.h"
#include "graph/ops/math.h"
#include "graph/ops/rope.h"

namespace mlc::graph {

float* cached_head(HostState& state, int64_t layer, bool value, int64_t head, int64_t slot) {
  const PagedState& c = state.cache;
  if (slot < 0 || slot >= state.pages * c.page_size)
    refuse("slot ", slot, " of a cache of ", state.pages, " pages");
  int64_t page = slot / c.page_size, offset = slot % c.page_size;
  float* keys = state.values.data() + (layer * state.pages + page) * c.page_elements();
  const int64_t row = head * c.page_size + offset;
  if (!value || c.latent) return keys + row * c.key_dim;
  return keys + c.kv_heads * c.page_size * c.key_dim + row * c.value_dim;
}

namespace {

using Inputs = std::vector<const HostTensor*>;

// What a cache keeps of n elements of a head.
void round_head(DType dtype, float* head, int64_t n) {
  if (dtype != DType::kI8) {
    for (int64_t d = 0; d < n; ++d) head[d] = round_to(dtype, head[d]);
    return;
  }
  std::vector<int32_t> codes(static_cast<size_t>(n));
  float scale = quantize_group(head, n, codes.data());
  for (int64_t d = 0; d < n; ++d) head[d] = static_cast<float>(codes[d]) * scale;
}

// Elements of a head that come with the values: where they are the key's first, with the rest of it.
int64_t second_dim(const PagedState& c) { return c.latent ? c.key_dim - c.value_dim : c.value_dim; }
int64_t first_dim(const PagedState& c) { return c.latent ? c.value_dim : c.key_dim; }

// Stores the first or second parts of one token's heads, rounded to the cache's dtype.
void store_heads(HostState& state, int64_t layer, bool second, int64_t slot, const float* heads) {
  const PagedState& c = state.cache;
  const int64_t n = second ? second_dim(c) : first_dim(c);
  for (int64_t h = 0; h < c.kv_heads; ++h) {
    float* target = cached_head(state, layer, second, h, slot) + (second && c.latent ? c.value_dim : 0);
    std::copy_n(heads + h * n, n, target);
    round_head(c.dtype, target, n);
  }
}

OpInfo kv_append() {
  return {.name = "kv_append",
          .min_inputs = 3,
          .max_inputs = 3,
          .has_state = true,
          .writes_state = true,
          .required_attributes = {"layer"},
          .infer =
              [](const Node& node, const Module& module) {
                const PagedState& cache = cache_operand(node, module);
                for (size_t i : {0, 1}) {
                  const int64_t wanted = cache.kv_heads * (i == 0 ? first_dim(cache) : second_dim(cache));
                  if (columns(activation_operand(node, i)) != wanted)
                    refuse(describe(node, i), " does not have ", wanted, " columns");
                }
                const Dim& rows = index_operand(node, 2);
                check_equal_rows(node, 0, rows);
                check_equal_rows(node, 1, rows);
                return std::vector<TensorType>{};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs&, InterpretContext& context) {
                HostState& state = context.states.at(node.state);
                for (int64_t r = 0; r < in[2]->shape[0]; ++r)
                  for (bool second : {false, true})
                    store_heads(state, node.get_int("layer"), second, in[2]->ints[r],
                                in[second]->floats.data() + r * in[second]->shape[1]);
                return std::vector<HostTensor>{};
              }};
}

std::vector<TensorType> infer_rope_append(const Node& node, const Module& module) {
  const PagedState& cache = cache_operand(node, module);
  const TensorType& qkv = activation_operand(node, 0);
  int64_t heads = int_attribute(node, "heads", 1, 1 << 20);
  int64_t kv_heads = int_attribute(node, "kv_heads", 1, heads);
  check_rotation(node, 1, qkv.shape[0]);
  int64_t head_dim = node.get_int("head_dim");
  if (cache.latent) refuse("$", cache.name, " holds latents");
  if (kv_heads != cache.kv_heads || head_dim != cache.key_dim)
    refuse("appends ", kv_heads, " heads of ", head_dim, ", $", cache.name, " holds ", cache.kv_heads, " of ",
           cache.key_dim);
  const int64_t wanted = (heads + kv_heads) * head_dim + kv_heads * cache.value_dim;
  if (columns(qkv) != wanted) refuse(describe(node, 0), " does not have ", wanted, " columns");
  if (index_operand(node, 2) != qkv.shape[0]) refuse(describe(node, 2), " does not have one slot per row");
  return {TensorType::plain(DType::kF32, {qkv.shape[0], heads * head_dim})};
}

std::vector<HostTensor> interpret_rope_append(const Node& node, const Inputs& in, const Inputs&,
                                              InterpretContext& context) {
  HostState& state = context.states.at(node.state);
  int64_t heads = node.get_int("heads"), kv_heads = node.get_int("kv_heads"),
          head_dim = node.get_int("head_dim");
  int64_t rows = in[0]->shape[0], n = in[0]->shape[1], rotary_dim = node.get_int("rotary_dim");
  HostTensor q = make_floats({rows, heads * head_dim});
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<float> row(in[0]->floats.begin() + r * n, in[0]->floats.begin() + (r + 1) * n);
    rotate_heads(row.data(), in[1]->floats.data() + r * rotary_dim, heads + kv_heads, head_dim, rotary_dim,
                 node.get_bool_or("interleaved", false), node.get_int_or("begin", 0));
    std::copy_n(row.data(), heads * head_dim, q.floats.data() + r * heads * head_dim);
    for (bool value : {false, true})
      store_heads(state, node.get_int("layer"), value, in[2]->ints[r],
                  row.data() + (heads + (value ? kv_heads : 0)) * head_dim);
  }
  return {std::move(q)};
}

OpInfo rope_append() {
  return {.name = "rope_append",
          .min_inputs = 3,
          .max_inputs = 3,
          .has_state = true,
          .writes_state = true,
          .required_attributes = {"heads", "kv_heads", "head_dim", "rotary_dim", "layer"},
          .infer = infer_rope_append,
          .interpret = interpret_rope_append};
}

OpInfo copy_pages() {
  return copy_units("copy_pages", cache_operand, [](HostState& state, int64_t layer, int64_t id) {
    float* page = cached_head(state, layer, false, 0, id * state.cache.page_size);
    return std::span(page, static_cast<size_t>(state.cache.page_elements()));
  });
}

}  // namespace

OpInfo copy_units(const std::string& name, const std::function<void(const Node&, const Module&)>& check,
                  const std::function<std::span<float>(HostState&, int64_t layer, int64_t id)>& unit) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .has_state = true,
          .writes_state = true,
          .infer =
              [check](const Node& node, const Module& module) {
                check(node, module);
                if (index_operand(node, 0) != index_operand(node, 1))
                  refuse("sources and targets differ in number");
                return std::vector<TensorType>{};
              },
          .interpret =
              [unit](const Node& node, const Inputs& in, const Inputs&, InterpretContext& context) {
                HostState& state = context.states.at(node.state);
                const int64_t layers = std::max(state.cache.layers, state.slots.layers);
                for (size_t i = 0; i < in[0]->ints.size(); ++i)
                  for (int64_t layer = 0; layer < layers; ++layer)
                    std::ranges::copy(unit(state, layer, in[0]->ints[i]),
                                      unit(state, layer, in[1]->ints[i]).begin());
                return std::vector<HostTensor>{};
              }};
}

std::vector<OpInfo> cache_ops() { return {kv_append(), rope_append(), copy_pages()}; }

}  // namespace mlc::graph
