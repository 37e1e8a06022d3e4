// Gives each function that multiplies matrices one body per class of row counts, so that each can be
// scheduled for its own: 1 (bound by reading weights), 2..16 (weight-stationary), more (blocked). Of many
// rows often one is wanted, a prompt's last: then the head has a body for one, too. Rows that are trees
// (attention with a mask) are never one.
//
//   before:  func @prefill(%x: f32[rows, 64], %p: i32[wanted]) { ... }
//   after:   func @prefill(%x: f32[rows, 64], %p: i32[wanted]) rows 1..1 { ... }
//            func @prefill(%x: f32[rows, 64], %p: i32[wanted]) rows 2..16 { ... }
//            func @prefill(%x: f32[rows, 64], %p: i32[wanted]) wanted 1..1 { ... }
//            func @prefill(%x: f32[rows, 64], %p: i32[wanted]) { ... }    (serves everything else, 0 rows
//            too)
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void specialize_rows(Module& module);

}  // namespace mlc::graph
