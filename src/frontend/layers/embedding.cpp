// Declares an embedding table and appends its look-up or, tied, its matmul.
#include "frontend/layers/embedding.h"

namespace mlc::frontend {

Embedding::Embedding(ParameterList& parameters, const std::string& name, int64_t vocab, int64_t hidden,
                     const std::string& source)
    : table_(parameters.declare({.name = name + ".weight",
                                 .shape = {vocab, hidden},
                                 .role = WeightRole::kEmbedding,
                                 .source = SourceExpr::of((source.empty() ? name : source) + ".weight")})) {}

graph::Value* Embedding::operator()(graph::GraphBuilder& g, graph::Value* ids) const {
  return g.take(table_, ids);
}

graph::Value* Embedding::as_linear(graph::GraphBuilder& g, graph::Value* x) const {
  return g.matmul(x, table_);
}

}  // namespace mlc::frontend
