// The functions a compiled model exports (mlc-facts 5.2) and the arguments they share.
//
// Dimensions: rows = new tokens of all sequences, batch = sequences, pages = entries of page_ids.
// Arguments, by name; a function lists only those it uses:
//   input_ids     i32[rows]          embed
//   input_embeds  f32[rows, hidden]
//   hidden_states f32[rows, hidden]  get_logits, batch_select_last_hidden_states
//   logit_positions i32[batch]       rows whose logits are wanted
//   positions     i32[rows]          index of the row's token in its sequence's cache; it attends to 0..positions[r]
//   row_sequence  i32[rows]          sequence of the row, 0..batch-1
//   row_slots     i32[rows]          where its K and V go: page id * 16 + offset
//   page_indptr   i32[batch + 1]     first entry of each sequence in page_ids
//   page_ids      i32[pages]
//   rope_factors  f32[rows, rotary_dim]  cosines then sines, made by the runtime
// Results: f32[rows or batch, hidden] hidden states, or f32[rows or batch, vocab] logits.
#pragma once

#include <functional>
#include <string>

#include "frontend/model.h"
#include "graph/builder.h"

namespace mlc::frontend {

// The arguments of a function that runs the transformer, as graph values (nullptr where the function has none).
struct StepInputs {
  graph::Value* positions = nullptr;
  graph::Value* row_sequence = nullptr;
  graph::Value* row_slots = nullptr;
  graph::Value* page_indptr = nullptr;
  graph::Value* page_ids = nullptr;
  graph::Value* rope_factors = nullptr;
};

}  // namespace mlc::frontend
