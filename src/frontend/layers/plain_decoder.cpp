// The decoder that GPT-2 and its relatives share.
#include "frontend/layers/plain_decoder.h"

namespace mlc::frontend {

using graph::GraphBuilder;
using graph::Value;

Value* PlainBlock::operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
  Value* normed = attention_norm(g, x);
  Value* attended = g.add(x, attention(g, normed, inputs));
  if (parallel) return g.add(attended, mlp(g, mlp_norm ? (*mlp_norm)(g, x) : normed));
  return g.add(attended, mlp(g, mlp_norm ? (*mlp_norm)(g, attended) : attended));
}

std::vector<PlainBlock> make_blocks(int64_t layers, const std::function<PlainBlock(int64_t)>& make) {
  std::vector<PlainBlock> blocks;
  for (int64_t layer = 0; layer < layers; ++layer) blocks.push_back(make(layer));
  return blocks;
}

Value* PlainDecoder::embed(GraphBuilder& g, Value* ids) const { return tokens(g, ids); }

Value* PlainDecoder::transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
  if (positions) x = g.add(x, (*positions)(g, inputs.positions));
  if (embedding_norm) x = (*embedding_norm)(g, x);
  for (const PlainBlock& block : blocks) x = block(g, x, inputs);
  return norm(g, x);
}

Value* PlainDecoder::logits(GraphBuilder& g, Value* hidden) const {
  return head ? (*head)(g, hidden) : tokens.as_linear(g, hidden);
}

}  // namespace mlc::frontend
