// Lets several threads share the attention of a single row: in bodies for one row, attention becomes one op
// over parts of the sequence and one that joins them. The join quantizes where nothing but quantize_q8 reads
// its result.
//
//   before:  %a = attention($kv, %q, ...)   %c = quantize_q8(%a)
//   after:   %p = attention_part($kv, %q, ...)   %c = attention_join(%p, %limits)
//
// Assumes that specialize_rows ran. Where rows are many, rows and heads are tiles enough.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

// part_pages: Target::attention_part_pages.
void split_attention(Module& module, int64_t part_pages);

}  // namespace mlc::graph
