// Embedding: rows of a [vocab, hidden] table by id; when tied, the same table gives the logits.
#pragma once

#include <string>

#include "frontend/layers/parameters.h"
#include "graph/builder.h"

namespace mlc::frontend {

class Embedding {
 public:
  // `source`: the checkpoint module, where it is not called as the parameter.
  Embedding(ParameterList& parameters, const std::string& name, int64_t vocab, int64_t hidden,
            const std::string& source = "");

  // ids i32[rows] -> f32[rows, hidden]
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* ids) const;
  // x f32[rows, hidden] -> f32[rows, vocab]: x times the table's transpose
  graph::Value* as_linear(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  graph::Value* table_;
};

}  // namespace mlc::frontend
