// Declares the weights of attention over a latent and appends its ops.
#include "frontend/layers/latent_attention.h"

#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::frontend {
namespace {

constexpr double kEps = 1e-6;  // of the latents' norms, whatever the model's others have

// A head's rows [begin, end) of kv_b_proj, for all heads.
SourceExpr of_heads(const LatentShape& s, const std::string& name, int64_t begin, int64_t end) {
  const int64_t each = s.plain + s.value;
  SourceExpr heads = SourceExpr::reshape(SourceExpr::of(name + "kv_b_proj.weight"), {s.heads * each, s.rank},
                                         {s.heads, each, s.rank});
  return SourceExpr::slice(std::move(heads), 1, each, begin, end);
}

graph::Value* declare_heads(ParameterList& parameters, const std::string& name, std::vector<int64_t> shape,
                            SourceExpr source) {
  return parameters.declare({.name = name,
                             .shape = std::move(shape),
                             .source = std::move(source),
                             .sharding = {.axis = 0, .segments = {}}});
}

}  // namespace

LatentAttention::LatentAttention(ParameterList& parameters, const LatentShape& s, int64_t layer,
                                 const std::string& name)
    : shape_(s),
      layer_(layer),
      query_(parameters, name + (s.query_rank ? "q_b_proj" : "q_proj"),
             s.query_rank ? s.query_rank : s.hidden, s.heads * s.query_size(),
             {.sharding = {.axis = 0, .unit = s.query_size(), .segments = {}}}),
      latent_(parameters, name + "kv_a_proj_with_mqa", s.hidden, s.key_size()),
      norm_(parameters, name + "kv_a_layernorm", s.rank, kEps),
      output_(parameters, name + "o_proj", s.heads * s.value, s.hidden,
              {.sharding = {.axis = 1, .unit = s.value, .segments = {}}}) {
  if (s.plain % 2 != 0)
    throw UserError(
        str("qk_nope_head_dim is ", s.plain,
            ", expected an even number, for pairs are rotated behind it; this variant of the model "
            "is not built"));
  if (s.query_rank) {
    query_down_.emplace(parameters, name + "q_a_proj", s.hidden, s.query_rank);
    query_norm_.emplace(parameters, name + "q_a_layernorm", s.query_rank, kEps);
  }
  // Records of one source tensor stand in the order in which they are declared.
  up_keys_ = declare_heads(parameters, name + "w_uk", {s.heads, s.rank, s.plain},
                           SourceExpr::transpose(of_heads(s, name, 0, s.plain)));
  up_values_ = declare_heads(parameters, name + "w_uv", {s.heads, s.value, s.rank},
                             of_heads(s, name, s.plain, s.plain + s.value));
  Linear(parameters, name + "kv_b_proj", s.rank, s.heads * (s.plain + s.value),
         {.sharding = {.axis = 0, .unit = s.plain + s.value, .segments = {}}});
}

graph::Value* LatentAttention::operator()(graph::GraphBuilder& g, graph::Value* x,
                                          const StepInputs& inputs) const {
  const LatentShape& s = shape_;
  graph::Value* factors = inputs.rotations.at(0).rows;
  graph::Value* q = query_(g, query_down_ ? (*query_norm_)(g, (*query_down_)(g, x)) : x);
  q = g.op("rope", {q, factors},
           {{"head_dim", s.query_size()},
            {"rotary_dim", s.rotated},
            {"begin", s.plain},
            {"interleaved", true}})[0];
  q = g.op("head_matmul", {q, up_keys_})[0];
  graph::Value* latent = latent_(g, x);
  graph::Value* value = norm_(g, g.slice(latent, 0, s.rank));
  graph::Value* rotated =
      g.rope(g.slice(latent, s.rank, s.key_size()), factors, s.rotated, s.rotated, /*interleaved=*/true);
  g.kv_append(kKvState, layer_, value, rotated, inputs.row_slots);
  graph::Value* mixed =
      g.attention(kKvState, layer_, inputs.attention(q), {.heads = s.heads, .scale = s.scale});
  return output_(g, g.op("head_matmul", {mixed, up_values_})[0]);
}

}  // namespace mlc::frontend
