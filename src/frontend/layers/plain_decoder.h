// The decoder of blocks with LayerNorm and a plain feed-forward, which GPT-2 and its relatives share.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "frontend/layers/attention.h"
#include "frontend/layers/embedding.h"
#include "frontend/layers/linear.h"
#include "frontend/layers/mlp.h"
#include "frontend/layers/norm.h"

namespace mlc::frontend {

struct PlainBlock {
  LayerNorm attention_norm;
  std::optional<LayerNorm> mlp_norm;  // parallel blocks may have one norm for both
  Attention attention;
  PlainMlp mlp;
  bool parallel = false;  // the feed-forward reads what attention reads, and both are added

  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x, const StepInputs& inputs) const;
};

// make(0), make(1), ... of `layers` blocks.
std::vector<PlainBlock> make_blocks(int64_t layers, const std::function<PlainBlock(int64_t)>& make);

// Its parts are made by the model's file, in the order in which the original stores them.
struct PlainDecoder : Model {
  PlainDecoder(Embedding tokens, std::optional<Embedding> positions, std::vector<PlainBlock> blocks,
               LayerNorm norm, std::optional<Linear> head)
      : tokens(tokens), positions(positions), blocks(std::move(blocks)), norm(norm), head(head) {}

  graph::Value* embed(graph::GraphBuilder& g, graph::Value* ids) const override;
  graph::Value* transformer(graph::GraphBuilder& g, graph::Value* x, const StepInputs& inputs) const override;
  graph::Value* logits(graph::GraphBuilder& g, graph::Value* hidden) const override;
  bool verifies_trees() const override { return !biased_by_distance; }

  Embedding tokens;
  std::optional<Embedding> positions;  // learned ones, added to the tokens'
  std::optional<LayerNorm> embedding_norm = std::nullopt;
  std::vector<PlainBlock> blocks;
  LayerNorm norm;
  std::optional<Linear> head;       // none: the tokens' table is the head too
  bool biased_by_distance = false;  // attention's scores are
};

}  // namespace mlc::frontend
